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
"""Update rules in the default config, Fashion-MNIST, 1,000 steps.

The config itself cancels the interaction terms of simultaneous descent.
"""

from run_sweeps import declaration

_MULTIPLIER = 'training.grad_regularizes.dd_coeffs_multiplier.*'
_PLAIN = {f'{_MULTIPLIER}.other_dot_prod': 0.0}
_IN_TURN = _PLAIN | {'training.simultaneous_updates': False}

SWEEP = declaration.Sweep(
  config='sgd_fashion_mnist',
  overrides={'training_steps': 1000},
  axes={
    'update rule': {
      'SGD, simultaneous': _PLAIN,
      'SGD, interaction terms cancelled': {},
      'SGD, cancelled, self terms strengthened': {
        f'{_MULTIPLIER}.self_norm': 1.0
      },
      'SGD, alternating': _IN_TURN,
      'Runge-Kutta 4': _IN_TURN | {'training.runge_kutta_updates': True},
      'Adam, alternating': _IN_TURN
      | {
        'optimizers.*.name': 'adam',
        'optimizers.*.lr': 1e-3,
        'optimizers.*.kwargs': {'b1': 0.5, 'b2': 0.999},
      },
    },
  },
  seeds=range(3),
  metrics=('FID', 'IS_mean'),
)
