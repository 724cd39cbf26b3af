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
the splits. Nothing here knows which classifier it is: `image_metrics` takes any
classifier. All sums are float64, computed while the images stream by, so
memory does not depend on the number of samples.

References:
  Salimans et al., Improved Techniques for Training GANs, arXiv:1606.03498.
  Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a
  Local Nash Equilibrium, arXiv:1706.08500.
"""

from collections.abc import Sequence

import numpy as np
from numpy import typing as npt
from scipy import special
from scipy.linalg import lapack

# Rounding may change a Frechet distance by this share of it before the slower,
# more exact way is taken.
_FRECHET_RTOL = 1e-6
# A covariance may be so far from symmetric and positive, as a share of its
# largest entry or eigenvalue: others' estimates have float32's rounding.
_COVARIANCE_RTOL = 1e-5
# What may be left of it beside a factor, by float64's rounding alone.
_FACTOR_RTOL = 1e-10


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
    mu1: mean (features,), or one number for all.
    sigma1: covariance (features, features), symmetric.
    mu2: the other mean.
    sigma2: the other covariance.
    use_jax: accepted for code written for the published module. Has no effect.

  Returns:
    |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), nan where an argument
    is not finite.

  Raises:
    ValueError: the numbers of features differ, or a covariance is not symmetric
      or has a negative eigenvalue, but for roundings of float32.
  """
  del use_jax
  sigma1 = np.atleast_2d(_float64(sigma1))
  sigma2 = np.atleast_2d(_float64(sigma2))
  features = len(sigma1)
  # One number is every feature's mean.
  mu1, mu2 = (
    np.full(features, mu) if mu.ndim == 0 else mu
    for mu in (_float64(mu1), _float64(mu2))
  )
  shapes = mu1.shape, mu2.shape, sigma1.shape, sigma2.shape
  if shapes != ((features,), (features,), *(2 * ((features, features),))):
    raise ValueError(
      f'There are different numbers of features: means {mu1.shape} and '
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
  """L (features, rank) with L L^T = sigma; ValueError if there is none."""
  scale = np.abs(sigma).max(initial=0.0)
  if np.abs(sigma - sigma.T).max(initial=0.0) > _COVARIANCE_RTOL * scale:
    raise ValueError('A covariance is not symmetric.')
  # LAPACK takes the rank to be reached where rounding alone explains what is
  # left: a column of its roots would be 1e-8 and not 1e-16.
  lower, pivots, rank, _ = lapack.dpstrf(sigma.T, lower=1)
  factor = np.empty((len(sigma), rank))
  factor[pivots - 1] = np.tril(lower[:, :rank])
  if np.abs(factor @ factor.T - sigma).max(initial=0.0) <= _FACTOR_RTOL * scale:
    return factor
  # Something is left, so that an eigenvalue is negative: much, or by rounding.
  eigenvalues, eigenvectors = np.linalg.eigh(sigma)
  if eigenvalues[0] < -_COVARIANCE_RTOL * np.abs(eigenvalues).max():
    raise ValueError(
      f'A covariance has the eigenvalue {eigenvalues[0]:.3g}; none may be '
      'below zero.'
    )
  return eigenvectors * np.sqrt(np.maximum(eigenvalues, 0.0))


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
