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
"""mu-EigenGame on the pixels of Fashion-MNIST: eigen-garments."""

from eigengame_unloaded import base_config

EXPERIMENT = 'eigengame_unloaded.experiment'


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 20_000
  config.save_checkpoint_interval = 5000
  config.best_model_eval_metric = 'subspace_distance'
  config.best_model_eval_metric_higher_is_better = False

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'fashion_mnist_10k'
  experiment.num_eigenvectors = 16
  experiment.training.batch_size = 256
  experiment.optimizer.lr = 5e-3
  experiment.optimizer.scheduler = 'cosine_decay_schedule'
  experiment.optimizer.scheduler_kwargs = {'decay_steps': None}
  return config
