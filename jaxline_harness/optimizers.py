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
"""Optimisers and learning rate schedules by name, as configs have them.

Settings are `name`, `lr`, `clip`, `kwargs`, `scheduler` and
`scheduler_kwargs`. To check them no device is needed, nor awoken.
"""

from collections.abc import Callable, Iterable, Mapping
import inspect
from typing import Any

import jax
from ml_collections import config_dict
import optax

from jaxline_harness import argument_checks
from jaxline_harness import errors


def _functions_of(argument: str) -> Iterable[str]:
  """Optax's functions with this first argument."""
  return (
    name
    for name, value in vars(optax).items()
    if inspect.isfunction(value)
    and next(iter(inspect.signature(value).parameters), '') == argument
  )


# `momentum`, and those of optax that take a learning rate and gradients alone.
OPTIMIZERS = (
  'momentum',
  *(
    name
    for name in _functions_of('learning_rate')
    if not name.startswith(('scale_by_', '_')) and name != 'lbfgs'
  ),
)
SCHEDULES = tuple(_functions_of('init_value'))


def make_optimizer(
  name: str,
  lr: float,
  clip: float | None = None,
  kwargs: Mapping[str, Any] | None = None,
  scheduler: str | None = None,
  scheduler_kwargs: Mapping[str, Any] | None = None,
  updates_a_turn: int = 1,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """An optimiser, and its learning rate as a function of its player's turns.

  Args:
    name: `momentum` (a trace of gradients, then the learning rate) or any
      optax alias.
    lr: learning rate, or the schedule's first value.
    clip: bound on the size of each element of an update, None for no bound.
    kwargs: further arguments of the optimiser.
    scheduler: name of an optax schedule that takes `init_value`, None for a
      constant rate.
    scheduler_kwargs: its further arguments.
    updates_a_turn: of the optimiser, all of them at one learning rate.

  Returns:
    An optax optimiser and an optax schedule.
  """
  schedule = make_schedule(lr, scheduler, scheduler_kwargs or {})
  # A constant stays a number: no step count is kept for it.
  rate: float | optax.Schedule = lr
  if scheduler:
    rate = lambda count: schedule(count // updates_a_turn)
  kwargs = dict(kwargs or {})
  if name == 'sgd' and kwargs.get('momentum') == 0:
    del kwargs['momentum']  # Else optax would keep a trace of no effect.
  optimizer = _function(name)(rate, **kwargs)
  if clip:
    optimizer = optax.chain(optimizer, optax.clip(clip))
  return optimizer, schedule


def momentum(
  learning_rate: float | optax.Schedule, momentum: float, nesterov: bool = False
) -> optax.GradientTransformation:
  """A trace of gradients, then the learning rate."""
  return optax.chain(
    optax.trace(momentum, nesterov), optax.scale_by_learning_rate(learning_rate)
  )


def _function(name: str) -> Callable[..., optax.GradientTransformation]:
  return momentum if name == 'momentum' else getattr(optax, name)


def make_schedule(
  lr: float, scheduler: str | None, kwargs: Mapping[str, Any]
) -> optax.Schedule:
  """An optax schedule by name, a constant one for None."""
  if not scheduler:
    return optax.constant_schedule(lr)
  kwargs = dict(kwargs)
  if 'boundaries_and_scales' in kwargs:
    # Configs may hold the boundaries as strings.
    kwargs['boundaries_and_scales'] = {
      int(step): scale
      for step, scale in dict(kwargs['boundaries_and_scales']).items()
    }
  return getattr(optax, scheduler)(init_value=lr, **kwargs)


# Checks.


def check(path: str, settings: config_dict.ConfigDict) -> None:
  """Checks arguments by name, type and range, and tries the optimiser.

  Args:
    path: the field that holds the settings.
    settings: of the optimiser, `name` and `scheduler` known to be right.

  Raises:
    UserError: for the first thing that is wrong.
  """
  kwargs = settings.kwargs.to_dict() if settings.kwargs else {}
  function = _function(settings.name)
  argument_checks.check(
    f'{path}.kwargs', function, kwargs, given=['learning_rate']
  )
  trace = inspect.signature(function).parameters.get('momentum')
  if trace and kwargs.get('nesterov'):
    if not kwargs.get('momentum', trace.default):
      raise errors.UserError(
        f'{path}.kwargs.nesterov has no effect without momentum'
      )
  check_schedule(path, settings)

  def use(params):
    optimizer, _ = make_optimizer(**settings)
    return optimizer.update(params, optimizer.init(params), params)

  try_out(path, use, {'w': jax.ShapeDtypeStruct((2, 2), 'float32')})


def check_schedule(path: str, settings: config_dict.ConfigDict) -> None:
  """Checks a schedule's arguments by name, type and range.

  Args:
    path: the field that holds the settings.
    settings: `scheduler`, known to be right, and `scheduler_kwargs`.

  Raises:
    UserError: for the first thing that is wrong.
  """
  if settings.scheduler:
    argument_checks.check(
      f'{path}.scheduler_kwargs',
      getattr(optax, settings.scheduler),
      settings.scheduler_kwargs.to_dict() if settings.scheduler_kwargs else {},
      given=['init_value'],
    )
  elif settings.scheduler_kwargs:
    raise errors.UserError(
      f'{path}.scheduler_kwargs has no effect without a scheduler'
    )


def try_out(path: str, function: Callable[..., Any], *arguments: Any) -> None:
  """Traces a function of these settings; raises UserError if it fails."""
  try:
    jax.eval_shape(function, *arguments)
  except Exception as error:  # Whatever optax makes of wrong arguments.
    raise errors.UserError(
      f'{path}: optax does not take these settings: '
      f'{type(error).__name__}: {errors.one_line(error)}'
    ) from error
