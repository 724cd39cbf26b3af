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

from differentiable_games import game
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
