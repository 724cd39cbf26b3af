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
"""Pictures of samples as a run makes them, alone or beside data."""

from collections.abc import Callable, Sequence
import math

import numpy as np

from dd_two_player_games import data_utils
from dd_two_player_games import image_metrics
from jaxline_harness import datasets

_NUM_IMAGES, _NUM_POINTS = 64, 4096
# With a row for each class.
_MAX_ROWS, _COLUMNS = 10, 8


def draw_samples(
  sample: Callable[[int, np.ndarray | None], np.ndarray],
  dataset: datasets.Dataset,
  class_counts: Sequence[int] = (),
  title: str = '',
  beside_data: bool = False,
) -> np.ndarray:
  """A grid of images, or a plot of points.

  Args:
    sample: makes so many samples, with these labels if they are not None.
    dataset: what they are samples of.
    class_counts: how many examples each class has, for a grid with a row for
      each; empty for another grid.
    title: of a plot of points.
    beside_data: whether images of the data are drawn beside a grid.

  Returns:
    uint8 `(H, W, channels)`.
  """
  if dataset.examples.ndim != 4:
    points = sample(_NUM_POINTS, None)
    return data_utils.points_figure(points, dataset.examples, title)
  labels, columns = None, math.isqrt(_NUM_IMAGES)
  real = dataset.examples[:_NUM_IMAGES]
  if class_counts:
    labels, columns = choose_labels(class_counts), _COLUMNS
    real = find_examples(dataset, labels)
  num = _NUM_IMAGES if labels is None else len(labels)
  images = image_metrics.as_uint8(sample(num, labels))
  rows = num // columns
  grid = data_utils.sample_grid(images, rows, columns)
  if not beside_data:
    return grid
  # There may be fewer images than places.
  beside = data_utils.sample_grid(real, rows, columns)
  gap = np.full((grid.shape[0], grid.shape[1] // 16, grid.shape[2]), 255)
  return np.concatenate([grid, gap.astype(np.uint8), beside], axis=1)


def choose_labels(class_counts: Sequence[int]) -> np.ndarray:
  """The labels of a grid, row by row; of many classes some, evenly spread."""
  classes = np.flatnonzero(class_counts)
  places = np.linspace(0, len(classes) - 1, min(_MAX_ROWS, len(classes)))
  return np.repeat(classes[places.astype(int)], _COLUMNS).astype(np.int32)


def find_examples(dataset: datasets.Dataset, labels: np.ndarray) -> np.ndarray:
  """Images with these labels, no image twice: white where there are no more."""
  shape = dataset.examples.shape[1:]
  found = np.full((len(labels), *shape), 255, dataset.examples.dtype)
  for label in np.unique(labels):
    places = np.flatnonzero(labels == label)
    has_label = np.flatnonzero(dataset.labels == label)[: len(places)]
    found[places[: len(has_label)]] = dataset.examples[has_label]
  return found
