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
"""What GANs need of data: scaling, made points, pictures of samples."""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import math
import os
from typing import Any

import numpy as np

from jaxline_harness import dataset_files
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

MIXTURE_NAME = 'mixture_of_gaussians'
MIXTURE_STD = 0.02
GAUSSIAN_NAME = 'gaussian_75'
_GAUSSIAN_DIMS = 75
_SEEDS_OF_MADE = {'train': 0, 'test': 1}

# Images below this height are shown enlarged.
_MIN_SHOWN_HEIGHT = 56


# Processors.


DataProcessor = collections.namedtuple(
  'DataProcessor', ['preprocess', 'postprocess']
)


def _array(example: Any) -> Any:
  """The array of an example, which may be a dictionary as tfds makes it."""
  return example['image'] if isinstance(example, Mapping) else example


def image_preprocess(images: Any) -> Any:
  """Scales bytes to [-1, 1].

  Args:
    images: uint8, of any shape, from NumPy or JAX; or a mapping whose `image`
      is that.

  Returns:
    float32 of the same shape and kind.
  """
  return draws.scale_images(_array(images))


def image_postprocess(images: Any) -> Any:
  """Scales [-1, 1] to [0, 1], to be shown.

  Args:
    images: floats of any shape, from NumPy or JAX.

  Returns:
    Floats of the same shape and kind.
  """
  return (images + 1) / 2


def point_preprocess(points: Any) -> Any:
  """Points are used as they are, in float32."""
  return _array(points).astype(np.float32)


ImageProcessor = DataProcessor(image_preprocess, image_postprocess)
PointProcessor = DataProcessor(point_preprocess, lambda points: points)


# Data sets.


def load_dataset(
  dataset_name: str,
  split: str = 'train',
  data_dir: str | os.PathLike[str] | None = None,
  on_disk: bool = False,
) -> datasets.Dataset:
  """Loads a data set for a GAN.

  Args:
    dataset_name: `mixture_of_gaussians`, `gaussian_75`, or any that
      `datasets.load` takes.
    split: which split of it.
    data_dir: where data sets lie; see `datasets.load`.
    on_disk: see there.

  Returns:
    The split: images or points.

  Raises:
    UserError: the data set does not exist, cannot be had, or is damaged.
  """
  if dataset_name not in MADE:
    return datasets.load(dataset_name, split, data_dir, list(MADE), on_disk)
  dataset_files.check_split(dataset_name, split, tuple(_SEEDS_OF_MADE))
  make, size = MADE[dataset_name]
  return make(size, _SEEDS_OF_MADE[split])


def mixture_means() -> np.ndarray:
  """The 16 means of the mixture, ±0.5 and ±1.5 in both directions: (16, 2)."""
  places = np.array([-1.5, -0.5, 0.5, 1.5], np.float32)
  return np.stack(np.meshgrid(places, places, indexing='ij'), -1).reshape(-1, 2)


def mixture_of_gaussians(num_examples: int, seed: int) -> datasets.Dataset:
  """Draws from 16 equally likely Gaussians on a grid in the plane.

  Args:
    num_examples: how many points.
    seed: for the points; they are the same for the same seed.

  Returns:
    Points, float32 `(num_examples, 2)`, labelled by their Gaussian.
  """
  random = np.random.default_rng(seed)
  means = mixture_means()
  labels = random.integers(len(means), size=num_examples, dtype=np.int32)
  noise = random.standard_normal((num_examples, 2), np.float32)
  points = means[labels] + np.float32(MIXTURE_STD) * noise
  return datasets.Dataset(
    points, labels, MIXTURE_NAME, f'made with seed {seed}'
  )


def standard_gaussian(num_examples: int, seed: int) -> datasets.Dataset:
  """Draws from a Gaussian of mean zero and unit covariance, in 75 dimensions.

  Args:
    num_examples: how many points.
    seed: for the points; they are the same for the same seed.

  Returns:
    Points, float32 `(num_examples, 75)`, without labels.
  """
  random = np.random.default_rng(seed)
  points = random.standard_normal((num_examples, _GAUSSIAN_DIMS), np.float32)
  return datasets.Dataset(points, None, GAUSSIAN_NAME, f'made with seed {seed}')


# Data sets that are made, not read: how, and how many examples.
MADE: dict[str, tuple[Callable[[int, int], datasets.Dataset], int]] = {
  MIXTURE_NAME: (mixture_of_gaussians, 50_000),
  GAUSSIAN_NAME: (standard_gaussian, 100_000),
}


def point_metrics(dataset_name: str, samples: np.ndarray) -> dict[str, float]:
  """How well samples match a data set of points that is made."""
  if dataset_name == MIXTURE_NAME:
    share, modes = high_quality_share_and_modes(samples)
    return {'high_quality_share': share, 'modes_covered': float(modes)}
  if dataset_name == GAUSSIAN_NAME:
    errors_of_ones = np.abs(covariance_singular_values(samples) - 1)
    return {'covariance_error': float(errors_of_ones.max())}
  return {}


def high_quality_share_and_modes(
  samples: np.ndarray, num_stds: float = 3.0, min_share: float = 0.0
) -> tuple[float, int]:
  """How well samples cover the mixture.

  Args:
    samples: points `(N, 2)`.
    num_stds: a sample is of high quality if it lies within so many standard
      deviations of a mean.
    min_share: a Gaussian is covered if more than this share of all samples lie
      that near to it. By default one sample is enough.

  Returns:
    The share of samples of high quality (0.989 for the mixture itself), and how
    many of the 16 Gaussians are covered.
  """
  offsets = np.asarray(samples, np.float64)[:, None] - mixture_means()
  distances = np.linalg.norm(offsets, axis=-1)
  near = distances <= num_stds * MIXTURE_STD
  covered = near.mean(axis=0) > min_share
  return float(near.any(axis=1).mean()), int(covered.sum())


def covariance_singular_values(samples: np.ndarray) -> np.ndarray:
  """Singular values of the samples' covariance, the largest first.

  Those of N samples of a standard Gaussian in d dimensions are not all 1, but
  lie between about (1 - √(d/N))² and (1 + √(d/N))².

  Args:
    samples: points `(N, d)`.

  Returns:
    float64 `(d,)`, NaN if a sample is not finite.
  """
  samples = np.asarray(samples, np.float64)
  if not np.isfinite(samples).all():
    return np.full(samples.shape[1], np.nan)
  return np.linalg.svdvals(np.cov(samples, rowvar=False))


def get_image_dataset(
  dataset_name: str,
  split: str,
  batch_dims: int | Sequence[int],
  processor: DataProcessor,
  shard_args: Sequence[int],
  seed: int = 1,
  data_dir: str | os.PathLike[str] | None = None,
) -> Iterator[np.ndarray]:
  """Batches without end, for users of the published interface.

  Every epoch is another permutation of the shard; what does not fill a batch is
  left out of that epoch.

  Args:
    dataset_name: see `load_dataset`.
    split: which split of it.
    batch_dims: the batch's leading dimensions.
    processor: its `preprocess` is given one example at a time, as a dictionary
      with `image` and, if there are labels, `label`.
    shard_args: the number of shards and the index of the one to read.
    seed: for the permutations.
    data_dir: where data sets lie; see `datasets.load`.

  Returns:
    An iterator of NumPy arrays of shape `batch_dims` + an example's shape.

  Raises:
    UserError: the data set cannot be had, or a shard is smaller than a batch.
  """
  dataset = load_dataset(dataset_name, split, data_dir)
  dims = (batch_dims,) if isinstance(batch_dims, int) else tuple(batch_dims)
  num_shards, shard = shard_args
  members = np.arange(len(dataset.examples))[shard::num_shards]
  size = math.prod(dims)
  if not 0 < size <= len(members):
    raise errors.UserError(
      f'a batch of {size} cannot be drawn from a shard of {len(members)} '
      f'examples of {dataset_name}.'
    )
  return _batches(dataset, members, dims, processor, seed)


def _batches(
  dataset: datasets.Dataset,
  members: np.ndarray,
  dims: tuple[int, ...],
  processor: DataProcessor,
  seed: int,
) -> Iterator[np.ndarray]:
  """The batches of `get_image_dataset`."""
  size = math.prod(dims)
  random = np.random.default_rng(seed)
  while True:
    order = random.permutation(members)
    for start in range(0, len(order) - size + 1, size):
      examples = [
        np.asarray(processor.preprocess(_example(dataset, i)))
        for i in order[start : start + size]
      ]
      yield np.stack(examples).reshape(dims + examples[0].shape)


def _example(dataset: datasets.Dataset, index: int) -> dict[str, Any]:
  example = {'image': dataset.examples[index]}
  if dataset.labels is not None:
    example['label'] = dataset.labels[index]
  return example


# Pictures.


def sample_grid(
  images: np.ndarray, rows: int | None = None, cols: int | None = None
) -> np.ndarray:
  """Lays images out in a grid with thin white borders.

  Small images are enlarged by a whole factor, their pixels kept sharp.

  Args:
    images: uint8 `(N, height, width, channels)`, 1 or 3 channels.
    rows: rows of the grid; by default as many as the images need.
    cols: columns of the grid; by default the grid is about square.

  Returns:
    uint8 `(H, W, channels)`. Images that do not fit the grid are left out,
    places without an image are white.

  Raises:
    ValueError: the images are not of that type and shape, or there are none.
  """
  images = np.asarray(images)
  if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
    raise ValueError(
      'images must be uint8 (N, height, width, channels), not '
      f'{images.dtype} {images.shape}'
    )
  number, height, width, channels = images.shape
  if channels not in (1, 3):
    raise ValueError(f'images must have 1 or 3 channels, not {channels}')
  if cols is None:
    cols = math.ceil(math.sqrt(number) if rows is None else number / rows)
  rows = rows or math.ceil(number / cols)
  scale = max(1, math.ceil(_MIN_SHOWN_HEIGHT / height))
  border = 2
  step_y, step_x = height * scale + border, width * scale + border
  shape = (rows * step_y + border, cols * step_x + border, channels)
  grid = np.full(shape, 255, np.uint8)
  shown = images[: rows * cols].repeat(scale, axis=1).repeat(scale, axis=2)
  for i, image in enumerate(shown):
    top, left = i // cols * step_y + border, i % cols * step_x + border
    grid[top : top + height * scale, left : left + width * scale] = image
  return grid


def points_figure(
  samples: np.ndarray, points: np.ndarray, title: str = ''
) -> np.ndarray:
  """Draws samples over data in the plane.

  Args:
    samples: the generator's points `(N, d)`; the first two coordinates are
      shown.
    points: the data's points `(M, d)`.
    title: written above.

  Returns:
    uint8 `(H, W, 3)`.

  Raises:
    UserError: Matplotlib is not installed.
  """
  # Matplotlib takes a while to import and training may never need it.
  with errors.require_extra('plots', 'a picture of points'):
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure

  figure = Figure(figsize=(5.6, 5.6), dpi=120, layout='constrained')
  canvas = backend_agg.FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  low, high = points.min(axis=0)[:2], points.max(axis=0)[:2]
  margin = 0.2 * float((high - low).max()) + 1e-3
  _scatter(axes, points, '#b8bec8', 'data', size=9, opacity=0.35)
  _scatter(axes, samples, '#d1495b', 'samples', size=7, opacity=0.55)
  axes.set_xlim(low[0] - margin, high[0] + margin)
  axes.set_ylim(low[1] - margin, high[1] + margin)
  axes.set_aspect('equal')
  axes.set_title(title or 'Samples and data')
  axes.spines[['top', 'right']].set_visible(False)
  axes.tick_params(colors='#555555', labelsize=9)
  outside = _share_outside(samples, low - margin, high + margin)
  if outside:
    axes.set_xlabel(f'{outside:.1%} of the samples lie outside', color='#555')
  legend = axes.legend(loc='upper right', ncols=2, frameon=False)
  for handle in filter(None, legend.legend_handles):
    handle.set(alpha=1, sizes=[30])
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _scatter(
  axes: Any,
  points: np.ndarray,
  colour: str,
  label: str,
  size: float,
  opacity: float,
) -> None:
  axes.scatter(
    points[:4096, 0],
    points[:4096, 1],
    s=size,
    c=colour,
    alpha=opacity,
    linewidths=0,
    label=label,
  )


def _share_outside(
  samples: np.ndarray, low: np.ndarray, high: np.ndarray
) -> float:
  inside = (samples[:, :2] >= low) & (samples[:, :2] <= high)
  return 1 - float(inside.all(axis=1).mean())
