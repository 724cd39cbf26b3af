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
"""Convolutions as matrix products against XLA's, and what they become."""

import functools
import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convolutions_as_products import convolution
from convolutions_as_products import products
from jaxline_harness import machines

pytestmark = pytest.mark.optimised

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
# What is differentiated at strides 1 and 2 is so at 3; values are quick.
SLOW_STRIDE = pytest.param(3, marks=pytest.mark.slow)
# The programs are many and small: LLVM's optimisations take longer than they.
QUICK = {'xla_backend_optimization_level': 0}


CONVOLUTIONS = {
  'conv': convolution.conv,
  'transpose': convolution.conv_transpose,
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


def _computing_by(implementation, function):
  """The function, but its convolutions are computed in that way."""

  def compute(*args):
    with convolution.use_implementation(implementation):
      return function(*args)

  return compute


def _compare(name, compute, inputs, tolerance, compiler_options=None):
  """`compute(conv, inputs)` with our convolution, and with XLA's."""
  actual, expected = (
    jax.jit(
      _computing_by(
        implementation, functools.partial(compute, CONVOLUTIONS[name])
      ),
      compiler_options=compiler_options,
    )(inputs)
    for implementation in convolution.IMPLEMENTATIONS
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


@pytest.mark.quick_cases(3)
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


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('stride', [1, 2, SLOW_STRIDE])
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


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
  # Minimal filtering adds numbers some ten times as large as the result, and
  # so loses one of float32's seven digits; with five taps a little more.
  ('channels', 'kernel', 'stride', 'tolerance'),
  [
    (FEW, (5, 5), 1, 3e-6),
    pytest.param(MANY, (3, 3), 1, 1e-5, marks=pytest.mark.slow),
    pytest.param(MANY, (4, 4), 1, 1e-5, marks=pytest.mark.slow),
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


@pytest.mark.parametrize(
  'channels', [pytest.param(FEW, marks=pytest.mark.slow), MANY]
)
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_vmap(name, channels):
  """Over images, kernels, both, one after both, and of gradients."""
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
      # The inner map merges kernels; the outer one maps both arguments.
      twice = jax.vmap(jax.vmap(conv, (None, 0)))
      kernels = jnp.stack([w, 1 - w, 2 * w])
      values.append(
        twice(jnp.stack([x, 2 * x]), jnp.stack([kernels, -kernels]))
      )
      both = jax.vmap(jax.vmap(conv), (None, 0))
      values.append(
        both(jnp.stack([x, -x, 2 * x]), jnp.stack([kernels, -kernels]))
      )
      grad = jax.grad(lambda x, w: jnp.sum(jnp.sin(conv(x, w))), (0, 1))
      of_each = jax.vmap(lambda x, w: grad(x[None], w), (0, None))(x, w)
      of_kernels = jax.vmap(grad, (None, 0))(x, jnp.stack([w, 1 - w]))
      return values, of_each, of_kernels

    _compare(name, compute, inputs, 1e-10, QUICK)


# What it becomes for a platform.


def _second_derivatives(name):
  """A function of all three primitives, and its arguments."""
  conv = functools.partial(CONVOLUTIONS[name], stride=2)
  return functools.partial(_derivatives, conv), _inputs(
    name, ((6, 7), (3, 4)), MANY, 'float32'
  )


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'rocm', 'tpu'])
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_only_cpus_get_products(name, platform):
  """As the platform asks that a program is lowered for, not this process."""
  function, args = _second_derivatives(name)
  traced = jax.jit(function).trace(*args)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  has_products = 'stablehlo.dot_general' in text or 'stablehlo.while' in text
  assert ('stablehlo.convolution' in text) == (platform != 'cpu')
  assert has_products == (platform == 'cpu')
  # What JAX derives from slices.
  assert 'stablehlo.scatter' not in text


@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_xlas_are_xlas_on_cpus_too(name):
  function, args = _second_derivatives(name)
  text = jax.jit(_computing_by('xla', function)).lower(*args).as_text()
  assert 'stablehlo.convolution' in text
  assert 'stablehlo.dot_general' not in text


def test_a_program_for_several_platforms_runs_on_this_one():
  function, args = _second_derivatives('conv')
  exported = jax.export.export(jax.jit(function), platforms=('cpu', 'cuda'))
  actual = exported(*args).call(*args)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    actual,
    jax.jit(function)(*args),
  )


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('stride', [1, 2, SLOW_STRIDE])
def test_xlas_transposes(stride):
  """What other platforms compute is what CPUs do."""
  with jax.enable_x64(True):
    x, w = _inputs('conv', ((9, 7), (4, 3)), MANY)
    geometry = products.Geometry(x.shape[1:3], w.shape[:2], stride)
    y = jnp.sin(products.conv(x, w, geometry))
    for ours, xlas, args in (
      (products.conv, convolution._conv_by_xla, (x, w)),
      (products.to_images, convolution._to_images_by_xla, (y, w)),
      (products.to_kernel, convolution._to_kernel_by_xla, (x, y)),
    ):
      np.testing.assert_allclose(
        ours(*args, geometry), xlas(*args, geometry, None), rtol=0, atol=1e-10
      )


def test_gpus_get_the_gradient_of_a_strided_convolution():
  """Where cuDNN has one: for a kernel that is normalised, and one flipped."""

  def compute(x, w, y):
    def loss(x):
      return jnp.sum(jnp.sin(convolution.conv(x, w / jnp.sum(w), 2)))

    return jax.grad(loss)(x), convolution.conv_transpose(y, w, 2)

  target = machines.read_target('h100')
  has_compiler = importlib.util.find_spec('jax_cuda12_plugin') is not None
  devices = machines.describe_devices(target) if has_compiler else jax.devices()
  place = jax.sharding.SingleDeviceSharding(devices[0])
  shapes = [
    jax.ShapeDtypeStruct(shape, jnp.float32, sharding=place)
    for shape in ((32, 16, 16, 64), (4, 4, 64, 64), (32, 8, 8, 64))
  ]
  traced = jax.jit(compute).trace(*shapes)
  lowered = traced.lower(lowering_platforms=('cuda',))
  assert 'stablehlo.optimization_barrier' in lowered.as_text()
  if has_compiler:
    text = lowered.compile().as_text()
    assert text.count('custom_call_target="__cudnn$convBackwardInput"') == 2
    assert 'padding=0_0_0x2_2_1' not in text


@pytest.mark.parametrize('precision', [None, 'highest', 'tensorfloat32'])
def test_precision_is_that_of_where_it_is_called(precision):
  function, args = _second_derivatives('conv')

  def compute(*args):
    with jax.default_matmul_precision(precision):
      return function(*args)

  traced = jax.jit(compute).trace(*args)
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  found = set(re.findall(r'#stablehlo<precision (\w+)>', text))
  expected = {None: 'DEFAULT', 'highest': 'HIGHEST', 'tensorfloat32': 'HIGH'}
  assert found == {expected[precision]}


def test_without_jit():
  x, w = _inputs('conv', ((6, 7), (3, 3)), FEW, 'float32')
  grad = jax.grad(lambda x: jnp.sum(jnp.sin(convolution.conv(x, w))))
  np.testing.assert_allclose(grad(x), jax.jit(grad)(x), rtol=1e-5, atol=1e-6)


# The choice between implementations.


def _squares(implementation=None):
  """A compiled function that chooses within, and its arguments."""
  function = lambda x, w: jnp.sum(jnp.square(convolution.conv(x, w)))
  if implementation:
    function = _computing_by(implementation, function)
  args = _inputs('conv', ((6, 7), (3, 3)), MANY, 'float32')
  return jax.jit(jax.grad(function)), args


def _has_xlas(function, args):
  return 'stablehlo.convolution' in function.lower(*args).as_text()


def test_the_innermost_context_counts_and_leaves_nothing_behind():
  assert not _has_xlas(*_squares())
  with convolution.use_implementation('xla'):
    with convolution.use_implementation('fast'):
      assert not _has_xlas(*_squares())
    assert _has_xlas(*_squares())
    assert not _has_xlas(*_squares('fast'))
  assert not _has_xlas(*_squares())


def test_caches_of_two_implementations_do_not_mix():
  """Nor does it matter where a compiled function is called."""
  functions = {name: _squares(name) for name in convolution.IMPLEMENTATIONS}
  for name, other in (('fast', 'xla'), ('xla', 'fast')) * 2:
    function, args = functions[name]
    with convolution.use_implementation(other):
      first = function(*args)
      assert _has_xlas(function, args) == (name == 'xla')
    np.testing.assert_array_equal(function(*args), first)
    assert function._cache_size() == 1
  gradients = [function(*args) for function, args in functions.values()]
  # Equal gradients to the last bit would be those of one implementation.
  assert not np.array_equal(*gradients)
  np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_unknown_implementations_are_refused():
  with (
    pytest.raises(ValueError, match="'quick' is not one of fast, xla"),
    convolution.use_implementation('quick'),
  ):
    pass
