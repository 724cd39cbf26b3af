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

from typing import Any

from claims import declaration
from claims import rules
from claims.measurements import full_batch
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
  'principal_flow_network', principal_flows.measure_network, ['step'], 20
)
_EDGE = declaration.Measurement(
  'edge_of_stability', full_batch.measure_edge, ['learning rate'], 2
)
_DAL = declaration.Measurement(
  'dal_full_batch', full_batch.measure_dal, ['method'], 1
)
_CONVOLUTIONAL_DAL = declaration.Measurement(
  'dal_convolutional', full_batch.measure_convolutional_dal, ['method'], 12
)
_LARGER = (
  'A network of four times as many inputs, and minibatches, are in '
  '[`principal_flow.md`](principal_flow.md#drift-adjusted-learning-rates), '
  'with three seeds.'
)
_PILOT = (
  'Learning rates and the number of steps were chosen on seed 100, which is '
  'not among those that count. A convolutional network takes twenty times as '
  'long, and has not been run.'
)


_CONVOLUTIONAL = (
  'Two convolutions of 8 and 16 channels. Learning rates and the least '
  'difference of λ₀ were chosen on seed 100, which is not among those that '
  'count.'
)


def _dal_claims(
  suffix: str,
  network: str,
  source: declaration.Measurement,
  least_flattening: float,
  note: str,
) -> list[declaration.Claim]:
  """What is said of DAL, of one network."""
  losses: Any = {'more_is_better': False, 'diverged_as': 10.0}
  judged = {
    'dal_needs_no_sweep': (
      'DAL-1 ends within 0.05 of the training loss of the best fixed rate',
      rules.Better('DAL-1', 'fixed rate', 'train_loss', -0.05, **losses),
    ),
    'dal_smaller_power_trains_faster': (
      'A smaller power of DAL trains faster: 0.5 than 1',
      rules.Better('DAL-0.5', 'DAL-1', 'train_loss', 0.02, **losses),
    ),
    'dal_smaller_power_flattens': (
      'A smaller power of DAL ends at a smaller λ₀: 0.5 than 1',
      rules.Better(
        *('DAL-0.5', 'DAL-1', 'lambda_0', least_flattening),
        more_is_better=False,
        diverged_as=1000.0,
      ),
    ),
    'dal_smaller_power_generalises': (
      'A smaller power of DAL generalises better: 0.5 than 1',
      rules.Better('DAL-0.5', 'DAL-1', 'test_accuracy', 0.01, diverged_as=0.1),
    ),
  }
  return [
    declaration.Claim(
      name=name + suffix,
      paper=_PAPER,
      statement=f'{statement}{network}.',
      source=source,
      rules=[rule],
      note=note,
    )
    for name, (statement, rule) in judged.items()
  ]


CLAIMS = (
  declaration.Claim(
    name='principal_flow_quadratics',
    paper=_PAPER,
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
    note=(
      'Where the principal flow cannot be solved over a step, the ratio is not '
      'a number and its reading undecided: so at step 0 of seed 2, which '
      'begins at hλ₀ = 2.5.'
    ),
  ),
  declaration.Claim(
    name='edge_of_stability',
    paper=_PAPER,
    statement='Full-batch descent raises λ₀ to 2/h, where it then stays.',
    source=_EDGE,
    rules=[
      rule
      for rate in full_batch.EDGE_RATES
      for rule in (
        rules.Within(
          f'h = {rate:g}, hλ₀ at the start',
          *('at_the_start', 0.0, 1.9),
          where={'learning rate': f'{rate:g}'},
        ),
        rules.Within(
          f'h = {rate:g}, median of hλ₀ once it has been above 2',
          *('from_the_edge_on', 1.8, 2.2),
          where={'learning rate': f'{rate:g}'},
        ),
      )
    ],
    note=_PILOT,
  ),
  declaration.Claim(
    name='unstable_above_the_edge',
    paper=_PAPER,
    statement='Where hλ₀ > 2 the loss becomes unstable.',
    source=_EDGE,
    rules=[
      rules.Within(
        f'h = {rate:g}, share of steps that raise the loss, above 2/h less '
        'below',
        *('rises_more_often', 0.1),
        where={'learning rate': f'{rate:g}'},
      )
      for rate in full_batch.EDGE_RATES
    ],
    note=_PILOT,
  ),
  *_dal_claims('', '', _DAL, 5.0, _LARGER),
  *_dal_claims(
    '_convolutional',
    ', on a convolutional network',
    *(_CONVOLUTIONAL_DAL, 0.3, _CONVOLUTIONAL),
  ),
)
