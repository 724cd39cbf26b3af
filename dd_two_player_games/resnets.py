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
r"""Residual networks of both players, with or without labels and attention.

Those of Miyato et al., "Spectral Normalization for Generative Adversarial
Networks", 2018, table 4, for images of any size; with their `channels` of 256
and 128 they are the paper's for 32 × 32 images. Batch norm is averaged over
devices, labels are taken as in Miyato and Koyama, "cGANs with Projection
Discriminator", 2018. Initial values are Haiku's, not the papers'.
"""

from collections.abc import Sequence
import math

import haiku as hk
import jax
import jax.numpy as jnp

from convolutions_as_products import layers
from dd_two_player_games import conditioning
from dd_two_player_games import image_sizes

# The least height and width that a generator begins with.
_LEAST_SIDE = 4
_KEY_SHARE = 8  # Of attention: channels of its input to those of its keys.


class ResNetGenerator(hk.Module):
  """Blocks that double the size, from 4 × 4 for 32 × 32 images.

  The first layer makes at least 4 × 4 and fewer than 8 on the shorter side: for
  28 × 28 images two blocks follow on 7 × 7. What is too large at the end is
  cropped.
  """

  def __init__(
    self,
    channels: int = 256,
    attention_after: int = 0,
    output_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 0,
    name: str = 'ResNetGenerator',
  ):
    """Initialises the generator.

    Args:
      channels: of all blocks.
      attention_after: the block, from 1, that self-attention follows; 0: none.
      output_shape: height, width and channels of the images: the data's.
      num_classes: of the labels that it is given; 0 for none.
      name: of the module.

    Raises:
      ValueError: if `output_shape` is not an image's.
    """
    super().__init__(name=name)
    *self._size, self._output_channels = image_sizes.check_shape(output_shape)
    ratio = min(self._size) / _LEAST_SIDE
    self._num_blocks = max(1, math.floor(math.log2(ratio)))
    _check_block(attention_after, self._num_blocks)
    self._channels = channels
    self._attention_after = attention_after
    self._num_classes = num_classes

  def __call__(
    self, latents, is_training=True, test_local_stats=False, labels=None
  ):
    first = image_sizes.first_size(self._size, self._num_blocks)
    shape = (*first, self._channels)
    x = hk.Linear(math.prod(shape))(latents).reshape(-1, *shape)
    for number in range(1, self._num_blocks + 1):
      block = GeneratorBlock(self._channels, self._num_classes)
      x = block(x, is_training, test_local_stats, labels)
      if number == self._attention_after:
        x = SelfAttention()(x)
    x = jax.nn.relu(conditioning.normalise(x, is_training, test_local_stats))
    x = layers.Conv2D(self._output_channels, (3, 3))(x)
    return image_sizes.crop(jnp.tanh(x), self._size)


class ResNetDiscriminator(hk.Module):
  """Blocks of which the first halve the size; global sum pooling; linear."""

  def __init__(
    self,
    channels: int = 128,
    num_blocks: int = 4,
    num_halvings: int = 2,
    attention_after: int = 0,
    num_outputs: int = 1,
    num_classes: int = 0,
    name: str = 'ResNetDiscriminator',
  ):
    """Initialises the discriminator.

    Args:
      channels: of all blocks.
      num_blocks: how many.
      num_halvings: how many of them, the first, halve the size.
      attention_after: the block, from 1, that self-attention follows; 0: none.
      num_outputs: of each example.
      num_classes: of the labels that it is given; 0 for none.
      name: of the module.

    Raises:
      ValueError: if there are fewer blocks than these numbers ask for.
    """
    super().__init__(name=name)
    _check_block(attention_after, num_blocks)
    _check_block(num_halvings, num_blocks)
    self._channels = channels
    self._num_blocks = num_blocks
    self._num_halvings = num_halvings
    self._attention_after = attention_after
    self._num_outputs = num_outputs
    self._num_classes = num_classes

  def __call__(self, x, is_training=True, labels=None):
    del is_training
    for number in range(1, self._num_blocks + 1):
      block = DiscriminatorBlock(
        self._channels, number <= self._num_halvings, is_first=number == 1
      )
      x = block(x)
      if number == self._attention_after:
        x = SelfAttention()(x)
    features = jnp.sum(jax.nn.relu(x), axis=(1, 2))
    return conditioning.score(
      features, labels, self._num_classes, self._num_outputs
    )


class GeneratorBlock(hk.Module):
  """Doubles the size; beside it goes a 1 × 1 convolution of the doubled."""

  def __init__(
    self, channels: int, num_classes: int = 0, name: str | None = None
  ):
    super().__init__(name=name)
    self._channels = channels
    self._num_classes = num_classes

  def __call__(
    self, x: jax.Array, is_training: bool, test_local_stats: bool, labels=None
  ) -> jax.Array:
    def activate(y):
      return jax.nn.relu(
        conditioning.normalise(
          y, is_training, test_local_stats, labels, self._num_classes
        )
      )

    y = layers.Conv2D(self._channels, (3, 3))(double(activate(x)))
    y = layers.Conv2D(self._channels, (3, 3))(activate(y))
    return y + layers.Conv2D(self._channels, (1, 1))(double(x))


class DiscriminatorBlock(hk.Module):
  """May halve the size; beside it goes its input, or a convolution of that."""

  def __init__(
    self,
    channels: int,
    halves: bool,
    is_first: bool,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._channels = channels
    self._halves = halves
    self._is_first = is_first

  def __call__(self, x: jax.Array) -> jax.Array:
    y = x if self._is_first else jax.nn.relu(x)
    y = layers.Conv2D(self._channels, (3, 3))(y)
    y = layers.Conv2D(self._channels, (3, 3))(jax.nn.relu(y))
    if self._halves:
      # A 1 × 1 convolution of means is the mean of convolutions, for less.
      x, y = halve(x), halve(y)
    if self._halves or x.shape[-1] != self._channels:
      x = layers.Conv2D(self._channels, (1, 1))(x)
    return x + y


class SelfAttention(hk.Module):
  r"""Each place of an image adds a mean over all places to itself.

  .. math::
    \beta_{ji} = \mathrm{softmax}_i(f(x_i)^\top g(x_j)), \quad
    y_j = x_j + \gamma v\Bigl(\sum_i \beta_{ji} h(x_i)\Bigr)

  f, g, h and v are 1 × 1 convolutions, f, g and h to an eighth of the channels.
  :math:`\gamma` is 0 at first, so that the module begins as the identity.

  References:
    Zhang et al., "Self-Attention Generative Adversarial Networks", 2019.
  """

  def __call__(self, x: jax.Array) -> jax.Array:
    channels = x.shape[-1]
    few = max(1, channels // _KEY_SHARE)
    f, g, h = (
      layers.Conv2D(few, (1, 1), name=name)(x).reshape(x.shape[0], -1, few)
      for name in 'fgh'
    )
    weights = jax.nn.softmax(jnp.einsum('nic,njc->nji', f, g))
    mean = jnp.einsum('nji,nic->njc', weights, h)
    mean = mean.reshape(*x.shape[:-1], few)
    # Spectral norm leaves parameters of this name alone.
    gamma = hk.get_parameter('gamma', (), x.dtype, jnp.zeros)
    return x + gamma * layers.Conv2D(channels, (1, 1), name='v')(mean)


def double(x: jax.Array) -> jax.Array:
  """Images of twice the height and width: each place four times."""
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def halve(x: jax.Array) -> jax.Array:
  """Images of half the height and width: means of what falls together.

  An odd side is rounded up; at its end fewer places fall together.
  """
  batch, height, width, channels = x.shape
  if height % 2 or width % 2:
    # The mean of a place and its copy is the place.
    padding = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    x = jnp.pad(x, padding, mode='edge')
    height, width = x.shape[1:3]
  parts = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return jnp.mean(parts, axis=(2, 4))


def _check_block(number: int, num_blocks: int) -> None:
  if number > num_blocks:
    raise ValueError(f'there are {num_blocks} blocks, not {number}')
