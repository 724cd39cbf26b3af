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
"""Sampling for evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import gan
from dd_two_player_games import losses
from dd_two_player_games import model_utils
from dd_two_player_games import nets

DEVICES = 4


@pytest.fixture(scope='module')
def model():
  """A generator with batch norm: (GAN, params, state)."""
  built = gan.GAN(
    players_hk=gan.GANTuple(
      disc=nets.DCGANDiscriminator, gen=nets.DCGANGenerator
    ),
    losses=gan.GANTuple(
      disc=losses.discriminator_goodfellow_loss,
      gen=losses.generator_saturating_loss,
    ),
    penalties=gan.GANTuple(disc=None, gen=None),
    player_param_transformers=gan.GANTuple(disc=None, gen=None),
    players_kwargs=gan.GANTuple(
      disc={'channels': [2]}, gen={'channels': [4], 'output_size': 8}
    ),
    num_latents=3,
  )
  initial = jax.vmap(
    built.initial_params, axis_name='i', axis_size=1, in_axes=(None, None)
  )
  params, state = jax.tree.map(
    lambda leaf: leaf[0],
    jax.jit(initial)(jax.random.PRNGKey(0), jnp.zeros((2, 8, 8, 1))),
  )
  return built, params, state


def test_samples_on_one_device(model):
  built, params, state = model
  sampler = model_utils.Sampler(built, params, state, pmap=False)
  key = jax.random.PRNGKey(1)
  samples = sampler.sample_batch(5, key)
  assert samples.shape == (5, 8, 8, 1)
  # What a batch holds besides changes no sample: batch norm uses the state.
  latents = jax.random.normal(key, (5, 3))
  apply = jax.jit(functools.partial(built._gen.apply, is_training=False))
  for k in (0, 4):
    alone, _ = apply(params.gen, state.players.gen, latents[k : k + 1])
    np.testing.assert_allclose(samples[k], alone[0], rtol=1e-5, atol=1e-6)
  assert np.abs(samples[0] - samples[4]).max() > 1e-4


def test_samples_on_all_devices(model):
  built, params, state = model
  keys = jax.random.split(jax.random.PRNGKey(1), DEVICES)
  mapped = model_utils.Sampler(
    built, *model_utils.put_on_local_devices((params, state))
  )
  single = model_utils.Sampler(built, params, state, pmap=False)
  samples = mapped.sample_batch(2, keys)
  assert samples.shape == (DEVICES, 2, 8, 8, 1)
  for device in range(DEVICES):
    np.testing.assert_allclose(
      samples[device],
      single.sample_batch(2, keys[device]),
      rtol=1e-5,
      atol=1e-6,
    )


def test_sampling_leaves_the_state_alone(model):
  built, params, state = model
  before = jax.tree.map(np.array, state)
  sampler = model_utils.Sampler(built, params, state, pmap=False)
  first = sampler.sample_batch(2, jax.random.PRNGKey(1))
  np.testing.assert_array_equal(
    first, sampler.sample_batch(2, jax.random.PRNGKey(1))
  )
  jax.tree.map(np.testing.assert_array_equal, state, before)
