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
"""Diagnostics against dense linear algebra; follow-the-ridge's fixed points."""

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import diagnostics
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import toy_games
from tests.differentiable_games import sine_game

TOLERANCE = 1e-9
SINES = sine_game.make((2, 3), seed=11)
PARAMS = (np.array([0.3, -1.0]), np.array([0.5, 2.0, -0.2]))
Z = np.concatenate(PARAMS)


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def test_norm_and_energies():
  xi, j = SINES.gradient(Z), SINES.jacobian(Z)
  np.testing.assert_allclose(
    diagnostics.gradient_norm(SINES.losses, PARAMS), np.linalg.norm(xi)
  )
  split = diagnostics.energy_split(SINES.losses, PARAMS)
  np.testing.assert_allclose(
    [split.symmetric, split.antisymmetric],
    [np.sum(((j + sign * j.T) @ xi / 2) ** 2) for sign in (1, -1)],
  )
  np.testing.assert_allclose(
    split.symmetric + split.antisymmetric,
    (np.sum((j @ xi) ** 2) + np.sum((j.T @ xi) ** 2)) / 2,
  )


def test_rotation_is_all_or_nothing_in_pure_games():
  params = (jnp.array([1.0, 0.5]), jnp.array([-0.3, 2.0]))
  matrix = np.arange(16.0).reshape(4, 4)
  pure = diagnostics.energy_split(toy_games.hamiltonian(matrix, (2, 2)), params)
  np.testing.assert_allclose(pure.rotation, 1.0)
  none = diagnostics.energy_split(
    toy_games.potential(lambda p: jnp.sum(jnp.sin(p[0]) * p[1]), 2), params
  )
  np.testing.assert_allclose(none.rotation, 0.0, atol=1e-12)
  still = tuple(map(jnp.zeros_like, params))
  at_rest = diagnostics.energy_split(
    toy_games.hamiltonian(matrix, (2, 2)), still
  )
  assert np.isnan(at_rest.rotation)


def test_spectrum_of_a_spiral():
  """a ± ir, for players that are drawn in alike."""
  losses = toy_games.spiral((0.3, 0.3), rotation=2.0)
  found = diagnostics.spectrum(losses, (jnp.zeros(2), jnp.zeros(2)))
  np.testing.assert_allclose(
    found, [0.3 - 2j, 0.3 - 2j, 0.3 + 2j, 0.3 + 2j], atol=TOLERANCE
  )


@pytest.mark.parametrize(('which', 'key'), [('LM', np.abs), ('LR', np.real)])
def test_leading_eigenvalues(which, key):
  sizes = (20, 30)
  sines = sine_game.make(sizes, seed=1, waves=60)
  params = tuple({'w': jnp.ones(size)} for size in sizes)
  found = diagnostics.leading_eigenvalues(
    lambda v: jacobian.jacobian_product(sines.losses, params, v),
    params,
    6,
    which,
  )
  everything = diagnostics.spectrum(sines.losses, params)
  order = np.argsort(key(everything))[::-1]
  expected = np.sort_complex(everything[order[:6]])
  # Six end between two conjugate pairs, so that they are one set.
  assert key(everything[order[5]]) > key(everything[order[6]]) + 1e-6
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_update_map_of_descent():
  """I - hJ; two steps of it; and Adam's count is no part of the map."""
  field = lambda p: game.simultaneous_gradient(losses, p)
  losses = toy_games.spiral((0.3, 0.1), rotation=2.0)
  origin = (jnp.zeros(1), jnp.zeros(1))
  rule = rules.simultaneous((optax.sgd(0.1),) * 2)
  j = np.array([[0.3, -2.0], [2.0, 0.1]])
  for num_steps in (1, 2):
    mapped, point = diagnostics.update_map(rule, field, origin, num_steps)
    np.testing.assert_allclose(
      jax.jacfwd(mapped)(point),
      np.linalg.matrix_power(np.eye(2) - 0.1 * j, num_steps),
      atol=TOLERANCE,
    )
  rule = rules.simultaneous((optax.adam(0.1),) * 2)
  mapped, point = diagnostics.update_map(rule, field, (jnp.ones(1),) * 2)
  # Both players' parameters, first and second moments.
  assert point.shape == (6,)
  params = rules.trajectory(rule, field, (jnp.ones(1),) * 2, 2)
  np.testing.assert_allclose(point[:2], [own[1, 0] for own in params])
  np.testing.assert_allclose(mapped(point)[:2], [own[2, 0] for own in params])


def test_update_maps_may_be_large():
  """The rate of a map too large for its matrix, by Arnoldi's method."""
  losses = toy_games.spiral((0.3, 0.3), rotation=2.0)
  rule = rules.simultaneous((optax.sgd(0.1, momentum=0.5),) * 2)
  mapped, point = diagnostics.update_map(
    rule,
    lambda p: game.simultaneous_gradient(losses, p),
    (jnp.zeros(200), jnp.zeros(200)),
  )
  found = diagnostics.leading_eigenvalues(
    lambda v: jax.jvp(mapped, (point,), (v,))[1], point, 2
  )
  # z² - (1 + β - h μ) z + β.
  expected = np.abs(np.roots([1, -1.5 + 0.1 * (0.3 + 2j), 0.5])).max()
  np.testing.assert_allclose(np.abs(found).max(), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ('diagonal', 'nash'),
  [((1.0, 2.0, 0.5), True), ((1.0, -2.0, 0.5), False), ((1.0, 2.0, 0), False)],
)
def test_local_nash(diagonal, nash):
  """Any interaction is allowed: no player moves alone to its gain."""
  j = np.array([[0.0, 5.0, -3.0], [1.0, 0.0, 4.0], [7.0, -1.0, 0.0]])
  losses = toy_games.quadratic(j + np.diag(diagonal), (1, 1, 1))
  origin = (jnp.zeros(1),) * 3
  assert diagnostics.is_local_nash(losses, origin) == nash
  elsewhere = (jnp.zeros(1), jnp.ones(1), jnp.zeros(1))
  assert not diagnostics.is_local_nash(losses, elsewhere)


def test_local_minmax_by_the_followers_answers():
  """Against the definition: the best answer's value has a minimum at zero."""
  rng = np.random.default_rng(5)
  seen = set()
  for _ in range(60):
    a, b, c = _quadratic(rng)
    losses = _zero_sum_of(a, b, c)
    origin = (jnp.zeros(2), jnp.zeros(2))
    minmax = diagnostics.is_local_minmax(losses, origin)
    if np.linalg.eigvalsh(c).max() >= 0:
      assert not minmax  # The follower has no local answer.
      continue
    # max_y f(x, y) = xᵀ (A - B C⁻¹ Bᵀ) x / 2, sampled in all directions.
    angles = np.linspace(0, np.pi, 200)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    y = -x @ b @ np.linalg.inv(c)
    values = np.einsum('ni,ij,nj->n', x, a, x) / 2
    values += np.einsum('ni,ij,nj->n', x, b, y)
    values += np.einsum('ni,ij,nj->n', y, c, y) / 2
    assert minmax == (values.min() > 0)
    seen.add(minmax)
  assert seen == {True, False}
  assert not diagnostics.is_local_minmax(losses, (jnp.ones(2), jnp.zeros(2)))


def _quadratic(rng):
  """A, B, C of xᵀAx / 2 + xᵀBy + yᵀCy / 2; often with an answer for y."""
  a, b, c = rng.normal(size=(3, 2, 2))
  shift = np.diag(rng.uniform(-1, 3, size=2))
  return a + a.T, 2 * b, c + c.T - shift


def _zero_sum_of(a, b, c):
  return toy_games.quadratic(np.block([[a, b], [-b.T, -c]]), (2, 2))


def test_follow_the_ridge_converges_only_to_local_minmax():
  """Wang et al. 2020, theorem 1; descent goes wrong both ways."""
  rng = np.random.default_rng(0)
  rates = (0.003, 0.006)
  games = [_quadratic(rng) for _ in range(40)]

  @jax.jit
  @jax.vmap
  def matrices_of_steps(a, b, c):
    def loss(params):
      x, y = params
      return x @ a @ x / 2 + x @ b @ y + y @ c @ y / 2

    losses = game.zero_sum(loss)

    def step(z, adjusted):
      params = (z[:2], z[2:])
      if adjusted:
        direction = solved_adjustments.follow_the_ridge(
          losses, params, rates, tolerance=1e-12
        )
      else:
        direction = game.simultaneous_gradient(losses, params)
      return z - jnp.repeat(jnp.array(rates), 2) * jnp.concatenate(direction)

    return [
      jax.jacfwd(lambda z, k=adjusted: step(z, k))(jnp.zeros(4))
      for adjusted in (True, False)
    ]

  stable, drawn = (
    np.abs(np.linalg.eigvals(matrices)).max(axis=-1) < 1
    for matrices in matrices_of_steps(*map(np.stack, zip(*games, strict=True)))
  )
  origin = (jnp.zeros(2), jnp.zeros(2))
  minmax = [
    diagnostics.is_local_minmax(_zero_sum_of(*own), origin) for own in games
  ]
  np.testing.assert_array_equal(stable, minmax)
  assert {(True, False), (False, True)} <= set(zip(minmax, drawn, strict=True))


@pytest.mark.parametrize('name', ['unstable_minmax', 'nonconvex'])
def test_follow_the_ridge_finds_minmax_points_descent_does_not(name):
  losses = toy_games.ridge_games()[name]
  rates = (0.05, 0.05)
  rule = rules.simultaneous(tuple(map(optax.sgd, rates)))
  start = (jnp.array(0.4), jnp.array(0.3))

  def follow(params):
    return solved_adjustments.follow_the_ridge(losses, params, rates)

  def descend(params):
    return game.simultaneous_gradient(losses, params)

  end, other = (
    jax.tree.map(
      lambda leaf: leaf[-1], rules.trajectory(rule, field, start, 2000)
    )
    for field in (follow, descend)
  )
  np.testing.assert_allclose(ravel_pytree(end)[0], 0.0, atol=1e-6)
  assert diagnostics.is_local_minmax(losses, end)
  assert not diagnostics.is_local_minmax(losses, other)


def test_follow_the_ridge_leaves_what_descent_takes_for_a_solution():
  losses = toy_games.ridge_games()['stable_other']
  rates = (0.05, 0.05)
  rule = rules.simultaneous(tuple(map(optax.sgd, rates)))
  start = (jnp.array(1e-3), jnp.array(1e-3))
  ends = [
    jax.tree.map(
      lambda leaf: leaf[-1], rules.trajectory(rule, field, start, 200)
    )
    for field in (
      lambda p: solved_adjustments.follow_the_ridge(losses, p, rates),
      lambda p: game.simultaneous_gradient(losses, p),
    )
  ]
  assert np.hypot(*ends[0]) > 1
  assert np.hypot(*ends[1]) < 1e-6
