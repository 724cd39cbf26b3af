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
"""A picture of a claim: what was measured, and what is wanted of it."""

from collections.abc import Sequence
import dataclasses
import io
import pathlib
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure
import numpy as np

from claims import declaration
from claims import readings
from claims import rules
from claims import tables
from claims import verdicts
from figures import _style
from jaxline_harness import files
from run_sweeps import summary

FOLDER = declaration.PICTURES
_COLORS = {
  readings.HOLDS: '#2a7f62',
  readings.FAILS: '#b3261e',
  readings.UNDECIDED: '#a8650a',
}
# Of levels that are no methods, and how far from a tick a level is drawn.
_LINES = ('#1a1a1a', '#8c6d31', '#6a51a3')
_SHIFTS = (-0.06, 0.06, 0.0)
_WANTED = '#cfe8dc'


def write(claim: declaration.Claim, outcome: verdicts.Outcome) -> pathlib.Path:
  """Writes the picture of a claim that was run.

  Args:
    claim: the claim.
    outcome: what came out.

  Returns:
    Its path.
  """
  path = FOLDER / f'{claim.name}.png'
  path.parent.mkdir(exist_ok=True)
  png = io.BytesIO()
  backend_agg.FigureCanvasAgg(draw(claim, outcome)).print_png(png)
  files.write_atomically(str(path), png.getvalue())
  return path


def draw(claim: declaration.Claim, outcome: verdicts.Outcome) -> Figure:
  """Draws the curves that are compared, and a line for each reading.

  Args:
    claim: the claim.
    outcome: what came out.

  Returns:
    The figure.
  """
  found = outcome.all_readings
  assert outcome.table is not None
  compared = [rule for rule in claim.rules if isinstance(rule, rules.Better)]
  if len(outcome.table.axes) == 1:  # One setting, of which there is no curve.
    compared = []
  height = max(0.5 + 1.0 * len(found), 3.6 if compared else 0.0)
  figure = _style.new_figure(height)
  panels: Any = [figure]
  if compared:
    panels = figure.subfigures(1, 2, width_ratios=(1, 1))
    axes = panels[0].subplots()
    _draw_curves(axes, outcome.table, compared)
    _style.place_legend(panels[0], axes, ncols=2)
  column = panels[-1].subplots(len(found), 1, squeeze=False)[:, 0]
  for axes, reading in zip(column, found, strict=True):
    _draw_reading(axes, reading, 54 if compared else 115)
  return figure


def _draw_curves(
  axes: Axes, table: tables.Table, compared: Sequence[rules.Better]
) -> None:
  """Means of the levels over all settings, with their intervals.

  Where a level has settings of its own, such as a coefficient, these are put in
  order from the best to the worst: there is no other that all have in common.
  """
  rule = compared[0]
  axis = rule.axis or table.axes[0]
  own = table.axes.index(axis)
  others = [k for k in range(len(table.axes)) if k != own]
  names = [rule.level]
  names += [  # Of those that ask the same of other levels.
    r.than for r in compared if dataclasses.replace(r, than=rule.than) == rule
  ]
  curves = {
    name: table.values(
      rule.metric, {**rule.where, axis: name}, rule.diverged_as
    )
    for name in names
  }
  has_own = any(len({k[own] for k in found}) > 1 for found in curves.values())
  for k, (name, found) in enumerate(curves.items()):
    means = [
      summary.estimate([list(v.values())], np.mean) for v in found.values()
    ]
    if has_own:
      means.sort(key=lambda mean: mean.value, reverse=rule.more_is_better)
    y = np.array([mean.value for mean in means])
    reach = [[m.value - m.low, m.high - m.value] for m in means]
    axes.errorbar(
      np.arange(len(y)) + _SHIFTS[k],
      y,
      np.maximum(np.array(reach).T, 0),
      fmt='o-',
      ms=4,
      lw=1.3,
      capsize=3,
      color=_style.color_of(name, _LINES[k]),
      label=name,
    )
  settings = curves[rule.level]
  labels = ['\n'.join(levels[k] for k in others) for levels in settings]
  xlabel = ', '.join(table.axes[k] for k in others)
  if has_own:
    labels = [str(k + 1) for k in range(len(labels))]
    xlabel = 'settings, from the best to the worst'
  axes.set_xticks(range(len(labels)), labels)
  axes.set(xlabel=xlabel, ylabel=rule.metric.replace('_', ' '))


def _draw_reading(axes: Axes, reading: readings.Reading, width: int) -> None:
  """The effect with its interval, seeds as dots, over what is wanted."""
  effect = reading.effect
  color = _COLORS[reading.verdict]
  wanted = [x for x in (reading.low, reading.high) if np.isfinite(x)]
  shown = [effect.value, effect.low, effect.high, *wanted, *reading.samples]
  low, high = np.nanmin(shown), np.nanmax(shown)
  room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
  axes.set(xlim=(low - room, high + room), ylim=(-1, 1), yticks=[])
  axes.axvspan(
    max(reading.low, low - room),
    min(reading.high, high + room),
    color=_WANTED,
    lw=0,
  )
  dots: Sequence[float] = reading.samples
  axes.plot(dots, np.full(len(dots), -0.45), '.', color='#666666', ms=5)
  axes.plot([effect.low, effect.high], [0.25, 0.25], color=color, lw=2.5)
  axes.plot(effect.value, 0.25, 'o', color=color, ms=6)
  title = f'{reading.name}: {reading.verdict}'
  axes.set_title(textwrap.fill(title, width), loc='left', color=color, pad=4)
  axes.spines['left'].set_visible(False)
