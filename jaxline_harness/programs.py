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
"""Programs about runs that have been made: their command lines and errors."""

import argparse
from collections.abc import Callable
import sys
from typing import NoReturn

from jaxline_harness import errors
from jaxline_harness import settings


class Parser(argparse.ArgumentParser):
  """Says in one line what is wrong with a command."""

  def error(self, message: str) -> NoReturn:
    raise errors.UserError(f'{message}; see {self.prog} --help')


def whole(field: settings.Field) -> Callable[[str], int]:
  """An argument's type: a whole number that suits a field."""

  def parse(text: str) -> int:
    value = int(text)
    if not field.accepts(value):
      raise argparse.ArgumentTypeError(f'{text} is not {field.wanted}')
    return value

  parse.__name__ = 'whole number'  # Of the message where `int` fails.
  return parse


def run(main: Callable[[], None]) -> None:
  """Runs a program; a mistake of its user is one line, and status 2."""
  try:
    main()
  except errors.UserError as error:
    errors.report(error)
    sys.exit(2)
