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
"""The n-player library on a GAN's two losses against the GAN's calculator."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import regularizer_estimates
from differentiable_games import adjustments
from differentiable_games import game


class Network(hk.Module):
  def __init__(self, size):
    super().__init__()
    self._size = size

  def __call__(self, x, is_training=True):
    return hk.nets.MLP([5, self._size], activation=jnp.tanh)(x)


def _model():
  return gan.GAN(
    players_hk=gan.GANTuple(Network, Network),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_goodfellow_loss
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({'size': 1}, {'size': 2}),
    num_latents=3,
  )


# A player's self_norm, other_dot_prod and other_norm, the discriminator first,
# and what they are in the library.
CASES = {
  'gradient': (
    ((0, 0, 0), (0, 0, 0)),
    game.simultaneous_gradient,
  ),
  'drift': (
    ((0.3, -0.2, 0), (0.4, 0.7, 0)),
    lambda both, params: adjustments.drift_adjusted(
      both, params, [[0.3, -0.2], [0.7, 0.4]]
    ),
  ),
  'consensus': (
    ((0.6, 0, 0.6), (0.6, 0, 0.6)),
    lambda both, params: adjustments.consensus(both, params, 0.6),
  ),
  'symplectic': (
    ((0, -0.3, 0.3), (0, -0.3, 0.3)),
    lambda both, params: adjustments.symplectic_gradient(both, params, 0.6),
  ),
}


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('name', CASES)
def test_two_players_are_the_gans(name):
  terms, adjusted = CASES[name]
  model = _model()
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn, use_pmean=False
  )
  coeffs = gan.GANTuple(
    *(drift_utils.PlayerRegularizationTerms(*own) for own in terms)
  )
  rng = jax.random.PRNGKey(1)
  batch = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)

  @jax.jit
  def both_ways(rng, batch):
    params, state = model.initial_params(rng, batch)
    expected, _ = calculator.both_player_grads(
      params, state, batch, batch, rng, rng, True, coeffs
    )

    def loss_of(method):
      return lambda p: method(p, state, batch, rng, True)[0]

    both = (loss_of(model.disc_loss), loss_of(model.gen_loss))
    return adjusted(both, params), expected

  found, expected = both_ways(rng, batch)
  assert isinstance(found, gan.GANTuple)
  jax.tree.map(
    lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-6),
    found,
    expected,
  )
