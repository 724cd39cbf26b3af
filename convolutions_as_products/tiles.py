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
"""Cutting images into tiles, which may overlap, and adding tiles to images.

Each is the other's transpose. A tile of `size` begins at each `step` pixels,
and the image ends where the last tile does.
"""

import functools
import math

import jax
from jax import lax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames=('size', 'step'))
def cut_tiles(images: jax.Array, size: tuple[int, ...], step: int) -> jax.Array:
  """Cuts images into tiles.

  A loop over the places in a tile: what it reads is not computed anew. XLA
  would else compute each pixel, its activation and padding too, once for each
  tile that it is in.

  Args:
    images: (N, H, W, C), with H = (rows - 1) * step + size[0], W likewise.
    size: of a tile, (height, width).
    step: between two tiles' first pixels.

  Returns:
    Tiles, (height, width, N, rows, columns, C).
  """
  num, height, width, channels = images.shape
  rows, columns = (
    (whole - z) // step + 1
    for whole, z in zip((height, width), size, strict=True)
  )
  extent = num, (rows - 1) * step + 1, (columns - 1) * step + 1, channels

  def cut_place(place):
    row, column = place // size[1], place % size[1]
    part = lax.dynamic_slice(images, (0, row, column, 0), extent)
    return part[:, ::step, ::step]

  tiles = lax.map(cut_place, jnp.arange(size[0] * size[1]))
  return tiles.reshape(*size, *tiles.shape[1:])


@functools.partial(jax.jit, static_argnames='step')
def add_tiles(tiles: jax.Array, step: int) -> jax.Array:
  """Adds tiles, where they overlap, to images.

  Parts of step × step of all tiles do not overlap: they make an image. What
  JAX would derive from `cut_tiles` is a scatter-add.

  Args:
    tiles: (height, width, N, rows, columns, C).
    step: between two tiles' first pixels.

  Returns:
    Images, (N, (rows - 1) * step + height, (columns - 1) * step + width, C).
  """
  height, width, num, rows, columns, channels = tiles.shape
  parts = math.ceil(height / step), math.ceil(width / step)
  grid = rows + parts[0] - 1, columns + parts[1] - 1
  images = jnp.zeros((step, step, num, *grid, channels), tiles.dtype)
  for i in range(parts[0]):
    for j in range(parts[1]):
      part = tiles[i * step : (i + 1) * step, j * step : (j + 1) * step]
      start = (0, 0, 0, i, j, 0)
      part += lax.dynamic_slice(images, start, part.shape)
      images = lax.dynamic_update_slice(images, part, start)
  images = images.transpose(2, 3, 0, 4, 1, 5).reshape(
    num, grid[0] * step, grid[1] * step, channels
  )
  return images[:, : (rows - 1) * step + height, : (columns - 1) * step + width]
