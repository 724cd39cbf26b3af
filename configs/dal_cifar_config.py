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
"""CIFAR-10, a network like VGG-11: DAL-0.5 on batches of 128."""

from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import nets

EXPERIMENT = 'principal_flow_instability_single_objective.experiment'


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 20_000
  config.log_train_data_interval = 100
  config.log_tensors_interval = 100
  config.save_checkpoint_interval = 1000
  experiment = config.experiment_kwargs.config
  experiment.dataset = 'cifar10'
  experiment.num_test_examples = None  # CIFAR-10 has a test split.
  experiment.net.name = 'ConvNet'
  experiment.net.kwargs = {
    'layers': [
      *(64, nets.POOL, 128, nets.POOL, 256, 256, nets.POOL),
      *(512, 512, nets.POOL, 512, 512, nets.POOL),
    ],
    'activation': 'relu',
  }
  experiment.dal.power = 0.5
  experiment.training.batch_size = 128
  experiment.training.microbatch_size = 128
  experiment.eval.interval = 1000
  return config
