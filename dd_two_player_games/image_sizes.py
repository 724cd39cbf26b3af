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
"""Images of any size, made by layers that double it."""

from collections.abc import Sequence

import jax


def check_shape(shape: Sequence[int]) -> Sequence[int]:
  """Raises ValueError unless it is (height, width, channels); returns it."""
  if len(shape) != 3:
    raise ValueError(f'{tuple(shape)} is not the shape of an image')
  return shape


def first_size(size: Sequence[int], num_doublings: int) -> tuple[int, ...]:
  """From where doubling leads to a size, or to one that is little larger."""
  return tuple(-(-side // 2**num_doublings) for side in size)


def crop(images: jax.Array, size: Sequence[int]) -> jax.Array:
  """The middle of images (N, height, width, channels) that may be too large."""
  top, left = (
    (has - wanted) // 2
    for has, wanted in zip(images.shape[1:3], size, strict=True)
  )
  if images.shape[1:3] == tuple(size):
    return images
  return images[:, top : top + size[0], left : left + size[1]]
