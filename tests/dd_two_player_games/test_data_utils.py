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
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import data_utils
from jaxline_harness import errors

# Processors.


@pytest.mark.parametrize('xp', [np, jnp])
def test_image_processor_inverts_itself(xp):
  levels = xp.arange(256, dtype=xp.uint8).reshape(1, 16, 16, 1)
  scaled = data_utils.ImageProcessor.preprocess(levels)
  assert isinstance(scaled, np.ndarray) == (xp is np)
  assert scaled.dtype == np.float32
  assert scaled.shape == levels.shape
  # 0 and 255 are exact, the others within a rounding.
  np.testing.assert_array_equal([scaled.min(), scaled.max()], [-1, 1])
  np.testing.assert_allclose(
    np.ravel(scaled), np.linspace(-1, 1, 256), atol=2e-7
  )
  shown = data_utils.ImageProcessor.postprocess(scaled)
  assert isinstance(shown, np.ndarray) == (xp is np)
  np.testing.assert_allclose(shown, np.asarray(levels) / 255, atol=1e-6)


def test_processors_run_inside_jit():
  images = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)

  @jax.jit
  def there_and_back(x):
    return data_utils.ImageProcessor.postprocess(
      data_utils.ImageProcessor.preprocess(x)
    )

  np.testing.assert_allclose(there_and_back(images), images / 255, atol=1e-6)


def test_processors_take_dictionaries_as_tfds_makes_them():
  image = np.full((2, 2, 1), 255, np.uint8)
  scaled = data_utils.ImageProcessor.preprocess({'image': image, 'label': 3})
  np.testing.assert_array_equal(scaled, np.ones((2, 2, 1)))


def test_point_processor_is_the_identity():
  points = np.array([[-1.5, 300.25]], np.float32)
  for function in data_utils.PointProcessor:
    np.testing.assert_array_equal(function(points), points)


# Data sets.


def test_mixture_of_gaussians():
  dataset = data_utils.mixture_of_gaussians(20_000, seed=3)
  assert dataset.examples.shape == (20_000, 2)
  assert dataset.examples.dtype == np.float32
  assert dataset.labels.dtype == np.int32
  means = data_utils.mixture_means()
  expected = set(itertools.product([-1.5, -0.5, 0.5, 1.5], repeat=2))
  assert {tuple(mean) for mean in means.tolist()} == expected
  counts = np.bincount(dataset.labels, minlength=16)
  # Expected 1250, standard deviation 34.
  assert np.abs(counts - 1250).max() < 4 * 34
  noise = dataset.examples - means[dataset.labels]
  # 40,000 numbers: the standard error of their deviation is 7e-5.
  np.testing.assert_allclose(noise.std(), 0.02, atol=3e-4)
  np.testing.assert_allclose(noise.mean(axis=0), 0, atol=6e-4)


def test_mixture_splits_are_fixed_and_different():
  train = data_utils.load_dataset('mixture_of_gaussians')
  again = data_utils.load_dataset('mixture_of_gaussians', 'train')
  test = data_utils.load_dataset('mixture_of_gaussians', 'test')
  np.testing.assert_array_equal(train.examples, again.examples)
  assert not np.array_equal(train.examples, test.examples)
  with pytest.raises(errors.UserError, match="no split 'valid'"):
    data_utils.load_dataset('mixture_of_gaussians', 'valid')


def test_high_quality_share_and_modes():
  dataset = data_utils.mixture_of_gaussians(20_000, seed=0)
  share, modes = data_utils.high_quality_share_and_modes(dataset.examples)
  # In the plane 1 - exp(-3² / 2) lie within 3 standard deviations; the standard
  # error is 7e-4.
  assert abs(share - (1 - np.exp(-4.5))) < 3e-3
  assert modes == 16
  means = data_utils.mixture_means()
  samples = np.concatenate([means[:3], means[:3] + 0.061, [[np.nan, 0]]])
  share, modes = data_utils.high_quality_share_and_modes(samples)
  assert share == pytest.approx(3 / 7)
  assert modes == 3
  # One sample of seven is more than a tenth of them, and less than a fifth.
  for min_share, covered in ((0.1, 3), (0.2, 0)):
    assert data_utils.high_quality_share_and_modes(
      samples, min_share=min_share
    ) == (share, covered)


def test_gaussian_of_unit_covariance():
  train = data_utils.load_dataset('gaussian_75')
  test = data_utils.load_dataset('gaussian_75', 'test')
  assert train.examples.shape == (100_000, 75)
  assert train.examples.dtype == np.float32
  assert not np.array_equal(train.examples, test.examples)
  # Marchenko and Pastur's edges, and Tracy and Widom's width around them.
  values = data_utils.covariance_singular_values(train.examples)
  ratio = np.sqrt(75 / 100_000)
  np.testing.assert_allclose(values[0], (1 + ratio) ** 2, atol=5e-3)
  np.testing.assert_allclose(values[-1], (1 - ratio) ** 2, atol=5e-3)


def test_covariance_singular_values():
  random = np.random.default_rng(0)
  points = random.standard_normal((50, 3))
  whitened = np.linalg.qr(points - points.mean(axis=0))[0] * np.sqrt(49)
  rotation = np.linalg.qr(random.standard_normal((3, 3)))[0]
  samples = 7 + whitened * [0.5, 2.0, 1.0] @ rotation
  np.testing.assert_allclose(
    data_utils.covariance_singular_values(samples), [4.0, 1.0, 0.25]
  )
  metrics = data_utils.point_metrics('gaussian_75', samples)
  assert metrics == {'covariance_error': pytest.approx(3.0)}
  samples[0, 0] = np.inf
  assert np.isnan(data_utils.covariance_singular_values(samples)).all()


@pytest.mark.slow
def test_load_dataset_reads_images_and_knows_the_mixture():
  assert data_utils.load_dataset('fashion_mnist_10k').labels is not None
  with pytest.raises(errors.UserError, match='did you mean mixture_of_gaussia'):
    data_utils.load_dataset('mixture_of_gausians')


@pytest.fixture
def small_npz(tmp_path):
  images = np.arange(20, dtype=np.uint8)[:, None, None, None]
  images = np.tile(images, (1, 2, 3, 1))
  path = tmp_path / 'small.npz'
  np.savez(path, images=images, labels=np.arange(20))
  return str(path)


def _dataset(path, batch_dims, shard_args=(1, 0), seed=1, processor=None):
  return data_utils.get_image_dataset(
    path,
    'train',
    batch_dims,
    processor or data_utils.ImageProcessor,
    shard_args,
    seed,
  )


def _ids(batch):
  shown = np.rint(255 * data_utils.ImageProcessor.postprocess(batch))
  return shown.astype(int).reshape(-1, 2, 3, 1)[:, 0, 0, 0].tolist()


def test_image_dataset_permutes_every_epoch(small_npz):
  batches = _dataset(small_npz, (2, 3))
  epochs = []
  for _ in range(3):
    epoch = [next(batches) for _ in range(3)]
    assert {b.shape for b in epoch} == {(2, 3, 2, 3, 1)}
    assert {b.dtype for b in epoch} == {np.dtype(np.float32)}
    epochs.append(sum(map(_ids, epoch), []))
    assert len(set(epochs[-1])) == 18
  assert epochs[0] != epochs[1] != epochs[2]
  again = _dataset(small_npz, [2, 3])
  assert _ids(next(again)) == epochs[0][:6]
  other = _dataset(small_npz, [2, 3], seed=2)
  assert _ids(next(other)) != epochs[0][:6]
  assert next(_dataset(small_npz, 4)).shape == (4, 2, 3, 1)


def test_image_dataset_shards_are_disjoint(small_npz):
  shards = [_ids(next(_dataset(small_npz, 10, (2, i)))) for i in range(2)]
  assert sorted(shards[0] + shards[1]) == list(range(20))
  with pytest.raises(errors.UserError, match='batch of 11 .* shard of 10'):
    _dataset(small_npz, 11, (2, 0))


def test_image_dataset_takes_other_processors(small_npz):
  # As code for the published interface has them: one example, a dictionary.
  processor = data_utils.DataProcessor(
    lambda example: example['image'][..., 0] * 0 + example['label'], None
  )
  batch = next(_dataset(small_npz, 20, processor=processor))
  assert batch.shape == (20, 2, 3)
  assert sorted(batch[:, 0, 0].tolist()) == list(range(20))


# Pictures.


def test_grid_places_images_row_by_row():
  images = np.arange(6, dtype=np.uint8)[:, None, None, None]
  images = np.tile(images, (1, 60, 70, 3))
  grid = data_utils.sample_grid(images, rows=2, cols=3)
  assert grid.dtype == np.uint8
  assert grid.shape == (2 * 62 + 2, 3 * 72 + 2, 3)
  assert (grid[0] == 255).all()
  for i in range(6):
    top, left = i // 3 * 62 + 2, i % 3 * 72 + 2
    np.testing.assert_array_equal(
      grid[top : top + 60, left : left + 70], images[i]
    )


def test_grid_enlarges_small_images_sharply():
  images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
  grid = data_utils.sample_grid(images)
  assert grid.shape == (2 * 58 + 2, 3 * 58 + 2, 1)
  np.testing.assert_array_equal(grid[2:58:2, 2:58:2], images[0])
  np.testing.assert_array_equal(grid[3:58:2, 3:58:2], images[0])
  # The sixth place stays empty.
  assert (grid[60:116, 118:174] == 255).all()


@pytest.mark.parametrize(
  ('kwargs', 'shape'),
  [
    ({}, (3, 4)),
    ({'rows': 2}, (2, 6)),
    ({'cols': 5}, (3, 5)),
    ({'rows': 2, 'cols': 2}, (2, 2)),
  ],
)
def test_grid_shapes(kwargs, shape):
  images = np.zeros((12, 56, 56, 1), np.uint8)
  grid = data_utils.sample_grid(images, **kwargs)
  assert grid.shape == (shape[0] * 58 + 2, shape[1] * 58 + 2, 1)


@pytest.mark.parametrize(
  'images',
  [
    np.zeros((4, 8, 8, 1), np.float32),
    np.zeros((4, 8, 8), np.uint8),
    np.zeros((4, 8, 8, 2), np.uint8),
    np.zeros((0, 8, 8, 1), np.uint8),
  ],
)
def test_grid_refuses_what_is_no_image(images):
  with pytest.raises(ValueError, match='images must'):
    data_utils.sample_grid(images)


def _share_of(figure, colour):
  near = np.abs(figure.astype(int) - colour).sum(axis=-1) < 60
  return near.mean()


def test_points_figure_shows_samples_and_data():
  data = data_utils.mixture_of_gaussians(2000, seed=0).examples
  blank = data_utils.points_figure(np.full((1, 2), np.nan), data)
  figure = data_utils.points_figure(data[:1000], data, 'Step 10')
  assert figure.dtype == np.uint8
  assert figure.shape == blank.shape == (672, 672, 3)
  red = np.array([209, 73, 91])
  assert _share_of(figure, red) > _share_of(blank, red) + 1e-3


@pytest.mark.parametrize('value', [np.nan, 1e30, 0.0])
def test_points_figure_survives_a_lost_generator(value):
  data = data_utils.mixture_of_gaussians(100, seed=0).examples
  samples = np.full((50, 2), value, np.float32)
  figure = data_utils.points_figure(samples, data)
  assert figure.shape == (672, 672, 3)
