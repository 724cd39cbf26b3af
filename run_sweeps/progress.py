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
"""What a user sees of a sweep: a bar on a terminal, and a line a cell."""

import sys
import time
from typing import Any, TextIO

import tqdm

from run_sweeps import jobs
from run_sweeps import results as sweep_results

_BAR = '{n_fmt}/{total_fmt} cells|{bar}|{postfix}'


class Display:
  """Shows which cells have ended, with what, and the time left.

  The time left is that of the cells to come at the pace of those that have
  ended in this start of the sweep.
  """

  def __init__(
    self,
    num_cells: int,
    num_to_run: int,
    num_slots: int,
    stream: TextIO | None = None,
  ):
    """Opens the display.

    Args:
      num_cells: of the sweep.
      num_to_run: those that have not ended.
      num_slots: how many jobs run side by side.
      stream: where to write; by default standard error.
    """
    self._stream = sys.stderr if stream is None else stream
    self._num_cells, self._num_left = num_cells, num_to_run
    self._num_slots = num_slots
    self._begun: dict[str, float] = {}  # When, by the jobs' folders.
    self._job_seconds = 0.0
    self._num_timed = 0
    self._bar: Any = None
    if self._stream.isatty():
      self._bar = tqdm.tqdm(
        total=num_cells,
        initial=num_cells - num_to_run,
        bar_format=_BAR,
        dynamic_ncols=True,
        file=self._stream,
      )

  def say(self, text: str) -> None:
    """Writes a line, above the bar where there is one."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    else:
      print(text, file=self._stream, flush=True)

  def begin(self, job: jobs.Job) -> None:
    """Takes note that a job begins."""
    self._begun[job.folder] = time.monotonic()

  def end(self, job: jobs.Job, results: sweep_results.Results) -> None:
    """Shows what a job that has ended gave."""
    seconds = time.monotonic() - self._begun.pop(job.folder)
    for cell in job.cells:
      result = results[cell.folder]
      if result.status == sweep_results.UNFINISHED:
        self.say(f'{cell.name}: stopped')
        continue
      self._num_left -= 1
      self._num_timed += 1
      self._job_seconds += seconds / len(job.cells)
      done = self._num_cells - self._num_left
      self.say(f'[{done}/{self._num_cells}] {cell.name}: {_describe(result)}')
    left = self._describe_time_left()
    if self._bar is not None:
      self._bar.n = self._num_cells - self._num_left
      self.refresh()
    elif left:
      self.say(left)

  def _describe_time_left(self) -> str:
    if not self._num_timed or not self._num_left:
      return ''
    a_cell = self._job_seconds / self._num_timed / self._num_slots
    left = tqdm.tqdm.format_interval(round(a_cell * self._num_left))
    return f'{self._num_left} cells to go, about {left}'

  def refresh(self) -> None:
    """Redraws the bar."""
    if self._bar is not None:
      self._bar.set_postfix_str(self._describe_time_left(), refresh=False)
      self._bar.refresh()

  def close(self) -> None:
    """Leaves the display as it is."""
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> 'Display':
    return self

  def __exit__(self, *unused_error) -> None:
    self.close()


def _describe(result: sweep_results.Result) -> str:
  if result.status != sweep_results.DONE:
    return f'{result.status}: {result.message}'
  return ', '.join(
    f'{name} {value:.4g}' for name, value in result.metrics.items()
  )
