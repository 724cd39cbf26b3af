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
"""The language of settings: each setting of a config is declared once.

A tree of declarations, nested dicts as configs are, is all that a config needs
to be filled in, checked and explained:

```
SETTINGS = {
  'random_seed': Setting(0, 'Decides the initial parameters.', SEED),
  'rate': {
    'value': Setting(0.1, 'The learning rate.', real(above=0)),
    'steps': Setting(None, 'Steps after which it is halved.', SIZE),
  },
}
```
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import copy
import dataclasses
import functools
import inspect
import math
import numbers
import os
import textwrap
from typing import Any

from absl import logging

from jaxline_harness import errors

# Steps are counted in int32 on the device.
MAX_INT32 = 2**31 - 1
# Beyond these a value is a slip of the keyboard, and an array too large.
MAX_SIZE = 2**20
MAX_REAL = 1e6
_MAX_SHOWN = 80


# What a setting may hold.


@dataclasses.dataclass(frozen=True)
class Field:
  """What a setting may hold.

  Attributes:
    wanted: that in words, to follow "must be".
    accepts: whether a value will do.
    names: where only these will do, so that the nearest can be offered.
    items: where it is a list of so many different items, what each may be.
    each: where it may be a list of such lists, what each of them may be.
    make_absolute: makes a path, or what holds one, absolute; it is applied once
      all is checked.
    look_up: looks at what an accepted value leads to; called with the setting's
      path and the value, it raises UserError if that will not do.
  """

  wanted: str
  accepts: Callable[[Any], bool]
  names: tuple[str, ...] = ()
  items: tuple['Field', ...] = ()
  each: 'Field | None' = None
  make_absolute: Callable[[Any], Any] | None = None
  look_up: Callable[[str, Any], None] | None = None

  def check(self, path: str, value: Any) -> None:
    """Raises UserError, with one line that begins with `path`, if it won't."""
    if self.accepts(value):
      if self.look_up and value is not None:
        self.look_up(path, value)
      return
    if self.each and _is_list(value) and any(map(_is_list, value)):
      for k, one in enumerate(value):
        self.each.check(f'{path}[{k}]', one)
    if _is_list(value) and len(value) == len(self.items):
      for k, item in enumerate(self.items):
        item.check(f'{path}[{k}]', value[k])
    if not self.names:
      raise errors.UserError(f'{path} must be {self.wanted}, not {show(value)}')
    hint = ''
    if isinstance(value, str):
      hint = errors.did_you_mean(value, self.names)
    some = textwrap.shorten(', '.join(self.names[:12]), 360, placeholder=' …')
    hint = hint or f'; there is {some}'
    raise errors.UserError(f'{path}: there is no {show(value)}{hint}')

  def or_none(self) -> 'Field':
    """The same field, in which None will do as well."""
    return dataclasses.replace(
      self,
      wanted=f'{self.wanted}, or None',
      accepts=lambda value: value is None or self.accepts(value),
    )


def flag() -> Field:
  """True or False; 0 and 1 are something else."""
  return Field('True or False', lambda value: isinstance(value, bool))


def whole(least: int, most: int | None = None) -> Field:
  """A whole number; True and False are none, nor is 1.0."""
  return Field(
    f'a whole number from {least} {"up" if most is None else f"to {most}"}',
    lambda value: (
      _is_number(value, numbers.Integral)
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
  bounds = {'above': above, 'from': least, 'up to': most, 'below': below}
  words = [f'{k} {v:.12g}' for k, v in bounds.items() if math.isfinite(v)]
  return Field(
    ' '.join(['a finite number', *words]),
    lambda value: (
      _is_number(value, numbers.Real)
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


def path() -> Field:
  """A path, `~` in it too, or nothing."""
  return dataclasses.replace(
    text(),
    wanted='a path, or empty',
    make_absolute=lambda value: (
      value and os.path.abspath(os.path.expanduser(value))
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
      _is_list(value) and len(value) > 0 and all(map(item.accepts, value))
    ),
  )


def list_with(wanted: str, *items: Field) -> Field:
  """A list of just these items."""

  def look_up(path, value):
    for k, item in enumerate(items):
      item.check(f'{path}[{k}]', value[k])

  def make_absolute(value):
    return value and type(value)(
      item.make_absolute(part) if item.make_absolute else part
      for item, part in zip(items, value, strict=True)
    )

  return Field(
    wanted,
    lambda value: (
      _is_list(value)
      and len(value) == len(items)
      and all(item.accepts(value[k]) for k, item in enumerate(items))
    ),
    items=items,
    make_absolute=make_absolute,
    look_up=look_up,
  )


def one_or_more(pattern: Field) -> Field:
  """A list such as `list_with` describes, or a list of such."""

  def are_many(value):
    return value and _is_list(value[0])

  def look_up(path, value):
    if not are_many(value):
      pattern.check(path, value)
      return
    for k, one in enumerate(value):
      pattern.check(f'{path}[{k}]', one)

  def make_absolute(value):
    make = pattern.make_absolute or (lambda one: one)
    return type(value)(map(make, value)) if are_many(value) else make(value)

  return dataclasses.replace(
    pattern,
    wanted=f'{pattern.wanted} or a list of such',
    accepts=lambda value: (
      pattern.accepts(value)
      or (
        _is_list(value) and len(value) > 0 and all(map(pattern.accepts, value))
      )
    ),
    each=pattern,
    look_up=look_up,
    make_absolute=make_absolute,
  )


def mapping() -> Field:
  """Values by name."""
  return Field(
    'a mapping of names to values',
    lambda value: (
      hasattr(value, 'keys') and all(isinstance(key, str) for key in value)
    ),
  )


# What `jax.random.PRNGKey` tells apart.
SEED = whole(0, 2**32 - 1)
SIZE = whole(1, MAX_SIZE)
REAL = real(-MAX_REAL, MAX_REAL)
NOT_NEGATIVE = real(0, MAX_REAL)
POSITIVE = real(above=0, most=MAX_REAL)
_LIKE = {bool: flag(), int: SIZE, float: REAL, dict: mapping()}


def field_like(default: Any) -> Field:
  """What may stand in the place of a default."""
  if type(default) in _LIKE:
    return _LIKE[type(default)]
  if isinstance(default, str):
    return text(empty=not default)
  if isinstance(default, tuple):  # Of sizes, as networks have them.
    return list_of(SIZE)
  if callable(default) and not inspect.isclass(default):
    return Field('a function', callable)
  return Field('free of NaN and infinity', _is_finite)


def _is_list(value: Any) -> bool:
  return isinstance(value, list | tuple)


def _is_number(value: Any, kind: type) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
  if isinstance(value, Mapping):
    return all(map(_is_finite, value.values()))
  if _is_list(value):
    return all(map(_is_finite, value))
  return not isinstance(value, float) or math.isfinite(value)


def show(value: Any) -> str:
  """A value for people, on one line and not too long."""
  if hasattr(value, 'to_dict'):
    value = value.to_dict()  # A ConfigDict's own form has many lines.
  try:
    line = ' '.join(repr(value).split())
  except ValueError:  # Python writes no integer of thousands of digits.
    return f'this {type(value).__name__}'
  return line if len(line) <= _MAX_SHOWN else f'{line[: _MAX_SHOWN - 3]}...'


# Settings, and trees of them.

_LIKE_DEFAULT = Field('like its default', callable)
# A test of a config, and what to say of it: `{a.b}` there is what it holds.
Condition = tuple[Callable[[Any], Any], str]


@dataclasses.dataclass(frozen=True)
class Setting:
  """A setting, declared.

  Attributes:
    default: its default. Where that is None, None will do.
    doc: one line of documentation.
    field: what it may hold; by default what may stand in the default's place.
    only_if: a test of the config that has the tree of settings, whether this
      one does something there, and why it does not. To set it then is an error.
    only_warns: whether that gets a warning instead.
    changes_no_step: whether it may differ when a run goes on.
  """

  default: Any
  doc: str
  field: Field = _LIKE_DEFAULT
  only_if: Condition = (lambda config: True, '')
  only_warns: bool = False
  changes_no_step: bool = False

  def __post_init__(self):
    field = self.field
    if field is _LIKE_DEFAULT:
      field = field_like(self.default)
    if self.default is None and not field.accepts(None):
      field = field.or_none()
    object.__setattr__(self, 'field', field)


Tree = Mapping[str, Any]  # Of settings and trees, by name.


def only_with(name: str, *values: Any) -> Condition:
  """That another setting is true, or one of `values`."""

  def test(config):
    return value(config, name) in values if values else value(config, name)

  return test, f'{name} is {{{name}}}'


def change_no_step(tree: Any) -> Any:
  """The same settings, all of which may differ when a run goes on."""
  if isinstance(tree, Setting):
    return dataclasses.replace(tree, changes_no_step=True)
  return {name: change_no_step(part) for name, part in tree.items()}


def leaves(tree: Tree, prefix: str = '') -> Iterator[tuple[str, Setting]]:
  """Yields all settings with their dotted names."""
  for name, part in tree.items():
    if isinstance(part, Setting):
      yield prefix + name, part
    else:
      yield from leaves(part, f'{prefix}{name}.')


def find(tree: Tree, name: str) -> Setting | None:
  """The setting of a dotted name, or that which holds it; None without one."""
  part: Any = tree
  for key in name.split('.'):
    part = part.get(key)
    if not isinstance(part, Mapping):
      return part
  return None


def value(config: Any, name: str) -> Any:
  """What a config holds under a dotted name."""
  return functools.reduce(lambda part, key: part[key], name.split('.'), config)


def add_defaults(tree: Any, given: Any) -> Any:
  """Adds the defaults of what is absent; the word None becomes None."""
  if isinstance(tree, Setting):
    return None if isinstance(given, str) and given == 'None' else given
  if not isinstance(given, dict):
    return given
  absent = {
    name: copy.deepcopy(part.default) if isinstance(part, Setting) else {}
    for name, part in tree.items()
    if name not in given
  }
  full = given | absent
  return full | {name: add_defaults(tree[name], full[name]) for name in tree}


def make_paths_absolute(tree: Tree, config: Any) -> None:
  """Makes them so in place, the user's home included: they are used as such."""
  for name, setting in leaves(tree):
    *parents, last = name.split('.')
    holder = value(config, '.'.join(parents)) if parents else config
    if setting.field.make_absolute:
      holder[last] = setting.field.make_absolute(holder[last])


def check_names(tree: Any, given: Any, path: str) -> None:
  """Raises UserError for what is no setting, or a value in a tree's place."""
  if isinstance(tree, Setting):
    return
  if not isinstance(given, dict):
    raise errors.UserError(
      f'{path} must hold fields such as {", ".join(sorted(tree)[:8])}, not '
      f'{show(given)}'
    )
  for name in given:
    if name not in tree:
      hint = errors.did_you_mean(str(name), tree)
      raise errors.UserError(f'{path}.{name} does not exist{hint}')
    check_names(tree[name], given[name], f'{path}.{name}')


def check(tree: Tree, config: Any, path: str) -> None:
  """Raises UserError for the first setting that holds what it may not."""
  for name, setting in leaves(tree):
    setting.field.check(f'{path}.{name}', value(config, name))


def check_effect(tree: Tree, config: Any, path: str) -> None:
  """Raises UserError, or warns, where a setting was set and does nothing."""
  for name, setting in leaves(tree):
    given = value(config, name)
    test, why = setting.only_if
    if given == setting.default or test(config):
      continue
    why = f'has no effect: {why.format(**config)}'
    if not setting.only_warns:
      raise errors.UserError(f'{path}.{name}={show(given)} {why}')
    logging.warning('%s %s', name, why)


# Arguments of functions, by name.


def check_arguments(
  path: str,
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  given: Iterable[str] = (),
  by_name: Mapping[str, Field] | None = None,
) -> None:
  """Checks arguments that a config holds for a function.

  Args:
    path: the setting that holds them.
    function: a function or class.
    arguments: by name.
    given: those that it is given otherwise.
    by_name: what arguments of these names may be; others what may stand in the
      place of their default.

  Raises:
    UserError: for an argument that does not exist, is missing, or cannot be
      right.
  """
  all_parameters = inspect.signature(function).parameters.values()
  parameters = {
    parameter.name: parameter.default
    for parameter in all_parameters
    if parameter.name not in given
    and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
  }
  takes_any = any(p.kind == p.VAR_KEYWORD for p in all_parameters)
  for name, argument in arguments.items():
    if name not in parameters and takes_any and name not in given:
      continue
    if name not in parameters:
      hint = errors.did_you_mean(str(name), parameters)
      hint = hint or f'; there is {", ".join(parameters)}'
      raise errors.UserError(f'{path}.{name} does not exist{hint}')
    field = (by_name or {}).get(name) or field_like(parameters[name])
    field = field.or_none() if parameters[name] is None else field
    field.check(f'{path}.{name}', argument)
  for name, default in parameters.items():
    if default is inspect.Parameter.empty and name not in arguments:
      who = getattr(function, '__name__', type(function).__name__)
      raise errors.UserError(f'{path}.{name} is missing: {who} needs it')
