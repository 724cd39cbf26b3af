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
"""Ways to play on the mixture of 16 Gaussians, each tuned by as many runs.

A method is tuned over both players' learning rates, each on its own, and over
its coefficients; then five other seeds run at its best draw. Networks are four
layers of 64. Competitive descent, whose step costs a hundred others, has the
same budget in `fair_mixture_competitive`.
"""

from run_sweeps import declaration
from run_sweeps import random_search

_GRADIENT_DESCENT = (0.002, 0.2)
_ADAPTIVE = (1e-5, 1e-2)
_CANCEL = 'training.grad_regularizes.dd_coeffs_multiplier.*.other_dot_prod'
# SGA and consensus of one draw of both players, as in their sources.
_WHOLE_DRAW = {'training.estimator_fn': 'biased_estimate_fn_shared_draws'}


def _play(optimizer, rates, kwargs=None, **more):
  """A method: an optimiser, its rates and arguments, and other settings."""
  return {
    'optimizers.*.name': optimizer,
    'optimizers.*.kwargs': kwargs or {},
    # A draw for each player: names differ.
    **{
      f'optimizers.{player}.lr': random_search.log_uniform(*rates)
      for player in ('discriminator', 'generator')
    },
    **{name.replace('__', '.'): value for name, value in more.items()},
  }


def _descend(**more):
  return _play('sgd', _GRADIENT_DESCENT, **more)


def _follow_rmsprop(**more):
  decay = {'decay': random_search.uniform(0.5, 0.99)}
  return _play('rmsprop', _ADAPTIVE, decay, **more)


def _follow_adam(optimizer='adam', **more):
  momenta = {'b1': random_search.uniform(0.0, 0.9), 'b2': 0.999}
  return _play(optimizer, _ADAPTIVE, momenta, **more)


def _score(metrics):
  """Alone neither would do: a cloud of samples reaches all modes."""
  return metrics['modes_covered'] * metrics['high_quality_share']


SWEEP = declaration.Sweep(
  config='mixture_comparison',
  overrides={
    'training_steps': 4000,
    'nets.*.depth': 4,
    'nets.*.hidden_size': 64,
    'training.batch_size': 64,
  },
  axes={
    'method': {
      'SGD': _descend(),
      'SGD, drift cancelled': _descend() | {_CANCEL: -1.0},
      'AdaGrad': _play('adagrad', _GRADIENT_DESCENT),
      'RMSProp': _follow_rmsprop(),
      'RMSProp, SGA': _follow_rmsprop(
        training__adjustment='sga',
        training__adjustment_kwargs__lam=random_search.log_uniform(0.1, 10),
        training__adjustment_kwargs__align=True,
      )
      | _WHOLE_DRAW,
      'RMSProp, consensus': _follow_rmsprop(
        training__adjustment='consensus',
        training__adjustment_kwargs__gamma=random_search.log_uniform(0.1, 100),
      )
      | _WHOLE_DRAW,
      'RMSProp, lookahead': _follow_rmsprop(
        training__lookahead_periods=[5],
        training__lookahead_step_size=random_search.uniform(0.2, 0.9),
      ),
      'RMSProp, LOGAN': _follow_rmsprop(
        training__latent_optimisation__alpha=random_search.uniform(0.1, 1),
        training__latent_optimisation__beta=random_search.log_uniform(0.01, 10),
      ),
      'Adam': _follow_adam(),
      'Adam, optimistic': _follow_adam('optimistic_adam_v2')
      | {'optimizers.*.kwargs.nesterov': False},
      'Adam, extragradient': _follow_adam(
        training__simultaneous_updates=False,
        training__update_rule='extragradient',
      ),
    },
  },
  seeds=[0],
  metrics=('modes_covered', 'high_quality_share'),
  diverged_as={'modes_covered': 0.0, 'high_quality_share': 0.0},
  map_seeds=True,
  search=random_search.Search(runs=20, final_seeds=range(1, 6), best_by=_score),
)
