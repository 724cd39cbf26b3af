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
"""Statistics of a sweep over its seeds, and over its settings."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import os
from typing import Any

import numpy as np
from scipy import stats

from jaxline_harness import files
from run_sweeps import declaration
from run_sweeps import results as sweep_results

CONFIDENCE = 0.95
_NUM_RESAMPLES = 2000
SUMMARY, BEST, PAGE = 'summary.csv', 'best.csv', 'summary.md'
_NONE = '–'


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean, or another figure, with its bootstrap interval over seeds."""

  value: float
  low: float = np.nan
  high: float = np.nan

  def __str__(self) -> str:
    if not np.isfinite(self.value):
      return _NONE
    if not np.isfinite(self.low):
      return f'{self.value:.4g}'
    return f'{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]'


_NOTHING = Estimate(np.nan)


@dataclasses.dataclass(frozen=True)
class Combination:
  """All seeds of one combination of levels.

  Attributes:
    levels: by axis.
    drawn: settings, by the names of a sweep's file.
    counts: of cells, by status.
    values: by metric, those that count, by seed.
    means: by metric.
    medians: by metric.
  """

  levels: Mapping[str, declaration.Level]
  drawn: Mapping[str, Any]
  counts: Mapping[str, int]
  values: Mapping[str, Mapping[int, float]]
  means: Mapping[str, Estimate]
  medians: Mapping[str, float]

  def count(self, status: str) -> int:
    return self.counts.get(status, 0)

  @property
  def is_whole(self) -> bool:
    """Whether every cell has finished or diverged."""
    ended = self.count(sweep_results.DONE) + self.count(sweep_results.DIVERGED)
    return ended == sum(self.counts.values())


def summarise(
  plan: declaration.Plan, results: sweep_results.Results
) -> list[Combination]:
  """Statistics of each combination of levels, in their order."""
  by_folder: dict[str, list[declaration.Cell]] = {}
  for cell in plan.cells:
    by_folder.setdefault(cell.group_folder, []).append(cell)
  return [
    _summarise_cells(cells, plan, results) for cells in by_folder.values()
  ]


def _summarise_cells(
  cells: Sequence[declaration.Cell],
  plan: declaration.Plan,
  results: sweep_results.Results,
) -> Combination:
  counts: dict[str, int] = {}
  values: dict[str, dict[int, float]] = {m: {} for m in plan.more_is_better}
  for cell in cells:
    result = results[cell.folder]
    counts[result.status] = counts.get(result.status, 0) + 1
    counted = result.metrics
    if result.status == sweep_results.DIVERGED:
      counted = plan.sweep.diverged_as
    for metric, of_seed in values.items():
      if np.isfinite(counted.get(metric, np.nan)):
        of_seed[cell.seed] = counted[metric]
  numbers = {m: list(of_seed.values()) for m, of_seed in values.items()}
  return Combination(
    levels=cells[0].levels,
    drawn=sweep_results.describe_drawn(cells[0]),
    counts=counts,
    values=values,
    means={m: estimate([v], np.mean) for m, v in numbers.items()},
    medians={
      m: float(np.median(v)) if v else np.nan for m, v in numbers.items()
    },
  )


def estimate(samples: Sequence[Sequence[float]], statistic: Any) -> Estimate:
  """A statistic with its bootstrap interval, by percentiles.

  Args:
    samples: one or several, all of the same seeds, which are drawn again.
    statistic: of the mean of each sample where they are several; else of the
      sample.

  Returns:
    The estimate; without an interval for a single seed, or where a sample is
    not finite.
  """
  data = np.asarray(samples, float)
  if not data.size:
    return _NOTHING

  def compute(*drawn, axis=-1):
    if len(drawn) == 1:
      return statistic(drawn[0], axis=axis)
    return statistic([np.mean(sample, axis=axis) for sample in drawn], axis=0)

  value = float(compute(*data))
  if data.shape[1] < 2 or not np.isfinite(data).all():
    return Estimate(value)
  interval = stats.bootstrap(
    data,
    compute,
    n_resamples=_NUM_RESAMPLES,
    paired=True,
    vectorized=True,
    confidence_level=CONFIDENCE,
    method='percentile',
    random_state=np.random.default_rng(0),
  ).confidence_interval
  return Estimate(value, float(interval.low), float(interval.high))


@dataclasses.dataclass(frozen=True)
class OverSettings:
  """How a level of the first axis fares over all settings of the others.

  Attributes:
    level: of the first axis.
    metric: that is measured.
    num_combinations: of the other axes' levels, those whose cells have ended
      and count.
    best: the best mean; its interval is that of these seeds and settings alone,
      chosen by the same runs.
    best_levels: of the other axes.
    best_drawn: settings there.
    median: of the means.
  """

  level: declaration.Level
  metric: str
  num_combinations: int
  best: Estimate
  best_levels: Mapping[str, declaration.Level]
  best_drawn: Mapping[str, Any]
  median: Estimate


def compare_levels(
  plan: declaration.Plan, combinations: Sequence[Combination]
) -> list[OverSettings]:
  """The best of the sweep and its median, for each level of the first axis."""
  if not plan.sweep.axes:
    return []
  first = next(iter(plan.sweep.axes))
  return [
    _compare(
      level,
      metric,
      more,
      [c for c in combinations if c.levels[first] == level],
    )
    for metric, more in plan.more_is_better.items()
    for level in plan.sweep.axes[first]
  ]


def _compare(
  level: declaration.Level,
  metric: str,
  more_is_better: bool,
  combinations: Sequence[Combination],
) -> OverSettings:
  # One that lacks a seed is not compared: its best seeds may be what is left.
  counted = [
    c
    for c in combinations
    if c.is_whole and len(c.values[metric]) == sum(c.counts.values())
  ]
  if not counted:
    return OverSettings(level, metric, 0, _NOTHING, {}, {}, _NOTHING)
  sign = 1 if more_is_better else -1
  best = max(counted, key=lambda c: sign * c.means[metric].value)
  seeds = list(best.values[metric])
  samples = [[c.values[metric][seed] for seed in seeds] for c in counted]
  return OverSettings(
    level=level,
    metric=metric,
    num_combinations=len(counted),
    best=best.means[metric],
    best_levels=dict(list(best.levels.items())[1:]),
    best_drawn=best.drawn,
    median=estimate(samples, np.median),
  )


# Files.


def write(plan: declaration.Plan, results: sweep_results.Results) -> None:
  """Writes the sweep's tables: of cells, of combinations, of the first axis."""
  combinations = summarise(plan, results)
  compared = compare_levels(plan, combinations)
  tables = {
    sweep_results.TABLE: sweep_results.make_table(plan, results),
    SUMMARY: _make_summary(plan, combinations),
    BEST: _make_best(plan, compared),
  }
  for name, (columns, rows) in tables.items():
    sweep_results.write_csv(
      os.path.join(plan.folder, name), columns, list(rows)
    )
  files.write_atomically(
    os.path.join(plan.folder, PAGE), _make_page(plan, combinations, compared)
  )


def _make_summary(
  plan: declaration.Plan, combinations: Sequence[Combination]
) -> tuple[list[str], list[dict[str, Any]]]:
  statuses = (
    sweep_results.DONE,
    sweep_results.DIVERGED,
    sweep_results.FAILED,
  )
  columns = [*plan.sweep.axes, *sweep_results.list_drawn(plan)]
  columns += ['cells', *statuses]
  columns += [
    f'{metric}_{part}'
    for metric in plan.more_is_better
    for part in ('mean', 'low', 'high', 'median')
  ]
  rows = []
  for combination in combinations:
    row: dict[str, Any] = {
      **combination.levels,
      **combination.drawn,
      'cells': sum(combination.counts.values()),
      **{status: combination.count(status) for status in statuses},
    }
    for metric, mean in combination.means.items():
      row |= _write_estimate(f'{metric}_', 'mean', mean)
      row[f'{metric}_median'] = _write_number(combination.medians[metric])
    rows.append(row)
  return columns, rows


def _make_best(
  plan: declaration.Plan, compared: Sequence[OverSettings]
) -> tuple[list[str], list[dict[str, Any]]]:
  first, *others = [*plan.sweep.axes] or ['']
  columns = [first, 'metric', 'combinations', 'best', 'best_low', 'best_high']
  columns += [f'best_{axis}' for axis in others]
  columns += ['median', 'median_low', 'median_high']
  rows = [
    {
      first: of_level.level,
      'metric': of_level.metric,
      'combinations': of_level.num_combinations,
      **_write_estimate('best_', 'best', of_level.best),
      **{f'best_{axis}': v for axis, v in of_level.best_levels.items()},
      **_write_estimate('median_', 'median', of_level.median),
    }
    for of_level in compared
  ]
  return columns, rows


def _write_estimate(prefix: str, name: str, given: Estimate) -> dict[str, str]:
  value = f'{prefix}mean' if name == 'mean' else name
  return {
    value: _write_number(given.value),
    f'{prefix}low': _write_number(given.low),
    f'{prefix}high': _write_number(given.high),
  }


def _write_number(value: float) -> str:
  return f'{value:.6g}' if np.isfinite(value) else ''


def _make_page(
  plan: declaration.Plan,
  combinations: Sequence[Combination],
  compared: Sequence[OverSettings],
) -> str:
  """The same as Markdown."""
  axes, metrics = list(plan.sweep.axes), list(plan.more_is_better)
  ended = sum(c.count(s) for c in combinations for s in _ENDED)
  lines = [
    f'# {plan.name}',
    '',
    f'{ended} of {len(plan.cells)} cells have ended. Means over seeds, with '
    f'{CONFIDENCE:.0%} bootstrap intervals.{_explain_diverged(plan)}',
    '',
    *_make_markdown(
      [*axes, 'seeds', 'diverged', *metrics],
      (
        [
          *c.levels.values(),
          c.count(sweep_results.DONE) + c.count(sweep_results.DIVERGED),
          c.count(sweep_results.DIVERGED),
          *(c.means[metric] for metric in metrics),
        ]
        for c in combinations
      ),
    ),
  ]
  if len(axes) > 1:
    lines += [
      '',
      f'The best mean over {", ".join(axes[1:])}, and the median of the means:',
      '',
      *_make_markdown(
        [axes[0], 'metric', 'best', 'there', 'median', 'combinations'],
        (
          [
            of_level.level,
            of_level.metric,
            of_level.best,
            declaration.name_levels(
              {**of_level.best_levels, **of_level.best_drawn}
            )
            or _NONE,
            of_level.median,
            of_level.num_combinations,
          ]
          for of_level in compared
        ),
      ),
    ]
  return '\n'.join([*lines, ''])


_ENDED = (sweep_results.DONE, sweep_results.DIVERGED, sweep_results.FAILED)


def _explain_diverged(plan: declaration.Plan) -> str:
  if not plan.sweep.diverged_as:
    return ' Runs that diverged are left out of means.'
  counted = ', '.join(
    f'{metric} {value:g}' for metric, value in plan.sweep.diverged_as.items()
  )
  return f' Runs that diverged count as {counted}.'


def _make_markdown(
  head: Sequence[str], rows: Iterable[Sequence[Any]]
) -> list[str]:
  return [
    f'| {" | ".join(map(str, row))} |'
    for row in (head, ['---'] * len(head), *rows)
  ]
