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
"""Symplectic gradient adjustment on linear games."""

from collections.abc import Iterator
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from claims import declaration
from claims.measurements import random_games
from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import rules

_NUM_PLAYERS = 4


def measure_rates(seed: int) -> Iterator[declaration.Row]:
  """At which learning rates a game of four players converges.

  J has 0.01 on its diagonal and is antisymmetric and random besides.

  Yields:
    For each method, the share of 60 learning rates from 0.001 to 10 with which
    1,000 steps come to within a hundredth of the first distance.
  """
  random = np.random.default_rng(seed)
  raw = random.normal(size=(_NUM_PLAYERS, _NUM_PLAYERS))
  jacobian = jnp.asarray(0.01 * np.eye(_NUM_PLAYERS) + (raw - raw.T) / 2)
  losses = random_games.make_linear(jacobian)
  start = tuple(jnp.asarray(random.normal(size=_NUM_PLAYERS)))
  fields = {
    'SGA': lambda p: adjustments.symplectic_gradient(losses, p, 1.0, True),
    'optimistic descent': lambda p: game.simultaneous_gradient(losses, p),
  }
  optimizers = {
    'SGA': optax.sgd,
    'optimistic descent': optax.optimistic_gradient_descent,
  }
  for name, field in fields.items():

    def shrinks(rate, name=name, field=field):
      rule = rules.simultaneous([optimizers[name](rate)] * _NUM_PLAYERS)
      points = jnp.stack(rules.trajectory(rule, field, start, 1000), axis=1)
      distances = jnp.linalg.norm(points, axis=1)
      return distances[-1] <= 0.01 * distances[0]

    rates = jnp.geomspace(1e-3, 10.0, 60)
    share = np.mean(jax.jit(jax.vmap(shrinks))(rates))
    yield {'method': name, 'share_of_rates': float(share)}


def measure_alignment(seed: int) -> Iterator[declaration.Row]:
  """To which fixed points SGA is drawn, with and without alignment.

  Of 100 random linear games the symmetric part of J is positive definite, or
  its opposite is; the rest is antisymmetric.

  Yields:
    For stable and unstable games, with each sign, the share in which 500 steps
    of 0.05 come nearer to the fixed point than a tenth.
  """
  random = np.random.default_rng(seed)
  raw = random.normal(size=(2, 100, _NUM_PLAYERS, _NUM_PLAYERS))
  symmetric = 0.05 * np.eye(_NUM_PLAYERS) + 0.05 * (
    raw[0] @ raw[0].swapaxes(1, 2)
  )
  antisymmetric = raw[1] - raw[1].swapaxes(1, 2)
  starts = jnp.asarray(random.normal(size=(100, _NUM_PLAYERS)))
  for name, sign in (('stable', 1.0), ('unstable', -1.0)):
    matrices = jnp.asarray(sign * symmetric + antisymmetric)
    for align in (False, True):
      nearer = np.asarray(_come_near(matrices, starts, align))
      yield {
        'fixed point': name,
        'sign': 'aligned' if align else 'fixed',
        'share_drawn': float(nearer.mean()),
      }


@functools.partial(jax.jit, static_argnums=2)
def _come_near(
  matrices: jax.Array, starts: jax.Array, align: bool
) -> jax.Array:
  def comes_near(matrix, start):
    losses = random_games.make_linear(matrix)
    rule = rules.simultaneous([optax.sgd(0.05)] * _NUM_PLAYERS)

    def field(params):
      return adjustments.symplectic_gradient(losses, params, 1.0, align)

    points = rules.trajectory(rule, field, tuple(start), 500)
    distances = jnp.linalg.norm(jnp.stack(points, axis=1), axis=1)
    return distances[-1] <= 0.1 * distances[0]

  return jax.vmap(comes_near)(matrices, starts)
