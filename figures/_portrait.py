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
"""One phase portrait as a picture: what the page of portraits shows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from differentiable_games import diagnostics
from differentiable_games import fields
from differentiable_games import flows
from differentiable_games import rules
from figures import _style

_POINTS_A_STEP = 8
_NUM_ARROWS, _NUM_STARTS = 17, 61  # On each side of the plane.
_DRAWN_IN = '#dcedef'


class Portrait(NamedTuple):
  """What is drawn of a game of two numbers, fixed at (0, 0).

  Attributes:
    flow: the descended field of the flow in steps' time.
    modified: that of the modified flow.
    rule: the update rule.
    field: what it follows.
    start: where steps and flows begin.
    num_steps: how many.
    names: of the two numbers.
    extent: the plane is shown from minus this to this.
    method: whose colour steps have.
  """

  flow: fields.VectorField
  modified: fields.VectorField
  rule: rules.UpdateRule
  field: fields.VectorField
  start: tuple[float, float]
  num_steps: int
  names: tuple[str, str]
  extent: float
  method: str


def find_eigenvalues(portrait: Portrait) -> dict[str, np.ndarray]:
  """Those of the map of a step's time at (0, 0): of both flows, of steps."""
  origin = (jnp.zeros(()), jnp.zeros(()))
  mapped, point = diagnostics.update_map(portrait.rule, portrait.field, origin)

  def over_a_step(field):
    matrix = np.array(jax.jacfwd(field)(origin), dtype=float).reshape(2, 2)
    return np.exp(-np.linalg.eigvals(matrix))

  return {
    'flow': over_a_step(portrait.flow),
    'modified flow': over_a_step(portrait.modified),
    portrait.method: np.linalg.eigvals(jax.jacfwd(mapped)(point)),
  }


def draw(portrait: Portrait, title: str) -> Figure:
  """Draws the plane, the eigenvalues, and the distances to (0, 0).

  Args:
    portrait: what is drawn.
    title: of the game and how it is played.

  Returns:
    The figure.
  """
  found = find_eigenvalues(portrait)
  factors = ', '.join(
    f'{name if name != portrait.method else "steps"} {np.abs(values).max():.3f}'
    for name, values in found.items()
  )
  figure = _style.new_figure(
    6.2, f'{title}\nfactor by which a step multiplies the distance: {factors}'
  )
  plane, right = figure.subfigures(1, 2, width_ratios=(5, 3))
  circle, distances = right.subplots(2, 1, height_ratios=(5, 4))
  axes = plane.subplots()
  curves = _follow(portrait)
  _draw_plane(axes, portrait, curves)
  _draw_circle(circle, portrait, found)
  for name, points in curves.items():
    step = np.linspace(0, portrait.num_steps, points.shape[1])
    distances.semilogy(step, np.hypot(*points), color=_style.METHODS[name])
  distances.set(xlabel='step', ylabel='distance to (0, 0)')
  _style.place_legend(figure, axes, ncols=6)
  return figure


def _follow(portrait: Portrait) -> dict[str, np.ndarray]:
  """The points of both flows and of the steps, (2, points) each."""
  start, num_steps = tuple(map(jnp.float64, portrait.start)), portrait.num_steps
  times = jnp.linspace(0.0, num_steps, _POINTS_A_STEP * num_steps + 1)
  steps = rules.trajectory(portrait.rule, portrait.field, start, num_steps)
  return {
    'flow': np.array(flows.trajectory(portrait.flow, start, times)),
    'modified flow': np.array(
      flows.trajectory(portrait.modified, start, times)
    ),
    portrait.method: np.array(steps),
  }


def _draw_plane(axes, portrait, curves):
  extent = portrait.extent
  places = np.meshgrid(*2 * [np.linspace(-extent, extent, _NUM_STARTS)])

  def end(x, y):
    points = rules.trajectory(
      portrait.rule, portrait.field, (x, y), portrait.num_steps
    )
    return jnp.hypot(*(own[-1] for own in points))

  ends = jax.jit(jax.vmap(jax.vmap(end)))(*places)
  axes.contourf(
    *(*places, ends < np.hypot(*places)), (0.5, 1.5), colors=[_DRAWN_IN]
  )
  places = np.meshgrid(*2 * [np.linspace(-extent, extent, _NUM_ARROWS)])
  field = jax.vmap(jax.vmap(lambda *point: portrait.flow(point)))(*places)
  axes.quiver(*places, *(-np.array(d) for d in field), color='#bdc1c6')
  colours, labels = _style.METHODS, (*curves, 'start')
  for name in labels[:2]:
    axes.plot(*curves[name], color=colours[name], lw=2, label=name)
  axes.plot(
    *curves[portrait.method],
    '.',
    color=colours[portrait.method],
    label=f'steps, {portrait.method}',
  )
  axes.plot(*portrait.start, 'k*', ms=11, label='start')
  axes.fill_between([], [], color=_DRAWN_IN, label='starts that end nearer')
  axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect='equal')
  axes.set_xlabel(portrait.names[0])
  axes.set_ylabel(portrait.names[1], rotation=0)


def _draw_circle(axes, portrait: Portrait, found: dict[str, Any]) -> None:
  angles = np.linspace(0, 2 * np.pi, 200)
  axes.plot(np.cos(angles), np.sin(angles), color='#5f6368', lw=1)
  sizes: Sequence[float] = (11, 7, 4)
  for (name, values), size in zip(found.items(), sizes, strict=True):
    fill = {} if name == portrait.method else {'mfc': 'none', 'mew': 1.5}
    axes.plot(
      *(values.real, values.imag, 'o'),
      color=_style.METHODS[name],
      ms=size,
      **fill,
    )
  axes.set(
    title='Eigenvalues: inside the\nunit circle it is drawn in',
    xlabel='real part',
    ylabel='imaginary part',
    aspect='equal',
  )
