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
"""What a program does before the imports that take seconds.

From here on a signal ends it in one line (see `signals`), and it outlives what
reads its messages: they are dropped where the reader of a pipe has ended, the
disk of a log is full, or a stream was closed from the start.
"""

import io
import os
import sys

from jaxline_harness import signals


class _LossyFile(io.FileIO):
  """A file that drops what cannot be written."""

  def write(self, data) -> int:
    try:
      written = super().write(data)
    except OSError:
      written = None
    # None is also said by a pipe that is full and is not to be waited for.
    return len(data) if written is None else written


def begin() -> None:
  """Guards output, watches signals, limits heaps, until the process ends."""
  guard_output()
  signals.watch_to_the_end()
  # Not before signals are watched.
  from jaxline_harness import memory  # pylint: disable=g-import-not-at-top

  memory.limit_heaps()


def guard_output() -> None:
  """Makes standard output and standard error drop what cannot be written."""
  for descriptor in range(3):
    try:
      os.fstat(descriptor)
    except OSError:  # Else a file of the run would get what is printed.
      os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
  for descriptor, name in ((1, 'stdout'), (2, 'stderr')):
    old = getattr(sys, name)
    if old is getattr(sys, f'__{name}__'):  # Nobody has put another there.
      raw = _LossyFile(descriptor, 'w', closefd=False)
      new = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, 'encoding', None),
        errors='backslashreplace',
        line_buffering=True,
      )
      setattr(sys, name, new)
