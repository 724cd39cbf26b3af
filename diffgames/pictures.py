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
"""The pictures that can be drawn: names, what they show, what they cost.

A script in `figures/` begins with a line that says what it shows, and has a
constant COSTS: by size, `quick` among them, how long it takes, or '' where that
was not measured. Both are read from its text, since to import it takes seconds.
"""

import ast
from collections.abc import Mapping
from typing import NamedTuple

from jaxline_harness import errors
from jaxline_harness import shipped

_FOLDER = 'figures'


class Picture(NamedTuple):
  """A script that draws.

  Attributes:
    title: what it shows.
    costs: by size.
  """

  title: str
  costs: Mapping[str, str]


def describe(name: str) -> Picture:
  """What the script of a name says of itself."""
  path = shipped.ROOT / _FOLDER / f'{name}.py'
  tree = ast.parse(path.read_text(encoding='utf-8'))
  costs: dict[str, str] = {}
  for node in tree.body:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'COSTS':
      costs = ast.literal_eval(node.value)
  return Picture((ast.get_docstring(tree) or '').partition('\n')[0], costs)


def choose(arguments: list[str]) -> list[str] | str:
  """Reads the arguments of `figures`.

  Args:
    arguments: names, and then the flags of their scripts.

  Returns:
    The same, or a text that is the answer.

  Raises:
    errors.UserError: there is no such picture, or flags of none.
  """
  if not arguments:
    return _list_pictures()
  if arguments[0] in ('-h', '--help'):
    return f'{_describe_usage()}\n\n{_list_pictures()}'
  verb = shipped.name_verb(_FOLDER)
  if arguments[0].startswith('-'):
    raise errors.UserError(
      'flags belong to figures: name those that take them, as in '
      f'{verb} drift {arguments[0]}'
    )
  known = shipped.list_names(_FOLDER)
  for name in arguments:
    if name.startswith('-'):
      break
    if name not in known:
      advice = errors.did_you_mean(name, known) or (
        f'; give one of: {", ".join(known)}'
      )
      raise errors.UserError(f'there is no figure "{name}"{advice}')
  return arguments


def _describe_usage() -> str:
  verb = shipped.name_verb(_FOLDER)
  return (
    f'Usage: {verb} NAME ... [--size=SIZE ...]\n\n'
    'Draws pictures into figures/, those of --size=quick, which show that all\n'
    f'is in place, into runs/figures/. {verb} NAME --help says\n'
    'what else NAME takes.'
  )


def _list_pictures() -> str:
  """The list, with what each picture costs."""
  lines = [
    'Pictures, by --size, and how long a free core takes where measured:'
  ]
  for name in shipped.list_names(_FOLDER):
    title, costs = describe(name)
    known = [f'{size}: {c}' if c else size for size, c in costs.items()]
    lines += ['', f'  {name}', f'    {title}', f'    {", ".join(known)}']
  return '\n'.join(lines)
