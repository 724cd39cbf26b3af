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
"""Tests of the picture of samples."""

import json
import types

from matplotlib.backends import backend_agg
import numpy as np
import pytest

from dd_two_player_games import data_utils
from figures import samples


def _pixels(figure):
  canvas = backend_agg.FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.fixture
def dataset():
  """Every image is as bright as its label says."""
  labels = np.arange(40, dtype=np.int32)[::-1] % 4
  images = np.broadcast_to(
    labels[:, None, None, None].astype(np.uint8), (40, 28, 28, 1)
  )
  return types.SimpleNamespace(examples=images, labels=labels)


def _run(num_classes):
  def sample(num, seed, labels):
    assert (labels is None) == (num_classes == 0)
    brightness = np.full(num, seed) if labels is None else labels
    return np.broadcast_to(
      brightness[:, None, None, None].astype(np.uint8), (num, 28, 28, 1)
    )

  return types.SimpleNamespace(num_classes=num_classes, sample=sample)


def test_a_column_is_a_class(dataset):
  real, made = samples.choose_images(_run(4), dataset, 0)
  columns = made.reshape(-1, *real.shape)
  assert len(columns) == 6
  np.testing.assert_array_equal(real[:5, 0, 0, 0], [0, 1, 2, 3, 0])
  for row in columns:
    np.testing.assert_array_equal(row, real)


def test_without_classes_the_seed_says_all(dataset):
  real, made = samples.choose_images(_run(0), dataset, 7)
  np.testing.assert_array_equal(real, dataset.examples[:10])
  assert made.shape == (60, 28, 28, 1)
  assert (made == 7).all()


def test_the_title_says_what_was_measured(tmp_path):
  folder = tmp_path / 'a_run'
  (folder / 'eval').mkdir(parents=True)
  assert samples.name_run(folder, 8000) == 'a_run, step 8,000'
  metrics = {'FID': 30.26, 'FID_floor': 1.11}
  path = folder / 'eval' / 'metrics_00008000.json'
  path.write_text(json.dumps(metrics))
  title = samples.name_run(folder, 8000)
  assert title == 'a_run, step 8,000: FID 30.3 (the data: 1.1)'
  assert samples.name_run(folder, 7000) == 'a_run, step 7,000'


@pytest.mark.parametrize('channels', [1, 3])
def test_data_are_drawn_above_samples(channels):
  random = np.random.default_rng(0)
  shape = (28, 28, channels)
  white = np.full((10, *shape), 255, np.uint8)
  black = np.zeros((60, *shape), np.uint8)
  pixels = _pixels(samples.draw(white, black, 'a title'))
  middle = pixels[:, pixels.shape[1] // 4 :]
  rows = np.flatnonzero((middle < 20).all(axis=2).mean(axis=1) > 0.5)
  assert rows.min() > pixels.shape[0] / 7  # What is black lies below.
  noise = random.integers(0, 255, (60, *shape), dtype=np.uint8)
  assert _pixels(samples.draw(noise[:10], noise, 'a title')).std() > 20


def test_real_images_can_be_drawn():
  dataset = data_utils.load_dataset('fashion_mnist_10k')
  real, made = samples.choose_images(_run(10), dataset, 0)
  assert _pixels(samples.draw(real, made, '')).std() > 0
