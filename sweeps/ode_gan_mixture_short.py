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
"""Runge-Kutta 4 with and without a penalty: a quarter of ode_gan_mixture.

Half of its steps, two of its four rates, and the larger of its two penalties.
"""

import dataclasses

from run_sweeps import declaration

_WHOLE = declaration.load_shipped('ode_gan_mixture')
_RULES = ('simultaneous', 'Runge-Kutta 4', 'Runge-Kutta 4 with penalty, 0.02')

SWEEP = dataclasses.replace(
  _WHOLE,
  overrides={**_WHOLE.overrides, 'training_steps': 4000},
  axes={
    'rule': {rule: _WHOLE.axes['rule'][rule] for rule in _RULES},
    'learning rate': {
      rate: _WHOLE.axes['learning rate'][rate] for rate in (0.02, 0.05)
    },
  },
)
