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
"""Errors that launch prints as one line, without a traceback."""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import difflib
import sys
from typing import Any


class UserError(ValueError):
  """A mistake in a command, a configuration or a run folder.

  `launch.main` prints the message as one line on standard error and exits with
  status 2. The message therefore says what is wrong and what to do about it.
  """


class TrainingError(RuntimeError):
  """Training cannot go on, through no mistake in the code.

  For example a loss that is no longer finite. `launch.main` prints the message
  as one line on standard error and exits with status 1.
  """


class NonFiniteError(TrainingError):
  """A step gave a NaN or an infinity.

  Attributes:
    states: one replica of the training state by step: the last finite one, and
      that of the step that went wrong.
  """

  def __init__(self, message: str, states: Mapping[int, Any]):
    super().__init__(message)
    self.states = states


@contextlib.contextmanager
def require_extra(extra: str, purpose: str) -> Iterator[None]:
  """Explains a failed import in its block by the extra to install.

  Args:
    extra: a key of setup.py's EXTRAS_REQUIRE.
    purpose: what needs it, the start of the message.

  Raises:
    UserError: an import failed.
  """
  try:
    yield
  except ImportError as error:
    raise UserError(
      f'{purpose} needs the extra {extra!r} ({one_line(error, 200)}): pip '
      f"install '.[{extra}]' in this project's source tree."
    ) from error


def one_line(error: object, limit: int | None = None) -> str:
  """Makes an error's message, or any text, fit for one line on a terminal.

  Args:
    error: an exception, or a text.
    limit: the most characters; more are cut off.

  Returns:
    The text without line breaks and with escapes for what cannot be printed; of
    an exception without a message its type.
  """
  text = ' '.join(str(error).split()) or type(error).__name__
  text = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
  return text if limit is None or len(text) <= limit else f'{text[:limit]}...'


def report(error: Exception) -> None:
  """Prints an error as one line on standard error."""
  print('error:', one_line(error), file=sys.stderr)


def did_you_mean(name: str, names: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the nearest of `names`, or ''.

  That is the one with the nearest spelling, or the first that holds `name`.
  """
  names = list(names)
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
  if not near and len(name) > 2:
    near = [longer for longer in names if name in longer]
  return f'; did you mean {near[0]}?' if near else ''
