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
"""What each field of an experiment may hold, but for a few that are pairs."""

from collections.abc import Iterator
import inspect
import itertools
import math
from types import ModuleType
from typing import Any

import haiku as hk

from dd_two_player_games import adjusted_grads
from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import losses
from dd_two_player_games import nets
from differentiable_games import updates
from jaxline_harness import argument_checks
from jaxline_harness import fields
from jaxline_harness import optimizers

ESTIMATORS = (
  'biased_estimate_grad_fn',
  'biased_estimate_multiple_devices_grad_fn',
  'unbiased_estimate_fn_different_device_results',
  'unbiased_estimate_fn_lowest_variance',
  'unbiased_estimate_fn_shared_draws',
)
# By how many gradients of both players a step hands to their optimisers.
UPDATE_RULES = {
  'simultaneous': 1,
  'alternating': 1,
  'runge_kutta': 1,
  'extragradient': 2,
  'extrapolation_from_the_past': 1,
}
CLASSIFIERS = ('auto', 'inception', 'fashion_mnist')
PLAYERS = ('discriminator', 'generator')
# Where the arguments of each player's network lie.
KWARGS = {'discriminator': 'disc_kwargs', 'generator': 'gen_kwargs'}
NET_ARGUMENTS = {'depth': fields.whole(0, 100)}
ADJUSTMENT_ARGUMENTS = {
  'gamma': argument_checks.REAL,
  'lam': argument_checks.REAL,
  'leader': fields.whole(0, 1),
  # GMRES keeps a vector of all parameters an iteration.
  'max_iterations': fields.whole(1, 1000),
  'tolerance': fields.real(above=0, below=1),
}
# Modules of nets.py that are no player.
_OTHER_MODULES = ('NoOpTree', 'Conv2D', 'Conv2DTranspose')
# Updates of a turn are compiled one after the other.
_MAX_UPDATES = 1000


def _instances(module: ModuleType, kind: type) -> list[str]:
  return [n for n, v in vars(module).items() if isinstance(v, kind)]


def _functions(module: ModuleType, part: str = '') -> list[str]:
  """A module's functions whose names have a part."""
  return [
    name
    for name, value in vars(module).items()
    if inspect.isfunction(value) and part in name
  ]


def _are_periods(value: Any) -> bool:
  """Each of a list's numbers is a multiple of the one before."""
  number = fields.whole(1, fields.MAX_INT32)
  return (
    isinstance(value, list | tuple)
    and all(map(number.accepts, value))
    and all(b % a == 0 and b > a for a, b in itertools.pairwise(value))
  )


def _networks() -> list[str]:
  return [
    name
    for name, value in vars(nets).items()
    if inspect.isclass(value)
    and issubclass(value, hk.Module)
    and name not in _OTHER_MODULES
  ]


def _is_tableau(value: Any) -> bool:
  numbers = fields.list_of(argument_checks.REAL)
  return (
    isinstance(value, list | tuple)
    and len(value) == 2
    and numbers.accepts(value[0])
    and fields.list_of(numbers).accepts(value[1])
    and math.isclose(sum(value[0]), 1, rel_tol=1e-6)
    and list(map(len, value[1])) == list(range(1, len(value[0])))
  )


def _fields() -> Iterator[tuple[str, fields.Field]]:
  """What every field of the experiment may hold, by its dotted name."""
  yield from {
    'random_seed': fields.SEED,
    'dataset': fields.text(empty=False),
    'data_dir': fields.text(),
    'data_processor': fields.one_of(
      _instances(data_utils, data_utils.DataProcessor)
    ),
    'param_transformers.discriminator': fields.one_of(
      ('spectral_norm', 'no_op')
    ).or_none(),
    'training.simultaneous_updates': fields.flag(),
    'training.runge_kutta_updates': fields.flag(),
    'training.update_rule': fields.one_of(UPDATE_RULES).or_none(),
    'training.lookahead_periods': fields.Field(
      'a list of whole numbers, each a multiple of the one before',
      _are_periods,
    ),
    'training.lookahead_step_size': fields.real(above=0, most=1),
    'training.adjustment': fields.one_of(adjusted_grads.ADJUSTMENTS),
    'training.adjustment_kwargs': fields.mapping(),
    'training.unrolled_steps': fields.whole(0, _MAX_UPDATES),
    'training.latent_optimisation.alpha': argument_checks.NOT_NEGATIVE,
    'training.latent_optimisation.beta': argument_checks.POSITIVE.or_none(),
    'training.runge_kutta_order': fields.Field(
      f'one of {", ".join(map(str, updates.RUNGE_KUTTA))}',
      lambda order: (
        fields.whole(0).accepts(order) and order in updates.RUNGE_KUTTA
      ),
    ),
    'training.runge_kutta_tableau': fields.Field(
      '[weights, rows], weights that sum to 1, and a row for each stage but '
      'the first with as many coefficients as there are stages before it',
      _is_tableau,
    ).or_none(),
    'training.alternating_player_order': fields.one_of(
      drift_utils.PlayerOrder.__members__
    ),
    'training.estimator_fn': fields.one_of(ESTIMATORS),
    'training.batch_size': argument_checks.SIZE,
    'training.num_disc_updates': fields.whole(1, _MAX_UPDATES),
    'training.num_gen_updates': fields.whole(1, _MAX_UPDATES),
    'training.num_latents': argument_checks.SIZE,
    'training.compute_dtype': fields.one_of(('float32', 'bfloat16')),
    'training.on_nonfinite': fields.one_of(('stop', 'back_off')),
    'training.back_off_factor': fields.real(above=0, below=1),
    'training.back_off_times': fields.whole(1, _MAX_UPDATES),
    'training.drift_convention': fields.one_of(('published', 'joint_flow')),
    'training.rk_disc_regularizer_weight_coeff': argument_checks.REAL,
    'eval.run_image_metrics': fields.flag(),
    'eval.classifier': fields.one_of(CLASSIFIERS),
    'eval.inception_path': fields.text(),
    'eval.batch_size': argument_checks.SIZE,
    'eval.num_eval_splits': argument_checks.SIZE,
    'eval.num_inception_images': fields.whole(2, argument_checks.MAX_SIZE),
  }.items()
  schedules = fields.one_of(optimizers.SCHEDULES)
  names = fields.one_of(optimizers.OPTIMIZERS)
  for player in PLAYERS:
    yield f'optimizers.{player}.name', names
    yield f'optimizers.{player}.lr', argument_checks.POSITIVE
    yield f'optimizers.{player}.clip', argument_checks.POSITIVE.or_none()
    yield f'optimizers.{player}.kwargs', fields.mapping().or_none()
    yield f'optimizers.{player}.scheduler', schedules.or_none()
    yield f'optimizers.{player}.scheduler_kwargs', fields.mapping().or_none()
    yield f'nets.{player}', fields.one_of(_networks())
    yield f'nets.{KWARGS[player]}', fields.mapping()
    yield f'losses.{player}', fields.one_of(_functions(losses, player))
  for kind in base_config.COEFFICIENTS:
    for player in ('disc', 'gen'):
      for term in base_config.TERMS:
        name = f'training.grad_regularizes.{kind}.{player}.{term}'
        yield name, argument_checks.REAL


FIELDS = dict(_fields())
PENALTY = fields.one_of(_functions(losses, 'penalty_loss'))
