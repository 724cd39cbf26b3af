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
"""Losses and the gradient penalty against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import losses

REAL = np.array([[-2.0], [0.3], [1.5]])
SAMPLES = np.array([[0.7], [-1.2], [2.5]])


def _softplus(x):
  return np.log1p(np.exp(x))


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


# The parts that depend on real data, and on samples; None: there is no part.
EXPECTED = {
  'discriminator_goodfellow_loss': (_softplus(-REAL), _softplus(SAMPLES)),
  'generator_goodfellow_loss': (None, _softplus(-SAMPLES)),
  'generator_saturating_loss': (None, -_softplus(SAMPLES)),
  'discriminator_square_loss': ((REAL - 1) ** 2, SAMPLES**2),
  'generator_square_loss': (None, -(SAMPLES**2)),
  'discriminator_square_loss_with_sigmoid': (
    (_sigmoid(REAL) - 1) ** 2,
    _sigmoid(SAMPLES) ** 2,
  ),
  'generator_square_loss_with_sigmoid': (None, -(_sigmoid(SAMPLES) ** 2)),
  'wasserstein_discriminator_loss': (-REAL, SAMPLES),
  'wasserstein_generator_loss': (REAL, -SAMPLES),
}


@pytest.mark.parametrize('name', EXPECTED)
def test_loss(name):
  data, samples = (
    None if part is None else part.mean() for part in EXPECTED[name]
  )
  output = getattr(losses, name)(jnp.asarray(REAL), jnp.asarray(SAMPLES))
  player = 'disc' if 'discriminator' in name else 'gen'
  components = {f'{player}_samples_loss': samples}
  if data is not None:
    components[f'{player}_data_loss'] = data
  assert output.components.keys() == components.keys()
  for key, value in components.items():
    np.testing.assert_allclose(output.components[key], value, rtol=1e-5)
  np.testing.assert_allclose(
    output.total, sum(components.values()), rtol=1e-5, atol=1e-6
  )


def test_binary_cross_entropy():
  logits, targets = np.array([-1.0, 0.5, 3.0]), np.array([0.0, 1.0, 0.3])
  p = _sigmoid(logits)
  expected = -targets * np.log(p) - (1 - targets) * np.log(1 - p)
  np.testing.assert_allclose(
    losses.binary_cross_entropy_loss(logits, targets),
    expected.mean(),
    rtol=1e-5,
  )


def test_goodfellow_loss_of_large_outputs_is_finite():
  large = jnp.array([1e4, -1e4])
  loss = lambda x: losses.discriminator_goodfellow_loss(x, x).total
  np.testing.assert_allclose(loss(large), 1e4, rtol=1e-6)
  assert np.isfinite(jax.grad(loss)(large)).all()


def test_gradient_penalty_of_a_quadratic_critic():
  """D(x) = ‖x‖²/2 has the gradient x: each example's point is seen."""
  key = jax.random.PRNGKey(0)
  rng = np.random.default_rng(0)
  real, samples = rng.normal(size=(2, 5, 2, 3)).astype(np.float32)
  critic = lambda x: jnp.sum(x**2, axis=(1, 2), keepdims=True)[..., 0] / 2
  u = np.asarray(jax.random.uniform(key, (5, 1, 1)))
  between = real + u * (samples - real)
  norms = np.sqrt(1e-5 + np.sum(between**2, axis=(1, 2)))
  np.testing.assert_allclose(
    losses.wgan_gradient_penalty_loss(critic, key, real, samples),
    np.mean((norms - 1) ** 2),
    rtol=1e-5,
  )


def test_gradient_penalty_is_differentiable_where_the_critic_is_flat():
  def penalty(scale):
    return losses.wgan_gradient_penalty_loss(
      lambda x: scale * x,
      jax.random.PRNGKey(0),
      jnp.ones((2, 1)),
      jnp.ones((2, 1)),
    )

  np.testing.assert_allclose(penalty(0.0), (np.sqrt(1e-5) - 1) ** 2, rtol=1e-5)
  assert np.isfinite(jax.grad(penalty)(0.0))
