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
"""mu-EigenGame on a Gaussian whose eigenvectors are known."""

from eigengame_unloaded import base_config

EXPERIMENT = 'eigengame_unloaded.experiment'


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 5000
  config.save_checkpoint_interval = 1000
  config.best_model_eval_metric = 'subspace_distance'
  config.best_model_eval_metric_higher_is_better = False

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'synthetic'
  experiment.num_eigenvectors = 10
  experiment.training.batch_size = 1000
  experiment.optimizer.lr = 0.02
  experiment.optimizer.scheduler = 'cosine_decay_schedule'
  experiment.optimizer.scheduler_kwargs = {'decay_steps': None}
  return config
