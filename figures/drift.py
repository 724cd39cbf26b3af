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
"""Drift of the Dirac GAN: steps of gradient descent, and the flows they follow.

Writes `figures/drift.png`.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from differentiable_games import adjustments
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import toy_games
from figures import _output
from figures import _style

COSTS = {'small': '7 seconds', 'quick': '7 seconds'}

START = (0.9, 0.0)
LEARNING_RATE = 0.4
NUM_STEPS = {'small': 60, 'quick': 6}


def points_of_steps(field, rates, num_steps: int) -> np.ndarray:
  """Simultaneous descent of a field from `START`: (steps + 1, 2)."""
  rule = rules.simultaneous([optax.sgd(rate) for rate in rates])
  start = tuple(map(jnp.float64, START))
  return np.stack(rules.trajectory(rule, field, start, num_steps), axis=1)


def points_of_flow(field, num_steps: int, pieces_a_step: int = 4) -> np.ndarray:
  """The flow of a field over the time of all steps."""
  piece = jax.jit(
    lambda p: flows.integrate(field, p, LEARNING_RATE / pieces_a_step)
  )
  points = [tuple(map(jnp.float64, START))]
  for _ in range(num_steps * pieces_a_step):
    points.append(piece(points[-1]))
  return np.array(points)


def draw(num_steps: int) -> Figure:
  """Draws both panels."""
  losses = toy_games.dirac_gan()
  rates = (LEARNING_RATE, LEARNING_RATE)
  drift = adjustments.common_time_drift(rates)
  interaction = [[0.0, -drift[0][1]], [-drift[1][0], 0.0]]

  def gradient(params):
    return game.simultaneous_gradient(losses, params)

  def cancelled(params):
    return adjustments.drift_adjusted(losses, params, interaction)

  flow = points_of_flow(gradient, num_steps)
  modified = points_of_flow(flows.modified_field(losses, drift), num_steps)
  figure = _style.new_figure(
    4.8,
    'Dirac GAN, zero-sum: players move at once, learning rate '
    f'h = {LEARNING_RATE}, {num_steps} steps',
  )
  left, right = figure.subplots(1, 2, sharex=True, sharey=True)
  for axes, field, title, method in (
    (left, gradient, 'Steps drift off the flow', 'simultaneous'),
    (
      right,
      cancelled,
      'With drift cancelled they stay on it',
      'drift cancelled',
    ),
  ):
    steps = points_of_steps(field, rates, num_steps)
    axes.plot(*flow.T, color=_style.METHODS['flow'], lw=2.5, label='flow')
    if axes is left:
      axes.plot(
        *modified.T,
        color=_style.METHODS['modified flow'],
        lw=1.5,
        label='modified flow (drift)',
      )
    axes.plot(
      *steps.T,
      '.',
      color=_style.METHODS[method],
      ms=5,
      label=f'steps, {method}',
    )
    axes.plot(*START, 'k*', ms=11, label='start')
    axes.set(title=title, xlabel='discriminator φ', aspect='equal')
  left.set_ylabel('generator θ')
  limit = 1.15 * np.abs(points_of_steps(gradient, rates, num_steps)).max()
  left.set(xlim=(-limit, limit), ylim=(-limit, limit))
  _style.place_legend(figure, left, right)
  return figure


def main() -> None:
  """Draws and writes the picture."""
  size = _output.choose_size(COSTS, __doc__)
  with jax.enable_x64(True):
    figure = draw(NUM_STEPS[size])
  _output.write_picture('drift', size, figure)


if __name__ == '__main__':
  main()
