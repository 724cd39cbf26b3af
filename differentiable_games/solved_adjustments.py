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

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import linear_solvers


class Solved(NamedTuple):
  """A direction, and how it was found.

  Attributes:
    direction: what players descend, in the structure of the parameters.
    residual: the norm of what is left of the system, relative to that of its
      right-hand side. Above the tolerance the iterations were not enough, and
      the direction is not the method's.
    num_iterations: of the solver.
    memory: what the next solve begins from, one entry a player; () if nothing.
  """

  direction: Any
  residual: jax.Array
  num_iterations: jax.Array
  memory: Any = ()


def competitive(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  zero_sum: bool = False,
  tolerance: float = 1e-3,
  max_iterations: int = 200,
) -> game.Params:
  """The direction of `solve_competitive`, whose arguments these are."""
  return solve_competitive(
    losses, params, learning_rates, zero_sum, tolerance, max_iterations
  ).direction


def solve_competitive(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[Any],
  zero_sum: bool = False,
  tolerance: float = 1e-3,
  max_iterations: int = 200,
  memory: game.Params | None = None,
) -> Solved:
  r"""Competitive gradient descent: best responses to each other's steps.

  The direction d solves

  .. math:: d_i + \sum_{j \ne i} J_{ij} \eta_j d_j = \xi_i

  The steps :math:`-\eta_i d_i` are a Nash equilibrium of the game's bilinear
  approximation with a proximal term :math:`\|\Delta_i\|^2 / 2 \eta_i` for each
  player. For two players they are the source's :math:`\Delta_x = -\eta (I -
  \eta^2 D_{xy} f D_{yx} g)^{-1} (\nabla_x f - \eta D_{xy} f \nabla_y g)`: only
  the system of the one with fewer parameters is left to be solved, from which
  the other's direction follows.

  GMRES solves such systems, which are not symmetric. In a zero-sum game that of
  one player is, and positive definite: there it is conjugate gradients.

  Args:
    losses: n losses.
    params: n pytrees.
    learning_rates: :math:`\eta`, each a number or, for rates of the parameters'
      own, a tree like the player's. Descent of d with these rates is the
      method; another optimiser may take d as a gradient.
    zero_sum: whether there are two players whose losses cancel.
    tolerance: of the residual, relative to :math:`\xi`.
    max_iterations: of the solver, each with a product of every block of J off
      the diagonal. GMRES keeps a vector an iteration, and begins anew after 20
      to 100.
    memory: the directions of the step before, from which the solver begins
      where they are nearer than zero.

  Returns:
    d, its residual relative to :math:`\xi`, the number of iterations, and d as
    memory.

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
  rows, operator = _competitive_system(losses, params, learning_rates)

  def solve(operator, right, start, rate=None):
    method = linear_solvers.gmres
    if zero_sum:
      method = functools.partial(
        linear_solvers.conjugate_gradients, weights=_weights(rate)
      )
    goal = tolerance * optax.tree.norm(gradient)
    return _solve_from(start, method, operator, right, goal, max_iterations)

  if len(params) == 2:
    direction, num_iterations = _solve_for_one(
      solve, rows, gradient, learning_rates, memory
    )
    direction = game.from_players(params, direction)
  else:
    direction, num_iterations = solve(operator, gradient, memory)
  left = operator(direction)
  direction = _keep_nan(direction, left, gradient)
  residual = _relative_residual(left, gradient)
  return Solved(direction, residual, num_iterations, direction)


def _competitive_system(losses, params, rates):
  """For each player the row of J that the others' steps see, and the system."""
  players = range(len(params))
  others = [[j for j in players if j != i] for i in players]
  rows = [
    jacobian.linearized_row(losses, params, i, others[i]) for i in players
  ]

  def operator(direction):
    steps = list(map(_times, rates, direction))
    responses = [rows[i](*(steps[j] for j in others[i])) for i in players]
    return optax.tree.add(direction, game.from_players(params, responses))

  return rows, operator


def _solve_for_one(solve, rows, gradient, rates, memory):
  """Solves for the player with fewer parameters: the other's row is exact."""
  sizes = [optax.tree.size(own) for own in gradient]
  i, j = (0, 1) if sizes[0] <= sizes[1] else (1, 0)

  def operator(direction):
    answer = _times(rates[j], rows[j](_times(rates[i], direction)))
    return optax.tree.sub(direction, rows[i](answer))

  expected = rows[i](_times(rates[j], gradient[j]))
  own, num_iterations = solve(
    operator,
    optax.tree.sub(gradient[i], expected),
    memory and memory[i],
    rates[i],
  )
  other = optax.tree.sub(gradient[j], rows[j](_times(rates[i], own)))
  return ([own, other] if i == 0 else [other, own]), num_iterations


def _times(rate: Any, tree: Any) -> Any:
  """A tree times its learning rate, or times a tree of learning rates."""
  if jax.tree_util.all_leaves([rate]):
    return game.scale_tree(rate, tree)
  return jax.tree.map(game.scale_tree, rate, tree)


def _weights(rate: Any) -> Any:
  r"""Those of the inner product in which a player's system is symmetric.

  That is :math:`I + J_{ij} \eta_j J_{ij}^\top \eta_i`, and any multiple of
  :math:`\eta_i` will do; None, for one number, is as good.
  """
  if sum(map(jnp.size, jax.tree.leaves(rate))) <= 1:
    return None
  most = optax.tree.max(rate)
  return jax.tree.map(lambda x: jnp.where(most == 0, 1, x / most), rate)


def _solve_from(start, method, operator, right, goal, max_iterations):
  """Solves until the residual's norm is `goal`, from a start or from zero."""
  remaining = right
  if start is not None:
    start = jax.lax.stop_gradient(start)
    remaining = optax.tree.sub(right, operator(start))
    is_near = optax.tree.norm(remaining) < optax.tree.norm(right)
    start = optax.tree.where(is_near, start, optax.tree.zeros_like(start))
    remaining = optax.tree.where(is_near, remaining, right)
  norm = optax.tree.norm(remaining)
  tolerance = goal / jnp.where(norm == 0, 1, norm)
  correction, num_iterations = method(
    operator, remaining, jax.lax.stop_gradient(tolerance), max_iterations
  )
  if start is None:
    return correction, num_iterations
  return optax.tree.add(start, correction), num_iterations


class AdaptiveMemory(NamedTuple):
  """What adaptive competitive descent keeps of a player.

  Attributes:
    second_moment: of the gradient, elementwise.
    num_gradients: that it is made of, an int32 scalar.
    direction: d of the step before.
  """

  second_moment: Any
  num_gradients: jax.Array
  direction: Any


def no_directions(params: game.Params) -> game.Params:
  """The memory of `solve_competitive` before its first step."""
  return optax.tree.zeros_like(params)


def no_moments(params: game.Params) -> Any:
  """The memory of `solve_adaptive_competitive` before its first step."""
  zeros = optax.tree.zeros_like(params)
  none = jnp.zeros((), jnp.int32)
  return game.from_players(
    params, [AdaptiveMemory(own, none, own) for own in zeros]
  )


def solve_adaptive_competitive(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  zero_sum: bool = False,
  tolerance: float = 1e-3,
  max_iterations: int = 200,
  decay: float = 0.99,
  epsilon: float = 1e-5,
  memory: Sequence[AdaptiveMemory] | None = None,
) -> Solved:
  r"""Competitive descent at each parameter's own rate, "ACGD".

  .. math::
    v_{i, t} = \beta v_{i, t - 1} + (1 - \beta) \xi_i^2, \quad
    A_i = \left(\sqrt{v_{i, t} / (1 - \beta^t)} + \epsilon\right)^{-1}, \quad
    d_i + \sum_{j \ne i} J_{ij} \alpha_j A_j d_j = \xi_i

  Args:
    losses: n losses.
    params: n pytrees.
    learning_rates: :math:`\alpha`, numbers.
    zero_sum: see `solve_competitive`.
    tolerance: likewise.
    max_iterations: likewise.
    decay: :math:`\beta`.
    epsilon: :math:`\epsilon`.
    memory: of the step before; None at the first.

  Returns:
    :math:`A_i d_i`, whose descent at the rates :math:`\alpha` is the method;
    what `solve_competitive` gives of d; and the memory.

  References:
    Schäfer, Zheng and Anandkumar, "Implicit competitive regularization in
    GANs", 2020, algorithm 1.
  """
  game.check_num_players(learning_rates, params, 'rates')
  gradient = game.simultaneous_gradient(losses, params)
  memory = no_moments(params) if memory is None else memory
  seen = [
    _see_gradient(old, own, decay)
    for old, own in zip(memory, gradient, strict=True)
  ]
  scales = [_scales(own, decay, epsilon) for own in seen]
  solved = solve_competitive(
    losses,
    params,
    list(map(_times, learning_rates, scales)),
    zero_sum,
    tolerance,
    max_iterations,
    game.from_players(params, [old.direction for old in memory]),
  )
  return solved._replace(
    direction=game.from_players(
      params, list(map(_times, scales, solved.direction))
    ),
    memory=game.from_players(
      params,
      [
        own._replace(direction=direction)
        for own, direction in zip(seen, solved.memory, strict=True)
      ],
    ),
  )


def _see_gradient(memory, gradient, decay):
  moment = optax.tree.update_moment_per_elem_norm(
    gradient, memory.second_moment, decay, 2
  )
  return memory._replace(
    second_moment=moment, num_gradients=memory.num_gradients + 1
  )


def _scales(memory, decay, epsilon):
  """Learning rates of the parameters' own, at a rate of one."""
  mean_squares = optax.tree.bias_correction(
    memory.second_moment, decay, memory.num_gradients
  )
  return jax.tree.map(lambda v: 1 / (jnp.sqrt(v) + epsilon), mean_squares)


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
  ).direction


def solve_ridge(
  losses: Sequence[game.Loss],
  params: game.Params,
  learning_rates: Sequence[adjustments.Coefficient],
  leader: int = 0,
  tolerance: float = 1e-5,
  max_iterations: int = 20,
) -> Solved:
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
    d, the residual of the normal equations, and the number of iterations. A
    follower whose rate is 0 makes up for nothing.

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
  correction, num_iterations = linear_solvers.conjugate_gradients(
    lambda v: hessian(hessian(v)), right, tolerance, max_iterations
  )
  left = hessian(hessian(correction))
  correction = _keep_nan(correction, left, right)
  ratio = _ratio(learning_rates[leader], learning_rates[follower])
  own = optax.tree.sub(gradient[follower], game.scale_tree(ratio, correction))
  return Solved(
    game.replace_player(gradient, follower, own),
    _relative_residual(left, right),
    num_iterations,
  )


def _ratio(rate: Any, other: Any) -> Any:
  """`rate / other`, 0 where the other is 0: who is still makes up nothing."""
  if isinstance(other, int | float):
    return rate / other if other else 0.0
  return jnp.where(other == 0, 0, rate / jnp.where(other == 0, 1, other))
