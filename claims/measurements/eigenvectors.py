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
"""EigenGame's directions from minibatches, and on grids of devices."""

from collections.abc import Iterator
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from claims import declaration
from eigengame_unloaded import eigengame
from eigengame_unloaded import layout

_NUM_EXAMPLES, _DIM, _NUM_PLAYERS = 8, 6, 3


def measure_bias(seed: int) -> Iterator[declaration.Row]:
  """The mean direction over all minibatches of two, against the truth.

  Yields:
    For each method, the length of the bias over that of the direction of all
    examples.
  """
  random = np.random.default_rng(seed)
  examples = jnp.asarray(random.normal(size=(_NUM_EXAMPLES, _DIM)))
  eigenvectors = eigengame.normalize(
    jnp.asarray(random.normal(size=(_NUM_PLAYERS, _DIM)))
  )
  pairs = np.array(list(itertools.combinations(range(_NUM_EXAMPLES), 2)))
  weights = eigengame.player_weights(_NUM_PLAYERS)
  for name in ('mu_eigengame', 'alpha_eigengame'):

    def direction(batch, name=name):
      images = eigenvectors @ batch.T @ batch / len(batch)
      method = eigengame.METHODS[name]
      return method.direction(eigenvectors, images, weights)

    truth = direction(examples)
    mean = jnp.mean(jax.vmap(direction)(examples[pairs]), axis=0)
    bias = jnp.linalg.norm(mean - truth) / jnp.linalg.norm(truth)
    yield {'method': name, 'bias': float(bias)}


def measure_grids(seed: int) -> Iterator[declaration.Row]:
  """200 steps of μ-EigenGame on grids of four devices, against one device.

  Players are spread over P groups, the minibatch over Q.

  Yields:
    For each P × Q = 4, the largest difference of an entry of V.
  """
  random = np.random.default_rng(seed)
  scales = np.geomspace(3.0, 0.3, 20)
  batches = jnp.asarray(scales * random.normal(size=(200, 32, 20)))
  start = eigengame.normalize(jnp.asarray(random.normal(size=(5, 20))))
  alone = _climb(start, batches, (1, 1))
  for grid in ((1, 4), (2, 2), (4, 1)):
    off = np.abs(_climb(start, batches, grid) - alone).max()
    yield {'grid': f'{grid[0]} × {grid[1]}', 'difference': float(off)}


def _climb(
  start: jax.Array, batches: jax.Array, grid: tuple[int, int]
) -> np.ndarray:
  """V after a step on each batch, on a grid of devices."""
  players = layout.Layout(len(start), *grid)
  size = batches.shape[1] // players.data_groups
  weights = eigengame.player_weights(len(start))

  def step(eigenvectors, batch):
    part = jax.lax.dynamic_slice_in_dim(
      batch, players.data_group() * size, size
    )
    own = players.own(eigenvectors)
    images = players.mean_over_data(own @ part.T @ part / size)
    direction = eigengame.mu_eigengame(
      eigenvectors, images, players.own(weights), players.gather
    )
    moved = eigenvectors + 0.05 * players.gather(direction)
    return eigengame.normalize(moved), None

  number = grid[0] * grid[1]
  run = jax.pmap(
    lambda _: jax.lax.scan(step, start, batches)[0],
    axis_name='i',
    devices=jax.local_devices()[:number],
  )
  return np.asarray(run(jnp.arange(number)))[0]
