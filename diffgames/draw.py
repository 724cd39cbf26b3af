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
"""Draws pictures one after the other: `python -m diffgames.draw NAME ...`."""

import itertools
import runpy
import sys

from jaxline_harness import programs


def main() -> None:
  """Runs the scripts that the command line names, each with its flags."""
  arguments = sys.argv[1:]
  names = list(itertools.takewhile(lambda a: not a.startswith('-'), arguments))
  flags = arguments[len(names) :]
  for name in names:
    print(f'figures/{name}.py', file=sys.stderr)
    sys.argv = [name, *flags]
    runpy.run_module(f'figures.{name}', run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  programs.run(main)
