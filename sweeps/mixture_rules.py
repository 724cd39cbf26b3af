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
"""Update rules in a zero-sum game: 16 Gaussians, gradient descent, five rates.

Networks are four layers of 64. The loss is the saturating one, so that what one
player wins the other loses.
"""

from run_sweeps import declaration

_MULTIPLIER = 'training.grad_regularizes.dd_coeffs_multiplier.*'
_SIMULTANEOUS = {'training.update_rule': 'simultaneous'}
_CANCELLED = _SIMULTANEOUS | {f'{_MULTIPLIER}.other_dot_prod': -1.0}

SWEEP = declaration.Sweep(
  config='mixture_of_gaussians',
  overrides={
    'training_steps': 8000,
    'save_checkpoint_interval': 2000,
    'losses.generator': 'generator_saturating_loss',
    'penalties.discriminator': None,
    'nets.*.hidden_size': 64,
    'optimizers.*.name': 'sgd',
    'optimizers.*.kwargs': {},
  },
  axes={
    'rule': {
      'simultaneous': _SIMULTANEOUS,
      'interaction terms cancelled': _CANCELLED,
      'and self terms strengthened': _CANCELLED
      | {f'{_MULTIPLIER}.self_norm': 1.0},
      'alternating': {'training.update_rule': 'alternating'},
      'Runge-Kutta 4': {'training.update_rule': 'runge_kutta'},
    },
    'learning rate': {
      rate: {'optimizers.*.lr': rate} for rate in (0.005, 0.01, 0.02, 0.05, 0.1)
    },
  },
  seeds=range(5),
  metrics=('modes_covered', 'high_quality_share'),
  diverged_as={'modes_covered': 0.0, 'high_quality_share': 0.0},
  map_seeds=True,
)
