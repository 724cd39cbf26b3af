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
"""Settings of an experiment that is quick to start: it needs no JAX."""

from jaxline_harness import configs
from jaxline_harness import settings
from jaxline_harness.settings import Setting

_RATE = {'lr': Setting(0.1, 'A rate.'), 'kwargs': Setting({}, 'Anything.')}

SCHEMA = configs.Schema(
  experiment={
    'random_seed': Setting(0, 'Of all.', settings.SEED),
    'rates': {'one': _RATE, 'other': _RATE},
    'name': Setting('plain', 'A name.', settings.one_of(('plain', 'fancy'))),
    'seconds_a_step': Setting(0.0, 'So long a step takes.'),
  },
  defaults={'training_steps': 6},
  metrics={'score': True, 'distance': False},
)
