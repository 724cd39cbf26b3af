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

from collections.abc import Callable, Sequence
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from differentiable_games import game
from differentiable_games import jacobian

Coefficient = jacobian.Coefficient
Matrix = jacobian.Matrix


def first_order(
  losses: Sequence[game.Loss],
  params: game.Params,
  rows: Matrix | None = None,
  columns: Matrix | None = None,
) -> game.Params:
  r"""The gradient with rows and columns of the Jacobian added.

  .. math::
    \xi_i + \sum_j c_{ij} J_{ij} \xi_j + \sum_j t_{ij} J_{ji}^\top \xi_j

  Every first-order method is such a pair of matrices: drift terms (c), SGA
  (`symplectic_matrices`), consensus (`consensus_matrices`). With c from
  `common_time_drift` this is the field whose flow the discrete steps follow to
  third order; with :math:`-c` the drift is cancelled.

  Args:
    losses: n losses.
    params: n pytrees.
    rows: the (n, n) matrix c; a Python zero leaves its term out. None: zeros.
    columns: the (n, n) matrix t, likewise.

  Returns:
    The adjusted gradient, in the structure of `params`.

  Raises:
    ValueError: if the numbers of losses, players and coefficients differ.

  References:
    Rosca et al., "Discretization Drift in Two-Player Games", ICML 2021.
  """
  zeros = constant_matrix(len(params), 0.0)
  rows = zeros if rows is None else rows
  columns = zeros if columns is None else columns
  for matrix in (rows, columns):
    jacobian.check_matrix(matrix, len(params))
  if not jacobian.has_terms(rows, columns, range(len(params))):
    return game.simultaneous_gradient(losses, params)
  game.check_num_players(losses, params)
  return joint_first_order(
    lambda p: tuple(loss(p) for loss in losses), params, rows, columns
  )


def joint_first_order(
  joint_losses: Callable[[game.Params], tuple[jax.Array, ...]],
  params: game.Params,
  rows: Matrix,
  columns: Matrix,
) -> game.Params:
  """`first_order` of losses that come from one pass, and with both matrices."""
  gradient, _, sums = jacobian.weighted_products(
    lambda p: (joint_losses(p), None),
    params,
    rows,
    columns,
    range(len(params)),
  )
  return game.from_players(
    params,
    [
      optax.tree.add(own, sums[i]) if i in sums else own
      for i, own in enumerate(gradient)
    ],
  )


def drift_adjusted(
  losses: Sequence[game.Loss], params: game.Params, coefficients: Matrix
) -> game.Params:
  r"""The gradient with drift: :math:`\xi_i + \sum_j c_{ij} J_{ij}\xi_j`."""
  return first_order(losses, params, coefficients)


def constant_matrix(
  num_players: int, value: Coefficient, diagonal: Coefficient | None = None
) -> Matrix:
  """A matrix of one value, or of one on and one off the diagonal."""
  on_diagonal = value if diagonal is None else diagonal
  players = range(num_players)
  return [[on_diagonal if i == j else value for j in players] for i in players]


def symplectic_matrices(
  num_players: int, lam: Coefficient
) -> tuple[Matrix, Matrix]:
  r"""SGA's coefficients of rows and of columns: :math:`\lambda A^\top \xi`.

  :math:`A^\top\xi = (J^\top\xi - J\xi)/2`, in which the players' own blocks,
  which are symmetric, cancel. In a zero-sum game of two the rows are the
  columns' opposite: there columns of :math:`\lambda` alone do the same.
  """
  return (
    constant_matrix(num_players, -lam / 2, diagonal=0.0),
    constant_matrix(num_players, lam / 2, diagonal=0.0),
  )


def consensus_matrices(
  num_players: int, gamma: Coefficient
) -> tuple[Matrix, Matrix]:
  r"""Consensus's coefficients of rows and columns: :math:`\gamma J^\top\xi`."""
  return constant_matrix(num_players, 0.0), constant_matrix(num_players, gamma)


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
  where i moves before j and :math:`(h_i / 2)(1 - 2 h_j / h_i)` where after, and
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
    if i == j:
      return 0.5 * learning_rates[i] / updates[i]
    if turn[i] > turn[j]:
      return _later_players_drift(learning_rates[i], learning_rates[j])
    return 0.5 * learning_rates[i]

  return [[coefficient(i, j) for j in players] for i in players]


def _later_players_drift(rate: Coefficient, earlier_rate: Coefficient) -> Any:
  r""":math:`(h_i/2)(1 - 2h_j/h_i)`, in the published order of operations.

  Where :math:`h_i` is zero, as a schedule may end, it is :math:`-h_j`.
  """
  if isinstance(rate, int | float):
    if rate == 0:
      return -earlier_rate
    return 0.5 * rate * (1 - 2 * earlier_rate / rate)
  divisor = jnp.where(rate == 0, 1, rate)
  published = 0.5 * rate * (1 - 2 * earlier_rate / divisor)
  return jnp.where(rate == 0, -earlier_rate, published)


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
  gradient, pull = _gradient_and_products(losses, params, consensus_matrices)
  if align:
    gamma = gamma * alignment_sign(gradient, pull, pull)
  return optax.tree.add(gradient, game.scale_tree(gamma, pull))


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
  gradient, rotation = _gradient_and_products(
    losses, params, symplectic_matrices
  )
  if align:
    _, pull = _gradient_and_products(losses, params, consensus_matrices)
    lam = lam * alignment_sign(gradient, rotation, pull)
  return optax.tree.add(gradient, game.scale_tree(lam, rotation))


def _gradient_and_products(losses, params, matrices):
  """The simultaneous gradient, and its products with the whole of J."""
  game.check_num_players(losses, params)
  rows, columns = matrices(len(params), 1.0)
  gradient, _, sums = jacobian.weighted_products(
    lambda p: (tuple(loss(p) for loss in losses), None),
    params,
    rows,
    columns,
    range(len(params)),
  )
  return (
    game.from_players(params, gradient),
    game.from_players(params, list(sums.values())),
  )


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

  Raises:
    ValueError: if the numbers of losses, players and rates differ.

  References:
    Foerster et al., "Learning with Opponent-Learning Awareness", 2018.
    Letcher et al., "Stable Opponent Shaping in Differentiable Games", 2019.
  """
  game.check_num_players(opponents_rates, params, 'rates')
  players = range(len(params))
  if anticipate:
    opponents = [
      [0 if i == j else -opponents_rates[j] for j in players] for i in players
    ]
    adjusted = drift_adjusted(losses, params, opponents)
  else:
    adjusted = game.simultaneous_gradient(losses, params)
  for i, j in itertools.permutations(players, 2):
    direction: list[Any] = [None] * len(params)
    direction[j] = game.scale_tree(
      -opponents_rates[j], game.player_gradient(losses[i], params, j)
    )
    _, shaping = jacobian.gradient_and_product(losses[j], params, i, direction)
    adjusted = game.replace_player(
      adjusted, i, optax.tree.add(adjusted[i], shaping)
    )
  return adjusted
