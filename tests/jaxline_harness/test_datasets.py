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
"""Data sets by name: the embedded one and those of tfds."""

import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from jaxline_harness import datasets
from jaxline_harness import errors


def test_embedded_fashion_mnist():
  dataset = datasets.load('fashion_mnist_10k')
  assert dataset.examples.shape == (10_000, 28, 28, 1)
  assert dataset.examples.dtype == np.uint8
  assert dataset.labels.dtype == np.int32
  np.testing.assert_array_equal(np.bincount(dataset.labels), [1000] * 10)
  assert 'Fashion-MNIST' in dataset.source
  licence = pathlib.Path(datasets.__file__).parent / 'embedded/fashion_mnist'
  assert 'MIT License' in (licence / 'LICENSE').read_text()
  test = datasets.load('fashion_mnist', 'test')
  np.testing.assert_array_equal(test.examples, dataset.examples)
  with pytest.raises(errors.UserError, match="no split 'test'"):
    datasets.load('fashion_mnist_10k', 'test')


# tensorflow_datasets.


@pytest.fixture
def no_network(monkeypatch):
  def refuse(*args, **kwargs):
    raise OSError('no network in this test')

  monkeypatch.setattr(socket, 'create_connection', refuse)
  monkeypatch.setattr(urllib.request, 'getproxies', dict)


@pytest.mark.parametrize(
  ('name', 'advice'),
  [
    pytest.param('cifar10', 'cifar-10-binary.tar.gz', marks=pytest.mark.slow),
    ('mnist', 'idx files'),
    ('fashion_mnist', 'fashion_mnist_10k'),
    ('svhn_cropped', 'on a machine with a network'),
  ],
)
def test_missing_data_is_one_line(tmp_path, no_network, name, advice, capfd):
  datasets.import_tensorflow()
  capfd.readouterr()
  start = time.monotonic()
  with pytest.raises(errors.UserError) as caught:
    datasets.load(name, 'train', tmp_path)
  # Retries of the download alone would take minutes.
  assert time.monotonic() - start < 20
  message = str(caught.value)
  for part in (name, str(tmp_path), 'no network', 'data_dir', advice):
    assert part in message
  assert '\n' not in message
  captured = capfd.readouterr()
  assert captured.out + captured.err == ''


def test_wrong_names_get_the_nearest():
  with pytest.raises(errors.UserError, match='did you mean fashion_mnist'):
    datasets.load('fasion_mnist')
  with pytest.raises(errors.UserError, match='did you mean spirals'):
    datasets.load('spirls', other_names=['spirals'])
  with pytest.raises(errors.UserError) as caught:
    datasets.load('qqqqqq')
  assert all(name in str(caught.value) for name in datasets.NAMES)
  # A namespace would fetch code.
  with pytest.raises(errors.UserError, match='no known data set'):
    datasets.load('somewhere:mnist')


def test_data_sets_without_images_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='not a data set of images'):
    datasets.load('imdb_reviews', data_dir=tmp_path)


def test_prepared_tfds_data_are_read(tmp_path):
  datasets.import_tensorflow()
  import tensorflow_datasets as tfds

  images, labels = (
    np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8),
    np.arange(12) % 3,
  )

  class HarnessTestImages(tfds.core.GeneratorBasedBuilder):
    """A data set made up here."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(
          {
            'image': tfds.features.Image(shape=(8, 8, 3)),
            'label': tfds.features.ClassLabel(num_classes=3),
            'id': tfds.features.Text(),
          }
        ),
      )

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      for i in range(12):
        yield i, {'image': images[i], 'label': labels[i], 'id': str(i)}

  dataset = datasets.load('harness_test_images', data_dir=tmp_path)
  again = datasets.load('harness_test_images', data_dir=tmp_path)
  np.testing.assert_array_equal(dataset.examples, again.examples)
  # tfds keeps its own order: compare as sets.
  order = [
    int(np.flatnonzero((images == x).all((1, 2, 3)))[0])
    for x in dataset.examples
  ]
  assert sorted(order) == list(range(12))
  np.testing.assert_array_equal(dataset.labels, labels[order])
  assert dataset.labels.dtype == np.int32
  part = datasets.load('harness_test_images', 'train[:5]', tmp_path)
  np.testing.assert_array_equal(part.examples, dataset.examples[:5])
  with pytest.raises(errors.UserError, match="split 'valid' cannot be read"):
    datasets.load('harness_test_images', 'valid', tmp_path)


@pytest.mark.slow
def test_tensorflow_is_quiet(tmp_path):
  program = (
    'from jaxline_harness import datasets\n'
    'tf = datasets.import_tensorflow()\n'
    'tf.constant(1) + 1\n'
    "print(tf.config.get_visible_devices('GPU'))\n"
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  assert done.stdout == '[]\n'
  assert done.stderr == ''


def test_importing_the_module_leaves_tensorflow_alone():
  program = (
    'import sys\n'
    'from jaxline_harness import datasets\n'
    "datasets.load('fashion_mnist_10k')\n"
    "sys.exit('tensorflow' in sys.modules)\n"
  )
  done = subprocess.run([sys.executable, '-c', program], timeout=120)
  assert done.returncode == 0
