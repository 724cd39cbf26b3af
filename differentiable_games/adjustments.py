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
r"""From a field to an adjusted field: drift terms, SGA, consensus, LOLA.

Every adjustment returns a direction that players *descend*, in place of the
simultaneous gradient :math:`\xi`.
"""

from collections.abc import Sequence
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from differentiable_games import game
from differentiable_games import jacobian

# Coefficients may be traced; a Python zero is left out before tracing.
Coefficient = float | jax.Array


def is_zero(coefficient: Coefficient) -> bool:
  """Whether a coefficient is known to be zero before tracing."""
  return isinstance(coefficient, int | float) and coefficient == 0


def scaled(
  coefficient: Coefficient, tree: game.PlayerParams
) -> game.PlayerParams | None:
  """`coefficient * tree`, or None where the coefficient is a Python zero."""
  if is_zero(coefficient):
    return None
  return optax.tree.scale(coefficient, tree)


def drift_adjusted(
  losses: Sequence[game.Loss],
  params: game.Params,
  coefficients: Sequence[Sequence[Coefficient]],
) -> game.Params:
  r"""The gradient with rows of :math:`J\xi` added: drift terms of n players.

  .. math:: \xi_i + \sum_j c_{ij} J_{ij} \xi_j

  With :math:`c` from `common_time_drift` this is the field whose flow the
  discrete steps follow to third order (its drift *strengthened* to what the
  steps already do); with :math:`-c` the drift is cancelled.

  Args:
    losses: n losses.
    params: n pytrees.
    coefficients: the (n, n) matrix c; a Python zero leaves its term out.

  Returns:
    The adjusted gradient, in the structure of `params`.

  References:
    Rosca et al., "Discretization Drift in Two-Player Games", ICML 2021.
  """
  gradient = game.simultaneous_gradient(losses, params)
  adjusted = []
  for i, row in enumerate(coefficients):
    direction = [
      scaled(c, block) for c, block in zip(row, gradient, strict=True)
    ]
    if all(block is None for block in direction):
      adjusted.append(gradient[i])
      continue
    term = jacobian.row_product(losses, params, i, direction)
    adjusted.append(optax.tree.add(gradient[i], term))
  return game.from_players(params, adjusted)


def common_time_drift(
  learning_rates: Sequence[Coefficient],
  num_updates: Sequence[int] | None = None,
  order: Sequence[int] | None = None,
) -> list[list[Coefficient]]:
  r"""Drift coefficients of gradient descent against one joint flow.

  A step of all players is compared with the flow
  :math:`\theta_i' = -n_i h_i \xi_i` over unit time, for any learning rates
  and numbers of updates. The step follows, to third order, the modified flow
  :math:`\theta_i' = -n_i h_i (\xi_i + \sum_j c_{ij} J_{ij} \xi_j)`.

  Simultaneous: :math:`c_{ij} = h_j / 2`. In turns: :math:`c_{ii} = h_i / 2`,
  and :math:`c_{ij} = \pm n_j h_j / 2`, plus where i moves before j and minus
  where it moves after j. Both follow from backward error analysis, the turns
  from the Baker-Campbell-Hausdorff formula.

  Args:
    learning_rates: :math:`h_i`, one a player.
    num_updates: :math:`n_i`, updates of a player in its turn; one if None.
    order: the players in the order of their turns; None: simultaneous.

  Returns:
    The (n, n) matrix c, for `drift_adjusted`.

  Raises:
    ValueError: for simultaneous updates with more than one update a player,
      or an order that does not name each player once.
  """
  players = range(len(learning_rates))
  updates, turn = _turns(len(learning_rates), num_updates, order)

  def coefficient(i, j):
    half = updates[j] * learning_rates[j] / 2
    if i == j:
      return learning_rates[i] / 2
    return -half if turn[i] > turn[j] else half

  return [[coefficient(i, j) for j in players] for i in players]


def own_time_drift(
  learning_rates: Sequence[Coefficient],
  num_updates: Sequence[int] | None = None,
  order: Sequence[int] | None = None,
) -> list[list[Coefficient]]:
  r"""Drift coefficients as published, for n players: each in its own time.

  Player i after a step is compared with the flow :math:`\theta' = -\xi` of all
  players over the time :math:`h_i`, its own learning rate.

  Simultaneous: :math:`c_{ij} = h_i / 2`. In turns: :math:`c_{ij} = h_i / 2`
  where i moves before j and :math:`h_i / 2 - h_j` where it moves after, and
  :math:`c_{ii} = h_i / 2 n_i`, in which :math:`h_i` is read as the total of
  :math:`n_i` updates. The results hold for one update a player; see
  `common_time_drift` for several.

  Arguments and result are those of `common_time_drift`.

  References:
    Rosca et al., "Discretization Drift in Two-Player Games", ICML 2021,
    theorems 3.1 and 3.2.
  """
  players = range(len(learning_rates))
  updates, turn = _turns(len(learning_rates), num_updates, order)

  def coefficient(i, j):
    half = learning_rates[i] / 2
    if i == j:
      return half / updates[i]
    return half - learning_rates[j] if turn[i] > turn[j] else half

  return [[coefficient(i, j) for j in players] for i in players]


def _turns(
  num_players: int,
  num_updates: Sequence[int] | None,
  order: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
  """Each player's number of updates and place in the order, 0 if there is none.

  Raises:
    ValueError: see `common_time_drift`.
  """
  updates = list(num_updates) if num_updates else [1] * num_players
  if order is None:
    if any(n != 1 for n in updates):
      raise ValueError('Simultaneous players make one update each a step.')
    return updates, [0] * num_players
  if sorted(order) != list(range(num_players)):
    raise ValueError(f'order {list(order)} must name each player once.')
  return updates, [list(order).index(player) for player in range(num_players)]


def alignment_sign(
  gradient: game.Params, adjustment: game.Params, pull: game.Params
) -> jax.Array:
  r"""The sign that draws to stable fixed points and pushes off unstable ones.

  .. math::
    \mathrm{sign}(\langle\xi, \nabla H\rangle \langle a, \nabla H\rangle / d
    + 1/10), \quad \nabla H = J^\top \xi

  d is the number of parameters. (The TensorFlow release divides by the number
  of parameter *arrays* instead.)

  Args:
    gradient: :math:`\xi`.
    adjustment: a, the term that is to take the sign.
    pull: :math:`J^\top \xi`.

  References:
    Balduzzi et al., "The Mechanics of n-Player Differentiable Games", 2018,
    algorithm 1.
  """
  product = optax.tree.vdot(gradient, pull) * optax.tree.vdot(adjustment, pull)
  return jnp.sign(product / optax.tree.size(gradient) + 0.1)


def consensus(
  losses: Sequence[game.Loss],
  params: game.Params,
  gamma: Coefficient,
  align: bool = False,
) -> game.Params:
  r"""Consensus optimisation: :math:`\xi + \gamma J^\top \xi`.

  :math:`J^\top\xi` is the gradient of :math:`\|\xi\|^2/2`.

  Args:
    losses: n losses.
    params: n pytrees.
    gamma: :math:`\gamma`.
    align: whether :math:`\gamma` takes the sign of `alignment_sign`, without
      which players are also drawn to unstable fixed points.

  Returns:
    The adjusted gradient, in the structure of `params`.

  References:
    Mescheder et al., "The Numerics of GANs", 2017.
  """
  gradient = game.simultaneous_gradient(losses, params)
  pull = jacobian.transposed_jacobian_product(losses, params, gradient)
  if align:
    gamma = gamma * alignment_sign(gradient, pull, pull)
  return jax.tree.map(lambda g, p: g + gamma * p, gradient, pull)


def symplectic_gradient(
  losses: Sequence[game.Loss],
  params: game.Params,
  lam: Coefficient,
  align: bool = False,
) -> game.Params:
  r"""Symplectic gradient adjustment: :math:`\xi + \lambda A^\top \xi`.

  Args:
    losses: n losses.
    params: n pytrees.
    lam: :math:`\lambda`.
    align: whether :math:`\lambda` takes the sign of `alignment_sign`.

  Returns:
    The adjusted gradient, in the structure of `params`.

  References:
    Balduzzi et al., "The Mechanics of n-Player Differentiable Games", 2018,
    equation 5 and algorithm 1.
  """
  gradient = game.simultaneous_gradient(losses, params)
  product = jacobian.jacobian_product(losses, params, gradient)
  pull = jacobian.transposed_jacobian_product(losses, params, gradient)
  rotation = jax.tree.map(lambda t, p: (t - p) / 2, pull, product)
  if align:
    lam = lam * alignment_sign(gradient, rotation, pull)
  return jax.tree.map(lambda g, a: g + lam * a, gradient, rotation)


def lola(
  losses: Sequence[game.Loss],
  params: game.Params,
  opponents_rates: Sequence[Coefficient],
  anticipate: bool = False,
) -> game.Params:
  r"""LOLA, learning with opponent-learning awareness, to first order.

  .. math:: \xi_i - \sum_{j \ne i} \eta_j J_{ji}^\top \nabla_j L_i

  Player i shapes the step :math:`-\eta_j \xi_j` that each opponent is about to
  take. The whole gradient of :math:`L_i` after these steps, to first order, has
  the term :math:`-\sum_{j \ne i} \eta_j J_{ij} \xi_j` too, which the original
  method leaves out.

  Args:
    losses: n losses.
    params: n pytrees.
    opponents_rates: :math:`\eta`, the rate each player is thought to have.
    anticipate: whether to add the last term, as Letcher et al. write LOLA.

  Returns:
    The adjusted gradient, in the structure of `params`.

  References:
    Foerster et al., "Learning with Opponent-Learning Awareness", 2018.
    Letcher et al., "Stable Opponent Shaping in Differentiable Games", 2019.
  """
  players = range(len(params))
  adjusted = game.simultaneous_gradient(losses, params)
  if anticipate:
    opponents = [
      [0 if i == j else -opponents_rates[j] for j in players] for i in players
    ]
    adjusted = drift_adjusted(losses, params, opponents)
  for i, j in itertools.permutations(players, 2):
    direction: list[Any] = [None] * len(params)
    direction[j] = optax.tree.scale(
      -opponents_rates[j], game.player_gradient(losses[i], params, j)
    )
    _, shaping = jacobian.gradient_and_product(losses[j], params, i, direction)
    adjusted = game.replace_player(
      adjusted, i, optax.tree.add(adjusted[i], shaping)
    )
  return adjusted
