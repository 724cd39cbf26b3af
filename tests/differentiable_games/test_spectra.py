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
"""Tests for spectra: against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import jacobian
from differentiable_games import spectra


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def products_with(matrix):
  matrix = jnp.asarray(matrix)
  return lambda v: matrix @ v


def test_as_many_products_as_there_are_dimensions_give_all_eigenvalues():
  matrix = np.random.default_rng(0).normal(size=(7, 7))
  hessenberg, basis = spectra.krylov_basis(
    products_with(matrix), jnp.ones(7), 7
  )
  found = spectra.ritz_values(hessenberg)
  np.testing.assert_allclose(
    np.sort_complex(found.values),
    np.sort_complex(np.linalg.eigvals(matrix)),
    rtol=1e-9,
  )
  np.testing.assert_allclose(
    basis[:7] @ basis[:7].T, np.eye(7), rtol=0, atol=1e-13
  )


def test_few_products_find_the_ends_and_bound_the_error():
  rng = np.random.default_rng(1)
  vectors, _ = np.linalg.qr(rng.normal(size=(200, 200)))
  eigenvalues = np.concatenate([[-5.0, 9.0], rng.uniform(-1, 1, 198)])
  hessenberg, _ = spectra.krylov_basis(
    products_with(vectors * eigenvalues @ vectors.T),
    jnp.asarray(rng.normal(size=200)),
    20,
  )
  found = spectra.ritz_values(hessenberg, symmetric=True)
  np.testing.assert_allclose(found.values[:2], [9, -5], rtol=1e-9)
  errors = np.abs(found.values[:, None] - eigenvalues).min(axis=1)
  assert (errors <= found.residuals + 1e-12).all()


def test_an_exhausted_space_gives_the_eigenvalues_it_holds():
  # Every vector is in a space of two dimensions.
  hessenberg, _ = spectra.krylov_basis(
    products_with(np.diag([2.0, 2.0, 5.0])), jnp.ones(3), 3
  )
  found = spectra.ritz_values(hessenberg, symmetric=True)
  np.testing.assert_allclose(found.values, [5, 2], rtol=1e-12)


def test_so_many_products_are_made():
  calls = []

  def product(v):
    calls.append(v)
    return 2 * v + jnp.roll(v, 1)

  with jax.disable_jit():
    spectra.krylov_basis(product, jnp.arange(1.0, 9.0), 5)
  assert len(calls) == 5


def test_nan_is_no_eigenvalue():
  values, residuals = spectra.ritz_values(np.full((4, 3), np.nan))
  assert np.isnan(values).all()
  assert np.isnan(residuals).all()


# Games.


@pytest.mark.slow
def test_matrices_of_a_game_of_three():
  def joint_losses(params):
    x, y, z = params
    return (
      jnp.sin(x @ x) * y[0] + jnp.cos(z).sum() * x[0],
      # Without a double eigenvalue, which is found once.
      jnp.exp(0.3 * y @ y) + y[0] ** 3 + x[1] * y[1] * z[0],
      (z**4).sum() / 4 + jnp.tanh(x.sum() * y[0] * z[0]),
    )

  params = (
    np.array([0.3, -0.7]),
    np.array([0.5, 0.2, -0.4]),
    np.array([0.8, 0.1]),
  )
  losses = [lambda p, i=i: joint_losses(p)[i] for i in range(3)]
  dense = np.asarray(jacobian.dense_jacobian(losses, params))
  found = spectra.krylov_matrices(joint_losses, params, 7)
  np.testing.assert_allclose(
    np.sort_complex(spectra.ritz_values(found[0]).values),
    np.sort_complex(np.linalg.eigvals(dense)),
    rtol=1e-7,
  )
  for i, own in enumerate((slice(0, 2), slice(2, 5), slice(5, 7))):
    values = spectra.ritz_values(found[1 + i], symmetric=True).values
    np.testing.assert_allclose(
      np.sort(values), np.linalg.eigvalsh(dense[own, own]), rtol=1e-7
    )


# A verdict.


def _matrices(jacobian, disc, gen):
  def of(matrix):
    matrix = np.atleast_2d(matrix)
    return np.vstack([matrix, np.zeros(len(matrix))])

  return [of(jacobian), of(disc), of(gen)]


@pytest.mark.parametrize(
  ('jacobian', 'stable', 'nash'),
  [
    ([[1, 5], [-5, 1]], True, True),
    # Rotation alone decides neither way: no real part is below zero.
    ([[0, 1], [-1, 0]], True, True),
    # Stable, though the second player would leave.
    ([[3, 4], [-4, -1]], True, False),
    # A Nash equilibrium that simultaneous play leaves.
    ([[1, 3], [3, 1]], False, True),
    ([[-1, 0], [0, 1]], False, False),
    ([[np.nan, 0], [0, 1]], False, False),
  ],
)
def test_verdict(jacobian, stable, nash):
  jacobian = np.array(jacobian, float)
  described = spectra.describe_spectrum(
    _matrices(jacobian, jacobian[:1, :1], jacobian[1:, 1:]), ('a', 'b')
  )
  assert described['stable'] == stable
  assert described['locally_nash'] == nash
