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
"""Sweeps of the toy experiment, as files and as plans."""

import pathlib

from run_sweeps import declaration

CONFIG = str(pathlib.Path(__file__).parent / 'toy' / 'config.py')
RATES = {rate: {'rates.*.lr': rate} for rate in (0.1, 0.2)}
NAMES = {name: {'name': name} for name in ('plain', 'fancy')}


def declare(**changes) -> declaration.Sweep:
  """A sweep of two axes and two seeds, or what is said instead."""
  return declaration.Sweep(
    **{
      'config': CONFIG,
      'axes': {'name': NAMES, 'rate': RATES},
      'seeds': range(2),
      'metrics': ('score', 'distance'),
    }
    | changes
  )


def plan(folder: pathlib.Path, **changes) -> declaration.Plan:
  """The plan of such a sweep."""
  return declaration.make_plan(declare(**changes), 'toy', str(folder))


def write(folder: pathlib.Path, **changes) -> str:
  """Writes a file of such a sweep; returns its path."""
  path = folder / 'toy.py'
  # Arguments are literals.
  path.write_text(
    'from tests.run_sweeps import sweep_files\n'
    f'SWEEP = sweep_files.declare(**{changes!r})\n'
  )
  return str(path)
