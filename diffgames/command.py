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
"""The verbs, and the program that each of them is.

A program takes this one's place (`exec`), so that signals reach it and its exit
status is the command's. Nothing here needs more than Python itself: `run.sh`
asks, by `--check` before the verb, whether there is anything to set up for.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import importlib.util
import os
import pathlib
import sys
from typing import NamedTuple

from diffgames import pictures
from jaxline_harness import errors
from jaxline_harness import shipped
from jaxline_harness import startup

CHECK = '--check'
CAN_RUN = 3  # The exit status of a command that CHECK finds nothing wrong with.
_DEFAULT_CONFIG = 'sgd_fashion_mnist'
_HELP_FLAGS = ('-h', '--help', 'help')
# What to install for a package, and a module that comes with it.
_EXTRAS = {
  'dd_two_player_games': ('gan,plots', 'haiku'),
  'eigengame_unloaded': ('eigengame,plots', 'absl'),
  'principal_flow_instability_single_objective': (
    'principal_flow,plots',
    'haiku',
  ),
  'run_sweeps': ('gan,plots', 'absl'),
  'claims': ('gan,eigengame,principal_flow,plots', 'haiku'),
}


class Program(NamedTuple):
  """What Python is to run.

  Attributes:
    module: that is run as a program.
    arguments: of it.
    folder: where it is run; None for the current one, whose modules are never
      taken for those of the project or the libraries then.
  """

  module: str
  arguments: Sequence[str]
  folder: pathlib.Path | None = None


class Verb(NamedTuple):
  """A verb.

  Attributes:
    arguments: that it takes, for people.
    purpose: what it does.
    find: what runs it, of its arguments: a program, or a text that is the
      answer.
  """

  arguments: str
  purpose: str
  find: Callable[[list[str]], Program | str]


def _find_experiment(mode: str, arguments: list[str]) -> Program:
  """The program that trains, evaluates or compiles a config."""
  first, *rest = arguments or ['']
  if first.startswith(('--config=', '-config=')) or first == '--config':
    raise errors.UserError(
      f'give the config without --config=: {shipped.name_verb(mode)} CONFIG'
    )
  if not arguments or first.startswith('-'):
    first, rest = _DEFAULT_CONFIG, arguments
  config = shipped.find_file('configs', first)
  experiment = shipped.find_experiment(config)
  flags = [f'--config={config}', f'--jaxline_mode={mode}', *rest]
  return Program(experiment, flags)


def _find_figures(arguments: list[str]) -> Program | str:
  """The program that draws pictures, or the list of them."""
  _find_source_tree('figures')
  chosen = pictures.choose(arguments)
  if isinstance(chosen, str):
    return chosen
  return Program('diffgames.draw', chosen)


def _find_tests(arguments: list[str]) -> Program:
  """pytest, on a process more than there are cores, as some tests wait."""
  root = _find_source_tree('test')
  chosen = '' if '--all' in arguments else 'not slow'
  cores = os.cpu_count() or 1
  options = [
    *('--dist=worksteal', f'--numprocesses={min(cores + 1, 4)}'),
    '--durations=20',  # What the next cut in time begins with.
  ]
  rest = [argument for argument in arguments if argument != '--all']
  return Program('pytest', ['-m', chosen, *options, *rest], root)


def _find_of_source_tree(
  verb: str, module: str, arguments: list[str]
) -> Program:
  """A program that writes into the source tree."""
  _find_source_tree(verb)
  return Program(module, arguments)


def _find_source_tree(verb: str) -> pathlib.Path:
  root = shipped.find_source_tree()
  if root is None:
    raise errors.UserError(
      f'{verb} works in the source tree only, and this is an installation; '
      'in a clone of the project, or its sdist unpacked, type '
      f'./run.sh {verb}'
    )
  return root


VERBS: Mapping[str, Verb] = {
  'train': Verb(
    '[CONFIG] [--config.a.b=value ...]',
    'train, or go on training',
    functools.partial(_find_experiment, 'train'),
  ),
  'eval': Verb(
    '[CONFIG] [--all] [--config.a.b=...]',
    'evaluate a checkpoint, or all',
    functools.partial(_find_experiment, 'eval'),
  ),
  'compile': Verb(
    '[CONFIG] --target=KIND:LAYOUT',
    'what training needs on a machine that is not here',
    functools.partial(_find_experiment, 'compile'),
  ),
  'sample': Verb(
    'RUN [--num=N --out=FILE.npz ...]',
    'samples of a trained run',
    functools.partial(Program, 'dd_two_player_games.sample'),
  ),
  'report': Verb(
    'RUN ... [--out=FILE.html]',
    'a page about runs',
    functools.partial(Program, 'dd_two_player_games.report'),
  ),
  'sweep': Verb(
    'SWEEP [--jobs=N --out=DIR ...]',
    'runs over settings and seeds',
    functools.partial(Program, 'run_sweeps.program'),
  ),
  'reproduce': Verb(
    '[CLAIM ...] [--size=quick ...]',
    "papers' claims, with verdicts",
    functools.partial(_find_of_source_tree, 'reproduce', 'claims.program'),
  ),
  'figures': Verb(
    '[NAME ... [--size=quick ...]]',
    'pictures under figures/; alone: their list',
    _find_figures,
  ),
  'test': Verb(
    '[--all] [pytest arguments]',
    'the quick tests, or all',
    _find_tests,
  ),
  'docs': Verb(
    '[--out=DIR]',
    'the documentation as a site',
    functools.partial(_find_of_source_tree, 'docs', 'docs.build'),
  ),
}


def describe_usage() -> str:
  """Says what there is to give."""
  given = {
    f'{shipped.name_verb(name)} {verb.arguments}': verb.purpose
    for name, verb in VERBS.items()
  }
  width = max(map(len, given))
  lines = [
    'Usage:',
    *(f'  {left:<{width}}  {purpose}' for left, purpose in given.items()),
    '',
    'CONFIG is a path, or one of the names below, by default '
    f'{_DEFAULT_CONFIG};',
    'SWEEP is alike. Paths, also that of runs/, count from the current folder.',
    'VERB --help says more of each.',
    '',
    *_wrap('Configs:', shipped.list_names('configs')),
    *_wrap('Sweeps:', shipped.list_names('sweeps')),
  ]
  return '\n'.join(lines)


def _wrap(title: str, names: Sequence[str]) -> list[str]:
  """Names in lines below a title."""
  lines = [title]
  for name in names:
    if len(lines) == 1 or len(lines[-1]) + len(name) > 77:
      lines.append(' ')
    lines[-1] += f' {name}'
  return lines


def find_program(arguments: list[str]) -> Program | str:
  """Finds what a command asks for.

  Args:
    arguments: the verb and its arguments.

  Returns:
    A program that is to be run, or a text that is the answer.

  Raises:
    errors.UserError: there is no such verb, or it cannot take its arguments.
  """
  verb, *rest = arguments
  if verb in _HELP_FLAGS:
    return describe_usage()
  if verb not in VERBS:
    *names, last = VERBS
    advice = errors.did_you_mean(verb, VERBS) or (
      f'; give {", ".join(names)} or {last}'
    )
    raise errors.UserError(f'there is no verb "{verb}"{advice}')
  return VERBS[verb].find(rest)


def _run(program: Program) -> None:
  """Puts a program in the place of this one."""
  package = program.module.partition('.')[0]
  extra, module = _EXTRAS.get(package, ('', ''))
  if module and importlib.util.find_spec(module) is None:
    raise errors.UserError(
      f'{package} needs {module}, which comes with an extra: pip install '
      f"'differentiable_games[{extra}]'"
    )
  environment = {shipped.COMMAND_VARIABLE: 'diffgames', **os.environ}
  root = shipped.find_source_tree()
  paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
  if root is not None and str(root) not in paths:
    paths.insert(0, str(root))
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
  options = ['-P']
  if program.folder is not None:
    os.chdir(program.folder)
    options = []
  command = [sys.executable, *options, '-m', program.module]
  os.execve(sys.executable, [*command, *program.arguments], environment)


def main() -> None:
  """Runs the command that this process was started with."""
  startup.guard_output()  # What reads a list may end before it does.
  arguments = sys.argv[1:]
  is_check = arguments[:1] == [CHECK]
  if is_check:
    del arguments[0]
  if not arguments:
    print(describe_usage(), file=sys.stderr)
    sys.exit(2)
  try:
    found = find_program(arguments)
    if isinstance(found, str):
      print(found)
    elif is_check:
      sys.exit(CAN_RUN)
    else:
      _run(found)
  except errors.UserError as error:
    errors.report(error)
    sys.exit(2)
