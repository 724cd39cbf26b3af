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
"""The project's command, configs, sweeps and figures, found from any folder.

In the source tree they lie in `configs/`, `sweeps/` and `figures/`; an
installation has the first two in the folder of the package `diffgames`. Nothing
here needs more than Python itself.
"""

from collections.abc import Mapping
import os
import pathlib
import re
import types

from jaxline_harness import errors

_PACKAGES = pathlib.Path(__file__).absolute().parents[1]
_INSTALLED = _PACKAGES / 'diffgames'
# What holds configs/ and sweeps/.
ROOT = _INSTALLED if (_INSTALLED / 'configs').is_dir() else _PACKAGES
# Of the environment: the command whose verb has started a program.
COMMAND_VARIABLE = 'DIFFGAMES_COMMAND'
DEFAULT_EXPERIMENT = 'dd_two_player_games.experiment'

# How the names of files in a folder end.
_SUFFIXES: Mapping[str, str] = types.MappingProxyType(
  {'configs': '_config.py', 'sweeps': '.py', 'figures': '.py'}
)
_EXPERIMENT = re.compile(r'^EXPERIMENT *= *["\']([\w.]*)["\']', re.MULTILINE)
_LIKE_EXPERIMENT = re.compile(r'(\w+\.)+experiment')


def name_verb(verb: str) -> str:
  """How a user types a verb: `./run.sh` says that it was typed."""
  return f'{os.environ.get(COMMAND_VARIABLE) or "diffgames"} {verb}'


def is_verb() -> bool:
  """Whether a verb has started this program."""
  return COMMAND_VARIABLE in os.environ


def find_source_tree() -> pathlib.Path | None:
  """The source tree that this is part of; None of an installation."""
  return ROOT if (ROOT / 'run.sh').is_file() else None


def list_names(folder: str) -> list[str]:
  """The names of what is shipped in a folder, such as `configs`."""
  suffix = _SUFFIXES[folder]
  return sorted(
    path.name.removesuffix(suffix)
    for path in (ROOT / folder).glob(f'*{suffix}')
    if not path.name.startswith('_')
  )


def find_file(folder: str, name: str) -> pathlib.Path:
  """Finds a file by its path, or by its name among those that are shipped.

  Args:
    folder: where those lie, such as `configs`.
    name: the path, from the current folder or the source tree's, or the name
      with or without the end that names in this folder have.

  Returns:
    The absolute path.

  Raises:
    errors.UserError: there is none.
  """
  ends = ('', '.py', _SUFFIXES[folder])
  candidates = [
    pathlib.Path(name).expanduser().absolute(),
    ROOT / name,
    *(ROOT / folder / f'{name}{end}' for end in ends),
  ]
  for path in candidates:
    if path.is_file():
      return path
  names = list_names(folder)
  advice = errors.did_you_mean(name, names) or (
    f'; give a path or one of: {", ".join(names)}'
  )
  raise errors.UserError(
    f'there is no {folder.removesuffix("s")} "{name}"{advice}'
  )


def find_experiment(config: pathlib.Path) -> str:
  """The module that runs a config, which names it in a line EXPERIMENT = '…'.

  Args:
    config: the file.

  Returns:
    The module's name; of a config without such a line, that of the GANs.

  Raises:
    errors.UserError: the file cannot be read, or the name cannot be right.
  """
  try:
    text = config.read_text(encoding='utf-8', errors='replace')
  except OSError as error:
    raise errors.UserError(
      f'the config {config} cannot be read ({error.strerror})'
    ) from error
  found = _EXPERIMENT.search(text)
  name = found[1] if found else DEFAULT_EXPERIMENT
  if not _LIKE_EXPERIMENT.fullmatch(name):
    raise errors.UserError(
      f'{config}: EXPERIMENT is "{name}"; it must be a module that is named '
      f'experiment, such as {DEFAULT_EXPERIMENT}'
    )
  return name
