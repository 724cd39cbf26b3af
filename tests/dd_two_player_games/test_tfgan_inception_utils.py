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
"""The Inception path, with a small SavedModel of Inception's signature."""

import hashlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from dd_two_player_games import image_metrics
from dd_two_player_games import tfgan_inception_utils
from jaxline_harness import datasets
from jaxline_harness import errors

pytestmark = pytest.mark.optimised


def test_import_leaves_tensorflow_alone():
  program = (
    'import sys\n'
    'from dd_two_player_games import tfgan_inception_utils, metric_utils\n'
    'assert "tensorflow" not in sys.modules\n'
    'assert "tensorflow_gan" not in sys.modules\n'
  )
  subprocess.run([sys.executable, '-c', program], check=True)


def test_path_that_is_not_there(tmp_path):
  with pytest.raises(errors.UserError, match='eval.inception_path') as info:
    tfgan_inception_utils.InceptionClassifier(str(tmp_path / 'no'))
  assert '\n' not in str(info.value)


class FirstPixels:
  """A classifier for the tests of `InceptionMetrics`."""

  name = 'first pixels'

  def __call__(self, images):
    pixels = images.reshape(len(images), -1)[:, :3] / 255.0
    return pixels, pixels


class NoiseSampler:
  """Images that are functions of their key."""

  def __init__(self):
    self.batches = []

  def sample_batch(self, batch_size, rng):
    self.batches.append(
      jax.random.uniform(rng, (batch_size, 2, 2, 1), minval=-1, maxval=1)
    )
    return self.batches[-1]


def _real_batches(num_batches):
  rng = np.random.default_rng(0)
  for _ in range(num_batches):
    yield rng.uniform(-1, 1, (2, 5, 2, 2, 1)).astype(np.float32)


class TestInceptionMetrics:
  def _metrics(self, **kwargs):
    return tfgan_inception_utils.InceptionMetrics(
      _real_batches(8), num_splits=2, classifier=FirstPixels(), **kwargs
    )

  def test_published_interface(self):
    sampler = NoiseSampler()
    key = jax.random.PRNGKey(0)
    metrics = self._metrics(check_data_ranges=True).get_metrics(
      sampler, num_inception_images=40, batch_size=16, rng=key
    )
    assert len(sampler.batches) == 5
    assert not np.array_equal(sampler.batches[0], sampler.batches[1])
    real = np.concatenate(list(_real_batches(8))).reshape(-1, 2, 2, 1)
    expected = image_metrics.ImageMetrics(
      FirstPixels(), real, num_splits=2, images_per_split=40
    ).metrics(lambda i: sampler.batches[i])
    assert metrics == expected

  def test_another_number_of_images(self):
    measured = self._metrics()
    key = jax.random.PRNGKey(0)
    first = measured.get_metrics(NoiseSampler(), 10, 10, key)
    measured.get_metrics(NoiseSampler(), 20, 10, key)
    assert measured.get_metrics(NoiseSampler(), 10, 10, key) == first

  def test_a_key_for_each_device(self):
    shapes = []

    class PmapSampler:
      def sample_batch(self, batch_size, rng):
        shapes.append(rng.shape)
        return np.zeros((3, batch_size // 3, 2, 2, 1), np.float32)

    self._metrics().get_metrics(
      PmapSampler(),
      10,
      12,
      jax.random.split(jax.random.PRNGKey(0), 3),
      no_pmap=False,
      sample_postprocess_fn=lambda x: x + 0.5,
    )
    assert shapes == [(3, 2)] * 2

  def test_data_ranges(self):
    measured = self._metrics(check_data_ranges=True)
    with pytest.raises(ValueError, match=r'not in \[-1, 1\]'):
      measured.get_metrics(
        NoiseSampler(),
        10,
        10,
        jax.random.PRNGKey(0),
        sample_postprocess_fn=lambda x: 255 * x,
      )

  def test_no_data(self):
    measured = tfgan_inception_utils.InceptionMetrics(
      iter(()), num_splits=2, classifier=FirstPixels()
    )
    with pytest.raises(ValueError, match='holds no images'):
      measured.get_metrics(NoiseSampler(), 10, 10, jax.random.PRNGKey(0))


def _save_model(path, outputs):
  """A SavedModel whose outputs are functions of 299 x 299 images.

  Args:
    path: its folder.
    outputs: TensorFlow function from images to a dictionary.

  Returns:
    The path as a string.
  """
  tf = datasets.import_tensorflow()
  module = tf.Module()
  module.__call__ = tf.function(
    outputs,
    input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)],
  )
  tf.saved_model.save(module, str(path))
  return str(path)


def _corners(x):
  """Logits: corner pixels; pool_3: those of the other side, (N, 1, 1, 6)."""
  tf = datasets.import_tensorflow()
  right = tf.concat([x[:, 0, -1], x[:, -1, -1]], axis=-1)
  return {
    'logits': tf.concat([x[:, 0, 0], x[:, -1, 0]], axis=-1),
    'pool_3': right[:, None, None, :],
  }


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return _save_model(tmp_path_factory.mktemp('model'), _corners)


@pytest.fixture(scope='module')
def classifier(path):
  return tfgan_inception_utils.InceptionClassifier(path)


@pytest.mark.slow  # Imports TensorFlow.
class TestInceptionClassifier:
  def test_scaling_resizing_and_batches(self, classifier):
    images = np.random.default_rng(1).integers(
      0, 256, (70, 32, 32, 3), dtype=np.uint8
    )
    logits, activations = classifier(images)
    scaled = images.astype(np.float32) / 127.5 - 1
    # A bilinear enlargement's corners are the image's own.
    expected = np.concatenate([scaled[:, 0, 0], scaled[:, -1, 0]], axis=-1)
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    expected = np.concatenate([scaled[:, 0, -1], scaled[:, -1, -1]], axis=-1)
    np.testing.assert_allclose(activations, expected, atol=1e-6)

  def test_grey_images(self, classifier):
    images = np.random.default_rng(2).integers(
      0, 256, (3, 28, 28, 1), dtype=np.uint8
    )
    grey = classifier(images)
    colour = classifier(np.repeat(images, 3, axis=-1))
    np.testing.assert_array_equal(grey[0], colour[0])
    np.testing.assert_array_equal(grey[1], colour[1])

  def test_as_classifier_of_image_metrics(self, classifier):
    images = np.random.default_rng(3).integers(
      0, 256, (40, 8, 8, 3), dtype=np.uint8
    )
    measured = image_metrics.ImageMetrics(
      classifier, images, num_splits=1, images_per_split=40
    )
    metrics = measured.metrics(lambda i: images)
    assert metrics['FID'] < 1e-6
    assert metrics['IS_mean'] > 1

  def test_name_says_which_weights(self, classifier, path, tmp_path):
    assert path in classifier.name
    other = _save_model(tmp_path / 'other', lambda x: _corners(2 * x))
    other = tfgan_inception_utils.InceptionClassifier(other)
    assert classifier.name.split('sha256')[1] != other.name.split('sha256')[1]

  def test_other_channels(self, classifier):
    with pytest.raises(errors.UserError, match='1 or 3 channels'):
      classifier(np.zeros((2, 8, 8, 4), np.uint8))

  def test_cache_of_tfhub(self, path, tmp_path, monkeypatch):
    # TF-Hub calls a model's folder by the SHA-1 of its address.
    address = tfgan_inception_utils.import_tfgan_eval().INCEPTION_TFHUB
    folder = hashlib.sha1(address.encode()).hexdigest()
    shutil.copytree(path, tmp_path / folder)
    monkeypatch.setenv('TFHUB_CACHE_DIR', str(tmp_path))
    classifier = tfgan_inception_utils.InceptionClassifier()
    assert classifier.name == f'Inception, {address}'
    assert classifier(np.zeros((2, 8, 8, 3), np.uint8))[1].shape == (2, 6)

  def test_out_of_reach(self, tmp_path, monkeypatch):
    import tensorflow_hub

    def load(handle):
      raise OSError(f'<urlopen error: no route to {handle}>\nsecond line')

    monkeypatch.setattr(tensorflow_hub, 'load', load)
    with pytest.raises(errors.UserError, match='TFHUB_CACHE_DIR') as info:
      tfgan_inception_utils.InceptionClassifier()
    assert 'no route to https://tfhub.dev' in str(info.value)
    assert 'eval.inception_path' in str(info.value)
    assert '\n' not in str(info.value)

  def test_empty_folder(self, tmp_path):
    with pytest.raises(errors.UserError, match='out of reach') as info:
      tfgan_inception_utils.InceptionClassifier(str(tmp_path))
    assert '\n' not in str(info.value)

  def test_not_inception(self, tmp_path):
    path = _save_model(tmp_path, lambda x: {'probs': x[:, 0, 0]})
    classifier = tfgan_inception_utils.InceptionClassifier(path)
    with pytest.raises(errors.UserError, match='logits and pool_3'):
      classifier(np.zeros((2, 8, 8, 3), np.uint8))

  def test_stand_ins_are_taken_away(self):
    tfgan_inception_utils.import_tfgan_eval()
    assert 'tensorflow_gan' not in sys.modules
