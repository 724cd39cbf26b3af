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
"""A config in the form of the published MNIST one, which its code refuses.

Its regularisers have flat names, it gives no order of the players, and two of
its fields do nothing. Every coefficient is another number, so that a test can
tell them apart.
"""

from jaxline import base_config
from ml_collections import config_dict


def _flat_terms(first):
  names = (
    'disc_reg_disc_norm',
    'disc_reg_gen_dot_prod',
    'disc_reg_gen_norm',
    'gen_reg_gen_norm',
    'gen_reg_disc_dot_prod',
    'gen_reg_disc_norm',
  )
  return {name: first + k / 8 for k, name in enumerate(names)}


def _optimizer():
  return {
    'name': 'sgd',
    'lr': 1e-2,
    'clip': None,
    'kwargs': {'momentum': 0.0},
    'scheduler': None,
    'scheduler_kwargs': None,
  }


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 100_000
  config.interval_type = 'steps'
  config.log_train_data_interval = 10
  config.log_tensors_interval = 10
  config.save_checkpoint_interval = 100
  config.checkpoint_dir = '/tmp/a_run'
  config.eval_specific_checkpoint_dir = ''
  config.best_model_eval_metric = ''

  config.experiment_kwargs = config_dict.ConfigDict(
    {
      'config': {
        'random_seed': 0,
        'dataset': 'mnist',
        'data_processor': 'ImageProcessor',
        'num_eval_samples': 1000,
        'optimizers': {
          'discriminator': _optimizer(),
          'generator': _optimizer(),
        },
        'nets': {
          'discriminator': 'MnistDiscriminator',
          'disc_kwargs': {},
          'generator': 'MnistGenerator',
          'gen_kwargs': {},
        },
        'losses': {
          'discriminator': 'discriminator_goodfellow_loss',
          'generator': 'generator_saturating_loss',
        },
        'penalties': {'discriminator': None, 'generator': None},
        'param_transformers': {'discriminator': 'no_op', 'generator': None},
        'training': {
          'simultaneous_updates': True,
          'runge_kutta_updates': False,
          'estimator_fn': 'biased_estimate_grad_fn',
          'batch_size': 64,
          'rk_disc_regularizer_weight_coeff': 0.01,
          'grad_regularizes': {
            'dd_coeffs_multiplier': _flat_terms(1.0),
            'explicit_non_dd_coeffs': _flat_terms(2.0),
            'rk_after_explicit_coeffs': dict.fromkeys(_flat_terms(0.0), 0.0),
          },
          'num_gen_updates': 1,
          'num_disc_updates': 1,
          'num_latents': 128,
        },
        'eval': {'run_image_metrics': False, 'batch_size': 16},
      }
    }
  )
  return config
