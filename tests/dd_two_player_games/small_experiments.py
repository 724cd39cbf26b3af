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
"""GAN experiments that are quick to compile, and how tests train them."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from jaxline_harness import device_mesh
from jaxline_harness import launch

MLP = {'depth': 1, 'hidden_size': 8}
SIMULTANEOUS = {'simultaneous_updates': True}
CANCEL = {'grad_regularizes': base_config.cancel_interaction_terms()}
# What images are measured by.
IMAGE_METRICS = {'IS_mean', 'IS_std', 'FID', 'FID_std', 'FID_floor'}
OTHER_METRICS = {
  f'{name}{part}'
  for name in ('KID', 'precision', 'recall', 'density', 'coverage')
  for part in ('', '_std', '_floor')
}


def runge_kutta(order, **after):
  """The settings of a Runge-Kutta rule, `after` for both players."""
  regularizers = base_config.no_regularizers()
  for terms in regularizers['rk_after_explicit_coeffs'].values():
    terms.update(after)
  return {
    'runge_kutta_updates': True,
    'runge_kutta_order': order,
    'grad_regularizes': regularizers,
  }


RULES = {
  'simultaneous': SIMULTANEOUS | CANCEL,
  'disc_first': {'alternating_player_order': 'disc_first'} | CANCEL,
  'gen_first': {'alternating_player_order': 'gen_first'} | CANCEL,
  'several_updates': {
    'num_disc_updates': 2,
    'num_gen_updates': 3,
    'drift_convention': 'joint_flow',
  }
  | CANCEL,
  'runge_kutta_1': runge_kutta(1),
  'runge_kutta_2': runge_kutta(2, self_norm=0.1),
  'runge_kutta_4': runge_kutta(4, self_norm=0.1, other_norm=0.05),
}


def resolve(settings):
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.config = settings
  return base_config.resolve(config).experiment_kwargs.config


def points_config(training=None, optimizer=None, **settings):
  """Tiny MLP players of the mixture of Gaussians."""
  optimizer = {'lr': 0.05} | (optimizer or {})
  return resolve(
    {
      'dataset': 'mixture_of_gaussians',
      'data_processor': 'PointProcessor',
      'optimizers': {'discriminator': optimizer, 'generator': optimizer},
      'nets': {
        'discriminator': 'SimpleMLP',
        'disc_kwargs': MLP,
        'generator': 'SimpleMLP',
        'gen_kwargs': MLP | {'out_dim': 2},
      },
      'training': {'batch_size': 16, 'num_latents': 4} | (training or {}),
    }
    | settings
  )


def images_config(**settings):
  """A tiny DCGAN with spectral norm and batch norm, drift cancelled."""
  optimizer = {'lr': 0.05}
  return resolve(
    {
      'dataset': 'fashion_mnist_10k',
      'optimizers': {'discriminator': optimizer, 'generator': optimizer},
      'nets': {
        'discriminator': 'DCGANDiscriminator',
        'disc_kwargs': {'channels': [4]},
        'generator': 'DCGANGenerator',
        'gen_kwargs': {'channels': [4]},
      },
      'param_transformers': {
        'discriminator': 'spectral_norm',
        'generator': None,
      },
      'training': {'batch_size': 8, 'num_latents': 4} | SIMULTANEOUS | CANCEL,
      'eval': {
        'num_eval_splits': 2,
        'num_inception_images': 40,
        'batch_size': 6,
      },
    }
    | settings
  )


def make(config, mode='train'):
  return experiment.Experiment(mode, None, config)


def train(an_experiment, last_step, chunk=None):
  """Trains to `last_step` in chunks of this length; the last chunk's logs."""
  an_experiment.ensure_train_state()
  state = device_mesh.unreplicate(an_experiment.train_state)
  step, logs = int(state.global_step), None
  while step < last_step:
    step = min(last_step, step + (chunk or last_step))
    logs = an_experiment.run_chunk(step)
  return logs


def assert_devices_agree(state):
  for leaf in jax.tree.leaves(state):
    copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
    assert len(copies) == jax.device_count()
    for copy in copies[1:]:
      np.testing.assert_array_equal(copy, copies[0])


def launch_mode(mode, config, folder, *arguments):
  """The exit status of a command."""
  with pytest.raises(SystemExit) as end:
    launch.main(
      experiment.Experiment,
      base_config.SCHEMA,
      [
        'program.py',
        f'--config={config}',
        f'--jaxline_mode={mode}',
        f'--config.checkpoint_dir={folder}',
        *arguments,
      ],
    )
  return end.value.code


class DiracDiscriminator(hk.Module):
  def __call__(self, x, is_training=True):
    return hk.Linear(1, with_bias=False)(x)


class DiracGenerator(hk.Module):
  def __call__(self, latents, is_training=True):
    theta = hk.get_parameter('theta', (), init=jnp.ones)
    return jnp.full((latents.shape[0], 1), theta)
