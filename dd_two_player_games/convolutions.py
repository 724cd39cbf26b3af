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
r"""Convolutions with padding SAME, each in its backend's best form.

On accelerators these are XLA's. XLA's CPU backend computes the gradients of
convolutions far below the machine's matrix-product rate, and those of weights
about twenty times slower still inside a device loop. There a convolution is
matrix products of overlapping tiles of the image:

- Between few channels a tile is what one output sees: tiles times kernel.
- Else a tile is what m × m outputs see, and Winograd's minimal filtering takes
  2.6 to 6 times fewer products. With t = m + r - 1 and r taps along a
  dimension, :math:`Y = A^\top [(G w G^\top) (B^\top X B)] A`, where the bracket
  is a matrix product over channels for each of t × t numbers. A stride s makes
  s × s pixels one pixel with more channels, and a kernel of r = k / s taps.

Cutting tiles is a linear operation whose transpose adds overlapping tiles.
Both are primitives here, each the other's transpose, so that derivatives of
any order are as fast as the convolution; what JAX would derive is a
scatter-add. So is the product with a constant matrix, whose derivative would
else be a product with a transposed operand, which XLA computes more slowly.
Everything else is differentiated as usual.

References:
  Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

import functools
import math

import jax
from jax import lax
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp
import numpy as np

_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
# Outputs of a Winograd tile along a dimension, by its taps. Larger tiles lose
# digits; these lose one, those of five taps a little more.
_WINOGRAD_OUTPUTS = {2: 4, 3: 4, 4: 3, 5: 4}
# The fewest channels for which it pays.
_WINOGRAD_CHANNELS = 8
# Interpolation points of Winograd's matrices, of which few digits are lost; the
# last one is infinity.
_POINTS = (0.0, 1.0, -1.0, 2.0, -0.5, 0.5, -2.0)


def conv(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """A convolution with padding SAME.

  Args:
    x: images, (N, H, W, C).
    w: kernel, (height, width, C, O).
    stride: of both dimensions.

  Returns:
    Shape (N, ceil(H / stride), ceil(W / stride), O).
  """
  if jax.default_backend() == 'cpu':
    return conv_as_matmul(x, w, stride)
  return lax.conv_general_dilated(
    x, w, (stride, stride), 'SAME', dimension_numbers=_DIMENSIONS
  )


def conv_transpose(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """A transposed convolution with padding SAME.

  Args:
    x: images, (N, H, W, C).
    w: kernel, (height, width, O, C).
    stride: of both dimensions.

  Returns:
    Shape (N, H * stride, W * stride, O).
  """
  if jax.default_backend() == 'cpu':
    return conv_transpose_as_matmul(x, w, stride)
  dimensions = ('NHWC', 'HWOI', 'NHWC')
  return lax.conv_transpose(
    x, w, (stride, stride), 'SAME', dimension_numbers=dimensions
  )


def conv_as_matmul(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`conv` as matrix products."""
  taps = [math.ceil(size / stride) for size in w.shape[:2]]
  if (
    min(w.shape[2:]) >= _WINOGRAD_CHANNELS
    and all(r in _WINOGRAD_OUTPUTS for r in taps)
    and x.dtype != jnp.bfloat16  # Which has no digits to lose.
  ):
    return _winograd(x, w, stride)
  x = _padded(x, w.shape[:2], stride, w.shape[:2], stride)
  cut = functools.partial(cut_tiles, size=w.shape[:2], step=stride)
  if w.shape[2] >= _WINOGRAD_CHANNELS:
    return jnp.einsum('ijnxyc,ijco->nxyo', cut(x), w)
  # Channels first: rows of pixels are longer runs than the channels of one.
  x = jnp.moveaxis(x, 3, 0)
  tiles = cut(x.reshape(-1, *x.shape[2:], 1))
  patches = tiles.reshape(math.prod(w.shape[:3]), -1)
  y = lax.dot_general(
    patches, w.reshape(-1, w.shape[3]), (((0,), (0,)), ((), ()))
  )
  return y.reshape(x.shape[1], *tiles.shape[3:5], w.shape[3])


def conv_transpose_as_matmul(
  x: jax.Array, w: jax.Array, stride: int
) -> jax.Array:
  """`conv_transpose` as matrix products: the transpose of `conv_as_matmul`."""
  num, rows, columns, _ = x.shape
  images = jax.ShapeDtypeStruct(
    (num, rows * stride, columns * stride, w.shape[2]), x.dtype
  )
  # Haiku's and XLA's transposed convolutions do not flip the kernel, as the
  # transpose of a convolution does.
  flipped = w[::-1, ::-1]
  transposed = jax.linear_transpose(
    lambda y: conv_as_matmul(y, flipped, stride), images
  )
  return transposed(x)[0]


def _winograd(x: jax.Array, w: jax.Array, stride: int) -> jax.Array:
  """`conv` by minimal filtering; see the module."""
  s = stride
  num, channels, out_channels = x.shape[0], *w.shape[2:]
  outputs = _outputs(x, s)
  taps = tuple(math.ceil(size / s) for size in w.shape[:2])
  m = min(_WINOGRAD_OUTPUTS[r] for r in taps)
  grid = tuple(math.ceil(size / m) for size in outputs)
  a, g, b = map(np.kron, *(_winograd_matrices(m, r) for r in taps))
  tile = tuple(m + r - 1 for r in taps)

  x = _padded(x, w.shape[:2], s, tuple(t * s for t in tile), m * s)
  if s > 1:  # s × s pixels become one.
    x = x.reshape(num, x.shape[1] // s, s, x.shape[2] // s, s, channels)
    x = x.swapaxes(2, 3).reshape(num, x.shape[1], x.shape[3], -1)
  tiles = cut_tiles(x, size=tile, step=m).reshape(math.prod(tile), -1)
  tiles = _transformed(b, tiles).reshape(math.prod(tile), -1, s * s * channels)

  extra = [(0, r * s - k) for r, k in zip(taps, w.shape[:2], strict=True)]
  w = jnp.pad(w, (*extra, (0, 0), (0, 0)))
  w = w.reshape(taps[0], s, taps[1], s, channels, out_channels)
  w = w.transpose(0, 2, 1, 3, 4, 5).reshape(math.prod(taps), -1)
  w = _transformed(g, w).reshape(
    math.prod(tile), s * s * channels, out_channels
  )

  products = jnp.einsum('tnc,tco->tno', tiles, w)
  y = _transformed(a, products.reshape(math.prod(tile), -1)).reshape(
    m, m, num, *grid, out_channels
  )
  y = y.transpose(2, 3, 0, 4, 1, 5).reshape(
    num, m * grid[0], m * grid[1], out_channels
  )
  return y[:, : outputs[0], : outputs[1]]


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


def _outputs(x: jax.Array, stride: int) -> tuple[int, int]:
  return math.ceil(x.shape[1] / stride), math.ceil(x.shape[2] / stride)


def _padded(x, kernel, stride, size, step):
  """Images from where a convolution's padding SAME begins to the last tile."""
  low = [
    pads[0]
    for pads in lax.padtype_to_pads(
      x.shape[1:3], kernel, (stride, stride), 'SAME'
    )
  ]
  # As many as give each output its pixels; those over the edge see zeros.
  grid = tuple(math.ceil(n * stride / step) for n in _outputs(x, stride))
  extent = [(n - 1) * step + z for n, z in zip(grid, size, strict=True)]
  pads = [
    (before, whole - before - given, 0)
    for before, whole, given in zip(low, extent, x.shape[1:3], strict=True)
  ]
  keep = (0, 0, 0)
  return lax.pad(x, jnp.zeros((), x.dtype), (keep, *pads, keep))


# The primitives. A tile of `size` begins at each `step` pixels, and the
# image ends where the last tile does.


def cut_tiles(
  images: jax.Array, *, size: tuple[int, ...], step: int
) -> jax.Array:
  """Cuts images into tiles, which may overlap.

  Args:
    images: (N, H, W, C), with H = (rows - 1) * step + size[0], W likewise.
    size: of a tile, (height, width).
    step: between two tiles' first pixels.

  Returns:
    Tiles, (height, width, N, rows, columns, C).
  """
  return _cut_p.bind(images, size=size, step=step)


def add_tiles(tiles: jax.Array, *, step: int) -> jax.Array:
  """Adds tiles, where they overlap, to images: the transpose of `cut_tiles`.

  Args:
    tiles: (height, width, N, rows, columns, C).
    step: between two tiles' first pixels.

  Returns:
    Images, (N, (rows - 1) * step + height, (columns - 1) * step + width, C).
  """
  return _add_p.bind(tiles, size=tiles.shape[:2], step=step)


def _cut(images, *, size, step):
  """A loop over the places in a tile: what it reads is not computed anew.

  XLA would else compute each pixel, its activation and padding too, once for
  each tile that it is in.
  """
  num, height, width, channels = images.shape
  rows, columns = (
    (whole - z) // step + 1
    for whole, z in zip((height, width), size, strict=True)
  )
  extent = num, (rows - 1) * step + 1, (columns - 1) * step + 1, channels

  def at(place):
    row, column = place // size[1], place % size[1]
    part = lax.dynamic_slice(images, (0, row, column, 0), extent)
    return part[:, ::step, ::step]

  tiles = lax.map(at, jnp.arange(size[0] * size[1]))
  return tiles.reshape(*size, *tiles.shape[1:])


def _add(tiles, *, size, step):
  """Parts of step × step of all tiles do not overlap: they make an image."""
  num, rows, columns, channels = tiles.shape[2:]
  parts = [math.ceil(z / step) for z in size]
  shape = (
    step,
    step,
    num,
    rows + parts[0] - 1,
    columns + parts[1] - 1,
    channels,
  )
  images = jnp.zeros(shape, tiles.dtype)
  for i in range(parts[0]):
    for j in range(parts[1]):
      part = tiles[i * step : (i + 1) * step, j * step : (j + 1) * step]
      start = (0, 0, 0, i, j, 0)
      part += lax.dynamic_slice(images, start, part.shape)
      images = lax.dynamic_update_slice(images, part, start)
  images = images.transpose(2, 3, 0, 4, 1, 5).reshape(
    num, shape[3] * step, shape[4] * step, channels
  )
  return images[
    :, : (rows - 1) * step + size[0], : (columns - 1) * step + size[1]
  ]


def _transform(x, *, matrix):
  return jnp.asarray(matrix, x.dtype) @ x


def _transformed(matrix: np.ndarray, x: jax.Array) -> jax.Array:
  """A constant matrix times columns."""
  return _transform_p.bind(x, matrix=tuple(map(tuple, matrix.tolist())))


_cut_p = core.Primitive('cut_tiles')
_add_p = core.Primitive('add_tiles')
_transform_p = core.Primitive('transform')


def _define(primitive, function, parameters, transpose, axes):
  """Makes a primitive linear in its argument.

  Args:
    primitive: the primitive.
    function: what it computes.
    parameters: names of its keyword arguments.
    transpose: of a cotangent and the parameters.
    axes: those of argument and result over which it is a map.
  """
  # Networks have the same shapes many times: each is traced and lowered once.
  function = jax.jit(function, static_argnames=parameters)

  def abstract_eval(x, **kwargs):
    out = jax.eval_shape(functools.partial(function, **kwargs), x)
    return jax.core.ShapedArray(out.shape, out.dtype)

  def batch(args, batch_axes, **kwargs):
    given, made = axes
    x = jnp.moveaxis(args[0], batch_axes[0], given)
    sizes = x.shape[given : given + 2]
    merged = x.reshape(*x.shape[:given], -1, *x.shape[given + 2 :])
    out = primitive.bind(merged, **kwargs)
    out = out.reshape(*out.shape[:made], *sizes, *out.shape[made + 1 :])
    return out, made

  primitive.def_impl(function)
  primitive.def_abstract_eval(abstract_eval)
  lowering = mlir.lower_fun(function, multiple_results=False)
  mlir.register_lowering(primitive, lowering)
  batching.primitive_batchers[primitive] = batch
  ad.deflinear2(
    primitive,
    lambda cotangent, x, **kwargs: [transpose(cotangent, **kwargs)],
  )


_define(_cut_p, _cut, ('size', 'step'), transpose=_add_p.bind, axes=(0, 2))
_define(_add_p, _add, ('size', 'step'), transpose=_cut_p.bind, axes=(2, 0))
_define(
  _transform_p,
  _transform,
  ('matrix',),
  transpose=lambda x, matrix: _transformed(np.transpose(matrix), x),
  axes=(1, 1),
)
