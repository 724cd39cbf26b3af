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
"""The figures of docs/principal_flow.md.

Writes `figures/principal_flow_*.png`, and what they show in numbers beside
them: the published quadratics; the banana function and a small network; the
edge of stability; drift-adjusted learning rates (DAL).

  ./run.sh figures principal_flow [--size=small|quick] [--only FIGURE ...]
      [--redraw]
"""

from collections.abc import Sequence
import json
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from figures import _output
from figures import _principal_flow_training
from figures import _style
from principal_flow_instability_single_objective import descent
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import principal_flow

COSTS = {'small': '10 minutes', 'quick': ''}

COLOURS = {
  'gradient flow': _style.METHODS['flow'],
  'IGR flow': _style.METHODS['modified flow'],
  'third-order flow': '#8c5a2b',
  'principal flow': '#7b4ab5',
  'principal flow, third order': '#1b3a4b',
}
STEPS_COLOUR = _style.METHODS['simultaneous']
POINTS_A_STEP = 16


# Gradient descent and flows of small losses, in float64.


def follow(
  flow: principal_flow.Flow,
  loss: hessian.Loss,
  start: jax.Array,
  h: float,
  num_steps: int,
) -> np.ndarray:
  """The points of a flow, `POINTS_A_STEP` for each step: real parts.

  Raises what diffrax does if the flow cannot be followed.
  """
  times = h * jnp.arange(1, num_steps * POINTS_A_STEP + 1) / POINTS_A_STEP
  points = jax.jit(
    lambda x: principal_flow.trajectory(
      lambda p: flow(loss, p, h), x, times, rtol=1e-11, atol=1e-13
    )
  )(start)
  return np.concatenate([start[None], points.real])


def distances(steps: np.ndarray, flow: np.ndarray) -> np.ndarray:
  """Of a flow to gradient descent, after each step."""
  return np.linalg.norm(flow[::POINTS_A_STEP] - steps, axis=-1)


# 1. The quadratics of the published notebooks.


def quadratics(quick: bool) -> tuple[Figure, Any]:
  """Loss xᵀ diag(1, 0.01) x: oscillation at h = 0.9, divergence at 1.05."""
  del quick
  matrix, start = jnp.diag(jnp.array([1.0, 0.01])), jnp.array([-0.35, -0.2])
  loss = lambda x: x @ matrix @ x
  names = ('gradient flow', 'IGR flow', 'principal flow')
  figure = _style.new_figure(
    4.4, 'Only the principal flow oscillates and diverges as descent does'
  )
  results = []
  for axes, h, num_steps in zip(
    figure.subplots(1, 2), (0.9, 1.05), (200, 5), strict=True
  ):
    steps = np.asarray(descent.descend(loss, start, h, num_steps))
    curves = {
      n: follow(descent.FLOWS[n], loss, start, h, num_steps) for n in names
    }
    extent = 1.1 * np.abs(steps[:, 0]).max()
    _contours(axes, loss, (-extent, extent), (-0.22, 0.03))
    _draw_paths(axes, steps, curves)
    ends = 'converges' if h < 1 else 'diverges'
    axes.set_title(f'h = {h}: descent {ends}, {num_steps} steps')
    axes.set(xlabel=f'x, hλ = {2 * h:g}', ylabel=f'y, hλ = {0.02 * h:g}')
    results.append(
      {
        'learning_rate': h,
        'steps': num_steps,
        'largest_distance_to_descent': {
          n: float(distances(steps, curve).max()) for n, curve in curves.items()
        },
      }
    )
  _style.place_legend(figure, axes)
  return figure, results


def _contours(axes, loss, xlim, ylim):
  grid = np.meshgrid(np.linspace(*xlim, 120), np.linspace(*ylim, 120))
  values = jax.vmap(jax.vmap(loss))(jnp.stack(grid, -1))
  levels = np.geomspace(values.max() / 1e3, values.max(), 12)
  axes.contour(*grid, values, levels, colors='#d5d8dc', linewidths=0.8)
  axes.set(xlim=xlim, ylim=ylim)


def _draw_paths(axes, steps, curves):
  widths = {'gradient flow': 4, 'IGR flow': 2.5}  # Both stay visible.
  for name, curve in curves.items():
    width = widths.get(name, 1.2)
    axes.plot(*curve.T, color=COLOURS[name], lw=width, label=name)
  axes.plot(*steps.T, '.', color=STEPS_COLOUR, ms=6, label='gradient descent')
  axes.plot(*steps[0], 'k*', ms=10, label='start')


# 2. The banana function and a small network.


def banana(params: jax.Array) -> jax.Array:
  """Rosenbrock's function, with its minimum 0 at (1, 1)."""
  x, y = params
  return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def nonlinear(quick: bool) -> tuple[Figure, Any]:
  """Paths on the banana function; the drift of each step of a network."""
  figure = _style.new_figure(
    7.6,
    'After a step the principal flow is nearest to descent; '
    'where hλ₀ is large, not for long',
  )
  (paths, far), (near, network) = figure.subplots(2, 2)
  names = ('gradient flow', 'principal flow') if quick else tuple(descent.FLOWS)
  results = {
    'banana': [
      _draw_banana(None, near, (-1.2, 1.0), 0.0005, 30, names),
      _draw_banana(paths, far, (-0.9, 1.2), 0.0018, 12, names),
    ],
    'network': _draw_network(network, 20 if quick else 240, names),
  }
  _style.place_legend(figure, paths, network, ncols=4)
  return figure, results


def _draw_banana(paths, axes, start, h, num_steps, names):
  start = jnp.array(start)
  steps = np.asarray(descent.descend(banana, start, h, num_steps))
  curves = {
    n: follow(descent.FLOWS[n], banana, start, h, num_steps) for n in names
  }
  if paths is not None:
    _contours(paths, banana, (-1.22, -0.84), (1.0, 1.22))
    shown = {n: c[: 5 * POINTS_A_STEP + 1] for n, c in curves.items()}
    _draw_paths(paths, steps[:6], shown)
    paths.set(
      title=f'banana function, h = {h}: 5 steps', xlabel='x', ylabel='y'
    )
  apart = {name: distances(steps, curve) for name, curve in curves.items()}
  for name, values in apart.items():
    axes.semilogy(
      range(1, num_steps + 1), values[1:], '.-', color=COLOURS[name], label=name
    )
  curvatures = jax.vmap(jax.hessian(banana))(steps[:-1])
  h_lambda = h * np.linalg.eigvalsh(curvatures)[:, -1]
  axes.set_title(
    f'banana function, h = {h}: '
    f'hλ₀ from {h_lambda.min():.2f} to {h_lambda.max():.2f}'
  )
  axes.set(xlabel='step', ylabel='distance to gradient descent')
  return {
    'start': start.tolist(),
    'learning_rate': h,
    'h_lambda': h_lambda.tolist(),
    'distance': {name: values.tolist() for name, values in apart.items()},
  }


def _draw_network(axes, num_steps, names, h=0.4, interval=20):
  loss, params = descent.make_small_network()
  points = descent.descend(loss, params, h, num_steps)
  at = np.arange(0, num_steps + 1, interval)
  chosen = [jax.tree.map(lambda leaf, i=i: leaf[i], points) for i in at]
  matrices = [hessian.dense(loss, point) for point in chosen]
  h_lambda = np.array([h * np.linalg.eigvalsh(m)[-1] for m in matrices])
  results = {}
  for name in names:
    drifts = np.array(
      [descent.measure_drift(name, loss, point, h) for point in chosen]
    )
    axes.semilogy(at, drifts, '.-', color=COLOURS[name], label=name)
    results[name] = drifts.tolist()
  axes.fill_between(
    *(at, 0, 1, h_lambda > 2),
    transform=axes.get_xaxis_transform(),
    color='#f3d9dc',
    label='hλ₀ > 2',
  )
  axes.set_title(f'network, h = {h}: drift of single steps')
  axes.set(xlabel='step', ylabel='drift / length of the step')
  return {
    'learning_rate': h,
    'step': at.tolist(),
    'h_lambda': h_lambda.tolist(),
    'drift_over_step_length': results,
  }


COMPUTED = {'quadratics': quadratics, 'nonlinear': nonlinear}
# How the others are trained for, and how they are drawn.
TRAINED = {
  'edge_of_stability': (
    _principal_flow_training.measure_edge_of_stability,
    _principal_flow_training.draw_edge_of_stability,
  ),
  'dal': (
    _principal_flow_training.measure_dal,
    _principal_flow_training.draw_dal,
  ),
}
DRAWINGS = (*COMPUTED, *TRAINED)


def main(arguments: Sequence[str] | None = None) -> None:
  """Draws and writes the pictures and their numbers."""
  parser = _output.size_parser(COSTS, __doc__)
  parser.add_argument(
    '--only', nargs='+', choices=DRAWINGS, default=list(DRAWINGS)
  )
  parser.add_argument(
    '--redraw',
    action='store_true',
    help='train nothing: draw the numbers that lie beside the pictures',
  )
  given = parser.parse_args(arguments)
  quick = given.size == 'quick'
  for name in given.only:
    if name in COMPUTED:
      with jax.enable_x64(True):
        figure, results = COMPUTED[name](quick)
    else:
      measure, draw = TRAINED[name]
      results = _read_record(name) if given.redraw else measure(quick)
      figure = draw(results)
    picture = _output.write_picture(
      f'principal_flow_{name}', given.size, figure
    )
    numbers = json.dumps(results, indent=1) + '\n'
    picture.with_suffix('.json').write_text(numbers)


def _read_record(name):
  path = _output.ROOT / 'figures' / f'principal_flow_{name}.json'
  return json.loads(path.read_text())


if __name__ == '__main__':
  main()
