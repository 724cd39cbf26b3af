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
"""The training step as one writes it first: what the project is timed against.

Haiku's own layers, and so XLA's convolutions; one compiled step a call from
the host, which also indexes and scales each batch; each regulariser the
gradient of a dot product of gradients, one after the other; one pass of the
discriminator over real and generated images together. The mathematics is the
project's: `tests/benchmarks/test_textbook.py` compares the gradients.

Simultaneous and Runge-Kutta updates by SGD, with the unbiased estimator.
"""

import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from dd_two_player_games import losses

TERMS = ('self_norm', 'other_dot_prod', 'other_norm')


def _cifar_disc(x, is_training=True):
  del is_training
  channels = [64, 64, 128, 128, 256, 256, 512]
  for i, output_channels in enumerate(channels):
    conv = hk.Conv2D(output_channels, 3 + i % 2, stride=1 + i % 2)
    x = jax.nn.leaky_relu(conv(x), 0.1)
  return hk.Linear(1)(hk.Flatten()(x))


def _cifar_gen(x, is_training=True):
  x = hk.Linear(4 * 4 * 512)(x).reshape(-1, 4, 4, 512)
  for channels in (256, 128, 64):
    x = hk.Conv2DTranspose(channels, 4, stride=2)(x)
    batch_norm = hk.BatchNorm(True, True, decay_rate=0.999)
    x = jax.nn.relu(batch_norm(x, is_training))
  return jnp.tanh(hk.Conv2DTranspose(3, 3, stride=1)(x))


def _mnist_disc(x, is_training=True):
  del is_training
  channels = [8, 16, 32, 64, 128]
  for i, output_channels in enumerate(channels):
    conv = hk.Conv2D(output_channels, 5, stride=2 - i % 2)
    x = jax.nn.leaky_relu(conv(x), 0.2)
  return hk.Linear(1)(hk.Flatten()(x))


def _mnist_gen(x, is_training=True):
  del is_training
  x = jax.nn.relu(hk.Linear(7 * 7 * 64)(x).reshape(-1, 7, 7, 64))
  x = jax.nn.relu(hk.Conv2DTranspose(32, 5, stride=2)(x))
  return jnp.tanh(hk.Conv2DTranspose(1, 5, stride=2)(x))


def _mlp(x, is_training=True, depth=4, hidden_size=25, out_dim=1):
  del is_training
  return hk.nets.MLP([hidden_size] * depth + [out_dim])(x)


NETWORKS = {
  'CifarDiscriminator': _cifar_disc,
  'CifarGenerator': _cifar_gen,
  'MnistDiscriminator': _mnist_disc,
  'MnistGenerator': _mnist_gen,
  'SimpleMLP': _mlp,
}
# Stages of the Runge-Kutta rules: weights in the step, scales of the stages.
RUNGE_KUTTA = {1: ([1.0], []), 2: ([1 / 2, 1 / 2], [1.0])}
RUNGE_KUTTA[4] = ([1 / 6, 1 / 3, 1 / 3, 1 / 6], [1 / 2, 1 / 2, 1.0])


def dot_product(tree1: Any, tree2: Any) -> jax.Array:
  """The inner product of two trees."""
  return sum(
    jnp.sum(a * b)
    for a, b in zip(jax.tree.leaves(tree1), jax.tree.leaves(tree2), strict=True)
  )


class Textbook:
  """A GAN whose players are the dict keys 'disc' and 'gen'."""

  def __init__(self, config: config_dict.ConfigDict):
    """Builds the networks of a full config of `dd_two_player_games`."""
    self._training = config.training
    nets = config.nets
    disc = functools.partial(NETWORKS[nets.discriminator], **nets.disc_kwargs)
    gen = functools.partial(NETWORKS[nets.generator], **nets.gen_kwargs)
    self._disc = hk.without_apply_rng(hk.transform_with_state(disc))
    self._gen = hk.without_apply_rng(hk.transform_with_state(gen))
    self._spectral_norm = hk.without_apply_rng(
      hk.transform_with_state(
        lambda params, update_stats: hk.SNParamsTree(
          ignore_regex='.*b$', eps=1e-12, n_steps=1
        )(params, update_stats)
      )
    )
    self._uses_spectral_norm = (
      config.param_transformers.discriminator == 'spectral_norm'
    )
    self._disc_loss_fn = getattr(losses, config.losses.discriminator)
    self._gen_loss_fn = getattr(losses, config.losses.generator)
    self._learning_rates = {
      'disc': config.optimizers.discriminator.lr,
      'gen': config.optimizers.generator.lr,
    }
    self._optimizers = {
      player: optax.sgd(rate) for player, rate in self._learning_rates.items()
    }
    self._coeffs = self._coefficients()
    self.step = jax.jit(self._step, donate_argnums=0)

  def init(self, key: jax.Array, batch: np.ndarray) -> dict[str, Any]:
    """The state at the start: parameters, states, optimisers' states."""
    keys = jax.random.split(key, 3)
    latents = jnp.zeros((len(batch), self._training.num_latents))
    gen_params, gen_state = self._gen.init(keys[0], latents)
    disc_params, disc_state = self._disc.init(keys[1], batch)
    _, norm_state = self._spectral_norm.init(keys[2], disc_params, True)
    params = {'disc': disc_params, 'gen': gen_params}
    return {
      'params': params,
      'state': {'disc': disc_state, 'gen': gen_state, 'norm': norm_state},
      'opt_state': {
        player: optimizer.init(params[player])
        for player, optimizer in self._optimizers.items()
      },
    }

  @property
  def num_draws(self) -> int:
    """Batches, and keys, that a step takes."""
    if self._training.simultaneous_updates:
      return 2
    return 2 * self._training.runge_kutta_order

  def disc_loss(self, params, state, batch, key):
    """The discriminator's loss, and the states it renews."""
    outputs, new_state = self._outputs(params, state, batch, key, True)
    return self._disc_loss_fn(*outputs).total, new_state

  def gen_loss(self, params, state, batch, key):
    """The generator's loss, and the states it renews."""
    outputs, new_state = self._outputs(params, state, batch, key, False)
    return self._gen_loss_fn(*outputs).total, new_state

  def _outputs(self, params, state, batch, key, update_stats):
    latents = jax.random.normal(key, (len(batch), self._training.num_latents))
    samples, gen_state = self._gen.apply(params['gen'], state['gen'], latents)
    disc_params, norm_state = params['disc'], state['norm']
    if self._uses_spectral_norm:
      disc_params, norm_state = self._spectral_norm.apply(
        {}, norm_state, disc_params, update_stats
      )
    outputs, disc_state = self._disc.apply(
      disc_params, state['disc'], jnp.concatenate([batch, samples])
    )
    new_state = {'disc': disc_state, 'gen': gen_state, 'norm': norm_state}
    return jnp.split(outputs, 2), new_state

  def player_grads(self, player, params, state, batch, key):
    """A player's gradient with its regularisers, and the states it renews."""
    grads, new_state = self._grad(player, player)(params, state, batch, key)
    halves = jnp.split(batch, 2)
    keys = jax.random.split(key)
    other = {'disc': 'gen', 'gen': 'disc'}[player]
    factors = {  # Losses, and the players in whose parameters they vary.
      'self_norm': ((player, player), (player, player)),
      'other_dot_prod': ((player, other), (other, other)),
      'other_norm': ((other, other), (other, other)),
    }
    for term in TERMS:
      coeff = self._coeffs[player][term]
      if not coeff:
        continue
      first, second = (self._grad(*factor) for factor in factors[term])

      def product(own, first=first, second=second):
        moved = {**params, player: own}
        stopped, _ = second(moved, state, halves[1], keys[1])
        return dot_product(
          first(moved, state, halves[0], keys[0])[0],
          jax.lax.stop_gradient(stopped),
        )

      regularizer = jax.grad(product)(params[player])
      grads = jax.tree.map(lambda g, r, c=coeff: g + c * r, grads, regularizer)
    return grads, new_state

  def _grad(self, loss_of, player):
    loss = {'disc': self.disc_loss, 'gen': self.gen_loss}[loss_of]

    def grad(params, *args):
      def own_loss(own):
        return loss({**params, player: own}, *args)

      return jax.grad(own_loss, has_aux=True)(params[player])

    return grad

  def _coefficients(self):
    """Of simultaneous updates: multiplier × lr / 2 + explicit coefficient."""
    settings = self._training.grad_regularizes
    return {
      player: {
        term: settings.dd_coeffs_multiplier[player][term]
        * (0.0 if term == 'other_norm' else rate / 2)
        + settings.explicit_non_dd_coeffs[player][term]
        for term in TERMS
      }
      for player, rate in self._learning_rates.items()
    }

  def _step(self, train_state, batches, keys):
    params, state = train_state['params'], train_state['state']

    def field(stage_params, stage):
      disc, disc_state = self.player_grads(
        'disc', stage_params, state, batches[stage], keys[stage]
      )
      k = len(batches) // 2 + stage
      gen, gen_state = self.player_grads(
        'gen', stage_params, state, batches[k], keys[k]
      )
      return {'disc': disc, 'gen': gen}, {**disc_state, 'gen': gen_state['gen']}

    if self._training.simultaneous_updates:
      grads, new_state = field(params, 0)
    else:
      grads, new_state = self._runge_kutta(field, params)
    opt_state = {}
    for player, optimizer in self._optimizers.items():
      update, opt_state[player] = optimizer.update(
        grads[player], train_state['opt_state'][player]
      )
      params = {**params, player: optax.apply_updates(params[player], update)}
    return {'params': params, 'state': new_state, 'opt_state': opt_state}

  def _runge_kutta(self, field, params):
    weights, scales = RUNGE_KUTTA[self._training.runge_kutta_order]
    stages = [field(params, 0)]
    for k, scale in enumerate(scales):
      step_size = scale * self._learning_rates['disc']
      moved = jax.tree.map(lambda p, g: p - step_size * g, params, stages[k][0])  # noqa: B023
      stages.append(field(moved, k + 1))
    grads = jax.tree.map(
      lambda *gs: sum(w * g for w, g in zip(weights, gs, strict=True)),
      *(stage[0] for stage in stages),
    )
    return grads, stages[0][1]


def host_batches(examples: np.ndarray, num: int, batch_size: int, seed: int):
  """Yields lists of `num` random batches, indexed and scaled by the host."""
  rng = np.random.default_rng(seed)
  while True:
    batches = []
    for _ in range(num):
      batch = examples[rng.integers(len(examples), size=batch_size)]
      if batch.dtype == np.uint8:
        batch = batch.astype(np.float32) / 127.5 - 1.0
      batches.append(batch)
    yield batches
