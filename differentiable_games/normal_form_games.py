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
r"""Normal-form games of n players, whose strategies are softmax of logits.

A game is given by its payoffs: one array a player, of shape (actions of player
1, …, actions of player n). Player i's parameters are one logit an action, its
strategy is :math:`\pi_i = \mathrm{softmax}(\theta_i)`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from differentiable_games import game

Payoffs = Sequence[jax.Array]


def matching_pennies() -> Payoffs:
  """Two players, two actions: the first wants to match, the second not."""
  matrix = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
  return matrix, -matrix


def rock_paper_scissors() -> Payoffs:
  """Two players, three actions, each of which beats the one before it."""
  matrix = jnp.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
  return matrix, -matrix


def random_zero_sum(key: jax.Array, num_actions: int) -> Payoffs:
  """Two players, payoffs uniform in [-1, 1]."""
  matrix = jax.random.uniform(
    key, (num_actions, num_actions), minval=-1.0, maxval=1.0
  )
  return matrix, -matrix


def losses(payoffs: Payoffs) -> tuple[game.Loss, ...]:
  """The players' losses: minus their expected payoffs, of their logits."""

  def loss_of(payoff):
    return lambda logits: -_expected(payoff, _strategies(logits))

  return tuple(loss_of(payoff) for payoff in payoffs)


def exploitability(payoffs: Payoffs, logits: Sequence[jax.Array]) -> jax.Array:
  r"""What players would gain by best responses, in all: "NashConv".

  .. math:: \sum_i \max_a u_i(a, \pi_{-i}) - u_i(\pi)

  Zero at Nash equilibria, positive elsewhere.
  """
  game.check_num_players(payoffs, logits, 'payoffs')
  strategies = _strategies(logits)
  total = jnp.zeros(())
  for i, payoff in enumerate(payoffs):
    others = [None if j == i else s for j, s in enumerate(strategies)]
    values = _expected(payoff, others)
    total += jnp.max(values) - values @ strategies[i]
  return total


def zero_sum_equilibrium(payoffs: Payoffs) -> tuple[np.ndarray, np.ndarray]:
  """A Nash equilibrium of a zero-sum game of two players, by linear programs.

  Returns:
    Both players' strategies.
  """
  first, second = map(np.asarray, payoffs)
  return _maximin(first), _maximin(second.T)


def _maximin(payoff: np.ndarray) -> np.ndarray:
  """The strategy on the rows with the highest worst payoff over columns."""
  num_rows, num_columns = payoff.shape
  # Unknowns: the strategy and its worst payoff v; maximise v.
  solution = optimize.linprog(
    c=np.append(np.zeros(num_rows), -1.0),
    A_ub=np.hstack([-payoff.T, np.ones((num_columns, 1))]),
    b_ub=np.zeros(num_columns),
    A_eq=np.append(np.ones(num_rows), 0.0)[None],
    b_eq=[1.0],
    bounds=[(0.0, None)] * num_rows + [(None, None)],
  )
  return solution.x[:-1]


def _strategies(logits: Sequence[jax.Array]) -> list[jax.Array]:
  return [jax.nn.softmax(own) for own in logits]


def _expected(payoff, strategies):
  """Payoffs averaged over the strategies that are not None."""
  # The last player first, so that the axes before keep their places.
  for axis in reversed(range(len(strategies))):
    if strategies[axis] is not None:
      payoff = jnp.tensordot(payoff, strategies[axis], axes=(axis, 0))
  return payoff
