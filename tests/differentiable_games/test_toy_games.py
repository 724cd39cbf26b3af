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
"""Gradients of the small games."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import diagnostics
from differentiable_games import divergences
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import toy_games


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize('saturating', [True, False])
@pytest.mark.parametrize('params', [(1.5, 0.5), (-0.7, 0.8), (0.6, -2.0)])
def test_dirac_gan(saturating, params):
  phi, theta = params
  losses = toy_games.dirac_gan(saturating)
  gradient = game.simultaneous_gradient(losses, params)
  s = _sigmoid(phi * theta)
  gen = -s * phi if saturating else -(1 - s) * phi
  np.testing.assert_allclose(gradient, (s * theta, gen), rtol=1e-5)
  np.testing.assert_allclose(
    losses[0](params), np.log1p(np.exp(phi * theta)) + np.log(2), rtol=1e-5
  )


@pytest.mark.parametrize('name', divergences.DIVERGENCES)
def test_dirac_f_gan(name):
  _, _, activation, conjugate, *_ = divergences.DIVERGENCES[name]
  disc_loss, gen_loss = toy_games.dirac_f_gan(name)
  params = (0.3, -0.8)
  expected = conjugate(activation(-0.24)) - activation(jnp.zeros(()))
  np.testing.assert_allclose(disc_loss(params), expected, rtol=1e-6)
  assert gen_loss(params) == -disc_loss(params)


def test_dirac_wgan():
  gradient = game.simultaneous_gradient(toy_games.dirac_wgan(), (0.3, -0.8))
  np.testing.assert_allclose(gradient, (-0.8, -0.3), rtol=1e-6)


def test_spiral_is_the_linear_game():
  losses = toy_games.spiral((0.2, 0.3), rotation=1.5)
  x, y = gradient = game.simultaneous_gradient(
    losses, (jnp.array([2.0]), jnp.array([4.0]))
  )
  # x' = -0.2 x + 1.5 y, y' = -1.5 x - 0.3 y.
  np.testing.assert_allclose(-x, [-0.4 + 6.0], rtol=1e-6)
  np.testing.assert_allclose(-y, [-3.0 - 1.2], rtol=1e-6)
  wide = toy_games.spiral((0.2, 0.3), rotation=1.5)
  both = game.simultaneous_gradient(wide, (jnp.full(2, 2.0), jnp.full(2, 4.0)))
  np.testing.assert_allclose(both, np.repeat(gradient, 2, axis=1), rtol=1e-6)


def test_hamiltonian_is_antisymmetric():
  matrix = np.arange(16.0).reshape(4, 4)
  losses = toy_games.hamiltonian(matrix, (1, 2, 1))
  params = (jnp.ones(1), jnp.ones(2), jnp.ones(1))
  expected = np.array([[0, 1, 2, 3], [0, 0, 0, 7], [0, 0, 0, 11], [0] * 4])
  np.testing.assert_allclose(
    jacobian.dense_jacobian(losses, params), expected - expected.T, rtol=1e-6
  )


def test_potential_games_are_gradients():
  function = lambda params: params[0] ** 2 * params[1] + params[2]
  params = (1.0, 2.0, 3.0)
  np.testing.assert_allclose(
    game.simultaneous_gradient(toy_games.potential(function, 3), params),
    jax.grad(function)(params),
  )


@pytest.mark.parametrize(
  ('name', 'minmax', 'drawn'),
  [
    ('unstable_minmax', True, False),
    ('stable_other', False, True),
    ('nonconvex', True, False),
  ],
)
def test_ridge_games(name, minmax, drawn):
  """What their docstring says of the origin."""
  losses = toy_games.ridge_games()[name]
  origin = (jnp.zeros(()), jnp.zeros(()))
  assert diagnostics.is_local_minmax(losses, origin) == minmax
  spectrum = diagnostics.spectrum(losses, origin)
  assert (spectrum.real.min() > 0) == drawn


def test_almost_bilinear_is_driven_off_the_origin():
  losses = toy_games.almost_bilinear(0.1)
  gradient = game.simultaneous_gradient(losses, (2.0, 3.0))
  np.testing.assert_allclose(gradient, (3, -2 - 0.1 * (3 - 27)), rtol=1e-6)
  spectrum = diagnostics.spectrum(losses, (jnp.zeros(()), jnp.zeros(())))
  np.testing.assert_allclose(spectrum.real, [-0.05, -0.05], rtol=1e-6)


def test_bilinear_is_zero_sum():
  matrix = jnp.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
  params = (jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0]))
  first, second = toy_games.bilinear(matrix)
  assert first(params) == params[0] @ matrix @ params[1] == -second(params)


def test_quadratic_has_the_given_field():
  j = np.array([[2.0, 1.0, 5.0], [1.0, -3.0, 0.5], [7.0, -1.0, 4.0]])
  losses = toy_games.quadratic(j, (2, 1))
  z = np.array([0.5, -1.0, 2.0])
  gradient = game.simultaneous_gradient(losses, (z[:2], z[2:]))
  np.testing.assert_allclose(jnp.concatenate(gradient), j @ z, rtol=1e-5)


def test_quadratic_needs_symmetric_diagonal_blocks():
  with pytest.raises(ValueError, match=r'Block \(1, 1\)'):
    toy_games.quadratic(np.array([[1, 0, 0], [0, 1, 2], [0, 3, 1]]), (1, 2))


def test_replace_player():
  params = (1.0, {'w': 2.0}, 3.0)
  assert game.replace_player(params, 1, 5.0) == (1.0, 5.0, 3.0)
  gradient = jax.tree.map(
    float, game.player_gradient(lambda p: p[0] * p[1]['w'] ** 2, params, 1)
  )
  assert gradient == {'w': 4.0}
