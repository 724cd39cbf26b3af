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
"""Haiku's layers of convolutions with padding SAME, by `convolution`.

Parameters, their names, initial values and results are Haiku's.
"""

from collections.abc import Sequence
import math

import haiku as hk
import jax
import jax.numpy as jnp

from convolutions_as_products import convolution


class _Layer(hk.Module):
  """What both layers take."""

  def __init__(
    self,
    output_channels: int,
    kernel_shape: Sequence[int],
    stride: int = 1,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._output_channels = output_channels
    self._kernel_shape = tuple(kernel_shape)
    self._stride = stride


class Conv2D(_Layer):
  """`hk.Conv2D` with padding SAME."""

  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (*self._kernel_shape, x.shape[-1], self._output_channels)
    w = hk.get_parameter('w', shape, x.dtype, _initializer(shape[:-1]))
    b = hk.get_parameter('b', shape[-1:], x.dtype, jnp.zeros)
    return convolution.conv(x, w, self._stride) + b


class Conv2DTranspose(_Layer):
  """`hk.Conv2DTranspose` with padding SAME."""

  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (*self._kernel_shape, self._output_channels, x.shape[-1])
    fan_in = (*self._kernel_shape, x.shape[-1])
    w = hk.get_parameter('w', shape, x.dtype, _initializer(fan_in))
    b = hk.get_parameter('b', shape[2:3], x.dtype, jnp.zeros)
    return convolution.conv_transpose(x, w, self._stride) + b


def _initializer(fan_in: Sequence[int]) -> hk.initializers.Initializer:
  """Haiku's default: a truncated normal of deviation 1/√fan-in."""
  return hk.initializers.TruncatedNormal(1 / math.sqrt(math.prod(fan_in)))
