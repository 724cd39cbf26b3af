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
r"""Convolutions with padding SAME as matrix products.

XLA's CPU backend computes the gradients of convolutions far below the
machine's matrix-product rate, and those of weights about twenty times slower
still inside a device loop. Here a convolution is matrix products of overlapping
tiles of the image:

- Between few channels a tile is what one output sees: tiles times kernel.
- Else a tile is what m × m outputs see, and Winograd's minimal filtering takes
  2.6 to 6 times fewer products. With t = m + r - 1 and r taps along a
  dimension, :math:`Y = A^\top [(G w G^\top) (B^\top X B)] A`, where the bracket
  is a matrix product over channels for each of t × t numbers. A stride s makes
  s × s pixels one pixel with more channels, and a kernel of r = k / s taps.

Either way the convolution is bilinear: linear maps of images and kernel, their
product, a linear map to outputs. Its two transposes are the same product of
other two of the three, and the transposed map of the third.

References:
  Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from collections.abc import Callable
import functools
import math
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from convolutions_as_products import tiles as tiling

# Outputs of a Winograd tile along a dimension, by its taps. Larger tiles lose
# digits; these lose one, those of five taps a little more.
WINOGRAD_OUTPUTS = {2: 4, 3: 4, 4: 3, 5: 4}
# The fewest channels for which it pays.
_WINOGRAD_CHANNELS = 8
# Interpolation points of Winograd's matrices, of which few digits are lost; the
# last one is infinity.
_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5, 0.5, -2.0)

Shape = tuple[int, ...]


class Geometry(NamedTuple):
  """Of a convolution with padding SAME, but for numbers and channels.

  Attributes:
    images: their height and width.
    kernel: its height and width.
    stride: of both dimensions.
  """

  images: Shape
  kernel: Shape
  stride: int

  @property
  def outputs(self) -> Shape:
    """Their height and width."""
    return tuple(math.ceil(size / self.stride) for size in self.images)

  @property
  def taps(self) -> Shape:
    """Of the kernel in each dimension, where s × s pixels are one."""
    return tuple(math.ceil(size / self.stride) for size in self.kernel)


class _Linear(NamedTuple):
  """A linear map and its transpose."""

  apply: Callable[[jax.Array], jax.Array]
  transpose: Callable[[jax.Array], jax.Array]


class _Algorithm(NamedTuple):
  """A convolution as a product of linear maps of images and kernel.

  Attributes:
    images: from (N, H, W, C) to the product's first factor.
    kernel: from (height, width, C, O) to its second factor.
    outputs: from the product to (N, H', W', O).
    indices: those of the factors and of the product, as in `einsum`.
  """

  images: _Linear
  kernel: _Linear
  outputs: _Linear
  indices: tuple[str, str, str]


def conv(
  x: jax.Array,
  w: jax.Array,
  geometry: Geometry,
  precision: str | None = None,
) -> jax.Array:
  """A convolution.

  Args:
    x: images, (N, H, W, C).
    w: kernel, (height, width, C, O).
    geometry: the sizes of both.
    precision: of the product, as in `jax.default_matmul_precision`.

  Returns:
    Outputs, (N, ceil(H / stride), ceil(W / stride), O).
  """
  maps = _choose_algorithm(geometry, x.shape[0], w.shape[2:], x.dtype)
  of_images, of_kernel, of_outputs = maps.indices
  return maps.outputs.apply(
    jnp.einsum(
      f'{of_images},{of_kernel}->{of_outputs}',
      maps.images.apply(x),
      maps.kernel.apply(w),
      precision=precision,
    )
  )


def to_images(
  y: jax.Array,
  w: jax.Array,
  geometry: Geometry,
  precision: str | None = None,
) -> jax.Array:
  """The transpose of `conv` in its images: from (outputs, kernel) to images."""
  maps = _choose_algorithm(geometry, y.shape[0], w.shape[2:], y.dtype)
  of_images, of_kernel, of_outputs = maps.indices
  return maps.images.transpose(
    jnp.einsum(
      f'{of_outputs},{of_kernel}->{of_images}',
      maps.outputs.transpose(y),
      maps.kernel.apply(w),
      precision=precision,
    )
  )


def to_kernel(
  x: jax.Array,
  y: jax.Array,
  geometry: Geometry,
  precision: str | None = None,
) -> jax.Array:
  """The transpose of `conv` in its kernel: from (images, outputs) to kernel."""
  channels = x.shape[3], y.shape[3]
  maps = _choose_algorithm(geometry, x.shape[0], channels, x.dtype)
  of_images, of_kernel, of_outputs = maps.indices
  return maps.kernel.transpose(
    jnp.einsum(
      f'{of_images},{of_outputs}->{of_kernel}',
      maps.images.apply(x),
      maps.outputs.transpose(y),
      precision=precision,
    )
  )


def _choose_algorithm(
  geometry: Geometry, num: int, channels: Shape, dtype: np.dtype
) -> _Algorithm:
  """What suits so many images, and channels in and out, best."""
  if (
    min(channels) >= _WINOGRAD_CHANNELS
    and all(r in WINOGRAD_OUTPUTS for r in geometry.taps)
    and dtype != jnp.bfloat16  # Which has no digits to lose.
  ):
    return _minimal_filtering(geometry, num, channels)
  if channels[0] >= _WINOGRAD_CHANNELS:
    return _tiles_times_kernel(geometry, num, channels)
  return _few_channels(geometry, num, channels)


def _tiles_times_kernel(geometry, num, channels):
  """Each tile is what one output sees."""
  tile, step = geometry.kernel, geometry.stride
  pad, _ = _pad(geometry, num, channels[0], tile, step)
  identity = _Linear(lambda x: x, lambda x: x)
  return _Algorithm(
    images=_compose(pad, _cut(tile, step)),
    kernel=identity,
    outputs=identity,
    indices=('ijnxyc', 'ijco', 'nxyo'),
  )


def _few_channels(geometry, num, channels):
  """The same, channels first: rows of pixels are longer runs than channels."""
  tile, step = geometry.kernel, geometry.stride
  pad, padded = _pad(geometry, num, channels[0], tile, step)
  cut = (*tile, channels[0] * num, *geometry.outputs, 1)
  places = math.prod(tile) * channels[0]

  def put_channels_first(x):
    return jnp.moveaxis(x, 3, 0).reshape(-1, *padded[1:3], 1)

  return _Algorithm(
    images=_compose(
      pad,
      _rearrange(put_channels_first, padded),
      _cut(tile, step),
      _reshape(cut, (places, num * math.prod(geometry.outputs))),
    ),
    kernel=_reshape((*tile, *channels), (places, channels[1])),
    outputs=_reshape(
      (num * math.prod(geometry.outputs), channels[1]),
      (num, *geometry.outputs, channels[1]),
    ),
    indices=('kn', 'ko', 'no'),
  )


def _minimal_filtering(geometry, num, channels):
  """Winograd's; see the module."""
  s, taps, outputs = geometry.stride, geometry.taps, geometry.outputs
  m = min(WINOGRAD_OUTPUTS[r] for r in taps)
  tile = tuple(m + r - 1 for r in taps)
  grid = tuple(math.ceil(size / m) for size in outputs)
  # Places in a tile, tiles, channels in and out.
  t, n = math.prod(tile), num * math.prod(grid)
  c, o = s * s * channels[0], channels[1]
  a, g, b = map(np.kron, *(_winograd_matrices(m, r) for r in taps))
  pad, padded = _pad(
    geometry, num, channels[0], tuple(z * s for z in tile), m * s
  )

  def join_outputs(y):
    y = y.reshape(m, m, num, *grid, o).transpose(2, 3, 0, 4, 1, 5)
    y = y.reshape(num, m * grid[0], m * grid[1], o)
    return y[:, : outputs[0], : outputs[1]]

  return _Algorithm(
    images=_compose(
      pad,
      _rearrange(lambda x: _merge_pixels(x, s), padded),
      _cut(tile, m),
      _reshape((*tile, num, *grid, c), (t, n * c)),
      _multiply(b),
      _reshape((t, n * c), (t, n, c)),
    ),
    kernel=_compose(
      _rearrange(
        lambda w: _merge_taps(w, s, taps), (*geometry.kernel, *channels)
      ),
      _multiply(g),
      _reshape((t, c * o), (t, c, o)),
    ),
    outputs=_compose(
      _reshape((t, n, o), (t, n * o)),
      _multiply(a),
      _rearrange(join_outputs, (m * m, n * o)),
    ),
    indices=('tnc', 'tco', 'tno'),
  )


def _merge_pixels(x: jax.Array, s: int) -> jax.Array:
  """Makes s × s pixels of images one, with more channels."""
  num, rows, columns = x.shape[0], x.shape[1] // s, x.shape[2] // s
  x = x.reshape(num, rows, s, columns, s, -1).swapaxes(2, 3)
  return x.reshape(num, rows, columns, -1)


def _merge_taps(w: jax.Array, s: int, taps: Shape) -> jax.Array:
  """The kernel on such images, (taps, channels); zeros fill it up."""
  extra = [(0, r * s - k) for r, k in zip(taps, w.shape[:2], strict=True)]
  w = jnp.pad(w, (*extra, (0, 0), (0, 0)))
  w = w.reshape(taps[0], s, taps[1], s, *w.shape[2:]).swapaxes(1, 2)
  return w.reshape(math.prod(taps), -1)


@functools.lru_cache
def _winograd_matrices(
  outputs: int, taps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A transposed, G and B transposed of a one-dimensional tile.

  Multiplying polynomials of degrees m - 1 and r - 1 by their values at
  t = m + r - 1 points is Toom and Cook's algorithm; minimal filtering is its
  transpose.
  """
  size = outputs + taps - 1

  def values(degree):
    finite = np.vander(_POINTS[: size - 1], degree, increasing=True)
    return np.vstack([finite, np.eye(degree)[-1:]])

  b = np.linalg.inv(values(size)).T
  # Between G and B there is one free factor a point: B's largest entry is 1.
  factors = np.abs(b).max(axis=1, keepdims=True)
  return values(outputs).T, values(taps) * factors, b / factors


# Linear maps.


def _pad(geometry, num, channels, tile, step) -> tuple[_Linear, Shape]:
  """Pads images from where SAME begins to the last tile; their new shape."""
  strides = (geometry.stride, geometry.stride)
  pads = lax.padtype_to_pads(geometry.images, geometry.kernel, strides, 'SAME')
  config = [(0, 0, 0)]
  for size, outputs, length, (low, _) in zip(
    geometry.images, geometry.outputs, tile, pads, strict=True
  ):
    # As many tiles as give each output its pixels; over the edge are zeros.
    extent = (math.ceil(outputs * geometry.stride / step) - 1) * step + length
    config.append((low, extent - low - size, 0))
  config.append((0, 0, 0))
  shape = num, *geometry.images, channels
  padded = tuple(sum(pads) + n for pads, n in zip(config, shape, strict=True))
  pad = lambda x: lax.pad(x, jnp.zeros((), x.dtype), config)
  return _rearrange(pad, shape), padded


def _cut(size: Shape, step: int) -> _Linear:
  return _Linear(
    lambda x: tiling.cut_tiles(x, size, step),
    lambda x: tiling.add_tiles(x, step),
  )


def _multiply(matrix: np.ndarray) -> _Linear:
  """A constant matrix times columns.

  What JAX would derive as its transpose is a product with a transposed
  operand, which XLA computes more slowly.
  """
  return _Linear(
    lambda x: jnp.asarray(matrix, x.dtype) @ x,
    lambda x: jnp.asarray(matrix.T, x.dtype) @ x,
  )


def _rearrange(
  function: Callable[[jax.Array], jax.Array], shape: Shape
) -> _Linear:
  """A function of arrays of a shape that moves numbers, or adds zeros."""

  def transpose(y):
    x = jax.ShapeDtypeStruct(shape, y.dtype)
    return jax.linear_transpose(function, x)(y)[0]

  return _Linear(function, transpose)


def _reshape(shape: Shape, new_shape: Shape) -> _Linear:
  return _Linear(lambda x: x.reshape(new_shape), lambda x: x.reshape(shape))


def _compose(*maps: _Linear) -> _Linear:
  """One map after the other, the first one first."""
  return _Linear(
    lambda x: functools.reduce(lambda y, f: f.apply(y), maps, x),
    lambda x: functools.reduce(lambda y, f: f.transpose(y), maps[::-1], x),
  )
