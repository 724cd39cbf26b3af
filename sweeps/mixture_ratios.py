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
"""The generator's learning rate against the discriminator's, by turns.

The game is that of mixture_rules. The discriminator moves first, so that the
generator's interaction term changes its sign where its rate is twice as large.
"""

import dataclasses

from run_sweeps import declaration

_BASE = declaration.load_shipped('mixture_rules')
SWEEP = dataclasses.replace(
  _BASE,
  overrides={
    **_BASE.overrides,
    'training.update_rule': 'alternating',
    # From the second step on `alpha` times the rate: a factor, which an axis
    # may set apart from the rate.
    'optimizers.generator.scheduler': 'cosine_decay_schedule',
  },
  axes={
    'ratio of rates': {
      ratio: {
        'optimizers.generator.scheduler_kwargs': {
          'decay_steps': 1,
          'alpha': ratio,
        }
      }
      for ratio in (0.5, 1.0, 2.0, 4.0)
    },
    "discriminator's rate": {
      rate: {'optimizers.*.lr': rate} for rate in (0.005, 0.01, 0.02, 0.05)
    },
  },
)
