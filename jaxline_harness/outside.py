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
"""What the names in a config mean, also those of a user's own objects.

A setting may name what is declared for it, or what lies elsewhere:
`'my_package.my_nets:MyGenerator'` or `'path/to/file.py:MyGenerator'`. The
import of a module runs it, as config files are run: they are the user's.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
import types
from typing import Any, NoReturn

from absl import logging

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import settings

_NAME = re.compile(
  r'(?P<module>[^:]+\.py|[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_]\w*)'
)
_FORM = "'module:Name' or 'path/to/file.py:Name'"
# The modules that names from outside led to; what fails in them is the user's.
_imported: set[str] = set()


def is_outside(name: Any) -> bool:
  """Whether a setting holds a name of what lies elsewhere."""
  return isinstance(name, str) and _NAME.fullmatch(name) is not None


@dataclasses.dataclass(frozen=True)
class Kind:
  """What a setting may name.

  Attributes:
    inside: what is declared, by name.
    adapt: makes of an object from elsewhere what is used in the place of a
      declared one; raises TypeError or ValueError, saying what it must be, for
      one of another kind.
  """

  inside: Mapping[str, Any]
  adapt: Callable[[Any], Any]

  def find(self, name: str, path: str = '') -> Any:
    """The object that a name means.

    Args:
      name: of the object.
      path: the setting, for errors.

    Raises:
      errors.UserError: for a name from elsewhere that leads to nothing, or to
        an object of another kind.
    """
    if not is_outside(name):
      return self.inside[name]
    where = f'{path}={name}' if path else name
    found = _attribute(where, name)
    try:
      return self.adapt(found)
    except (TypeError, ValueError) as error:
      raise errors.UserError(f'{where}: {errors.one_line(error)}') from error

  def field(self) -> settings.Field:
    """A setting of such a name."""

    def look_up(path, value):
      if is_outside(value):
        self.find(value, path)

    return dataclasses.replace(
      settings.one_of(self.inside),
      wanted=f'{", ".join(self.inside)}, {_FORM}',
      accepts=lambda value: (
        is_outside(value) or (isinstance(value, str) and value in self.inside)
      ),
      look_up=look_up,
      make_absolute=make_absolute,
    )


def make_absolute(name: Any) -> Any:
  """A name with the path of its file absolute; others as they are."""
  match = _NAME.fullmatch(name) if isinstance(name, str) else None
  if match is None or not match['module'].endswith('.py'):
    return name
  return f'{_absolute(match["module"])}:{match["attribute"]}'


def _absolute(path: str) -> str:
  return os.path.abspath(os.path.expanduser(path))


def _attribute(where: str, name: str) -> Any:
  """What a name from elsewhere leads to."""
  match = _NAME.fullmatch(name)
  assert match is not None
  module, attribute = _import(where, match['module']), match['attribute']
  try:
    return getattr(module, attribute)
  except AttributeError as error:
    public = [n for n in vars(module) if not n.startswith('_')]
    hint = errors.did_you_mean(attribute, public)
    raise errors.UserError(
      f'{where}: {match["module"]} has no {attribute}{hint}'
    ) from error


def _import(where: str, module: str) -> types.ModuleType:
  """Imports a module by its name, or a file, once in a process."""
  is_file = module.endswith('.py')
  if is_file:
    path = _absolute(module)
    name = _name_of_file(path)
    if not os.path.isfile(path):
      raise errors.UserError(f'{where}: there is no file {path}')
  else:
    name = module
  _imported.add(name.partition('.')[0])
  try:
    return _run_file(name, path) if is_file else importlib.import_module(name)
  except (Exception, SystemExit) as error:  # The module is the user's.
    if missing := _missing_module(error, module):
      raise errors.UserError(
        f'{where}: there is no module {missing}; PYTHONPATH says where '
        'modules are, or name a file: path/to/file.py:Name'
      ) from error
    raise errors.UserError(f'{where}: {describe(error)}') from error


def _missing_module(error: BaseException, module: str) -> str | None:
  """Returns the module, or what it lies in, if that is what is not there."""
  if not isinstance(error, ModuleNotFoundError) or not error.name:
    return None
  return error.name if f'{module}.'.startswith(f'{error.name}.') else None


def _name_of_file(path: str) -> str:
  """The name that a file has as a module: not that of any other."""
  digest = hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()
  stem = re.sub(r'\W', '_', os.path.basename(path).removesuffix('.py'))
  return f'{stem}_{digest[:8]}'


class _Loader(importlib.machinery.SourceFileLoader):
  """Reads the file itself, not what was compiled of it.

  That is taken to be up to date where a file of the same size was changed
  within the second.
  """

  def path_stats(self, path: Any) -> NoReturn:
    raise OSError(f'{path}: its bytecode is not wanted')


def _run_file(name: str, path: str) -> types.ModuleType:
  if name in sys.modules:
    return sys.modules[name]
  loader = _Loader(name, path)
  spec = importlib.util.spec_from_file_location(name, path, loader=loader)
  assert spec is not None  # As there is a loader.
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Where dataclasses look for it.
  try:
    loader.exec_module(module)
  except BaseException:
    del sys.modules[name]
    raise
  return module


# Errors in what is the user's.


def _place(error: BaseException) -> str:
  """The last line of the user's that an error came by: 'file:line: ', or ''."""
  for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
    name = frame.f_globals.get('__name__', '')
    if any(f'{name}.'.startswith(f'{own}.') for own in _imported):
      return f'{frame.f_code.co_filename}:{line}: '
  return ''


def describe(error: BaseException) -> str:
  """An error, on one line that begins with the user's file and line."""
  text = f'{type(error).__name__}: {errors.one_line(error)}'
  if isinstance(error, SyntaxError) and error.filename:
    return f'{error.filename}:{error.lineno}: SyntaxError: {error.msg}'
  return _place(error) + text


@contextlib.contextmanager
def explain_errors(what: str) -> Iterator[None]:
  """Says in one line what fails in the user's modules.

  Args:
    what: is done in the block, the start of the message.

  Raises:
    errors.UserError: in the place of an error that came by one of the modules
      that names from elsewhere led to. Others pass.
  """
  try:
    yield
  except errors.UserError:
    raise
  except Exception as error:
    if not _place(error):
      raise
    raise errors.UserError(f'{what}: {describe(error)}') from error


# What a config names.


def names_in(config: Any) -> Iterator[str]:
  """Yields all names from elsewhere that a config holds, as dicts and lists."""
  if isinstance(config, Mapping):
    for value in config.values():
      yield from names_in(value)
  elif isinstance(config, list | tuple):
    for value in config:
      yield from names_in(value)
  elif is_outside(config):
    yield config


def digests_in(config: Any) -> dict[str, str]:
  """Digests of the files that a config names, by path."""
  digests = {}
  for path in {name.rpartition(':')[0] for name in names_in(config)}:
    if path.endswith('.py'):
      with open(path, 'rb') as f:
        digests[path] = hashlib.file_digest(f, 'sha256').hexdigest()
  return digests


# Whose names to follow.


def trust(config: Any) -> None:
  """Notes that the user runs what a config names: it is the user's own."""
  names = set(names_in(config)) - _trusted()
  if not names:
    return
  try:
    os.makedirs(files.cache_folder(), exist_ok=True)
    with open(_path_of_trusted(), 'a') as f:
      f.writelines(f'{name}\n' for name in sorted(names))
  except OSError as error:
    logging.warning(
      'cannot write %s (%s): to sample this run will take --trust_code',
      _path_of_trusted(),
      error.strerror,
    )


def check_trust(config: Any, what: str) -> None:
  """Raises UserError if a config from elsewhere names what is not trusted.

  Args:
    config: as it was read.
    what: holds it.
  """
  for name in set(names_in(config)) - _trusted():
    raise errors.UserError(
      f'{what} would run code, {name}, which no run of yours has trained with '
      'on this machine: look at it first, then give trust_code=True, or '
      '--trust_code on a command line'
    )


def _path_of_trusted() -> str:
  return os.path.join(files.cache_folder(), 'trusted_names.txt')


def _trusted() -> set[str]:
  try:
    with open(_path_of_trusted()) as f:
      return set(f.read().splitlines())
  except (OSError, UnicodeError):
    return set()
