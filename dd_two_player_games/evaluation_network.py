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

"""A small classifier of Fashion-MNIST that plays Inception's part.

Inception's weights cannot be shipped with the code and mean little for grey
28x28 images. On Fashion-MNIST the metrics of `metric_utils` are therefore
measured with this network: its logits give the "Inception" score, its 64
penultimate activations the Frechet distance. Such figures compare models with
one another; they are no figures of Inception, and `EvaluationNetwork.name`,
which goes into every metrics file, says so.

The weights were trained by `benchmarks/train_evaluation_network.py` on the
60,000 training images. Accuracy on the 10,000 test images: 92.02 %.
"""

from collections.abc import Mapping
import functools
import hashlib
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from dd_two_player_games import image_metrics
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import files

IMAGE_SHAPE = (28, 28, 1)
NUM_CLASSES = 10
NUM_ACTIVATIONS = 64
WEIGHTS_PATH = pathlib.Path(__file__).with_name(
  'evaluation_network_weights.npz'
)


def weight_shapes(
  image_shape: tuple[int, ...], num_classes: int
) -> Mapping[str, tuple[int, ...]]:
  """Shapes of the layers' weights, in forward order; convolutions are HWIO."""
  # Three poolings halve the sides, rounded up.
  height, width = (-(-size // 8) for size in image_shape[:2])
  return {
    'conv_0': (3, 3, image_shape[2], 24),
    'conv_1': (3, 3, 24, 48),
    'conv_2': (3, 3, 48, 64),
    'linear_0': (height * width * 64, NUM_ACTIVATIONS),
    'linear_1': (NUM_ACTIVATIONS, num_classes),
  }


WEIGHT_SHAPES = weight_shapes(IMAGE_SHAPE, NUM_CLASSES)

# Every call runs one compiled program, for this many images.
_BATCH_SIZE = 500

# A GPU's default float32 products are less exact than a CPU's: with `highest`
# the metrics do not depend on where they were measured.
_PRECISION = jax.lax.Precision.HIGHEST

Params = dict[str, jax.Array]


def features(params: Params, images: jax.Array) -> jax.Array:
  """The convolutional part.

  Args:
    params: for each name of `WEIGHT_SHAPES` the arrays `<name>/w`, `<name>/b`.
    images: float (N, 28, 28, 1), in [-1, 1]; of another shape where the weights
      are for that.

  Returns:
    (N, 1024).
  """
  x = _max_pool(_conv(params, 'conv_0', images))
  x = _max_pool(_conv(params, 'conv_1', x))
  x = _max_pool(_conv(params, 'conv_2', x))
  return x.reshape(x.shape[0], -1)


def classify(
  params: Params, flat_features: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The linear layers.

  Args:
    params: as in `features`.
    flat_features: (N, 1024).

  Returns:
    Logits (N, 10) and the penultimate layer's activations (N, 64).
  """
  activations = jax.nn.relu(_linear(params, 'linear_0', flat_features))
  return _linear(params, 'linear_1', activations), activations


def _conv(params: Params, name: str, x: jax.Array) -> jax.Array:
  out = jax.lax.conv_general_dilated(
    x,
    params[f'{name}/w'],
    window_strides=(1, 1),
    padding='SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision=_PRECISION,
  )
  return jax.nn.relu(out + params[f'{name}/b'])


def _max_pool(x: jax.Array) -> jax.Array:
  """2x2, stride 2, padding SAME, of values that are not negative."""
  # On CPUs the gradient of a maximum over two axes is several times faster than
  # that of `reduce_window`.
  x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
  n, h, w, c = x.shape
  return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def _linear(params: Params, name: str, x: jax.Array) -> jax.Array:
  product = jnp.dot(x, params[f'{name}/w'], precision=_PRECISION)
  return product + params[f'{name}/b']


class EvaluationNetwork:
  """The trained network; a `image_metrics.Classifier`.

  Attributes:
    name: what figures measured with it are to say.
    test_accuracy: share of the 10,000 test images classified correctly.
  """

  def __init__(self, path: str | os.PathLike = WEIGHTS_PATH):
    """Loads the weights.

    Args:
      path: .npz as `save_weights` writes it.

    Raises:
      UserError: the file is not there or is not one of this network.
    """
    path = pathlib.Path(path)
    try:
      arrays = files.read_npz(path)
      self.test_accuracy = float(arrays['test_accuracy'])
      self._params = {
        key: jnp.asarray(arrays[key], jnp.float32) for key in _array_shapes()
      }
    except (OSError, KeyError, ValueError, TypeError) as error:
      raise errors.UserError(
        f'Cannot read the evaluation network {path} ({error}). '
        'benchmarks/train_evaluation_network.py makes it.'
      ) from error
    for key, shape in _array_shapes().items():
      if self._params[key].shape != shape:
        raise errors.UserError(
          f'{path}: {key} has shape {self._params[key].shape}, not {shape}.'
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    self.name = (
      'Fashion-MNIST evaluation network, not Inception '
      f'(test accuracy {100 * self.test_accuracy:.2f} %, sha256 {digest})'
    )
    self._run = jax.jit(
      lambda params, x: classify(
        params, features(params, draws.scale_images(x))
      )
    )

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classifies uint8 images (N, 28, 28, 1).

    Returns:
      Logits (N, 10) and activations (N, 64), float32.

    Raises:
      UserError: the images are of another shape.
    """
    if images.shape[1:] != IMAGE_SHAPE or images.dtype != np.uint8:
      raise errors.UserError(
        f'The evaluation network takes uint8 images of shape {IMAGE_SHAPE}, '
        f'not {images.dtype} of {images.shape[1:]}; other data needs Inception.'
      )
    return image_metrics.classify_in_batches(
      functools.partial(self._run, self._params), images, _BATCH_SIZE
    )


def save_weights(
  path: str | os.PathLike, params: Params, test_accuracy: float
) -> None:
  """Writes the weights as float16, half the size for the same accuracy.

  Args:
    path: the .npz to write.
    params: as in `features`.
    test_accuracy: of the weights as they are read again.
  """
  arrays = {key: np.asarray(params[key], np.float16) for key in _array_shapes()}
  arrays['test_accuracy'] = np.asarray(test_accuracy)
  np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _array_shapes() -> dict[str, tuple[int, ...]]:
  shapes = {}
  for name, shape in WEIGHT_SHAPES.items():
    shapes[f'{name}/w'] = shape
    shapes[f'{name}/b'] = shape[-1:]
  return shapes
