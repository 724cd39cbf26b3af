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
"""The parts of a GAN that a config names: ours, or a user's.

Each kind says what ours are, and what another object must be to take the place
of one. docs/extending.md describes that for users.
"""

from collections.abc import Callable, Sequence
import functools
import inspect
from types import ModuleType
from typing import Any, NamedTuple

import haiku as hk
import jax.numpy as jnp

from dd_two_player_games import data_utils
from dd_two_player_games import foreign_networks
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import penalties
from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import solved_adjustments
from jaxline_harness import outside
from jaxline_harness import settings


class Adjustment(NamedTuple):
  """An adjustment of the simultaneous gradient.

  Attributes:
    function: maps two losses and a GANTuple of parameters to a direction.
    takes_rates: whether the players' learning rates are its third argument.
    solves: whether it gives a `solved_adjustments.Solved`.
    begin: maps parameters to its argument `memory` at the first step; None if
      it has no such argument.
    sets_rates: whether it gives each parameter a learning rate of its own.
    matrices: those of a first-order method, from the number of players and
      the function's other arguments.
    on_one_draw: whether both players' losses are those of one draw; else it is
      a first-order method, estimated as `training.estimator_fn` says.
  """

  function: Callable[..., Any]
  takes_rates: bool
  solves: bool = False
  begin: Callable[[Any], Any] | None = None
  sets_rates: bool = False
  matrices: Callable[..., Any] | None = None
  on_one_draw: bool = True


def _members(
  module: ModuleType, are: Callable[[str, Any], bool]
) -> dict[str, Any]:
  return {
    name: value for name, value in vars(module).items() if are(name, value)
  }


def _functions_of_losses(part: str) -> dict[str, Any]:
  return _members(
    losses, lambda name, value: inspect.isfunction(value) and part in name
  )


def _check_call(found: Any, what: str, arguments: Sequence[str]) -> None:
  """Raises TypeError unless it can be called with so many arguments."""
  wanted = f'{what} is a function of ({", ".join(arguments)})'
  if not callable(found):
    raise TypeError(f'{wanted}, and this is {settings.show(found)}')
  signature = inspect.signature(found)
  try:
    signature.bind(*arguments)
  except TypeError as error:
    raise TypeError(f'{wanted}, and this one of {signature}') from error


# Networks.


def _adapt_network(found: Any) -> Any:
  if inspect.isclass(found) and issubclass(found, hk.Module):
    return found
  return foreign_networks.ForeignNetwork(found)


NETWORKS = outside.Kind(
  _members(
    nets,
    lambda name, value: (
      inspect.isclass(value)
      and issubclass(value, hk.Module)
      and name != 'NoOpTree'
    ),
  ),
  _adapt_network,
)


# Losses and penalties.


def _adapt_loss(found: Any) -> losses.Loss:
  arguments = ['real_outputs', 'sample_outputs']
  if callable(found) and losses.traits_of(found).takes_key:
    arguments.append('rng')
  _check_call(found, 'a loss', arguments)
  return _wrap_loss(found)


@functools.cache  # Which losses cancel is told by which they are.
def _wrap_loss(found: Callable[..., Any]) -> losses.Loss:

  @functools.wraps(found)
  def loss(*args):
    result = found(*args)
    if not isinstance(result, losses.LossOutput):
      result = losses.LossOutput(jnp.asarray(result), {})
    return result._replace(total=_check_scalar(found, result.total))

  traits = vars(losses.traits_of(found))
  other = traits['zero_sum_with']
  if other and other not in DISC_LOSSES.inside.values():
    other = _wrap_loss(other)
  return losses.declare(**traits | {'zero_sum_with': other})(loss)


def _adapt_penalty(found: Any) -> Callable[..., Any]:
  _check_call(found, 'a penalty', ('disc_apply', 'rng', 'real', 'samples'))

  @functools.wraps(found)
  def penalty(*args):
    return _check_scalar(found, jnp.asarray(found(*args)))

  return penalty


def _check_scalar(function: Any, value: Any) -> Any:
  if jnp.shape(value):
    name = getattr(function, '__name__', type(function).__name__)
    raise TypeError(f'{name} gives shape {jnp.shape(value)}, not one number')
  return value


DISC_LOSSES = outside.Kind(_functions_of_losses('discriminator'), _adapt_loss)
GEN_LOSSES = outside.Kind(_functions_of_losses('generator'), _adapt_loss)
PENALTIES = outside.Kind(
  _members(
    penalties,
    lambda name, value: inspect.isfunction(value) and 'penalty' in name,
  ),
  _adapt_penalty,
)


# Adjustments and update rules.


def _adapt_adjustment(found: Any) -> Adjustment:
  names = list(inspect.signature(found).parameters) if callable(found) else []
  if len(names) < 2:
    raise TypeError(
      'an adjustment is a function of (losses, params) or of (losses, params, '
      f'learning_rates), and this is {settings.show(found)}'
    )
  return Adjustment(found, takes_rates=names[2:3] == ['learning_rates'])


def _adapt_rule(found: Any) -> Callable[..., rules.UpdateRule]:
  _check_call(found, 'an update rule', ('optimizers', 'share_draws'))

  @functools.wraps(found)
  def make_rule(*args):
    rule = found(*args)
    if not isinstance(rule, rules.UpdateRule):
      raise TypeError(
        'an update rule is made as a rules.UpdateRule, and this is '
        f'{settings.show(rule)}'
      )
    return rule

  return make_rule


ADJUSTMENTS = outside.Kind(
  {
    'none': Adjustment(
      game.simultaneous_gradient, takes_rates=False, on_one_draw=False
    ),
    'sga': Adjustment(
      adjustments.symplectic_gradient,
      takes_rates=False,
      matrices=adjustments.symplectic_matrices,
      on_one_draw=False,
    ),
    'consensus': Adjustment(
      adjustments.consensus,
      takes_rates=False,
      matrices=adjustments.consensus_matrices,
      on_one_draw=False,
    ),
    'lola': Adjustment(adjustments.lola, takes_rates=True),
    'competitive': Adjustment(
      solved_adjustments.solve_competitive,
      takes_rates=True,
      solves=True,
      begin=solved_adjustments.no_directions,
    ),
    'adaptive_competitive': Adjustment(
      solved_adjustments.solve_adaptive_competitive,
      takes_rates=True,
      solves=True,
      begin=solved_adjustments.no_moments,
      sets_rates=True,
    ),
    'follow_the_ridge': Adjustment(
      solved_adjustments.solve_ridge, takes_rates=True, solves=True
    ),
  },
  _adapt_adjustment,
)
# Alternating and Runge-Kutta are made with more than that.
UPDATE_RULES = outside.Kind(
  {
    name: getattr(rules, name)
    for name in (
      'simultaneous',
      'alternating',
      'runge_kutta',
      'extragradient',
      'extrapolation_from_the_past',
    )
  },
  _adapt_rule,
)


# Data processors.


def _adapt_processor(found: Any) -> Any:
  for name in data_utils.DataProcessor._fields:
    if not callable(getattr(found, name, None)):
      raise TypeError(
        'a data processor has functions preprocess and postprocess, as '
        f'data_utils.DataProcessor, and this is {settings.show(found)}'
      )
  return found


PROCESSORS = outside.Kind(
  _members(data_utils, lambda _, v: isinstance(v, data_utils.DataProcessor)),
  _adapt_processor,
)
