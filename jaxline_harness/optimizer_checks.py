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
"""Whether optax takes the settings of an optimiser in a config.

Settings are `name`, `lr`, `kwargs`, `scheduler` and `scheduler_kwargs`. No
device is needed for the answer, nor awoken.
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


# They take a learning rate, and gradients alone.
OPTIMIZERS = tuple(
  name
  for name in _functions_of('learning_rate')
  if not name.startswith(('scale_by_', '_')) and name != 'lbfgs'
)
SCHEDULES = tuple(_functions_of('init_value'))


def check(
  path: str,
  settings: config_dict.ConfigDict,
  make: Callable[..., optax.GradientTransformation],
  others: Mapping[str, Callable[..., Any]] | None = None,
) -> None:
  """Checks arguments by name, type and range, and tries the optimiser.

  Args:
    path: the field that holds the settings.
    settings: of the optimiser, `name` and `scheduler` known to be right.
    make: of the settings by name, makes the optimiser.
    others: optimisers that are not optax's, by name.

  Raises:
    UserError: for the first thing that is wrong.
  """
  kwargs = settings.kwargs.to_dict() if settings.kwargs else {}
  function = (others or {}).get(settings.name) or getattr(optax, settings.name)
  argument_checks.check(
    f'{path}.kwargs', function, kwargs, given=['learning_rate']
  )
  momentum = inspect.signature(function).parameters.get('momentum')
  if momentum and kwargs.get('nesterov'):
    if not kwargs.get('momentum', momentum.default):
      raise errors.UserError(
        f'{path}.kwargs.nesterov has no effect without momentum'
      )
  check_schedule(path, settings)

  def use(params):
    optimizer = make(**settings)
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
      f'{type(error).__name__}: {" ".join(str(error).split())}'
    ) from error
