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

"""Inception as TF-GAN publishes it, for the metrics of `metric_utils`.

The only module that touches TF-GAN. TensorFlow is imported when a classifier is
made, not before, and sees no GPU: JAX has it.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import hashlib
import importlib
import importlib.util
import os
import pathlib
import sys
import types
from typing import (
  Any,
)

import jax
import numpy as np
from numpy import typing as npt

from dd_two_player_games import image_metrics
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

# A 299 x 299 float image is 1 MB, Inception's activations of it about 30 MB.
_BATCH_SIZE = 32

_HOW_TO_GET = (
  "Get TF-GAN's Inception (a SavedModel) on a machine with a network and set "
  'config.eval.inception_path to its folder, or TFHUB_CACHE_DIR to a TF-Hub '
  'cache that holds it.'
)


@functools.cache
def import_tfgan_eval() -> types.ModuleType:
  """TF-GAN's evaluation code, `tensorflow_gan.python.eval`.

  TF-GAN 2.1.0's top-level package needs `tf.estimator`, which TensorFlow has no
  longer had since 2.16; its evaluation code does not. So that subpackage is
  imported beneath empty stand-ins for its parents, which are taken away again.

  Returns:
    The module.

  Raises:
    UserError: TF-GAN, or what it needs, is not installed.
  """
  with errors.require_extra('inception', "TF-GAN's Inception"):
    datasets.import_tensorflow()
    return _import_without_parents()


def _import_without_parents() -> types.ModuleType:
  package = 'tensorflow_gan'
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise ModuleNotFoundError(f'No module named {package!r}')
  folder = list(spec.submodule_search_locations)[0]
  parents = {package: folder, f'{package}.python': f'{folder}/python'}
  stand_ins = [name for name in parents if name not in sys.modules]
  for name in stand_ins:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [parents[name]]
  try:
    return importlib.import_module(f'{package}.python.eval')
  finally:
    for name in stand_ins:
      del sys.modules[name]


class InceptionClassifier:
  """TF-GAN's Inception; a `image_metrics.Classifier`.

  Takes images of any size with 1 or 3 channels. They are preprocessed as TF-GAN
  does and the published code did: scaled to [-1, 1], then resized bilinearly to
  299 x 299. A grey image is shown as three equal channels.

  Attributes:
    name: where the network came from and, for a folder, a digest of its files.
  """

  def __init__(self, path: str = ''):
    """Loads the network.

    Args:
      path: local folder of the SavedModel. Without one, TF-Hub looks in its
        cache (the environment variable TFHUB_CACHE_DIR says where that is) and
        else downloads it.

    Raises:
      UserError: it is out of reach, or is not Inception.
    """
    if path and not os.path.isdir(path):
      raise errors.UserError(
        f'eval.inception_path: {path} is no folder. {_HOW_TO_GET}'
      )
    self._tfgan = import_tfgan_eval()
    tf = datasets.import_tensorflow()
    handle = path or self._tfgan.INCEPTION_TFHUB
    self._model = _load(handle)
    self.name = f'Inception, {handle}'
    if path:
      self.name += f' (sha256 {_folder_digest(path)})'
    self._run = tf.function(
      self._resize_and_run,
      # One trace for every number and size of images.
      input_signature=[tf.TensorSpec([None, None, None, None], tf.float32)],
      # Errors come out as they were raised.
      autograph=False,
    )

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classifies uint8 images (N, H, W, 1 or 3).

    Returns:
      Logits (N, 1008) and `pool_3` activations (N, 2048), float32.

    Raises:
      UserError: the images have neither 1 nor 3 channels, or the model's
        outputs are not Inception's.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
      raise errors.UserError(
        'Inception takes images with 1 or 3 channels (N, H, W, C), not '
        f'{images.shape}.'
      )
    outputs = [
      self._run(draws.scale_images(batch.repeat(3 // images.shape[-1], -1)))
      for batch in _batches(images, _BATCH_SIZE)
    ]
    return (
      np.concatenate([logits.numpy() for logits, _ in outputs]),
      np.concatenate([activations.numpy() for _, activations in outputs]),
    )

  def _resize_and_run(self, images: Any) -> tuple[Any, Any]:
    tf = datasets.import_tensorflow()
    size = self._tfgan.INCEPTION_DEFAULT_IMAGE_SIZE
    outputs = self._model(tf.image.resize(images, [size, size]))
    fields = (self._tfgan.INCEPTION_OUTPUT, self._tfgan.INCEPTION_FINAL_POOL)
    if not isinstance(outputs, dict) or any(k not in outputs for k in fields):
      raise errors.UserError(
        f'{self.name}: the model does not return {" and ".join(fields)}, so it '
        "is not TF-GAN's Inception."
      )
    # Some releases give pool_3 as (N, 1, 1, 2048).
    flat = [tf.reshape(outputs[k], [tf.shape(images)[0], -1]) for k in fields]
    return flat[0], flat[1]


def _load(handle: str) -> Callable[..., Any]:
  """The SavedModel as a function from float images to its outputs."""
  with errors.require_extra('inception', "TF-GAN's Inception"):
    import tensorflow_hub as tfhub  # pylint: disable=g-import-not-at-top

  try:
    model = tfhub.load(handle)
  # TF-Hub raises whatever its transport and file system raise.
  except Exception as error:
    raise errors.UserError(
      f'Inception is out of reach at {handle} '
      f'({errors.one_line(error, 200)}). {_HOW_TO_GET}'
    ) from error
  if callable(model):
    return model
  signatures = getattr(model, 'signatures', {})
  for name in ('default', 'serving_default'):
    if name in signatures:
      return signatures[name]
  raise errors.UserError(f'{handle} holds a model that cannot be called.')


def _folder_digest(path: str) -> str:
  """A short digest of the contents of a folder's files."""
  digest = hashlib.sha256()
  for file in sorted(p for p in pathlib.Path(path).rglob('*') if p.is_file()):
    digest.update(str(file.relative_to(path)).encode())
    digest.update(file.read_bytes())
  return digest.hexdigest()[:12]


def _batches(images: np.ndarray, size: int) -> list[np.ndarray]:
  return [images[i : i + size] for i in range(0, len(images), size)]


class InceptionMetrics:
  """The published interface to `image_metrics.ImageMetrics` with Inception.

  Kept so that code written for the published module runs; new code makes an
  `ImageMetrics`.
  """

  def __init__(
    self,
    dataset: Iterable[npt.ArrayLike],
    num_splits: int = 10,
    check_data_ranges: bool = False,
    classifier: image_metrics.Classifier | None = None,
  ):
    """Stores what is to be measured; loads nothing yet.

    Args:
      dataset: gives batches of real images, float in [-1, 1], (N, H, W, C) or
        (devices, N, H, W, C). Only as many are read as are compared with.
      num_splits: the number of splits.
      check_data_ranges: raise ValueError where images leave [-1, 1].
      classifier: what to measure with. None is TF-GAN's Inception.
    """
    self._dataset = iter(dataset)
    self._batches_read: list[np.ndarray] = []
    self._num_splits = num_splits
    self._check_data_ranges = check_data_ranges
    self._classifier = classifier
    self._image_metrics: dict[int, image_metrics.ImageMetrics] = {}

  def get_metrics(
    self,
    sampler: Any,
    num_inception_images: int,
    batch_size: int,
    rng: jax.Array | None,
    no_pmap: bool = True,
    sample_postprocess_fn: Callable[[Any], Any] | None = None,
  ) -> dict[str, float]:
    """Measures a sampler.

    Args:
      sampler: has `sample_batch(batch_size, rng)`.
      num_inception_images: samples in each split, compared with as many real
        images.
      batch_size: samples a call of the sampler.
      rng: key of the samples, or, unless `no_pmap`, one key a device, (devices,
        key); None for a sampler that needs no key.
      no_pmap: whether `rng` is a single key.
      sample_postprocess_fn: turns what the sampler returns into images.

    Returns:
      `IS_mean`, `IS_std`, `FID` and `FID_std`.
    """
    image_metrics = self._metrics_of_size(num_inception_images)
    keys = _keys(rng, no_pmap)

    def sample(index: int) -> npt.ArrayLike:
      del index  # Batches are asked for in order.
      samples = sampler.sample_batch(batch_size, rng=next(keys))
      if sample_postprocess_fn is not None:
        samples = sample_postprocess_fn(samples)
      return self._checked(samples)

    return image_metrics.metrics(sample)

  def _metrics_of_size(
    self, num_inception_images: int
  ) -> image_metrics.ImageMetrics:
    if num_inception_images not in self._image_metrics:
      if self._classifier is None:
        self._classifier = InceptionClassifier()
      self._image_metrics[num_inception_images] = image_metrics.ImageMetrics(
        self._classifier,
        self._read_dataset(self._num_splits * num_inception_images),
        num_splits=self._num_splits,
        images_per_split=num_inception_images,
      )
    return self._image_metrics[num_inception_images]

  def _read_dataset(self, num_images: int) -> np.ndarray:
    """The first `num_images` images, or all where there are fewer."""
    while sum(map(len, self._batches_read)) < num_images:
      batch = next(self._dataset, None)
      if batch is None:
        break
      self._batches_read.append(image_metrics.as_uint8(self._checked(batch)))
    if not self._batches_read:
      raise ValueError('The data set holds no images to compare with.')
    return np.concatenate(self._batches_read)[:num_images]

  def _checked(self, images: npt.ArrayLike) -> npt.ArrayLike:
    if self._check_data_ranges and np.max(np.abs(images)) > 1.0 + 1e-3:
      raise ValueError(
        f'Images lie in [{np.min(images)}, {np.max(images)}], not in [-1, 1].'
      )
    return images


def _keys(rng: jax.Array | None, no_pmap: bool) -> Iterator[jax.Array | None]:
  """A key, or with pmap an array of keys, for each call of the sampler."""
  split = jax.random.split
  if not no_pmap:
    split = jax.vmap(split, out_axes=1)
  while True:
    if rng is None:
      yield None
    else:
      rng, key = split(rng)
      yield key
