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
"""Every setting of an EigenGame experiment, its default, and one line on it.

A file in `configs/` starts from `get_base_config()`, changes what it needs, and
says `EXPERIMENT = 'eigengame_unloaded.experiment'`, so that run.sh starts this
experiment.
"""

from ml_collections import config_dict

from jaxline_harness import configs


def get_base_config() -> config_dict.ConfigDict:
  """Returns all settings with their defaults."""
  config = configs.get_base_config()
  config.interval_type = 'steps'
  config.training_steps = 10_000
  config.log_tensors_interval = 100
  config.log_train_data_interval = 100
  config.save_checkpoint_interval = 1000
  config.experiment_kwargs = config_dict.ConfigDict(
    {
      'config': {
        # Decides initial eigenvectors, draws and what data sets are made.
        'random_seed': 0,
        # synthetic (a Gaussian) or stochastic_block_model (a graph), which are
        # made; an .npy matrix, which is read from disk as training goes; an
        # edge list (.edges, .edgelist or .txt), for its Laplacian; or images:
        # fashion_mnist_10k (embedded), another name, an .npz or a folder.
        'dataset': 'fashion_mnist_10k',
        # Where data sets lie; empty: where tensorflow_datasets keeps them.
        'data_dir': '',
        'synthetic': {
          'dim': 50,
          # Of the covariance's eigenvalues, exponential or linear, ...
          'decay': 'exponential',
          # ... from 1 down to this.
          'smallest_eigenvalue': 1e-3,
        },
        'stochastic_block_model': {
          'num_blocks': 4,
          'block_size': 100,
          # Probabilities of an edge.
          'within': 0.3,
          'between': 0.02,
        },
        # What is subtracted from examples: their streaming mean, data (their
        # mean, from one pass before training), none, or an .npy vector.
        'centring': 'streaming',
        'num_eigenvectors': 16,
        # mu_eigengame, alpha_eigengame, oja, sanger or krasulina.
        'method': 'mu_eigengame',
        'optimizer': {
          # Any optax alias.
          'name': 'sgd',
          'lr': 1e-4,
          'kwargs': {'momentum': 0.9, 'nesterov': True},
          # Name of an optax schedule that starts from `lr`, or None. A constant
          # rate leaves noise of its own size.
          'scheduler': None,
          # Of these `decay_steps` may be None: the decay ends with training.
          'scheduler_kwargs': {},
        },
        'training': {
          # Of all devices together.
          'batch_size': 256,
          # Directions are means over a minibatch; False: sums, as published.
          'average': True,
          # Groups of devices over which players are spread; those of one group
          # share its players and split the minibatch.
          'player_groups': 1,
        },
        'eval': {
          # Exact eigenvectors, and errors against them, up to this dimension.
          'exact_up_to_dim': 2048,
        },
      }
    }
  )
  return config


def resolve(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  """Fills in defaults and checks every field.

  Args:
    config: what a config file made, overrides applied; it is changed.

  Returns:
    The same config, full.

  Raises:
    UserError: for an unknown field, or a value that cannot be right.
  """
  # It imports JAX, which a config file need not.
  from eigengame_unloaded import config_checks

  configs.fill_in(config, get_base_config())
  arguments = config.experiment_kwargs.config.optimizer.scheduler_kwargs
  if hasattr(arguments, 'get') and arguments.get('decay_steps', 1) is None:
    with config.unlocked():
      arguments.decay_steps = max(1, config.training_steps)
  config_checks.check(config)
  return config
