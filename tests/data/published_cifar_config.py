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
"""A config in the form that the published code reads: every field spelt out.

The settings are those of simultaneous gradient descent on CIFAR-10 with the
drift's interaction terms cancelled. `get_config('ode_gan')` gives those of
Runge-Kutta with a gradient penalty.
"""

from jaxline import base_config
from ml_collections import config_dict


def _sgd(lr):
  return {
    'name': 'sgd',
    'lr': lr,
    'clip': None,
    'kwargs': {'momentum': 0.0},
    'scheduler': None,
    'scheduler_kwargs': None,
  }


def _terms(other_dot_prod=0.0):
  return {
    player: {
      'self_norm': 0.0,
      'other_norm': 0.0,
      'other_dot_prod': other_dot_prod,
    }
    for player in ('disc', 'gen')
  }


def get_config(variant='sgd'):
  """Returns a config that lacks the fields which the project has added."""
  runge_kutta = variant == 'ode_gan'
  config = base_config.get_base_config()
  config.training_steps = 300_000
  config.interval_type = 'steps'
  config.log_tensors_interval = 100
  config.log_train_data_interval = 100
  config.save_checkpoint_interval = 100
  config.train_checkpoint_all_hosts = False
  config.best_model_eval_metric = 'IS_mean'
  config.best_model_eval_metric_higher_is_better = True
  config.checkpoint_dir = '/tmp/a_run'
  config.restore_path = ''
  config.eval_specific_checkpoint_dir = ''
  config.delete_existing_local_checkpoints = True

  penalty = ['wgan_gradient_penalty_loss', 10.0] if runge_kutta else None
  config.experiment_kwargs = config_dict.ConfigDict(
    {
      'config': {
        'random_seed': 0,
        'dataset': 'cifar10',
        'data_processor': 'ImageProcessor',
        'optimizers': {
          'discriminator': _sgd(1e-2),
          'generator': _sgd(1e-2 if runge_kutta else 5e-3),
        },
        'nets': {
          'discriminator': 'CifarDiscriminator',
          'disc_kwargs': {},
          'generator': 'CifarGenerator',
          'gen_kwargs': {},
        },
        'losses': {
          'discriminator': 'discriminator_goodfellow_loss',
          'generator': 'generator_saturating_loss',
        },
        'penalties': {'discriminator': penalty, 'generator': None},
        'param_transformers': {
          'discriminator': 'spectral_norm',
          'generator': None,
        },
        'training': {
          'simultaneous_updates': not runge_kutta,
          'runge_kutta_updates': runge_kutta,
          'runge_kutta_order': 4,
          'alternating_player_order': 'disc_first',
          'estimator_fn': 'unbiased_estimate_fn_lowest_variance',
          'batch_size': 128,
          'rk_disc_regularizer_weight_coeff': 0.0,
          'grad_regularizes': {
            'dd_coeffs_multiplier': _terms(0.0 if runge_kutta else -1.0),
            'explicit_non_dd_coeffs': _terms(),
            'rk_after_explicit_coeffs': _terms(),
          },
          'num_gen_updates': 1,
          'num_disc_updates': 1,
          'num_latents': 128,
        },
        'eval': {
          'run_image_metrics': True,
          'batch_size': 16,
          'num_eval_splits': 5,
          'num_inception_images': 10_000,
        },
      }
    }
  )
  return config
