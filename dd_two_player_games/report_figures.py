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
"""The plots of a report, as Plotly's figures in plain dicts."""

import base64
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import html
from typing import Any, NamedTuple
import warnings

import numpy as np

from dd_two_player_games import run_record

# Told apart on white and on black, also by most who see few colours.
COLOURS = (
  '#3b82c4',
  '#e07b39',
  '#2f9e6e',
  '#c94f7c',
  '#8a6fd1',
  '#a8892c',
  '#2aa5b5',
  '#d05050',
  '#7f8c8d',
  '#9c755f',
)
_DASHES = ('solid', 'dash', 'dot', 'dashdot')
# Curves of fewer rows show each as a dot.
_FEW_ROWS = 40
# Beyond this ratio the smaller values of an axis cannot be told apart.
_WIDE_RATIO = 1e3


class Curve(NamedTuple):
  """A line.

  Attributes:
    label: in the legend.
    x: by the name of what it may be drawn against.
    y: the values.
    low: the lower edge of a band around it, if there is one.
    high: its upper edge.
    style: colour and dash, by a number.
    is_dashed: whether it is no measurement but what to compare with.
  """

  label: str
  x: Mapping[str, np.ndarray]
  y: np.ndarray
  low: np.ndarray | None = None
  high: np.ndarray | None = None
  style: int = 0
  is_dashed: bool = False


@dataclasses.dataclass
class Plot:
  """A plot.

  Attributes:
    title: above it.
    caption: below it: how to read it.
    curves: its lines.
    traces: what else it shows, in Plotly's terms.
    layout: in Plotly's terms.
    axes: what the curves can be drawn against; the first one is.
  """

  title: str
  caption: str = ''
  curves: Sequence[Curve] = ()
  traces: Sequence[dict[str, Any]] = ()
  layout: dict[str, Any] = dataclasses.field(default_factory=dict)
  axes: Sequence[str] = ('steps',)


# From columns of a table.


def plot_columns(
  run: run_record.Run,
  series: str,
  labels: Mapping[str, str],
  title: str,
  caption: str = '',
  layout: dict[str, Any] | None = None,
) -> list[Plot]:
  """Plots columns of one run's table.

  Args:
    run: the run.
    series: the table.
    labels: of columns; those that are not there, or empty, are left out.
    title: of the plot.
    caption: of the plot.
    layout: of the plot; by default the axis is logarithmic where values differ
      by factors too large for another.

  Returns:
    The plot, or nothing if no column is there.
  """
  table = run.tables.get(series)
  if table is None:
    return []
  curves = [
    Curve(label, {'steps': table.steps}, table.columns[name], style=style)
    for style, (name, label) in enumerate(labels.items())
    if not np.isnan(table.columns.get(name, np.nan)).all()
  ]
  if not curves:
    return []
  if layout is None:
    layout = choose_scale([curve.y for curve in curves])
  return [Plot(title, caption, curves, layout=layout)]


def choose_scale(values: Iterable[np.ndarray]) -> dict[str, Any]:
  """A logarithmic axis for positive values of different orders."""
  together = np.concatenate(list(values))
  together = together[np.isfinite(together)]
  is_wide = (
    together.size
    and together.min() > 0
    and together.max() > _WIDE_RATIO * together.min()
  )
  return {'yaxis': {'type': 'log'}} if is_wide else {}


def plot_losses(run: run_record.Run) -> list[Plot]:
  """Plots all columns whose names end in loss."""
  names = list_columns(run, 'train')
  labels = {name: name for name in names if name.endswith('loss')}
  return plot_columns(run, 'train', labels, 'Losses')


def plot_other_columns(
  run: run_record.Run, series: str, shown: Iterable[str]
) -> list[Plot]:
  """Plots those columns that no other plot shows, each by itself.

  Those of one kind, as singular values are, share a plot.

  Args:
    run: the run.
    series: its table.
    shown: the columns that other plots show.
  """
  kinds: dict[str, dict[str, str]] = {}
  for name in list_columns(run, series):
    if name not in shown:
      *parents, kind = name.split('/')
      label = '/'.join(parents[1:]) or name
      kinds.setdefault(kind if len(parents) > 1 else name, {})[name] = label
  return [
    plot
    for kind, labels in kinds.items()
    for plot in plot_columns(run, series, labels, kind)
  ]


def list_columns(run: run_record.Run, series: str) -> list[str]:
  """The columns of a table, but for its clock."""
  table = run.tables.get(series)
  return [name for name in table.columns if name != 'seconds'] if table else []


# Metrics.


def plot_metrics(run: run_record.Run) -> list[Plot]:
  """Plots each metric, what it is of the data themselves dashed."""
  table = run.tables.get('eval')
  names = list_columns(run, 'eval')
  plots = []
  for name in names:
    if is_beside(name, names) or table is None:
      continue
    spread = table.columns.get(f'{name.removesuffix("_mean")}_std')
    value, x = table.columns[name], {'steps': table.steps}
    if np.isnan(value).all():
      continue
    band = () if spread is None else (value - spread, value + spread)
    curves = [Curve(name, x, value, *band)]
    floor = table.columns.get(f'{name.removeprefix("last/")}_floor')
    if floor is not None:
      curves.append(Curve('of the data', x, floor, style=1, is_dashed=True))
    captions = [
      'Band: one standard deviation over parts of the samples.'
      * (spread is not None),
      'Dashed: one part of the data against another.' * (floor is not None),
    ]
    scale = choose_scale(c.y for c in curves)
    plots.append(
      Plot(name, ' '.join(filter(None, captions)), curves, (), scale)
    )
  return plots


def is_beside(name: str, names: Iterable[str]) -> bool:
  """Whether a column only says how another one is to be read."""
  if name.endswith('_floor'):
    return name.removesuffix('_floor') in names
  metric = name.removesuffix('_std')
  return metric != name and ({metric, f'{metric}_mean'} & {*names} != set())


# Several runs.


class Group(NamedTuple):
  """Runs that differ in nothing but their seed."""

  label: str
  runs: Sequence[run_record.Run]


def plot_groups(
  groups: Sequence[Group], series: str, name: str, axes: Sequence[str]
) -> list[Plot]:
  """Plots a column of several runs: medians, and bands over seeds.

  Args:
    groups: of runs.
    series: the table.
    name: the column.
    axes: what to draw against: steps, gradients, seconds.

  Returns:
    The plot, or nothing where no run has the column.
  """
  curves = []
  for style, group in enumerate(groups):
    curve = _summarise(group, series, name, style, axes)
    if curve is not None:
      curves.append(curve)
  if not curves:
    return []
  floors = (
    _summarise(group, series, f'{name}_floor', len(groups), axes)
    for group in groups
  )
  floor = next(filter(None, floors), None)
  if floor is not None:
    floor = floor._replace(label='of the data', low=None, is_dashed=True)
    curves.append(floor)
  layout = choose_scale(
    array
    for curve in curves
    for array in (curve.y, curve.low)
    if array is not None
  )
  # Also of one: it must be said which.
  layout |= {'showlegend': True}
  return [Plot(name, '', curves, layout=layout, axes=axes)]


def _summarise(
  group: Group, series: str, name: str, style: int, axes: Sequence[str]
) -> Curve | None:
  tables = [
    (run, run.tables[series])
    for run in group.runs
    if series in run.tables
    and not np.isnan(run.tables[series].columns.get(name, np.nan)).all()
  ]
  if not tables:
    return None
  steps = np.unique(np.concatenate([table.steps for _, table in tables]))
  values = np.full((len(tables), len(steps)), np.nan)
  for row, (_, table) in zip(values, tables, strict=True):
    row[np.searchsorted(steps, table.steps)] = table.columns[name]
  x = {'steps': steps}
  if 'gradients' in axes:
    x['gradients'] = steps * (tables[0][0].gradients_per_step() or np.nan)
  if 'seconds' in axes:
    times = [run.seconds_at(steps) for run, _ in tables]
    x['seconds'] = np.median([t for t in times if t is not None], axis=0)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', RuntimeWarning)  # Steps without a number.
    median = np.nanmedian(values, axis=0)
    band = (np.nanmin(values, axis=0), np.nanmax(values, axis=0))
  low, high = band if len(tables) > 1 else (None, None)
  return Curve(group.label, x, median, low, high, style)


# In Plotly's terms.


def encode(values: np.ndarray) -> dict[str, str]:
  """An array as Plotly reads it: float32, or int32 if all of it is."""
  values = np.asarray(values)
  kept: np.ndarray
  with np.errstate(all='ignore'):  # Too large is infinite, and not drawn.
    kept = values.astype('<i4')
    kept = kept if (kept == values).all() else values.astype('<f4')
  return {
    'dtype': kept.dtype.str[1:],
    'bdata': base64.b64encode(kept.tobytes()).decode(),
  }


def choose_rows(values: np.ndarray, most: int) -> np.ndarray:
  """Which rows are drawn: the extremes of each of so many stretches.

  Args:
    values: of a curve.
    most: rows, at least 4.

  Returns:
    Their numbers, in order.
  """
  if len(values) <= most:
    return np.arange(len(values))
  kept = {0, len(values) - 1}
  for part in np.array_split(np.arange(len(values)), most // 2 - 1):
    finite = part[np.isfinite(values[part])]
    if finite.size:
      kept |= {
        int(finite[values[finite].argmin()]),
        int(finite[values[finite].argmax()]),
      }
  return np.array(sorted(kept))


def make_figure(plot: Plot, most: int) -> dict[str, Any]:
  """A plot in Plotly's terms.

  Args:
    plot: the plot.
    most: points of each curve.

  Returns:
    `data`, `layout`, and `x`: by axis the values of each trace.
  """
  data, x = list(plot.traces), {axis: [] for axis in plot.axes}
  for curve in plot.curves:
    # What is measured more rarely has empty cells between.
    known = np.flatnonzero(~np.isnan(curve.y))
    rows = known[choose_rows(curve.y[known], most)]
    for trace in _make_traces(curve, rows):
      data.append(trace)
      for axis in plot.axes:
        x[axis].append(encode(curve.x[axis][rows]))
  layout: dict[str, Any] = {'template': 'none', 'hovermode': 'x unified'}
  layout['showlegend'] = len(plot.curves) > 1
  layout |= plot.layout
  if plot.curves:
    layout['xaxis'] = {'title': {'text': plot.axes[0]}}
    of_curves = data[len(plot.traces) :]
    for trace, values in zip(of_curves, x[plot.axes[0]], strict=True):
      trace['x'] = values
  return {'data': data, 'layout': layout, 'x': x if len(x) > 1 else {}}


def _make_traces(curve: Curve, rows: np.ndarray) -> list[dict[str, Any]]:
  colour = COLOURS[curve.style % len(COLOURS)]
  dash = _DASHES[curve.style // len(COLOURS) % len(_DASHES)]
  # What is drawn knows a few tags.
  label = html.escape(curve.label, quote=False)
  traces = []
  if curve.low is not None and curve.high is not None:
    edge = {
      'type': 'scatter',
      'mode': 'lines',
      'line': {'width': 0},
      'legendgroup': label,
      'showlegend': False,
      'hoverinfo': 'skip',
    }
    traces = [
      {**edge, 'y': encode(curve.low[rows])},
      {
        **edge,
        'y': encode(curve.high[rows]),
        'fill': 'tonexty',
        'fillcolor': _make_transparent(colour),
      },
    ]
  line = {
    'type': 'scatter',
    'mode': 'lines+markers' if len(rows) <= _FEW_ROWS else 'lines',
    'name': label,
    'legendgroup': label,
    'y': encode(curve.y[rows]),
    'line': {'color': colour, 'dash': dash, 'width': 2},
    'hovertemplate': '%{y:.4g}',
  }
  if curve.is_dashed:
    line |= {'mode': 'lines', 'line': {'color': colour, 'dash': 'dash'}}
  return [*traces, line]


def _make_transparent(colour: str) -> str:
  red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
  return f'rgba({red}, {green}, {blue}, 0.2)'
