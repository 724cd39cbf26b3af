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
"""Trains GANs of points drawn anew at each step, many of them in one program.

The points have one dimension, and so has the noise that a generator takes.
"""

from collections.abc import Callable
import functools
from typing import Any

import haiku as hk
import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np

from dd_two_player_games import base_config
from dd_two_player_games import training
from jaxline_harness import prng


class LocationScale(hk.Module):
  """The generator m + exp(s) z."""

  def __init__(self, scales: bool = True, name: str | None = None):
    """Initialises the generator.

    Args:
      scales: whether s is learnt; else it is 0.
      name: of the module.
    """
    super().__init__(name=name)
    self._scales = scales

  def __call__(self, latents: jax.Array, is_training: bool = True) -> jax.Array:
    location = hk.get_parameter('location', (1,), init=jnp.zeros)
    if not self._scales:
      return location + latents
    log_scale = hk.get_parameter('log_scale', (1,), init=jnp.zeros)
    return location + jnp.exp(log_scale) * latents


def make_config(
  losses: tuple[str, str], lr: tuple[float, float], **training_settings: Any
) -> config_dict.ConfigDict:
  """The config of such a GAN, `experiment_kwargs.config`.

  Args:
    losses: the discriminator's and the generator's.
    lr: Adam's learning rates of both.
    **training_settings: fields of `training`.
  """
  config = base_config.get_base_config()
  settings = config.experiment_kwargs.config
  settings.dataset = 'gaussian_75'  # Not read: the points are given.
  settings.data_processor = 'PointProcessor'
  settings.nets.discriminator = 'SimpleMLP'
  settings.nets.disc_kwargs = {'depth': 2, 'hidden_size': 32}
  settings.nets.generator = f'{__file__}:LocationScale'
  settings.param_transformers.discriminator = None
  settings.training.num_latents = 1
  for player, loss, rate in zip(
    ('discriminator', 'generator'), losses, lr, strict=True
  ):
    settings.losses[player] = loss
    optimizer = settings.optimizers[player]
    optimizer.name, optimizer.lr = 'adam', rate
    optimizer.kwargs = {'b1': 0.5}
  with settings.unlocked():
    settings.training.update(training_settings)
  return base_config.resolve(config).experiment_kwargs.config


def train(
  settings: config_dict.ConfigDict,
  draw_data: Callable[[jax.Array], jax.Array],
  members: Any,
  begin: Callable[[Any, Any], Any],
  look: Callable[[Any, training.TrainState, jax.Array], Any],
  num_steps: int,
  num_looks: int,
) -> Any:
  """Trains all members at once.

  Args:
    settings: the experiment's config.
    draw_data: maps a key to a batch.
    members: a tree with the members along the first axis of its arrays.
    begin: maps a GANTuple of initial parameters, and a member, to the start.
    look: maps the GAN, a TrainState and a key to what is kept of it.
    num_steps: of each.
    num_looks: how often to look, evenly, the first time at the start.

  Returns:
    What `look` gives, `(members, num_looks, …)`.
  """
  model = training.build_gan(settings)
  trainer = training.Trainer(settings, model)

  def step(key, state, _):
    def draw(k):
      number = state.global_step * trainer.num_draws + k
      data_key, gan_key = jax.random.split(jax.random.fold_in(key, number))
      return draw_data(data_key), gan_key

    state, _ = trainer.step(state, draw)
    return state._replace(global_step=state.global_step + 1), None

  def train_member(number, member):
    key = jax.random.fold_in(jax.random.PRNGKey(0), number)
    init_key, run_key = jax.random.split(key)
    run_key = prng.step_key(run_key)
    state = trainer.initial_state(init_key, draw_data(init_key)[:2])
    params = begin(state.params, member)
    state = state._replace(params=params, opt_state=trainer.init(params))

    def move_on(state, _):
      seen = look(model, state, jax.random.fold_in(run_key, 0))
      state, _ = lax.scan(
        functools.partial(step, run_key),
        state,
        length=num_steps // (num_looks - 1),
      )
      return state, seen

    state, seen = lax.scan(move_on, state, length=num_looks - 1)
    last = look(model, state, jax.random.fold_in(run_key, 0))
    return jax.tree.map(
      lambda before, at_end: jnp.concatenate([before, at_end[None]]), seen, last
    )

  numbers = np.arange(len(jax.tree.leaves(members)[0]))
  # The axis of the devices, of which there is one.
  on_device = jax.vmap(
    jax.vmap(train_member), in_axes=None, axis_name=training.AXIS, axis_size=1
  )
  return jax.tree.map(
    lambda leaf: np.asarray(leaf[0]), jax.jit(on_device)(numbers, members)
  )
