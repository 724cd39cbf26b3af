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
"""The lock that keeps a second training out of a run's folder.

`<run>/.lock` is held with `flock`, which ends with its process, however that
ends. The file names the process that holds it. Where a file system has no
locks, this record alone decides.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import json
import os
import socket
from typing import Any, IO

from absl import logging

from jaxline_harness import errors
from jaxline_harness import files

LOCK_FILE = '.lock'


@contextlib.contextmanager
def locked(
  folder: str,
  doing: str = 'trains',
  named_by: str = '--config.checkpoint_dir',
) -> Iterator[None]:
  """Keeps a second training out of a run's folder.

  Args:
    folder: the run's folder; made if need be.
    doing: what the process does that holds the lock, for messages.
    named_by: the flag that names the folder.

  Yields:
    Nothing.

  Raises:
    errors.UserError: if another process trains there, or the folder cannot be
      written.
  """
  path = os.path.join(folder, LOCK_FILE)
  files.make_folder(folder)
  try:
    # Without a buffer, which a full disk would leave for closing to write.
    file = open(path, 'ab+', buffering=0)
  except OSError as error:
    raise errors.UserError(f'cannot use {path} ({error.strerror})') from error
  try:
    _acquire(file, f'another process {doing} in {folder}', named_by)
    try:
      yield
    finally:
      with contextlib.suppress(OSError):
        file.truncate(0)
  finally:
    with contextlib.suppress(OSError):
      file.close()


def _acquire(file: IO[bytes], refusal: str, named_by: str) -> None:
  """Takes the lock and leaves the record, or raises UserError."""
  holder = _read(file)
  who = _describe(holder) if holder else 'a process without a record'
  advice = f'wait for it, or use another {named_by}'
  refusal = f'{refusal}: {who}'
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    has_locks = True
  except BlockingIOError as error:
    raise errors.UserError(f'{refusal}; {advice}') from error
  except OSError:
    has_locks = False
    if holder and holder['host'] != socket.gethostname():
      raise errors.UserError(
        f'{refusal}; if it has ended, remove {file.name}'
      ) from None
    if holder and _is_running(holder):
      raise errors.UserError(f'{refusal}; {advice}') from None
  if holder:
    logging.info('%s has ended without unlocking %s', who, file.name)
  try:
    file.truncate(0)
    file.write(json.dumps(_record(os.getpid())).encode())
  except OSError as error:  # A full disk; the lock itself needs no room.
    if not has_locks:
      raise errors.UserError(
        f'cannot write {file.name} ({error.strerror})'
      ) from error


def _record(pid: int) -> dict[str, Any]:
  return {'host': socket.gethostname(), 'pid': pid, 'started': _started(pid)}


def _read(file: IO[bytes]) -> dict[str, Any] | None:
  """Returns the record in a lock file, None if there is none."""
  file.seek(0)
  try:
    record = json.load(file)
    return {
      'host': str(record['host']),
      'pid': int(record['pid']),
      'started': record['started'],
    }
  # Whatever somebody else has put there.
  except (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
  ):
    return None


def _describe(record: dict[str, Any]) -> str:
  return f'process {record["pid"]} on host {record["host"]}'


def _is_running(record: dict[str, Any]) -> bool:
  """Returns whether the process of a record of this host still runs."""
  try:
    os.kill(record['pid'], 0)
  except (ProcessLookupError, OverflowError):
    return False
  except OSError:
    pass  # It is another user's.
  return record['started'] == _started(record['pid'])


def _started(pid: int) -> int | None:
  """Returns when a process began, in its machine's ticks.

  It tells a process from a later one of the same number.

  Args:
    pid: its number.

  Returns:
    None if it has ended, and on systems that do not say.
  """
  try:
    with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
      state, *fields = f.read().rpartition(')')[2].split()
    return None if state == 'Z' else int(fields[18])
  except (OSError, ValueError, IndexError):
    return None
