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
"""The Inception of the Frechet distance, without TensorFlow.

The graph `inception-2015-12-05`: InceptionV3 with batch normalisation, 2048
activations of `pool_3` and 1008 logits. It differs from later ones: its mean
pools leave out what pads the image, the last block takes a maximum in place of
a mean, and images are resized bilinearly as TensorFlow 1 did (pixel i of 299
lies at i size / 299), then scaled to (x - 128) / 128.

Its weights are not part of this project. They are read from a file of arrays
with the names and shapes of pytorch-fid's state dict (`array_shapes`), from
which `docs/metrics.md` makes one.

References:
  Szegedy et al., Rethinking the Inception Architecture for Computer Vision,
  arXiv:1512.00567.
  Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a
  Local Nash Equilibrium, arXiv:1706.08500.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import hashlib
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dd_two_player_games import image_metrics
from jaxline_harness import errors
from jaxline_harness import files

IMAGE_SIZE = 299
NUM_CLASSES = 1008
NUM_ACTIVATIONS = 2048
SUFFIXES = ('.npz', '.safetensors')

_BATCH_NORM_EPSILON = 1e-3
# Every call runs one compiled program, for this many images.
_BATCH_SIZE = 32
# A GPU's default float32 products are less exact than a CPU's.
_PRECISION = jax.lax.Precision.HIGHEST

Params = dict[str, jax.Array]


# The network.


class Conv(NamedTuple):
  """A convolution, its batch normalisation, and ReLU.

  Attributes:
    name: of its arrays.
    channels: of its output.
    kernel: height and width.
    strides: along both.
    padding: 'SAME' or 'VALID'.
  """

  name: str
  channels: int
  kernel: tuple[int, int] = (1, 1)
  strides: int = 1
  padding: str = 'SAME'


class Mixed(NamedTuple):
  """Branches, each a sequence of layers, whose outputs are concatenated."""

  branches: Sequence[Sequence['Layer']]


Layer = Conv | Mixed | Callable[[jax.Array], jax.Array]


def _mean_pool(x: jax.Array) -> jax.Array:
  """3 x 3, the mean of those pixels that are in the image."""
  window = (1, 3, 3, 1), (1, 1, 1, 1), 'SAME'
  total = jax.lax.reduce_window(x, 0.0, jax.lax.add, *window)
  inside = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
  return total / jax.lax.reduce_window(inside, 0.0, jax.lax.add, *window)


def _max_pool(
  x: jax.Array, strides: int = 2, padding: str = 'VALID'
) -> jax.Array:
  window = (1, 3, 3, 1), (1, strides, strides, 1), padding
  return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *window)


_max_pool_same = functools.partial(_max_pool, strides=1, padding='SAME')


def _mixed_a(name: str, pool_channels: int) -> Mixed:
  return Mixed(
    [
      [Conv(f'{name}.branch1x1', 64)],
      [
        Conv(f'{name}.branch5x5_1', 48),
        Conv(f'{name}.branch5x5_2', 64, (5, 5)),
      ],
      [
        Conv(f'{name}.branch3x3dbl_1', 64),
        Conv(f'{name}.branch3x3dbl_2', 96, (3, 3)),
        Conv(f'{name}.branch3x3dbl_3', 96, (3, 3)),
      ],
      [_mean_pool, Conv(f'{name}.branch_pool', pool_channels)],
    ]
  )


def _mixed_b(name: str) -> Mixed:
  return Mixed(
    [
      [Conv(f'{name}.branch3x3', 384, (3, 3), 2, 'VALID')],
      [
        Conv(f'{name}.branch3x3dbl_1', 64),
        Conv(f'{name}.branch3x3dbl_2', 96, (3, 3)),
        Conv(f'{name}.branch3x3dbl_3', 96, (3, 3), 2, 'VALID'),
      ],
      [_max_pool],
    ]
  )


def _mixed_c(name: str, channels: int) -> Mixed:
  return Mixed(
    [
      [Conv(f'{name}.branch1x1', 192)],
      [
        Conv(f'{name}.branch7x7_1', channels),
        Conv(f'{name}.branch7x7_2', channels, (1, 7)),
        Conv(f'{name}.branch7x7_3', 192, (7, 1)),
      ],
      [
        Conv(f'{name}.branch7x7dbl_1', channels),
        Conv(f'{name}.branch7x7dbl_2', channels, (7, 1)),
        Conv(f'{name}.branch7x7dbl_3', channels, (1, 7)),
        Conv(f'{name}.branch7x7dbl_4', channels, (7, 1)),
        Conv(f'{name}.branch7x7dbl_5', 192, (1, 7)),
      ],
      [_mean_pool, Conv(f'{name}.branch_pool', 192)],
    ]
  )


def _mixed_d(name: str) -> Mixed:
  return Mixed(
    [
      [
        Conv(f'{name}.branch3x3_1', 192),
        Conv(f'{name}.branch3x3_2', 320, (3, 3), 2, 'VALID'),
      ],
      [
        Conv(f'{name}.branch7x7x3_1', 192),
        Conv(f'{name}.branch7x7x3_2', 192, (1, 7)),
        Conv(f'{name}.branch7x7x3_3', 192, (7, 1)),
        Conv(f'{name}.branch7x7x3_4', 192, (3, 3), 2, 'VALID'),
      ],
      [_max_pool],
    ]
  )


def _mixed_e(name: str, pool: Callable[[jax.Array], jax.Array]) -> Mixed:
  def both_ways(prefix):
    return Mixed(
      [
        [Conv(f'{name}.{prefix}a', 384, (1, 3))],
        [Conv(f'{name}.{prefix}b', 384, (3, 1))],
      ]
    )

  return Mixed(
    [
      [Conv(f'{name}.branch1x1', 320)],
      [Conv(f'{name}.branch3x3_1', 384), both_ways('branch3x3_2')],
      [
        Conv(f'{name}.branch3x3dbl_1', 448),
        Conv(f'{name}.branch3x3dbl_2', 384, (3, 3)),
        both_ways('branch3x3dbl_3'),
      ],
      [pool, Conv(f'{name}.branch_pool', 192)],
    ]
  )


LAYERS: Sequence[Layer] = (
  Conv('Conv2d_1a_3x3', 32, (3, 3), 2, 'VALID'),
  Conv('Conv2d_2a_3x3', 32, (3, 3), 1, 'VALID'),
  Conv('Conv2d_2b_3x3', 64, (3, 3)),
  _max_pool,
  Conv('Conv2d_3b_1x1', 80),
  Conv('Conv2d_4a_3x3', 192, (3, 3), 1, 'VALID'),
  _max_pool,
  _mixed_a('Mixed_5b', 32),
  _mixed_a('Mixed_5c', 64),
  _mixed_a('Mixed_5d', 64),
  _mixed_b('Mixed_6a'),
  _mixed_c('Mixed_6b', 128),
  _mixed_c('Mixed_6c', 160),
  _mixed_c('Mixed_6d', 160),
  _mixed_c('Mixed_6e', 192),
  _mixed_d('Mixed_7a'),
  _mixed_e('Mixed_7b', _mean_pool),
  _mixed_e('Mixed_7c', _max_pool_same),
)


def apply_layers(
  layers: Sequence[Layer],
  x: jax.Array,
  convolve: Callable[[Conv, jax.Array], jax.Array],
) -> jax.Array:
  """Applies layers one after the other.

  Args:
    layers: of `LAYERS`.
    x: (N, H, W, C).
    convolve: what a `Conv` does.

  Returns:
    (N, H', W', C').
  """
  for layer in layers:
    if isinstance(layer, Conv):
      x = convolve(layer, x)
    elif isinstance(layer, Mixed):
      parts = [apply_layers(b, x, convolve) for b in layer.branches]
      x = jnp.concatenate(parts, axis=-1)
    else:
      x = layer(x)
  return x


def classify(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The network.

  Args:
    params: of `fold_batch_norms`.
    x: scaled images (N, H, W, 3), H and W at least 75.

  Returns:
    Logits (N, 1008) and the activations of `pool_3`, (N, 2048).
  """

  def convolve(conv, x):
    return _convolve(
      conv, x, params[f'{conv.name}/w'], params[f'{conv.name}/b']
    )

  activations = apply_layers(LAYERS, x, convolve).mean(axis=(1, 2))
  logits = jnp.dot(activations, params['fc/w'], precision=_PRECISION)
  return logits + params['fc/b'], activations


def _convolve(conv: Conv, x: jax.Array, w: jax.Array, b: jax.Array):
  out = jax.lax.conv_general_dilated(
    x,
    w,
    window_strides=(conv.strides, conv.strides),
    padding=conv.padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision=_PRECISION,
  )
  return jax.nn.relu(out + b)


def scale_images(images: jax.Array) -> jax.Array:
  """uint8 images (N, H, W, 1 or 3) as the network takes them."""
  images = jnp.broadcast_to(images, (*images.shape[:-1], 3))
  rows, columns = (_interpolation(size) for size in images.shape[1:3])
  images = images.astype(jnp.float32)
  images = jnp.einsum('ih,nhwc->niwc', rows, images, precision=_PRECISION)
  images = jnp.einsum('jw,niwc->nijc', columns, images, precision=_PRECISION)
  return (images - 128.0) / 128.0


def _interpolation(size: int) -> np.ndarray:
  """Weights of `size` pixels in each of 299, (299, size)."""
  places = np.arange(IMAGE_SIZE) * (size / IMAGE_SIZE)
  low = places.astype(int)
  high = np.minimum(low + 1, size - 1)
  weights = np.zeros((IMAGE_SIZE, size), np.float32)
  rows = np.arange(IMAGE_SIZE)
  weights[rows, low] += 1.0 - (places - low)
  weights[rows, high] += places - low
  return weights


# Its weights.


@functools.cache
def kernel_shapes() -> Mapping[str, tuple[int, int, int, int]]:
  """Of each convolution by name, in forward order: (H, W, in, out)."""
  shapes = {}

  def record(conv, x):
    shape = (*conv.kernel, x.shape[-1], conv.channels)
    shapes[conv.name] = shape
    return _convolve(conv, x, jnp.zeros(shape), jnp.zeros(shape[-1]))

  image = jax.ShapeDtypeStruct((1, IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
  jax.eval_shape(lambda x: apply_layers(LAYERS, x, record), image)
  return shapes


def array_shapes() -> dict[str, tuple[int, ...]]:
  """Shapes of the arrays of a file of weights, by their names in it."""
  shapes: dict[str, tuple[int, ...]] = {}
  for name, (height, width, inputs, outputs) in kernel_shapes().items():
    shapes[f'{name}.conv.weight'] = (outputs, inputs, height, width)
    for statistic in ('weight', 'bias', 'running_mean', 'running_var'):
      shapes[f'{name}.bn.{statistic}'] = (outputs,)
  shapes['fc.weight'] = (NUM_CLASSES, NUM_ACTIVATIONS)
  shapes['fc.bias'] = (NUM_CLASSES,)
  return shapes


def is_file_of_weights(path: str) -> bool:
  """Whether a path names, or is to name, such a file and not a folder."""
  return pathlib.Path(path).suffix in SUFFIXES or os.path.isfile(path)


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a file of weights.

  Args:
    path: an `.npz`, or a `.safetensors`. Arrays of other names are left out.

  Returns:
    The arrays of `array_shapes`.

  Raises:
    UserError: the file cannot be read, or is not one of this network.
  """
  suffix = pathlib.Path(path).suffix
  if suffix not in SUFFIXES:
    raise errors.UserError(
      f'eval.inception_path: {path} is neither a folder, nor named *'
      f'{" or *".join(SUFFIXES)}: docs/metrics.md makes one of these'
    )
  read = files.read_npz if suffix == '.npz' else files.read_safetensors
  try:
    arrays = read(path)
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f'eval.inception_path: {path} cannot be read: {errors.one_line(error)}'
    ) from error
  shapes = array_shapes()
  for name, shape in shapes.items():
    if name not in arrays:
      wrong = 'is missing'
    elif arrays[name].shape != shape:
      wrong = f'has shape {arrays[name].shape}, not {shape}'
    elif arrays[name].dtype.kind != 'f':
      wrong = f'holds {arrays[name].dtype}, no floats'
    elif not np.isfinite(arrays[name]).all():
      wrong = 'holds numbers that are not finite'
    elif name.endswith('running_var') and (arrays[name] < 0).any():
      wrong = 'holds a variance below zero'
    else:
      continue
    raise errors.UserError(
      f"eval.inception_path: {path} holds no weights of FID's Inception: "
      f'{name} {wrong}'
    )
  return {name: arrays[name] for name in shapes}


def fold_batch_norms(arrays: Mapping[str, np.ndarray]) -> Params:
  """Weights and biases of convolutions that normalise by themselves.

  Args:
    arrays: of `read_weights`.

  Returns:
    For each convolution, and `fc`, the arrays `<name>/w` and `<name>/b`.
  """
  params = {}
  for name in kernel_shapes():
    scale, bias, mean, variance = (
      arrays[f'{name}.bn.{statistic}'].astype(np.float64)
      for statistic in ('weight', 'bias', 'running_mean', 'running_var')
    )
    scale = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
    kernel = arrays[f'{name}.conv.weight'].transpose(2, 3, 1, 0)
    params[f'{name}/w'] = kernel * scale.astype(np.float32)
    params[f'{name}/b'] = bias - mean * scale
  params['fc/w'] = arrays['fc.weight'].T
  params['fc/b'] = arrays['fc.bias']
  return {name: jnp.asarray(x, jnp.float32) for name, x in params.items()}


class InceptionNetwork:
  """Inception with weights from a file; a `image_metrics.Classifier`.

  Attributes:
    name: what figures measured with it are to say.
  """

  def __init__(self, path: str | os.PathLike[str]):
    """Loads the weights.

    Args:
      path: as `read_weights` takes it.

    Raises:
      UserError: the file is not there or is not one of this network.
    """
    self._params = fold_batch_norms(read_weights(path))
    with open(path, 'rb') as f:
      digest = hashlib.file_digest(f, 'sha256').hexdigest()[:12]
    self.name = f'Inception of 2015-12-05 in JAX, {path} (sha256 {digest})'
    self._run = jax.jit(lambda params, x: classify(params, scale_images(x)))

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classifies uint8 images (N, H, W, 1 or 3).

    Returns:
      Logits (N, 1008) and `pool_3` activations (N, 2048), float32.

    Raises:
      UserError: the images have neither 1 nor 3 channels.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
      raise errors.UserError(
        'Inception takes images with 1 or 3 channels (N, H, W, C), not '
        f'{images.shape}.'
      )
    return image_metrics.classify_in_batches(
      functools.partial(self._run, self._params), images, _BATCH_SIZE
    )
