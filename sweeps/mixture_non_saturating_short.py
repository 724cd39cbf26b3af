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
"""Simultaneous descent with and without its interaction terms, non-saturating.

Half of mixture_non_saturating's steps, and the two rules that a claim
compares.
"""

import dataclasses

from run_sweeps import declaration

_WHOLE = declaration.load_shipped('mixture_non_saturating')

SWEEP = dataclasses.replace(
  _WHOLE,
  overrides={**_WHOLE.overrides, 'training_steps': 4000},
  axes={
    'rule': {
      rule: _WHOLE.axes['rule'][rule]
      for rule in ('simultaneous', 'interaction terms cancelled')
    },
    'learning rate': _WHOLE.axes['learning rate'],
  },
)
