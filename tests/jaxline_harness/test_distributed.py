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

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

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
  assert distributed.find_cluster(None, None, None) is None


@pytest.mark.parametrize(
  ('address', 'host', 'port'),
  [
    ('host7:1234', 'host7', 1234),
    ('10.0.0.1:65535', '10.0.0.1', 65535),
    ('[::1]:80', '::1', 80),
  ],
)
def test_address(address, host, port):
  cluster = distributed.find_cluster(address, 4, 3)
  assert cluster == distributed.Cluster(host, port, 4, 3)


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
    distributed.find_cluster(*arguments)


SLURM = {
  'SLURM_JOB_ID': '77123',
  'SLURM_STEP_NODELIST': 'node[03-06]',
  'SLURM_NTASKS': '8',
  'SLURM_PROCID': '5',
  'SLURM_LOCALID': '1',
}


def test_auto_finds_a_slurm_step(monkeypatch):
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  cluster = distributed.find_cluster('auto', None, None)
  assert cluster._replace(port=0) == ('node03', 0, 8, 5, [1])
  assert cluster.port > 1024


def test_auto_without_a_cluster_says_what_to_do(monkeypatch):
  for name in (*SLURM, 'KUBERNETES_SERVICE_HOST', 'OMPI_MCA_orte_hnp_uri'):
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(errors.UserError, match='--coordinator=HOST:PORT'):
    distributed.find_cluster('auto', None, None)


@pytest.mark.parametrize(
  'argument', ['--num_processes=two', '--process_id=0', '--coordinator=here']
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


def meet(port, process_id, settings, num_processes=3, use=None):
  """A process's outcome: its port for JAX, its error, or what `use` gives."""
  cluster = distributed.Cluster(
    '127.0.0.1', port, num_processes, process_id, None
  )
  try:
    group, jax_port = distributed._meet(cluster, settings)
  except errors.UserError as error:
    return str(error)
  outcome = use(group) if use else jax_port
  group.leave()
  return outcome


def meet_all(*arguments):
  """The outcomes of several processes, each a thread here."""
  port = processes.free_port()
  outcomes = [None] * len(arguments)

  def run(i):
    outcomes[i] = meet(port, *arguments[i])

  threads = [
    threading.Thread(target=run, args=(i,)) for i in range(len(arguments))
  ]
  for thread in threads:
    thread.start()
    time.sleep(0.05)  # They come in this order.
  for thread in threads:
    thread.join(20)
  return outcomes


def test_all_meet_and_agree_on_a_port():
  settings = {'a': 1, 'b': [1, 'x']}
  ports = meet_all((2, settings), (0, settings), (1, settings))
  assert len(set(ports)) == 1
  assert isinstance(ports[0], int)


def test_processes_that_differ_are_told_in_what():
  same, other = {'config.a': 1, 'config.b': 2}, {'config.a': 1, 'config.b': 3}
  outcomes = meet_all((0, same), (1, same), (2, other))
  assert len(set(outcomes)) == 1
  assert 'config.b is 2 in process 0 and 3 in process 2' in outcomes[0]


def test_another_number_of_processes_is_refused():
  outcomes = meet_all((0, {}), (1, {}, 4))
  assert len(set(outcomes)) == 1
  assert '--num_processes is 3 in process 0 and 4 in process 1' in outcomes[0]


def test_a_process_that_comes_twice_is_told():
  outcomes = meet_all((0, {}), (1, {}), (1, {}), (2, {}))
  assert '--process_id=1' in outcomes[1]
  assert outcomes[0] == outcomes[2] == outcomes[3]


def test_who_is_missing(monkeypatch):
  monkeypatch.setattr(distributed, 'START_SECONDS', 0.5)
  outcomes = meet_all((0, {}), (2, {}))
  assert outcomes[0] == outcomes[1]
  assert outcomes[0].endswith('did not come within 0.5 seconds: 1')


def test_without_process_0(monkeypatch):
  monkeypatch.setattr(distributed, 'START_SECONDS', 0.5)
  (outcome,) = meet_all((1, {}))
  assert 'no process 0' in outcome


@pytest.mark.parametrize(
  'said',
  [b'', b'GET / HTTP/1.1\r\n\r\n', b'[]\n', b'{"settings": {}}\n', b'\0'],
)
def test_strangers_do_not_disturb(said):
  port = processes.free_port()
  outcomes = {}
  first = threading.Thread(
    target=lambda: outcomes.update({0: meet(port, 0, {}, 2)})
  )
  first.start()
  while True:
    try:
      stranger = socket.create_connection(('127.0.0.1', port))
      break
    except OSError:
      time.sleep(0.05)
  with stranger:
    stranger.sendall(said)
    stranger.shutdown(socket.SHUT_WR)
    outcomes[1] = meet(port, 1, {}, 2)
  first.join(20)
  assert outcomes[0] == outcomes[1]


def test_a_taken_port_is_one_line():
  with socket.create_server(('', 0)) as server:
    outcome = meet(server.getsockname()[1], 0, {})
  assert 'cannot listen' in outcome


def test_exchange():
  """All get everyone's values in order, whoever comes first, every time."""

  def use(i):
    def exchange_twice(group):
      time.sleep(0.1 * ((i + 1) % 3))
      return group.exchange(i), group.exchange([i, 'x', None])

    return exchange_twice

  outcomes = meet_all(*((i, {}, 3, use(i)) for i in (2, 0, 1)))
  first, second = [0, 1, 2], [[0, 'x', None], [1, 'x', None], [2, 'x', None]]
  assert outcomes == [(first, second)] * 3


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
@pytest.mark.parametrize('victim', [0, 2])
def test_a_killed_process_ends_the_others(victim, tmp_path):
  every = '--config.save_checkpoint_interval=50'
  with processes.Processes(tmp_path, [*TOY, FOR_EVER, every], 3) as group:
    group.wait_for(tmp_path / 'run' / 'checkpoints' / 'latest' / '50')
    start = time.monotonic()
    group.signal(victim, signal.SIGKILL)
    statuses = group.wait(30)
    assert time.monotonic() - start < 10
    assert statuses.pop(victim) == -signal.SIGKILL
    assert statuses == [1, 1]
    for i in {0, 1, 2} - {victim}:
      lines = group.stderr(i).splitlines()
      assert any(
        line.startswith(f'error: process {victim} of 3 (') and 'died' in line
        for line in lines
      )
      assert 'Traceback' not in group.stderr(i)
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
    ('errors.TrainingError("no data here")', 1),
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
    (line,) = both.stderr(0).splitlines()[1:]
    assert line.startswith('error: process 1 of 2 (')
    assert 'no data here' in line


@pytest.mark.slow
def test_a_slurm_step_of_one_task(tmp_path):
  alone = {**SLURM, 'SLURM_NTASKS': '1', 'SLURM_PROCID': '0'}
  alone |= {'SLURM_STEP_NODELIST': '127.0.0.1', 'SLURM_LOCALID': '0'}
  result = subprocess.run(
    [*TOY, '--coordinator=auto'],
    cwd=tmp_path,
    env={**os.environ, **alone},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == 0, result.stderr
  assert 'Trained to step 20.' in result.stdout
