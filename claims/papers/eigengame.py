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
"""Gemp et al., "EigenGame Unloaded"."""

from claims import declaration
from claims import rules
from claims.measurements import eigenvectors

_PAPER = 'EigenGame Unloaded (Gemp et al., 2022)'
_BIAS = declaration.Measurement(
  'eigengame_bias', eigenvectors.measure_bias, ['method'], 0.2
)
_GRIDS = declaration.Measurement(
  'eigengame_grids', eigenvectors.measure_grids, ['grid'], 0.2
)

CLAIMS = (
  declaration.Claim(
    name='mu_is_unbiased',
    paper=_PAPER,
    statement=(
      'Directions of μ-EigenGame from minibatches are unbiased, those of '
      'α-EigenGame biased.'
    ),
    source=_BIAS,
    rules=[
      rules.Within(
        'μ, bias over the truth',
        *('bias', 0.0, 1e-10),
        where={'method': 'mu_eigengame'},
      ),
      rules.Within(
        'α, bias over the truth',
        *('bias', 0.01),
        where={'method': 'alpha_eigengame'},
      ),
    ],
  ),
  declaration.Claim(
    name='grids_agree',
    paper=_PAPER,
    statement=(
      'Spread over devices by players, by data or by both, μ-EigenGame '
      'computes what one device does.'
    ),
    source=_GRIDS,
    rules=[
      rules.Within(
        f'{grid} devices, largest difference after 200 steps',
        *('difference', 0.0, 1e-10),
        where={'grid': grid},
      )
      for grid in ('1 × 4', '2 × 2', '4 × 1')
    ],
  ),
)
