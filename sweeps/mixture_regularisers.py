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
"""Cancelled drift against SGA and consensus as explicit regularisers.

The game is that of mixture_rules, by simultaneous descent. Each method has
three coefficients at three learning rates.
"""

import dataclasses

from run_sweeps import declaration

_TRAINING = 'training.grad_regularizes'
_CANCELLED = f'{_TRAINING}.dd_coeffs_multiplier.*.other_dot_prod'
_EXPLICIT = f'{_TRAINING}.explicit_non_dd_coeffs.*'
_PLAIN = {'training.update_rule': 'simultaneous'}

SWEEP = dataclasses.replace(
  declaration.load_shipped('mixture_rules'),
  axes={
    'method': {
      **{
        f'interaction terms cancelled, {share:g}': {
          **_PLAIN,
          _CANCELLED: -share,
        }
        for share in (0.5, 1.0, 1.5)
      },
      # Of A and J transposed, of a zero-sum game.
      **{
        f'SGA, {lam:g}': {
          **_PLAIN,
          f'{_EXPLICIT}.other_dot_prod': -lam / 2,
          f'{_EXPLICIT}.other_norm': lam / 2,
        }
        for lam in (0.01, 0.1, 1.0)
      },
      **{
        f'consensus, {gamma:g}': {
          **_PLAIN,
          f'{_EXPLICIT}.self_norm': gamma,
          f'{_EXPLICIT}.other_norm': gamma,
        }
        for gamma in (0.01, 0.1, 1.0)
      },
    },
    'learning rate': {
      rate: {'optimizers.*.lr': rate} for rate in (0.01, 0.02, 0.05)
    },
  },
)
