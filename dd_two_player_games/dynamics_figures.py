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
"""The plots of a run's dynamics: terms of drift, distances, spectra."""

import re
from typing import Any

import numpy as np

from dd_two_player_games import report_figures
from dd_two_player_games import run_record

_UNSTABLE = 'rgba(208, 80, 80, 0.13)'
# By step; the ends are seen on white and on black.
_SCALE = [[0, '#4f7fd9'], [0.5, '#b06fc4'], [1, '#e8743b']]
_TERMS = ('self_norm', 'other_dot_prod', 'other_norm')
_NUM_LEADING = 5
_ON_PATH = re.compile(r'path_cosine/(\d\.\d)')
_LOGARITHMIC = {'yaxis': {'type': 'log'}}
_COSINE = {'yaxis': {'range': [-1.05, 1.05]}}
_FROM_ZERO = {'yaxis': {'rangemode': 'tozero'}}


# Dynamics.


def list_players(run: run_record.Run) -> list[str]:
  """The players, as the tables name them."""
  found = [
    name.rsplit('/', 1)[0]
    for series in ('dynamics', 'spectrum')
    for name in report_figures.list_columns(run, series)
    if name.endswith(('/gradient_norm', '/hessian_smallest'))
  ]
  return list(dict.fromkeys(found))


def plot_dynamics(run: run_record.Run) -> list[report_figures.Plot]:
  """Plots what training.dynamics.every measured."""
  players = list_players(run)

  def plot(labels, title, caption, layout):
    return report_figures.plot_columns(
      run, 'dynamics', labels, title, caption, layout
    )

  def of_players(what):
    return {f'{player}/{what}': player for player in players}

  return [
    *plot(
      {name: name for name in ('e_flow', 'e_modified', 'e_uncertainty')},
      'Distance of a step from the flow',
      'e_flow: from the continuous flow, e_modified: from the flow with drift, '
      'each as a share of the step; e_uncertainty: of the solver.',
      _LOGARITHMIC,
    ),
    *plot(
      {'rotation': 'rotation', 'alignment': 'alignment'},
      'Rotation and alignment',
      'Rotation: ‖Aξ‖² / (‖Sξ‖² + ‖Aξ‖²) with S and A the symmetric and '
      'antisymmetric parts of J. Alignment: cos(ξ, Jᵀξ).',
      _COSINE,
    ),
    *plot(of_players('gradient_norm'), 'Norms of gradients', '', _LOGARITHMIC),
    *plot(of_players('update_norm'), 'Norms of updates', '', _LOGARITHMIC),
    *(p for player in players for p in _plot_terms(run, player)),
    *plot(
      {'sample_spread': 'samples / data'},
      'Spread of the samples',
      "Their standard deviation over the data's; near 0 the generator gives "
      'one and the same sample.',
      _FROM_ZERO,
    ),
  ]


def _plot_terms(run: run_record.Run, player: str) -> list[report_figures.Plot]:
  """Plots a player's three terms, beside its gradient and in its steps."""
  kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
    'relative_norm': (
      'terms, relative norms',
      "Over the norm of the player's gradient, whether a term is used or not; "
      'other_dot_prod is the interaction term.',
      _LOGARITHMIC,
    ),
    'cosine': (
      'terms, cosines with the gradient',
      'Above 0 a term that is added pulls the way the gradient does.',
      _COSINE,
    ),
    'share': (
      'terms in use, shares of the direction',
      'With the coefficient of the config; 0 where it is 0.',
      _FROM_ZERO,
    ),
    'drift': (
      'measured drift',
      'What of each term explains how a step ends beside the flow, over the '
      "step's length; near 0 where it is cancelled.",
      {},
    ),
  }
  return [
    plot
    for kind, (title, caption, layout) in kinds.items()
    for plot in report_figures.plot_columns(
      run,
      'dynamics',
      {f'{player}/{term}/{kind}': term for term in _TERMS},
      f'{player}: {title}',
      caption,
      layout,
    )
  ]


# Spectra.


def plot_spectrum(run: run_record.Run) -> list[report_figures.Plot]:
  """Plots what training.dynamics.spectrum_every measured."""
  return [
    *_plot_eigenvalues(run),
    *_plot_extremes(
      run,
      'smallest',
      'Below 0 (shaded) J is unstable, and a player not at a local minimum of '
      'its own loss.',
    ),
    *_plot_extremes(run, 'largest', ''),
    *_plot_path(run),
  ]


def _plot_extremes(
  run: run_record.Run, which: str, caption: str
) -> list[report_figures.Plot]:
  """Plots an extreme real part of J, and eigenvalue of each own Hessian."""
  labels = {f'{which}_real': 'J, real part'}
  for player in list_players(run):
    labels[f'{player}/hessian_{which}'] = f"{player}'s Hessian"
  plots = report_figures.plot_columns(
    run, 'spectrum', labels, f'{which.capitalize()} eigenvalues', caption, {}
  )
  for plot in plots:
    values = np.concatenate([curve.y for curve in plot.curves])
    plot.layout = _shade('y', values)
  return plots


def _plot_eigenvalues(run: run_record.Run) -> list[report_figures.Plot]:
  """Plots the leading eigenvalues in the complex plane."""
  table = run.tables.get('spectrum')
  if table is None:
    return []
  names = [f'eigenvalue_{k + 1}' for k in range(_NUM_LEADING)]
  names = [n for n in names if {f'{n}/real', f'{n}/imag'} <= {*table.columns}]
  if not names:
    return []
  real, imaginary = (
    np.concatenate([table.columns[f'{name}/{part}'] for name in names])
    for part in ('real', 'imag')
  )
  steps = np.tile(table.steps, len(names))
  known = np.isfinite(real) & np.isfinite(imaginary)
  real, imaginary, steps = real[known], imaginary[known], steps[known]
  if not steps.size:
    return []
  markers = {
    'size': 9,
    'color': report_figures.encode(steps),
    'colorscale': _SCALE,
    'colorbar': {'title': {'text': 'step'}, 'thickness': 12},
    'line': {'width': 1, 'color': 'rgba(127, 127, 127, 0.6)'},
  }
  trace = {
    'type': 'scatter',
    'mode': 'markers',
    'x': report_figures.encode(real),
    'y': report_figures.encode(imaginary),
    'marker': markers,
    'hovertemplate': '%{x:.4g} %{y:+.4g}i<br>step %{marker.color}'
    '<extra></extra>',
  }
  layout = _shade('x', real) | {'hovermode': 'closest'}
  layout['xaxis']['title'] = {'text': 'Re'}
  layout['yaxis'] = {'title': {'text': 'Im'}}
  return [
    report_figures.Plot(
      'Leading eigenvalues of J',
      'The largest by modulus, coloured by step. In the shaded half-plane, '
      'Re < 0, the flow leaves a stationary point.',
      traces=[trace],
      layout=layout,
    )
  ]


def _plot_path(run: run_record.Run) -> list[report_figures.Plot]:
  """Plots the path angle of the last measurement."""
  table = run.tables.get('spectrum')
  if table is None:
    return []
  matches = filter(None, map(_ON_PATH.fullmatch, table.columns))
  cosines = {float(m[1]): table.columns[m[0]][-1] for m in matches}
  if not cosines:
    return []
  trace = {
    'type': 'scatter',
    'mode': 'lines+markers',
    'x': report_figures.encode(np.array(sorted(cosines))),
    'y': report_figures.encode(np.array([cosines[x] for x in sorted(cosines)])),
    'name': 'cosine',
  }
  return [
    report_figures.Plot(
      'Path angle',
      'cos(ξ, way) along the way from the initial parameters (0) to those of '
      f'step {int(table.steps[-1]):,} (1). Towards a point that attracts it is '
      'below 0 and changes its sign there; a bump means rotation.',
      traces=[trace],
      layout={**_COSINE, 'xaxis': {'title': {'text': 'share of the way'}}},
    )
  ]


def _shade(axis: str, values: np.ndarray) -> dict[str, Any]:
  """A layout in which what of an axis lies below 0 is in sight, and shaded."""
  # No farther than float32 reaches.
  values = values[np.abs(values) < 1e38]
  low, high = min(0, *values, 0), max(0, *values, 0)
  room = 0.08 * (high - low or 1)
  other = 'y' if axis == 'x' else 'x'
  rectangle = {
    'type': 'rect',
    f'{axis}0': low - room,
    f'{axis}1': 0,
    f'{other}ref': 'paper',
    f'{other}0': 0,
    f'{other}1': 1,
    'fillcolor': _UNSTABLE,
    'line': {'width': 0},
    'layer': 'below',
  }
  return {
    f'{axis}axis': {'range': [low - room, high + room]},
    'shapes': [rectangle],
  }
