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

"""Measures the samples of an image generator against the data.

The samples stream through a classifier: memory does not depend on their number.
What is measured of them is in `metric_utils`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import hashlib
import io
import itertools
import os
import pathlib
from typing import (
  Any,
  NamedTuple,
  Protocol,
)

from absl import logging
import numpy as np
from numpy import typing as npt
from scipy import special

from dd_two_player_games import metric_utils
from jaxline_harness import errors
from jaxline_harness import files

# Images classified at once. Large enough that a call's overhead and the update
# of a 2048 x 2048 covariance do not count.
_CHUNK_SIZE = 500


class Classifier(Protocol):
  """What the metrics are measured with.

  Attributes:
    name: says which network with which weights; two classifiers of one name
      give the same figures.
  """

  name: str

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classifies uint8 images (N, H, W, C).

    Returns:
      Logits (N, classes) and activations (N, features), both float.
    """


# Scores of one set of log probabilities, distances of two sets of activations.


class DataStatistics(NamedTuple):
  """What the samples of each split are compared with.

  Attributes:
    mus: means of the real images' activations, (splits, features).
    sigmas: their covariances, (splits, features, features).
    scores: the real images' own Inception scores, (splits,).
  """

  mus: np.ndarray
  sigmas: np.ndarray
  scores: np.ndarray


class NonFiniteImagesError(ValueError):
  """Images of a generator that has diverged."""


class ImageMetrics:
  """Inception score and Frechet distance of a sampler's images.

  Split s compares `images_per_split` samples with as many real images. The real
  images are taken in one fixed random order, every image once before any is
  taken again; where they do not suffice they repeat, which is logged and said
  in `measured_with`. Their statistics are computed once an object, and once for
  all objects where there is a `cache_dir`.

  Example:
    image_metrics = ImageMetrics(classifier, real_images, num_splits=5,
                                 images_per_split=2000)
    image_metrics.metrics(lambda i: sampler.sample_batch(100, fold_in(key, i)))

  Attributes:
    classifier: what the images are measured with.
    num_splits: the number of splits.
    images_per_split: samples, and real images, in each split.
  """

  def __init__(
    self,
    classifier: Classifier,
    real_images: npt.ArrayLike,
    *,
    num_splits: int = 5,
    images_per_split: int = 10_000,
    data_name: str = '',
    cache_dir: str | os.PathLike | None = None,
  ):
    """Stores what is to be measured; computes nothing yet.

    Args:
      classifier: gives logits and activations of uint8 images.
      real_images: (N, H, W, C), uint8 or float in [-1, 1].
      num_splits: the number of splits.
      images_per_split: samples, and real images, in each split.
      data_name: what the real images are called in `measured_with`.
      cache_dir: folder in which the real images' statistics are kept for later
        runs; a file is found again only by the same images, splits and
        classifier name.

    Raises:
      UserError: there is nothing to measure with these numbers.
    """
    self._real_images = np.asarray(real_images)
    if self._real_images.ndim != 4 or not len(self._real_images):
      raise errors.UserError(
        'IS and FID compare images (N, height, width, channels); the data has '
        f'shape {self._real_images.shape}.'
      )
    if num_splits < 1 or images_per_split < 2:
      raise errors.UserError(
        'IS and FID need at least 1 split of at least 2 images, not '
        f'{num_splits} of {images_per_split}.'
      )
    self.classifier = classifier
    self.num_splits = num_splits
    self.images_per_split = images_per_split
    self._data_name = data_name
    self._cache_dir = pathlib.Path(cache_dir) if cache_dir else None
    self._statistics: DataStatistics | None = None
    self._floor_value: float | None = None
    if self.real_images_repeat:
      # Here, and not where they are classified: a cache may spare that.
      logging.warning(
        'The real images repeat: %d are fewer than %d splits of %d, and they '
        'repeat in one order.',
        len(self._real_images),
        num_splits,
        images_per_split,
      )

  @property
  def real_images_repeat(self) -> bool:
    """Whether there are fewer real images than the splits compare with."""
    return len(self._real_images) < self.num_splits * self.images_per_split

  @property
  def measured_with(self) -> dict[str, Any]:
    """Classifier, data and numbers of images; fit for a JSON file."""
    return {
      'classifier': self.classifier.name,
      'data': self._data_name,
      'num_splits': self.num_splits,
      'images_per_split': self.images_per_split,
      'num_real_images': len(self._real_images),
      'real_images_repeat': self.real_images_repeat,
    }

  def metrics(
    self, sample_fn: Callable[[int], npt.ArrayLike]
  ) -> dict[str, float]:
    """Measures samples.

    Args:
      sample_fn: given 0, 1, 2, ... returns that batch of samples: uint8, or
        float in [-1, 1] (values outside are clipped), (N, H, W, C) or (devices,
        N, H, W, C), N of its choice. It is called until
        num_splits * images_per_split samples are there; of the last batch no
        more than needed are used.

    Returns:
      `IS_mean`, `IS_std`, `FID` (the mean) and `FID_std` over the splits; all
      nan, with a warning, where a sample is not finite. Beside them
      `FID_floor`, what the real images of one split are from those of the next,
      if no image is in two.
    """
    statistics = self.data_statistics()
    samples = map(as_uint8, map(sample_fn, itertools.count()))
    scores, distances = [], []
    try:
      for split, measured in enumerate(self._measure_splits(samples)):
        moments, score = measured
        scores.append(score)
        distances.append(
          metric_utils.calculate_frechet_distance(
            moments.mean,
            moments.covariance(),
            statistics.mus[split],
            statistics.sigmas[split],
          )
        )
        logging.info(
          'Split %d of %d: IS %.4f, FID %.4f.',
          split + 1,
          self.num_splits,
          scores[-1],
          distances[-1],
        )
    except NonFiniteImagesError:
      logging.warning(
        'The samples are not finite (training diverged?): IS and FID are nan.'
      )
      scores, distances = [np.nan], [np.nan]
    return {
      'IS_mean': float(np.mean(scores)),
      'IS_std': float(np.std(scores)),
      'FID': float(np.mean(distances)),
      'FID_std': float(np.std(distances)),
      **self._floor(statistics),
    }

  def _floor(self, statistics: DataStatistics) -> dict[str, float]:
    if self.num_splits < 2 or self.real_images_repeat:
      return {}
    if self._floor_value is None:
      pairs = itertools.pairwise(
        zip(statistics.mus, statistics.sigmas, strict=True)
      )
      self._floor_value = float(
        np.mean(
          [
            metric_utils.calculate_frechet_distance(*one, *other)
            for one, other in pairs
          ]
        )
      )
    return {'FID_floor': self._floor_value}

  def data_statistics(self) -> DataStatistics:
    """The real images' statistics; computed, or read from the cache, once."""
    if self._statistics is None:
      path = self._cache_path()
      self._statistics = _read_statistics(path) if path else None
      if self._statistics is None:
        self._statistics = self._compute_statistics()
        if path:
          _write_statistics(path, self._statistics)
      logging.info(
        'Inception score of the real images themselves: %.4f +/- %.4f.',
        self._statistics.scores.mean(),
        self._statistics.scores.std(),
      )
    return self._statistics

  def _compute_statistics(self) -> DataStatistics:
    wanted = self.num_splits * self.images_per_split
    logging.info('Classifying %d real images.', wanted)
    # Data sets may be sorted by class, splits must not be.
    order = np.random.default_rng(0).permutation(len(self._real_images))
    chunk = np.arange(_CHUNK_SIZE)
    batches = (
      as_uint8(self._real_images[order.take(start + chunk, mode='wrap')])
      for start in range(0, wanted, _CHUNK_SIZE)
    )
    measured = list(self._measure_splits(batches))
    return DataStatistics(
      np.stack([moments.mean for moments, _ in measured]),
      np.stack([moments.covariance() for moments, _ in measured]),
      np.array([score for _, score in measured]),
    )

  def _measure_splits(
    self, batches: Iterator[np.ndarray]
  ) -> Iterator[tuple[metric_utils.RunningMoments, float]]:
    """Activation moments and Inception score of each split of a stream."""
    sizes = [_CHUNK_SIZE] * (self.images_per_split // _CHUNK_SIZE)
    if self.images_per_split % _CHUNK_SIZE:
      sizes.append(self.images_per_split % _CHUNK_SIZE)
    chunks = _rechunk(batches, sizes * self.num_splits)
    for _ in range(self.num_splits):
      moments, score = (
        metric_utils.RunningMoments(),
        metric_utils.RunningInceptionScore(),
      )
      for _ in sizes:
        logits, activations = self.classifier(next(chunks))
        moments.update(activations)
        score.update(
          special.log_softmax(np.asarray(logits, np.float64), axis=-1)
        )
      yield moments, score.value()

  def _cache_path(self) -> pathlib.Path | None:
    if self._cache_dir is None:
      return None
    digest = hashlib.sha256()
    images = np.ascontiguousarray(self._real_images)
    key = (
      self.classifier.name,
      self.num_splits,
      self.images_per_split,
      images.shape,
      images.dtype.str,
    )
    digest.update(repr(key).encode())
    digest.update(images.data)
    return self._cache_dir / f'image_statistics_{digest.hexdigest()[:32]}.npz'


def as_uint8(images: npt.ArrayLike) -> np.ndarray:
  """Images as the data sets store them.

  Args:
    images: uint8, or float in [-1, 1] (values outside are clipped),
      (N, H, W, C) or (devices, N, H, W, C).

  Returns:
    uint8 (N, H, W, C), the devices' images one after the other.

  Raises:
    NonFiniteImagesError: an image is not finite.
  """
  images = np.asarray(images)
  images = images.reshape((-1,) + images.shape[-3:])
  if images.dtype == np.uint8:
    return images
  images = images.astype(np.float32)
  if not np.isfinite(images).all():
    raise NonFiniteImagesError
  return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def _rechunk(
  batches: Iterable[np.ndarray], sizes: Sequence[int]
) -> Iterator[np.ndarray]:
  """Cuts a stream of batches anew, into chunks of these sizes."""
  batches = iter(batches)
  rest = None
  for size in sizes:
    parts, missing = [], size
    while missing:
      if rest is None or not len(rest):
        rest = next(batches)
        if not len(rest):
          raise ValueError('A batch holds no images.')
      parts.append(rest[:missing])
      rest = rest[missing:]
      missing -= len(parts[-1])
    yield np.concatenate(parts)


def _read_statistics(path: pathlib.Path) -> DataStatistics | None:
  try:
    arrays = files.read_npz(path)
    statistics = DataStatistics(*(arrays[k] for k in DataStatistics._fields))
    if not all(np.isfinite(array).all() for array in statistics):
      raise ValueError('it holds numbers that are not finite')
    splits, features = statistics.mus.shape
    if (statistics.sigmas.shape, statistics.scores.shape) != (
      (splits, features, features),
      (splits,),
    ):
      raise ValueError('its shapes do not agree')
  except FileNotFoundError:
    return None
  except (OSError, KeyError, ValueError, TypeError) as error:
    logging.warning('Cannot read %s (%s): computing it again.', path, error)
    return None
  logging.info('Statistics of the real images: %s.', path)
  return statistics


def _write_statistics(path: pathlib.Path, statistics: DataStatistics) -> None:
  """Writes the cache file; without it the next run computes them again."""
  npz = io.BytesIO()
  np.savez(npz, **statistics._asdict())
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(str(path), npz.getvalue())
  except OSError as error:
    logging.warning('Cannot keep the statistics in %s: %s.', path, error)
