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
"""One training on several devices, in one process or in several.

Each layout is what a user starts: processes with forced CPU devices, which find
each other through the loopback interface.
"""

import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest

from dd_two_player_games import data_utils
from jaxline_harness import draws
from tests.jaxline_harness import processes

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = [sys.executable, '-m', 'dd_two_player_games.experiment']
SETTINGS = '--config.experiment_kwargs.config.'
# Both players' drift terms, with stopped factors averaged over the devices.
POINTS = [
  *PROGRAM,
  f'--config={ROOT / "configs" / "mixture_of_gaussians_config.py"}',
  '--config.checkpoint_dir=run',
  '--config.log_train_data_interval=1',
  '--config.log_tensors_interval=1',
  f'{SETTINGS}training.batch_size=16',
  f'{SETTINGS}training.num_latents=4',
  f'{SETTINGS}training.simultaneous_updates=True',
  *(
    f'{SETTINGS}training.grad_regularizes.dd_coeffs_multiplier.{player}.'
    f'{term}={multiplier}'
    for player in ('disc', 'gen')
    for term, multiplier in (('other_dot_prod', -1.0), ('self_norm', 1.0))
  ),
  *(
    f'{SETTINGS}optimizers.{player}.{field}'
    for player in ('discriminator', 'generator')
    # Adam would turn a gradient's rounding error into a step of full length.
    for field in ('name=sgd', 'lr=0.1', 'kwargs={}')
  ),
  *(
    f'{SETTINGS}nets.{player}_kwargs.{field}'
    for player in ('disc', 'gen')
    for field in ('depth=2', 'hidden_size=16')
  ),
]
# Batch norm, whose statistics are those of the global batch.
IMAGES = [
  *PROGRAM,
  f'--config={ROOT / "configs" / "sgd_fashion_mnist_config.py"}',
  '--config.checkpoint_dir=run',
  f'{SETTINGS}training.batch_size=16',
]


@pytest.fixture(scope='module')
def one_process(tmp_path_factory):
  """Four devices of one process: its folder, its states at start and end."""
  folder = tmp_path_factory.mktemp('one_process')
  end = processes.train(folder, POINTS, 1, 4, 20)
  return folder, processes.state(folder, 0), end


@pytest.mark.slow
def test_processes_change_no_parameter(one_process, tmp_path):
  """Of two devices each, with examples on the host; below, of one."""
  _, start, wanted = one_process
  command = [*POINTS, f'{SETTINGS}data_on=host']
  actual = processes.train(tmp_path / 'run', command, 2, 2, 20)
  processes.assert_equal_but_for_rounding(actual, wanted, start)


@pytest.mark.slow
def test_batch_statistics_are_those_of_all_processes(tmp_path):
  wanted = processes.train(tmp_path / 'one', IMAGES, 1, 2, 3)
  actual = processes.train(tmp_path / 'two', IMAGES, 2, 1, 3)
  assert any('batch_norm' in name for name in wanted)
  processes.assert_equal_but_for_rounding(
    actual, wanted, processes.state(tmp_path / 'one', 0)
  )


# An experiment that notes what it has restored, and the next step's batch.
RECORDER = """
import jax
import numpy as np

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from dd_two_player_games import model_utils
from jaxline_harness import launch


class Recorder(experiment.Experiment):
  def restore_from_snapshot(self, snapshot_state):
    super().restore_from_snapshot(snapshot_state)
    state = self.snapshot_state()['train_state']
    draw = jax.pmap(
      lambda data: self._draws(state, data)(0)[0], axis_name='i'
    )
    batch = draw(model_utils.put_on_local_devices(self.device_data()))
    leaves = jax.tree_util.tree_leaves_with_path(state)
    np.savez(
      'restored.npz',
      num_devices=len(batch),
      batch=np.asarray(batch).reshape(-1, 2),
      **{
        jax.tree_util.keystr(path, simple=True, separator='|'): leaf
        for path, leaf in leaves
      },
    )


launch.main(Recorder, base_config.SCHEMA)
"""


def restored(folder):
  with np.load(folder / 'restored.npz') as f:
    arrays = {name.replace('|', '/'): f[name] for name in f}
  return arrays.pop('num_devices'), arrays.pop('batch'), arrays


@pytest.mark.slow
def test_a_checkpoint_restores_on_any_number_of_devices(one_process, tmp_path):
  """Written on 4 devices, gone on with on fewer, on more, and on 4 again."""
  (folder, _, end), step = one_process, 20
  shutil.copytree(folder / 'run', tmp_path / 'run')
  program = tmp_path / 'recorder.py'
  program.write_text(RECORDER)
  command = [sys.executable, str(program), *POINTS[len(PROGRAM) :]]
  for devices in (1, 8, 4):
    step += 1
    next_end = processes.train(tmp_path, command, 1, devices, step)
    num_devices, batch, arrays = restored(tmp_path)
    assert num_devices == devices
    assert arrays.keys() == end.keys()
    for name, leaf in end.items():
      np.testing.assert_array_equal(arrays[name], leaf, err_msg=name)
    examples = data_utils.load_dataset('mixture_of_gaussians', 'train').examples
    # Two draws a step, and the key that the experiment takes for the data.
    key = jax.random.split(jax.random.PRNGKey(0), 4)[1]
    indices = draws.draw_indices(key, 2 * (step - 1), 16, len(examples))
    np.testing.assert_array_equal(batch, examples[np.asarray(indices)])
    assert not np.array_equal(next_end['global_step'], end['global_step'])
    end = next_end
