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
"""What a claim is: a statement, what tests it, and the rule of its verdict.

A file in `claims/papers/` names a tuple CLAIMS:

```
CLAIMS = (
  declaration.Claim(
    name='alternating_helps',
    paper='Discretization Drift in Two-Player Games',
    statement='Alternating descent beats simultaneous descent.',
    source=declaration.Sweeps({'small': declaration.File('mixture_rules', 60)}),
    rules=(rules.Better('alternating', 'simultaneous', 'modes_covered', 1.0),),
  ),
)
```
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, Protocol

from claims import readings
from claims import tables
from jaxline_harness import shipped
from run_sweeps import declaration

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Of recorded results: a verdict is computed from these alone.
RESULTS = ROOT / 'docs' / 'claims'
PICTURES = ROOT / 'figures' / 'claims'
SIZES = ('quick', 'small', 'full')

Row = Mapping[str, Any]


class Rule(Protocol):
  """How a verdict is made, fixed before anything runs; see `rules`."""

  def read(self, table: tables.Table) -> Sequence[readings.Reading]:
    """The readings of a table that has ended."""


@dataclasses.dataclass(frozen=True)
class File:
  """A sweep of one size.

  Attributes:
    name: in `sweeps/`.
    minutes: of one core, measured or estimated.
  """

  name: str
  minutes: float


@dataclasses.dataclass(frozen=True)
class Sweeps:
  """A claim is tested by runs.

  Attributes:
    files: by size, `small` or `full`. `quick` is a part of the smallest.
  """

  files: Mapping[str, File]

  def minutes(self, size: str) -> float | None:
    """Of one core; None where there is no such size."""
    if size == 'quick':
      return 3.0  # Rather: it depends on what compiles.
    return self.files[size].minutes if size in self.files else None

  def table_name(self, size: str) -> str:
    """Of the results."""
    small = next(iter(self.files.values()))
    return self.files.get(size, small).name

  def load(self, size: str) -> declaration.Sweep:
    """The declaration of a size."""
    path = shipped.find_file('sweeps', self.table_name(size))
    sweep = declaration.load_sweep(path)
    return make_quick(sweep) if size == 'quick' else sweep


@dataclasses.dataclass(frozen=True)
class Measurement:
  """A claim is tested by computing something, in seconds.

  Attributes:
    name: of the recorded results.
    measure: gives rows for a seed: levels by axis, and metrics.
    axes: the names of those columns that are levels.
    minutes_taken: of one core.
    seeds: that are measured.
  """

  name: str
  measure: Callable[[int], Iterable[Row]]
  axes: Sequence[str]
  minutes_taken: float
  seeds: Sequence[int] = range(5)

  def minutes(self, size: str) -> float | None:
    """Of one core; None where there is no such size."""
    if size == 'full':
      return None
    return self.minutes_taken / (len(self.seeds) if size == 'quick' else 1)

  def table_name(self, size: str) -> str:
    """Of the recorded results."""
    del size
    return self.name


@dataclasses.dataclass(frozen=True)
class Claim:
  """What a paper says, and how it is tested.

  Attributes:
    name: a short one, for commands.
    paper: its title.
    statement: in one sentence.
    source: what tests it.
    rules: all are to hold.
    note: what else there is to say, whatever the verdict.
  """

  name: str
  paper: str
  statement: str
  source: Sweeps | Measurement
  rules: Sequence[Rule]
  note: str = ''


def make_quick(sweep: declaration.Sweep) -> declaration.Sweep:
  """A sweep that shows that all is in place, and decides nothing."""
  first, *others = sweep.axes
  axes = {first: sweep.axes[first]}
  for axis in others:
    level = next(iter(sweep.axes[axis]))
    axes[axis] = {level: sweep.axes[axis][level]}
  steps = {'training_steps': 20, 'save_checkpoint_interval': 20}
  return dataclasses.replace(
    sweep,
    axes=axes,
    overrides={**sweep.overrides, **steps},
    seeds=list(sweep.seeds)[:2],
  )


def list_cells(source: Sweeps | Measurement, size: str) -> list[tables.Cell]:
  """The cells that recorded results are to have; of a measurement seeds alone.

  Args:
    source: of a claim.
    size: `small` or `full`.
  """
  if isinstance(source, Measurement):
    return [((), str(seed)) for seed in source.seeds]
  sweep = source.load(size)
  return tables.list_cells(sweep.axes, sweep.seeds)
