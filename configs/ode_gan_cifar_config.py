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
"""CIFAR-10 by Runge-Kutta 4: ODE-GAN."""

from dd_two_player_games import base_config


def get_config():
  """Returns the config, with the published settings."""
  config = base_config.get_base_config()
  config.training_steps = 300_000
  config.best_model_eval_metric = 'IS_mean'

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'cifar10'
  experiment.optimizers.discriminator.lr = 1e-2
  experiment.optimizers.generator.lr = 1e-2
  experiment.nets.discriminator = 'CifarDiscriminator'
  experiment.nets.generator = 'CifarGenerator'
  experiment.param_transformers.discriminator = 'spectral_norm'
  experiment.training.runge_kutta_updates = True
  experiment.training.runge_kutta_order = 4
  return config
