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
"""Processes that train together: how they meet, end and fail."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from jaxline_harness import clusters
from jaxline_harness import distributed
from jaxline_harness import errors
from tests.jaxline_harness import processes

FOLDER = pathlib.Path(__file__).parent
TOY = [
  sys.executable,
  str(FOLDER / 'toy_experiment.py'),
  f'--config={FOLDER / "toy_config.py"}',
  '--config.checkpoint_dir=run',
]
FOR_EVER = '--config.training_steps=10000000'


# The flags.


def test_without_flags_there_is_no_cluster():
  assert clusters.find_cluster(None, None, None) is None


@pytest.mark.parametrize(
  'address', ['host7:1234', '10.0.0.1:65535', '[::1]:80']
)
def test_address(address):
  cluster = clusters.find_cluster(address, 4, 3)
  assert cluster == clusters.Cluster(address, 4, 3)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ((None, 2, None), '--coordinator=HOST:PORT'),
    ((None, None, 0), '--coordinator=HOST:PORT'),
    (('h:1', None, 0), '--num_processes'),
    (('h:1', 2, None), '--process_id'),
    (('h:1', 0, 0), 'at least 1'),
    (('h:1', 2, 2), 'from 0 to 1'),
    (('h:1', 2, -1), 'from 0 to 1'),
    (('h', 2, 0), 'HOST:PORT'),
    (('h:', 2, 0), 'HOST:PORT'),
    ((':1', 2, 0), 'HOST:PORT'),
    (('h:0', 2, 0), 'HOST:PORT'),
    (('h:65536', 2, 0), 'HOST:PORT'),
    (('h:port', 2, 0), 'HOST:PORT'),
    (('auto', 2, 0), 'leave'),
    (('auto', None, 0), 'leave'),
  ],
)
def test_flags_that_cannot_be_right(arguments, message):
  with pytest.raises(errors.UserError, match=message):
    clusters.find_cluster(*arguments)


SLURM = {
  'SLURM_JOB_ID': '77123',
  'SLURM_STEP_NODELIST': '127.0.0.1',
  'SLURM_NTASKS': '1',
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
}


def test_auto_is_left_to_jax():
  cluster = clusters.find_cluster('auto', None, None)
  assert cluster == clusters.Cluster(None, None, None)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
  'argument',
  [
    '--num_processes=two',
    '--process_id=0',
    '--coordinator=here',
    '--coordinator=auto',
  ],
)
def test_a_wrong_flag_is_one_line(argument, tmp_path):
  result = subprocess.run(
    [*TOY, argument], cwd=tmp_path, capture_output=True, text=True, timeout=60
  )
  assert result.returncode == 2
  assert result.stderr.startswith('error: ')
  assert result.stderr.count('\n') == 1
  assert not list(tmp_path.iterdir())


# The meeting.


# Arguments: settings, seconds to wait for others, and those of a cluster. The
# slow event is what says that a process watches the others no more.
MEET = """
import json, os, sys, threading, time
from jaxline_harness import clusters, distributed, errors

class SlowEvent(threading.Event):
  def set(self):
    time.sleep(2)
    super().set()

settings, seconds, *flags = sys.argv[1:]
address, number, me = (flag.split('=')[1] for flag in flags)
clusters.START_SECONDS = int(seconds)
settings = json.loads(settings)
if settings.pop('differs_in', None) == me:
  settings['config.b'] = 3
number = settings.pop('numbers', {}).get(me, number)
if settings.pop('watches_longest', None) == me:
  threading.Event = SlowEvent
cluster = clusters.find_cluster(address, int(number), int(me))
try:
  with distributed.joined(cluster, settings):
    time.sleep(0.1 * ((int(me) + 1) % 3))
    values = distributed.exchange(int(me)), distributed.exchange([me, None])
    print(json.dumps(values))
except errors.UserError as error:
  print(error, flush=True)
  distributed.leave_at_once(2)
"""


def meet(folder, settings, num_processes=3, seconds=60, port=None):
  """Starts processes that meet and exchange values twice."""
  command = [sys.executable, '-c', MEET, json.dumps(settings), str(seconds)]
  return processes.Processes(folder, command, num_processes, port=port)


def test_all_get_the_values_of_all_in_order(tmp_path):
  with meet(tmp_path, {'config.a': [1, 'x']}) as group:
    assert group.wait() == [0, 0, 0], group.stderr(0)
    first, second = [0, 1, 2], [['0', None], ['1', None], ['2', None]]
    for i in range(3):
      assert json.loads(group.stdout(i)) == [first, second]
      assert group.stderr(i) == ''


@pytest.mark.parametrize('slow', [0, 1])
def test_who_leaves_first_is_not_taken_for_dead(slow, tmp_path):
  with meet(tmp_path, {'watches_longest': str(slow)}) as group:
    assert group.wait() == [0, 0, 0], group.stderr(slow)
    assert [group.stderr(i) for i in range(3)] == ['', '', '']


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'config.b': 2, 'differs_in': '2'},
      'config.b is 2 in process 0 and 3 in process 2 of 3 (',
    ),
    pytest.param(
      {'numbers': {'1': 4}},
      '--num_processes is 3 in process 0 and 4 in process 1 of 3 (',
      marks=pytest.mark.slow,
    ),
  ],
)
def test_processes_that_differ_are_told_in_what(settings, message, tmp_path):
  with meet(tmp_path, settings) as group:
    assert group.wait() == [2, 2, 2]
    assert {group.stdout(i) for i in range(3)} == {group.stdout(0)}
    assert group.stdout(0).startswith(message)


@pytest.mark.slow
def test_a_process_that_does_not_come(tmp_path):
  with meet(tmp_path, {}, seconds=10) as group:
    group.signal(1, signal.SIGKILL)
    assert group.wait() == [2, -signal.SIGKILL, 2]
    for i in (0, 2):
      assert '3 processes did not meet at 127.0.0.1' in group.stdout(i)
      assert 'within 10 seconds' in group.stdout(i)


@pytest.mark.slow
def test_strangers_do_not_disturb(tmp_path):
  """Silent ones, and those that speak something else."""
  port = processes.free_port()
  with meet(tmp_path, {}, port=port) as group, contextlib.ExitStack() as stack:
    for said in (b'', b'GET / HTTP/1.1\r\n\r\n', b'[' * 200_000, b'\0'):
      stranger = stack.enter_context(connect(port))
      with contextlib.suppress(OSError):
        stranger.sendall(said)
    assert set(listeners(port)) == {'0100007F'}  # 127.0.0.1.
    assert group.wait() == [0, 0, 0], group.stdout(0)


def connect(port):
  while True:
    try:
      return socket.create_connection(('127.0.0.1', port))
    except OSError:
      time.sleep(0.05)


def listeners(port):
  """Where this machine's processes listen at a port, as the system says it."""
  found = []
  for name in ('tcp', 'tcp6'):
    with open(f'/proc/net/{name}') as f:
      fields = [line.split() for line in list(f)[1:]]
    for address, state in ((row[1], row[3]) for row in fields):
      host, _, number = address.partition(':')
      if state == '0A' and int(number, 16) == port:
        found.append(host.removeprefix('0000000000000000FFFF0000'))
  return found


@pytest.mark.parametrize(
  ('address', 'bound'),
  [('127.0.0.1', True), ('[::1]', True), ('localhost', True), ('h7', False)],
)
def test_only_loopback_addresses_are_listened_at_alone(address, bound):
  address = f'{address}:{processes.free_port()}'
  cluster = clusters.Cluster(address, 2, 0)
  wanted = address if bound else None
  assert clusters._choose_bind_address(cluster) == wanted
  assert clusters._choose_bind_address(cluster._replace(process_id=1)) is None


def test_a_taken_port_is_one_line():
  with socket.create_server(('', 0)) as server:
    address = f'127.0.0.1:{server.getsockname()[1]}'
    with pytest.raises(errors.UserError, match='cannot listen'):
      clusters._choose_bind_address(clusters.Cluster(address, 2, 0))


def test_exchange_alone():
  assert distributed.exchange({'a': 1}) == [{'a': 1}]


# Whole programs.


def newest_step(folder):
  latest = folder / 'run' / 'checkpoints' / 'latest'
  return max(int(p.name) for p in latest.iterdir() if p.name.isdigit())


@pytest.mark.slow
def test_trains_once_and_the_first_process_writes(tmp_path):
  with processes.Processes(tmp_path, [*TOY, '--verbosity=0'], 2) as both:
    assert both.wait() == [0, 0]
    assert 'Trained to step 20.' in both.stdout(0)
    assert 'saved' in both.stderr(0)
    assert both.stdout(1) == ''
    assert 'saved' not in both.stderr(1)
    assert 'step 20/20' not in both.stderr(1)
  described = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert len(described['devices']) == 2
  assert newest_step(tmp_path) == 20


@pytest.mark.slow
@pytest.mark.parametrize(
  ('victim', 'number'),
  [(0, signal.SIGKILL), (2, signal.SIGKILL), (0, signal.SIGSTOP)],
)
def test_a_dead_process_ends_the_others(victim, number, tmp_path):
  every = '--config.save_checkpoint_interval=50'
  with processes.Processes(tmp_path, [*TOY, FOR_EVER, every], 3) as group:
    group.wait_for(tmp_path / 'run' / 'checkpoints' / 'latest' / '50')
    start = time.monotonic()
    group.signal(victim, number)
    others = {0, 1, 2} - {victim}
    assert [group.wait_for_end(i, 60) for i in others] == [1, 1]
    assert time.monotonic() - start < 30
    for i in others:
      assert (
        group.stderr(i)
        .splitlines()[-1]
        .startswith(f'error: process {victim} of 3 (')
      )
      assert group.stderr(i).count('died or does not answer; all pro') == 1
      assert 'Traceback' not in group.stderr(i)
      assert '***' not in group.stderr(i)  # As C++ says it.
    if number == signal.SIGSTOP:
      group.signal(victim, signal.SIGCONT)
      assert group.wait_for_end(victim, 60) == 1
  reached = newest_step(tmp_path)
  to = f'--config.training_steps={reached + 30}'
  with processes.Processes(tmp_path, [*TOY, to], 3) as group:
    assert group.wait() == [0, 0, 0]
    assert f'training from step {reached} to {reached + 30}' in group.stderr(0)


@pytest.mark.slow
def test_a_signal_to_one_stops_all_at_one_step_saved(tmp_path):
  with processes.Processes(tmp_path, [*TOY, FOR_EVER], 2) as both:
    both.wait_for(tmp_path / 'run' / 'train' / 'metrics.csv')
    both.signal(1, signal.SIGTERM)
    assert both.wait() == [143, 143]
    assert f'Stopped at step {newest_step(tmp_path)}, saved' in both.stdout(0)


@pytest.mark.slow
def test_what_is_not_finite_is_written_before_all_end(tmp_path):
  nan = '--config.experiment_kwargs.config.nan_loss_at=15'
  with processes.Processes(tmp_path, [*TOY, nan], 2) as both:
    assert both.wait() == [1, 1]
    for i in range(2):
      assert 'step 15: not finite: toy_loss (nan)' in both.stderr(i)
  run = tmp_path / 'run' / 'checkpoints'
  assert {p.name for p in (run / 'nonfinite').iterdir()} == {'14', '15'}


FAILS_IN_ONE = """
import jax
from jaxline_harness import errors
from jaxline_harness import launch
from tests.jaxline_harness import toy_experiment


class Experiment(toy_experiment.Experiment):
  def device_data(self):
    if jax.process_index() == 1:
      raise {error}
    return super().device_data()


launch.main(Experiment, toy_experiment.SCHEMA)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  ('error', 'status'),
  [
    ('errors.UserError("no data here")', 2),
    ('KeyError("no data here")', 1),
  ],
)
def test_an_error_of_one_ends_all(error, status, tmp_path):
  program = tmp_path / 'program.py'
  program.write_text(FAILS_IN_ONE.format(error=error))
  command = [sys.executable, str(program), *TOY[2:]]
  with processes.Processes(tmp_path, command, 2) as both:
    assert both.wait() == [1, status]
    if error.startswith('errors.'):
      assert both.stderr(1).startswith('error: no data here')
      assert both.stderr(1).count('\n') == 1
    else:  # Not a user's mistake: where it happened is of interest.
      assert 'Traceback' in both.stderr(1)
    *_, line = both.stderr(0).splitlines()
    assert line.startswith('error: process 1 of 2 (')
    assert 'no data here' in line


@pytest.mark.slow
def test_a_slurm_step_of_one_task(tmp_path):
  result = subprocess.run(
    [*TOY, '--coordinator=auto'],
    cwd=tmp_path,
    env={**os.environ, **SLURM},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == 0, result.stderr
  assert 'Trained to step 20.' in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
  'variable', ['JAX_THREEFRY_PARTITIONABLE=0', 'JAX_ENABLE_X64=1']
)
def test_settings_of_jax_must_be_the_same(variable, tmp_path):
  name, value = variable.split('=')
  port = processes.free_port()
  group = processes.Processes(tmp_path, TOY, 2, port=port, only=0)
  other = processes.Processes(
    tmp_path, TOY, 2, port=port, only=1, env={name: value}
  )
  with group, other:
    assert group.wait() == other.wait() == [2]
    for i in range(2):
      line = group.stderr(i).splitlines()[-1]
      assert line.startswith(f'error: {name} is ')
      assert 'in process 1 of 2 (' in line
