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
"""16 Gaussians in the plane, as ways to play are compared on them.

Deep MLPs that play at once, the non-saturating loss, no penalty: RMSProp
leaves Gaussians out. figures/mixture.py has the other methods as overrides.
"""

from dd_two_player_games import base_config


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 10_000
  config.save_checkpoint_interval = 2000
  config.best_model_eval_metric = 'high_quality_share'

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'mixture_of_gaussians'
  experiment.data_processor = 'PointProcessor'
  mlp = {'depth': 6, 'hidden_size': 384}
  experiment.nets.discriminator = 'SimpleMLP'
  experiment.nets.disc_kwargs = {**mlp, 'out_dim': 1}
  experiment.nets.generator = 'SimpleMLP'
  experiment.nets.gen_kwargs = {**mlp, 'out_dim': 2}
  experiment.param_transformers.discriminator = None
  experiment.losses.generator = 'generator_goodfellow_loss'
  for player in ('discriminator', 'generator'):
    optimizer = experiment.optimizers[player]
    optimizer.name = 'rmsprop'
    optimizer.lr = 1e-4
  experiment.training.simultaneous_updates = True
  experiment.training.batch_size = 256
  experiment.training.num_latents = 64
  return config
