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
"""Which examples a step takes: pure functions of the step; their scale.

A draw is a function of a seed, its number and the device, so a run that stops
and goes on needs no iterator to be saved. Every epoch is a permutation without
replacement, computed for the wanted positions only: no permutation is ever
stored.
"""

import functools
import math
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from jaxline_harness import errors

# Four rounds for each half, twice what makes a Feistel network of good round
# functions look random to whoever sees fewer than sqrt(N) of its values.
_FEISTEL_ROUNDS = 8


def draw_indices(
  seed: Any,
  draw: Any,
  batch_size: int,
  num_examples: int,
  device_index: Any = 0,
  num_devices: int = 1,
) -> jax.Array:
  """Which examples a draw takes, or a device's share of them.

  Every epoch of `num_examples // batch_size` draws takes its batches from a
  permutation of its own, without replacement; what does not fill a batch is
  left out of that epoch. Only the wanted positions of the permutation are
  computed.

  Args:
    seed: an int32 or a JAX key; may be traced.
    draw: the number of the draw, from 0 to 2³¹ - 1; may be traced.
    batch_size: the size of the batch over all devices.
    num_examples: the size of the data set.
    device_index: from 0 to `num_devices - 1`; may be traced.
    num_devices: how many devices share the batch.

  Returns:
    The examples' indices, int32 `(batch_size // num_devices,)`. The devices'
    shares one after the other are the same batch for any number of them.

  Raises:
    UserError: there are fewer examples than one batch takes, or the batch does
      not divide evenly among the devices.
  """
  if not 0 < batch_size <= num_examples:
    raise errors.UserError(
      f'a batch of {batch_size} cannot be drawn without replacement from '
      f'{num_examples} examples.'
    )
  num_rows = _rows_per_device(batch_size, num_devices)
  draws_per_epoch = np.uint32(num_examples // batch_size)
  draw = jnp.asarray(draw).astype(jnp.uint32)
  epoch, draw_in_epoch = draw // draws_per_epoch, draw % draws_per_epoch
  start = jnp.asarray(device_index, jnp.uint32) * np.uint32(num_rows)
  first = draw_in_epoch * np.uint32(batch_size) + start
  positions = first + jnp.arange(num_rows, dtype=jnp.uint32)
  key = jax.random.fold_in(_as_key(seed), epoch)
  return _permute(key, positions, num_examples).astype(jnp.int32)


def draw_batch(
  examples: Any,
  seed: Any,
  draw: Any,
  global_batch_size: int,
  device_index: Any = 0,
  num_devices: int = 1,
) -> Any:
  """A device's share of a draw: the examples at its `draw_indices`.

  Args:
    examples: an array `(N, ...)`, or a pytree of such arrays.
    seed: see `draw_indices`; so are the other arguments.
    draw: the number of the draw.
    global_batch_size: the size of the batch over all devices.
    device_index: from 0 to `num_devices - 1`.
    num_devices: how many devices share the batch.

  Returns:
    The drawn examples, `(global_batch_size // num_devices, ...)` of their own
    type, in the structure of `examples`.
  """
  indices = draw_indices(
    seed,
    draw,
    global_batch_size,
    len(jax.tree.leaves(examples)[0]),
    device_index,
    num_devices,
  )
  return jax.tree.map(
    lambda x: jnp.asarray(x).at[indices].get(mode='promise_in_bounds'), examples
  )


def device_rows(rows: jax.Array, device_index: Any, num_devices: int) -> Any:
  """The rows of a batch that belong to a device.

  Args:
    rows: `(batch_size, ...)`, the same on all devices.
    device_index: from 0 to `num_devices - 1`; may be traced, as
      `lax.axis_index` is.
    num_devices: how many devices share the batch.

  Returns:
    Rows `[device_index b, (device_index + 1) b)`, `b = batch_size //
    num_devices`.

  Raises:
    UserError: the batch does not divide evenly among the devices.
  """
  size = _rows_per_device(len(rows), num_devices)
  return lax.dynamic_slice_in_dim(rows, device_index * size, size)


def scale_images(images: Any) -> Any:
  """Scales bytes to [-1, 1].

  Args:
    images: uint8, of any shape, from NumPy or JAX.

  Returns:
    float32 of the same shape and kind.
  """
  return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def check_batch_size(
  field: str,
  size: int,
  num_examples: int | None,
  examples: str,
  num_shards: int | None = None,
  shards: str = 'devices',
) -> None:
  """Checks that shards can share a batch, and that there are so many examples.

  Args:
    field: the setting that the size comes from.
    size: of a batch.
    num_examples: None where there is no end to them.
    examples: what they are called.
    num_shards: by default of all devices.
    shards: what those are called.

  Raises:
    UserError: they cannot, or there are not.
  """
  num_shards = num_shards or jax.device_count()
  if size % num_shards:
    raise errors.UserError(
      f'{field}={size} is not divisible by the number of {shards}, {num_shards}'
    )
  if num_examples is not None and size > num_examples:
    raise errors.UserError(
      f'{field}={size} is more than the {num_examples} {examples}'
    )


def _rows_per_device(batch_size: int, num_devices: int) -> int:
  if batch_size % num_devices:
    raise errors.UserError(
      f'a batch of {batch_size} does not divide evenly among {num_devices} '
      'devices.'
    )
  return batch_size // num_devices


def _as_key(seed: Any) -> jax.Array:
  """A typed key from a key of either kind or from an integer."""
  seed = jnp.asarray(seed)
  if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
    return seed
  if seed.ndim:
    return jax.random.wrap_key_data(seed)
  return jax.random.key(seed, impl='threefry2x32')


def _permute(
  key: jax.Array, positions: jax.Array, num_examples: int
) -> jax.Array:
  """Values of a random permutation of `range(num_examples)` at `positions`.

  A Feistel network on Z_rows × Z_columns is a bijection whatever its round
  functions are. Where the grid is larger than the data set, values beyond it
  walk on along their cycle until they are inside, which keeps the bijection.
  Positions and values are uint32.
  """
  rows, columns = _grid(num_examples)
  round_keys = jax.random.bits(key, (_FEISTEL_ROUNDS,), jnp.uint32)

  def network(values: jax.Array) -> jax.Array:
    left, right = values // columns, values % columns
    for i in range(0, _FEISTEL_ROUNDS, 2):
      left = (left + _mix(right ^ round_keys[i]) % rows) % rows
      right = (right + _mix(left ^ round_keys[i + 1]) % columns) % columns
    return left * columns + right

  values = network(positions)
  if rows * columns == num_examples:
    return values
  return lax.while_loop(
    lambda v: jnp.any(v >= num_examples),
    lambda v: jnp.where(v >= num_examples, network(v), v),
    values,
  )


@functools.cache
def _grid(num_examples: int) -> tuple[np.uint32, np.uint32]:
  """The smallest grid of at least `num_examples` cells that is near square.

  Few cells too many mean few walks, none at all where the grid fits: 10,000 is
  100 × 100 and 60,000 is 240 × 250.
  """
  root = math.isqrt(num_examples - 1) + 1
  # Oblong grids mix badly; one with a single row would only rotate.
  sides = range(math.ceil(0.75 * root), root + 1)
  best = min(sides, key=lambda side: (-(-num_examples // side) * side, -side))
  return np.uint32(best), np.uint32(-(-num_examples // best))


def _mix(x: jax.Array) -> jax.Array:
  """A bijection of 32-bit words, each output bit depending on all input bits.

  MurmurHash3's finaliser.
  """
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)
