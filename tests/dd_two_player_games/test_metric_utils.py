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
"""Metrics against recorded figures, closed forms, SciPy and TF-GAN."""

import json
import pathlib
import tracemalloc

import numpy as np
import pytest
from scipy import linalg
from scipy import special

from dd_two_player_games import image_metrics
from dd_two_player_games import metric_utils
from dd_two_player_games import tfgan_inception_utils
from jaxline_harness import errors
from tests.dd_two_player_games import small_experiments

pytestmark = pytest.mark.optimised

_CONFORMANCE = (
  pathlib.Path(__file__).parents[1] / 'data' / 'two_player_gan.json'
)


def _log_softmax(x):
  return special.log_softmax(x, axis=-1)


def _moments(rows):
  return np.mean(rows, axis=0), np.cov(rows, rowvar=False)


def _distance(rows1, rows2):
  return metric_utils.calculate_frechet_distance(
    *_moments(rows1), *_moments(rows2)
  )


def _distance_of_rows(rows1, rows2):
  """The distance from the centred rows: no root of a rounding error."""
  mu1, mu2 = rows1.mean(axis=0), rows2.mean(axis=0)
  factor1 = (rows1 - mu1) / np.sqrt(len(rows1) - 1)
  factor2 = (rows2 - mu2) / np.sqrt(len(rows2) - 1)
  trace_sqrt = np.linalg.svd(factor1 @ factor2.T, compute_uv=False).sum()
  squares = np.sum((mu1 - mu2) ** 2) + np.sum(factor1**2) + np.sum(factor2**2)
  return squares - 2 * trace_sqrt


class MeanClassifier:
  """Activations: four pixels; logits: functions of them."""

  name = 'four pixels'

  def __init__(self):
    self.num_images = 0

  def __call__(self, images):
    assert images.dtype == np.uint8
    assert images.ndim == 4
    self.num_images += len(images)
    pixels = images.reshape(len(images), -1)[:, :4].astype(np.float32) / 255
    return np.concatenate([3 * pixels, -2 * pixels], axis=1), pixels


def _images(num, seed, high=256):
  return np.random.default_rng(seed).integers(
    0, high, (num, 4, 4, 1), dtype=np.uint8
  )


def _batches(images, size):
  return lambda i: images[i * size : (i + 1) * size]


class TestRecorded:
  """The figures that the published code computes."""

  @pytest.fixture
  def recorded(self):
    return json.loads(_CONFORMANCE.read_text())['metrics']

  @pytest.fixture
  def inputs(self):
    rng = np.random.default_rng(0)
    pool = (rng.normal(size=(500, 8)) * np.linspace(0.5, 2, 8)).astype('f4')
    data = (rng.normal(size=(500, 8)) + 0.3).astype('f4')
    log_probs = _log_softmax(2 * rng.normal(size=(500, 10))).astype('f4')
    return pool, data, log_probs

  def test_inception_score(self, recorded, inputs):
    mean, std = metric_utils.calculate_inception_scores_with_error_bars(
      inputs[2], 5
    )
    np.testing.assert_allclose(mean, recorded['IS_mean'], rtol=1e-4)
    np.testing.assert_allclose(std, recorded['IS_std'], rtol=1e-4)

  def test_frechet_distance(self, recorded, inputs):
    pool, data, _ = inputs
    mus, sigmas = zip(*map(_moments, np.split(data, 5)), strict=True)
    mean, std = metric_utils.calculate_frechet_distance_with_error_bars(
      pool, mus, sigmas
    )
    np.testing.assert_allclose(mean, recorded['FID_mean'], rtol=1e-4)
    np.testing.assert_allclose(std, recorded['FID_std'], rtol=1e-4)


class TestFrechetDistance:
  def test_same_set_is_zero(self):
    rows = np.random.default_rng(1).normal(size=(50, 6))
    assert _distance(rows, rows) < 1e-12

  @pytest.mark.parametrize('num_rows', [200, 10])
  def test_shift_counts_squared(self, num_rows):
    # With 10 rows of 30 features the covariance is singular.
    rows = np.random.default_rng(2).normal(size=(num_rows, 30))
    direction = np.linspace(-1, 1, 30)
    direction /= np.linalg.norm(direction)
    for shift in (0.5, 1.0, 2.0, 100.0):
      np.testing.assert_allclose(
        _distance(rows, rows + shift * direction), shift**2, rtol=1e-9
      )

  def test_commuting_covariances(self):
    a, b = np.array([4.0, 1.0, 0.0]), np.array([1.0, 9.0, 16.0])
    basis, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    distance = metric_utils.calculate_frechet_distance(
      np.zeros(3),
      basis @ np.diag(a) @ basis.T,
      np.zeros(3),
      basis @ np.diag(b) @ basis.T,
    )
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    np.testing.assert_allclose(distance, expected, rtol=1e-12)

  def test_orthogonal_supports(self):
    # Nothing but the traces; a root of rounding errors would add 1e-8 each.
    dim = 64
    a, b = np.zeros((dim, dim)), np.zeros((dim, dim))
    basis, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(dim, dim)))
    a = basis[:, :32] @ basis[:, :32].T
    b = basis[:, 32:] @ basis[:, 32:].T
    distance = metric_utils.calculate_frechet_distance(0, a, 0, b)
    np.testing.assert_allclose(distance, dim, rtol=1e-13)

  def test_against_scipy(self):
    rng = np.random.default_rng(5)
    rows1 = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12))
    rows2 = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12)) + 0.2
    (mu1, sigma1), (mu2, sigma2) = _moments(rows1), _moments(rows2)
    root = linalg.sqrtm(sigma1 @ sigma2).real
    expected = np.sum((mu1 - mu2) ** 2) + np.trace(sigma1 + sigma2 - 2 * root)
    np.testing.assert_allclose(_distance(rows1, rows2), expected, rtol=1e-9)

  @pytest.mark.parametrize(
    ('num_rows1', 'num_rows2'), [(40, 500), (500, 40), (40, 60)]
  )
  def test_fewer_samples_than_features(self, num_rows1, num_rows2):
    # Spreads from 1 to 1e-4; the second set's mean is shifted by 0.1 each.
    rng = np.random.default_rng(22)
    spread = np.geomspace(1, 1e-4, 120) * rng.normal(size=(120, 120))
    rows1 = rng.normal(size=(num_rows1, 120)) @ spread
    rows2 = rng.normal(size=(num_rows2, 120)) @ spread + 0.1
    np.testing.assert_allclose(
      _distance(rows1, rows2), _distance_of_rows(rows1, rows2), rtol=1e-9
    )

  def test_overlapping_ranges(self):
    # 20 directions are the first set's alone, 20 the second's, 20 of both: the
    # product of the factors is itself singular, unlike those above.
    rng = np.random.default_rng(23)
    basis, _ = np.linalg.qr(rng.normal(size=(100, 100)))
    a, b = np.zeros(100), np.zeros(100)
    a[:40], b[20:60] = rng.uniform(0.1, 2, 40), rng.uniform(0.1, 2, 40)
    distance = metric_utils.calculate_frechet_distance(
      np.zeros(100), (basis * a) @ basis.T, np.zeros(100), (basis * b) @ basis.T
    )
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    # The 20 singular values 0 are roots of rounding errors; so documented.
    np.testing.assert_allclose(distance, expected, rtol=1e-6)

  @pytest.mark.parametrize('rank', [0, 1, 30, 100])
  def test_identical_is_zero(self, rank):
    rng = np.random.default_rng(24)
    rows = rng.normal(size=(rank, 100)) * np.geomspace(1, 1e-6, 100)
    sigma = rows.T @ rows
    distance = metric_utils.calculate_frechet_distance(0, sigma, 0, sigma)
    # The root of one rounding error would be 1e-8 of the largest eigenvalue.
    assert distance <= 1e-13 * 2 * np.trace(sigma)

  @pytest.mark.parametrize('num_rows', [60, 300])
  @pytest.mark.parametrize(
    'spread',
    [np.geomspace(1, 1e-6, 100), np.where(np.arange(100) < 50, 1, 1e-5)],
    ids=['decay', 'two levels'],
  )
  def test_nearly_identical(self, num_rows, spread):
    # The distances are 1e-7 of the traces, which the roots of the products'
    # eigenvalues miss by a twentieth of them where there are two levels.
    rng = np.random.default_rng(25)
    basis, _ = np.linalg.qr(rng.normal(size=(100, 100)))
    rows1 = rng.normal(size=(num_rows, 100)) * spread
    rows2 = rows1 + 1e-3 * rng.normal(size=rows1.shape) * spread
    rows1, rows2 = rows1 @ basis, rows2 @ basis
    np.testing.assert_allclose(
      _distance(rows1, rows2), _distance_of_rows(rows1, rows2), rtol=1e-5
    )

  @pytest.mark.parametrize('num_rows', [60, 300])
  def test_certain_to_the_documented_digits(self, num_rows, monkeypatch):
    # The cheap way suffices here, and is right.
    rng = np.random.default_rng(26)
    rows1 = rng.normal(size=(num_rows, 100))
    rows2 = 1.3 * rng.normal(size=(num_rows, 100))

    def no_svd(*args, **kwargs):
      raise AssertionError('The decomposition is several times slower.')

    expected = _distance_of_rows(rows1, rows2)
    monkeypatch.setattr(np.linalg, 'svd', no_svd)
    np.testing.assert_allclose(_distance(rows1, rows2), expected, rtol=1e-9)

  def test_zero_covariance(self):
    distance = metric_utils.calculate_frechet_distance(
      np.ones(3), np.zeros((3, 3)), np.zeros(3), np.diag([0.0, 2.0, 3.0])
    )
    np.testing.assert_allclose(distance, 3 + 5)

  def test_one_feature(self):
    distance = metric_utils.calculate_frechet_distance(0.0, 4.0, 3.0, 25.0)
    np.testing.assert_allclose(distance, 9 + 9)

  def test_not_finite(self):
    sigma = np.eye(3)
    mu = np.array([0.0, np.inf, 0.0])
    assert np.isnan(
      metric_utils.calculate_frechet_distance(mu, sigma, np.zeros(3), sigma)
    )

  def test_other_dimensions(self):
    with pytest.raises(ValueError, match='different numbers of features'):
      metric_utils.calculate_frechet_distance(
        np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)
      )

  @pytest.mark.parametrize(
    ('mean', 'covariance'),
    [(3, (2, 2)), (2, (2, 3)), (2, (3, 2)), ((2, 1), (2, 2)), (2, (2,))],
  )
  def test_shapes_that_do_not_suit_each_other(self, mean, covariance):
    good, bad = (np.zeros(2), np.eye(2)), (np.zeros(mean), np.ones(covariance))
    for sets in ((*bad, *bad), (*good, *bad), (*bad, *good)):
      with pytest.raises(ValueError, match='different numbers of features'):
        metric_utils.calculate_frechet_distance(*sets)

  @pytest.mark.parametrize(
    'sigma',
    [
      np.diag([1.0, -1.0]),
      np.diag([1.0, -1e-3]),
      -np.eye(2),
      np.array([[1.0, 2.0], [2.0, 1.0]]),
      np.array([[0.0, 1.0], [1.0, 0.0]]),
    ],
  )
  def test_indefinite_covariance(self, sigma):
    for sigmas in ((sigma, np.eye(2)), (np.eye(2), sigma)):
      with pytest.raises(ValueError, match='none may be below zero'):
        metric_utils.calculate_frechet_distance(0, sigmas[0], 0, sigmas[1])

  def test_covariance_that_is_not_symmetric(self):
    with pytest.raises(ValueError, match='not symmetric'):
      metric_utils.calculate_frechet_distance(
        0, np.array([[1.0, 0.5], [0.0, 1.0]]), 0, np.eye(2)
      )

  def test_covariances_in_float32_are_as_good_as_their_rounding(self):
    random = np.random.default_rng(0)
    # Of rank 19, so that rounding makes eigenvalues negative.
    sigmas = [np.cov(random.normal(size=(20, 60)), rowvar=False) for _ in '12']
    rounded = [sigma.astype(np.float32) for sigma in sigmas]
    assert np.linalg.eigvalsh(rounded[0].astype(np.float64))[0] < -1e-9
    np.testing.assert_allclose(
      metric_utils.calculate_frechet_distance(0, rounded[0], 0, rounded[1]),
      metric_utils.calculate_frechet_distance(0, sigmas[0], 0, sigmas[1]),
      rtol=1e-4,
    )


class TestInceptionScore:
  def test_confident_and_even_is_number_of_classes(self):
    log_probs = np.full((20, 10), -np.inf)
    log_probs[np.arange(20), np.arange(20) % 10] = 0.0
    score = metric_utils.calculate_inception_score(log_probs)
    np.testing.assert_allclose(score, 10.0)

  def test_same_prediction_is_one(self):
    log_probs = np.tile(_log_softmax(np.arange(10.0)), (20, 1))
    score = metric_utils.calculate_inception_score(log_probs)
    np.testing.assert_allclose(score, 1.0)

  def test_splits_are_consecutive_and_the_rest_unused(self):
    log_probs = _log_softmax(np.random.default_rng(6).normal(size=(11, 4)))
    scores = [
      metric_utils.calculate_inception_score(log_probs[a:b])
      for a, b in ((0, 5), (5, 10))
    ]
    result = metric_utils.calculate_inception_scores_with_error_bars(
      log_probs, 2
    )
    np.testing.assert_allclose(result, (np.mean(scores), np.std(scores)))

  def test_too_few_rows(self):
    with pytest.raises(ValueError, match='3 rows make no 5 splits'):
      metric_utils.calculate_inception_scores_with_error_bars(
        np.zeros((3, 2)), 5
      )


class TestRunningMoments:
  @pytest.mark.parametrize('num_features', [5, 150])
  def test_batches_of_any_size(self, num_features):
    # float32 sums of squares would lose every digit of the spread.
    rows = 1e4 + np.random.default_rng(7).normal(size=(137, num_features))
    moments = metric_utils.RunningMoments()
    for batch in np.split(rows, [1, 1, 3, 60, 130]):
      moments.update(batch)
    assert moments.count == 137
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(
      moments.covariance(), np.cov(rows, rowvar=False), rtol=1e-9, atol=1e-9
    )

  def test_too_few(self):
    moments = metric_utils.RunningMoments()
    moments.update(np.zeros((1, 3)))
    with pytest.raises(ValueError, match='1 rows have no covariance'):
      moments.covariance()


@pytest.fixture(scope='module')
def tfgan_eval():
  return tfgan_inception_utils.import_tfgan_eval()


@pytest.mark.slow  # Imports TensorFlow.
class TestAgainstTFGAN:
  def test_inception_score(self, tfgan_eval):
    logits = 3 * np.random.default_rng(8).normal(size=(400, 10))
    np.testing.assert_allclose(
      metric_utils.calculate_inception_score(_log_softmax(logits)),
      tfgan_eval.classifier_score_from_logits(logits).numpy(),
      rtol=1e-10,
    )

  def test_frechet_distance(self, tfgan_eval):
    rng = np.random.default_rng(9)
    rows1 = rng.normal(size=(200, 16)) @ rng.normal(size=(16, 16))
    rows2 = rng.normal(size=(300, 16)) + 0.5
    np.testing.assert_allclose(
      _distance(rows1, rows2),
      tfgan_eval.frechet_classifier_distance_from_activations(
        rows1, rows2
      ).numpy(),
      rtol=1e-8,
    )


class TestImageMetrics:
  def test_against_the_plain_functions(self):
    # 700 a split: chunks of 500 and 200; batches of 130 straddle both.
    real, samples = _images(1400, 10), _images(1430, 11, high=200)
    classifier = MeanClassifier()
    measured = image_metrics.ImageMetrics(
      classifier, real, num_splits=2, images_per_split=700
    )
    metrics = measured.metrics(_batches(samples, 130))

    logits, pool = classifier(samples[:1400])
    order = np.random.default_rng(0).permutation(1400)
    splits = np.split(classifier(real[order])[1], 2)
    mus, sigmas = zip(*map(_moments, splits), strict=True)
    fid, fid_std = metric_utils.calculate_frechet_distance_with_error_bars(
      pool, mus, sigmas
    )
    score, score_std = metric_utils.calculate_inception_scores_with_error_bars(
      _log_softmax(logits), 2
    )
    assert set(metrics) == small_experiments.IMAGE_METRICS
    # The classifier computes in float32, and means differ by its rounding.
    np.testing.assert_allclose(metrics['FID'], fid, rtol=1e-5)
    floor = metric_utils.calculate_frechet_distance(
      *(mus[0], sigmas[0], mus[1], sigmas[1])
    )
    np.testing.assert_allclose(metrics['FID_floor'], floor, rtol=1e-4)
    np.testing.assert_allclose(metrics['FID_std'], fid_std, rtol=1e-4)
    np.testing.assert_allclose(metrics['IS_mean'], score, rtol=1e-5)
    np.testing.assert_allclose(metrics['IS_std'], score_std, rtol=1e-4)

  def test_every_real_image_once(self):
    seen = []

    class Recorder(MeanClassifier):
      def __call__(self, images):
        seen.append(images.copy())
        return super().__call__(images)

    real = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1)
    real = np.tile(real, (1, 4, 4, 1))
    measured = image_metrics.ImageMetrics(
      Recorder(), real, num_splits=3, images_per_split=20
    )
    measured.data_statistics()
    values = np.concatenate(seen)[:, 0, 0, 0]
    assert sorted(values) == list(range(60))
    assert list(values) != list(range(60))  # Not in the order of the file.
    assert measured.measured_with['real_images_repeat'] is False

  def test_real_images_repeat(self, caplog):
    measured = image_metrics.ImageMetrics(
      MeanClassifier(),
      _images(30, 12),
      num_splits=2,
      images_per_split=30,
      data_name='few',
    )
    with caplog.at_level('WARNING'):
      statistics = measured.data_statistics()
    np.testing.assert_allclose(statistics.mus[0], statistics.mus[1])
    assert 'they repeat' in caplog.text
    assert json.loads(json.dumps(measured.measured_with)) == {
      'classifier': 'four pixels',
      'data': 'few',
      'num_splits': 2,
      'images_per_split': 30,
      'num_real_images': 30,
      'real_images_repeat': True,
    }

  def test_real_images_as_samples(self):
    real = _images(40, 13)
    order = np.random.default_rng(0).permutation(40)
    measured = image_metrics.ImageMetrics(
      MeanClassifier(), real, num_splits=2, images_per_split=20
    )
    metrics = measured.metrics(_batches(real[order], 8))
    assert metrics['FID'] < 1e-10
    scores = measured.data_statistics().scores
    np.testing.assert_allclose(metrics['IS_mean'], scores.mean())

  def test_memory_does_not_grow_with_the_samples(self):
    real = _images(1000, 27)

    class Wide(MeanClassifier):
      def __call__(self, images):
        logits, pixels = super().__call__(images)
        return logits, np.tile(pixels, (1, 16))

    def peak(images_per_split):
      measured = image_metrics.ImageMetrics(
        Wide(), real, num_splits=2, images_per_split=images_per_split
      )
      tracemalloc.start()
      try:
        measured.metrics(lambda i: _images(250, i))
        return tracemalloc.get_traced_memory()[1]
      finally:
        tracemalloc.stop()

    peak(1000)  # What is made once a process is not counted.
    # The 12,000 more samples have 0.2 MB of pixels, 0.4 MB of logits and 3 MB
    # of activations; indices of 12,000 images would be 0.1 MB.
    assert peak(8000) < peak(2000) + 50_000

  def test_floats_of_several_devices(self):
    real, samples = _images(20, 14), _images(20, 15)
    measured = image_metrics.ImageMetrics(
      MeanClassifier(), real, num_splits=1, images_per_split=20
    )
    floats = (samples.astype(np.float32) / 127.5 - 1).reshape(2, 10, 4, 4, 1)
    assert measured.metrics(lambda i: floats) == measured.metrics(
      lambda i: samples
    )

  def test_diverged_samples(self, caplog):
    measured = image_metrics.ImageMetrics(
      MeanClassifier(), _images(20, 16), num_splits=1, images_per_split=20
    )
    with caplog.at_level('WARNING'):
      metrics = measured.metrics(lambda i: np.full((20, 4, 4, 1), np.nan))
    assert np.isnan(list(metrics.values())).all()
    assert 'not finite' in caplog.text

  def test_empty_batch(self):
    measured = image_metrics.ImageMetrics(
      MeanClassifier(), _images(20, 17), num_splits=1, images_per_split=20
    )
    with pytest.raises(ValueError, match='no images'):
      measured.metrics(lambda i: np.zeros((0, 4, 4, 1), np.uint8))

  def test_cache(self, tmp_path):
    def statistics(real, classifier, images_per_split=10):
      return image_metrics.ImageMetrics(
        classifier,
        real,
        num_splits=2,
        images_per_split=images_per_split,
        cache_dir=tmp_path / 'new',
      ).data_statistics()

    real = _images(20, 18)
    first = statistics(real, MeanClassifier())
    again = MeanClassifier()
    np.testing.assert_array_equal(statistics(real, again).sigmas, first.sigmas)
    assert again.num_images == 0
    # Other images, another split, another classifier are computed.
    others = [MeanClassifier() for _ in range(3)]
    others[2].name = 'another'
    statistics(_images(20, 19), others[0])
    statistics(real, others[1], images_per_split=5)
    statistics(real, others[2])
    assert [other.num_images for other in others] == [20, 10, 20]
    assert len(list((tmp_path / 'new').iterdir())) == 4

  def test_damaged_cache_is_computed_again(self, tmp_path):
    real = _images(20, 20)
    for _ in range(2):
      classifier = MeanClassifier()
      image_metrics.ImageMetrics(
        classifier,
        real,
        num_splits=2,
        images_per_split=10,
        cache_dir=tmp_path,
      ).data_statistics()
      assert classifier.num_images == 20
      (file,) = tmp_path.iterdir()
      file.write_bytes(file.read_bytes()[:100])

  @pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
      ({'real_images': np.zeros((5, 2))}, 'compare images'),
      ({'num_splits': 0}, 'at least 1 split'),
      ({'images_per_split': 1}, 'at least 2 images'),
    ],
  )
  def test_errors(self, kwargs, message):
    arguments = {'real_images': _images(5, 21), **kwargs}
    with pytest.raises(errors.UserError, match=message):
      image_metrics.ImageMetrics(MeanClassifier(), **arguments)
