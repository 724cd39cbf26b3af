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
"""An experiment's command line: its config, overrides, mode and cluster."""

import ast
from collections.abc import Iterator, Sequence
import contextlib
import importlib.util
import os
import re
import sys
import traceback
from typing import Any

from absl import flags
from ml_collections import config_dict
from ml_collections import config_flags

from jaxline_harness import configs
from jaxline_harness import distributed
from jaxline_harness import errors

_MODES = ('train', 'eval')
_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]+)')


def parse(
  argv: list[str], schema: configs.Schema
) -> tuple[config_dict.ConfigDict, str, distributed.Cluster | None]:
  """Returns the resolved, locked config, the mode and the cluster."""
  spec, argv = take_config_flag(argv)
  values = flags.FlagValues()
  values.append_flag_values(flags.FLAGS)
  mode = flags.DEFINE_enum(
    'jaxline_mode', 'train', _MODES, 'What to do.', flag_values=values
  )
  coordinator = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of process 0, or auto.', flag_values=values
  )
  num_processes, process_id = (
    flags.DEFINE_integer(name, None, help_text, flag_values=values)
    for name, help_text in (
      ('num_processes', 'How many processes train together.'),
      ('process_id', 'Which of them this is, from 0.'),
    )
  )
  if '--helpfull' in argv:
    print(values.get_help())
    sys.exit(0)
  if spec is None:
    _parse_flags(values, argv)
    raise errors.UserError('--config=FILE is needed; --help says more')
  config = _load_config(spec)
  overrides = [m[1] for m in map(_OVERRIDE.match, argv) if m]
  _check_overrides(overrides, config, schema)
  with _clear_override_errors():
    config_flags.DEFINE_config_dict(
      'config',
      config,
      flag_values=values,
      sys_argv=argv,
      lock_config=False,
      accept_new_attributes=True,
    )
  _parse_flags(values, argv)
  flags.FLAGS.mark_as_parsed()  # jaxline asks its own flags there.
  config = schema.resolve(config)
  if not config.checkpoint_dir:
    name = os.path.basename(spec.split(':', 1)[0]).removesuffix('.py')
    with config.unlocked():
      config.checkpoint_dir = os.path.join('runs', name.removesuffix('_config'))
  config.lock()
  cluster = distributed.find_cluster(
    coordinator.value, num_processes.value, process_id.value
  )
  return config, mode.value, cluster


def take_config_flag(argv: list[str]) -> tuple[str | None, list[str]]:
  """Returns the value of --config and the command line without it."""
  spec, rest = None, []
  arguments = iter(argv)
  for argument in arguments:
    if argument in ('--config', '-config'):
      spec = next(arguments, None)
    elif argument.startswith(('--config=', '-config=')):
      spec = argument.split('=', 1)[1]
    else:
      rest.append(argument)
  return spec or None, rest


def _parse_flags(values: flags.FlagValues, argv: list[str]) -> None:
  try:
    with _clear_override_errors():
      unused = values(argv)[1:]
  except flags.Error as error:
    raise errors.UserError(str(error)) from error
  if unused:
    raise errors.UserError(
      f'unexpected argument {unused[0]!r}; --help says what is expected'
    )


@contextlib.contextmanager
def _clear_override_errors() -> Iterator[None]:
  """Turns what ml_collections raises for a bad override into UserError."""
  try:
    yield
  except (
    flags.Error,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
  ) as error:
    message = error.args[0] if error.args else repr(error)
    raise errors.UserError(str(message)) from error


def _load_config(spec: str) -> config_dict.ConfigDict:
  """Runs a config file.

  Args:
    spec: `FILE`, or `FILE:ARGUMENT` to call `get_config(ARGUMENT)`.

  Returns:
    What its `get_config` returns, unlocked.

  Raises:
    errors.UserError: if there is no such file or it fails.
  """
  path, *arguments = spec.split(':', 1)
  if not os.path.isfile(path):
    raise errors.UserError(f'--config: there is no file {path}')
  module_spec = importlib.util.spec_from_file_location('config_file', path)
  if module_spec is None or module_spec.loader is None:
    raise errors.UserError(f'--config: {path} is not a Python file')
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
    config = module.get_config(*arguments)
  except errors.UserError:
    raise
  except Exception as error:  # The file is the user's; any error is.
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == os.path.abspath(path) or frame.filename == path
    ]
    where = f'{path}:{lines[-1]}' if lines else path
    raise errors.UserError(
      f'--config: {where}: {type(error).__name__}: {error}'
    ) from error
  if not isinstance(config, config_dict.ConfigDict):
    raise errors.UserError(
      f'--config: get_config() in {path} must return a ConfigDict, not '
      f'{type(config).__name__}'
    )
  _check_placeholders(config)
  return config.unlock()


def _check_placeholders(
  config: config_dict.ConfigDict, prefix: str = 'config'
) -> None:
  """Raises UserError for one that requires a value: flags cannot give it."""
  for name in config:
    try:
      value = config[name]
    except config_dict.RequiredValueError as error:
      raise errors.UserError(
        f'{prefix}.{name} is a required placeholder: give it a value in the '
        'file'
      ) from error
    if isinstance(value, config_dict.ConfigDict):
      _check_placeholders(value, f'{prefix}.{name}')


def _check_overrides(
  overrides: Sequence[str],
  config: config_dict.ConfigDict,
  schema: configs.Schema,
) -> None:
  """Checks that overridden fields exist in the full config.

  A config file may hold fewer fields than the full config (the published ones
  do); the missing parents of an override are added to it. What lies under a
  field `...kwargs` goes to other people's functions and may be anything.

  Args:
    overrides: dotted names.
    config: what the config file returned; empty parents are added.
    schema: all settings.

  Raises:
    errors.UserError: for a field that does not exist.
  """
  known = {*_names(config), *_names(schema.get_base_config())}
  for name in map(_without_index, overrides):
    parents = name.split('.')[:-1]
    free = any(
      p.endswith('kwargs') for p in parents if p != 'experiment_kwargs'
    )
    if name not in known and not free:
      raise errors.UserError(
        f'config.{name} does not exist{configs.suggestion(name, known)}'
      )
    node = config
    for parent in parents:
      if node.get(parent) is None:
        node[parent] = config_dict.ConfigDict()
      node = node[parent]
      if not isinstance(node, config_dict.ConfigDict):
        break


def _without_index(name: str) -> str:
  return name.split('[', 1)[0]


def _names(config: config_dict.ConfigDict, prefix: str = '') -> Iterator[str]:
  """Yields the dotted names of all fields, parents too."""
  for name in config:
    yield f'{prefix}{name}'
    if isinstance(config[name], config_dict.ConfigDict):
      yield from _names(config[name], f'{prefix}{name}.')


def leaves(
  config: config_dict.ConfigDict, prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  """Yields the dotted names and values of all fields that hold no others."""
  for name in config:
    if isinstance(config[name], config_dict.ConfigDict):
      yield from leaves(config[name], f'{prefix}{name}.')
    else:
      yield prefix + name, config[name]


class _LiteralParser(flags.ArgumentParser):
  """Parses Python literals; other text is a string."""

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):
      return argument
    try:
      return ast.literal_eval(argument)
    except (SyntaxError, ValueError):
      return argument

  def flag_type(self) -> str:
    return 'literal'


# Fields that are None or a list in the config file can be overridden too.
for _type in (type(None), list):
  config_flags.register_flag_parser_for_type(_type, _LiteralParser())
