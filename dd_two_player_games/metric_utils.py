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

"""Inception score and Frechet distance from logits and activations.

With p(y|x) a classifier's class probabilities for image x and f(x) its
activations, of mean mu and covariance S:

  IS  = exp( E_x KL( p(y|x) || E_x p(y|x) ) ),                    Salimans 2016
  FID = |mu_1 - mu_2|^2 + tr( S_1 + S_2 - 2 (S_1 S_2)^(1/2) ),    Heusel 2017

each on several splits of the samples, given as mean and standard deviation over
the splits. Nothing here knows which classifier it is: `ImageMetrics` takes any
`Classifier`. All sums are float64, computed while the images stream by, so
memory does not depend on the number of samples.

References:
  Salimans et al., Improved Techniques for Training GANs, arXiv:1606.03498.
  Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a
  Local Nash Equilibrium, arXiv:1706.08500.
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
from scipy.linalg import lapack

from jaxline_harness import errors
from jaxline_harness import files

# Images classified at once. Large enough that a call's overhead and the update
# of a 2048 x 2048 covariance do not count.
_CHUNK_SIZE = 500

# Rounding may change a Frechet distance by this share of it before the slower,
# more exact way is taken.
_FRECHET_RTOL = 1e-6


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


def calculate_inception_score(log_probs: npt.ArrayLike) -> float:
  """Inception score of one set of samples.

  Args:
    log_probs: log p(y|x), (N, classes).

  Returns:
    exp of the mean over x of KL(p(y|x) || p(y)).
  """
  score = RunningInceptionScore()
  score.update(log_probs)
  return score.value()


def calculate_inception_scores_with_error_bars(
  log_probs: npt.ArrayLike, num_splits: int, use_jax: bool = False
) -> tuple[float, float]:
  """Mean and standard deviation of the Inception score over splits.

  Args:
    log_probs: log p(y|x), (N, classes). Split s is the s-th run of
      N // num_splits rows; what is left over is not used.
    num_splits: the number of splits.
    use_jax: accepted for code written for the published module. Has no effect:
      the sums are float64 on the host.

  Returns:
    Mean and standard deviation (`np.std`).
  """
  del use_jax
  scores = [
    calculate_inception_score(split)
    for split in _equal_splits(log_probs, num_splits)
  ]
  return float(np.mean(scores)), float(np.std(scores))


def calculate_frechet_distance(
  mu1: npt.ArrayLike,
  sigma1: npt.ArrayLike,
  mu2: npt.ArrayLike,
  sigma2: npt.ArrayLike,
  use_jax: bool = False,
) -> float:
  r"""Frechet distance of two Gaussians.

  tr (S_1 S_2)^(1/2) is the sum of the singular values of P = L_1^T L_2 for any
  factors S_i = L_i L_i^T; here L_i are pivoted Cholesky factors, of as many
  columns as S_i has rank. That is real for every pair of covariances, and exact
  to rounding also where they are singular (fewer samples than features,
  features that are always zero), where a general matrix square root is not.

  The singular values are first taken as roots of the eigenvalues of P P^T,
  several times cheaper than a singular value decomposition. But the root of an
  eigenvalue 0 +- 1e-16 may be 1e-8. Where such errors could change the distance
  by more than 1e-6 of it, as between nearly equal sets, P itself is decomposed.

  Args:
    mu1: mean (features,).
    sigma1: covariance (features, features), symmetric.
    mu2: the other mean.
    sigma2: the other covariance.
    use_jax: accepted for code written for the published module. Has no effect.

  Returns:
    |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), nan where an argument
    is not finite.
  """
  del use_jax
  mu1, mu2 = np.atleast_1d(_float64(mu1)), np.atleast_1d(_float64(mu2))
  sigma1 = np.atleast_2d(_float64(sigma1))
  sigma2 = np.atleast_2d(_float64(sigma2))
  if mu1.shape != mu2.shape or sigma1.shape != sigma2.shape:
    raise ValueError(
      f'The two sets have different numbers of features: means {mu1.shape} and '
      f'{mu2.shape}, covariances {sigma1.shape} and {sigma2.shape}.'
    )
  if not all(np.isfinite(x).all() for x in (mu1, mu2, sigma1, sigma2)):
    return float('nan')
  traces = np.sum((mu1 - mu2) ** 2) + np.trace(sigma1) + np.trace(sigma2)
  product = _factor(sigma1).T @ _factor(sigma2)
  trace_sqrt, error = _singular_value_sum(product)
  if 2.0 * error > _FRECHET_RTOL * (traces - 2.0 * trace_sqrt):
    trace_sqrt = np.linalg.svd(product, compute_uv=False).sum()
  # Not below zero but for rounding.
  return max(float(traces - 2.0 * trace_sqrt), 0.0)


def calculate_frechet_distance_with_error_bars(
  pool: npt.ArrayLike,
  data_mus: Sequence[npt.ArrayLike],
  data_sigmas: Sequence[npt.ArrayLike],
  use_jax: bool = False,
) -> tuple[float, float]:
  """Mean and standard deviation of the Frechet distance over splits.

  Args:
    pool: activations of the samples, (N, features). Split s is the s-th run of
      N // len(data_mus) rows; what is left over is not used.
    data_mus: for each split the mean (features,) of the data's activations.
    data_sigmas: for each split their covariance (features, features).
    use_jax: accepted for code written for the published module. Has no effect.

  Returns:
    Mean and standard deviation (`np.std`).
  """
  del use_jax
  if len(data_mus) != len(data_sigmas):
    raise ValueError(f'{len(data_mus)} means, {len(data_sigmas)} covariances.')
  distances = []
  splits = _equal_splits(pool, len(data_mus))
  for split, data_mu, data_sigma in zip(
    splits, data_mus, data_sigmas, strict=True
  ):
    moments = RunningMoments()
    moments.update(split)
    distances.append(
      calculate_frechet_distance(
        moments.mean, moments.covariance(), data_mu, data_sigma
      )
    )
  return float(np.mean(distances)), float(np.std(distances))


def _equal_splits(rows: npt.ArrayLike, num_splits: int) -> list[np.ndarray]:
  rows = np.asarray(rows)
  size = len(rows) // num_splits
  if size == 0:
    raise ValueError(f'{len(rows)} rows make no {num_splits} splits.')
  return [rows[i * size : (i + 1) * size] for i in range(num_splits)]


def _float64(x: npt.ArrayLike) -> np.ndarray:
  return np.asarray(x, dtype=np.float64)


def _factor(sigma: np.ndarray) -> np.ndarray:
  """L (features, rank) with L L^T = sigma, a covariance."""
  # LAPACK takes the rank to be reached where rounding alone explains what is
  # left: a column of its roots would be 1e-8 and not 1e-16.
  lower, pivots, rank, _ = lapack.dpstrf(sigma.T, lower=1)
  factor = np.empty((len(sigma), rank))
  factor[pivots - 1] = np.tril(lower[:, :rank])
  return factor


def _singular_value_sum(matrix: np.ndarray) -> tuple[float, float]:
  """Sum of the singular values from their squares, and a bound of its error."""
  if matrix.shape[0] > matrix.shape[1]:
    matrix = matrix.T
  squares = np.linalg.eigvalsh(matrix @ matrix.T)
  eps = np.finfo(np.float64).eps
  rounding = max(matrix.shape) * eps * squares.max(initial=0.0)
  lowest, likely, highest = (
    np.sqrt(np.maximum(squares + shift, 0.0)).sum()
    for shift in (-rounding, 0.0, rounding)
  )
  return likely, highest - lowest


# The same figures of a stream.


class RunningMoments:
  """Mean and covariance of rows that arrive in batches.

  Batches are merged by the parallel formula of Chan, Golub and LeVeque (1983),
  which does not lose digits where the mean is large beside the spread.

  Attributes:
    count: rows seen.
    mean: their mean, (features,); empty before the first row.
  """

  def __init__(self):
    self.count = 0
    self.mean = np.zeros(0)
    self._scatter = np.zeros((0, 0))

  def update(self, rows: npt.ArrayLike) -> None:
    """Takes in rows (N, features)."""
    rows = _float64(rows)
    if not len(rows):
      return
    mean = rows.mean(axis=0)
    centred = rows - mean
    if self.count == 0:
      self.count, self.mean = len(rows), mean
      self._scatter = _sum_of_outer_products(centred)
      return
    total = self.count + len(rows)
    delta = mean - self.mean
    # As one more row, the means' distance takes no matrices of its own.
    between = delta * np.sqrt(self.count * len(rows) / total)
    centred = np.concatenate([centred, between[np.newaxis]])
    self._scatter += _sum_of_outer_products(centred)
    self.mean = self.mean + delta * (len(rows) / total)
    self.count = total

  def covariance(self) -> np.ndarray:
    """The unbiased covariance (features, features) of the rows so far."""
    if self.count < 2:
      raise ValueError(f'{self.count} rows have no covariance.')
    return self._scatter / (self.count - 1)


def _sum_of_outer_products(rows: np.ndarray) -> np.ndarray:
  """rows^T rows."""
  if rows.shape[1] <= 128:
    # BLAS's threads go on spinning for a while after a product, and take the
    # cores from the classifier: with 64 features, a quarter of all its time.
    return np.einsum('ni,nj->ij', rows, rows)
  return rows.T @ rows


class RunningInceptionScore:
  """Inception score of log probabilities that arrive in batches.

  Uses E KL(p(y|x) || p(y)) = E sum_y p(y|x) log p(y|x) - sum_y p(y) log p(y),
  of which both terms are sums over x.
  """

  def __init__(self):
    self._count = 0
    self._probs = np.zeros(())
    self._negative_entropy = 0.0

  def update(self, log_probs: npt.ArrayLike) -> None:
    """Takes in log p(y|x), (N, classes)."""
    log_probs = _float64(log_probs)
    probs = np.exp(log_probs)
    # Where p is 0, p log p is 0 also for log p = -inf.
    terms = probs * np.where(probs > 0, log_probs, 0.0)
    self._count += len(probs)
    self._probs = self._probs + probs.sum(axis=0)
    self._negative_entropy += terms.sum()

  def value(self) -> float:
    """The score of what came so far."""
    marginal = self._probs / self._count
    divergence = (
      self._negative_entropy / self._count
      - special.xlogy(marginal, marginal).sum()
    )
    return float(np.exp(divergence))


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
      nan, with a warning, where a sample is not finite.
    """
    statistics = self.data_statistics()
    samples = map(as_uint8, map(sample_fn, itertools.count()))
    scores, distances = [], []
    try:
      for split, measured in enumerate(self._measure_splits(samples)):
        moments, score = measured
        scores.append(score)
        distances.append(
          calculate_frechet_distance(
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
    }

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
  ) -> Iterator[tuple[RunningMoments, float]]:
    """Activation moments and Inception score of each split of a stream."""
    sizes = [_CHUNK_SIZE] * (self.images_per_split // _CHUNK_SIZE)
    if self.images_per_split % _CHUNK_SIZE:
      sizes.append(self.images_per_split % _CHUNK_SIZE)
    chunks = _rechunk(batches, sizes * self.num_splits)
    for _ in range(self.num_splits):
      moments, score = RunningMoments(), RunningInceptionScore()
      for _ in sizes:
        logits, activations = self.classifier(next(chunks))
        moments.update(activations)
        score.update(special.log_softmax(_float64(logits), axis=-1))
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
