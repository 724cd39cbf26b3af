# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The training program, compiled for a target and described."""

import dataclasses
import subprocess

import jax
from ml_collections import config_dict
import pytest

from jaxline_harness import compile_for
from jaxline_harness import errors
from jaxline_harness import machines
from jaxline_harness import memory
from jaxline_harness import program_text
from tests.jaxline_harness import test_launch
from tests.jaxline_harness import toy_experiment

toy = test_launch.toy  # The fixture.
COMPILE = '--jaxline_mode=compile'


@pytest.fixture(scope='module')
def experiment():
  config = toy_experiment.get_config().experiment_kwargs.config
  return toy_experiment.Experiment('train', config=config)


@pytest.fixture(scope='module')
def needs(experiment):
  target = machines.read_target('cpu:2')
  return compile_for.compile_training(
    experiment, target, jax.local_devices()[:2]
  )


def test_donated_state_is_aliased(experiment, needs):
  """No leaf of the state is copied from one chunk to the next."""
  leaves = jax.tree.leaves(experiment.abstract_train_state())
  assert needs.program.aliased_parameters() == set(range(len(leaves)))


def test_what_a_step_sends_and_moves(needs):
  """Gradients of three parameters and a loss; the host has no part in it."""
  sent = needs.program.collectives()
  assert sum(c.num_bytes for c in sent) == 4 * (3 + 1)
  assert not needs.program.host_transfers()


def test_description(needs):
  lines = list(
    compile_for.describe(needs, machines.read_target('cpu:2'), 2**33)
  )
  assert lines[0] == "cpu:2: 2 × this machine's CPU"
  assert 'of 8.00 GiB' in lines[2]
  assert any(line.startswith('sent a step       16 bytes') for line in lines)
  assert not any('floor' in line for line in lines)  # Its rates are not known.


class Sent:
  """A step that sends a sum of 3e9 bytes and gathers 1e9."""

  def flops(self):
    return 10**14

  def collectives(self):
    return [
      program_text.Collective('all-reduce', 3, 10**9),
      program_text.Collective('all-gather', 1, 10**9),
    ]

  def bytes_moved(self):
    return 10**12

  def kernels(self):
    return {'fusion': 7}

  def host_transfers(self):
    return []


def test_floor_of_a_step(needs):
  kind = machines.Kind(
    *('of a test', 'cuda', 10**10, 1.0, 2e12, 1e9),
    flops={'float32': 1e14, 'bfloat16': 2e14},
    sources=(),
  )
  needs = dataclasses.replace(needs, program=Sent(), has_bfloat16=False)
  floors = compile_for.floor_seconds(needs, 4, kind)
  assert floors == pytest.approx(
    {'computing': 1.0, 'memory': 0.5, 'sending': 0.75 * (2 * 3 + 1)}
  )
  target = machines.Target('test:4', (4,), kind)
  lines = list(compile_for.describe(needs, target, 10**10))
  assert lines[3].startswith('operations a step 1e+14 a device')
  assert lines[-1].startswith('floor of a step   5.25e+03 ms, of sending')
  needs = dataclasses.replace(needs, has_bfloat16=True)
  assert compile_for.floor_seconds(needs, 4, kind)['computing'] == 0.5


@pytest.mark.parametrize('limit', [64, 100, 1000, 64 * 31 - 1])
def test_largest_size(limit):
  tried = []

  def problem(size):
    tried.append(size)
    return f'{size} is too large' if size > limit else ''

  size, why = compile_for.search_largest(problem, 64)
  assert size <= limit
  assert size % 64 == 0
  assert 'is too large' in why
  # To an eighth, or to the next multiple.
  assert limit < size + max(64, size / 8) + 64
  assert len(tried) <= 9


def test_largest_batch_of_a_config(needs):
  """Each example takes a MiB beside 3 MiB of state; 20 MiB are there."""
  config = config_dict.ConfigDict(
    {'experiment_kwargs': {'config': {'training': {'batch_size': 4}}}}
  ).lock()

  def compile_with(config):
    size = config.experiment_kwargs.config.training.batch_size
    return dataclasses.replace(
      needs, argument_bytes=3 * 2**20, temporary_bytes=size * 2**20
    )

  found = compile_for.find_largest_batch(compile_with, config, 20 * 2**20)
  assert found.startswith('largest batch     16; a larger one: needs 23.00 MiB')
  assert config.experiment_kwargs.config.training.batch_size == 4
  with pytest.raises(errors.UserError, match='has no training.batch_size'):
    compile_for.find_largest_batch(
      compile_with, toy_experiment.get_config(), 20 * 2**20
    )


def test_devices_are_checked_against_the_target():
  with memory.devices_have(1000):
    memory.check_devices('this', 1000)
    with pytest.raises(errors.UserError, match='would take'):
      memory.check_devices('this', 1001)
  memory.check_devices('this', 1001)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([COMPILE], 'compile needs --target=KIND'),
    ([COMPILE, '--target=fast'], "'fast' is no kind of device"),
    (
      [COMPILE, '--target=cpu', '--coordinator=localhost:1234']
      + ['--num_processes=2', '--process_id=0'],
      'compile is of one process',
    ),
    (['--target=cpu'], '--target is of compile'),
    (['--largest-batch'], '--largest-batch is of compile'),
  ],
)
def test_wrong_commands(toy, arguments, message):
  line = test_launch.error_line(toy(test_launch.CONFIG, *arguments))
  assert message in line


@pytest.mark.slow  # It starts a process, where nothing has used JAX before.
def test_command(tmp_path, one_device_env):
  file = tmp_path / 'new' / 'program.txt'
  command = [test_launch.CONFIG, COMPILE, '--target=cpu:3', f'--hlo={file}']
  done = subprocess.run(
    test_launch.toy_command(*command),
    env=one_device_env,
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0] == "cpu:3: 3 × this machine's CPU"
  assert lines[-1].split() == ['program', str(file)]
  assert file.read_text().startswith('HloModule')
  assert sorted(tmp_path.iterdir()) == [file.parent]  # No run was begun.
