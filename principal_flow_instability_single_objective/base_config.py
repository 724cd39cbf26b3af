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
"""Every setting of a classification experiment, its default, one line on it.

A file in `configs/` starts from `get_base_config()` and changes what it needs.
`resolve` fills in the rest, or says in one line what is wrong.
"""

from ml_collections import config_dict

from jaxline_harness import configs

PREFIX = 'config.experiment_kwargs.config'


def get_base_config() -> config_dict.ConfigDict:
  """Returns all settings with their defaults."""
  config = configs.get_base_config()
  config.interval_type = 'steps'
  config.training_steps = 1000
  config.log_tensors_interval = 20
  config.log_train_data_interval = 20
  config.save_checkpoint_interval = 500
  config.best_model_eval_metric = 'test_accuracy'
  config.experiment_kwargs = config_dict.ConfigDict(
    {
      'config': {
        # Decides initial parameters and the order of the data.
        'random_seed': 0,
        # fashion_mnist_10k (embedded), mnist, cifar10 or another name of
        # tensorflow_datasets, or the path of an .npz with labels.
        'dataset': 'fashion_mnist_10k',
        # Where data sets lie; empty: where tensorflow_datasets keeps them.
        'data_dir': '',
        # The last so many examples of the training split are for testing; None
        # takes the data set's own test split.
        'num_test_examples': 2000,
        # The first so many are for training; None: all others.
        'num_train_examples': None,
        'net': {  # See nets.py: MLP or ConvNet.
          'name': 'MLP',
          'kwargs': {},
        },
        'optimizer': {
          'lr': 0.05,
          'momentum': 0.0,  # Heavy-ball.
          # Name of an optax schedule that starts from `lr`, or None.
          'scheduler': None,
          'scheduler_kwargs': {},
        },
        'dal': {  # Drift-adjusted learning rates; see dal.py.
          # p; None: `optimizer.lr`, and nothing is measured; 0: it is.
          'power': None,
          'max_learning_rate': 5.0,
          # Hessian products: exact, or finite_differences of gradients.
          'product': 'exact',
          # The Hessian is that of the gradient's batch (same), or of all
          # training examples (full).
          'batch': 'same',
          # The first step with, and the first after it without; None: none.
          'start': 0,
          'stop': None,
        },
        'training': {
          # Of all devices together; None: all training examples.
          'batch_size': None,
          # What a device takes at once, at most; None: all its share.
          'microbatch_size': None,
        },
        'eval': {
          # Test examples taken at once.
          'batch_size': 500,
          # Curvature is measured at logged steps that are multiples of this.
          'interval': 20,
          # On the first so many training examples; None: all.
          'num_examples': 1000,
          # λ_0 ... of the Hessian, and Lanczos' products to find them; 0: no
          # curvature is measured, but test accuracy.
          'num_eigenvalues': 4,
          'num_products': 30,
          # The distance of a step of gradient descent to the flows. As much
          # work as hundreds of gradients; not for networks with ReLU, nor with
          # momentum.
          'drift': False,
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
  from principal_flow_instability_single_objective import config_checks

  configs.fill_in(config, get_base_config())
  config_checks.check(config)
  return config
