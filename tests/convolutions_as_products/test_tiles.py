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
"""Cutting images into tiles and adding them."""

import functools

import numpy as np
import pytest

from convolutions_as_products import tiles as tiling

# Tiles that overlap, touch, leave gaps; the only one of an image.
TILES = (
  # Tiles along each dimension, their size, step.
  ((3, 2), (5, 4), 2),
  ((2, 4), (7, 3), 3),
  ((3, 3), (2, 2), 2),
  ((2, 3), (2, 1), 3),
  ((1, 1), (3, 5), 4),
)


def _extent(grid, size, step):
  return tuple((n - 1) * step + z for n, z in zip(grid, size, strict=True))


@pytest.mark.parametrize(('grid', 'size', 'step'), TILES)
def test_tiles(grid, size, step):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(2, *_extent(grid, size, step), 3)).astype(
    np.float32
  )
  given = rng.normal(size=(*size, 2, *grid, 3)).astype(np.float32)
  tiles = np.zeros_like(given)
  added = np.zeros_like(images)
  for row in range(grid[0]):
    for column in range(grid[1]):
      place = (
        slice(None),
        slice(row * step, row * step + size[0]),
        slice(column * step, column * step + size[1]),
      )
      tiles[:, :, :, row, column] = np.moveaxis(images[place], 0, 2)
      added[place] += np.moveaxis(given[:, :, :, row, column], 2, 0)
  cut = functools.partial(tiling.cut_tiles, size=size, step=step)
  add = functools.partial(tiling.add_tiles, step=step)
  np.testing.assert_array_equal(cut(images), tiles)
  # A pixel is the sum of up to nine tiles' in another order.
  np.testing.assert_allclose(add(given), added, rtol=1e-5, atol=1e-6)
  # Each is the other's transpose.
  np.testing.assert_allclose(
    np.vdot(cut(images), given), np.vdot(images, add(given)), rtol=1e-4
  )
