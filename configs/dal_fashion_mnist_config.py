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
"""Fashion-MNIST, 1,000 images at once: gradient descent, or DAL.

The default is gradient descent, here at the edge of stability. Overrides
of `config.experiment_kwargs.config` for other cases: `dal.power=0.5`,
`training.batch_size=64`; `net.name=ConvNet` for a small CNN, best with
`eval.drift=False` and `eval.num_examples=250`, which is quicker.
"""

from principal_flow_instability_single_objective import base_config

EXPERIMENT = 'principal_flow_instability_single_objective.experiment'


def get_config():
  """Returns the config."""
  config = base_config.get_base_config()
  config.training_steps = 1000
  experiment = config.experiment_kwargs.config
  experiment.dataset = 'fashion_mnist_10k'
  experiment.num_train_examples = 1000
  experiment.num_test_examples = 2000
  experiment.net.kwargs = {'hidden_sizes': [32, 32]}
  experiment.optimizer.lr = 0.1
  experiment.eval.drift = True
  return config
