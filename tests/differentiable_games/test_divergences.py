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
"""f-divergences: identities of the table, and what it makes of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import divergences

NAMES = list(divergences.DIVERGENCES)
RATIOS = np.array([1e-3, 0.2, 0.7, 1.0, 1.3, 4.0, 300.0])
# Each divergence's f, written once more.
GENERATORS = {
  'kl': lambda u: u * np.log(u),
  'reverse_kl': lambda u: -np.log(u),
  'pearson': lambda u: (u - 1) ** 2,
  'squared_hellinger': lambda u: (np.sqrt(u) - 1) ** 2,
  'jensen_shannon': lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


@pytest.mark.parametrize('name', NAMES)
def test_generator_and_its_derivative(name):
  chosen = divergences.DIVERGENCES[name]
  np.testing.assert_allclose(
    chosen.generator(RATIOS), GENERATORS[name](RATIOS), atol=1e-12
  )
  assert abs(chosen.generator(1.0)) < 1e-15
  np.testing.assert_allclose(
    jax.vmap(jax.grad(chosen.generator))(RATIOS),
    chosen.derivative(RATIOS),
    rtol=1e-12,
    atol=1e-12,
  )


@pytest.mark.parametrize('name', NAMES)
def test_conjugate(name):
  """f*(f'(u)) = u f'(u) - f(u), where Fenchel's inequality is an equality."""
  chosen = divergences.DIVERGENCES[name]
  slopes = chosen.derivative(RATIOS)
  np.testing.assert_allclose(
    chosen.conjugate(slopes),
    RATIOS * slopes - GENERATORS[name](RATIOS),
    rtol=1e-9,
    atol=1e-12,
  )
  # Its own derivative is the inverse of f'.
  np.testing.assert_allclose(
    jax.vmap(jax.grad(chosen.conjugate))(slopes), RATIOS, rtol=1e-9
  )


@pytest.mark.parametrize('name', NAMES)
def test_forms_in_the_output(name):
  chosen = divergences.DIVERGENCES[name]
  np.testing.assert_allclose(
    chosen.activation(chosen.best_output(np.log(RATIOS))),
    chosen.derivative(RATIOS),
    rtol=1e-12,
    atol=1e-12,
  )
  outputs = np.linspace(-5, 5, 41)
  np.testing.assert_allclose(
    chosen.conjugate_of_output(outputs),
    chosen.conjugate(chosen.activation(outputs)),
    rtol=1e-9,
    atol=1e-12,
  )


@pytest.mark.parametrize('name', NAMES)
def test_variational_forms_reach_their_divergences(name):
  """The best t makes E_p t - E_q f*(t) the divergence, any other less."""
  p, q = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.25, 0.35])
  chosen = divergences.DIVERGENCES[name]
  v = jnp.linspace(-4, 4, 80001)
  t = chosen.activation(v)
  values = np.outer(p, t) - np.outer(q, chosen.conjugate(t))
  bound = np.nanmax(values, axis=1).sum()
  divergence = np.sum(q * GENERATORS[name](p / q))
  np.testing.assert_allclose(bound, divergence, atol=1e-7)
