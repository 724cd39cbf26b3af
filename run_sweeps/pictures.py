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
"""Pictures of a sweep: a heat map of two axes or more, curves of one.

Of a random search they are the spreads of its draws.
"""

from collections.abc import Mapping, Sequence
import io
import os
import textwrap

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure
import numpy as np

from jaxline_harness import files
from run_sweeps import declaration
from run_sweeps import results as sweep_results
from run_sweeps import summary

_COLORMAP = 'viridis'
_DARK = 0.55  # Of the range of colours: text is white below it.
_NOT_THERE = '#e6e6e6'
_MOST_INCHES = 100.0


def write(
  plan: declaration.Plan, combinations: Sequence[summary.Combination]
) -> None:
  """Writes `<metric>.png` into the sweep's folder, for each metric."""
  if not plan.sweep.axes:
    return
  for metric in plan.more_is_better:
    figure = draw(plan, combinations, metric)
    png = io.BytesIO()
    backend_agg.FigureCanvasAgg(figure).print_png(png)
    name = f'{metric.replace("/", "_")}.png'
    files.write_atomically(os.path.join(plan.folder, name), png.getvalue())


def draw(
  plan: declaration.Plan,
  combinations: Sequence[summary.Combination],
  metric: str,
) -> Figure:
  """Draws a metric over a sweep.

  Args:
    plan: the sweep, of one axis or more.
    combinations: its statistics.
    metric: one of its metrics.

  Returns:
    The figure.
  """
  is_search = plan.sweep.search is not None
  is_map = len(plan.sweep.axes) > 1
  columns = list(plan.sweep.axes.values())[-1]
  rows = len(combinations) // len(columns)
  width, height = 2.6 + 1.25 * len(columns), 1.3 + 0.62 * rows
  if is_search:
    width, height = 6.5, 1.3 + 0.4 * rows
  elif not is_map:
    width, height = max(4.5, 1.5 + len(columns)), 3.2
  size = min(width, _MOST_INCHES), min(height, _MOST_INCHES)
  figure = Figure(figsize=size, dpi=120, layout='constrained')
  axes = figure.subplots()
  better = 'more' if plan.more_is_better[metric] else 'less'
  num_seeds = len(list(plan.sweep.seeds))
  told = f'mean of {num_seeds} seeds' if num_seeds > 1 else 'one seed'
  axes.set_title(
    f'{metric.replace("_", " ")} ({better} is better), {told}', fontsize=9
  )
  if is_search:
    _draw_spreads(axes, plan, combinations, metric)
  elif is_map:
    _draw_map(axes, plan, combinations, metric)
  else:
    _draw_curve(axes, plan, combinations, metric)
  return figure


def _draw_map(
  axes: Axes,
  plan: declaration.Plan,
  combinations: Sequence[summary.Combination],
  metric: str,
) -> None:
  """Rows are the levels of all axes but the last, columns those of the last."""
  *row_axes, column_axis = plan.sweep.axes
  columns = list(plan.sweep.axes[column_axis])
  cells = np.reshape(np.array(combinations, object), (-1, len(columns)))
  means = np.array([[c.means[metric].value for c in row] for row in cells])
  finite = means[np.isfinite(means)]
  low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
  name = _COLORMAP if plan.more_is_better[metric] else f'{_COLORMAP}_r'
  colors = mpl.colormaps[name].with_extremes(bad=_NOT_THERE)
  axes.imshow(
    np.ma.masked_invalid(means),
    cmap=colors,
    vmin=low,
    vmax=high if high > low else low + 1,
    aspect='auto',
  )
  for k, combination in enumerate(combinations):
    i, j = divmod(k, len(columns))
    value = means[i, j]
    luminance = np.dot(
      colors((value - low) / (high - low or 1))[:3], (0.3, 0.6, 0.1)
    )
    is_dark = np.isfinite(value) and luminance < _DARK
    axes.text(
      j,
      i,
      _describe(combination, metric),
      ha='center',
      va='center',
      fontsize=7,
      color='white' if is_dark else 'black',
    )
  axes.set_xticks(range(len(columns)), map(str, columns), fontsize=8)
  axes.set_yticks(
    range(len(cells)),
    [', '.join(str(row[0].levels[axis]) for axis in row_axes) for row in cells],
    fontsize=8,
  )
  axes.set_xlabel(column_axis, fontsize=8)
  axes.set_ylabel(', '.join(row_axes), fontsize=8)


def draw_quartiles(axes: Axes, row: int, values: Sequence[float]) -> None:
  """Draws a box from the first quartile to the third, and the median."""
  low, median, high = np.percentile(values, (25, 50, 75))
  axes.barh(row, high - low, 0.6, left=low, fill=False, ec='#555')
  axes.vlines(median, row - 0.3, row + 0.3, color='tab:orange')


def _draw_spreads(
  axes: Axes,
  plan: declaration.Plan,
  combinations: Sequence[summary.Combination],
  metric: str,
) -> None:
  """A row for all draws of the same levels: a box, and a point a draw."""
  by_levels: dict[str, list[summary.Combination]] = {}
  for combination in combinations:
    name = ', '.join(map(str, list(combination.levels.values())[:-1]))
    by_levels.setdefault(name, []).append(combination)
  for row, of_levels in enumerate(by_levels.values()):
    means = np.array([c.means[metric].value for c in of_levels])
    means = means[np.isfinite(means)]
    if means.size:
      draw_quartiles(axes, row, means)
    axes.plot(means, np.full(means.size, row), '.', color='tab:blue', alpha=0.6)
    num_diverged = sum(c.count(sweep_results.DIVERGED) > 0 for c in of_levels)
    if num_diverged:
      axes.text(
        1.01,
        row,
        f'× {num_diverged} of {len(of_levels)}\ndiverged',
        transform=axes.get_yaxis_transform(),
        va='center',
        fontsize=7,
        color='tab:red',
      )
  axes.set_yticks(range(len(by_levels)), list(by_levels), fontsize=8)
  axes.set_ylim(len(by_levels) - 0.5, -0.5)
  axes.tick_params(axis='x', labelsize=8)
  axes.set_ylabel(', '.join(list(plan.sweep.axes)[:-1]), fontsize=8)


def _describe(combination: summary.Combination, metric: str) -> str:
  """The mean with its interval, and what of it diverged or is not there."""
  lines = []
  mean = combination.means[metric]
  num_diverged = combination.count(sweep_results.DIVERGED)
  num = sum(combination.counts.values())
  if np.isfinite(mean.value) and num_diverged < num:
    lines.append(f'{mean.value:.3g}')
    if np.isfinite(mean.low) and mean.low < mean.high:
      lines.append(f'{mean.low:.3g} to {mean.high:.3g}')
  if num_diverged:
    lines.append(
      'diverged' if num_diverged == num else f'{num_diverged} of {num} diverged'
    )
  num_ended = combination.count(sweep_results.DONE) + num_diverged
  if num_ended < num:
    lines.append(f'{num - num_ended} of {num} missing')
  return '\n'.join(lines)


def _draw_curve(
  axes: Axes,
  plan: declaration.Plan,
  combinations: Sequence[summary.Combination],
  metric: str,
) -> None:
  """Means with their intervals over the levels of the only axis."""
  (axis,) = plan.sweep.axes
  levels = [combination.levels[axis] for combination in combinations]
  is_numeric = all(map(sweep_results.is_number, levels))
  x = np.array(levels if is_numeric else range(len(levels)), float)
  means = [combination.means[metric] for combination in combinations]
  y = np.array([mean.value for mean in means])
  reach = np.array([[m.value - m.low, m.high - m.value] for m in means]).T
  axes.errorbar(
    x,
    y,
    np.maximum(np.nan_to_num(reach), 0),
    fmt='o-' if is_numeric else 'o',
    ms=4,
    capsize=3,
  )
  if is_numeric and (x > 0).all() and x.max() > 5 * x.min():
    axes.set_xscale('log')
    axes.set_xticks([], minor=True)
    room = (x.max() / x.min()) ** 0.1
    axes.set_xlim(x.min() / room, x.max() * room)
  else:
    room = 0.1 * (x.max() - x.min()) or 1.0
    axes.set_xlim(x.min() - room, x.max() + room)
  labels = [textwrap.fill(str(level), 14) for level in levels]
  axes.set_xticks(x, labels, fontsize=7)
  axes.tick_params(axis='y', labelsize=8)
  if not np.isfinite(y).any():
    axes.set_yticks([])
  axes.set_xlabel(axis, fontsize=8)
  _mark_diverged(axes, dict(zip(x, combinations, strict=True)))


def _mark_diverged(
  axes: Axes, combinations: Mapping[float, summary.Combination]
) -> None:
  """Writes where runs have diverged, along the lower edge."""
  for x, combination in combinations.items():
    num_diverged = combination.count(sweep_results.DIVERGED)
    if num_diverged:
      num = sum(combination.counts.values())
      axes.text(
        x,
        0.02,
        f'× {num_diverged} of {num}\ndiverged',
        transform=axes.get_xaxis_transform(),
        ha='center',
        fontsize=7,
        color='tab:red',
      )
