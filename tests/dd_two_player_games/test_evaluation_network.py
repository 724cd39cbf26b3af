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
"""The evaluation network: its accuracy, its files and what it refuses."""

import os
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import evaluation_network
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

pytestmark = pytest.mark.optimised


@pytest.fixture(scope='module')
def network():
  return evaluation_network.EvaluationNetwork()


@pytest.fixture(scope='module')
def test_images():
  dataset = datasets.load('fashion_mnist_10k')
  return dataset.examples, dataset.labels


def _random_params(seed=0):
  rng = np.random.default_rng(seed)
  params = {}
  for name, shape in evaluation_network.WEIGHT_SHAPES.items():
    params[f'{name}/w'] = jnp.asarray(0.1 * rng.normal(size=shape), jnp.float32)
    params[f'{name}/b'] = jnp.asarray(rng.normal(size=shape[-1:]), jnp.float32)
  return params


def test_accuracy_is_as_stated(network, test_images):
  images, labels = test_images
  logits, activations = network(images)
  accuracy = np.mean(logits.argmax(axis=-1) == labels)
  assert accuracy >= 0.91
  # One image in 10,000 may fall the other way on another machine.
  assert abs(accuracy - network.test_accuracy) <= 2e-4
  assert f'{100 * network.test_accuracy:.2f} %' in evaluation_network.__doc__
  assert logits.shape == (10_000, 10)
  assert activations.shape == (10_000, 64)
  # Most activations must say something: FID sees only those that vary.
  assert np.sum(activations.std(axis=0) > 1e-3) >= 48


@pytest.mark.slow
def test_20000_images_within_a_minute(network, test_images):
  images = np.concatenate([test_images[0]] * 2)
  start = time.monotonic()
  network(images)
  assert time.monotonic() - start < 60


def test_weights_file_is_small_and_safe():
  assert os.path.getsize(evaluation_network.WEIGHTS_PATH) < 500_000
  with np.load(evaluation_network.WEIGHTS_PATH, allow_pickle=False) as arrays:
    for key in arrays.files:
      assert arrays[key].dtype in (np.float16, np.float64), key


def test_batches_of_any_size_agree(network, test_images):
  images = test_images[0][:503]
  logits, activations = network(images)
  for start, stop in ((0, 1), (499, 503)):
    part = network(images[start:stop])
    # Sums of about a thousand float32 terms.
    np.testing.assert_allclose(part[0], logits[start:stop], atol=1e-4)
    np.testing.assert_allclose(part[1], activations[start:stop], atol=1e-4)


def test_no_images(network):
  logits, activations = network(np.zeros((0, 28, 28, 1), np.uint8))
  assert logits.shape == (0, 10)
  assert activations.shape == (0, 64)


def test_name_says_what_it_is(network):
  assert 'not Inception' in network.name
  assert 'Fashion-MNIST' in network.name


def test_max_pool_is_that_of_xla():
  x = jax.random.uniform(jax.random.key(0), (2, 7, 6, 3))
  window = (1, 2, 2, 1)
  expected = jax.lax.reduce_window(
    x, -jnp.inf, jax.lax.max, window, window, 'SAME'
  )
  np.testing.assert_array_equal(evaluation_network._max_pool(x), expected)


def test_saved_weights_are_read_again(tmp_path):
  path = tmp_path / 'weights.npz'
  params = _random_params()
  evaluation_network.save_weights(path, params, 0.5)
  network = evaluation_network.EvaluationNetwork(path)
  assert network.test_accuracy == 0.5
  images = np.random.default_rng(1).integers(
    0, 256, (3, 28, 28, 1), dtype=np.uint8
  )
  rounded = {
    k: x.astype(jnp.float16).astype(x.dtype) for k, x in params.items()
  }
  features = evaluation_network.features(
    rounded, draws.scale_images(jnp.asarray(images))
  )
  logits, activations = evaluation_network.classify(rounded, features)
  np.testing.assert_allclose(network(images)[0], logits, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(
    network(images)[1], activations, rtol=1e-4, atol=1e-4
  )
  # Other weights, another name: cached statistics are not mixed up.
  evaluation_network.save_weights(path, _random_params(1), 0.5)
  assert evaluation_network.EvaluationNetwork(path).name != network.name


def test_missing_weights(tmp_path):
  with pytest.raises(errors.UserError, match='train_evaluation_network'):
    evaluation_network.EvaluationNetwork(tmp_path / 'no.npz')


def test_weights_of_another_network(tmp_path):
  path = tmp_path / 'weights.npz'
  params = _random_params()
  params['conv_1/w'] = params['conv_1/w'][..., :-1]
  evaluation_network.save_weights(path, params, 0.5)
  with pytest.raises(errors.UserError, match='conv_1/w has shape'):
    evaluation_network.EvaluationNetwork(path)


@pytest.mark.parametrize(
  'images',
  [
    np.zeros((2, 32, 32, 3), np.uint8),
    np.zeros((2, 28, 28, 1), np.float32),
  ],
)
def test_other_images(network, images):
  with pytest.raises(errors.UserError, match='takes uint8 images'):
    network(images)


def _write_idx(path, array):
  header = bytes([0, 0, 8, array.ndim])
  header += np.array(array.shape, '>u4').tobytes()
  path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.slow  # Compiles the training step.
def test_training_script(tmp_path):
  # Ten kinds of images that differ in the place of one bright bar.
  labels = np.arange(2560) % 10
  images = np.zeros((2560, 28, 28), np.uint8)
  for label in range(10):
    images[labels == label, 2 * label + 4] = 255
  for prefix, num in (('train', 2560), ('t10k', 500)):
    _write_idx(tmp_path / f'{prefix}-images-idx3-ubyte', images[:num])
    _write_idx(tmp_path / f'{prefix}-labels-idx1-ubyte', labels[:num])
  output = tmp_path / 'weights.npz'
  subprocess.run(
    [
      sys.executable,
      '-m',
      'benchmarks.train_evaluation_network',
      f'--data_dir={tmp_path}',
      f'--output={output}',
      '--epochs=2',
    ],
    check=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  # The weights kept average 1000 steps, of which there were 40: they are hardly
  # trained. What counts here is that they are there and read again.
  network = evaluation_network.EvaluationNetwork(output)
  predictions = network(images[:500, ..., None])[0].argmax(axis=-1)
  accuracy = np.mean(predictions == labels[:500])
  np.testing.assert_allclose(accuracy, network.test_accuracy, atol=0.005)
