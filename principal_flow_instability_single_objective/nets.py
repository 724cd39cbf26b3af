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
"""Networks that classify images: from float images to logits.

With `tanh` they also take complex parameters, which the principal flow needs:
all else, pooling by means too, is analytic.

Convolutions are those of `convolutions_as_products`, with a parameter of one
matrix a layer.
"""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from convolutions_as_products import convolution
from jaxline_harness import errors

ACTIVATIONS = {'tanh': jnp.tanh, 'relu': jax.nn.relu}
POOL = 'pool'


def _initializer(activation: str) -> hk.initializers.Initializer:
  """Keeps the size of activations from layer to layer."""
  return hk.initializers.VarianceScaling(2.0 if activation == 'relu' else 1.0)


class MLP(hk.Module):
  """A multilayer perceptron of all pixels."""

  def __init__(
    self,
    num_classes: int,
    hidden_sizes: Sequence[int] = (64, 64),
    activation: str = 'tanh',
  ):
    super().__init__()
    self._layers = hk.nets.MLP(
      [*hidden_sizes, num_classes],
      w_init=_initializer(activation),
      activation=ACTIVATIONS[activation],
    )

  def __call__(self, images: jax.Array) -> jax.Array:
    return self._layers(hk.Flatten()(images))


class ConvNet(hk.Module):
  """3 × 3 convolutions and 2 × 2 pooling, then a perceptron, as in VGG."""

  def __init__(
    self,
    num_classes: int,
    layers: Sequence[int | str] = (8, POOL, 16, POOL),
    hidden_sizes: Sequence[int] = (),
    activation: str = 'tanh',
  ):
    """Keeps the settings.

    Args:
      num_classes: the number of logits.
      layers: a convolution's number of channels, or 'pool'.
      hidden_sizes: of the perceptron.
      activation: 'tanh' or 'relu'.
    """
    super().__init__()
    self._layers = layers
    self._activation = activation
    self._perceptron = MLP(num_classes, hidden_sizes, activation)

  def __call__(self, images: jax.Array) -> jax.Array:
    _, height, width, _ = images.shape
    num_pools = self._layers.count(POOL)
    if min(height, width) < 2**num_pools:
      raise errors.UserError(
        f'ConvNet pools {num_pools} times, which leaves nothing of images of '
        f'{height} × {width} pixels; net.kwargs.layers may have {POOL!r} '
        f'{min(height, width).bit_length() - 1} times'
      )
    x = images
    for layer in self._layers:
      if layer == POOL:
        x = _mean_pool(x)
      else:
        x = _Conv3x3(int(layer), _initializer(self._activation))(x)
        x = ACTIVATIONS[self._activation](x)
    return self._perceptron(x)


class _Conv3x3(hk.Module):
  """A convolution with padding SAME and stride 1."""

  def __init__(self, channels: int, w_init: hk.initializers.Initializer):
    super().__init__()
    self._channels = channels
    self._w_init = w_init

  def __call__(self, x: jax.Array) -> jax.Array:
    channels = x.shape[-1]
    shape = (9 * channels, self._channels)
    w = hk.get_parameter('w', shape, init=self._w_init)
    b = hk.get_parameter('b', shape[1:], init=jnp.zeros)
    w = w.reshape(3, 3, channels, self._channels)
    return convolution.conv(x.astype(w.dtype), w) + b


def _mean_pool(x: jax.Array) -> jax.Array:
  """2 × 2, stride 2; an odd last row or column is left out."""
  n, height, width, channels = x.shape
  rows, columns = height // 2, width // 2
  x = x[:, : 2 * rows, : 2 * columns]
  return x.reshape(n, rows, 2, columns, 2, channels).mean(axis=(2, 4))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The mean cross-entropy; analytic, so that logits may be complex.

  Args:
    logits: (n, num_classes).
    labels: integers (n,).

  Returns:
    A scalar.
  """
  largest = jax.lax.stop_gradient(logits.real.max(-1, keepdims=True))
  logits = logits - largest
  right = jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
  return jnp.mean(jnp.log(jnp.sum(jnp.exp(logits), -1)) - right)
