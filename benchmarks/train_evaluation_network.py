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

"""Trains the Fashion-MNIST network that the metrics are measured with.

  python -m benchmarks.train_evaluation_network

from the root of the repository writes
`dd_two_player_games/evaluation_network_weights.npz` and prints the accuracy on
the test images after each epoch and of the float16 weights written. About ten
minutes on two cores. The data are read as `jaxline_harness.datasets.load` does;
Debian's package dataset-fashion-mnist installs them where `--data_dir` looks by
default.
"""

from collections.abc import Callable, Iterator
import sys
import time

from absl import app
from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dd_two_player_games import evaluation_network
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

_DATA_DIR = flags.DEFINE_string(
  'data_dir',
  '/usr/share/datasets/fashion-mnist',
  'Where the data set lies.',
)
_OUTPUT = flags.DEFINE_string(
  'output', str(evaluation_network.WEIGHTS_PATH), 'Where the weights go.'
)
_EPOCHS = flags.DEFINE_integer('epochs', 12, 'Passes over the data.', 1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of weights, order and dropout.')

_BATCH_SIZE = 128
_PEAK_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 5e-3
_FEATURE_DROPOUT = 0.2
_ACTIVATION_DROPOUT = 0.1
# The weights kept are a running average over about this many steps.
_AVERAGED_STEPS = 1000

Params = evaluation_network.Params


def initial_params(seed: int) -> Params:
  """He-normal weights, zero biases."""
  generator = np.random.default_rng(seed)
  params = {}
  for name, shape in evaluation_network.WEIGHT_SHAPES.items():
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
  params: Params, images: jax.Array, labels: jax.Array, key: jax.Array
) -> jax.Array:
  """Mean cross entropy, with random mirroring and dropout.

  Args:
    params: the network's weights.
    images: uint8 (N, 28, 28, 1).
    labels: int32 (N,).
    key: of what is random.

  Returns:
    The loss, a scalar.
  """
  mirror_key, *dropout_keys = jax.random.split(key, 3)
  mirrored = jax.random.bernoulli(mirror_key, 0.5, (len(images), 1, 1, 1))
  images = jnp.where(mirrored, images[:, :, ::-1], images)
  images = draws.scale_images(images)
  features = evaluation_network.features(params, images)
  features = _dropout(features, _FEATURE_DROPOUT, dropout_keys[0])
  _, activations = evaluation_network.classify(params, features)
  activations = _dropout(activations, _ACTIVATION_DROPOUT, dropout_keys[1])
  logits = activations @ params['linear_1/w'] + params['linear_1/b']
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def make_update(
  optimizer: optax.GradientTransformation,
) -> Callable[..., tuple]:
  """One compiled step.

  The steps are dispatched from the host one by one: inside a device loop XLA's
  CPU backend computes the convolutions' weight gradients many times slower.

  Args:
    optimizer: of the weights.

  Returns:
    (params, their average, optimiser state, images, labels, key) -> (params,
    average, optimiser state).
  """

  @jax.jit
  def update(params, average, opt_state, images, labels, key):
    grads = jax.grad(loss_fn)(params, images, labels, key)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    average = optax.incremental_update(params, average, 1 / _AVERAGED_STEPS)
    return params, average, opt_state

  return update


def epoch_batches(
  dataset: datasets.Dataset, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Images and labels in a random order, without the odd last ones."""
  images, labels = dataset.examples, dataset.labels
  order = np.random.default_rng((seed, epoch)).permutation(len(labels))
  for start in range(0, len(order) - _BATCH_SIZE + 1, _BATCH_SIZE):
    index = order[start : start + _BATCH_SIZE]
    yield images[index], labels[index]


@jax.jit
def _predict(params: Params, images: jax.Array) -> jax.Array:
  scaled = draws.scale_images(images)
  features = evaluation_network.features(params, scaled)
  return evaluation_network.classify(params, features)[0].argmax(axis=-1)


def accuracy(params: Params, dataset: datasets.Dataset) -> float:
  """Share of the images that the network classifies correctly."""
  size = 1000
  correct = 0
  for start in range(0, len(dataset.labels), size):
    predicted = _predict(params, dataset.examples[start : start + size])
    correct += int((predicted == dataset.labels[start : start + size]).sum())
  return correct / len(dataset.labels)


def train(train_data: datasets.Dataset, test_data: datasets.Dataset) -> Params:
  """Trains a network; the test images serve the printed accuracies only."""
  num_steps = _EPOCHS.value * (len(train_data.labels) // _BATCH_SIZE)
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, _PEAK_LEARNING_RATE, min(100, num_steps // 2), num_steps
  )
  optimizer = optax.adamw(schedule, weight_decay=_WEIGHT_DECAY)
  params = average = initial_params(_SEED.value)
  opt_state = optimizer.init(params)
  update = make_update(optimizer)
  key = jax.random.key(_SEED.value)
  start = time.monotonic()
  for epoch in range(_EPOCHS.value):
    for batch in epoch_batches(train_data, _SEED.value, epoch):
      key, step_key = jax.random.split(key)
      params, average, opt_state = update(
        params, average, opt_state, *batch, step_key
      )
    test_accuracy = accuracy(average, test_data)
    print(
      f'epoch {epoch + 1:2d}: test accuracy {test_accuracy:.4f}, '
      f'{time.monotonic() - start:.0f} s',
      flush=True,
    )
  return average


def main(argv: list[str]) -> None:
  """Trains, writes the weights and prints their accuracy."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {" ".join(argv[1:])}')
  try:
    train_data = datasets.load('fashion_mnist', 'train', _DATA_DIR.value)
    test_data = datasets.load('fashion_mnist', 'test', _DATA_DIR.value)
  except errors.UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  params = train(train_data, test_data)
  # What counts is the accuracy of the weights as they are written.
  params = jax.tree.map(
    lambda x: x.astype(jnp.float16).astype(jnp.float32), params
  )
  test_accuracy = accuracy(params, test_data)
  evaluation_network.save_weights(_OUTPUT.value, params, test_accuracy)
  print(f'{_OUTPUT.value}: test accuracy {test_accuracy:.4f}')


if __name__ == '__main__':
  app.run(main)
