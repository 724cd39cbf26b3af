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
"""MNIST by simultaneous gradient descent."""

from dd_two_player_games import base_config


def get_config():
  """Returns the config, with the published settings."""
  config = base_config.get_base_config()
  config.training_steps = 100_000

  experiment = config.experiment_kwargs.config
  experiment.dataset = 'mnist'
  experiment.nets.discriminator = 'MnistDiscriminator'
  experiment.nets.generator = 'MnistGenerator'
  experiment.training.simultaneous_updates = True
  experiment.training.estimator_fn = 'biased_estimate_grad_fn'
  experiment.training.batch_size = 64
  experiment.eval.run_image_metrics = False
  return config
