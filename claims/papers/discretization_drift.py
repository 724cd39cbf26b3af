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
"""Rosca, Wu, Dherin, Barrett, "Discretization Drift in Two-Player Games"."""

from claims import declaration
from claims import rules
from claims.measurements import drift
from claims.measurements import estimates

_PAPER = 'Discretization Drift in Two-Player Games (Rosca et al., 2021)'
_PLAIN, _CANCELLED = 'simultaneous', 'interaction terms cancelled'
_STRENGTHENED = 'and self terms strengthened'
_TURNS, _RUNGE_KUTTA = 'alternating', 'Runge-Kutta 4'
_METRIC = 'modes_covered'  # Of 16.
_LEAST = 1.0  # Mode.
_CEILING = (
  'At the smallest rate every rule covers 15 or 16 modes, with a cloud of '
  'which one sample in a hundred is of high quality: at best there is nothing '
  'left to gain.'
)

_ORDERS = declaration.Measurement(
  'one_step_errors', drift.measure_orders, ['update'], 0.5
)
_DIRAC = declaration.Measurement(
  'dirac_gan', drift.measure_dirac_gan, ['way'], 0.2
)
_SECOND = declaration.Measurement(
  'second_player', drift.measure_second_player, ['ratio'], 0.2
)
_BIAS = declaration.Measurement(
  'estimates', estimates.measure_bias, ['estimator'], 0.3
)
_VARIANCE = declaration.Measurement(
  'estimates_over_devices', estimates.measure_variance, [], 0.2
)
_MIXTURE = declaration.Sweeps({'small': declaration.File('mixture_rules', 75)})
_NON_SATURATING = declaration.Sweeps(
  {
    'small': declaration.File('mixture_non_saturating_short', 10),
    'full': declaration.File('mixture_non_saturating', 75),
  }
)
_RATIOS = declaration.Sweeps({'small': declaration.File('mixture_ratios', 50)})
_REGULARISERS = declaration.Sweeps(
  {
    'small': declaration.File('mixture_regularisers_short', 12),
    'full': declaration.File('mixture_regularisers', 90),
  }
)


def _order(update: str, metric: str, order: int) -> rules.Within:
  flow = 'modified flow' if metric == 'slope_modified' else 'flow'
  return rules.Within(
    f'{update}, order of the distance to the {flow}',
    metric,
    order - 0.1,
    order + 0.1,
    {'update': update},
  )


CLAIMS = (
  declaration.Claim(
    name='modified_flow',
    paper=_PAPER,
    statement=(
      'A step of gradient descent ends a distance of second order in the '
      'learning rate from the flow, and of third order from the modified flow.'
    ),
    source=_ORDERS,
    rules=[
      _order(update, metric, order)
      for update in (_PLAIN, _TURNS)
      for metric, order in (('slope_flow', 2), ('slope_modified', 3))
    ],
  ),
  declaration.Claim(
    name='dirac_gan',
    paper=_PAPER,
    statement=(
      'On the Dirac GAN simultaneous descent diverges, circles once its '
      'interaction terms are cancelled, and stays bounded if players alternate.'
    ),
    source=_DIRAC,
    rules=[
      rules.Within(
        'simultaneous, last distance over first',
        *('growth', 2.0),
        where={'way': _PLAIN},
      ),
      rules.Within(
        'cancelled, last distance over first',
        *('growth', 0.9, 1.1),
        where={'way': _CANCELLED},
      ),
      rules.Within(
        'alternating, largest distance over first',
        *('reach', 0.0, 1.5),
        where={'way': _TURNS},
      ),
    ],
  ),
  declaration.Claim(
    name='interaction_terms_hurt',
    paper=_PAPER,
    statement=(
      'In a zero-sum game the interaction terms of simultaneous descent make '
      'training fail.'
    ),
    source=_MIXTURE,
    rules=[rules.MoreKept(_CANCELLED, _PLAIN, _METRIC, 8, 0.1)],
  ),
  declaration.Claim(
    name='cancelling_helps',
    paper=_PAPER,
    statement=(
      'Cancelling the interaction terms of simultaneous descent improves a '
      'zero-sum GAN.'
    ),
    source=_MIXTURE,
    rules=[rules.Better(_CANCELLED, _PLAIN, _METRIC, _LEAST)],
    note=_CEILING,
  ),
  declaration.Claim(
    name='self_terms_help',
    paper=_PAPER,
    statement=(
      'Strengthening the self terms, too, improves a zero-sum GAN further.'
    ),
    source=_MIXTURE,
    rules=[rules.Better(_STRENGTHENED, _CANCELLED, _METRIC, _LEAST)],
  ),
  declaration.Claim(
    name='alternating_helps',
    paper=_PAPER,
    statement='In a zero-sum GAN alternating descent beats simultaneous.',
    source=_MIXTURE,
    rules=[rules.Better(_TURNS, _PLAIN, _METRIC, _LEAST)],
    note=_CEILING,
  ),
  declaration.Claim(
    name='second_player_sign',
    paper=_PAPER,
    statement=(
      'In its own time the interaction term of the player who moves second '
      'changes its sign where its learning rate is twice the other one.'
    ),
    source=_SECOND,
    rules=[
      rules.Within(
        'equal rates, coefficient over h / 2',
        *('coefficient', -1.1, -0.9),
        where={'ratio': '1'},
      ),
      rules.Within(
        'twice the rate',
        *('coefficient', -0.1, 0.1),
        where={'ratio': '2'},
      ),
      rules.Within(
        'four times the rate',
        *('coefficient', 0.4, 0.6),
        where={'ratio': '4'},
      ),
    ],
  ),
  declaration.Claim(
    name='ratio_matters',
    paper=_PAPER,
    statement=(
      'In a zero-sum GAN by alternating descent a generator of half the '
      "discriminator's rate does better than one of four times that rate."
    ),
    source=_RATIOS,
    rules=[rules.Better('0.5', '4.0', _METRIC, _LEAST)],
  ),
  declaration.Claim(
    name='runge_kutta_follows_flow',
    paper=_PAPER,
    statement=(
      'A step of Runge-Kutta 4 ends a distance of fifth order from the flow.'
    ),
    source=_ORDERS,
    rules=[
      rules.Within(
        'order of the distance to the flow',
        *('slope_flow', 4.8, 5.2),
        where={'update': _RUNGE_KUTTA},
      )
    ],
  ),
  declaration.Claim(
    name='runge_kutta_helps',
    paper=_PAPER,
    statement='In a zero-sum GAN Runge-Kutta 4 beats simultaneous descent.',
    source=_MIXTURE,
    rules=[rules.Better(_RUNGE_KUTTA, _PLAIN, _METRIC, _LEAST)],
    note=_CEILING,
  ),
  declaration.Claim(
    name='non_saturating',
    paper=_PAPER,
    statement=(
      'With the non-saturating loss, too, cancelling the interaction terms '
      'improves simultaneous descent.'
    ),
    source=_NON_SATURATING,
    rules=[rules.Better(_CANCELLED, _PLAIN, _METRIC, _LEAST)],
    note=(
      'The Fashion-MNIST table of [`update_rules.json`](update_rules.json) '
      '(1,000 steps) has three seeds and one learning rate: not a verdict. '
      'There cancelling was 20 points of FID behind.'
    ),
  ),
  declaration.Claim(
    name='explicit_regularisers',
    paper=_PAPER,
    statement=(
      'At equal tuning cancelling does at least as well as SGA and consensus.'
    ),
    source=_REGULARISERS,
    rules=[
      rules.Better(_CANCELLED, other, _METRIC, -_LEAST)
      for other in ('SGA', 'consensus')
    ],
    note=(
      'After 3,000 steps some 1 % of the samples are of high quality, and a '
      'mode counts as covered if one sample reaches it: what is compared is '
      'how far samples spread.'
    ),
  ),
  declaration.Claim(
    name='unbiased_estimates',
    paper=_PAPER,
    statement=(
      'A term of drift whose factors see the same minibatch is biased; from '
      'halves of it the estimate is unbiased.'
    ),
    source=_BIAS,
    rules=[
      rules.Within(
        'same minibatch, bias over the truth',
        *('bias', 0.01),
        where={'estimator': 'same minibatch'},
      ),
      rules.Within(
        'halves, bias over the truth',
        *('bias', 0.0, 1e-10),
        where={'estimator': 'halves'},
      ),
    ],
  ),
  declaration.Claim(
    name='variance_over_devices',
    paper=_PAPER,
    statement=(
      'Averaging the second factor over devices before the product lowers the '
      "estimate's variance."
    ),
    source=_VARIANCE,
    rules=[
      rules.Within(
        'four devices, variance over that without', 'variance_ratio', 0.0, 0.95
      )
    ],
  ),
)
