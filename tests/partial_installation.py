# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Python as it is after `pip install .` with some of the extras.

python -c 'from tests import partial_installation
partial_installation.keep("gan")
...'
"""

import ast
from importlib import metadata
import importlib.abc
import pathlib
import sys

from packaging import requirements
from packaging import utils

ROOT = pathlib.Path(__file__).resolve().parents[1]


def setup_constants() -> dict:
  """setup.py's constants, without running it."""
  return {
    node.targets[0].id: ast.literal_eval(node.value)
    for node in ast.parse((ROOT / 'setup.py').read_text()).body
    if isinstance(node, ast.Assign)
  }


def declared(*extras: str) -> dict[str, requirements.Requirement]:
  """What setup.py asks for by name, also through an extra within an extra."""
  constants = setup_constants()
  lines = list(constants['INSTALL_REQUIRES'])
  for extra in extras:
    lines += constants['EXTRAS_REQUIRE'][extra]
  found = {}
  for requirement in map(requirements.Requirement, lines):
    if requirement.name == 'differentiable_games':
      found |= declared(*requirement.extras)
    else:
      found[utils.canonicalize_name(requirement.name)] = requirement
  return found


def _installed_with(wanted: list[requirements.Requirement]) -> set[str]:
  """The distributions that an installer fetches for some."""
  seen: set[tuple[str, str]] = set()
  while wanted:
    requirement = wanted.pop()
    name = utils.canonicalize_name(requirement.name)
    for extra in ('', *requirement.extras):
      if (name, extra) in seen:
        continue
      seen.add((name, extra))
      for line in metadata.requires(name) or ():
        needed = requirements.Requirement(line)
        if needed.marker is None or needed.marker.evaluate({'extra': extra}):
          wanted.append(needed)
  return {name for name, _ in seen}


class _Finder(importlib.abc.MetaPathFinder):
  """Another finder that does not find some modules."""

  def __init__(self, finder, hidden: set[str]):
    self._finder = finder
    self._hidden = hidden

  def __getattr__(self, name: str):
    return getattr(self._finder, name)

  def find_spec(self, fullname, path=None, target=None):
    if fullname.split('.')[0] in self._hidden:
      return None
    return self._finder.find_spec(fullname, path, target)


def keep(*extras: str) -> None:
  """Hides all modules that an installation with these extras would not have."""
  kept = _installed_with(list(declared(*extras).values()))
  hidden = {
    module
    for module, distributions in metadata.packages_distributions().items()
    if not any(utils.canonicalize_name(d) in kept for d in distributions)
  }
  sys.meta_path[:] = [_Finder(finder, hidden) for finder in sys.meta_path]
