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
"""What the fields of a config may hold, as data.

A table from names to `Field`s is all that a config needs to be checked:

```
for name, field in {'steps': whole(0), 'rate': real(above=0)}.items():
  field.check(f'config.{name}', config[name])
```
"""

from collections.abc import Callable, Iterable, Mapping
import copy
import dataclasses
import math
import numbers
from typing import Any

from jaxline_harness import errors

# Steps are counted in int32 on the device.
MAX_INT32 = 2**31 - 1
_MAX_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class Field:
  """What a field may hold.

  Attributes:
    wanted: that in words, to follow "must be".
    accepts: whether a value will do.
    names: where only these will do, so that the nearest can be offered.
  """

  wanted: str
  accepts: Callable[[Any], bool]
  names: tuple[str, ...] = ()

  def check(self, path: str, value: Any) -> None:
    """Raises UserError, with one line that begins with `path`, if it won't."""
    if self.accepts(value):
      return
    if not self.names:
      raise errors.UserError(f'{path} must be {self.wanted}, not {show(value)}')
    hint = ''
    if isinstance(value, str):
      hint = errors.did_you_mean(value, self.names)
    hint = hint or f'; there is {", ".join(self.names[:12])}'
    raise errors.UserError(f'{path}: there is no {show(value)}{hint}')

  def or_none(self) -> 'Field':
    """The same field, in which None will do as well."""
    return Field(
      f'{self.wanted}, or None',
      lambda value: value is None or self.accepts(value),
      self.names,
    )


def flag() -> Field:
  """True or False; 0 and 1 are something else."""
  return Field('True or False', lambda value: isinstance(value, bool))


def whole(least: int, most: int | None = None) -> Field:
  """A whole number; True and False are none, nor is 1.0."""
  return Field(
    f'a whole number from {least} {"up" if most is None else f"to {most}"}',
    lambda value: (
      is_number(value, numbers.Integral)
      and value >= least
      and (most is None or value <= most)
    ),
  )


def real(
  least: float = -math.inf,
  most: float = math.inf,
  *,
  above: float = -math.inf,
  below: float = math.inf,
) -> Field:
  """A finite number; True and False are none."""
  bounds = [
    f'{word} {bound:.12g}'
    for word, bound in (
      ('above', above),
      ('from', least),
      ('up to', most),
      ('below', below),
    )
    if math.isfinite(bound)
  ]
  return Field(
    ' '.join(['a finite number', *bounds]),
    lambda value: (
      is_number(value, numbers.Real)
      and above < value < below
      and least <= value <= most
    ),
  )


def text(empty: bool = True) -> Field:
  """A string on one line."""
  return Field(
    'a string' if empty else 'a string that is not empty',
    lambda value: (
      isinstance(value, str) and value.isprintable() and (empty or value != '')
    ),
  )


def one_of(names: Iterable[str]) -> Field:
  """One of these names."""
  names = tuple(names)
  return Field(
    ', '.join(names),
    lambda value: isinstance(value, str) and value in names,
    names,
  )


def list_of(item: Field) -> Field:
  """A list that is not empty; or a tuple, which a locked config makes of it."""
  return Field(
    f'a list, each item {item.wanted}',
    lambda value: (
      isinstance(value, list | tuple)
      and len(value) > 0
      and all(map(item.accepts, value))
    ),
  )


def mapping() -> Field:
  """Values by name."""
  return Field(
    'a mapping of names to values',
    lambda value: (
      hasattr(value, 'keys') and all(isinstance(key, str) for key in value)
    ),
  )


def is_number(value: Any, kind: type) -> bool:
  """Whether a value is a number of a kind of the module `numbers`."""
  return isinstance(value, kind) and not isinstance(value, bool)


def show(value: Any) -> str:
  """A value for people, on one line and not too long."""
  if hasattr(value, 'to_dict'):
    value = value.to_dict()  # A ConfigDict's own form has many lines.
  try:
    line = ' '.join(repr(value).split())
  except ValueError:  # Python writes no integer of thousands of digits.
    return f'this {type(value).__name__}'
  return line if len(line) <= _MAX_SHOWN else f'{line[: _MAX_SHOWN - 3]}...'


# What `jax.random.PRNGKey` tells apart.
SEED = whole(0, 2**32 - 1)


# Whole configs.


def value(config: Any, name: str) -> Any:
  """What a config holds under a dotted name."""
  for part in name.split('.'):
    config = config[part]
  return config


def check_all(table: Mapping[str, Field], config: Any, path: str) -> None:
  """Checks each field of a table, by its dotted name; raises UserError."""
  for name, field in table.items():
    field.check(f'{path}.{name}', value(config, name))


def merge(defaults: Any, given: Any, path: str) -> Any:
  """Fills in what is absent.

  What lies under a name that ends in `kwargs` goes to other functions, and may
  be anything. The word None, as a command line gives it, is None.

  Args:
    defaults: nested dicts of all fields with their defaults, or one default.
    given: the same, but for fields that are absent.
    path: of these fields, for messages.

  Returns:
    `given` over `defaults`.

  Raises:
    errors.UserError: for a field that has no default, or a value in the place
      of fields.
  """
  if not isinstance(defaults, dict):
    is_none = isinstance(given, str) and given == 'None'
    return None if is_none else copy.deepcopy(given)
  if not isinstance(given, dict):
    raise errors.UserError(
      f'{path} must hold fields such as {", ".join(list(defaults)[:8])}, not '
      f'{show(given)}'
    )
  for name in given:
    if name not in defaults:
      hint = errors.did_you_mean(str(name), defaults)
      raise errors.UserError(f'{path}.{name} does not exist{hint}')

  def merge_field(name):
    if name not in given:
      return defaults[name]
    if name.endswith('kwargs'):
      return copy.deepcopy(given[name])
    return merge(defaults[name], given[name], f'{path}.{name}')

  return {name: merge_field(name) for name in defaults}
