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
r"""Adjustments of the field that solve a linear system, without a matrix.

Like those of `adjustments` they return a direction that players *descend*. The
systems are solved by Krylov methods on products with blocks of the Jacobian.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.sparse import linalg
import optax

from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import jacobian


def competitive(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  zero_sum: bool = False,
  tolerance: float = 1e-5,
  max_iterations: int = 20,
) -> game.Params:
  """The direction of `solve_competitive`, whose arguments these are."""
  return solve_competitive(
    losses, params, learning_rates, zero_sum, tolerance, max_iterations
  )[0]


def solve_competitive(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  zero_sum: bool = False,
  tolerance: float = 1e-5,
  max_iterations: int = 20,
) -> tuple[game.Params, jax.Array]:
  r"""Competitive gradient descent: best responses to each other's steps.

  The direction d solves

  .. math:: d_i + \sum_{j \ne i} \eta_j J_{ij} d_j = \xi_i

  The steps :math:`-\eta_i d_i` are a Nash equilibrium of the game's bilinear
  approximation with a proximal term :math:`\|\Delta_i\|^2 / 2 \eta_i` for each
  player. For two players they are the source's :math:`\Delta_x = -\eta (I -
  \eta^2 D_{xy} f D_{yx} g)^{-1} (\nabla_x f - \eta D_{xy} f \nabla_y g)`.

  This system is not symmetric; GMRES solves it. In a zero-sum game that of one
  player is, and positive definite: conjugate gradients solve it for the player
  with fewer parameters, and the other's direction follows.

  Args:
    losses: n losses.
    params: n pytrees.
    learning_rates: :math:`\eta`. Descent of d with these rates is the method;
      another optimiser may take d as a gradient.
    zero_sum: whether there are two players whose losses cancel.
    tolerance: of the residual, relative to the right-hand side.
    max_iterations: of the solver. GMRES keeps a vector an iteration.

  Returns:
    d, in the structure of `params`, and the norm of the system's residual
    relative to that of :math:`\xi`: above the tolerance the iterations were not
    enough, and d is not the method's.

  Raises:
    ValueError: if the numbers of losses and players differ, or `zero_sum` is
      said of other than two players.

  References:
    Schäfer and Anandkumar, "Competitive Gradient Descent", 2019.
    Ma et al., "Polymatrix Competitive Gradient Descent", 2021.
  """
  gradient = game.simultaneous_gradient(losses, params)
  game.check_num_players(learning_rates, params, 'rates')
  if zero_sum and len(params) != 2:
    raise ValueError(f'zero_sum is of two players, not of {len(params)}.')
  players = range(len(params))
  others = [[j for j in players if j != i] for i in players]
  rows = [
    jacobian.linearized_row(losses, params, i, others[i]) for i in players
  ]

  def operator(direction):
    steps = [
      game.scale_tree(rate, block)
      for rate, block in zip(learning_rates, direction, strict=True)
    ]
    return game.from_players(
      params,
      [
        optax.tree.add(direction[i], rows[i](*(steps[j] for j in others[i])))
        for i in players
      ],
    )

  if zero_sum:
    direction = _competitive_zero_sum(
      losses, params, gradient, learning_rates, tolerance, max_iterations
    )
  else:
    direction = linalg.gmres(
      operator,
      gradient,
      tol=tolerance,
      # Positive, for the solver divides by the right-hand side's norm: without
      # this its derivative at a fixed point would be wrong.
      atol=1e-30,
      restart=max_iterations,
      maxiter=1,
      solve_method='incremental',
    )[0]
  left = operator(direction)
  direction = _keep_nan(direction, left, gradient)
  return direction, _relative_residual(left, gradient)


def _solve_positive(
  operator: Callable[[Any], Any],
  right: Any,
  tolerance: float,
  max_iterations: int,
) -> Any:
  """Solves a positive definite system by conjugate gradients, from zero."""
  if not jax.tree.leaves(right):  # Of a player without parameters.
    return right
  return linalg.cg(operator, right, tol=tolerance, maxiter=max_iterations)[0]


def _keep_nan(solution: Any, left: Any, right: Any) -> Any:
  """NaN where a side of the system is not finite: solvers give 0 there."""
  difference = jax.tree.leaves(optax.tree.sub(left, right))
  is_finite = jnp.array([jnp.isfinite(leaf).all() for leaf in difference]).all()
  return jax.tree.map(
    lambda leaf: jnp.where(is_finite, leaf, jnp.nan), solution
  )


def _relative_residual(left: Any, right: Any) -> jax.Array:
  """How far two sides of a system are apart; 0 where both are 0."""
  scale = optax.tree.norm(right)
  residual = optax.tree.norm(optax.tree.sub(left, right))
  return residual / jnp.where(scale == 0, 1, scale)


def _competitive_zero_sum(
  losses, params, gradient, rates, tolerance, max_iterations
):
  r"""With J_{ji} = -J_{ij}^\top only the system of player i is left."""
  sizes = [optax.tree.size(own) for own in params]
  i, j = (0, 1) if sizes[0] <= sizes[1] else (1, 0)
  own_row = jacobian.linearized_row(losses, params, i, [j])
  other_row = jacobian.linearized_row(losses, params, j, [i])

  def operator(direction):
    answer = game.scale_tree(rates[i] * rates[j], other_row(direction))
    return optax.tree.sub(direction, own_row(answer))

  expected = own_row(game.scale_tree(rates[j], gradient[j]))
  own = _solve_positive(
    operator,
    optax.tree.sub(gradient[i], expected),
    tolerance,
    max_iterations,
  )
  other = optax.tree.sub(gradient[j], other_row(game.scale_tree(rates[i], own)))
  directions = [own, other] if i == 0 else [other, own]
  return game.from_players(params, directions)


def follow_the_ridge(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  leader: int = 0,
  tolerance: float = 1e-5,
  max_iterations: int = 20,
) -> game.Params:
  """The direction of `solve_ridge`, whose arguments these are."""
  return solve_ridge(
    losses, params, learning_rates, leader, tolerance, max_iterations
  )[0]


def solve_ridge(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  leader: int = 0,
  tolerance: float = 1e-5,
  max_iterations: int = 20,
) -> tuple[game.Params, jax.Array]:
  r"""Follow-the-ridge: the follower makes up for the leader's step.

  .. math::
    d_x = \xi_x, \quad
    d_y = \xi_y - \frac{\eta_x}{\eta_y} J_{yy}^{-1} J_{yx} \xi_x

  With :math:`f = L_x = -L_y` the follower's step is the source's
  :math:`\eta_y \nabla_y f + \eta_x H_{yy}^{-1} H_{yx} \nabla_x f`: to first
  order it stays on the ridge :math:`\nabla_y f = 0` while the leader moves.
  Where the learning rates are small, the stable fixed points are the local
  minmax points, and no others.

  Off the ridge :math:`J_{yy}` may be indefinite, and in a network singular.
  Conjugate gradients therefore solve the normal equations, from zero: the
  least-squares solution of least norm.

  Args:
    losses: two losses.
    params: two pytrees.
    learning_rates: :math:`\eta`, of both players.
    leader: x, the player that moves first.
    tolerance: of the residual, relative to the right-hand side.
    max_iterations: of the solver, two products with :math:`J_{yy}` each.

  Returns:
    d, in the structure of `params`, and the norm of the normal equations'
    residual relative to that of their right-hand side. A follower whose rate is
    0 makes up for nothing.

  Raises:
    ValueError: for other than two players.

  References:
    Wang, Zhang and Ba, "On Solving Minimax Optimization Locally: A
    Follow-the-Ridge Approach", 2020, algorithm 1.
  """
  if len(params) != 2:
    raise ValueError(f'A leader and a follower, not {len(params)} players.')
  game.check_num_players(learning_rates, params, 'rates')
  follower = 1 - leader
  gradient = game.simultaneous_gradient(losses, params)
  hessian = jacobian.linearized_row(losses, params, follower, [follower])
  direction: list[game.PlayerParams | None] = [None, None]
  direction[leader] = gradient[leader]
  seen = jacobian.row_product(losses, params, follower, direction)
  right = hessian(seen)
  correction = _solve_positive(
    lambda v: hessian(hessian(v)), right, tolerance, max_iterations
  )
  left = hessian(hessian(correction))
  correction = _keep_nan(correction, left, right)
  ratio = _ratio(learning_rates[leader], learning_rates[follower])
  own = optax.tree.sub(gradient[follower], game.scale_tree(ratio, correction))
  return (
    game.replace_player(gradient, follower, own),
    _relative_residual(left, right),
  )


def _ratio(rate: Any, other: Any) -> Any:
  """`rate / other`, 0 where the other is 0: who is still makes up nothing."""
  if isinstance(other, int | float):
    return rate / other if other else 0.0
  return jnp.where(other == 0, 0, rate / jnp.where(other == 0, 1, other))
