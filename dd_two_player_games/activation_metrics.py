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
r"""Distances and neighbourhoods of two sets of activations.

With x_i the activations of N real images, y_j those of M samples, d features
and r_k(z) the distance of z to its k-th nearest other member of its own set:

  KID       = mean of k(x_i, x_i') over i != i' + mean of k(y_j, y_j') over
              j != j' - 2 mean of k(x_i, y_j),  k(a, b) = (a.b / d + 1)^3
  precision = share of the y_j with |y_j - x_i| <= r_3(x_i) for some i
  recall    = share of the x_i with |x_i - y_j| <= r_3(y_j) for some j
  density   = 1/(5 M) times the pairs (i, j) with |y_j - x_i| <= r_5(x_i)
  coverage  = share of the x_i with |y_j - x_i| <= r_5(x_i) for some j

The sums are float64. Distances are computed a block of rows at a time: beside
its arguments, and a float64 copy of one of them, no function holds more than
50 MB, however many rows there are.

References:
  KID: Binkowski et al., Demystifying MMD GANs, arXiv:1801.01401.
  Precision and recall: Kynkaanniemi et al., Improved Precision and Recall
  Metric for Assessing Generative Models, arXiv:1904.06991.
  Density and coverage: Naeem et al., Reliable Fidelity and Diversity Metrics
  for Generative Models, arXiv:2002.09797.
"""

from collections.abc import Iterator, Sequence

import numpy as np

METRICS = ('KID', 'precision', 'recall', 'density', 'coverage')
# Rows of each set in a block of KID.
KERNEL_BLOCK_SIZE = 1000
# Of precision and recall; of density and coverage.
NEIGHBOURS = (3, 5)

# By how much distances may differ that are the same but for roundings.
_ROUNDING = 1e-9
# Of a block of distances.
_BLOCK_BYTES = 1 << 22


def kernel_distances(
  real: np.ndarray,
  samples: np.ndarray,
  block_size: int = KERNEL_BLOCK_SIZE,
) -> np.ndarray:
  """KID of each block, an unbiased estimate that may be below zero.

  Args:
    real: activations (N, features), in random order.
    samples: activations (M, features), in random order.
    block_size: the most rows of either set in a block. Both sets are cut into
      as many blocks, of sizes that differ by at most one.

  Returns:
    (blocks,). Their mean is the distance.
  """
  num_blocks = -(-max(len(real), len(samples)) // block_size)
  pairs = zip(
    _equal_blocks(real, num_blocks),
    _equal_blocks(samples, num_blocks),
    strict=True,
  )
  return np.array([_kernel_distance(*pair) for pair in pairs])


def _equal_blocks(rows: np.ndarray, num_blocks: int) -> list[np.ndarray]:
  # The larger ones come last, as TF-GAN has it.
  sizes = sorted(map(len, np.array_split(rows, num_blocks)))
  return np.split(rows, np.cumsum(sizes)[:-1])


def _kernel_distance(real: np.ndarray, samples: np.ndarray) -> float:
  real, samples = real.astype(np.float64), samples.astype(np.float64)
  within = (_mean_kernel_of_others(rows) for rows in (real, samples))
  return float(sum(within) - 2.0 * _kernel(real, samples).mean())


def _mean_kernel_of_others(rows: np.ndarray) -> float:
  kernel, num = _kernel(rows, rows), len(rows)
  return (kernel.sum() - np.trace(kernel)) / (num * (num - 1))


def _kernel(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
  base = rows @ others.T
  base /= rows.shape[1]
  base += 1.0
  return base * base * base


def squared_radii(
  rows: np.ndarray, neighbours: Sequence[int] = NEIGHBOURS
) -> np.ndarray:
  """Squared distances of rows to their k-th nearest other rows.

  Args:
    rows: activations (N, features), N at least 2.
    neighbours: each k; where there are fewer other rows, all of them.

  Returns:
    (len(neighbours), N), larger by a billionth: what is as far away is within.
  """
  ranks = [min(k, len(rows) - 1) for k in neighbours]
  radii = np.empty((len(ranks), len(rows)))
  for place, squares in _squared_distances(rows, rows):
    # The row itself, of rank 0.
    squares[np.arange(len(squares)), np.arange(len(rows))[place]] = 0.0
    squares.partition(sorted(set(ranks)), axis=1)
    radii[:, place] = squares[:, ranks].T
  return radii * (1.0 + _ROUNDING)


def compare_neighbours(
  real: np.ndarray, real_radii: np.ndarray, samples: np.ndarray
) -> dict[str, float]:
  """Precision, recall, density and coverage.

  Args:
    real: activations (N, features).
    real_radii: their `squared_radii`, (2, N).
    samples: activations (M, features), M at least 2.

  Returns:
    The metrics by name.
  """
  narrow, wide = real_radii
  (sample_radii,) = squared_radii(samples, NEIGHBOURS[:1])
  num_precise, num_pairs = 0, 0
  is_recalled, is_covered = np.zeros((2, len(real)), bool)
  for place, squares in _squared_distances(samples, real):
    num_precise += int((squares <= narrow).any(axis=1).sum())
    is_recalled |= (squares <= sample_radii[place, np.newaxis]).any(axis=0)
    is_near = squares <= wide
    num_pairs += int(is_near.sum())
    is_covered |= is_near.any(axis=0)
  return {
    'precision': float(num_precise / len(samples)),
    'recall': float(is_recalled.mean()),
    'density': float(num_pairs / (NEIGHBOURS[1] * len(samples))),
    'coverage': float(is_covered.mean()),
  }


def _squared_distances(
  rows: np.ndarray, others: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
  """Squared distances of some rows at a time to all others."""
  others = others.astype(np.float64)
  squares_of_others = np.einsum('ij,ij->i', others, others)
  size = max(1, _BLOCK_BYTES // others[:, 0].nbytes)
  for start in range(0, len(rows), size):
    place = slice(start, min(start + size, len(rows)))
    block = rows[place].astype(np.float64)
    squares_of_block = np.einsum('ij,ij->i', block, block)
    distances = block @ others.T
    distances *= -2.0
    distances += squares_of_block[:, np.newaxis]
    distances += squares_of_others
    # The same row twice is at no distance, also after roundings.
    scale = squares_of_block.max() + squares_of_others.max()
    rounding = rows.shape[1] * np.finfo(np.float64).eps * scale
    distances[distances <= rounding] = 0.0
    yield place, distances
