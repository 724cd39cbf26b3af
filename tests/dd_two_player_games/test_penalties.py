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
"""Penalties of the discriminator, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import penalties
from dd_two_player_games import regularizer_estimates
from tests.dd_two_player_games import small_experiments

NAMES = [name for name in dir(penalties) if 'penalty' in name]
KEY = jax.random.PRNGKey(3)


# The Dirac GAN: data at 0, samples at θ, D(x) = φ x, whose gradient is φ.


def dirac_value(name, phi):
  return {
    'r1_penalty': phi**2 / 2,
    'r2_penalty': phi**2 / 2,
    'zero_centred_gradient_penalty': phi**2,
    'wgan_gradient_penalty_loss': (np.sqrt(phi**2 + 1e-5) - 1) ** 2,
    'dragan_penalty': (np.sqrt(phi**2 + 1e-5) - 1) ** 2,
  }[name]


def dirac_slope(name, phi):
  return (dirac_value(name, phi + 1e-6) - dirac_value(name, phi - 1e-6)) / 2e-6


@pytest.mark.parametrize('name', NAMES)
def test_value_and_slope_on_the_dirac_gan(name):
  def value(phi, theta):
    return getattr(penalties, name)(
      lambda x: phi * x, KEY, jnp.zeros((4, 1)), jnp.full((4, 1), theta)
    )

  for phi in (1.7, 0.3, -0.8, 0.0):
    found, slopes = jax.value_and_grad(value, (0, 1))(phi, 1.1)
    np.testing.assert_allclose(found, dirac_value(name, phi), rtol=1e-5)
    np.testing.assert_allclose(
      slopes, (dirac_slope(name, phi), 0), rtol=1e-4, atol=1e-6
    )


def dirac_model(weighted):
  combined = penalties.combine(weighted)
  return gan.GAN(
    players_hk=gan.GANTuple(
      small_experiments.DiracDiscriminator, small_experiments.DiracGenerator
    ),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_saturating_loss
    ),
    penalties=gan.GANTuple(combined and gan.GANPenalty(*combined), None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {}),
    num_latents=1,
  )


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
  'names', [['r1_penalty'], ['wgan_gradient_penalty_loss', 'r2_penalty'], NAMES]
)
def test_penalties_are_part_of_the_loss_and_of_its_regularisers(names):
  """L_d = log 2 + softplus(φθ) + Σ γ P(φ), in every term of drift too."""
  coefficients = [0.7, 1.5, 0.2, 0.4, 3.0][: len(names)]
  weighted = [
    (getattr(penalties, name), coefficient)
    for name, coefficient in zip(names, coefficients, strict=True)
  ]
  model = dirac_model(weighted)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn
  )
  batch = jnp.zeros((4, 1))
  params, state = model.initial_params(KEY, batch)
  phi, theta = 1.3, -0.6
  params = gan.GANTuple(
    *(
      jax.tree.map(lambda w, v=value: jnp.full(w.shape, v), own)
      for own, value in zip(params, (phi, theta), strict=True)
    )
  )
  terms = gan.GANTuple(
    *(drift_utils.PlayerRegularizationTerms(0.3, -0.2, 0.1),) * 2
  )
  args = params, state, batch, KEY, True

  def everything(_):
    disc, _ = calculator.disc_grads(*args, terms)
    gen, _ = calculator.gen_grads(*args, terms)
    return model.disc_loss(*args)[0], disc, gen

  found = jax.vmap(everything, axis_name='i')(jnp.arange(2))
  found = [float(jax.tree.leaves(each)[0].ravel()[0]) for each in found]

  def total(of, at):
    return sum(
      c * of(name, at) for name, c in zip(names, coefficients, strict=True)
    )

  s = 1 / (1 + np.exp(-phi * theta))
  p = s * (1 - s)
  slope = total(dirac_slope, phi)
  h = 1e-3
  curvature = (total(dirac_slope, phi + h) - total(dirac_slope, phi - h)) / (
    2 * h
  )
  mixed = s + p * phi * theta
  d_d, g_g = s * theta + slope, -s * phi
  expected = [
    np.log(2) + np.log1p(np.exp(phi * theta)) + total(dirac_value, phi),
    d_d
    + 0.3 * (p * theta**2 + curvature) * d_d
    - 0.2 * mixed * g_g
    + 0.1 * -mixed * g_g,
    g_g + 0.3 * -p * phi**2 * g_g - 0.2 * -mixed * d_d + 0.1 * mixed * d_d,
  ]
  np.testing.assert_allclose(found, expected, rtol=2e-4)


# Where each looks, by D(x) = |x|²/2, whose gradient is x.


def quadratic(x):
  return jnp.sum(x**2, axis=(1, 2)) / 2


def test_where_each_penalty_looks():
  real, samples = np.random.default_rng(0).normal(size=(2, 5, 2, 3))
  real, samples = real.astype(np.float32), samples.astype(np.float32)

  def squares(x):
    return np.sum(np.square(x), axis=(1, 2))

  def found(name):
    return getattr(penalties, name)(quadratic, KEY, real, samples)

  np.testing.assert_allclose(found('r1_penalty'), squares(real).mean() / 2)
  np.testing.assert_allclose(found('r2_penalty'), squares(samples).mean() / 2)
  mix = np.asarray(jax.random.uniform(KEY, (5, 1, 1)))
  between = real + mix * (samples - real)
  np.testing.assert_allclose(
    found('zero_centred_gradient_penalty'), squares(between).mean(), rtol=1e-6
  )
  noise_key, mix_key = jax.random.split(KEY)
  noise = np.asarray(jax.random.uniform(noise_key, real.shape))
  mix = np.asarray(jax.random.uniform(mix_key, (5, 1, 1)))
  near = real + mix * real.std() / 2 * noise
  norms = np.sqrt(squares(near) + 1e-5)
  np.testing.assert_allclose(
    found('dragan_penalty'), np.mean((norms - 1) ** 2), rtol=1e-5
  )


@pytest.mark.parametrize('name', NAMES)
def test_of_several_outputs_the_norm_is_the_jacobians(name):
  """D(x) = A x has the Jacobian A everywhere."""
  matrix = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
  real, samples = jnp.ones((5, 4)), jnp.zeros((5, 4))
  found = getattr(penalties, name)(lambda x: x @ matrix.T, KEY, real, samples)
  np.testing.assert_allclose(
    found, dirac_value(name, np.linalg.norm(matrix)), rtol=1e-5
  )


def test_gradients_of_several_outputs_and_of_one():
  x = np.random.default_rng(2).normal(size=(5, 2, 3)).astype(np.float32)
  outputs = lambda x: jnp.stack([quadratic(x), jnp.sin(x[:, 0, 1])], axis=1)
  found = penalties.input_gradients(outputs, x)
  assert found.shape == (5, 2, 2, 3)
  np.testing.assert_allclose(found[:, 0], x, rtol=1e-6)
  second = np.zeros_like(x)
  second[:, 0, 1] = np.cos(x[:, 0, 1])
  np.testing.assert_allclose(found[:, 1], second, rtol=1e-5)
  one = penalties.input_gradients(quadratic, x)
  np.testing.assert_allclose(one, x[:, None], rtol=1e-6)


# Together.


def test_combine():
  assert penalties.combine([]) is None
  alone = (penalties.r1_penalty, 3.0)
  assert penalties.combine([alone]) == alone
  total, coefficient = penalties.combine([alone, (penalties.r2_penalty, 0.5)])
  args = quadratic, KEY, jnp.ones((2, 1, 1)), jnp.full((2, 1, 1), 2.0)
  assert coefficient * total(*args) == 3.0 * 0.5 + 0.5 * 2.0


def test_as_pairs():
  assert penalties.as_pairs(None) == []
  assert penalties.as_pairs(('r1_penalty', 2)) == [('r1_penalty', 2)]
  several = [['r1_penalty', 2], ('r2_penalty', 3.0)]
  assert penalties.as_pairs(several) == [('r1_penalty', 2), ('r2_penalty', 3.0)]


@pytest.mark.parametrize('name', NAMES)
def test_which_penalties_leave_the_samples_alone(name):
  real, samples = jnp.ones((4, 1, 1)), jnp.full((4, 1, 1), 2.0)
  penalty = getattr(penalties, name)
  slopes = jax.grad(lambda y: penalty(quadratic, KEY, real, y))(samples)
  assert np.any(slopes) == (penalty not in penalties.OF_DATA_ALONE)
