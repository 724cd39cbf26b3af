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
  figure = Figure(figsize=(9.6, 4.6), dpi=140, layout='constrained')
  left, right = figure.subplots(1, 2, sharex=True, sharey=True)
  for axes, field, title, colour in (
    (left, gradient, 'Gradient descent drifts off the flow', '#d1495b'),
    (right, cancelled, 'Interaction terms cancelled', '#00798c'),
  ):
    steps = points_of_steps(field, rates, num_steps)
    axes.plot(*flow.T, color='#9aa0a6', lw=2.5, label='flow')
    if axes is left:
      axes.plot(
        *modified.T, color='#edae49', lw=1.5, label='modified flow (drift)'
      )
    axes.plot(*steps.T, '.', color=colour, ms=5, label='steps')
    axes.plot(*START, 'k*', ms=11, label='start')
    axes.set(title=title, xlabel='discriminator φ', aspect='equal')
    axes.spines[['top', 'right']].set_visible(False)
  left.set_ylabel('generator θ')
  limit = 1.15 * np.abs(points_of_steps(gradient, rates, num_steps)).max()
  left.set(xlim=(-limit, limit), ylim=(-limit, limit))
  handles, labels = left.get_legend_handles_labels()
  figure.legend(
    [*handles, right.lines[1]],
    [*labels, 'steps, cancelled'],
    loc='outside lower center',
    ncols=5,
    frameon=False,
  )
  figure.suptitle(
    f'Dirac GAN, saturating loss, simultaneous, learning rate {LEARNING_RATE}, '
    f'{num_steps} steps'
  )
  return figure


def main() -> None:
  """Draws and writes the picture."""
  size = _output.choose_size(COSTS, __doc__)
  with jax.enable_x64(True):
    figure = draw(NUM_STEPS[size])
  _output.write_picture('drift', size, figure)


if __name__ == '__main__':
  main()
