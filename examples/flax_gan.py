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
"""A GAN of Flax networks, with batch norm: docs/extending.md.

`./run.sh train examples/flax_gan.py` trains it.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from dd_two_player_games import base_config


class FlaxNetwork:
  """A Flax module as `init` and `apply` of params and state."""

  def __init__(self, module: nn.Module):
    self._module = module

  def init(self, rng, x):
    """The state is all that Flax keeps beside 'params'."""
    state = self._module.init(rng, x, is_training=True)
    params = state.pop('params')
    return params, state

  def apply(self, params, state, x, is_training):
    return self._module.apply(
      {'params': params, **state}, x, is_training, mutable=list(state)
    )


class Generator(nn.Module):
  """Images of 28 x 28 pixels."""

  width: int = 16

  @nn.compact
  def __call__(self, latents, is_training):
    x = nn.Dense(7 * 7 * 2 * self.width)(latents)
    x = x.reshape(-1, 7, 7, 2 * self.width)
    for features in (self.width, 1):
      # Statistics of a batch are those of all devices, along the axis 'i'.
      x = nn.BatchNorm(not is_training, axis_name='i')(x)
      x = nn.ConvTranspose(features, (4, 4), strides=(2, 2))(nn.relu(x))
    return jnp.tanh(x)


class Discriminator(nn.Module):
  """One number an image."""

  width: int = 16

  @nn.compact
  def __call__(self, x, is_training):
    del is_training
    for features in (self.width, 2 * self.width):
      x = nn.Conv(features, (4, 4), strides=(2, 2))(x)
      x = jax.nn.leaky_relu(x, 0.2)
    return nn.Dense(1)(x.reshape(x.shape[0], -1))


def make_generator(width: int = 16) -> FlaxNetwork:
  """What `nets.gen_kwargs` are arguments of."""
  return FlaxNetwork(Generator(width))


discriminator = FlaxNetwork(Discriminator())


def get_config():
  """Garments, by alternating steps of Adam."""
  config = base_config.get_base_config()
  config.training_steps = 1000
  experiment = config.experiment_kwargs.config
  experiment.nets.generator = f'{__file__}:make_generator'
  experiment.nets.gen_kwargs = {'width': 16}
  experiment.training.batch_size = 32
  experiment.nets.discriminator = f'{__file__}:discriminator'
  experiment.losses.generator = 'generator_goodfellow_loss'
  for player in ('discriminator', 'generator'):
    experiment.optimizers[player].name = 'adam'
    experiment.optimizers[player].lr = 2e-4
    experiment.optimizers[player].kwargs = {'b1': 0.5}
  return config
