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
"""The lock of a run's folder: held, refused, stale; also without flock."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from jaxline_harness import errors
from jaxline_harness import run_lock

HOST = socket.gethostname()


def record(folder):
  text = (folder / run_lock.LOCK_FILE).read_text()
  return json.loads(text) if text else None


def leave_record(folder, **changes):
  """Writes the record that a process, by default this one, has left."""
  content = run_lock._record(os.getpid()) | changes
  (folder / run_lock.LOCK_FILE).write_text(json.dumps(content))


def number_of_a_dead_process():
  process = subprocess.Popen([sys.executable, '-c', ''])
  process.wait()
  return process.pid


@pytest.fixture
def no_flock(monkeypatch):
  """A file system without locks."""

  def fail(*unused_arguments):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  monkeypatch.setattr(fcntl, 'flock', fail)


def refusal(folder):
  with pytest.raises(errors.UserError) as error:
    with run_lock.locked(str(folder)):
      pass
  return str(error.value)


def test_one_training_a_folder(tmp_path):
  folder = tmp_path / 'new'
  with run_lock.locked(str(folder)):
    assert record(folder)['pid'] == os.getpid()
    assert refusal(folder) == (
      f'another process trains in {folder}: process {os.getpid()} on host '
      f'{HOST}; wait for it, or use another --config.checkpoint_dir'
    )
    assert record(folder)['pid'] == os.getpid()
  assert record(folder) is None
  with run_lock.locked(str(folder)):
    pass


def test_an_error_unlocks(tmp_path):
  with pytest.raises(ZeroDivisionError):
    with run_lock.locked(str(tmp_path)):
      raise ZeroDivisionError
  assert record(tmp_path) is None


HOLDER = """
import sys, time
from jaxline_harness import run_lock
with run_lock.locked(sys.argv[1]):
  print('locked', flush=True)
  time.sleep(60)
"""


def test_another_process_is_named_and_its_death_unlocks(tmp_path):
  holder = subprocess.Popen(
    [sys.executable, '-c', HOLDER, str(tmp_path)], stdout=subprocess.PIPE
  )
  try:
    assert holder.stdout.readline() == b'locked\n'
    assert f'process {holder.pid} on host {HOST}; wait' in refusal(tmp_path)
  finally:
    holder.kill()
    holder.communicate()
  assert holder.returncode == -signal.SIGKILL
  assert record(tmp_path)['pid'] == holder.pid
  with run_lock.locked(str(tmp_path)):
    assert record(tmp_path)['pid'] == os.getpid()


def test_flock_decides_where_there_is_one(tmp_path):
  leave_record(tmp_path, host='elsewhere')
  with run_lock.locked(str(tmp_path)):
    assert record(tmp_path)['host'] == HOST


@pytest.mark.usefixtures('no_flock')
class TestWithoutFlock:
  def test_running_process(self, tmp_path):
    with run_lock.locked(str(tmp_path)):
      assert f'process {os.getpid()} on host {HOST}; wait' in refusal(tmp_path)
    assert record(tmp_path) is None

  def test_dead_process(self, tmp_path):
    leave_record(tmp_path, pid=number_of_a_dead_process())
    with run_lock.locked(str(tmp_path)):
      assert record(tmp_path)['pid'] == os.getpid()

  def test_later_process_with_the_same_number(self, tmp_path):
    leave_record(tmp_path, started=1)
    with run_lock.locked(str(tmp_path)):
      assert record(tmp_path)['started'] != 1

  def test_dead_process_that_nobody_waited_for(self, tmp_path):
    process = subprocess.Popen(
      [sys.executable, '-c', HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert record(tmp_path)['pid'] == process.pid
    with run_lock.locked(str(tmp_path)):
      pass
    process.communicate()

  def test_another_host(self, tmp_path):
    leave_record(tmp_path, host='elsewhere', pid=7)
    message = refusal(tmp_path)
    assert 'process 7 on host elsewhere; if it has ended, remove' in message
    assert message.endswith(str(tmp_path / run_lock.LOCK_FILE))
    assert record(tmp_path)['host'] == 'elsewhere'
    os.remove(tmp_path / run_lock.LOCK_FILE)
    with run_lock.locked(str(tmp_path)):
      pass

  @pytest.mark.parametrize(
    'content', ['', '{', '[]', '{"host": "elsewhere"}', '{"pid": "x"}']
  )
  def test_no_record(self, tmp_path, content):
    (tmp_path / run_lock.LOCK_FILE).write_text(content)
    with run_lock.locked(str(tmp_path)):
      assert record(tmp_path)['pid'] == os.getpid()


def test_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  assert 'cannot write to' in refusal(tmp_path / 'file' / 'run')
