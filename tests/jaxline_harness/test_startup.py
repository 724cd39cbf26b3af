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
"""The first moments of a program, and its end: messages lost, signals."""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.jaxline_harness import test_launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPERIMENTS = [
  'dd_two_player_games',
  'eigengame_unloaded',
  'principal_flow_instability_single_objective',
]
# The shell's words for outputs that cannot be written.
LOST = [
  '>/dev/full 2>/dev/full',
  '>&- 2>&-',
  '<&- >&- 2>&-',
  '2>&1 | head -c 5',
  '2>&1 >&- | head -c 5',
]
# Says much in all ways, and writes a file as a run does.
TALKATIVE = """
from jaxline_harness import startup
startup.begin()
import contextlib, logging, os, sys, warnings
import tqdm
from absl import logging as absl_logging
with open('record', 'w') as f:
  for descriptor in (1, 2):
    with contextlib.suppress(OSError):
      os.write(descriptor, b'from C\\n')
  for i in tqdm.tqdm(range(1000), mininterval=0):
    print('line', i, '\\udcff')
    print('line', i, file=sys.stderr)
    absl_logging.warning('line %d', i)
    logging.warning('line %d', i)
    warnings.warn(f'line {i}')
  f.write('whole')
sys.exit(7)
"""


def run_shell(command, folder, env=None):
  """Runs a command line of bash: (status of its first part, what it says)."""
  result = subprocess.run(
    ['bash', '-c', f'{command}; exit ${{PIPESTATUS[0]}}'],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    timeout=120,
  )
  return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize('lost', LOST)
def test_messages_are_dropped(tmp_path, lost):
  (tmp_path / 'program.py').write_text(TALKATIVE)
  status, said = run_shell(f'{sys.executable} program.py {lost}', tmp_path)
  assert status == 7, said
  assert len(said) <= 5
  assert (tmp_path / 'record').read_text() == 'whole'


def test_messages_are_not_dropped_where_they_can_be_written(tmp_path):
  (tmp_path / 'program.py').write_text(TALKATIVE)
  status, said = run_shell(f'{sys.executable} program.py', tmp_path)
  assert status == 7
  for line in ('line 999 \\udcff\n', 'line 999\n', 'WARNING:root:line 999\n'):
    assert line in said
  assert '1000/1000' in said
  assert said.count('from C') == 2


@pytest.mark.slow
@pytest.mark.parametrize('lost', LOST[:2] + LOST[3:4])
def test_training_outlives_its_messages(tmp_path, one_device_env, lost):
  command = ' '.join(test_launch.toy_command(test_launch.CONFIG))
  status, said = run_shell(
    f'{command} --verbosity=0 {lost}', tmp_path, one_device_env
  )
  assert status == 0, said
  assert said in ('', 'INFO:')
  run = tmp_path / 'runs' / 'toy'
  assert test_launch.state_bytes(run)['step'] == 20
  assert len(test_launch.rows(run / 'train' / 'metrics.csv')) == 4


def catches_all(pid):
  """Whether a process has all handlers that `signals` sets one by one."""
  status = pathlib.Path('/proc', str(pid), 'status').read_text()
  caught = int(status.split('SigCgt:')[1].split()[0], 16)
  numbers = signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM
  return all(caught & 1 << (number - 1) for number in numbers)


def end_early(command, *numbers):
  """Starts a program and sends signals at once: (status, what it says)."""
  with subprocess.Popen(
    command,
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    # It would heed a `nohup` around the tests.
    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
  ) as process:
    while process.poll() is None and not catches_all(process.pid):
      time.sleep(0.001)
    for number in numbers:
      os.kill(process.pid, number)
    said = process.communicate(timeout=60)[0].decode()
    return process.returncode, said


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_programs_can_be_ended_while_they_import(name):
  command = [sys.executable, '-m', f'{name}.experiment', '--config=x.py']
  assert end_early(command, signal.SIGINT) == (130, 'exits: nothing to save\n')


@pytest.mark.parametrize(
  ('numbers', 'status'),
  [
    ([signal.SIGTERM], 143),
    ([signal.SIGHUP], 129),
    ([signal.SIGINT, signal.SIGINT], 130),
    ([signal.SIGTERM, signal.SIGTERM], 143),
  ],
)
def test_status_after_signals(numbers, status):
  code = (
    'from jaxline_harness import startup\n'
    'startup.begin()\n'
    'for _ in range(1000):\n'
    '  try:\n'
    '    import time\n'
    '    time.sleep(.03)\n'
    '  except:\n'
    "    print('swallowed')\n"
  )
  assert end_early([sys.executable, '-c', code], *numbers) == (
    status,
    'exits: nothing to save\n',
  )


def test_nohup_keeps_its_meaning():
  code = (
    'import os, signal, time\n'
    'signal.signal(signal.SIGHUP, signal.SIG_IGN)\n'
    'from jaxline_harness import startup\n'
    'startup.begin()\n'
    'os.kill(os.getpid(), signal.SIGHUP)\n'
    'time.sleep(.1)\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


# Threads that allocate all at once take heaps of their own where they may.
HEAPS = """
import ctypes, os, sys, threading
from jaxline_harness import startup
startup.begin()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(6)
def allocate():
  barrier.wait()
  libc.malloc(100_000)
  barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads:
  thread.start()
for thread in threads:
  thread.join()
file = ctypes.c_void_p(libc.fopen(b'heaps', b'w'))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'mallopt'), reason='not glibc'
)
@pytest.mark.parametrize(
  ('chosen', 'is_limited'), [({}, True), ({'MALLOC_ARENA_MAX': '9'}, False)]
)
def test_threads_share_heaps_unless_the_user_chose(
  tmp_path, chosen, is_limited
):
  subprocess.run(
    [sys.executable, '-c', HEAPS],
    env={'PYTHONPATH': str(ROOT), **chosen},
    cwd=tmp_path,
    check=True,
    timeout=60,
  )
  heaps = (tmp_path / 'heaps').read_text().count('<heap nr=')
  assert (heaps <= 2) == is_limited, heaps
