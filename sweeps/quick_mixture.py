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
"""A sweep that takes a minute, of tiny networks: shows that all is in place."""

from run_sweeps import declaration

SWEEP = declaration.Sweep(
  config='mixture_of_gaussians',
  overrides={
    'training_steps': 60,
    'save_checkpoint_interval': 20,
    'max_chunk_steps': 10,
    'penalties.discriminator': None,
    'nets.*.depth': 1,
    'nets.*.hidden_size': 8,
    'optimizers.*.name': 'sgd',
    'optimizers.*.kwargs': {},
    'training.update_rule': 'simultaneous',
    'training.batch_size': 16,
  },
  axes={
    # At the second one players soon leave the range of numbers.
    'learning rate': {rate: {'optimizers.*.lr': rate} for rate in (0.05, 1e6)},
  },
  seeds=range(2),
  metrics=('modes_covered', 'high_quality_share'),
)
