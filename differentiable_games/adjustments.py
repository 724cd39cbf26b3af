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
r"""From a field to an adjusted field: drift terms, SGA, consensus.

Every adjustment returns a direction that players *descend*, in place of the
simultaneous gradient :math:`\xi`.
"""

from collections.abc import Sequence

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
  updates = list(num_updates) if num_updates else [1] * len(learning_rates)
  if order is None:
    if any(n != 1 for n in updates):
      raise ValueError('Simultaneous players make one update each a step.')
    return [[learning_rates[j] / 2 for j in players] for _ in players]
  if sorted(order) != list(players):
    raise ValueError(f'order {list(order)} must name each player once.')
  turn = {player: position for position, player in enumerate(order)}

  def coefficient(i, j):
    if i == j:
      return learning_rates[i] / 2
    sign = 1 if turn[i] < turn[j] else -1
    return sign * updates[j] * learning_rates[j] / 2

  return [[coefficient(i, j) for j in players] for i in players]


def consensus(
  losses: Sequence[game.Loss], params: game.Params, gamma: Coefficient
) -> game.Params:
  r"""Consensus optimisation: :math:`\xi + \gamma J^\top \xi`.

  :math:`J^\top\xi` is the gradient of :math:`\|\xi\|^2/2`.

  References:
    Mescheder et al., "The Numerics of GANs", 2017.
  """
  gradient = game.simultaneous_gradient(losses, params)
  pull = jacobian.transposed_jacobian_product(losses, params, gradient)
  return jax.tree.map(lambda g, p: g + gamma * p, gradient, pull)


def symplectic_gradient(
  losses: Sequence[game.Loss],
  params: game.Params,
  lam: Coefficient,
  align: bool = False,
) -> game.Params:
  r"""Symplectic gradient adjustment: :math:`\xi + \lambda A^\top \xi`.

  With alignment :math:`\lambda` takes the sign of
  :math:`\langle\xi, J^\top\xi\rangle \langle A^\top\xi, J^\top\xi\rangle / d
  + 1/10`, where d is the number of parameters. (The TensorFlow release
  divides by the number of parameter *arrays* instead.)

  Args:
    losses: n losses.
    params: n pytrees.
    lam: :math:`\lambda`.
    align: whether to choose the sign of :math:`\lambda` as above.

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
    alignment = (
      optax.tree.vdot(gradient, pull) * optax.tree.vdot(rotation, pull)
    ) / optax.tree.size(params)
    lam = lam * jnp.sign(alignment + 0.1)
  return jax.tree.map(lambda g, a: g + lam * a, gradient, rotation)
