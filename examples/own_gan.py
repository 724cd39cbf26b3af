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
"""A network, losses and an update rule of one's own: docs/extending.md.

`./run.sh train examples/own_gan.py` trains them.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from configs import mixture_of_gaussians_config
from differentiable_games import rules


class Generator(hk.Module):
  """Points of the plane, by layers that are added to their inputs."""

  def __init__(self, width: int = 64, depth: int = 3, name: str | None = None):
    super().__init__(name=name)
    self._width, self._depth = width, depth

  def __call__(self, latents, is_training=True):
    x = hk.Linear(self._width)(latents)
    for _ in range(self._depth):
      x += hk.Linear(self._width)(jax.nn.gelu(x))
    return hk.Linear(2)(x)


def discriminator_loss(real_outputs, sample_outputs):
  """Real examples are to be more real than samples (relativistic GAN)."""
  return jnp.mean(jax.nn.softplus(sample_outputs - real_outputs))


def generator_loss(real_outputs, sample_outputs):
  """Samples are to be more real than real examples."""
  return jnp.mean(jax.nn.softplus(real_outputs - sample_outputs))


def pull_to_start(optimizers, share_draws):
  """Simultaneous steps, pulled to where they began by ever less."""
  rule = rules.simultaneous(optimizers, share_draws)

  def init(params):
    return rule.init(params), params, jnp.zeros(())

  def step(field, draw, carry):
    state, start, t = carry.state
    moved, logs = rule.step(field, draw, carry._replace(state=state))
    params = jax.tree.map(
      lambda p, s: p + 0.1 / (t + 10) * (s - p), moved.params, start
    )
    return rules.Carry(params, moved.memory, (moved.state, start, t + 1)), logs

  return rule._replace(init=init, step=step)


def get_config():
  """The config of the mixture of Gaussians, with these in place of its own."""
  config = mixture_of_gaussians_config.get_config()
  config.training_steps = 5000
  gan = config.experiment_kwargs.config
  gan.nets.generator = f'{__file__}:Generator'
  gan.nets.gen_kwargs = {'width': 128}
  gan.losses.discriminator = f'{__file__}:discriminator_loss'
  gan.losses.generator = f'{__file__}:generator_loss'
  gan.training.update_rule = f'{__file__}:pull_to_start'
  return config
