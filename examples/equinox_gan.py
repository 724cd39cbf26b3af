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
"""A GAN of Equinox networks: docs/extending.md.

`./run.sh train examples/equinox_gan.py` trains it.
"""

import functools

import equinox as eqx
import jax

from dd_two_player_games import base_config


class EquinoxMLP:
  """An Equinox module as `init` and `apply` of params and state."""

  def __init__(self, in_size: int, out_size: int, width: int = 128):
    self._sizes = (in_size, out_size, width)

  def _make(self, rng):
    return eqx.nn.MLP(*self._sizes, depth=3, key=rng)

  @functools.cached_property
  def _static(self):
    """All of a module that is no array, such as its activation."""
    key = jax.ShapeDtypeStruct((2,), 'uint32')  # No device is asked.
    shapes = eqx.filter_eval_shape(self._make, key)
    return eqx.filter(
      shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct), inverse=True
    )

  def init(self, rng, x):
    del x
    return eqx.filter(self._make(rng), eqx.is_array), {}

  def apply(self, params, state, x, is_training):
    del is_training
    return jax.vmap(eqx.combine(params, self._static))(x), state


def get_config():
  """The mixture of Gaussians, by alternating steps of Adam."""
  config = base_config.get_base_config()
  config.training_steps = 5000
  experiment = config.experiment_kwargs.config
  experiment.dataset = 'mixture_of_gaussians'
  experiment.data_processor = 'PointProcessor'
  experiment.training.num_latents = 32
  experiment.nets.generator = f'{__file__}:EquinoxMLP'
  experiment.nets.gen_kwargs = {'in_size': 32, 'out_size': 2}
  experiment.nets.discriminator = f'{__file__}:EquinoxMLP'
  experiment.nets.disc_kwargs = {'in_size': 2, 'out_size': 1}
  experiment.losses.generator = 'generator_goodfellow_loss'
  for player in ('discriminator', 'generator'):
    experiment.optimizers[player].name = 'adam'
    experiment.optimizers[player].lr = 5e-4
    experiment.optimizers[player].kwargs = {'b1': 0.5}
  return config
