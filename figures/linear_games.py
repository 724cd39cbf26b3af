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
"""The figure of linear games: drift that decides whether steps converge.

Two linear games and the Dirac GAN, simultaneous and alternating: the discrete
steps, the flow that they discretise, and the modified flow that they follow.
Writes `figures/linear_games.png` and prints what the modified flow predicts,
as in Figures 2, 3 and A.2 of Rosca et al., "Discretization Drift in Two-Player
Games", 2021.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from differentiable_games import diagnostics
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import toy_games
from figures import _output
from figures import _style

COSTS = {'small': '', 'quick': ''}

ORDERS = {'simultaneous': None, 'alternating': (0, 1)}


class Case(NamedTuple):
  """A game of two numbers whose fixed point is the origin.

  Attributes:
    losses: of both players.
    start: where steps and flows begin.
    learning_rate: of both players.
    num_steps: steps that are drawn.
    names: of the two numbers.
  """

  losses: Sequence[game.Loss]
  start: tuple[float, float]
  learning_rate: float
  num_steps: int
  names: tuple[str, str] = ('x', 'y')


CASES = {
  'linear game, ε = 0.2': Case(
    toy_games.spiral((0.2, 0.2), 1.0), (0.08, -0.05), 0.2, 120
  ),
  'linear game, ε = 0.09': Case(
    toy_games.spiral((0.09, 0.09), 1.0), (0.07, -0.09), 0.2, 240
  ),
  'Dirac GAN': Case(toy_games.dirac_gan(), (0.9, 0.0), 0.4, 120, ('φ', 'θ')),
}


class Prediction(NamedTuple):
  """What the modified flow says of the fixed point, and what is so.

  Attributes:
    trace: of the modified flow's matrix there.
    determinant: of the same.
    rate: the factor of a discrete step, `diagnostics.convergence_rate`.
  """

  trace: float
  determinant: float
  rate: float

  @property
  def verdict(self) -> str:
    """Whether the modified flow is drawn to the fixed point."""
    if abs(self.trace) < 1e-12:
      return 'turns'
    return (
      'converges' if self.trace < 0 and self.determinant > 0 else 'diverges'
    )


def predict(case: Case, order: Sequence[int] | None) -> Prediction:
  """The modified flow's matrix at the origin, and the steps' own rate."""
  origin = (jnp.zeros(()), jnp.zeros(()))
  field = flows.modified_flow_of_descent(
    case.losses, (case.learning_rate,) * 2, order=order
  )
  # The field is descended, and counts time in steps.
  matrix = -np.array(jax.jacfwd(field)(origin)) / case.learning_rate
  return Prediction(
    trace=float(np.trace(matrix)),
    determinant=float(np.linalg.det(matrix)),
    rate=diagnostics.convergence_rate(
      rule_of(case, order), gradient_of(case), origin
    ),
  )


def rule_of(case: Case, order: Sequence[int] | None) -> rules.UpdateRule:
  """Gradient descent in that order, at once for None."""
  optimizers = (optax.sgd(case.learning_rate),) * 2
  if order is None:
    return rules.simultaneous(optimizers)
  return rules.alternating(optimizers, order)


def gradient_of(case: Case):
  """The game's field."""
  return lambda params: game.simultaneous_gradient(case.losses, params)


def draw_case(axes, case: Case, name: str) -> float:
  """Draws steps, flow and modified flow; returns how far the steps get."""
  order = ORDERS[name]
  rates = (case.learning_rate,) * 2
  start = tuple(map(jnp.float64, case.start))
  times = jnp.linspace(0.0, case.num_steps, 8 * case.num_steps + 1)
  flow = flows.trajectory(
    flows.flow_of_descent(case.losses, rates), start, times
  )
  modified = flows.trajectory(
    flows.modified_flow_of_descent(case.losses, rates, order=order),
    start,
    times,
  )
  steps = rules.trajectory(
    rule_of(case, order), gradient_of(case), start, case.num_steps
  )
  colours = _style.METHODS
  axes.plot(*flow, color=colours['flow'], lw=2.0, label='flow')
  axes.plot(
    *modified, color=colours['modified flow'], lw=1.5, label='modified flow'
  )
  axes.plot(*steps, '.', color=colours[name], ms=3.5, label=f'steps, {name}')
  axes.plot(*case.start, 'k*', ms=10, label='start')
  axes.set(aspect='equal')
  axes.set_xlabel(case.names[0])
  axes.set_ylabel(case.names[1], rotation=0)
  return np.abs(np.array(steps)).max()


def draw(cases: dict[str, Case]) -> Figure:
  """Draws a column of panels a case; both have the same limits."""
  figure = _style.new_figure(
    7.3, 'Which order of steps converges is told by the modified flow'
  )
  panels = figure.subplots(len(ORDERS), len(cases), squeeze=False)
  for column, (title, case) in zip(panels.T, cases.items(), strict=True):
    farthest = 0.0
    for axes, (name, order) in zip(column, ORDERS.items(), strict=True):
      farthest = max(farthest, draw_case(axes, case, name))
      predicted = predict(case, order)
      axes.set_title(
        f'{title}, h = {case.learning_rate}: {case.num_steps} steps\n'
        f'trace {predicted.trace:+.3f}, det {predicted.determinant:.3f}: '
        f'{predicted.verdict}'
      )
    limit = 1.1 * farthest
    for axes in column:
      axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
  _style.place_legend(figure, *panels[:, 0])
  return figure


def main() -> None:
  """Draws and writes the picture, and prints the predictions."""
  size = _output.choose_size(COSTS, __doc__)
  cases = CASES
  if size == 'quick':
    cases = {name: case._replace(num_steps=5) for name, case in CASES.items()}
  with jax.enable_x64(True):
    for title, case in cases.items():
      for name, order in ORDERS.items():
        predicted = predict(case, order)
        print(
          f'{title}, learning rate {case.learning_rate}, {name}: '
          f'trace {predicted.trace:+.4f}, '
          f'determinant {predicted.determinant:.4f}, {predicted.verdict}; '
          f'a step multiplies by {predicted.rate:.5f}'
        )
    figure = draw(cases)
  _output.write_picture('linear_games', size, figure)


if __name__ == '__main__':
  main()
