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
"""Convolutions with padding SAME, each computed as its platform does it best.

On CPUs they are matrix products, elsewhere XLA's convolutions; which of them is
decided where a program is lowered for a platform. A convolution and its two
transposes are bilinear, and the transposes of each are the other two: three
primitives, of which derivatives of any order are made.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import functools

import jax
from jax import lax
from jax.extend import core
from jax.interpreters import ad
from jax.interpreters import batching
from jax.interpreters import mlir
import jax.numpy as jnp

from convolutions_as_products import products

# 'fast' is what the platform does best, 'xla' XLA's convolutions everywhere.
IMPLEMENTATIONS = ('fast', 'xla')

Shape = tuple[int, ...]

_implementation = contextvars.ContextVar('implementation', default='fast')


@contextlib.contextmanager
def use_implementation(name: str) -> Iterator[None]:
  """Convolutions that are called here are computed in one of the ways.

  Enter it inside the function that is compiled, around its convolutions: the
  cache of a compiled function does not see it.

  Args:
    name: one of IMPLEMENTATIONS.

  Yields:
    Nothing.

  Raises:
    ValueError: for another name.
  """
  if name not in IMPLEMENTATIONS:
    raise ValueError(f'{name!r} is not one of {", ".join(IMPLEMENTATIONS)}.')
  token = _implementation.set(name)
  try:
    yield
  finally:
    _implementation.reset(token)


def conv(x: jax.Array, w: jax.Array, stride: int = 1) -> jax.Array:
  """A convolution with padding SAME.

  Args:
    x: images, (N, H, W, C).
    w: kernel, (height, width, C, O), of the same type.
    stride: of both dimensions.

  Returns:
    Shape (N, ceil(H / stride), ceil(W / stride), O).

  Raises:
    ValueError: for arrays that are no images.
  """
  _check_images(x)
  geometry = products.Geometry(x.shape[1:3], w.shape[:2], stride)
  if _implementation.get() == 'xla':
    return _conv_by_xla(x, w, geometry)
  return _conv_p.bind(x, w, geometry=geometry, precision=_precision())


def conv_transpose(x: jax.Array, w: jax.Array, stride: int = 1) -> jax.Array:
  """A transposed convolution with padding SAME.

  Args:
    x: images, (N, H, W, C).
    w: kernel, (height, width, O, C), of the same type.
    stride: of both dimensions.

  Returns:
    Shape (N, H * stride, W * stride, O).

  Raises:
    ValueError: for arrays that are no images.
  """
  _check_images(x)
  if _implementation.get() == 'xla':
    dimensions = ('NHWC', 'HWOI', 'NHWC')
    return lax.conv_transpose(
      x, w, (stride, stride), 'SAME', dimension_numbers=dimensions
    )
  size = x.shape[1] * stride, x.shape[2] * stride
  geometry = products.Geometry(size, w.shape[:2], stride)
  # Haiku's and XLA's transposed convolutions do not flip the kernel, as the
  # transpose of a convolution does.
  return _to_images_p.bind(
    x, w[::-1, ::-1], geometry=geometry, precision=_precision()
  )


def _check_images(x: jax.Array) -> None:
  if x.ndim != 4:
    raise ValueError(
      f'Images are (batch, height, width, channels), not of shape {x.shape}.'
    )


def _precision() -> str | None:
  """What the context asks for, which may be left before lowering."""
  return jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]


# XLA's convolution and its transposes.


def _conv_by_xla(x, w, geometry, precision=None):
  strides = (geometry.stride, geometry.stride)
  return lax.conv_general_dilated(
    *(x, w, strides, 'SAME'),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision=precision,
  )


def _to_images_by_xla(y, w, geometry, precision):
  if geometry.stride > 1:
    # XLA finds cuDNN's gradient only by the kernel's flip. Where that is merged
    # with what made the kernel, images are filled with zeros instead.
    w = lax.optimization_barrier(w)
  shape = y.shape[0], *geometry.images, w.shape[2]
  transpose = jax.linear_transpose(
    lambda x: _conv_by_xla(x, w, geometry, precision),
    jax.ShapeDtypeStruct(shape, y.dtype),
  )
  return transpose(y)[0]


def _to_kernel_by_xla(x, y, geometry, precision):
  shape = *geometry.kernel, x.shape[3], y.shape[3]
  transpose = jax.linear_transpose(
    lambda w: _conv_by_xla(x, w, geometry, precision),
    jax.ShapeDtypeStruct(shape, x.dtype),
  )
  return transpose(y)[0]


# The primitives. Where `vmap` maps both arguments, both have leading
# dimensions.

_PARAMETERS = ('geometry', 'precision')


def _define(
  primitive: core.Primitive,
  on_cpu: Callable[..., jax.Array],
  elsewhere: Callable[..., jax.Array],
  shape: Callable[..., Shape],
  merged_axes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
  """Defines all of a primitive of two arguments but its derivatives.

  Args:
    primitive: the primitive.
    on_cpu: what it is lowered to for CPUs.
    elsewhere: what it is lowered to for other platforms.
    shape: of the result, by those of both arguments and the geometry.
    merged_axes: a pair for each argument: the axis over which `vmap` maps it
      alone is merged with that one of its axes, and that one of the result's.
  """

  def infer_type(left, right, geometry, precision):
    del precision
    last = shape(left.shape[-4:], right.shape[-4:], geometry)
    return jax.core.ShapedArray((*left.shape[:-4], *last), left.dtype)

  primitive.def_impl(jax.jit(primitive.bind, static_argnames=_PARAMETERS))
  primitive.def_abstract_eval(infer_type)
  mlir.register_lowering(primitive, _lower_to(elsewhere))
  mlir.register_lowering(primitive, _lower_to(on_cpu), platform='cpu')
  batching.primitive_batchers[primitive] = functools.partial(
    _batch, primitive, merged_axes
  )


def _lower_to(function: Callable[..., jax.Array]) -> mlir.LoweringRule:
  def compute(left, right, **parameters):
    mapped = functools.partial(function, **parameters)
    for _ in left.shape[:-4]:
      mapped = jax.vmap(mapped)
    return mapped(left, right)

  # Networks have the same shapes many times: each is traced and lowered once.
  compute = jax.jit(compute, static_argnames=_PARAMETERS)
  return mlir.lower_fun(compute, multiple_results=False)


def _batch(primitive, merged_axes, args, axes, **parameters):
  which = 0 if axes[1] is None else 1
  number = args[which].shape[axes[which]]
  if number == 1:
    args = [
      x if axis is None else jnp.squeeze(x, axis)
      for x, axis in zip(args, axes, strict=True)
    ]
    return primitive.bind(*args, **parameters)[None], 0
  if None not in axes or args[1 - which].ndim > 4:
    args = map(batching.bdim_at_front, args, axes, (number, number))
    return primitive.bind(*args, **parameters), 0
  axis, axis_out = merged_axes[which]
  x = jnp.moveaxis(args[which], axes[which], axis)
  merged = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
  both = (merged, args[1]) if which == 0 else (args[0], merged)
  out = primitive.bind(*both, **parameters)
  shape = *out.shape[:axis_out], number, -1, *out.shape[axis_out + 1 :]
  return out.reshape(shape), axis_out


_conv_p = core.Primitive('conv_same')
_to_images_p = core.Primitive('conv_same_to_images')
_to_kernel_p = core.Primitive('conv_same_to_kernel')

_define(
  _conv_p,
  on_cpu=products.conv,
  elsewhere=_conv_by_xla,
  shape=lambda x, w, geometry: (x[0], *geometry.outputs, w[3]),
  merged_axes=((0, 0), (3, 3)),
)
_define(
  _to_images_p,
  on_cpu=products.to_images,
  elsewhere=_to_images_by_xla,
  shape=lambda y, w, geometry: (y[0], *geometry.images, w[2]),
  merged_axes=((0, 0), (2, 3)),
)
_define(
  _to_kernel_p,
  on_cpu=products.to_kernel,
  elsewhere=_to_kernel_by_xla,
  shape=lambda x, y, geometry: (*geometry.kernel, x[3], y[3]),
  merged_axes=((3, 2), (3, 3)),
)

# Of a cotangent and both arguments: the transpose in the first, in the second.
ad.defbilinear(
  _conv_p,
  lambda y, x, w, **parameters: _to_images_p.bind(y, w, **parameters),
  lambda y, x, w, **parameters: _to_kernel_p.bind(x, y, **parameters),
)
ad.defbilinear(
  _to_images_p,
  lambda x, y, w, **parameters: _conv_p.bind(x, w, **parameters),
  lambda x, y, w, **parameters: _to_kernel_p.bind(x, y, **parameters),
)
ad.defbilinear(
  _to_kernel_p,
  lambda w, x, y, **parameters: _to_images_p.bind(y, w, **parameters),
  lambda w, x, y, **parameters: _conv_p.bind(x, w, **parameters),
)
