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

import sys
import time

from absl import app
from absl import flags
import jax
import jax.numpy as jnp

from dd_two_player_games import classification_accuracy
from dd_two_player_games import evaluation_network
from jaxline_harness import datasets
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

# The weights kept are a running average over about this many steps.
_AVERAGED_STEPS = 1000
_BATCH_SIZE = 128

Params = evaluation_network.Params


def train(
  train_data: classification_accuracy.Examples,
  test_data: classification_accuracy.Examples,
) -> Params:
  """Trains a network; the test images serve the printed accuracies only."""
  steps_of_epoch = len(train_data.labels) // _BATCH_SIZE
  start = time.monotonic()
  trained = classification_accuracy.train(
    train_data,
    evaluation_network.NUM_CLASSES,
    _EPOCHS.value * steps_of_epoch,
    _AVERAGED_STEPS,
    seed=_SEED.value,
    mirror=True,
  )
  for step, average in enumerate(trained, 1):
    if step % steps_of_epoch == 0:
      test_accuracy = classification_accuracy.accuracy(average, test_data)
      print(
        f'epoch {step // steps_of_epoch:2d}: test accuracy '
        f'{test_accuracy:.4f}, {time.monotonic() - start:.0f} s',
        flush=True,
      )
  return average


def main(argv: list[str]) -> None:
  """Trains, writes the weights and prints their accuracy."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {" ".join(argv[1:])}')
  try:
    train_data, test_data = (
      classification_accuracy.Examples(loaded.examples, loaded.labels)
      for loaded in (
        datasets.load('fashion_mnist', split, _DATA_DIR.value)
        for split in ('train', 'test')
      )
    )
  except errors.UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  params = train(train_data, test_data)
  # What counts is the accuracy of the weights as they are written.
  params = jax.tree.map(
    lambda x: x.astype(jnp.float16).astype(jnp.float32), params
  )
  test_accuracy = classification_accuracy.accuracy(params, test_data)
  evaluation_network.save_weights(_OUTPUT.value, params, test_accuracy)
  print(f'{_OUTPUT.value}: test accuracy {test_accuracy:.4f}')


if __name__ == '__main__':
  app.run(main)
