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
"""Networks of both players, and transforms of the discriminator's parameters.

Images are NHWC, convolutions pad to the same size, initialisers are Haiku's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import math
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import jmp

from convolutions_as_products import convolution
from convolutions_as_products import layers
from dd_two_player_games import conditioning
from dd_two_player_games import foreign_networks
from dd_two_player_games import image_sizes
from dd_two_player_games import resnets

Activation = Callable[[jax.Array], jax.Array]


def transform(
  make_module: Callable[..., Any],
  kwargs: Mapping[str, Any],
  compute_dtype: str = 'float32',
  convolutions: str = 'fast',
) -> hk.TransformedWithState:
  """A module as two pure functions, `init` and `apply`, without keys for apply.

  Args:
    make_module: a module's class, a function that makes one, or a
      ForeignNetwork, which computes as it will.
    kwargs: its arguments.
    compute_dtype: of its arithmetic; its callers see float32.
    convolutions: one of `convolution.IMPLEMENTATIONS`.
  """
  if isinstance(make_module, foreign_networks.ForeignNetwork):
    return make_module.transform(kwargs)

  def apply(*args, **apply_kwargs):
    with (
      _computing_in(compute_dtype, make_module),
      convolution.use_implementation(convolutions),
    ):
      return make_module(**kwargs)(*args, **apply_kwargs)

  return hk.without_apply_rng(hk.transform_with_state(apply))


@contextlib.contextmanager
def _computing_in(dtype: str, module_class) -> Iterator[None]:
  """Modules of a class compute in a type that their callers do not see."""
  if dtype == 'float32':
    yield
    return
  network, batch_norm = (
    jmp.get_policy(f'params=float32,compute={compute},output={output}')
    # The means of bfloat16 numbers are not.
    for compute, output in ((dtype, 'float32'), ('float32', dtype))
  )
  push = hk.mixed_precision.push_policy
  with push(module_class, network), push(hk.BatchNorm, batch_norm):
    yield


def spectral_norm() -> hk.SNParamsTree:
  """Divides each weight by its largest singular value, one power step a pass.

  Vectors b and the gamma of self-attention, a number, are no weights.

  References:
    Miyato et al., "Spectral Normalization for GANs", 2018.
  """
  return SNParamsTree(ignore_regex='.*(b|/gamma)$', eps=1e-12, n_steps=1)


class SNParamsTree(hk.SNParamsTree):
  """Spectral norm whose products are float32 on GPUs and TPUs, too."""

  def __call__(self, tree: Any, update_stats: bool = True):
    with jax.default_matmul_precision('highest'):
      return super().__call__(tree, update_stats)


def no_op() -> hk.Module:
  """Leaves the parameters alone, but tracks their singular values."""
  return NoOpTree()


class NoOpTree(hk.Module):
  """The identity on parameters, with spectral norm's running estimates."""

  def __init__(self):
    super().__init__(name='NoOpTree')
    self._sn_tree = spectral_norm()

  def __call__(self, tree, update_stats: bool = True):
    self._sn_tree(tree, update_stats=update_stats)
    return tree


class ConvNet2D(hk.Module):
  """Convolutions with an activation between them, none after the last."""

  def __init__(
    self,
    output_channels: Sequence[int],
    strides: Sequence[int],
    kernel_shapes: Sequence[Sequence[int]],
    activation: Activation,
    name: str | None = None,
  ):
    """Initialises the network.

    Args:
      output_channels: one a layer.
      strides: one a layer.
      kernel_shapes: one a layer, or a single one for all.
      activation: between layers.
      name: of the module.

    Raises:
      ValueError: if the numbers of layers differ.
    """
    super().__init__(name=name)
    self._layers = _layers(output_channels, strides, kernel_shapes)
    self._activation = activation

  def __call__(self, x: jax.Array, is_training: bool = True) -> jax.Array:
    del is_training
    for i, layer in enumerate(self._layers):
      x = layers.Conv2D(*layer)(x if i == 0 else self._activation(x))
    return x


class ConvNet2DTranspose(hk.Module):
  """Transposed convolutions; between them batch norm, if asked, and ReLU."""

  def __init__(
    self,
    output_channels: Sequence[int],
    strides: Sequence[int],
    kernel_shapes: Sequence[Sequence[int]],
    use_batch_norm: bool = False,
    batch_norm_config: dict | None = None,
    num_classes: int = 0,
    name: str | None = None,
  ):
    """Initialises the network.

    Args:
      output_channels: one a layer.
      strides: one a layer, or a single one for all.
      kernel_shapes: one a layer, or a single one for all.
      use_batch_norm: whether batch norm precedes each ReLU.
      batch_norm_config: keyword arguments of `hk.BatchNorm`.
      num_classes: of the labels that batch norm takes; 0 for none.
      name: of the module.

    Raises:
      ValueError: if the numbers of layers differ.
    """
    super().__init__(name=name)
    if len(strides) == 1:
      strides = list(strides) * len(output_channels)
    self._layers = _layers(output_channels, strides, kernel_shapes)
    self._batch_norm_config = batch_norm_config if use_batch_norm else None
    self._num_classes = num_classes

  def __call__(
    self,
    x: jax.Array,
    is_training: bool = True,
    test_local_stats: bool = False,
    labels: jax.Array | None = None,
  ) -> jax.Array:
    for i, layer in enumerate(self._layers):
      if i > 0:
        if self._batch_norm_config is not None:
          x = conditioning.normalise(
            *(x, is_training, test_local_stats, labels),
            *(self._num_classes, self._batch_norm_config),
          )
        x = jax.nn.relu(x)
      x = layers.Conv2DTranspose(*layer)(x)
    return x


BATCH_NORM = conditioning.BATCH_NORM
ResNetDiscriminator = resnets.ResNetDiscriminator
ResNetGenerator = resnets.ResNetGenerator


class CifarGenerator(hk.Module):
  """Generator of 32 × 32 colour images, as in the spectral norm paper."""

  def __init__(self, name: str = 'CifarGenerator'):
    super().__init__(name=name)

  def __call__(self, inputs, is_training=True, test_local_stats=False):
    x = hk.Linear(4 * 4 * 512)(inputs).reshape(-1, 4, 4, 512)
    net = ConvNet2DTranspose(
      output_channels=[256, 128, 64, 3],
      kernel_shapes=[(4, 4), (4, 4), (4, 4), (3, 3)],
      strides=[2, 2, 2, 1],
      use_batch_norm=True,
      batch_norm_config=BATCH_NORM,
    )
    return jnp.tanh(net(x, is_training, test_local_stats))


class CifarDiscriminator(hk.Module):
  """Discriminator of 32 × 32 images, as in the spectral norm paper."""

  def __init__(self, name: str = 'CifarDiscriminator', num_outputs: int = 1):
    super().__init__(name=name)
    self._num_outputs = num_outputs

  def __call__(self, inputs, is_training=True):
    activation = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
    net = ConvNet2D(
      output_channels=[64, 64, 128, 128, 256, 256, 512],
      kernel_shapes=[
        (3, 3),
        (4, 4),
        (3, 3),
        (4, 4),
        (3, 3),
        (4, 4),
        (3, 3),
      ],
      strides=[1, 2, 1, 2, 1, 2, 1],
      activation=activation,
    )
    return _linear_output(
      activation(net(inputs, is_training)), self._num_outputs
    )


class MnistGenerator(hk.Module):
  """Generator of 28 × 28 images."""

  def __init__(
    self,
    last_layer_activation: Activation = jnp.tanh,
    output_channels: Sequence[int] = (32, 1),
    name: str = 'MnistGenerator',
  ):
    super().__init__(name=name)
    self._last_layer_activation = last_layer_activation
    self._output_channels = output_channels

  def __call__(self, x, is_training=True, test_local_stats=False):
    del is_training, test_local_stats
    x = jax.nn.relu(hk.Linear(7 * 7 * 64)(x).reshape(-1, 7, 7, 64))
    net = ConvNet2DTranspose(
      output_channels=self._output_channels,
      kernel_shapes=[(5, 5)],
      strides=[2],
    )
    return self._last_layer_activation(net(x))


class MnistDiscriminator(hk.Module):
  """Discriminator of 28 × 28 images."""

  def __init__(self, name: str = 'MnistDiscriminator', num_outputs: int = 1):
    super().__init__(name=name)
    self._num_outputs = num_outputs

  def __call__(self, x, is_training=True):
    del is_training
    activation = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
    net = ConvNet2D(
      output_channels=[8, 16, 32, 64, 128],
      kernel_shapes=[(5, 5)],
      strides=[2, 1, 2, 1, 2],
      activation=activation,
    )
    return _linear_output(activation(net(x)), self._num_outputs)


class DCGANGenerator(hk.Module):
  """A small DCGAN generator of images, doubling the size each layer.

  References:
    Radford et al., "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2016.
  """

  def __init__(
    self,
    channels: Sequence[int] = (32, 16),
    output_channels: int = 0,
    output_size: int = 0,
    output_shape: Sequence[int] = (28, 28, 1),
    num_classes: int = 0,
    name: str = 'DCGANGenerator',
  ):
    """Initialises the generator.

    Args:
      channels: before each transposed convolution of stride 2.
      output_channels: of the images; 0 for those of `output_shape`.
      output_size: their height and width; 0 for those of `output_shape`.
      output_shape: height, width and channels of the images: the data's.
      num_classes: of the labels that it is given; 0 for none.
      name: of the module.

    Raises:
      ValueError: if `output_shape` is not an image's.
    """
    super().__init__(name=name)
    height, width, depth = image_sizes.check_shape(output_shape)
    self._size = (output_size or height, output_size or width)
    self._channels = tuple(channels)
    self._output_channels = output_channels or depth
    self._num_classes = num_classes

  def __call__(self, x, is_training=True, test_local_stats=False, labels=None):
    first = image_sizes.first_size(self._size, len(self._channels))
    shape = (*first, self._channels[0])
    x = hk.Linear(math.prod(shape))(x).reshape(-1, *shape)
    x = conditioning.normalise(
      x, is_training, test_local_stats, labels, self._num_classes
    )
    net = ConvNet2DTranspose(
      output_channels=(*self._channels[1:], self._output_channels),
      kernel_shapes=[(4, 4)],
      strides=[2],
      use_batch_norm=True,
      batch_norm_config=BATCH_NORM,
      num_classes=self._num_classes,
    )
    x = net(jax.nn.relu(x), is_training, test_local_stats, labels)
    return jnp.tanh(image_sizes.crop(x, self._size))


class DCGANDiscriminator(hk.Module):
  """A small DCGAN discriminator: 4 × 4 convolutions of stride 2."""

  def __init__(
    self,
    channels: Sequence[int] = (16, 32),
    negative_slope: float = 0.2,
    name: str = 'DCGANDiscriminator',
    num_outputs: int = 1,
    num_classes: int = 0,
  ):
    super().__init__(name=name)
    self._num_outputs = num_outputs
    self._channels = tuple(channels)
    self._negative_slope = negative_slope
    self._num_classes = num_classes

  def __call__(self, x, is_training=True, labels=None):
    del is_training
    activation = functools.partial(
      jax.nn.leaky_relu, negative_slope=self._negative_slope
    )
    net = ConvNet2D(
      output_channels=self._channels,
      kernel_shapes=[(4, 4)],
      strides=[2] * len(self._channels),
      activation=activation,
    )
    features = hk.Flatten()(activation(net(x)))
    return conditioning.score(
      features, labels, self._num_classes, self._num_outputs
    )


class SimpleMLP(hk.nets.MLP):
  """A ReLU multi-layer perceptron: either player of point data.

  Labels are part of its input, as 0 and 1 for each class.
  """

  def __init__(
    self,
    depth: int = 4,
    hidden_size: int = 25,
    out_dim: int = 1,
    num_classes: int = 0,
    name: str = 'SimpleMLP',
  ):
    super().__init__([hidden_size] * depth + [out_dim], name=name)
    self._num_classes = num_classes

  def __call__(self, x, is_training=True, test_local_stats=False, labels=None):
    del is_training, test_local_stats
    conditioning.check_labels(labels, self._num_classes)
    if labels is not None:
      classes = jax.nn.one_hot(labels, self._num_classes, dtype=x.dtype)
      x = jnp.concatenate([x, classes], axis=-1)
    return super().__call__(x)


def _layers(output_channels, strides, kernel_shapes):
  if len(kernel_shapes) == 1:
    kernel_shapes = list(kernel_shapes) * len(output_channels)
  if not len(output_channels) == len(strides) == len(kernel_shapes):
    raise ValueError(
      f'{len(output_channels)} output_channels, {len(strides)} strides and '
      f'{len(kernel_shapes)} kernel_shapes: there must be one a layer.'
    )
  return list(zip(output_channels, kernel_shapes, strides, strict=True))


def _linear_output(x: jax.Array, num_outputs: int) -> jax.Array:
  return hk.Linear(num_outputs)(hk.Flatten()(x))
