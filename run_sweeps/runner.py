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
"""Runs the jobs of a sweep side by side, and records what comes out."""

from collections.abc import Callable, Mapping, Sequence
import signal
import time

from jaxline_harness import errors
from jaxline_harness import run_lock
from jaxline_harness import signals
from run_sweeps import declaration
from run_sweeps import jobs
from run_sweeps import processes
from run_sweeps import progress
from run_sweeps import results as sweep_results

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_TRIES = 2.0


class Runner:
  """Runs jobs, one a slot at a time.

  Attributes:
    results: by the cells' folders.
  """

  def __init__(
    self,
    plan: declaration.Plan,
    results: Mapping[str, sweep_results.Result],
    slots: Sequence[processes.Slot],
    display: progress.Display,
    on_result: Callable[[], None],
  ):
    """Prepares to run.

    Args:
      plan: the sweep.
      results: so far.
      slots: where processes run.
      display: shows how far it is.
      on_result: called after each change of the results.
    """
    self.results = dict(results)
    self._plan = plan
    self._free = list(slots)
    self._display = display
    self._on_result = on_result
    self._waiting: list[jobs.Job] = []
    self._running: list[tuple[jobs.Job, processes.Process, processes.Slot]] = []
    self._held_until: dict[str, float] = {}  # By the folders of jobs.

  def run(self, to_run: Sequence[jobs.Job], watcher: signals.Watcher) -> None:
    """Runs jobs, until all have ended or a signal asks to stop.

    A signal is passed on to the processes, which save.

    Args:
      to_run: in the order in which they begin.
      watcher: of signals.
    """
    self._waiting = list(to_run)
    watcher.can_save = True
    is_told = False
    while self._waiting or self._running:
      if watcher.save_requested:
        watcher.save_requested = False
        self._send(signal.SIGQUIT)
      if watcher.stop_signal is not None and not is_told:
        is_told = True
        self._waiting.clear()
        # One that has just begun would make a traceback of SIGINT.
        self._send(signal.SIGTERM)
      for entry in list(self._running):
        self._look_at(*entry, is_stopping=is_told)
      while self._free and self._start_next():
        pass
      self._display.refresh()
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _send(self, number: int) -> None:
    for _, process, _ in self._running:
      process.send(number)

  def _start_next(self) -> bool:
    """Starts the first job that can; whether there was one."""
    for job in self._waiting:
      if self._held_until.get(job.folder, 0) > time.monotonic():
        continue
      if _is_held(job.folder):  # By what a sweep that was killed has left.
        if job.folder not in self._held_until:
          self._display.say(f'waits for a process that trains in {job.folder}')
        self._held_until[job.folder] = time.monotonic() + _SECONDS_BETWEEN_TRIES
        continue
      self._waiting.remove(job)
      self._begin(job, self._free.pop(0))
      return True
    return False

  def _begin(self, job: jobs.Job, slot: processes.Slot) -> None:
    """Starts a job in a slot, and records that its cells have begun."""
    for cell in job.cells:
      before = self.results[cell.folder].processor_seconds
      begun = sweep_results.Result(
        sweep_results.UNFINISHED, processor_seconds=before
      )
      self._record(cell, begun)
    self._display.begin(job)
    self._run_command(job, slot)

  def _run_command(self, job: jobs.Job, slot: processes.Slot) -> None:
    command = job.commands[job.next_command]
    process = processes.Process(command, slot, job.log_path)
    self._running.append((job, process, slot))

  def _look_at(
    self,
    job: jobs.Job,
    process: processes.Process,
    slot: processes.Slot,
    is_stopping: bool,
  ) -> None:
    """Goes on with a job whose process has ended."""
    ended = process.poll()
    if ended is None:
      return
    self._running.remove((job, process, slot))
    metrics = list(self._plan.more_is_better)
    found = jobs.go_on(job, ended, metrics)
    if is_stopping and (found is None or _has_failed(found)):
      found = jobs.give_all(job, sweep_results.UNFINISHED)
    if found is None:
      self._run_command(job, slot)
      return
    self._free.append(slot)
    for cell in job.cells:
      self._record(cell, self._add_seconds(cell, found[cell.folder]))
    self._display.end(job, self.results)
    self._on_result()

  def _add_seconds(
    self, cell: declaration.Cell, result: sweep_results.Result
  ) -> sweep_results.Result:
    """A result with the processor seconds of its earlier starts."""
    before = self.results[cell.folder].processor_seconds
    return sweep_results.add_seconds(result, before)

  def _record(
    self, cell: declaration.Cell, result: sweep_results.Result
  ) -> None:
    self.results[cell.folder] = result
    sweep_results.write_result(cell, result)


def _has_failed(found: sweep_results.Results) -> bool:
  statuses = [result.status for result in found.values()]
  return sweep_results.FAILED in statuses


def _is_held(folder: str) -> bool:
  """Whether a process trains in a folder."""
  try:
    with run_lock.locked(folder):
      return False
  except errors.UserError:
    return True
