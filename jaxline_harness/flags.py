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
from collections.abc import Iterator
import contextlib
import importlib.util
import os
import re
import sys
import traceback
from typing import Any, NamedTuple
import warnings

from absl import flags
from ml_collections import config_dict

from jaxline_harness import clusters
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import machines
from jaxline_harness import settings

_MODES = ('train', 'eval', 'compile')
_OF_COMPILE = ('target', 'hlo', 'largest-batch')
_OVERRIDE = re.compile(r'--?(no)?config\.([^=]*)(?:=(.*))?', re.DOTALL)
# absl's; overrides in such a file would not be found.
_FLAG_FILE = re.compile('--?flagfile')
_MAX_LENGTH = 1000  # Of a flag; absl's suggestions fail on long ones.
_MAX_SHOWN = 80
_WORDS = {'true': True, 'false': False}


class Compilation(NamedTuple):
  """What is compiled, and what is asked of it.

  Attributes:
    target: the machine, as `machines.read_target` reads it.
    hlo: a file for the program's text, or ''.
    largest_batch: whether to look for the largest batch that fits.
  """

  target: str
  hlo: str = ''
  largest_batch: bool = False


class Command(NamedTuple):
  """What a command line asks for.

  Attributes:
    config: resolved and locked.
    mode: train, eval, eval_all or compile.
    cluster: of processes that train together.
    compilation: of the mode compile.
  """

  config: config_dict.ConfigDict
  mode: str
  cluster: clusters.Cluster | None
  compilation: Compilation | None


def parse(argv: list[str], schema: configs.Schema) -> Command:
  """Reads a command line."""
  spec, argv = take_config_flag(argv)
  values = _define_flags()
  if '--helpfull' in argv:
    print(values.get_help())
    sys.exit(0)
  if spec is None:
    _parse_flags(values, argv)
    raise errors.UserError('--config=FILE is needed; --help says more')
  try:
    config = load_config(spec)
    _parse_flags(values, override_fields(config, argv, schema))
    config = schema.resolve(config)
  except RecursionError as error:
    raise errors.UserError(
      f'--config: what {spec} makes is nested too deeply'
    ) from error
  if not config.checkpoint_dir:
    name = os.path.basename(spec.split(':', 1)[0]).removesuffix('.py')
    with config.unlocked():
      config.checkpoint_dir = os.path.abspath(
        os.path.join('runs', name.removesuffix('_config'))
      )
  config.lock()
  cluster = clusters.find_cluster(
    values.coordinator, values.num_processes, values.process_id
  )
  mode = _mode(values)
  if mode == 'compile' and cluster is not None:
    raise errors.UserError('compile is of one process, without --coordinator')
  return Command(config, mode, cluster, _compilation(values, mode))


def _compilation(values: flags.FlagValues, mode: str) -> Compilation | None:
  """Returns what the flags of compile say; they are of no other mode."""
  asked = Compilation._make(values[name].value for name in _OF_COMPILE)
  if mode == 'compile':
    if not asked.target:
      raise errors.UserError(
        'compile needs --target=KIND or --target=KIND:LAYOUT, such as h100:8; '
        f'there are {", ".join(machines.list_kinds())}'
      )
    return asked
  for name, value in zip(_OF_COMPILE, asked, strict=True):
    if value:
      raise errors.UserError(f'--{name} is of compile')
  return None


def _mode(values: flags.FlagValues) -> str:
  """Returns train, eval, eval_all or compile."""
  if not values.all:
    return values.jaxline_mode
  if values.jaxline_mode != 'eval':
    raise errors.UserError('--all is of eval: every checkpoint that is kept')
  return 'eval_all'


def _define_flags() -> flags.FlagValues:
  """Returns the flags but for those of configs, the libraries' among them."""
  values = flags.FlagValues()
  values.append_flag_values(flags.FLAGS)
  flags.DEFINE_enum(
    'jaxline_mode', 'train', _MODES, 'What to do.', flag_values=values
  )
  flags.DEFINE_bool(
    'all', False, 'With eval: every checkpoint.', flag_values=values
  )
  flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of process 0, or auto.', flag_values=values
  )
  target, hlo, largest_batch = _OF_COMPILE
  flags.DEFINE_string(
    target, '', 'The machine to compile for.', flag_values=values
  )
  flags.DEFINE_string(
    hlo, '', 'A file for the compiled program.', flag_values=values
  )
  flags.DEFINE_bool(
    largest_batch, False, 'Looks for what fits.', flag_values=values
  )
  for name, help_text in (
    ('num_processes', 'How many processes train together.'),
    ('process_id', 'Which of them this is, from 0.'),
  ):
    flags.DEFINE_integer(name, None, help_text, flag_values=values)
  return values


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
  """Reads what is left of a command line, or raises UserError."""
  unused = [
    a
    for a in argv[1:]
    if a == '--' or len(a) > _MAX_LENGTH or _FLAG_FILE.match(a)
  ]
  try:
    unused = unused or values(argv)[1:]
  except flags.Error as error:
    raise errors.UserError(str(error)) from error
  if unused:
    raise errors.UserError(
      f'unexpected argument {settings.show(unused[0])}; --help says what is '
      'expected'
    )


def load_config(spec: str) -> config_dict.ConfigDict:
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
  except BaseException as error:  # The file is the user's; any error is.
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
  return config.unlock()


# Overrides.


def override_fields(
  config: config_dict.ConfigDict, argv: list[str], schema: configs.Schema
) -> list[str]:
  """Sets what `--config.a.b=VALUE` says.

  A config file may hold fewer fields than there are (the published ones do).
  What lies under a field `...kwargs` goes to other people's functions and may
  be anything.

  Args:
    config: it is changed.
    argv: the command line. Of a flag VALUE may be left out; that of another
      setting may be the next argument.
    schema: all settings.

  Returns:
    The rest of the command line.

  Raises:
    errors.UserError: for a field that does not exist, or one of the file's that
      requires a value.
  """
  known = {*_names(config), *_names(schema.get_base_config())}
  rest, arguments = [], iter(argv)
  for argument in arguments:
    match = _OVERRIDE.fullmatch(argument)
    if not match:
      rest.append(argument)
      continue
    negated, name, text = match.groups()
    field_name, *indices = name.replace(']', '').split('[')
    setting = settings.find(schema.tree, field_name)
    is_argument = field_name not in known
    takes_more = setting is not None and setting.field.accepts({})
    if is_argument and (not takes_more or '.__' in field_name):
      raise errors.UserError(
        f'config.{field_name[:_MAX_SHOWN]} does not exist'
        f'{configs.suggestion(field_name, known)}'
      )
    field = None
    if setting and not is_argument and not indices:
      field = setting.field
    if negated or (text is None and field and field.accepts(True)):
      text = str(not negated)
    if text is None:
      text = next(arguments, '')
    try:
      _assign(
        config, field_name.split('.'), list(map(int, indices)), text, field
      )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
      raise errors.UserError(
        f'config.{name[:_MAX_SHOWN]} holds nothing that can be set so'
      ) from error
  return rest


def _assign(
  node: Any,
  names: list[str],
  indices: list[int],
  text: str,
  field: settings.Field | None,
) -> None:
  """Sets a field, or an item of its list; absent parents are added."""
  *parents, last = names
  for parent in parents:
    if node.get(parent) is None:
      node[parent] = config_dict.ConfigDict()
    node = node[parent]
  old = node.get(last)
  value = _parse_value(text, field, None if indices else old)
  value = _replace_item(old, indices, value)
  if isinstance(value, bool) and not isinstance(old, bool) and last in node:
    del node[last]  # ConfigDict would make 1.0 of True in its place.
  try:
    node[last] = value  # A reference to another field stays one.
  except (TypeError, OverflowError):
    with node.ignore_type():
      node[last] = value  # Its check says what is wrong with it.


def _replace_item(old: Any, indices: list[int], value: Any) -> Any:
  """`old` with the item of these indices replaced; `value` without any."""
  if not indices:
    return value
  items = list(old)
  items[indices[0]] = _replace_item(items[indices[0]], indices[1:], value)
  return items


def _parse_value(text: str, field: settings.Field | None, old: Any) -> Any:
  """A value from the command line: a Python literal, or the text itself."""
  is_flag = isinstance(old, bool) or (field is not None and field.accepts(True))
  if is_flag and text.lower() in _WORDS:
    return _WORDS[text.lower()]
  if field is None and isinstance(old, str):
    return text
  value: Any = text
  for parse in (float, ast.literal_eval):
    with (
      warnings.catch_warnings(action='ignore'),  # Of literals such as 1if.
      contextlib.suppress(SyntaxError, ValueError, MemoryError, RecursionError),
    ):
      value = parse(text)
  if field and field.accepts(text):
    is_better = not isinstance(value, str) and field.accepts(value)
    return value if is_better else text
  return value


def _names(config: config_dict.ConfigDict, prefix: str = '') -> Iterator[str]:
  """Yields the dotted names of all fields, parents too."""
  for name in config:
    yield f'{prefix}{name}'
    try:
      value = config[name]
    except config_dict.RequiredValueError as error:  # Flags cannot give it.
      raise errors.UserError(
        f'config.{prefix}{name} is a required placeholder: give it a value in '
        'the file'
      ) from error
    if isinstance(value, config_dict.ConfigDict):
      yield from _names(value, f'{prefix}{name}.')
