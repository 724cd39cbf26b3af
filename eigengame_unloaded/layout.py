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
"""Players over some devices and data over the others, both at once.

Devices form a grid, players' groups × data's groups, on one axis. Device
(p, q) computes the images of the p-th share of the players on the q-th share
of the minibatch. Images are averaged along q, directions collected along p:

```
           data 0     data 1
players 0  device 0   device 1   ← mean_over_data
players 1  device 2   device 3
              ↑ gather
```

V itself, and the optimiser's state, lie on every device, which all make the
same step: a device needs all of V for the penalties, and a checkpoint is one
replica. So memory for 2 to 3 arrays of k d floats and O(k d) elementwise work
are on every device, and a step sends k d / P + k d floats to each. What is
shared out is the work that matters, 4 N d k / (P Q) operations for the images
and 4 d k² / P for the penalties.

Where P does not divide k the last groups have fewer players, filled up with
zeros, which cost what players cost: with k = 5 and P = 4 each has places for 2,
and the last has none but zeros.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp


class Layout(NamedTuple):
  """Which device has which players and data.

  With one group of each, no axis is needed.

  Attributes:
    num_players: k.
    player_groups: P.
    data_groups: Q; there are P Q devices.
    axis_name: the axis of `pmap` or `shard_map`.
  """

  num_players: int
  player_groups: int = 1
  data_groups: int = 1
  axis_name: str = 'i'

  def own(self, rows: jax.Array) -> jax.Array:
    """This device's players' rows of `(k, ...)`, with zeros at the end."""
    if self.player_groups == 1:
      return rows
    size = -(-self.num_players // self.player_groups)
    missing = size * self.player_groups - self.num_players
    padded = jnp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
    group = lax.axis_index(self.axis_name) // self.data_groups
    return lax.dynamic_slice_in_dim(padded, group * size, size)

  def gather(self, own_rows: jax.Array) -> jax.Array:
    """All players' rows, `(k, ...)`: the inverse of `own`."""
    if self.player_groups == 1:
      return own_rows
    rows = lax.all_gather(
      own_rows,
      self.axis_name,
      axis_index_groups=self._grid_columns(),
      tiled=True,
    )
    return rows[: self.num_players]

  def data_group(self) -> jax.Array | int:
    """Which share of the minibatch this device has."""
    if self.data_groups == 1:
      return 0
    return lax.axis_index(self.axis_name) % self.data_groups

  def mean_over_data(self, x: jax.Array) -> jax.Array:
    """Averages over the devices that have the same players."""
    if self.data_groups == 1:
      return x
    return lax.pmean(x, self.axis_name, axis_index_groups=self._grid_rows())

  def _grid_rows(self) -> list[list[int]]:
    q = self.data_groups
    return [list(range(p * q, (p + 1) * q)) for p in range(self.player_groups)]

  def _grid_columns(self) -> list[list[int]]:
    q = self.data_groups
    return [
      list(range(column, self.player_groups * q, q)) for column in range(q)
    ]
