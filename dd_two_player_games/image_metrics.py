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
What is measured of them is in `metric_utils` and `activation_metrics`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
import hashlib
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

from dd_two_player_games import activation_metrics
from dd_two_player_games import metric_utils
from dd_two_player_games import real_statistics
from jaxline_harness import errors

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


class _Measured(NamedTuple):
  """Of the images of a split, the activations only of those that are kept."""

  moments: metric_utils.RunningMoments
  score: float
  activations: np.ndarray


class NonFiniteImagesError(ValueError):
  """Images of a generator that has diverged."""


class ImageMetrics:
  """What a sampler's images are beside real ones.

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
    other_metrics: Collection[str] = (),
    num_activations: int = 1000,
    data_name: str = '',
    cache_dir: str | os.PathLike | None = None,
  ):
    """Stores what is to be measured; computes nothing yet.

    Args:
      classifier: gives logits and activations of uint8 images.
      real_images: (N, H, W, C), uint8 or float in [-1, 1].
      num_splits: the number of splits.
      images_per_split: samples, and real images, in each split.
      other_metrics: what of `activation_metrics.METRICS` is measured, too.
      num_activations: samples, and real images, that these compare: the first
        ones of each split. The activations of so many are kept, as float32: of
        the real ones for all splits, of the samples for one at a time.
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
    self._other_metrics = tuple(other_metrics)
    self._num_kept = min(num_activations, images_per_split)
    self._data_name = data_name
    self._cache_dir = pathlib.Path(cache_dir) if cache_dir else None
    self._statistics: real_statistics.DataStatistics | None = None
    self._activations: real_statistics.DataActivations | None = None
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
    told = {
      'classifier': self.classifier.name,
      'data': self._data_name,
      'num_splits': self.num_splits,
      'images_per_split': self.images_per_split,
      'num_real_images': len(self._real_images),
      'real_images_repeat': self.real_images_repeat,
    }
    if not self._other_metrics:
      return told
    narrow, wide = activation_metrics.NEIGHBOURS
    return told | {
      'activations_per_split': self._num_kept,
      'KID_block_size': activation_metrics.KERNEL_BLOCK_SIZE,
      'neighbours': f'{narrow} of precision and recall, {wide} of density and '
      'coverage',
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
      `IS_mean`, `IS_std`, `FID` (the mean) and `FID_std` over the splits, and
      mean and deviation of each other metric, of KID over its blocks; all nan,
      with a warning, where a sample is not finite. Beside them `FID_floor` and
      so on, what the real images of one split are from those of the next, if no
      image is in two.
    """
    statistics = self.data_statistics()
    samples = map(as_uint8, map(sample_fn, itertools.count()))
    values: dict[str, list[np.ndarray]] = {
      name: [] for name in ('IS', 'FID', *self._other_metrics)
    }
    try:
      for split, measured in enumerate(self._measure_splits(samples)):
        for name, value in self._compare(split, measured, statistics).items():
          values[name].append(value)
        logging.info(
          'Split %d of %d: %s.',
          split + 1,
          self.num_splits,
          ', '.join(f'{k} {v[-1].mean():.4f}' for k, v in values.items()),
        )
    except NonFiniteImagesError:
      logging.warning(
        'The samples are not finite (training diverged?): all metrics are nan.'
      )
      values = {name: [np.array([np.nan])] for name in values}
    metrics = {}
    for name, parts in values.items():
      mean_name = 'IS_mean' if name == 'IS' else name
      metrics[mean_name] = float(np.mean(np.concatenate(parts)))
      metrics[f'{name}_std'] = float(np.std(np.concatenate(parts)))
    return metrics | self._floors(statistics)

  def _compare(
    self,
    split: int,
    measured: _Measured,
    statistics: real_statistics.DataStatistics,
  ) -> dict[str, np.ndarray]:
    """What is measured of a split's samples: one value each, or several."""
    distance = metric_utils.calculate_frechet_distance(
      measured.moments.mean,
      measured.moments.covariance(),
      statistics.mus[split],
      statistics.sigmas[split],
    )
    values = {'IS': np.array([measured.score]), 'FID': np.array([distance])}
    if self._activations is not None:
      values |= self._activations.compare(
        split, measured.activations, self._other_metrics
      )
    return values

  def _floors(
    self, statistics: real_statistics.DataStatistics
  ) -> dict[str, float]:
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
    floors = {'FID_floor': self._floor_value}
    if self._activations is not None:
      means = dict(
        zip(
          activation_metrics.METRICS,
          self._activations.floors.mean(axis=0),
          strict=True,
        )
      )
      floors |= {f'{k}_floor': float(means[k]) for k in self._other_metrics}
    return floors

  def data_statistics(self) -> real_statistics.DataStatistics:
    """The real images' statistics; computed, or read from the cache, once."""
    if self._statistics is None:
      self._statistics = self._load_statistics()
      logging.info(
        'Inception score of the real images themselves: %.4f +/- %.4f.',
        self._statistics.scores.mean(),
        self._statistics.scores.std(),
      )
    return self._statistics

  def _load_statistics(self) -> real_statistics.DataStatistics:
    """Reads all of the real images from the cache, or computes it anew."""
    path, other_path = self._cache_paths()
    statistics = (
      real_statistics.read(path, real_statistics.DataStatistics)
      if path
      else None
    )
    if self._other_metrics and other_path:
      self._activations = real_statistics.read(
        other_path, real_statistics.DataActivations
      )
    if statistics is not None and (
      self._activations is not None or not self._other_metrics
    ):
      return statistics
    measured = self._measure_data()
    if statistics is None:
      statistics = real_statistics.DataStatistics(
        np.stack([part.moments.mean for part in measured]),
        np.stack([part.moments.covariance() for part in measured]),
        np.array([part.score for part in measured]),
      )
      if path:
        real_statistics.write(path, statistics)
    if self._other_metrics and self._activations is None:
      self._activations = self._compare_data(
        np.stack([part.activations for part in measured])
      )
      if other_path:
        real_statistics.write(other_path, self._activations)
    return statistics

  def _compare_data(
    self, activations: np.ndarray
  ) -> real_statistics.DataActivations:
    """Compares each split's real images with those of the next one."""
    radii = np.stack([*map(activation_metrics.squared_radii, activations)])
    names = activation_metrics.METRICS
    found = real_statistics.DataActivations(
      activations, radii, np.zeros((0, len(names)))
    )
    if self.real_images_repeat or self.num_splits < 2:
      return found
    pairs = [
      found.compare(split, others, names)
      for split, others in enumerate(activations[1:])
    ]
    floors = [[pair[name].mean() for name in names] for pair in pairs]
    return found._replace(floors=np.array(floors))

  def _measure_data(self) -> list[_Measured]:
    wanted = self.num_splits * self.images_per_split
    logging.info('Classifying %d real images.', wanted)
    # Data sets may be sorted by class, splits must not be.
    order = np.random.default_rng(0).permutation(len(self._real_images))
    chunk = np.arange(_CHUNK_SIZE)
    batches = (
      as_uint8(self._real_images[order.take(start + chunk, mode='wrap')])
      for start in range(0, wanted, _CHUNK_SIZE)
    )
    return list(self._measure_splits(batches))

  def _measure_splits(
    self, batches: Iterator[np.ndarray]
  ) -> Iterator[_Measured]:
    """Measures each split of a stream."""
    num_kept = self._num_kept if self._other_metrics else 0
    sizes = [_CHUNK_SIZE] * (self.images_per_split // _CHUNK_SIZE)
    if self.images_per_split % _CHUNK_SIZE:
      sizes.append(self.images_per_split % _CHUNK_SIZE)
    chunks = _rechunk(batches, sizes * self.num_splits)
    for _ in range(self.num_splits):
      moments, score = (
        metric_utils.RunningMoments(),
        metric_utils.RunningInceptionScore(),
      )
      kept: list[np.ndarray] = []
      for _ in sizes:
        logits, activations = self.classifier(next(chunks))
        moments.update(activations)
        missing = num_kept - sum(map(len, kept))
        # A copy, not a view of what would be kept with it.
        kept.append(np.array(activations[:missing], np.float32))
        score.update(
          special.log_softmax(np.asarray(logits, np.float64), axis=-1)
        )
      yield _Measured(moments, score.value(), np.concatenate(kept))

  def _cache_paths(self) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Where statistics and activations of the real images are kept."""
    if self._cache_dir is None:
      return None, None
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
    name = digest.hexdigest()[:32]
    return (
      self._cache_dir / f'image_statistics_{name}.npz',
      self._cache_dir / f'image_activations_{name}_{self._num_kept}.npz',
    )


def classify_in_batches(
  classify: Callable[[np.ndarray], tuple[Any, Any]],
  images: np.ndarray,
  batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Classifies any number of images by a function compiled for one number.

  Args:
    classify: maps (batch_size, H, W, C) to logits and activations.
    images: (N, H, W, C).
    batch_size: the last batch is filled up with zeros.

  Returns:
    Logits (N, classes) and activations (N, features).
  """
  parts = []
  for start in range(0, max(len(images), 1), batch_size):
    batch = images[start : start + batch_size]
    padding = [(0, batch_size - len(batch))] + [(0, 0)] * 3
    outputs = classify(np.pad(batch, padding))
    parts.append([np.asarray(output)[: len(batch)] for output in outputs])
  logits, activations = map(np.concatenate, zip(*parts, strict=True))
  return logits, activations


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
