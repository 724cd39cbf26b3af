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
"""How the distance of a step from the flow depends on the learning rate.

  python benchmarks/drift_orders.py [--smooth] [--cancelled]

At one state of the embedded default, with its drift left as it is or its
interaction terms cancelled: `e_flow` and `e_modified` of a step, and their
slopes over the learning rate on a logarithmic scale, in smooth games 1 and 2.
With --smooth softplus stands in for the networks' ReLUs.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from dd_two_player_games import base_config  # noqa: E402
from dd_two_player_games import experiment  # noqa: E402
from jaxline_harness import flags  # noqa: E402
from jaxline_harness import modes  # noqa: E402

SHOWN = ('e_flow', 'e_modified', 'e_uncertainty')


def leaky_softplus(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
  """`jax.nn.leaky_relu` without its kink."""
  return negative_slope * x + (1 - negative_slope) * jax.nn.softplus(x)


def make_experiment(rate: float, cancelled: bool) -> experiment.Experiment:
  """The embedded default at another learning rate."""
  config = flags.load_config(
    str(ROOT / 'configs' / 'sgd_fashion_mnist_config.py')
  )
  settings = config.experiment_kwargs.config
  for player in ('discriminator', 'generator'):
    settings.optimizers[player].lr = rate
  if not cancelled:
    settings.training.grad_regularizes = base_config.no_regularizers()
  settings.training.dynamics.every = 1
  settings.training.dynamics.drift_every = 1
  config = base_config.resolve(config)
  return experiment.Experiment('train', None, config.experiment_kwargs.config)


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--steps', type=int, default=500)
  parser.add_argument(
    '--rates', type=float, nargs='+', default=[0.003, 0.01, 0.03, 0.1]
  )
  parser.add_argument('--smooth', action='store_true')
  parser.add_argument('--cancelled', action='store_true')
  arguments = parser.parse_args()
  if arguments.smooth:
    jax.nn.relu, jax.nn.leaky_relu = jax.nn.softplus, leaky_softplus
  modes.enable_compilation_cache()
  trained = make_experiment(0.1, cancelled=True)
  trained.ensure_train_state()
  trained.run_chunk(arguments.steps)
  snapshot = trained.snapshot_state()
  found = []
  for rate in arguments.rates:
    made = make_experiment(rate, arguments.cancelled)
    made.ensure_train_state()
    made.run_chunk(1)
    made.restore_from_snapshot(snapshot)
    measure = {o.series: o.measure for o in made.observations()}
    row = measure['dynamics'](arguments.steps, None)
    found.append([float(row[name]) for name in SHOWN])
    values = ', '.join(
      f'{name} {value:.3g}'
      for name, value in zip(SHOWN, found[-1], strict=True)
    )
    print(f'rate {rate:g}: {values}', flush=True)
  slopes = [
    np.polyfit(np.log(arguments.rates), np.log(column), 1)[0]
    for column in np.transpose(found)[:2]
  ]
  print(f'slopes {slopes[0]:.2f}, {slopes[1]:.2f}')


if __name__ == '__main__':
  main()
