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
r"""Signals as flags that a training loop looks at between chunks of steps.

| signal                    | first                                | second  |
|---------------------------|--------------------------------------|---------|
| SIGINT (Ctrl+C), SIGTERM  | finish the chunk, save, exit 128 + n | exit    |
| SIGHUP (terminal closed)  | the same, unless `nohup` ignores it  | nothing |
| SIGQUIT (Ctrl+\)           | save after the chunk and go on       | same    |

Before training has begun there is nothing to save, and the first signal that
asks to stop exits at once. A closed terminal sends SIGHUP more than once.

Python runs its signal handlers between byte codes of the main thread, which may
sit in a compilation for a minute. So that a second Ctrl+C is heard there too, a
small thread reads the numbers of the signals from Python's wake-up pipe.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import signal
import sys
import threading
import types

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END_OF_WATCH = 0  # No signal has this number.


class Watcher(types.SimpleNamespace):
  """What the signals so far have asked for.

  Attributes:
    can_save: whether a loop runs that honours the two requests below.
    stop_signal: the number of the signal that asks to stop, or None; perhaps
      one that another process was sent.
    save_requested: whether to save a checkpoint and go on.
    was_told: whether this process was sent a signal that asks to stop.
  """

  can_save: bool = False
  stop_signal: int | None = None
  save_requested: bool = False
  was_told: bool = False

  def receive(self, number: int) -> None:
    """Takes note of one signal, or exits at once."""
    if number not in _STOP_SIGNALS:
      self.save_requested = self.can_save
      _say(
        'saving after this chunk' if self.can_save else 'nothing to save yet'
      )
    elif self.can_save and not self.was_told:
      self.was_told = True
      self.stop_signal = number
      _say('stopping: finishes the chunk and saves; again to exit at once')
    elif number != signal.SIGHUP or not self.was_told:
      _say(
        'exits without saving' if self.can_save else 'exits: nothing to save'
      )
      os._exit(128 + number)  # pylint: disable=protected-access


def _say(text: str) -> None:
  # On a terminal ^C or a bar stands in the line.
  start = '\n' if sys.stderr.isatty() else ''
  print(f'{start}{text}', file=sys.stderr, flush=True)


_active: Watcher | None = None


def watch_to_the_end() -> None:
  """Watches until the process ends: what a program does first."""
  global _active
  if _active is None:
    _active = Watcher()
    _route_signals_to(_active)


@contextlib.contextmanager
def watch() -> Iterator[Watcher]:
  """Watches the signals above; nested calls share one watcher.

  Outside the main thread, where Python allows no handlers, the watcher never
  receives anything.

  Yields:
    The watcher.
  """
  global _active
  if _active is not None:
    yield _active
    return
  watcher = Watcher()
  if threading.current_thread() is not threading.main_thread():
    yield watcher
    return
  _active = watcher
  stop = _route_signals_to(watcher)
  try:
    yield watcher
  finally:
    stop()
    _active = None


def _route_signals_to(watcher: Watcher) -> Callable[[], None]:
  """Sends signals to `watcher.receive` until what it returns is called."""
  read_end, write_end = os.pipe()
  os.set_blocking(write_end, False)  # Python demands it.
  numbers = {*_STOP_SIGNALS, signal.SIGQUIT}
  if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    numbers.remove(signal.SIGHUP)

  def listen():
    while (number := os.read(read_end, 1)[0]) != _END_OF_WATCH:
      if number in numbers:
        watcher.receive(number)

  # A handler must exist for Python to write to the pipe; it has nothing to do.
  old_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
  old_handlers = {n: signal.signal(n, lambda *_: None) for n in numbers}
  listener = threading.Thread(target=listen, name='signals', daemon=True)
  listener.start()

  def stop():
    for number, handler in old_handlers.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(old_fd)
    os.write(write_end, bytes([_END_OF_WATCH]))
    listener.join()
    os.close(read_end)
    os.close(write_end)

  return stop
