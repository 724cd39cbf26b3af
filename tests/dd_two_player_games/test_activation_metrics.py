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
"""KID, precision, recall, density and coverage against other computations."""

import json
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from dd_two_player_games import activation_metrics
from dd_two_player_games import image_metrics
from dd_two_player_games import tfgan_inception_utils
from tests.dd_two_player_games import small_experiments
from tests.dd_two_player_games import test_metric_utils

pytestmark = pytest.mark.optimised

NAMES = activation_metrics.METRICS


def make_sets(num_real, num_samples, features=6, seed=0):
  rng = np.random.default_rng(seed)
  real = rng.normal(size=(num_real, features))
  samples = 0.7 * rng.normal(size=(num_samples, features)) + 0.3
  return real.astype(np.float32), samples.astype(np.float32)


def compare_neighbours(real, samples):
  return activation_metrics.compare_neighbours(
    real, activation_metrics.squared_radii(real), samples
  )


# KID.


def distance_of_all_pairs(real, samples):
  """KID by its definition, a pair of rows at a time."""

  def kernel(a, b):
    return (float(np.dot(a, b)) / len(a) + 1) ** 3

  def mean_of_others(rows):
    return np.mean(
      [
        kernel(a, b)
        for i, a in enumerate(rows)
        for j, b in enumerate(rows)
        if i != j
      ]
    )

  real, samples = real.astype(float), samples.astype(float)
  between = np.mean([kernel(a, b) for a in real for b in samples])
  return mean_of_others(real) + mean_of_others(samples) - 2 * between


def test_kernel_distance_is_that_of_all_pairs():
  real, samples = make_sets(31, 23)
  (distance,) = activation_metrics.kernel_distances(real, samples)
  np.testing.assert_allclose(
    distance, distance_of_all_pairs(real, samples), rtol=1e-12
  )
  # In blocks of at most 10 rows: four of 7 or 8 and of 5 or 6.
  distances = activation_metrics.kernel_distances(real, samples, 10)
  np.testing.assert_allclose(
    distances,
    [
      distance_of_all_pairs(real[a:b], samples[c:d])
      for a, b, c, d in (
        (0, 7, 0, 5),
        (7, 15, 5, 11),
        (15, 23, 11, 17),
        (23, 31, 17, 23),
      )
    ],
    rtol=1e-11,
  )


def test_kernel_distance_is_unbiased():
  """Of sets of one distribution it is 0 on average, not above."""
  rows = np.random.default_rng(1).normal(size=(2 * 8 * 500, 4))
  distances = activation_metrics.kernel_distances(rows[::2], rows[1::2], 8)
  error = distances.std() / np.sqrt(len(distances))
  assert abs(distances.mean()) < 3 * error
  # With each row's kernel with itself it would be far above.
  own = np.mean((np.sum(rows**2, axis=1) / 4 + 1) ** 3)
  assert 2 * (own - 1) / 8 > 10 * error


@pytest.mark.slow  # Imports TensorFlow.
@pytest.mark.parametrize(('num_real', 'num_samples'), [(90, 90), (101, 77)])
def test_kernel_distance_is_that_of_tfgan(num_real, num_samples):
  tfgan_eval = tfgan_inception_utils.import_tfgan_eval()
  real, samples = (
    x.astype(np.float64) for x in make_sets(num_real, num_samples)
  )
  distances = activation_metrics.kernel_distances(real, samples, 20)
  import tensorflow as tf

  mean, error = tfgan_eval.kernel_classifier_distance_and_std_from_activations(
    tf.constant(real), tf.constant(samples), max_block_size=20
  )
  np.testing.assert_allclose(distances.mean(), mean.numpy(), rtol=1e-10)
  np.testing.assert_allclose(
    distances.std(ddof=1) / np.sqrt(len(distances)), error.numpy(), rtol=1e-9
  )
  np.testing.assert_allclose(
    activation_metrics.kernel_distances(real, samples).mean(),
    tfgan_eval.kernel_classifier_distance_from_activations(
      tf.constant(real), tf.constant(samples)
    ).numpy(),
    rtol=1e-10,
  )


# Neighbours.


def compare_all_pairs(real, samples):
  """The same from matrices of all distances, as their papers' code has it."""

  def radii(rows, k):
    distances = sklearn_metrics.pairwise_distances(rows.astype(float))
    return np.sort(distances, axis=1)[:, k]  # The first is the row itself.

  between = sklearn_metrics.pairwise_distances(
    real.astype(float), samples.astype(float)
  )
  near = between < radii(real, 5)[:, None]
  return {
    'precision': (between < radii(real, 3)[:, None]).any(axis=0).mean(),
    'recall': (between < radii(samples, 3)[None]).any(axis=1).mean(),
    'density': near.sum(axis=0).mean() / 5,
    'coverage': (between.min(axis=1) < radii(real, 5)).mean(),
  }


@pytest.mark.parametrize('rows_of_block', [7, 1000])
def test_neighbours_are_those_of_all_pairs(monkeypatch, rows_of_block):
  real, samples = make_sets(150, 110)
  monkeypatch.setattr(
    activation_metrics, '_BLOCK_BYTES', 8 * 150 * rows_of_block
  )
  found, wanted = (
    f(real, samples) for f in (compare_neighbours, compare_all_pairs)
  )
  assert found == pytest.approx(wanted, rel=1e-12)
  # No value that many sets would have.
  assert 0.5 < found['recall'] < found['precision'] < 1
  assert found['coverage'] < 1 < found['density']


def test_neighbours_on_a_line():
  real = np.arange(7.0)[:, np.newaxis]
  # Radii of the third neighbours: 3, 2, 2, 2, 2, 2, 3; of the fifth: 5, 4, 3,
  # 3, 3, 4, 5.
  samples = np.array([0.5, 1.0, 9.0, 9.5, 13.0])[:, np.newaxis]
  # Of the samples, the third: 9, 8.5, 8, 8.5, 12.
  radii = np.sqrt(activation_metrics.squared_radii(real))
  np.testing.assert_allclose(radii[0], [3, 2, 2, 2, 2, 2, 3])
  np.testing.assert_allclose(radii[1], [5, 4, 3, 3, 3, 4, 5])
  found = compare_neighbours(real, samples)
  # 9.0 is as far from 6 as its third neighbour is: it counts.
  assert found['precision'] == 3 / 5
  assert found['recall'] == 1
  # 0.5 is near 0 to 3, 1.0 near all; 9.0 near 5 and 6; 9.5 near 6.
  assert found['density'] == (4 + 7 + 2 + 1) / 25
  assert found['coverage'] == 1


def test_collapsed_samples():
  real, _ = make_sets(60, 0)
  samples = np.repeat(real[:1], 40, axis=0)
  found = compare_neighbours(real, samples)
  assert found['precision'] == 1
  # None but the example itself is where the samples are.
  assert found['recall'] == 1 / 60
  radii = activation_metrics.squared_radii(samples)
  np.testing.assert_array_equal(radii, 0)
  # Of one of them it is the fifth neighbour: that counts.
  distances = sklearn_metrics.pairwise_distances(real.astype(float))
  ranks = np.argsort(np.argsort(distances, axis=1), axis=1)[:, 0]
  assert 5 in ranks
  num_near = np.sum(ranks <= 5)
  assert found['coverage'] == num_near / 60
  assert found['density'] == num_near / 5


def test_samples_that_are_the_data():
  real, _ = make_sets(80, 0)
  found = compare_neighbours(real, real)
  assert [found[k] for k in ('precision', 'recall', 'coverage')] == [1, 1, 1]


def test_fewer_rows_than_neighbours():
  real, samples = make_sets(3, 2)
  # All others are the nearest.
  radii = activation_metrics.squared_radii(real)
  distances = sklearn_metrics.pairwise_distances(real.astype(float))
  np.testing.assert_allclose(radii, [distances.max(axis=1) ** 2] * 2)
  assert np.isfinite([*compare_neighbours(real, samples).values()]).all()


def test_memory_is_of_a_block():
  def peak(num):
    real, samples = make_sets(num, num, features=3)
    radii = np.zeros((2, num))
    tracemalloc.start()
    try:
      activation_metrics.kernel_distances(real, samples)
      activation_metrics.compare_neighbours(real, radii, samples)
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  # A matrix of all would take 128 MB.
  assert peak(4000) < 40e6
  assert peak(4000) < 1.1 * peak(2000)


# Of images.


class Classifier(test_metric_utils.MeanClassifier):
  """No two distances are the same."""

  def __call__(self, images):
    logits, activations = super().__call__(images)
    return logits, activations * np.sqrt([2, 3, 5, 7]).astype(np.float32)


def measure(real, samples, **kwargs):
  classifier = Classifier()
  measured = image_metrics.ImageMetrics(
    classifier, real, num_splits=2, images_per_split=700, **kwargs
  )
  metrics = measured.metrics(test_metric_utils._batches(samples, 130))
  return measured, metrics, classifier


@pytest.fixture(scope='module')
def images():
  real = test_metric_utils._images(1400, 10)
  return real, test_metric_utils._images(1430, 11, high=200)


def test_images_against_the_plain_functions(images):
  real, samples = images
  measured, metrics, classifier = measure(
    real, samples, other_metrics=NAMES, num_activations=600
  )
  assert metrics.keys() == (
    small_experiments.IMAGE_METRICS | small_experiments.OTHER_METRICS
  )
  order = np.random.default_rng(0).permutation(1400)
  _, real = classifier(real[order])
  _, samples = classifier(samples[:1400])
  # The first 600 of each split.
  reals, samples = ([x[:600], x[700:1300]] for x in (real, samples))

  def compare(real, samples):
    (distance,) = activation_metrics.kernel_distances(real, samples)
    return {'KID': distance} | compare_all_pairs(real, samples)

  pairs = [compare(*pair) for pair in zip(reals, samples, strict=True)]
  floors = compare(*reals)
  for name in NAMES:
    values = [pair[name] for pair in pairs]
    np.testing.assert_allclose(metrics[name], np.mean(values), rtol=1e-9)
    np.testing.assert_allclose(
      metrics[f'{name}_std'], np.std(values), rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(metrics[f'{name}_floor'], floors[name])
  told = json.loads(json.dumps(measured.measured_with))
  assert told['activations_per_split'] == 600
  assert told['KID_block_size'] == 1000
  assert (
    told['neighbours'] == '3 of precision and recall, 5 of density and coverage'
  )


def test_other_metrics_leave_the_first_ones_as_they_are(images):
  _, alone, _ = measure(*images)
  _, some, _ = measure(*images, other_metrics=['KID', 'recall'])
  _, together, _ = measure(*images, other_metrics=NAMES)
  assert alone.keys() == small_experiments.IMAGE_METRICS
  assert some.keys() - alone.keys() == {
    f'{name}{part}'
    for name in ('KID', 'recall')
    for part in ('', '_std', '_floor')
  }
  # To the last bit.
  assert alone == {name: together[name] for name in alone}
  assert some == {name: together[name] for name in some}


def test_activations_are_cached(images, tmp_path):
  settings = {'other_metrics': NAMES, 'num_activations': 50}
  _, first, classifier = measure(*images, cache_dir=tmp_path, **settings)
  assert classifier.num_images == 2 * 1400
  _, again, classifier = measure(*images, cache_dir=tmp_path, **settings)
  assert classifier.num_images == 1400
  assert again == first
  # The same statistics serve where nothing else is measured, and all but more
  # activations need no new ones.
  _, _, classifier = measure(*images, cache_dir=tmp_path)
  assert classifier.num_images == 1400
  settings['num_activations'] = 60
  _, others, classifier = measure(*images, cache_dir=tmp_path, **settings)
  assert classifier.num_images == 2 * 1400
  assert others['FID'] == first['FID']
  assert others['KID'] != first['KID']
  assert len([*tmp_path.iterdir()]) == 3


def test_no_floor_of_images_that_repeat(images):
  real, samples = images
  _, metrics, _ = measure(real[:900], samples, other_metrics=NAMES)
  assert not [name for name in metrics if name.endswith('_floor')]
  assert np.isfinite([*metrics.values()]).all()


def test_samples_that_are_not_finite(images, caplog):
  real, samples = images
  samples = np.where(np.arange(1430) < 1300, samples.T / 255.0, np.nan).T
  with caplog.at_level('WARNING'):
    _, metrics, _ = measure(real, samples, other_metrics=NAMES)
  for name, value in metrics.items():
    assert np.isnan(value) == (not name.endswith('_floor'))
  assert 'all metrics are nan' in caplog.text


def test_memory_does_not_grow_with_the_samples(images):
  def peak(images_per_split):
    measured = image_metrics.ImageMetrics(
      test_metric_utils.MeanClassifier(),
      images[0],
      num_splits=2,
      images_per_split=images_per_split,
      other_metrics=NAMES,
      num_activations=200,
    )
    tracemalloc.start()
    try:
      measured.metrics(lambda i: test_metric_utils._images(250, i))
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  peak(1000)  # What is made once a process is not counted.
  # The 12,000 more samples have 0.2 MB of pixels and as many activations.
  assert peak(8000) < peak(2000) + 100_000
