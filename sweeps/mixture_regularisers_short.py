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
"""Cancelled drift beside SGA and consensus: less of mixture_regularisers.

3,000 steps, two of three coefficients of each method, and two of three rates.
"""

import dataclasses

from run_sweeps import declaration

_WHOLE = declaration.load_shipped('mixture_regularisers')
_METHODS = (
  'interaction terms cancelled, 0.5',
  'interaction terms cancelled, 1',
  'SGA, 0.1',
  'SGA, 1',
  'consensus, 0.1',
  'consensus, 1',
)

SWEEP = dataclasses.replace(
  _WHOLE,
  overrides={**_WHOLE.overrides, 'training_steps': 3000},
  axes={
    'method': {name: _WHOLE.axes['method'][name] for name in _METHODS},
    'learning rate': {
      rate: _WHOLE.axes['learning rate'][rate] for rate in (0.02, 0.05)
    },
  },
)
