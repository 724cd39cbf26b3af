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
"""RMSProp alone and with SGA on 16 Gaussians, six layers of 384 as published.

On a GPU: hours on a CPU.
"""

from run_sweeps import declaration

SWEEP = declaration.Sweep(
  config='mixture_comparison',
  overrides={'save_checkpoint_interval': 5000},
  axes={
    'method': {
      'RMSProp': {},
      'SGA': {
        'training.adjustment': 'sga',
        'training.adjustment_kwargs': {'lam': 1.0, 'align': True},
        'training.estimator_fn': 'biased_estimate_fn_shared_draws',
      },
    },
  },
  seeds=range(5),
  metrics=('modes_covered', 'high_quality_share'),
  diverged_as={'modes_covered': 0.0, 'high_quality_share': 0.0},
  map_seeds=True,
)
