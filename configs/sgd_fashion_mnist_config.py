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
"""Fashion-MNIST by gradient descent, interaction terms cancelled."""

from dd_two_player_games import base_config


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 8000
  config.save_checkpoint_interval = 1000
  config.best_model_eval_metric = 'FID'
  config.best_model_eval_metric_higher_is_better = False

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'fashion_mnist_10k'
  for player in ('discriminator', 'generator'):
    experiment.optimizers[player].lr = 0.1
  experiment.losses.generator = 'generator_goodfellow_loss'
  experiment.param_transformers.discriminator = 'spectral_norm'
  experiment.training.simultaneous_updates = True
  experiment.training.batch_size = 64
  experiment.training.grad_regularizes = base_config.cancel_interaction_terms()
  experiment.eval.batch_size = 250
  experiment.eval.num_inception_images = 2000
  return config
