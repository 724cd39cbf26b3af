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
"""The rules by which verdicts are made."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from claims import readings
from claims import tables
from run_sweeps import summary


@dataclasses.dataclass(frozen=True)
class Within:
  """The mean over seeds of a metric lies in a range.

  Attributes:
    name: what the metric is, for people.
    metric: a column.
    low: the least.
    high: the largest.
    where: levels, by axis; together with the seed they are to name one row.
  """

  name: str
  metric: str
  low: float = -np.inf
  high: float = np.inf
  where: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def read(self, table: tables.Table) -> Sequence[readings.Reading]:
    """The mean, as one reading."""
    (by_seed,) = table.values(self.metric, self.where).values()
    samples = list(by_seed.values())
    effect = summary.estimate([samples], np.mean)
    reading = readings.Reading(self.name, effect, self.low, self.high, samples)
    return [reading]


@dataclasses.dataclass(frozen=True)
class Better:
  """One level of an axis beats another: at best, and in the middle.

  Both are compared over all settings of the other axes: by the best mean over
  seeds, and by the median of these means. Where the two do not agree nothing is
  decided. The bootstrap draws seeds, the same for both levels, and chooses the
  best settings anew each time.

  Attributes:
    level: that is to be better.
    than: the other one.
    metric: a column.
    least: the smallest advantage that counts.
    axis: whose levels they are; None: the first.
    more_is_better: whether more of the metric is.
    diverged_as: what a run that diverged counts as.
    where: levels of other axes, to which both are restricted.
  """

  level: str
  than: str
  metric: str
  least: float
  axis: str | None = None
  more_is_better: bool = True
  diverged_as: float | None = 0.0
  where: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def read(self, table: tables.Table) -> Sequence[readings.Reading]:
    """Two readings, or one where there is one setting alone."""
    samples = [
      self.samples_of(table, level) for level in (self.level, self.than)
    ]
    num_first = len(samples[0])
    sign = 1 if self.more_is_better else -1

    def advantage(choose: Any) -> Any:
      def compute(means, axis):
        signed = sign * np.asarray(means)
        return choose(signed[:num_first], axis=axis) - choose(
          signed[num_first:], axis=axis
        )

      return compute

    both = [*samples[0], *samples[1]]
    ways = {'best of the sweep': np.max, 'median of the sweep': np.median}
    if len(both) == 2:
      ways = {'the one setting': np.max}
    metric = self.metric.replace('_', ' ')
    what = f'{metric} beyond "{self.than}"'
    if not self.more_is_better:
      what = f'{metric} below "{self.than}"'
    return [
      readings.Reading(
        f'{what}, {name}',
        summary.estimate(both, advantage(choose)),
        self.least,
      )
      for name, choose in ways.items()
    ]

  def samples_of(self, table: tables.Table, level: str) -> list[list[float]]:
    """The values of each setting of a level, seeds in their order."""
    where = {**self.where, self.axis or table.axes[0]: level}
    found = table.values(self.metric, where, self.diverged_as)
    return [
      [by_seed[seed] for seed in sorted(by_seed)] for by_seed in found.values()
    ]


@dataclasses.dataclass(frozen=True)
class MoreKept:
  """One level loses fewer runs than another, over all settings.

  A run is lost if it diverges, or its metric ends below a bound.

  Attributes:
    level: that is to lose fewer.
    than: the other one.
    metric: a column.
    kept_from: the bound.
    least: the smallest difference of the shares of runs that counts.
  """

  level: str
  than: str
  metric: str
  kept_from: float
  least: float

  def read(self, table: tables.Table) -> Sequence[readings.Reading]:
    """The difference of the shares, as one reading."""
    kept, other = (
      self._shares(table, level) for level in (self.level, self.than)
    )
    samples = [a - b for a, b in zip(kept, other, strict=True)]
    return [
      readings.Reading(
        f'share of runs with at least {self.kept_from:g} '
        f'{self.metric.replace("_", " ")}, beyond "{self.than}"',
        summary.estimate([samples], np.mean),
        self.least,
        samples=samples,
      )
    ]

  def _shares(self, table: tables.Table, level: str) -> list[float]:
    """Of each seed, over all settings."""
    where = {table.axes[0]: level}
    found = table.values(self.metric, where, diverged_as=-np.inf)
    values = [list(by_seed.values()) for by_seed in found.values()]
    is_kept = np.asarray(values) >= self.kept_from
    return [float(share) for share in is_kept.mean(axis=0)]
