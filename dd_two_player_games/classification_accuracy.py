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
"""How well a classifier does that has seen labelled samples only.

The classification accuracy score of Ravuri and Vinyals, Classification Accuracy
Score for Conditional Generative Models, arXiv:1905.10887: a class-conditional
generator is as good as its samples are for training, told by the accuracy on
real test images, beside that of a classifier trained on as many real images.
Each is a network of `evaluation_network`'s layers.
"""

import collections
from collections.abc import Callable, Iterator
import functools
import hashlib
import itertools
import os
import pathlib
from typing import NamedTuple

from absl import logging
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from dd_two_player_games import evaluation_network
from dd_two_player_games import image_metrics
from dd_two_player_games import real_statistics
from jaxline_harness import configs
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

NAME = 'classification_accuracy'

_BATCH_SIZE = 128
_PEAK_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 5e-3
_FEATURE_DROPOUT = 0.2
_ACTIVATION_DROPOUT = 0.1
# Of a classifier whose accuracy is the metric.
_NUM_STEPS = 500
_AVERAGED_STEPS = 50

Params = evaluation_network.Params


class Examples(NamedTuple):
  """uint8 images (N, H, W, C) and their classes, int (N,)."""

  images: np.ndarray
  labels: np.ndarray


# Training a classifier.


def initial_params(
  seed: int, image_shape: tuple[int, ...], num_classes: int
) -> Params:
  """He-normal weights, zero biases."""
  generator = np.random.default_rng(seed)
  params = {}
  shapes = evaluation_network.weight_shapes(image_shape, num_classes)
  for name, shape in shapes.items():
    scale = np.sqrt(2.0 / np.prod(shape[:-1]))
    params[f'{name}/w'] = jnp.asarray(
      scale * generator.standard_normal(shape), jnp.float32
    )
    params[f'{name}/b'] = jnp.zeros(shape[-1:])
  return params


def _dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x, 0) / (
    1 - rate
  )


def loss_fn(
  params: Params,
  images: jax.Array,
  labels: jax.Array,
  key: jax.Array,
  mirror: bool,
) -> jax.Array:
  """Mean cross entropy, with dropout.

  Args:
    params: the network's weights.
    images: uint8 (N, H, W, C).
    labels: int32 (N,).
    key: of what is random.
    mirror: whether half of the images are mirrored, which half at random.

  Returns:
    The loss, a scalar.
  """
  mirror_key, *dropout_keys = jax.random.split(key, 3)
  if mirror:
    mirrored = jax.random.bernoulli(mirror_key, 0.5, (len(images), 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
  images = draws.scale_images(images)
  features = evaluation_network.features(params, images)
  features = _dropout(features, _FEATURE_DROPOUT, dropout_keys[0])
  _, activations = evaluation_network.classify(params, features)
  activations = _dropout(activations, _ACTIVATION_DROPOUT, dropout_keys[1])
  logits = activations @ params['linear_1/w'] + params['linear_1/b']
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@functools.lru_cache(maxsize=4)
def make_update(
  num_steps: int, averaged_steps: int, mirror: bool
) -> tuple[optax.GradientTransformation, Callable[..., tuple]]:
  """One compiled step.

  The steps are dispatched from the host one by one: inside a device loop XLA's
  CPU backend computes the convolutions' weight gradients many times slower.

  Args:
    num_steps: of the whole training.
    averaged_steps: about how many steps the running average is over.
    mirror: whether to mirror images at random.

  Returns:
    The optimiser, and (params, their average, optimiser state, images, labels,
    key) -> (params, average, optimiser state).
  """
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, _PEAK_LEARNING_RATE, min(100, num_steps // 2), num_steps
  )
  optimizer = optax.adamw(schedule, weight_decay=_WEIGHT_DECAY)

  @jax.jit
  def update(params, average, opt_state, images, labels, key):
    grads = jax.grad(loss_fn)(params, images, labels, key, mirror)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    average = optax.incremental_update(params, average, 1 / averaged_steps)
    return params, average, opt_state

  return optimizer, update


def batches(
  examples: Examples, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Images and labels, each epoch in a random order, without the odd last."""
  num = len(examples.labels)
  size = min(_BATCH_SIZE, num)
  for epoch in itertools.count():
    order = np.random.default_rng((seed, epoch)).permutation(num)
    for start in range(0, num - size + 1, size):
      index = order[start : start + size]
      yield examples.images[index], examples.labels[index]


def train(
  examples: Examples,
  num_classes: int,
  num_steps: int,
  averaged_steps: int,
  *,
  seed: int = 0,
  mirror: bool = False,
) -> Iterator[Params]:
  """Trains a classifier.

  Args:
    examples: what it is trained on.
    num_classes: its classes.
    num_steps: batches of 128.
    averaged_steps: about how many steps the weights are averaged over.
    seed: of weights, order and dropout.
    mirror: whether to mirror images at random.

  Yields:
    The averaged weights after each step.
  """
  params = average = initial_params(
    seed, examples.images.shape[1:], num_classes
  )
  optimizer, update = make_update(num_steps, averaged_steps, mirror)
  opt_state = optimizer.init(params)
  key = jax.random.key(seed)
  for batch in itertools.islice(batches(examples, seed), num_steps):
    key, step_key = jax.random.split(key)
    params, average, opt_state = update(
      params, average, opt_state, *batch, step_key
    )
    yield average


@jax.jit
def _predict(params: Params, images: jax.Array) -> jax.Array:
  scaled = draws.scale_images(images)
  features = evaluation_network.features(params, scaled)
  return evaluation_network.classify(params, features)[0].argmax(axis=-1)


def accuracy(params: Params, examples: Examples) -> float:
  """Share of the images that the network classifies correctly."""
  size = 1000
  correct = 0
  for start in range(0, len(examples.labels), size):
    predicted = _predict(params, examples.images[start : start + size])
    correct += int((predicted == examples.labels[start : start + size]).sum())
  return correct / len(examples.labels)


def score(
  examples: Examples, test_examples: Examples, num_classes: int
) -> float:
  """Test accuracy of a classifier trained on these examples only.

  Args:
    examples: samples, or real images.
    test_examples: real ones.
    num_classes: of both.

  Returns:
    A share in [0, 1].
  """
  trained = train(examples, num_classes, _NUM_STEPS, _AVERAGED_STEPS)
  (params,) = collections.deque(trained, maxlen=1)
  return accuracy(params, test_examples)


# The metric.


class ClassificationAccuracy:
  """Measures labelled samples by what a classifier learns of them."""

  def __init__(
    self,
    real: Examples,
    test: Examples,
    *,
    num_images: int,
    cache_dir: str | os.PathLike | None = None,
  ):
    """Stores what is to be measured; computes nothing yet.

    Args:
      real: as the generator was trained on.
      test: what accuracies are of.
      num_images: how many samples, and real images, a classifier learns of.
      cache_dir: folder in which the real images' accuracy is kept.

    Raises:
      UserError: there are fewer real images.
    """
    if num_images > len(real.labels):
      raise errors.UserError(
        f'{configs.PREFIX}.eval.{NAME}={num_images}, but there are '
        f'{len(real.labels)} real images to compare with'
      )
    self._num_classes = int(real.labels.max()) + 1
    chosen = np.random.default_rng(0).permutation(len(real.labels))
    chosen = chosen[:num_images]
    self._real = Examples(real.images[chosen], real.labels[chosen])
    self._test = test
    self._num_images = num_images
    self._cache_dir = pathlib.Path(cache_dir) if cache_dir else None
    self._real_score: real_statistics.Accuracy | None = None

  @property
  def measured_with(self) -> dict[str, int]:
    """What accuracies depend on; fit for a JSON file."""
    return {
      'classifiers_train_images': self._num_images,
      'classifiers_train_steps': _NUM_STEPS,
      'classifiers_test_images': len(self._test.labels),
    }

  def metrics(
    self, sample_fn: Callable[[int], tuple[np.ndarray, np.ndarray]]
  ) -> dict[str, float]:
    """Measures samples.

    Args:
      sample_fn: given 0, 1, 2, ... returns that batch of samples and their
        labels, as `ImageMetrics.metrics` takes samples.

    Returns:
      `classification_accuracy` of samples, nan where one is not finite, and of
      real images `classification_accuracy_floor`.
    """
    parts, num = [], 0
    try:
      for k in itertools.count():
        images, labels = sample_fn(k)
        parts.append((image_metrics.as_uint8(images), np.ravel(labels)))
        num += len(parts[-1][1])
        if num >= self._num_images:
          break
      images, labels = (
        np.concatenate(part) for part in zip(*parts, strict=True)
      )
      samples = Examples(images[: self._num_images], labels[: self._num_images])
      of_samples = score(samples, self._test, self._num_classes)
    except image_metrics.NonFiniteImagesError:
      logging.warning('The samples are not finite: %s is nan.', NAME)
      of_samples = float('nan')
    return {NAME: of_samples, f'{NAME}_floor': self.real_score()}

  def real_score(self) -> float:
    """The real images' accuracy; computed, or read from the cache, once."""
    if self._real_score is None:
      path = self._cache_path()
      self._real_score = (
        real_statistics.read(path, real_statistics.Accuracy) if path else None
      )
      if self._real_score is None:
        value = score(self._real, self._test, self._num_classes)
        self._real_score = real_statistics.Accuracy(np.array(value))
        if path:
          real_statistics.write(path, self._real_score)
    return float(self._real_score.value)

  def _cache_path(self) -> pathlib.Path | None:
    if self._cache_dir is None:
      return None
    digest = hashlib.sha256(
      repr((_NUM_STEPS, self._real.images.shape)).encode()
    )
    for array in (*self._real, *self._test):
      digest.update(np.ascontiguousarray(array).data)
    return self._cache_dir / f'accuracy_{digest.hexdigest()[:32]}.npz'


def of_dataset(
  dataset: datasets.Dataset,
  config: config_dict.ConfigDict,
  cache_dir: str | os.PathLike | None,
) -> ClassificationAccuracy:
  """Makes the metric of a config's data set.

  Args:
    dataset: its training split, with labels.
    config: the field `experiment_kwargs.config`.
    cache_dir: as in `ClassificationAccuracy`.

  Returns:
    The metric.

  Raises:
    UserError: there is no test split with the same classes.
  """
  try:
    test = datasets.load(config.dataset, 'test', config.data_dir or None)
  except errors.UserError as error:
    raise errors.UserError(
      f'{configs.PREFIX}.eval.{NAME} needs test images: {error}'
    ) from error
  assert dataset.labels is not None  # The GAN is conditional.
  classes = np.unique(dataset.labels)
  if test.labels is None or not np.isin(test.labels, classes).all():
    raise errors.UserError(
      f'{configs.PREFIX}.eval.{NAME}: the test images of {dataset.name} have '
      "no labels, or others than the training images'"
    )
  return ClassificationAccuracy(
    Examples(dataset.examples, dataset.labels),
    Examples(test.examples, test.labels),
    num_images=config.eval.classification_accuracy,
    cache_dir=cache_dir,
  )
