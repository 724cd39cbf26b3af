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
r"""Products with the Jacobian of a game, without forming it.

The game Jacobian is :math:`J = \partial\xi/\partial\theta`, with blocks
:math:`J_{ij} = \nabla_j \nabla_i L_i`. Everything here rests on one
forward-over-reverse pass: the derivative of a gradient along a direction.

- A row of :math:`J v` is the derivative of :math:`\nabla_i L_i` along
  :math:`v`.
- A column of :math:`J^\top v` needs, for each player j, the derivative of
  :math:`\nabla_i L_j` along :math:`v_j` alone, as
  :math:`J_{ji}^\top v_j = \nabla_i \langle \nabla_j L_j, v_j \rangle`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import optax

from differentiable_games import game

# Coefficients may be traced; a Python zero is left out before tracing.
Coefficient = float | jax.Array
Matrix = Sequence[Sequence[Coefficient]]  # (n, n), a row a player.


def is_zero(coefficient: Coefficient) -> bool:
  """Whether a coefficient is known to be zero before tracing."""
  return isinstance(coefficient, int | float) and coefficient == 0


def gradient_and_product(
  loss: game.Loss,
  params: game.Params,
  player: int,
  direction: Sequence[game.PlayerParams | None],
) -> tuple[game.PlayerParams, game.PlayerParams]:
  r"""A player's gradient of a loss, and its derivative along a direction.

  .. math::
    \Big(\nabla_i L(\theta),\;
         \tfrac{d}{d\epsilon} \nabla_i L(\theta + \epsilon v)|_{\epsilon=0}\Big)

  One forward-over-reverse pass. Players whose direction is None do not move,
  and cost nothing.

  Args:
    loss: a loss of all players' parameters.
    params: n pytrees.
    player: i, the player whose gradient is taken.
    direction: v, n pytrees like `params`, or None for a zero block.

  Returns:
    The gradient and its derivative, both in the structure of `params[i]`.

  Raises:
    ValueError: if every block of `direction` is None.
  """
  moving = [i for i, block in enumerate(direction) if block is not None]
  if not moving:
    raise ValueError('The direction has no block: there is nothing to compute.')

  gradient = _gradient_of_blocks(loss, params, player, moving)
  return jax.jvp(
    gradient,
    tuple(params[i] for i in moving),
    tuple(direction[i] for i in moving),
  )


def _gradient_of_blocks(
  loss: game.Loss, params: game.Params, player: int, moving: Sequence[int]
) -> Callable[..., game.PlayerParams]:
  """A player's gradient as a function of the parameters of those that move."""
  game.check_players(params)

  def gradient(*blocks):
    players = list(params)
    for i, block in zip(moving, blocks, strict=True):
      players[i] = block
    return game.player_gradient(
      loss, game.from_players(params, players), player
    )

  return gradient


def row_product(
  losses: Sequence[game.Loss],
  params: game.Params,
  player: int,
  direction: Sequence[game.PlayerParams | None],
) -> game.PlayerParams:
  r"""One player's row of the Jacobian times a direction: :math:`(J v)_i`."""
  return gradient_and_product(losses[player], params, player, direction)[1]


def jacobian_product(
  losses: Sequence[game.Loss], params: game.Params, direction: game.Params
) -> game.Params:
  r""":math:`J v`, in the structure of `params`."""
  game.check_num_players(losses, params)
  rows = [row_product(losses, params, i, direction) for i in range(len(params))]
  return game.from_players(params, rows)


def transposed_jacobian_product(
  losses: Sequence[game.Loss], params: game.Params, direction: game.Params
) -> game.Params:
  r""":math:`J^\top v`, in the structure of `params`.

  :math:`(J^\top v)_i = \sum_j \nabla_i \langle \nabla_j L_j, v_j\rangle`, so
  the full gradient of :math:`L_j` is differentiated along :math:`v_j`, for
  each j: n forward-over-reverse passes.
  """
  game.check_num_players(losses, params)
  products = []
  for j, loss in enumerate(losses):

    def gradient(block, loss=loss, j=j):
      return jax.grad(loss)(game.replace_player(params, j, block))

    _, product = jax.jvp(gradient, (params[j],), (direction[j],))
    products.append(product)
  return jax.tree.map(lambda *terms: sum(terms), *products)


class _Term(NamedTuple):
  """The derivative of a player's gradient of weighted losses in a direction.

  Attributes:
    player: the player whose parameters the gradient is taken in.
    direction: the player along whose direction is differentiated.
    weights: of the losses.
    factor: of the result.
  """

  player: int
  direction: int
  weights: Sequence[Any]
  factor: Any


def weighted_products(
  joint_losses: Callable[[game.Params], tuple[tuple[jax.Array, ...], Any]],
  params: game.Params,
  rows: Matrix,
  columns: Matrix,
  players: Sequence[int],
  direction: Sequence[game.PlayerParams] | None = None,
) -> tuple[list[game.PlayerParams], Any, dict[int, game.PlayerParams]]:
  r"""Sums of products with rows and columns of J, in as few passes as can.

  .. math:: \sum_j c_{ij} J_{ij} v_j + \sum_j t_{ij} J_{ji}^\top v_j

  As :math:`J_{ij} v_j` is the derivative of :math:`\nabla_i L_i` along
  :math:`v_j`, and :math:`J_{ji}^\top v_j` that of :math:`\nabla_i L_j`, the
  two are one derivative of :math:`\nabla_i (c_{ij} L_i + t_{ij} L_j)`. All
  losses come from one forward pass, all derivatives along a player's direction
  from one tangent pass; XLA leaves out what is not used.

  Args:
    joint_losses: maps params to a tuple of n values, and an aux.
    params: n pytrees.
    rows: the matrix c; terms of Python zeros cost nothing.
    columns: the matrix t, likewise.
    players: whose sums are wanted.
    direction: v, n pytrees like `params`; None for the simultaneous gradient.

  Returns:
    The simultaneous gradient as a list, the aux, and the sums by player,
    without those that have no term.

  Raises:
    ValueError: if a matrix is not of the players' number.
  """
  check_matrix(rows, len(params))
  check_matrix(columns, len(params))
  terms = _terms(rows, columns, players)
  own, aux, products = _products_of(joint_losses, params, terms, direction)
  sums: dict[int, Any] = {}
  for term, product in zip(terms, products, strict=True):
    product = game.scale_tree(term.factor, product)
    if term.player in sums:
      product = optax.tree.add(sums[term.player], product)
    sums[term.player] = product
  return own, aux, sums


def single_products(
  joint_losses: Callable[[game.Params], tuple[tuple[jax.Array, ...], Any]],
  params: game.Params,
) -> tuple[list[game.PlayerParams], Any, dict[tuple[int, int, int], Any]]:
  r"""The simultaneous gradient, and all products of blocks of J with it.

  Args:
    joint_losses: maps params to a tuple of n values, and an aux.
    params: n pytrees.

  Returns:
    The simultaneous gradient as a list, the aux, and by (i, j, k) the
    derivative of :math:`\nabla_i L_j` along :math:`\xi_k` for j = i and for
    j = k: :math:`J_{ik} \xi_k` and :math:`J_{ki}^\top \xi_k`.
  """
  num_players = len(params)
  names = [
    (i, j, k)
    for i in range(num_players)
    for k in range(num_players)
    for j in dict.fromkeys((i, k))
  ]
  terms = [_Term(i, k, _unit(j, num_players), 1.0) for i, j, k in names]
  own, aux, products = _products_of(joint_losses, params, terms, None)
  return own, aux, dict(zip(names, products, strict=True))


def _products_of(joint_losses, params, terms, direction):
  """The simultaneous gradient, the aux, and each term without its factor."""

  def gradients(params):
    gradient, aux = game.joint_gradients(joint_losses, params)
    own = [gradient(_unit(i, len(params)), i) for i in range(len(params))]
    return [gradient(t.weights, t.player) for t in terms], (own, aux)

  _, derivative, (own, aux) = jax.linearize(gradients, params, has_aux=True)
  v = own if direction is None else direction
  zeros = optax.tree.zeros_like(params)

  def derivatives_along(j):
    # A tangent of a linear function: JAX then knows that the other players'
    # blocks are zero, and does not compute with them.
    def along(block):
      return derivative(game.replace_player(zeros, j, block))

    return jax.jvp(along, (zeros[j],), (v[j],))[1]

  by_direction = {
    j: derivatives_along(j) for j in dict.fromkeys(t.direction for t in terms)
  }
  products = [by_direction[term.direction][k] for k, term in enumerate(terms)]
  return own, aux, products


def check_matrix(matrix: Matrix, num_players: int) -> None:
  """Raises ValueError unless a matrix has a row and a column a player."""
  shape = [len(row) for row in matrix]
  if shape != [num_players] * num_players:
    raise ValueError(
      f'A matrix with rows of {shape} coefficients for {num_players} players.'
    )


def has_terms(rows: Matrix, columns: Matrix, players: Sequence[int]) -> bool:
  """Whether any of these players' coefficients is not a Python zero."""
  return bool(_terms(rows, columns, players))


def _unit(player: int, num_players: int) -> list[float]:
  return [float(i == player) for i in range(num_players)]


def _terms(
  rows: Matrix, columns: Matrix, players: Sequence[int]
) -> list[_Term]:
  """What the coefficients ask for, without Python zeros.

  A single loss has the weight one, so that its gradient is the one that is
  needed anyway.
  """
  num_players = len(rows)
  terms = []
  for i in players:
    # Each player's own direction first.
    for j in [i, *(j for j in range(num_players) if j != i)]:
      used = [
        (loss, coefficient)
        for loss, coefficient in ((i, rows[i][j]), (j, columns[i][j]))
        if not is_zero(coefficient)
      ]
      if len(used) == 1:
        ((loss, factor),) = used
        terms.append(_Term(i, j, _unit(loss, num_players), factor))
      elif used:
        weights: list[Any] = [0.0] * num_players
        for loss, coefficient in used:
          weights[loss] = weights[loss] + coefficient
        terms.append(_Term(i, j, weights, 1.0))
  return terms


def linearized_row(
  losses: Sequence[game.Loss],
  params: game.Params,
  player: int,
  columns: Sequence[int],
) -> Callable[..., game.PlayerParams]:
  r"""The linear map :math:`(v_j)_j \mapsto \sum_j J_{ij} v_j` of some columns.

  The gradient is linearised once: for solvers, which apply the map often.

  Args:
    losses: n losses.
    params: n pytrees.
    player: i, the row.
    columns: the players j whose blocks the map takes, in this order.

  Returns:
    A function of one tree like `params[j]` a column, to one like
    `params[player]`.
  """
  gradient = _gradient_of_blocks(losses[player], params, player, columns)
  return jax.linearize(gradient, *(params[j] for j in columns))[1]


def symmetric_product(
  losses: Sequence[game.Loss], params: game.Params, direction: game.Params
) -> game.Params:
  r""":math:`S v` with :math:`S = (J + J^\top)/2`, the potential part."""
  product = jacobian_product(losses, params, direction)
  transposed = transposed_jacobian_product(losses, params, direction)
  return jax.tree.map(lambda a, b: (a + b) / 2, product, transposed)


def antisymmetric_product(
  losses: Sequence[game.Loss], params: game.Params, direction: game.Params
) -> game.Params:
  r""":math:`A v` with :math:`A = (J - J^\top)/2`, the Hamiltonian part."""
  product = jacobian_product(losses, params, direction)
  transposed = transposed_jacobian_product(losses, params, direction)
  return jax.tree.map(lambda a, b: (a - b) / 2, product, transposed)


def dense_jacobian(
  losses: Sequence[game.Loss], params: game.Params
) -> jax.Array:
  """The Jacobian of a small game as a (d, d) matrix.

  Args:
    losses: n losses.
    params: n pytrees with d numbers in all.

  Returns:
    J, rows and columns in the order of `ravel_pytree(params)`.
  """
  flat, unravel = ravel_pytree(params)

  def field(vector):
    gradient = game.simultaneous_gradient(losses, unravel(vector))
    return ravel_pytree(gradient)[0]

  return jax.jacfwd(field)(flat)
