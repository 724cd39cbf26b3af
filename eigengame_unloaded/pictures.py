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
"""Eigenvectors as images."""

import numpy as np

_COLUMNS = 8
_MIN_HEIGHT = 56
_BORDER = 2


def eigenvector_grid(
  estimates: np.ndarray, truth: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray:
  """Estimates in rows, each over the row of the exact eigenvectors.

  An eigenvector's sign means nothing: the exact ones take the estimates'. Each
  is scaled by its largest entry. With one channel, positive entries are red and
  negative ones blue; with three, 0 is grey.

  Args:
    estimates: (k, height · width · channels).
    truth: the same for exact eigenvectors, or None.
    shape: (height, width, channels), one or three channels.

  Returns:
    uint8 (H, W, 3).
  """
  rows = [estimates]
  if truth is not None:
    signs = np.where(np.sum(estimates * truth, axis=1) < 0, -1.0, 1.0)
    rows.append(signs[:, None] * truth)
  pictures = [_colours(vectors.reshape(-1, *shape)) for vectors in rows]
  height, width = pictures[0].shape[1:3]
  starts = range(0, len(estimates), _COLUMNS)
  grid = np.full(
    (
      len(starts) * (len(rows) * (height + _BORDER) + 3 * _BORDER),
      min(_COLUMNS, len(estimates)) * (width + _BORDER),
      3,
    ),
    255,
    np.uint8,
  )
  top = 0
  for start in starts:
    for picture in pictures:
      for i, tile in enumerate(picture[start : start + _COLUMNS]):
        left = i * (width + _BORDER)
        grid[top : top + height, left : left + width] = tile
      top += height + _BORDER
    top += 3 * _BORDER
  return grid


def _colours(vectors: np.ndarray) -> np.ndarray:
  """Maps `(k, height, width, channels)` to uint8 `(k, H, W, 3)`, enlarged."""
  largest = np.abs(vectors).max(axis=(1, 2, 3), keepdims=True)
  values = vectors / np.where(largest == 0, 1.0, largest)
  if values.shape[-1] == 1:
    positive, negative = np.maximum(values, 0), np.maximum(-values, 0)
    colours = np.concatenate(
      [1 - negative, 1 - np.abs(values), 1 - positive], axis=-1
    )
  else:
    colours = 0.5 + 0.5 * values
  scale = -(-_MIN_HEIGHT // colours.shape[1])
  pixels = np.rint(255 * colours).astype(np.uint8)
  return pixels.repeat(scale, axis=1).repeat(scale, axis=2)
