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
"""Convolutions as matrix products against XLA's, and the parts they are of."""

import functools

import haiku as hk
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import convolutions
from dd_two_player_games import nets

# Image and kernel, odd, even and not square. Images are smaller than kernels,
# fit one of Winograd's tiles, or at any stride need several.
CASES = (
  ((9, 7), (3, 2)),
  ((7, 6), (5, 5)),
  ((1, 1), (3, 3)),
  ((2, 3), (4, 5)),
  ((14, 13), (4, 4)),
  ((13, 16), (5, 3)),
  ((3, 2), (6, 7)),
)
# Derivatives cost more: minimal filtering of several tiles at each stride.
DIFFERENTIATED = (((13, 14), (5, 4)), ((6, 7), (3, 2)))
# Channels in and out: below and above what minimal filtering is used for.
FEW, MANY = (2, 9), (8, 9)
# The programs are many and small: LLVM's optimisations take longer than they.
QUICK = {'xla_backend_optimization_level': 0}


def _lax_conv(x, w, stride):
  return lax.conv_general_dilated(
    x, w, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def _lax_conv_transpose(x, w, stride):
  return lax.conv_transpose(
    x, w, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWOI', 'NHWC')
  )


# Ours, and XLA's.
CONVOLUTIONS = {
  'conv': (convolutions.conv_as_matmul, _lax_conv),
  'transpose': (convolutions.conv_transpose_as_matmul, _lax_conv_transpose),
}


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def _inputs(name, case, channels, dtype='float64'):
  """Images and a kernel; that of a transposed convolution ends with inputs."""
  size, kernel = case
  kernel_channels = channels if name == 'conv' else channels[::-1]
  x = _normal(0, 2, *size, channels[0])
  # Outputs are of size 1, as those of a network.
  w = _normal(1, *kernel, *kernel_channels) / np.sqrt(channels[0] * 4)
  return jnp.asarray(x, dtype), jnp.asarray(w, dtype)


def _compare(name, compute, inputs, tolerance, compiler_options=None):
  """`compute(conv, inputs)` with our convolution, and with XLA's."""
  actual, expected = (
    jax.jit(
      functools.partial(compute, conv), compiler_options=compiler_options
    )(inputs)
    for conv in CONVOLUTIONS[name]
  )

  def compare(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

  jax.tree.map(compare, actual, expected)


def _derivatives(conv, x, w):
  """First and second derivatives in images and kernel."""

  def loss(x, w):
    return jnp.sum(jnp.sin(conv(x, w)))

  def gradient_penalty(x, w):
    return jnp.sum(jnp.sin(jax.grad(loss)(x, w)))

  grad = jax.grad(loss, (0, 1))
  # What the jvp gives beside its product are the first derivatives.
  return {
    'forward_over_reverse': jax.jvp(grad, (x, w), (jnp.cos(x), jnp.sin(w))),
    'reverse_over_reverse': jax.grad(gradient_penalty, (0, 1))(x, w),
  }


# In float64 minimal filtering, too, is exact but for rounding.


@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_values(name, stride):
  with jax.enable_x64(True):
    inputs = [
      _inputs(name, case, channels)
      for case in CASES
      for channels in (FEW, MANY)
    ]

    def compute(conv, inputs):
      return [conv(x, w, stride) for x, w in inputs]

    _compare(name, compute, inputs, 1e-10, QUICK)


@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_derivatives(name, stride):
  with jax.enable_x64(True):
    inputs = [
      _inputs(name, case, channels)
      for case in DIFFERENTIATED
      for channels in (FEW, MANY)
    ]

    def compute(conv, inputs):
      conv = functools.partial(conv, stride=stride)
      return [_derivatives(conv, x, w) for x, w in inputs]

    _compare(name, compute, inputs, 1e-10, QUICK)


@pytest.mark.parametrize(
  # Minimal filtering adds numbers some ten times as large as the result, and
  # so loses one of float32's seven digits; with five taps a little more.
  ('channels', 'kernel', 'stride', 'tolerance'),
  [
    (FEW, (5, 5), 1, 3e-6),
    (MANY, (3, 3), 1, 1e-5),
    (MANY, (4, 4), 1, 1e-5),
    (MANY, (5, 5), 1, 3e-5),
    (MANY, (5, 6), 2, 1e-5),
  ],
)
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_float32(name, channels, kernel, stride, tolerance):
  inputs = _inputs(name, ((13, 14), kernel), channels, 'float32')

  def compute(conv, inputs):
    conv = functools.partial(conv, stride=stride)
    return conv(*inputs), _derivatives(conv, *inputs)

  _compare(name, compute, inputs, tolerance)


@pytest.mark.parametrize('channels', [FEW, MANY])
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_vmap(name, channels):
  """Over images, kernels or both, and of gradients; axes not the first."""
  with jax.enable_x64(True):
    inputs = _inputs(name, ((6, 7), (5, 4)), channels)

    def compute(conv, inputs):
      x, w = inputs
      conv = functools.partial(conv, stride=2)
      values = [
        jax.vmap(conv, in_axes)(*xw)
        for in_axes, xw in (
          ((3, None), (jnp.stack([x, 2 * x], 3), w)),
          ((None, 1), (x, jnp.stack([w, 1 - w], 1))),
          ((1, 0), (jnp.stack([x, 2 * x], 1), jnp.stack([w, 1 - w]))),
        )
      ]
      loss = lambda x, w: jnp.sum(jnp.sin(conv(x[None], w)))
      return values, jax.vmap(jax.grad(loss, (0, 1)), (0, None))(x, w)

    _compare(name, compute, inputs, 1e-10, QUICK)


@pytest.mark.parametrize(
  ('kernel', 'stride', 'channels', 'expected'),
  [
    ((3, 3), 1, (8, 8), True),
    ((3, 3), 1, (7, 8), False),
    ((3, 3), 1, (8, 7), False),
    ((3, 2), 1, (8, 8), True),
    ((4, 3), 1, (8, 8), True),
    ((5, 5), 1, (8, 8), True),
    ((6, 5), 1, (8, 8), False),
    ((3, 1), 1, (8, 8), False),
    ((4, 4), 2, (8, 8), True),
    ((4, 2), 2, (8, 8), False),
    ((6, 5), 2, (8, 8), True),
    ((7, 6), 2, (8, 8), True),
    ((11, 10), 2, (8, 8), False),
  ],
)
def test_when_minimal_filtering_is_used(
  monkeypatch, kernel, stride, channels, expected
):
  """2 to 5 taps a dimension, and no fewer than 8 channels."""
  used = []
  winograd = convolutions._winograd
  monkeypatch.setattr(
    convolutions, '_winograd', lambda *args: used.append(1) or winograd(*args)
  )
  x, w = _inputs('conv', ((6, 6), kernel), channels, 'float32')
  jax.eval_shape(lambda: convolutions.conv_as_matmul(x, w, stride))
  assert bool(used) == expected


@pytest.mark.parametrize(
  ('outputs', 'taps'),
  [(4, 2), (4, 3), (2, 2), (2, 3), (3, 4), (2, 5), (4, 5)],
)
def test_winograds_matrices(outputs, taps):
  """The outputs of a filter are A^T [(G w) * (B^T x)], and exactly so."""
  a, g, b = convolutions._winograd_matrices(outputs, taps)
  num_products = outputs + taps - 1
  assert a.shape == (outputs, num_products)
  assert g.shape == (num_products, taps)
  assert b.shape == (num_products, num_products)
  w, x = _normal(0, taps), _normal(1, num_products)
  np.testing.assert_allclose(
    a @ ((g @ w) * (b @ x)), np.correlate(x, w, 'valid'), rtol=0, atol=1e-13
  )


# Cutting images into tiles and adding them.

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
  images = _normal(0, 2, *_extent(grid, size, step), 3).astype(np.float32)
  given = _normal(1, *size, 2, *grid, 3).astype(np.float32)
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
  cut = functools.partial(convolutions.cut_tiles, size=size, step=step)
  add = functools.partial(convolutions.add_tiles, step=step)
  np.testing.assert_array_equal(cut(images), tiles)
  # A pixel is the sum of up to nine tiles' in another order.
  np.testing.assert_allclose(add(given), added, rtol=1e-5, atol=1e-6)
  # Each is the other's transpose, also as JAX has it.
  np.testing.assert_allclose(
    np.vdot(cut(images), given), np.vdot(images, add(given)), rtol=1e-4
  )
  np.testing.assert_array_equal(
    jax.linear_transpose(cut, images)(given)[0], add(given)
  )
  np.testing.assert_array_equal(
    jax.linear_transpose(add, given)(images)[0], tiles
  )


# What a layer becomes on a backend.


@pytest.mark.parametrize(
  ('backend', 'is_xlas'), [('cpu', False), ('gpu', True)]
)
@pytest.mark.parametrize('layer', [nets.Conv2D, nets.Conv2DTranspose])
def test_accelerators_get_xlas_convolutions(
  monkeypatch, layer, backend, is_xlas
):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  transformed = hk.without_apply_rng(
    hk.transform(lambda x: layer(8, (3, 3), 2)(x))
  )
  x = jnp.zeros((2, 6, 6, 8))
  params = jax.eval_shape(transformed.init, jax.random.PRNGKey(0), x)

  def loss(params, x):
    return jnp.sum(jnp.square(transformed.apply(params, x)))

  lowered = jax.jit(jax.grad(loss)).lower(params, x).as_text()
  assert ('stablehlo.convolution' in lowered) == is_xlas
  assert 'stablehlo.scatter' not in lowered
