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
"""Directions against slow formulas, bias, fixed points, symmetries."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigengame_unloaded import eigengame
from eigengame_unloaded import metrics

pytestmark = pytest.mark.optimised

N, D, K = 7, 6, 4
METHODS = sorted(eigengame.METHODS)


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def random_case(seed=0):
  """(X, V with unit rows)."""
  random = np.random.default_rng(seed)
  estimates = random.standard_normal((K, D))
  estimates /= np.linalg.norm(estimates, axis=1, keepdims=True)
  return random.standard_normal((N, D)), estimates


def images_of(examples, estimates):
  return estimates @ examples.T @ examples / len(examples)


def direction(name, estimates, images):
  weights = eigengame.player_weights(len(estimates))
  return np.asarray(
    eigengame.METHODS[name].direction(
      jnp.asarray(estimates), jnp.asarray(images), weights
    )
  )


def step(name, estimates, matrix, rate):
  ascended = estimates + rate * direction(name, estimates, estimates @ matrix)
  return np.asarray(eigengame.METHODS[name].retract(jnp.asarray(ascended)))


def slow_direction(name, examples, estimates):
  """Player by player, as the papers write it."""
  result = []
  for i, v_i in enumerate(estimates):
    x_i = examples @ v_i
    total = examples.T @ x_i
    for j, v_j in enumerate(estimates):
      x_j = examples @ v_j
      if name == 'mu_eigengame' and j < i:
        total = total - (x_j @ x_i) * v_j
      elif name == 'alpha_eigengame' and j < i:
        total = total - (x_j @ x_i) / (x_j @ x_j) * (examples.T @ x_j)
      elif (name == 'sanger' and j <= i) or name == 'krasulina':
        total = total - (x_j @ x_i) * v_j
    result.append(total / len(examples))
  return np.array(result)


@pytest.mark.parametrize('name', METHODS)
def test_direction_is_the_slow_formula(name):
  examples, estimates = random_case()
  np.testing.assert_allclose(
    direction(name, estimates, images_of(examples, estimates)),
    slow_direction(name, examples, estimates),
    rtol=1e-12,
  )


def test_weights_and_their_mask():
  weights = eigengame.player_weights(3)
  np.testing.assert_array_equal(weights, [[1, 0, 0], [-1, 1, 0], [-1, -1, 1]])
  np.testing.assert_array_equal(
    eigengame.parents(weights), [[0, 0, 0], [-1, 0, 0], [-1, -1, 0]]
  )


def slow_utility(i, v_i, estimates, examples):
  """Player i's utility, the others held fixed."""
  x_i = examples @ v_i
  total = x_i @ x_i
  for j in range(i):
    x_j = examples @ estimates[j]
    total = total - (x_j @ x_i) ** 2 / (x_j @ x_j)
  return total / len(examples)


def test_utilities_are_the_slow_formula():
  examples, estimates = random_case()
  gram = jnp.asarray(images_of(examples, estimates) @ estimates.T)
  np.testing.assert_allclose(
    eigengame.utilities(gram, eigengame.player_weights(K)),
    [slow_utility(i, v, estimates, examples) for i, v in enumerate(estimates)],
    rtol=1e-12,
  )


def test_alpha_climbs_the_utilities():
  examples, estimates = random_case()
  gradients = [
    jax.grad(slow_utility, argnums=1)(i, v, estimates, examples)
    for i, v in enumerate(jnp.asarray(estimates))
  ]
  np.testing.assert_allclose(
    2 * direction('alpha_eigengame', estimates, images_of(examples, estimates)),
    gradients,
    rtol=1e-12,
  )


@pytest.mark.parametrize('name', METHODS)
def test_only_alpha_is_biased_under_minibatches(name):
  examples, estimates = random_case()
  # All minibatches of two: their mean is the expectation, without noise.
  minibatches = [
    examples[list(chosen)] for chosen in itertools.combinations(range(N), 2)
  ]
  mean = np.mean(
    [
      direction(name, estimates, images_of(batch, estimates))
      for batch in minibatches
    ],
    axis=0,
  )
  full = direction(name, estimates, images_of(examples, estimates))
  error = np.abs(mean - full).max(axis=1)
  if name == 'alpha_eigengame':
    # The first player has no parents, and so no quotient.
    assert error[0] < 1e-12
    assert (error[1:] > 0.05).all()
  else:
    assert error.max() < 1e-12


@pytest.mark.parametrize('name', METHODS)
def test_true_eigenvectors_stay(name):
  examples, _ = random_case()
  matrix = examples.T @ examples / N
  truth = metrics.exact(matrix, K).eigenvectors
  np.testing.assert_allclose(step(name, truth, matrix, 0.1), truth, atol=1e-12)


@pytest.mark.parametrize('name', ['mu_eigengame', 'alpha_eigengame', 'oja'])
def test_other_points_do_not_stay(name):
  examples, estimates = random_case()
  matrix = examples.T @ examples / N
  moved = step(name, estimates, matrix, 0.1)
  assert (np.linalg.norm(moved - estimates, axis=1) > 1e-2).all()


def test_a_basis_of_a_repeated_eigenvalues_space_stays():
  random = np.random.default_rng(1)
  basis, _ = np.linalg.qr(random.standard_normal((D, D)))
  matrix = basis * [5.0, 2.0, 2.0, 2.0, 1.0, 0.5] @ basis.T
  rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
  estimates = np.concatenate([basis.T[:1], rotation @ basis.T[1:4]])
  moved = step('mu_eigengame', estimates, matrix, 0.1)
  np.testing.assert_allclose(moved, estimates, atol=1e-12)
  assert metrics.angles(moved, metrics.exact(matrix, 4)).max() < 1e-7


@pytest.mark.parametrize('name', METHODS)
def test_signs_of_players_are_theirs_alone(name):
  examples, estimates = random_case()
  signs = np.array([[1.0], [-1.0], [1.0], [-1.0]])
  flipped = signs * estimates
  np.testing.assert_allclose(
    direction(name, flipped, images_of(examples, flipped)),
    signs * direction(name, estimates, images_of(examples, estimates)),
    rtol=1e-12,
  )


@pytest.mark.parametrize('name', METHODS)
def test_rotated_data_give_rotated_directions(name):
  examples, estimates = random_case()
  rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((D, D)))
  rotated = estimates @ rotation
  np.testing.assert_allclose(
    direction(name, rotated, images_of(examples @ rotation, rotated)),
    direction(name, estimates, images_of(examples, estimates)) @ rotation,
    atol=1e-12,
  )


@pytest.mark.parametrize('name', METHODS)
def test_only_oja_and_krasulina_treat_players_alike(name):
  examples, estimates = random_case()
  rotation, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((K, K)))
  orthonormal = np.asarray(eigengame.orthonormalize(jnp.asarray(estimates)))
  mixed = rotation @ orthonormal
  difference = direction(
    name, mixed, images_of(examples, mixed)
  ) - rotation @ direction(name, orthonormal, images_of(examples, orthonormal))
  alike = np.abs(difference).max() < 1e-12
  assert alike == (name in ('oja', 'krasulina'))


@pytest.mark.parametrize('name', METHODS)
def test_some_players_get_their_rows(name):
  examples, estimates = random_case()
  images = images_of(examples, estimates)
  own = slice(1, 3)
  rows = eigengame.METHODS[name].direction(
    jnp.asarray(estimates),
    jnp.asarray(images[own]),
    eigengame.player_weights(K)[own],
    lambda some: jnp.asarray(images),
  )
  np.testing.assert_allclose(
    rows, direction(name, estimates, images)[own], rtol=1e-12
  )


@pytest.mark.parametrize('name', METHODS)
def test_method_finds_eigenvectors(name):
  random = np.random.default_rng(4)
  basis, _ = np.linalg.qr(random.standard_normal((D, D)))
  matrix = basis * [3.0, 2.0, 1.5, 1.0, 0.5, 0.25] @ basis.T
  truth = metrics.exact(matrix, K)
  estimates = np.asarray(
    eigengame.orthonormalize(jnp.asarray(random_case()[1]))
  )
  for _ in range(300):
    estimates = step(name, estimates, matrix, 0.2)
  assert metrics.subspace_distance(estimates, truth) < 1e-10
  streak = metrics.longest_streak(metrics.angles(estimates, truth), below=1e-3)
  if name == 'krasulina':  # It stops where it first meets the subspace.
    assert streak < K
  else:
    assert streak == K
  np.testing.assert_allclose(np.linalg.norm(estimates, axis=1), 1.0, rtol=1e-10)


def test_orthonormalize_keeps_signs_and_leading_spans():
  _, estimates = random_case()
  result = np.asarray(eigengame.orthonormalize(jnp.asarray(estimates)))
  np.testing.assert_allclose(result @ result.T, np.eye(K), atol=1e-12)
  inner = result @ estimates.T
  # Gram-Schmidt: no row has a part along those after it.
  np.testing.assert_allclose(np.tril(inner, -1), 0, atol=1e-12)
  assert (np.diag(inner) > 0).all()


def test_players_without_a_gradient_divide_by_no_zero():
  estimates = np.eye(K, D)
  images = np.zeros((K, D))
  for name in METHODS:
    np.testing.assert_array_equal(direction(name, estimates, images), 0)
  utilities = eigengame.utilities(
    jnp.zeros((K, K)), eigengame.player_weights(K)
  )
  np.testing.assert_array_equal(utilities, 0)
  np.testing.assert_array_equal(eigengame.normalize(jnp.zeros((2, 3))), 0)
