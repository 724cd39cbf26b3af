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
"""How far estimates of eigenvectors are from the truth.

Conventions: eigenvectors are rows, in descending order of their eigenvalues.
An eigenvector's sign means nothing, so angles are between lines. Within the
eigenspace of a repeated eigenvalue no eigenvector is distinguished: there the
angle is the one between the estimate and the eigenspace. (Two estimates in one
such space may then both be right and yet not orthogonal; the subspace distance
shows that.) All is NumPy, in float64.
"""

import math
from typing import NamedTuple

import numpy as np

STREAK_ANGLE = np.pi / 8
# Eigenvalues nearer than this share of the largest count as one.
_SAME_EIGENVALUE = 1e-9


class Truth(NamedTuple):
  """The exact answer.

  Attributes:
    eigenvalues: descending, (n,), n ≥ k: with the k-th come all that equal it.
    eigenvectors: orthonormal rows, (n, d).
  """

  eigenvalues: np.ndarray
  eigenvectors: np.ndarray


def exact(matrix: np.ndarray, num_eigenvectors: int) -> Truth:
  """The first eigenvectors of a symmetric matrix.

  Args:
    matrix: (d, d).
    num_eigenvectors: k ≤ d.

  Returns:
    The first k, and those whose eigenvalues equal the k-th.
  """
  values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
  values, vectors = values[::-1], vectors.T[::-1]
  last = values[num_eigenvectors - 1]
  number = np.count_nonzero(values >= last - _tolerance(values))
  return Truth(values[:number], vectors[:number])


def angles(estimates: np.ndarray, truth: Truth) -> np.ndarray:
  """The angle of each estimate to the eigenspace it should lie in.

  Args:
    estimates: (k, d), of any length.
    truth: at least k exact eigenvectors.

  Returns:
    Radians from 0 to π/2, (k,). NaN where no eigenvector is right or wrong: the
    matrix is 0, or something is not finite.
  """
  units = _unit_rows(estimates)
  values = truth.eigenvalues
  if not 0 < np.abs(values).max() < np.inf:
    return np.full(len(units), np.nan)
  wanted = values[: len(units), None]
  same = np.abs(wanted - values) <= _tolerance(values)
  coordinates = np.where(same, units @ truth.eigenvectors.T, 0.0)
  outside = units - coordinates @ truth.eigenvectors
  # Of small angles the cosine would lose half the digits.
  return np.arctan2(
    np.linalg.norm(outside, axis=1), np.linalg.norm(coordinates, axis=1)
  )


def longest_streak(angles_: np.ndarray, below: float = STREAK_ANGLE) -> int:
  """How many estimates are right before the first that is not."""
  wrong = np.flatnonzero(~(np.asarray(angles_) < below))
  return int(wrong[0]) if wrong.size else len(angles_)


def subspace_distance(estimates: np.ndarray, truth: Truth) -> float:
  """1 - tr(P P*) / k, of the projections on the estimates' span and the true.

  Args:
    estimates: (k, d), of any length; they need not be independent.
    truth: the exact eigenvectors. Where more than k are known, since the k-th
      eigenvalue is repeated, any k of them are right that hold those before.

  Returns:
    From 0, the same subspace, to 1. NaN as for `angles`.
  """
  k = len(estimates)
  if not np.isfinite(angles(estimates, truth)).all():
    return math.nan
  _, lengths, basis = np.linalg.svd(_unit_rows(estimates), full_matrices=False)
  basis = basis[lengths > 1e-6 * lengths[0]]
  values = truth.eigenvalues
  above = values > values[k - 1] + _tolerance(values)
  shared = np.square(basis @ truth.eigenvectors.T).sum(axis=0)
  free = k - np.count_nonzero(above)
  right = shared[above].sum() + min(shared[~above].sum(), free)
  return max(0.0, float(1 - right / k))  # Rounding may give a little more.


def rayleigh_quotients(estimates: np.ndarray, images: np.ndarray) -> np.ndarray:
  """vᵢᵀ M vᵢ / vᵢᵀ vᵢ, which at an eigenvector is its eigenvalue.

  Args:
    estimates: V, (k, d).
    images: V M, (k, d).

  Returns:
    (k,).
  """
  return np.sum(estimates * images, axis=1) / np.sum(estimates**2, axis=1)


def residuals(estimates: np.ndarray, images: np.ndarray) -> np.ndarray:
  """‖M vᵢ - ρᵢ vᵢ‖ / maxⱼ |ρⱼ| of unit vectors: 0 at any eigenvectors.

  Unlike the other measures it needs no truth.

  Args:
    estimates: see `rayleigh_quotients`.
    images: see there.

  Returns:
    (k,). NaN where all ρⱼ are 0.
  """
  lengths = np.linalg.norm(estimates, axis=1, keepdims=True)
  quotients = rayleigh_quotients(estimates, images)[:, None]
  rests = (images - quotients * estimates) / lengths
  with np.errstate(invalid='ignore'):
    return np.linalg.norm(rests, axis=1) / np.abs(quotients).max()


def _unit_rows(estimates: np.ndarray) -> np.ndarray:
  estimates = np.asarray(estimates, np.float64)
  with np.errstate(invalid='ignore'):
    return estimates / np.linalg.norm(estimates, axis=1, keepdims=True)


def _tolerance(eigenvalues: np.ndarray) -> float:
  return _SAME_EIGENVALUE * float(np.abs(eigenvalues).max())
