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
"""Rosca, Wu, Qin, Dherin, "On a continuous time model of gradient descent"."""

from claims import declaration
from claims import rules
from claims.measurements import principal_flows

_PAPER = (
  'On a Continuous Time Model of Gradient Descent Dynamics and Instability in '
  'Deep Learning (Rosca et al., 2023)'
)
_QUADRATICS = declaration.Measurement(
  'principal_flow_quadratics',
  principal_flows.measure_quadratics,
  ['flow'],
  1,
)
_NETWORK = declaration.Measurement(
  'principal_flow_network', principal_flows.measure_network, ['step'], 4
)

CLAIMS = (
  declaration.Claim(
    name='principal_flow_quadratics',
    paper=_PAPER,
    section='section 3',
    statement=(
      'On quadratics the principal flow is where gradient descent is, also '
      'where that oscillates or diverges; the gradient flow and the IGR flow '
      'are not.'
    ),
    source=_QUADRATICS,
    rules=[
      rules.Within(
        'principal flow, largest distance over the extent',
        *('distance', 0.0, 1e-6),
        where={'flow': 'principal flow'},
      ),
      *(
        rules.Within(
          f'{flow}, the same', *('distance', 0.1), where={'flow': flow}
        )
        for flow in ('gradient flow', 'IGR flow')
      ),
    ],
  ),
  declaration.Claim(
    name='principal_flow_networks',
    paper=_PAPER,
    section='section 4',
    statement=(
      "A network's step of gradient descent ends nearer to the principal flow "
      'than to the gradient flow and the IGR flow, below hλ₀ = 2 and above.'
    ),
    source=_NETWORK,
    rules=[
      rules.Within(
        f'step {step}, times nearer than to the {flow} flow',
        *(f'times_nearer_than_{flow}_flow'.lower(), 1.2),
        where={'step': step},
      )
      for step in ('0', '60', '240')
      for flow in ('gradient', 'IGR')
    ],
  ),
)
