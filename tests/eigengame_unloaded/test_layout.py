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
"""Grids of devices: what they compute together is what one computes alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigengame_unloaded import eigengame
from eigengame_unloaded import layout

D, N = 6, 16
GRIDS = [(1, 2), (2, 1), (2, 2), (4, 1), (1, 4)]


def on_grid(function, grid, *args):
  """Runs a function of a data group's number on each device of a grid."""
  number = grid[0] * grid[1]
  run = jax.pmap(
    lambda _: function(*args),
    axis_name='i',
    devices=jax.local_devices()[:number],
  )
  return np.asarray(run(jnp.arange(number)))


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('k', [4, 5, 7])
def test_gather_undoes_own(grid, k):
  players = layout.Layout(k, *grid)
  rows = jnp.arange(2.0 * k).reshape(k, 2)
  result = on_grid(lambda: players.gather(players.own(rows)), grid)
  for copy in result:
    np.testing.assert_array_equal(copy, rows)


def test_last_groups_are_filled_with_zeros():
  players = layout.Layout(5, player_groups=4)
  rows = on_grid(lambda: players.own(jnp.arange(1.0, 6.0)), (4, 1))
  np.testing.assert_array_equal(rows, [[1, 2], [3, 4], [5, 0], [0, 0]])


def test_devices_of_a_grid():
  players = layout.Layout(4, player_groups=2, data_groups=2)
  first_player = on_grid(lambda: players.own(jnp.arange(4))[0], (2, 2))
  np.testing.assert_array_equal(first_player, [0, 0, 2, 2])
  groups = on_grid(lambda: jnp.asarray(players.data_group()), (2, 2))
  np.testing.assert_array_equal(groups, [0, 1, 0, 1])
  means = on_grid(
    lambda: players.mean_over_data(1.0 * jax.lax.axis_index('i')), (2, 2)
  )
  np.testing.assert_array_equal(means, [0.5, 0.5, 2.5, 2.5])


def direction(name, players, eigenvectors, examples):
  size = N // players.data_groups
  batch = jax.lax.dynamic_slice_in_dim(
    examples, players.data_group() * size, size
  )
  own = players.own(eigenvectors)
  images = players.mean_over_data(own @ batch.T @ batch / size)
  weights = eigengame.player_weights(players.num_players)
  return players.gather(
    eigengame.METHODS[name].direction(
      eigenvectors, images, players.own(weights), players.gather
    )
  )


@pytest.mark.quick_cases(9)
@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('name', eigengame.METHODS)
def test_direction_is_that_of_one_device(grid, name):
  random = np.random.default_rng(0)
  k = 5  # Divisible by neither two nor four.
  eigenvectors = jnp.asarray(random.standard_normal((k, D)), jnp.float32)
  examples = jnp.asarray(random.standard_normal((N, D)), jnp.float32)
  compute = functools.partial(direction, name)
  expected = compute(layout.Layout(k), eigenvectors, examples)
  result = on_grid(
    compute, grid, layout.Layout(k, *grid), eigenvectors, examples
  )
  # Sums of float32 in another order.
  np.testing.assert_allclose(result[0], expected, rtol=1e-4, atol=1e-5)
  for copy in result[1:]:
    np.testing.assert_array_equal(copy, result[0])
