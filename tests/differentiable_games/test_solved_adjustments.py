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
"""Adjustments that solve a linear system, against dense solves and theory."""

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import solved_adjustments
from differentiable_games import toy_games
from tests.differentiable_games import sine_game

TOLERANCE = 1e-8


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _flat(tree):
  return np.asarray(ravel_pytree(tree)[0])


def _params(sizes):
  rng = np.random.default_rng(7)
  return tuple({'w': rng.normal(size=size)} for size in sizes)


def _competitive_by_dense_solve(j, xi, sizes, rates):
  """(I + J_off η)⁻¹ ξ."""
  blocks = np.repeat(np.arange(len(sizes)), sizes)
  off_diagonal = np.where(blocks[:, None] == blocks, 0.0, j)
  matrix = np.eye(len(xi)) + off_diagonal * np.repeat(rates, sizes)
  return np.linalg.solve(matrix, xi)


@pytest.mark.parametrize(
  'sizes', [(4, 3), pytest.param((3, 5), marks=pytest.mark.slow), (2, 3, 4)]
)
def test_competitive_is_its_dense_solve(sizes):
  sines = sine_game.make(sizes, seed=3)
  params = _params(sizes)
  rates = [0.5, 0.9, 0.3][: len(sizes)]
  z = _flat(params)
  expected = _competitive_by_dense_solve(
    sines.jacobian(z), sines.gradient(z), sizes, rates
  )
  direction = jax.jit(
    lambda p: solved_adjustments.competitive(
      sines.losses, p, rates, tolerance=1e-12
    )
  )(params)
  assert jax.tree.structure(direction) == jax.tree.structure(params)
  np.testing.assert_allclose(_flat(direction), expected, atol=TOLERANCE)


@pytest.mark.parametrize('sizes', [(4, 3), (3, 5)])
def test_competitive_of_zero_sum_games_is_the_published_formula(sizes):
  loss = sine_game.make(sizes, seed=3).losses[0]
  losses = game.zero_sum(loss)
  params = _params(sizes)
  eta = 0.7
  j = np.asarray(jacobian.dense_jacobian(losses, params))
  xi_x, xi_y = map(_flat, game.simultaneous_gradient(losses, params))
  # With f = L_x and g = -f: D_xy f is J_xy, D_yx g is J_yx, ∇_y g is ξ_y.
  d_xy, d_yx = j[: sizes[0], sizes[0] :], j[sizes[0] :, : sizes[0]]
  x = np.linalg.solve(
    np.eye(sizes[0]) - eta**2 * d_xy @ d_yx, xi_x - eta * d_xy @ xi_y
  )
  y = np.linalg.solve(
    np.eye(sizes[1]) - eta**2 * d_yx @ d_xy, xi_y - eta * d_yx @ xi_x
  )
  direction = jax.jit(
    lambda p: solved_adjustments.competitive(
      losses, p, (eta, eta), zero_sum=True, tolerance=1e-12
    )
  )(params)
  np.testing.assert_allclose(
    _flat(direction), np.concatenate([x, y]), atol=TOLERANCE
  )


def test_competitive_with_two_rates_in_a_zero_sum_game():
  sizes, rates = (4, 3), (0.2, 1.1)
  losses = game.zero_sum(sine_game.make(sizes, seed=3).losses[0])
  params = _params(sizes)
  expected = _competitive_by_dense_solve(
    np.asarray(jacobian.dense_jacobian(losses, params)),
    _flat(game.simultaneous_gradient(losses, params)),
    sizes,
    rates,
  )
  batch = jax.tree.map(lambda leaf: np.stack([leaf, 0 * leaf]), params)
  directions = jax.vmap(
    lambda p: solved_adjustments.competitive(
      losses, p, rates, zero_sum=True, tolerance=1e-12
    )
  )(batch)
  first = jax.tree.map(lambda leaf: leaf[0], directions)
  np.testing.assert_allclose(_flat(first), expected, atol=TOLERANCE)


def test_competitive_is_the_package_jax_cgd():
  """A step of `jax_cgd.cgd.step_func`, recorded with jax-cgd 1.0.4.

  With its solver GMRES(tol=1e-13); its second player maximises the loss.
  """
  new_x = [
    0.0487501306504746,
    0.2450953967643138,
    0.0160407102314807,
    -0.7187715386212971,
  ]
  new_y = [-1.3249087534353805, -1.813208733668334, 0.5980286462857903]
  sizes, eta = (4, 3), 0.3
  loss = sine_game.make(sizes, seed=3).losses[0]
  x, y = (own['w'] for own in _params(sizes))
  direction = solved_adjustments.competitive(
    game.zero_sum(loss), (x, y), (eta, eta), zero_sum=True, tolerance=1e-12
  )
  np.testing.assert_allclose(x - eta * direction[0], new_x, atol=TOLERANCE)
  np.testing.assert_allclose(y - eta * direction[1], new_y, atol=TOLERANCE)


@pytest.mark.parametrize('zero_sum', [True, False])
def test_competitive_at_a_rate_of_one_in_200_dimensions(zero_sum):
  """The defaults are enough, and how many iterations that took is said."""
  rng = np.random.default_rng(1)
  matrix, other = rng.normal(size=(2, 100, 100))
  other = -matrix if zero_sum else other
  losses = (lambda p: p[0] @ matrix @ p[1], lambda p: p[0] @ other @ p[1])
  params = tuple(rng.normal(size=(2, 100)))
  expected = _competitive_by_dense_solve(
    np.block([[np.zeros((100, 100)), matrix], [other.T, np.zeros((100, 100))]]),
    _flat(game.simultaneous_gradient(losses, params)),
    *((100, 100), (1.0, 1.0)),
  )
  scale = np.linalg.norm(expected)

  def solve(**kwargs):
    return solved_adjustments.solve_competitive(
      losses, params, (1.0, 1.0), zero_sum, **kwargs
    )

  found = solve()
  assert found.residual <= 1e-3
  assert np.linalg.norm(_flat(found.direction) - expected) < 0.01 * scale
  # It goes on from what it has, and from nothing where that is of no use.
  assert solve(memory=found.memory).num_iterations == 0
  far = jax.tree.map(lambda d: 1e3 * d, found.memory)
  assert solve(memory=far).num_iterations == found.num_iterations > 20
  few = solve(max_iterations=20)
  assert few.num_iterations == 20
  assert few.residual > 1e-2


@pytest.mark.parametrize('zero_sum', [True, False])
def test_adaptive_competitive_is_its_formula(zero_sum):
  """Two steps of algorithm 1 of the source, with dense matrices."""
  sizes, alphas, beta, epsilon = (4, 3), (0.3, 0.5), 0.9, 1e-3
  losses = sine_game.make(sizes, seed=3).losses
  losses = game.zero_sum(losses[0]) if zero_sum else losses
  params = _params(sizes)
  memory = solved_adjustments.no_moments(params)
  v, alpha = np.zeros(7), np.repeat(alphas, sizes)
  solve = jax.jit(
    lambda params, memory: solved_adjustments.solve_adaptive_competitive(
      *(losses, params, alphas, zero_sum, 1e-12),
      decay=beta,
      epsilon=epsilon,
      memory=memory,
    )
  )
  for t in (1, 2):
    xi = _flat(game.simultaneous_gradient(losses, params))
    v = beta * v + (1 - beta) * xi**2
    eta = alpha / (np.sqrt(v / (1 - beta**t)) + epsilon)
    j = np.asarray(jacobian.dense_jacobian(losses, params))
    x, y = slice(0, 4), slice(4, 7)
    steps = []
    for own, other in ((x, y), (y, x)):
      # D_xy f of the source is J_xy; in general J_yx is not its transpose.
      root = np.diag(np.sqrt(eta[own]))
      towards = j[own, other] * eta[other]
      inner = np.eye(len(root)) - root @ towards @ j[other, own] @ root
      right = root @ (xi[own] - towards @ xi[other])
      steps.append(-root @ np.linalg.solve(inner, right))
    solved = solve(params, memory)
    memory = solved.memory
    np.testing.assert_allclose(
      -alpha * _flat(solved.direction), np.concatenate(steps), atol=TOLERANCE
    )
    params = tuple(
      {'w': own['w'] + step} for own, step in zip(params, steps, strict=True)
    )


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('zero_sum', [True, False])
def test_derivative_of_competitive(zero_sum):
  """Also at a fixed point, where there is nothing to solve."""
  matrix = np.random.default_rng(2).normal(size=(2, 2))
  losses = toy_games.bilinear(matrix)

  def direction(z):
    return jnp.concatenate(
      solved_adjustments.competitive(
        losses, (z[:2], z[2:]), (0.3, 0.3), zero_sum, tolerance=1e-12
      )
    )

  zeros = np.zeros((2, 2))
  j = np.block([[zeros, matrix], [-matrix.T, zeros]])
  derivative = jax.jit(jax.jacfwd(direction))
  expected = np.linalg.solve(np.eye(4) + 0.3 * j, j)
  for at in (0.0, 1.0):
    np.testing.assert_allclose(
      derivative(at * jnp.ones(4)), expected, atol=TOLERANCE
    )


@pytest.mark.parametrize('leader', [0, 1])
def test_follow_the_ridge_is_its_formula(leader):
  sizes, rates = (4, 3), (0.4, 0.9)
  sines = sine_game.make(sizes, seed=6)
  params = _params(sizes)
  z = _flat(params)
  j, expected = sines.jacobian(z), sines.gradient(z)
  x, y = sines.own(leader), sines.own(1 - leader)
  ratio = rates[leader] / rates[1 - leader]
  # The Hessian of the follower is indefinite here.
  assert np.ptp(np.sign(np.linalg.eigvalsh(j[y, y]))) == 2
  expected[y] -= ratio * np.linalg.solve(j[y, y], j[y, x] @ expected[x])
  direction = jax.jit(
    lambda p: solved_adjustments.follow_the_ridge(
      sines.losses, p, rates, leader, tolerance=1e-12
    )
  )(params)
  np.testing.assert_allclose(_flat(direction), expected, atol=TOLERANCE)


def test_follow_the_ridge_stays_on_the_ridge():
  """On it, one step of the leader leaves ∇_y f of second order."""
  losses = toy_games.quadratic(np.array([[-6.0, 4.0], [-4.0, 2.0]]), (1, 1))
  params = (np.array([0.3]), np.array([0.6]))  # y = 2 x.
  direction = solved_adjustments.follow_the_ridge(losses, params, (0.1, 0.2))
  moved = (
    params[0] - 0.1 * direction[0],
    params[1] - 0.2 * direction[1],
  )
  np.testing.assert_allclose(
    game.simultaneous_gradient(losses, moved)[1], 0.0, atol=TOLERANCE
  )


@pytest.mark.parametrize('zero_sum', [True, False])
def test_nan_of_a_gradient_is_no_standstill(zero_sum):
  def loss(params):  # 0 at 0, where its gradient is NaN.
    return jnp.sqrt(params[0] @ params[0]) + params[0] @ params[1]

  params = (jnp.zeros(2), jnp.ones(2))
  assert jnp.isfinite(loss(params))
  solved = solved_adjustments.solve_competitive(
    (loss, lambda params: -loss(params)), params, (0.1, 0.1), zero_sum
  )
  assert jnp.isnan(solved.residual)
  assert all(jnp.isnan(own).any() for own in solved.direction)


def test_nan_of_a_hessian_is_no_correction_of_nothing():
  def loss(params):  # Its gradient is 0 at 0, and its second derivative NaN.
    return jnp.sum(jnp.abs(params[1]) ** 1.5) + params[0] @ params[1]

  params = (jnp.ones(2), jnp.zeros(2))
  (leader, follower), residual, *_ = solved_adjustments.solve_ridge(
    (lambda params: -loss(params), loss), params, (0.1, 0.1)
  )
  assert jnp.isfinite(leader).all()
  assert jnp.isnan(follower).all()
  assert jnp.isnan(residual)
