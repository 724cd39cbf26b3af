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
"""Fashion-MNIST class by class, by Adam, with an average of the generator."""

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
  experiment.training.conditional = True
  experiment.nets.disc_kwargs = {'channels': (32, 64)}
  experiment.nets.gen_kwargs = {'channels': (64, 32)}
  experiment.losses.generator = 'generator_goodfellow_loss'
  experiment.param_transformers.discriminator = 'spectral_norm'
  for player in ('discriminator', 'generator'):
    optimizer = experiment.optimizers[player]
    optimizer.name = 'adam'
    optimizer.lr = 2e-3
    optimizer.kwargs = {'b1': 0.5, 'b2': 0.999}
    optimizer.scheduler = 'cosine_decay_schedule'
    optimizer.scheduler_kwargs = {'decay_steps': config.training_steps}
  experiment.training.simultaneous_updates = True
  # Both players take the same draw.
  experiment.training.estimator_fn = 'unbiased_estimate_fn_shared_draws'
  experiment.training.batch_size = 32
  experiment.training.generator_average = 0.999
  experiment.eval.batch_size = 250
  experiment.eval.num_inception_images = 2000
  return config
