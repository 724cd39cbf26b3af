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
"""Estimates of drift from minibatches: their bias and variance, exactly."""

from collections.abc import Iterator
import itertools
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from claims import declaration
from claims.measurements import random_games
from differentiable_games import adjustments
from differentiable_games import fields
from differentiable_games import game

_NUM_EXAMPLES = 6
_NUM_DEVICES = 4
_NUM_DRAWS = 2000
_PLAYER = 0


def _make_model(waves: random_games.Waves) -> game.Game:
  """A game whose losses are means over examples that shift the players."""

  def joint_losses(params, memory, draw):
    examples, _ = draw
    del memory

    def of_example(example):
      flat, unravel = ravel_pytree(params)
      moved = unravel(flat + example)
      return jnp.stack([loss(moved) for loss in waves.losses])

    values = jnp.mean(jax.vmap(of_example)(examples), axis=0)
    own_pass = game.Pass(None, {})
    return tuple(values), (own_pass,) * len(waves.phases)

  def loss_of(i):
    def loss(params, memory, draw):
      values, passes = joint_losses(params, memory, draw)
      return values[i], passes[i]

    return loss

  return game.Game([loss_of(0), loss_of(1)], joint_losses, ('first', 'second'))


def measure_bias(seed: int) -> Iterator[declaration.Row]:
  """The mean of each estimate over all minibatches of two, against the truth.

  Yields:
    For each estimator, the length of its bias over that of the truth; of the
    unbiased ones also the `deviation` over the same.
  """
  waves, params = random_games.make_waves(seed, (3, 2))
  examples = jnp.asarray(
    np.random.default_rng([seed, 1]).normal(size=(_NUM_EXAMPLES, 5))
  )
  products = _make_products(waves, fields.keep_whole, average=False)
  key = jax.random.PRNGKey(seed)
  truth = _estimate(products, params, examples, key)
  pairs = np.array(list(itertools.product(range(_NUM_EXAMPLES), repeat=2)))
  for name, split in (
    ('same minibatch', fields.keep_whole),
    ('halves', fields.halve),
  ):
    products = _make_products(waves, split, average=False)
    estimate = jax.jit(
      lambda batches, p=products: jax.lax.map(
        lambda batch: _estimate(p, params, batch, key), batches
      )
    )
    off = jnp.mean(estimate(examples[pairs]), axis=0) - truth
    yield {
      'estimator': name,
      'bias': float(jnp.linalg.norm(off) / jnp.linalg.norm(truth)),
    }


def measure_variance(seed: int) -> Iterator[declaration.Row]:
  """The variance over minibatches of what devices estimate together.

  Yields:
    The variance where the stopped factor is averaged over devices first, over
    that where it is not.
  """
  waves, params = random_games.make_waves(seed, (3, 2))
  random = np.random.default_rng([seed, 1])
  examples = jnp.asarray(random.normal(size=(_NUM_EXAMPLES, 5)))
  shape = (_NUM_DRAWS, _NUM_DEVICES, 4)
  batches = examples[random.integers(0, _NUM_EXAMPLES, shape)]
  variances = []
  for average in (True, False):
    products = _make_products(waves, fields.halve, average)
    on_devices = jax.vmap(
      lambda batch, p=products: jax.lax.pmean(
        _estimate(p, params, batch, jax.random.PRNGKey(0)), 'i'
      ),
      axis_name='i',
    )
    found = jax.jit(lambda b, f=on_devices: jax.lax.map(f, b))(batches)[:, 0]
    variances.append(float(jnp.sum(jnp.var(found, axis=0))))
  yield {'variance_ratio': variances[0] / variances[1]}


def _make_products(
  waves: random_games.Waves, split: Any, average: bool
) -> fields.Products:
  """Half a unit of the first player's interaction term."""
  return fields.Products(
    _make_model(waves),
    [[0.0, 0.5], [0.0, 0.0]],
    adjustments.constant_matrix(2, 0.0),
    fields.Estimator(split, average_stopped=average),
    axis_name='i' if average else None,
  )


def _estimate(
  products: fields.Products, params: Any, batch: jax.Array, key: jax.Array
) -> jax.Array:
  *_, found = products.estimate(params, (None, None), (batch, key), [_PLAYER])
  return ravel_pytree(found[_PLAYER])[0]
