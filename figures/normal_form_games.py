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
"""The figure of normal-form games: every method's distance to equilibrium.

Two-player zero-sum games in softmax strategies. For each method the median,
over random starts, of the strategies' distance to the equilibrium and of their
exploitability. Writes `figures/normal_form_games.png`, exploitability over
gradients evaluated, and prints the ends of both.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import normal_form_games
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import tableaus
from differentiable_games import unrolling
from figures import _output
from figures import _style

COSTS = {'small': '', 'quick': ''}

NUM_STARTS = 8
# What is drawn of a curve.
NUM_POINTS = 200


class Case(NamedTuple):
  """A game and its runs.

  Attributes:
    payoffs: of both players.
    learning_rate: of all methods. Those with a coefficient of their own take
      it for that too.
    num_steps: steps of a run.
  """

  payoffs: normal_form_games.Payoffs
  learning_rate: float
  num_steps: int


def make_cases() -> dict[str, Case]:
  """The games of the figure. The random ones have mixed equilibria.

  In the small games a step turns by 0.4 about the equilibrium: the learning
  rate is 0.4 over the norm of C_1 A C_2, with payoffs A and the strategies'
  covariances C_i = diag(π_i) - π_i π_iᵀ.
  """
  make_random = normal_form_games.random_zero_sum
  return {
    'matching pennies': Case(normal_form_games.matching_pennies(), 0.8, 400),
    'rock-paper-scissors': Case(
      normal_form_games.rock_paper_scissors(), 2.08, 400
    ),
    'random 2 × 2': Case(make_random(jax.random.key(4), 2), 2.91, 400),
    'random 10 × 10': Case(make_random(jax.random.key(0), 10), 3.0, 10_000),
  }


def sgd(h, **kwargs):
  """Plain descent for both players."""
  return (optax.sgd(h, **kwargs),) * 2


def gradient_of(losses):
  """The field of a game."""
  return lambda params: game.simultaneous_gradient(losses, params)


def adjusted(adjustment, **kwargs):
  """Simultaneous descent of an adjusted field."""

  def method(losses, h):
    field = lambda params: adjustment(losses, params, h, **kwargs)
    return rules.simultaneous(sgd(h)), field

  return method


def by_rule(rule):
  """Some rule on the game's own field."""
  return lambda losses, h: (rule(h), gradient_of(losses))


def lola(losses, params, h):
  """LOLA with the opponents' own rates."""
  return adjustments.lola(losses, params, (h, h))


def competitive(losses, params, h):
  """Competitive descent of a zero-sum game."""
  return solved_adjustments.competitive(
    losses, params, (h, h), zero_sum=True, tolerance=1e-5
  )


def cancelled(losses, params, h):
  """The drift of simultaneous descent cancelled, its interaction terms only."""
  return adjustments.drift_adjusted(
    losses, params, [[0.0, -h / 2], [-h / 2, 0.0]]
  )


def unrolled(losses, h):
  """Both players unroll the other for five steps."""
  both = [
    unrolling.unrolled_loss(losses, own, 1 - own, optax.sgd(h), 5)
    for own in range(2)
  ]
  return rules.simultaneous(sgd(h)), gradient_of(both)


# Each maps losses and a learning rate to a rule and its field.
METHODS: dict[str, Callable] = {
  'simultaneous': by_rule(lambda h: rules.simultaneous(sgd(h))),
  'alternating': by_rule(lambda h: rules.alternating(sgd(h), (0, 1))),
  'drift cancelled': adjusted(cancelled),
  'negative momentum': by_rule(
    lambda h: rules.alternating(sgd(h, momentum=-0.5), (0, 1))
  ),
  'Runge-Kutta 4': by_rule(
    lambda h: rules.runge_kutta(sgd(h), tableaus.RUNGE_KUTTA[4], h)
  ),
  'lookahead': by_rule(
    lambda h: rules.lookahead(rules.simultaneous(sgd(h)), [6])
  ),
  'optimistic': by_rule(
    lambda h: rules.simultaneous((optax.optimistic_gradient_descent(h),) * 2)
  ),
  'extragradient': by_rule(lambda h: rules.extragradient(sgd(h))),
  'competitive': adjusted(competitive),
  'LOLA': adjusted(lola),
  'SGA, aligned': adjusted(adjustments.symplectic_gradient, align=True),
  'consensus, aligned': adjusted(adjustments.consensus, align=True),
  'unrolled': unrolled,
}


def measure(case: Case, method: Callable) -> tuple[np.ndarray, np.ndarray]:
  """Medians of distance and exploitability after each step."""
  equilibrium = normal_form_games.zero_sum_equilibrium(case.payoffs)
  rule, field = method(
    normal_form_games.losses(case.payoffs), case.learning_rate
  )

  @jax.jit
  @jax.vmap
  def run(key):
    keys = jax.random.split(key)
    start = tuple(
      jax.random.normal(k, s.shape)
      for k, s in zip(keys, equilibrium, strict=True)
    )
    points = rules.trajectory(rule, field, start, case.num_steps)
    differences = [
      jax.nn.softmax(own) - s
      for own, s in zip(points, equilibrium, strict=True)
    ]
    distances = jnp.linalg.norm(jnp.concatenate(differences, axis=1), axis=1)
    exploit = functools.partial(normal_form_games.exploitability, case.payoffs)
    return distances, jax.vmap(exploit)(points)

  keys = jax.random.split(jax.random.key(0), NUM_STARTS)
  return tuple(np.median(values, axis=0) for values in run(keys))


# What a step takes, in evaluations of both players' gradients; a product with
# their Jacobian counts as one. Of competitive descent, see `count_evaluations`.
_EVALUATIONS = {
  'drift cancelled': 2,
  'Runge-Kutta 4': 4,
  'extragradient': 2,
  'LOLA': 2,
  'SGA, aligned': 3,
  'consensus, aligned': 2,
  'unrolled': 11,
}
GROUPS = {
  'one field': (
    'simultaneous',
    'alternating',
    'negative momentum',
    'Runge-Kutta 4',
  ),
  'looking ahead': ('optimistic', 'extragradient', 'lookahead', 'unrolled'),
  'products with J': (
    'drift cancelled',
    'competitive',
    'LOLA',
    'SGA, aligned',
    'consensus, aligned',
  ),
}
# Curves of these groups do not meet those of GANs.
_COLOURS = _style.METHODS | {
  'negative momentum': '#20a4b5',
  'extragradient': '#1b5e20',
  'lookahead': '#b08d57',
  'unrolled': '#202124',
  'competitive': '#5c6bc0',
  'LOLA': '#c2185b',
  'SGA, aligned': _style.METHODS['SGA'],
  'consensus, aligned': '#8c2d04',
}
# Exploitabilities are drawn from here on; a curve that ends at so small a share
# of its start has converged, and is shown to its end.
_LEAST, _CONVERGED = 1e-12, 1e-2


def count_evaluations(name: str, num_actions: int) -> int:
  """Gradients that a method's step evaluates, or products with J.

  Conjugate gradients in softmax strategies end after as many products as there
  are actions, less one; two half products and the gradient come with them.
  """
  if name == 'competitive':
    return 2 + num_actions - 1
  return _EVALUATIONS.get(name, 1)


def draw(results: dict[str, dict[str, tuple]]) -> Figure:
  """Draws exploitabilities, a column a game and a row a group of methods."""
  figure = _style.new_figure(
    8.4,
    'All that looks ahead converges in the small games; in the large one '
    f'unrolling gets furthest\nMedians of {NUM_STARTS} starts over evaluations '
    'of both gradients; a product with J counts as one',
  )
  cases = make_cases()
  panels = figure.subplots(
    len(GROUPS), len(results), sharex='col', sharey='col', squeeze=False
  )
  for column, (title, methods) in zip(panels.T, results.items(), strict=True):
    num_actions = len(cases[title].payoffs[0])
    ends = [
      _draw_curve(axes, name, *(methods[name][1], num_actions))
      for axes, names in zip(column, GROUPS.values(), strict=True)
      for name in names
    ]
    column[0].set_title(title)
    if any(ends):
      column[0].set_xlim(0, 1.02 * max(ends))
    column[-1].set_xlabel('evaluations')
  for axes, group in zip(panels[:, 0], GROUPS, strict=True):
    axes.set_ylabel(f'{group}:\nexploitability')
  panels[0, 0].text(
    *(0.05, 0.06, f'below {_LEAST:g}\ndrawn at it'),
    transform=panels[0, 0].transAxes,
  )
  for axes in panels[:, -1]:
    axes.legend(
      loc='center left',
      bbox_to_anchor=(1, 0.5),
      handlelength=1.2,
    )
  return figure


def _draw_curve(axes, name, exploitabilities, num_actions):
  """Draws a method; returns where it has converged, 0 if it does not."""
  values = np.maximum(exploitabilities, _LEAST)
  every = max(1, len(values) // NUM_POINTS)
  evaluations = np.arange(len(values)) * count_evaluations(name, num_actions)
  axes.semilogy(
    *(evaluations[::every], values[::every]), color=_COLOURS[name], label=name
  )
  if values[-1] > _CONVERGED * values[0]:
    return 0
  return evaluations[np.argmin(values)]


def main() -> None:
  """Measures, prints the last values, draws and writes the picture."""
  size = _output.choose_size(COSTS, __doc__)
  with jax.enable_x64(True):
    cases = make_cases()
    if size == 'quick':
      name = 'matching pennies'
      cases = {name: cases[name]._replace(num_steps=10)}
    results = {
      title: {name: measure(case, method) for name, method in METHODS.items()}
      for title, case in cases.items()
    }
  for title, methods in results.items():
    print(f'{title}:')
    for name, (distances, exploitabilities) in methods.items():
      print(
        f'  {name}: distance {distances[-1]:.2g}, '
        f'exploitability {exploitabilities[-1]:.2g}'
      )
  _output.write_picture('normal_form_games', size, draw(results))


if __name__ == '__main__':
  main()
