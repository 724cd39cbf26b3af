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
"""Classifiers of labelled samples against those of real images."""

import itertools
import json

import numpy as np
import pytest

from dd_two_player_games import classification_accuracy
from dd_two_player_games import data_utils
from dd_two_player_games import evaluation_network
from dd_two_player_games import experiment
from dd_two_player_games import real_statistics
from jaxline_harness import errors
from jaxline_harness import run_directory
from tests.dd_two_player_games import small_experiments

pytestmark = pytest.mark.optimised

NUM_CLASSES = 4
PATH = 'config.experiment_kwargs.config.eval.classification_accuracy'


def make_bars(num, seed=0):
  """Noisy images, of which each class has a bright row of its own."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, NUM_CLASSES, num).astype(np.int32)
  images = rng.integers(0, 100, (num, 8, 4, 1), dtype=np.uint8)
  images[np.arange(num), 2 * labels] += 120
  return classification_accuracy.Examples(images, labels)


@pytest.fixture
def short(monkeypatch):
  monkeypatch.setattr(classification_accuracy, '_NUM_STEPS', 20)
  monkeypatch.setattr(classification_accuracy, '_AVERAGED_STEPS', 4)


def make_metric(num_images=200, **kwargs):
  real, test = make_bars(300), make_bars(250, seed=1)
  return classification_accuracy.ClassificationAccuracy(
    real, test, num_images=num_images, **kwargs
  )


def batches_of(examples, size=70):
  return lambda k: tuple(x[k * size : (k + 1) * size] for x in examples)


@pytest.mark.slow
def test_accuracy_is_of_what_was_learnt(short):
  metric = make_metric()
  # Other images of the same kind teach what real ones do.
  samples = make_bars(210, seed=2)
  metrics = metric.metrics(batches_of(samples))
  assert metrics.keys() == {
    'classification_accuracy',
    'classification_accuracy_floor',
  }
  assert min(metrics.values()) > 0.95
  # Samples of other classes than they are said to be teach that.
  wrong = (samples.labels + 1) % NUM_CLASSES
  wrong = metric.metrics(batches_of((samples.images, wrong)))
  assert wrong['classification_accuracy'] < 0.05
  assert (
    wrong['classification_accuracy_floor']
    == metrics['classification_accuracy_floor']
  )


def test_as_many_real_images_are_learnt_of(monkeypatch, tmp_path):
  scored = []

  def score(examples, test_examples, num_classes):
    assert num_classes == NUM_CLASSES
    np.testing.assert_array_equal(test_examples.images, test.images)
    scored.append(examples)
    return 0.1 * len(scored)

  monkeypatch.setattr(classification_accuracy, 'score', score)
  real, test = make_bars(300), make_bars(250, seed=1)
  metric = make_metric(cache_dir=tmp_path)
  samples = make_bars(210, seed=2)
  # Floats of two devices, as a sampler makes them.
  floats = samples.images.astype(np.float32) / 127.5 - 1
  floats = floats.reshape(3, 2, 35, 8, 4, 1)
  labels = samples.labels.reshape(3, 2, 35)
  metrics = metric.metrics(lambda k: (floats[k], labels[k]))
  assert metrics == {
    'classification_accuracy': 0.1,
    'classification_accuracy_floor': 0.2,
  }
  for found, wanted in zip(scored[0], samples, strict=True):
    np.testing.assert_array_equal(found, wanted[:200])
  # Real ones in a random order, each once.
  assert len(scored[1].labels) == 200
  whole = {x.tobytes(): k for x, k in zip(*real, strict=True)}
  drawn = [(x.tobytes(), k) for x, k in zip(*scored[1], strict=True)]
  assert len({*drawn}) == 200
  assert all(whole[image] == label for image, label in drawn)
  assert not np.array_equal(scored[1].labels, real.labels[:200])
  # Once only, also by another object; not by one of another number.
  assert metric.real_score() == 0.2
  assert make_metric(cache_dir=tmp_path).real_score() == 0.2
  assert len(scored) == 2
  make_metric(100, cache_dir=tmp_path).real_score()
  assert len(scored) == 3
  (first, _) = sorted(tmp_path.iterdir())
  assert real_statistics.read(first, real_statistics.DataStatistics) is None


def test_samples_that_are_not_finite(monkeypatch, caplog):
  monkeypatch.setattr(classification_accuracy, 'score', lambda *args: 0.5)
  samples = np.full((100, 8, 4, 1), np.nan), np.zeros(100, int)
  metrics = make_metric().metrics(lambda k: samples)
  assert np.isnan(metrics['classification_accuracy'])
  assert metrics['classification_accuracy_floor'] == 0.5
  assert 'classification_accuracy is nan' in caplog.text


@pytest.mark.slow
def test_fashion_mnist(monkeypatch):
  """Real images teach as much as other real images."""
  monkeypatch.setattr(classification_accuracy, '_NUM_STEPS', 200)
  monkeypatch.setattr(classification_accuracy, '_AVERAGED_STEPS', 20)
  data = data_utils.load_dataset('fashion_mnist_10k')
  parts = [
    classification_accuracy.Examples(data.examples[part], data.labels[part])
    for part in (slice(0, 3000), slice(3000, 6000), slice(6000, 10_000))
  ]
  first, second = (
    classification_accuracy.score(part, parts[2], 10) for part in parts[:2]
  )
  assert min(first, second) > 0.75
  assert abs(first - second) < 0.03


def test_every_epoch_has_each_image_once():
  examples = make_bars(300)
  taken = [*itertools.islice(classification_accuracy.batches(examples, 0), 4)]
  for epoch in (taken[:2], taken[2:]):
    images = np.concatenate([images for images, _ in epoch])
    assert len(images) == 256
    assert len({image.tobytes() for image in images}) == 256
  assert not np.array_equal(taken[0][0], taken[2][0])
  few = make_bars(5)
  images, _ = next(classification_accuracy.batches(few, 0))
  assert len(images) == 5


def test_layers_of_other_images():
  shapes = evaluation_network.weight_shapes((30, 33, 3), 7)
  assert shapes['conv_0'] == (3, 3, 3, 24)
  assert shapes['linear_0'] == (4 * 5 * 64, 64)
  assert shapes['linear_1'] == (64, 7)
  params = classification_accuracy.initial_params(0, (30, 33, 3), 7)
  features = evaluation_network.features(params, np.zeros((2, 30, 33, 3)))
  logits, _ = evaluation_network.classify(params, features)
  assert logits.shape == (2, 7)


# In an experiment.


def write_bars(path, num_test=50, **changed):
  (x_train, y_train), (x_test, y_test) = make_bars(60), make_bars(num_test, 1)
  arrays = {
    'x_train': x_train,
    'y_train': y_train,
    'x_test': x_test,
    'y_test': y_test,
  } | changed
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  return str(path)


def make_config(dataset, num_images=40, **training):
  return small_experiments.images_config(
    dataset=dataset,
    training={'batch_size': 8, 'num_latents': 4, 'conditional': True}
    | training,
    eval={
      'classification_accuracy': num_images,
      'num_eval_splits': 1,
      'num_inception_images': 20,
      'batch_size': 3,
    },
  )


@pytest.mark.slow
def test_evaluation_of_a_conditional_gan(tmp_path, monkeypatch):
  scored = []

  def score(examples, *args):
    scored.append(examples)
    return 0.25

  class FirstPixels:
    name = 'first pixels'

    def __call__(self, images):
      pixels = images.reshape(len(images), -1)[:, :3] / 255.0
      return pixels, pixels

  monkeypatch.setattr(classification_accuracy, 'score', score)
  monkeypatch.setattr(experiment, 'make_classifier', lambda _: FirstPixels())
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  config = make_config(write_bars(tmp_path / 'bars.npz'))
  made = small_experiments.make(config, 'eval')
  made.ensure_train_state()
  writer = run_directory.Writer(str(tmp_path), 'eval')
  metrics = made.evaluate(global_step=0, rng=None, writer=writer)
  written = json.loads((tmp_path / 'eval/metrics_00000000.json').read_text())
  told = written['measured_with']
  assert told['classifiers_train_images'] == 40
  assert told['classifiers_test_images'] == 50
  assert told['classifiers_train_steps'] == 500
  assert told['classifier'] == 'first pixels'
  assert metrics['classification_accuracy'] == 0.25
  assert metrics['classification_accuracy_floor'] == 0.25
  # Of the samples first: each label has its own image.
  samples, real = scored
  assert samples.images.shape == real.images.shape == (40, 8, 4, 1)
  assert samples.images.dtype == np.uint8
  assert {*np.unique(samples.labels)} <= {*range(NUM_CLASSES)}
  assert len(np.unique(samples.labels)) > 1


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'x_test': None, 'y_test': None}, "needs test images: .*no split 'test'"),
    ({'y_test': None}, 'the test images of .* have no labels'),
    ({'y_test': np.full(50, 7)}, "or others than the training images'"),
    (
      {'x_train': make_bars(30)[0], 'y_train': make_bars(30)[1]},
      '=40, but there are 30 real images',
    ),
  ],
)
def test_data_that_do_not_suffice(tmp_path, changed, message):
  config = make_config(write_bars(tmp_path / 'bars.npz', **changed))
  with pytest.raises(errors.UserError, match=message) as caught:
    small_experiments.make(config)
  assert str(caught.value).startswith(PATH)
  assert '\n' not in str(caught.value)


def test_samples_without_labels():
  with pytest.raises(errors.UserError) as caught:
    make_config('fashion_mnist_10k', conditional=False)
  assert str(caught.value) == (
    f'{PATH}=40 has no effect: only samples of a conditional GAN '
    '(training.conditional) have labels'
  )
