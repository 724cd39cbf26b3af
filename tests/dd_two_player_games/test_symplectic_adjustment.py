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
"""The symplectic adjustment of a config, in games of either kind."""

import haiku as hk
import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import regularizer_estimates

Terms = drift_utils.PlayerRegularizationTerms
LAM = 0.6
KEY = jax.random.PRNGKey(3)
DATA = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)


class Smooth(hk.Module):
  """A small network without kinks."""

  def __init__(self, out_dim=1):
    super().__init__(name='smooth')
    self._out_dim = out_dim

  def __call__(self, x, is_training=True):
    return hk.Linear(self._out_dim)(jnp.tanh(hk.Linear(3)(x)))


def _of_config(grad_regularizes):
  """What the coefficients of a config are to the gradients' calculator."""
  explicit = grad_regularizes['explicit_non_dd_coeffs']
  return gan.GANTuple(*(Terms(**explicit[p]) for p in gan.GANTuple._fields))


def _game(generator_loss):
  """((coefficients) -> directions, ξ, J) of a game at its start, all flat."""
  model = gan.GAN(
    players_hk=gan.GANTuple(Smooth, Smooth),
    losses=gan.GANTuple(losses.discriminator_goodfellow_loss, generator_loss),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {'out_dim': 2}),
    num_latents=3,
  )
  params, state = model.initial_params(KEY, DATA)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn, use_pmean=False
  )
  flat, unflatten = flatten_util.ravel_pytree(params)

  def directions(coeffs, flat=flat):
    grads, _ = calculator.both_player_grads(
      unflatten(flat), state, DATA, DATA, KEY, KEY, True, coeffs
    )
    return flatten_util.ravel_pytree(grads)[0]

  zeros = gan.GANTuple(Terms(0.0, 0.0, 0.0), Terms(0.0, 0.0, 0.0))
  plain = lambda flat: directions(zeros, flat)
  return directions, plain(flat), jax.jacobian(plain)(flat)


@pytest.mark.slow
@pytest.mark.parametrize(
  'generator_loss',
  [losses.generator_goodfellow_loss, losses.generator_saturating_loss],
)
def test_adds_the_antisymmetric_product(generator_loss):
  directions, xi, jacobian = _game(generator_loss)
  found = directions(_of_config(base_config.sga(LAM)))
  expected = xi + LAM / 2 * (jacobian.T - jacobian) @ xi
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  assert np.abs(expected - xi).max() > 1e-3


def test_is_the_published_recipe_in_a_zero_sum_game():
  directions, _, _ = _game(losses.generator_saturating_loss)
  published = gan.GANTuple(*(Terms(0.0, 0.0, LAM) for _ in range(2)))
  np.testing.assert_allclose(
    directions(_of_config(base_config.sga(LAM))),
    directions(published),
    rtol=1e-5,
    atol=1e-6,
  )
