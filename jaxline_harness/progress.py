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
"""What a user sees while training: a bar on a terminal, else plain lines."""

from collections.abc import Mapping
import os
import sys
import time
from typing import Any, TextIO

import tqdm

_SECONDS_BETWEEN_LINES = 10.0
_BAR_FORMAT = (
  '{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} '
  '[{remaining} left{postfix}]'
)


def _size(stream: TextIO) -> dict[str, Any]:
  """Returns tqdm's settings of size; it shows no bar where a size is zero."""
  try:
    size = os.get_terminal_size(stream.fileno())
    known = size.columns > 0 and size.lines > 1
  except (OSError, ValueError):
    known = False
  return {'dynamic_ncols': True} if known else {'ncols': 80, 'nrows': 20}


class Progress:
  """Shows step, steps a second, losses and the time left.

  On a terminal it is a tqdm bar. Elsewhere it writes a line at most every ten
  seconds, so that a log file stays readable.
  """

  def __init__(
    self,
    first_step: int,
    last_step: int,
    enabled: bool = True,
    stream: TextIO | None = None,
  ):
    """Opens the display.

    Args:
      first_step: the step that training goes on from.
      last_step: the step at which it ends.
      enabled: False shows nothing (all but one process of several).
      stream: where to write, by default standard error.
    """
    self._stream = stream if stream is not None else sys.stderr
    self._enabled = enabled
    self._last_step = last_step
    self._step = first_step
    self._rate = 0.0  # Steps a second; 0 before the first chunk.
    self._next_line_time = 0.0
    self._bar: Any = None  # tqdm's, where there is a terminal.
    if enabled and self._stream.isatty():
      self._bar = tqdm.tqdm(
        total=last_step,
        initial=first_step,
        desc='compiling ',
        bar_format=_BAR_FORMAT,
        **_size(self._stream),
        file=self._stream,
      )
    elif enabled and first_step < last_step:
      self.say(f'training from step {first_step} to {last_step}')

  def say(self, text: str) -> None:
    """Writes a line, above the bar where there is one."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    elif self._enabled:
      print(text, file=self._stream, flush=True)

  def update(self, step: int, seconds: float, logs: Mapping[str, Any]) -> None:
    """Shows the state after a chunk.

    Args:
      step: the number of completed steps.
      seconds: how long the steps since the last call took.
      logs: scalars; those whose names end in `_loss` are shown.
    """
    if not self._enabled:
      return
    first_chunk = self._rate == 0
    self._rate = (step - self._step) / max(seconds, 1e-9)
    self._step = step
    # The first chunk compiled the program: its rate says nothing.
    rate = '' if first_chunk else f'{self._rate:.3g} steps/s'
    losses = [
      f'{name} {float(value):.4g}'
      for name, value in sorted(logs.items())
      if name.endswith('_loss')
    ]
    if self._bar is not None:
      self._show_bar(step, ', '.join([rate, *losses] if rate else losses))
    elif time.monotonic() >= self._next_line_time or step == self._last_step:
      self._next_line_time = time.monotonic() + _SECONDS_BETWEEN_LINES
      self._show_line(step, rate, losses)

  def _show_bar(self, step: int, postfix: str) -> None:
    bar = self._bar
    # tqdm's own clock estimates the time left: leave compiling out.
    if bar.desc:
      bar.set_description_str('', refresh=False)
      bar.initial = step
      bar.start_t = bar.last_print_t = bar._time()  # pylint: disable=protected-access
    bar.set_postfix_str(postfix, refresh=False)
    bar.n = step
    bar.refresh()

  def _show_line(self, step: int, rate: str, losses: list[str]) -> None:
    parts = [f'step {step}/{self._last_step}', rate, *losses]
    if rate and step < self._last_step:
      left = round((self._last_step - step) / self._rate)
      parts.append(f'{tqdm.tqdm.format_interval(left)} left')
    self.say(', '.join(part for part in parts if part))

  def close(self) -> None:
    """Leaves the display as it is."""
    if self._bar is not None:
      self._bar.close()

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    self.close()
