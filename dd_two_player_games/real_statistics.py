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
"""What samples are compared with: real images' statistics, kept in files."""

from collections.abc import Collection
import io
import pathlib
from typing import NamedTuple, TypeVar

from absl import logging
import numpy as np

from dd_two_player_games import activation_metrics
from jaxline_harness import files


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

  def check_shapes(self) -> None:
    """Raises ValueError if they do not agree."""
    splits, features = self.mus.shape
    wanted = [(splits, features), (splits, features, features), (splits,)]
    if [array.shape for array in self] != wanted:
      raise ValueError('its shapes do not agree')


class DataActivations(NamedTuple):
  """What the activations of each split are compared with.

  Attributes:
    activations: of real images, (splits, kept, features), float32.
    radii: their `activation_metrics.squared_radii`, (splits, 2, kept).
    floors: for each pair of splits, one after the other, what the metrics of
      `activation_metrics.METRICS` are of the second one, (splits - 1, metrics);
      no pairs where an image is in two.
  """

  activations: np.ndarray
  radii: np.ndarray
  floors: np.ndarray

  def check_shapes(self) -> None:
    """Raises ValueError if they do not agree."""
    splits, kept, _ = self.activations.shape
    pairs, metrics = self.floors.shape
    if (
      self.radii.shape != (splits, len(activation_metrics.NEIGHBOURS), kept)
      or pairs not in (0, splits - 1)
      or metrics != len(activation_metrics.METRICS)
    ):
      raise ValueError('its shapes do not agree')

  def compare(
    self, split: int, samples: np.ndarray, names: Collection[str]
  ) -> dict[str, np.ndarray]:
    """Compares samples with the real images of a split.

    Args:
      split: its number.
      samples: their activations, (N, features).
      names: what of `activation_metrics.METRICS` is wanted.

    Returns:
      KID of each block, and each other metric in an array of one.
    """
    real, found = self.activations[split], {}
    if 'KID' in names:
      found['KID'] = activation_metrics.kernel_distances(real, samples)
    if {*names} - {'KID'}:
      others = activation_metrics.compare_neighbours(
        real, self.radii[split], samples
      )
      found |= {name: np.array([value]) for name, value in others.items()}
    return {name: found[name] for name in names}


class Accuracy(NamedTuple):
  """How well a classifier does that was trained on real images.

  Attributes:
    value: a share of test images, ().
  """

  value: np.ndarray

  def check_shapes(self) -> None:
    """Raises ValueError if it is not one number."""
    if self.value.shape:
      raise ValueError('its shapes do not agree')


_Statistics = TypeVar('_Statistics', DataStatistics, DataActivations, Accuracy)


def read(path: pathlib.Path, kind: type[_Statistics]) -> _Statistics | None:
  """Reads a cache file.

  Args:
    path: the file.
    kind: what it is to hold.

  Returns:
    What it holds; None without one, or with a warning if it is damaged.
  """
  try:
    arrays = files.read_npz(path)
    statistics = kind(*(arrays[k] for k in kind._fields))
    if not all(np.isfinite(array).all() for array in statistics):
      raise ValueError('it holds numbers that are not finite')
    statistics.check_shapes()
  except FileNotFoundError:
    return None
  except (OSError, KeyError, ValueError, TypeError) as error:
    logging.warning('Cannot read %s (%s): computing it again.', path, error)
    return None
  logging.info('Statistics of the real images: %s.', path)
  return statistics


def write(
  path: pathlib.Path, statistics: DataStatistics | DataActivations | Accuracy
) -> None:
  """Writes the cache file; without it the next run computes them again."""
  npz = io.BytesIO()
  np.savez(npz, **statistics._asdict())
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(str(path), npz.getvalue())
  except OSError as error:
    logging.warning('Cannot keep the statistics in %s: %s.', path, error)
