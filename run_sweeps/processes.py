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
"""Processes of cells, each on a core or a GPU of its own.

A process ends with the sweep, however that ends: the system sends it SIGHUP,
on which a training saves, however often it comes: once for each of the sweep's
threads (Linux). It is in a session of its own, so that Ctrl+C on a terminal
reaches the sweep alone, which passes it on.
"""

from collections.abc import Mapping, Sequence
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from typing import NamedTuple

_VISIBLE = 'CUDA_VISIBLE_DEVICES'
# Takes a core and its parent's number; then becomes the rest of its command.
# Another program than this one does it: what runs between fork and exec of a
# process with threads may hang.
_LAUNCHER = """
import ctypes, os, signal, sys
core, parent, *command = sys.argv[1:]
if core and hasattr(os, 'sched_setaffinity'):
  os.sched_setaffinity(0, {int(core)})
if sys.platform == 'linux':
  signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Of nohup it is ignored.
  ctypes.CDLL(None).prctl(1, signal.SIGHUP)  # PR_SET_PDEATHSIG
  if os.getppid() != int(parent):
    sys.exit(128 + signal.SIGHUP)
os.execv(command[0], command)
"""


class Slot(NamedTuple):
  """Where a process runs.

  Attributes:
    core: its only core; None for any.
    gpu: its only GPU, as CUDA_VISIBLE_DEVICES names it; None for those that
      there are.
    shares_gpu: whether others run on the same GPU.
  """

  core: int | None = None
  gpu: str | None = None
  shares_gpu: bool = False

  def environment(self) -> dict[str, str]:
    """What a process finds in its environment."""
    environment = dict(os.environ)
    if self.gpu is not None:
      environment[_VISIBLE] = self.gpu
    if self.shares_gpu:  # JAX takes most of its memory otherwise.
      environment['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
    return environment


def find_slots(num_jobs: int | None) -> list[Slot]:
  """The GPUs that there are, else the cores.

  Args:
    num_jobs: how many slots; None for one a GPU, or one a core.

  Returns:
    The slots; where they are more than GPUs or cores, some share one.
  """
  gpus = _find_gpus()
  if gpus:
    num = num_jobs or len(gpus)
    return [
      Slot(None, gpus[k % len(gpus)], num > len(gpus)) for k in range(num)
    ]
  cores: list[int] = []
  if hasattr(os, 'sched_getaffinity'):
    cores = sorted(os.sched_getaffinity(0))
  num = num_jobs or len(cores) or os.cpu_count() or 1
  return [Slot(cores[k % len(cores)] if cores else None) for k in range(num)]


def _find_gpus() -> list[str]:
  """The GPUs that JAX would use; none where it would use the CPU."""
  platforms = (os.environ.get('JAX_PLATFORMS') or 'cuda').split(',')
  has_plugin = any(
    importlib.util.find_spec(f'jax_cuda{version}_plugin')
    for version in (12, 13)
  )
  if not has_plugin or not {'cuda', 'gpu'} & set(platforms):
    return []
  if _VISIBLE in os.environ:
    names = os.environ[_VISIBLE].split(',')
    return [name for name in names if name not in ('', '-1')]
  query = ['nvidia-smi', '--query-gpu=index', '--format=csv,noheader']
  try:
    found = subprocess.run(query, capture_output=True, text=True, timeout=60)
  except (OSError, subprocess.SubprocessError):
    return []
  return found.stdout.split() if found.returncode == 0 else []


class Ended(NamedTuple):
  """How a process has ended.

  Attributes:
    status: its exit status; of a signal, its negative number.
    processor_seconds: that it has used.
    last_line: of its output: the one that tells of an error, if one does.
  """

  status: int
  processor_seconds: float
  last_line: str

  @property
  def stopped_by(self) -> int | None:
    """The number of the signal that has ended it, if one has."""
    if self.status < 0:
      return -self.status
    number = self.status - 128
    return number if number in (1, 2, 15) else None


class Process:
  """A command that runs, its output appended to a log."""

  def __init__(
    self,
    command: Sequence[str],
    slot: Slot,
    log_path: str,
    environment: Mapping[str, str] | None = None,
  ):
    """Starts it.

    Args:
      command: a program's absolute path, and its arguments.
      slot: where it runs.
      log_path: of the log; its folder is there.
      environment: beside the slot's own.
    """
    self._log_path = log_path
    core = '' if slot.core is None else str(slot.core)
    launcher = [sys.executable, '-I', '-S', '-c', _LAUNCHER]
    with open(log_path, 'a', encoding='utf-8') as log:
      log.write(f'$ {shlex.join(command)}\n')
      log.flush()
      self._log_start = log.tell()
      self._process = subprocess.Popen(
        [*launcher, core, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=slot.environment() | dict(environment or {}),
        start_new_session=True,
      )

  def poll(self) -> Ended | None:
    """How it has ended, or None while it runs; not to be called after that."""
    pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
    if not pid:
      return None
    self._process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
      self._process.returncode,
      usage.ru_utime + usage.ru_stime,
      self._read_last_line(),
    )

  def send(self, number: int) -> None:
    """Sends it a signal."""
    if self._process.returncode is None:
      os.kill(self._process.pid, number)

  def _read_last_line(self) -> str:
    with open(self._log_path, encoding='utf-8', errors='replace') as log:
      log.seek(self._log_start)
      lines = [line.strip() for line in log if line.strip()]
    told = [line for line in lines if line.startswith('error: ')]
    return (told or lines or [''])[-1]


def describe_signal(number: int) -> str:
  """A signal's name, where it has one."""
  try:
    return signal.Signals(number).name
  except ValueError:
    return f'signal {number}'
