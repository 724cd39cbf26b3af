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
"""Derivatives of real and complex parameters, and Lanczos' method."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from principal_flow_instability_single_objective import hessian


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def loss(x):
  """x₀³ x₁ + sin x₁: derivatives by hand below."""
  return x[0] ** 3 * x[1] + jnp.sin(x[1])


def by_hand(x, v):
  """(g, H v, ∇(vᵀ H v)) of `loss`."""
  a, b = x
  matrix = np.array([[6 * a * b, 3 * a**2], [3 * a**2, -np.sin(b)]])
  cubic = np.array(
    [
      6 * b * v[0] ** 2 + 12 * a * v[0] * v[1],
      6 * a * v[0] ** 2 - np.cos(b) * v[1] ** 2,
    ]
  )
  gradient = np.array([3 * a**2 * b, a**3 + np.cos(b)])
  return gradient, matrix, cubic


@pytest.mark.parametrize(
  ('x', 'v'),
  [
    ([0.7, -0.4], [1.0, 0.5]),
    ([0.7 + 0.2j, -0.4 - 0.6j], [1.0 - 1.0j, 0.5 + 0.3j]),
  ],
)
def test_derivatives_at_real_and_complex_parameters(x, v):
  x, v = jnp.array(x), jnp.array(v)
  gradient, matrix, cubic = by_hand(np.asarray(x), np.asarray(v))
  near = functools.partial(np.testing.assert_allclose, rtol=1e-13)
  near(hessian.gradient(loss, x), gradient)
  near(hessian.product(loss, x, v), matrix @ v)
  near(hessian.gradient_of_curvature(loss, x, v), cubic)
  near(hessian.dense(loss, x), matrix)


@functools.partial(jax.jit, static_argnums=(1, 2))
def top_of(matrix, num_pairs, num_products):
  return hessian.top_eigenpairs(
    lambda v: {'w': matrix @ v['w']},
    {'w': jnp.zeros(len(matrix), matrix.dtype)},
    num_pairs,
    num_products,
    jax.random.key(0),
  )


def _symmetric(eigenvalues, seed=1):
  size = len(eigenvalues)
  random = np.random.default_rng(seed)
  axes, _ = np.linalg.qr(random.normal(size=(size, size)))
  return axes @ np.diag(eigenvalues) @ axes.T, axes


def test_top_eigenpairs_of_outliers():
  """Of 300 eigenvalues three stand out, as in a network; twenty products."""
  random = np.random.default_rng(0)
  eigenvalues = np.r_[[9.0, 6.0, 5.0], random.normal(size=297) * 0.3]
  matrix, axes = _symmetric(eigenvalues)
  pairs = top_of(matrix, 3, 20)
  np.testing.assert_allclose(pairs.values, eigenvalues[:3], rtol=1e-9)
  np.testing.assert_allclose(
    np.abs(pairs.vectors @ axes[:, :3]), np.eye(3), atol=1e-5
  )


def test_top_eigenpairs_are_the_algebraically_largest():
  matrix, _ = _symmetric([-9.0, -8.0, -3.0, 1.0, 0.5])
  pairs = top_of(matrix, 3, 5)
  np.testing.assert_allclose(pairs.values, [1.0, 0.5, -3.0], rtol=1e-10)


def test_more_products_than_parameters_are_not_made():
  matrix, _ = _symmetric([3.0, 2.0])
  np.testing.assert_allclose(top_of(matrix, 2, 50).values, [3.0, 2.0])
  np.testing.assert_allclose(top_of(np.array([[4.0]]), 1, 50).values, [4.0])


@pytest.mark.parametrize('num_products', [2, 3, 5])
def test_what_is_not_found_is_nan(num_products):
  matrix, axes = _symmetric([3.0, 2.0, 1.0])
  pairs = top_of(matrix, 5, num_products)
  num_found = min(num_products, 3)
  assert pairs.values.shape == (5,)
  assert pairs.vectors.shape == (5, 3)
  assert np.isfinite(pairs.values).tolist() == [i < num_found for i in range(5)]
  np.testing.assert_array_equal(pairs.vectors[num_found:], 0)
  if num_found == 3:
    np.testing.assert_allclose(pairs.values[:3], [3, 2, 1], rtol=1e-10)
    np.testing.assert_allclose(
      np.abs(pairs.vectors[:3] @ axes), np.eye(3), atol=1e-10
    )


@pytest.mark.parametrize('eigenvalues', [[2.0, 2.0, 1.0], [0.0, 0.0, -1.0]])
def test_no_start_gives_false_eigenvalues(eigenvalues):
  matrix = jnp.diag(jnp.array(eigenvalues, jnp.float32))
  find = lambda key: hessian.top_eigenpairs(
    lambda v: matrix @ v, jnp.zeros(3, jnp.float32), 3, 3, key
  )
  pairs = jax.jit(jax.vmap(find))(jax.random.split(jax.random.key(1), 300))
  away = np.abs(pairs.values[..., None] - np.array(eigenvalues)).min(axis=-1)
  assert np.nanmax(away) < 1e-5
  assert not np.isnan(pairs.values[:, :2]).any()


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize(
  ('eigenvalues', 'found'),
  [
    ([2.0] * 6, [2.0]),
    ([0.0] * 6, [0.0]),
    ([-1.0] * 6, [-1.0]),
    ([3.0, 1.0, 1.0, 1.0, 1.0, -2.0], [3.0, 1.0, -2.0]),
    ([3.0, 1.0, 1.0, 1.0, 1.0, 1.0], [3.0, 1.0]),
  ],
)
def test_breakdown_gives_no_false_eigenvalues(eigenvalues, found, dtype):
  """One start finds each multiple eigenvalue once, and then nothing more."""
  matrix, _ = _symmetric(eigenvalues)
  pairs = top_of(matrix.astype(dtype), 4, 6)
  expected = found + [np.nan] * (4 - len(found))
  np.testing.assert_allclose(pairs.values, expected, atol=1e-5)
  missing = np.isnan(pairs.values)
  np.testing.assert_array_equal(pairs.vectors[missing], 0)
  residuals = matrix @ pairs.vectors.T - pairs.values * pairs.vectors.T
  np.testing.assert_allclose(residuals[:, ~missing], 0, atol=1e-4)
