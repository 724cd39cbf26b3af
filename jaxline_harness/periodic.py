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
"""What is done every so many steps or seconds, and how long chunks may be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import math
import time
from typing import Any, NamedTuple

_CHUNK_SECONDS = 2.0


class Observation(NamedTuple):
  """What is measured beside training, at steps of its own.

  Attributes:
    series: the folder in the run's folder that gets its rows and curves.
    every: steps from one to the next; 0 for never.
    measure: maps the step, and a `run_directory.Writer` (None in processes that
      write nothing), to scalars. Every process calls it.
  """

  series: str
  every: int
  measure: Callable[[int, Any], Mapping[str, Any]]


class PeriodicAction:
  """Calls a function every so many steps or seconds."""

  def __init__(
    self,
    function: Callable[[int, dict[str, Any]], None],
    interval: float | None,
    unit: str = 'steps',
    growth_ratios: Sequence[float] | None = None,
    last_step: int | None = None,
  ):
    """Prepares; the clock runs from the call of `start`.

    Args:
      function: called with a step and its logs; `steps_per_sec` is added.
      interval: whole where it counts steps; None or 0 switches the action off.
      unit: what the interval counts, 'steps' or 'secs'.
      growth_ratios: it is due at these times powers of ten, too.
      last_step: it is due at this step, too.
    """
    self._function = function
    self._interval = interval or 0
    self._unit = unit
    self._growth_ratios = tuple(growth_ratios or ())
    self._last_step = last_step
    self.start(0)

  def start(self, step: int) -> None:
    """Takes the present step and time for those of the last call."""
    self._called_at = step, time.monotonic()

  def next_due_step(self, step: int) -> float:
    """Returns the first step after `step` at which it is due.

    Args:
      step: the present step.

    Returns:
      A whole number; infinity if the clock alone decides.
    """
    if not self._interval:
      return math.inf
    exponents = range(len(str(step)) + 1)
    due = [round(r * 10**e) for r in self._growth_ratios for e in exponents]
    if self._last_step is not None:
      due.append(self._last_step)
    if self._unit == 'steps':
      due.append((step // int(self._interval) + 1) * int(self._interval))
    return min((d for d in due if d > step), default=math.inf)

  def __call__(self, step: int, logs: Mapping[str, Any]) -> None:
    """Calls the function if it is due at this step or by the clock."""
    last_step, last_time = self._called_at
    seconds = time.monotonic() - last_time
    is_time = self._unit == 'secs' and 0 < self._interval <= seconds
    if not is_time and self.next_due_step(step - 1) != step:
      return
    rate = (step - last_step) / max(seconds, 1e-9)
    self._function(step, {**logs, 'steps_per_sec': rate})
    self.start(step)


class ChunkPlanner:
  """Chooses the step at which the next chunk ends."""

  def __init__(
    self,
    actions: Iterable[PeriodicAction],
    last_step: int,
    max_chunk_steps: int,
  ):
    """Prepares to plan.

    Args:
      actions: those that must meet their steps.
      last_step: the last step of training.
      max_chunk_steps: the longest chunk.
    """
    self._actions = tuple(actions)
    self._last_step = last_step
    self._max_chunk_steps = max_chunk_steps
    self._steps_in_time = 1
    self._chunks_timed = 0

  def next_end(self, step: int) -> int:
    """Returns the last step of the chunk that begins after `step`."""
    ends: list[float] = [step + min(self._max_chunk_steps, self._steps_in_time)]
    ends.append(self._last_step)
    ends.extend(action.next_due_step(step) for action in self._actions)
    return max(step + 1, int(min(ends)))

  def record(self, steps: int, seconds: float) -> None:
    """Learns from a chunk how many steps the next one may have."""
    self._chunks_timed += 1
    if self._chunks_timed > 1:  # The first one compiled the program.
      rate = steps / max(seconds, 1e-6)
      self._steps_in_time = max(1, int(rate * _CHUNK_SECONDS))
