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
"""Whether arguments in a config suit the function that they go to.

A config holds arguments of networks, optimisers and schedules by name. What a
value may be is told by its name where that is one of optax's or of those that
the caller knows, else by the argument's default.
"""

from collections.abc import Callable, Iterable, Mapping
import inspect
import math
from typing import Any

from jaxline_harness import errors
from jaxline_harness import fields

# Beyond these a value is a slip of the keyboard, and an array too large.
MAX_SIZE = 2**20
MAX_REAL = 1e6

SIZE = fields.whole(1, MAX_SIZE)
REAL = fields.real(-MAX_REAL, MAX_REAL)
NOT_NEGATIVE = fields.real(0, MAX_REAL)
POSITIVE = fields.real(above=0, most=MAX_REAL)

_STEPS = fields.whole(1, fields.MAX_INT32)
_STEPS_OR_NONE_YET = fields.whole(0, fields.MAX_INT32)
_SHARE = fields.real(0, below=1)
# Negative momentum has its uses in games.
_MOMENTUM = fields.real(above=-1, below=1)
_FUNCTION = fields.Field('a function', callable)
_MASK = fields.Field(
  'True, False, None or a function',
  lambda value: value is None or isinstance(value, bool) or callable(value),
)
_BOUNDARIES = fields.Field(
  'a mapping of steps to scales that are not negative',
  lambda value: (
    hasattr(value, 'items')
    and all(
      _STEPS.accepts(int(step) if str(step).isdecimal() else step)
      and NOT_NEGATIVE.accepts(scale)
      for step, scale in value.items()
    )
  ),
)
_ANYTHING_FINITE = fields.Field(
  'free of NaN and infinity', lambda value: _is_finite(value)
)

_BY_NAME = {
  # Optimisers.
  'b1': _MOMENTUM,
  'b2': _SHARE,
  'b3': _SHARE,
  'decay': _SHARE,
  'eps': NOT_NEGATIVE,
  'eps_root': NOT_NEGATIVE,
  'initial_accumulator_value': NOT_NEGATIVE,
  'mask': _MASK,
  'momentum': _MOMENTUM,
  'trust_ratio_mask': _MASK,
  'weight_decay': NOT_NEGATIVE,
  'weight_decay_mask': _MASK,
  # Schedules.
  'boundaries_and_scales': _BOUNDARIES,
  'decay_offset': _STEPS_OR_NONE_YET,
  'decay_rate': POSITIVE,
  'decay_steps': _STEPS,
  'end_value': NOT_NEGATIVE,
  'peak_value': POSITIVE,
  'transition_begin': _STEPS_OR_NONE_YET,
  'transition_steps': _STEPS,
  'warmup_steps': _STEPS_OR_NONE_YET,
}


def check(
  path: str,
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  given: Iterable[str] = (),
  by_name: Mapping[str, fields.Field] | None = None,
) -> None:
  """Checks names, types and ranges.

  Args:
    path: the field that holds the arguments.
    function: a function or class.
    arguments: by name.
    given: those that it is given otherwise.
    by_name: what arguments of these names may be, beside optax's.

  Raises:
    UserError: for an argument that does not exist, is missing, or cannot be
      right.
  """
  parameters = {
    name: parameter
    for name, parameter in inspect.signature(function).parameters.items()
    if name not in given
  }
  for name, value in arguments.items():
    if name not in parameters:
      hint = errors.did_you_mean(str(name), parameters)
      hint = hint or f'; there is {", ".join(parameters)}'
      raise errors.UserError(f'{path}.{name} does not exist{hint}')
    field = _field(parameters[name], _BY_NAME | dict(by_name or {}))
    field.check(f'{path}.{name}', value)
  for name, parameter in parameters.items():
    if parameter.default is parameter.empty and name not in arguments:
      raise errors.UserError(
        f'{path}.{name} is missing: {function.__name__} needs it'
      )


def _field(
  parameter: inspect.Parameter, by_name: Mapping[str, fields.Field]
) -> fields.Field:
  """What an argument may be."""
  field = by_name.get(parameter.name) or _field_like(parameter.default)
  return field.or_none() if parameter.default is None else field


def _field_like(default: Any) -> fields.Field:
  """What may stand in the place of a default."""
  if isinstance(default, bool):
    return fields.flag()
  if isinstance(default, int):
    return SIZE
  if isinstance(default, float):
    return REAL
  if isinstance(default, str):
    return fields.text(empty=False)
  if isinstance(default, tuple):  # Of sizes, as networks have them.
    return fields.list_of(SIZE)
  if callable(default) and not inspect.isclass(default):
    return _FUNCTION
  return _ANYTHING_FINITE


def _is_finite(value: Any) -> bool:
  if isinstance(value, Mapping):
    return all(map(_is_finite, value.values()))
  if isinstance(value, list | tuple):
    return all(map(_is_finite, value))
  return not isinstance(value, float) or math.isfinite(value)
