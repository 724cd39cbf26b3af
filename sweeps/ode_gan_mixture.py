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
"""Runge-Kutta 4 with ODE-GAN's regulariser on 16 Gaussians, four rates.

The game is that of mixture_rules. The discriminator is given the gradient of
half the squared norm of the generator's gradient.
"""

import dataclasses

from run_sweeps import declaration

_BASE = declaration.load_shipped('mixture_rules')
_RULES = _BASE.axes['rule']
_PENALTY = 'training.grad_regularizes.explicit_non_dd_coeffs.disc.other_norm'

SWEEP = dataclasses.replace(
  _BASE,
  axes={
    'rule': {
      'simultaneous': _RULES['simultaneous'],
      'Runge-Kutta 4': _RULES['Runge-Kutta 4'],
      **{
        f'Runge-Kutta 4 with penalty, {weight:g}': {
          **_RULES['Runge-Kutta 4'],
          _PENALTY: weight,
        }
        for weight in (0.002, 0.02)
      },
    },
    'learning rate': {
      rate: {'optimizers.*.lr': rate} for rate in (0.01, 0.02, 0.05, 0.1)
    },
  },
)
