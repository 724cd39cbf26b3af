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
"""The reference: a page for each module, made of its docstrings."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = (
  'differentiable_games',
  'dd_two_player_games',
  'eigengame_unloaded',
  'principal_flow_instability_single_objective',
  'run_sweeps',
  'jaxline_harness',
  'convolutions_as_products',
)


def _modules(package: str) -> list[str]:
  return sorted(
    path.stem
    for path in (ROOT / package).glob('*.py')
    if not path.name.startswith('_')
  )


def target(path: pathlib.PurePosixPath) -> str | None:
  """The file of the site for a package or one of its modules."""
  if path.parts[0] not in PACKAGES:
    return None
  if len(path.parts) == 1:
    return f'reference/{path}/index.md'
  if path.suffix == '.py' and path.stem in _modules(path.parts[0]):
    return f'reference/{path.with_suffix(".md")}'
  return None


def navigation() -> list:
  """The reference's part of the navigation."""
  return [
    {
      package: [
        f'reference/{package}/index.md',
        *(
          {module: f'reference/{package}/{module}.md'}
          for module in _modules(package)
        ),
      ]
    }
    for package in PACKAGES
  ]


def pages() -> dict[str, str]:
  """The pages' Markdown, by their paths."""
  result = {}
  for package in PACKAGES:
    result[f'reference/{package}/index.md'] = _overview(package)
    for module in _modules(package):
      result[f'reference/{package}/{module}.md'] = (
        f'# {package}.{module}\n\n::: {package}.{module}\n'
      )
  return result


def _overview(package: str) -> str:
  lines = [f'# {package}', '', _docstring(ROOT / package / '__init__.py'), '']
  lines += ['| module | |', '|---|---|']
  for module in _modules(package):
    summary = _docstring(ROOT / package / f'{module}.py').partition('\n')[0]
    lines.append(f'| [`{module}`]({module}.md) | {summary} |')
  return '\n'.join(lines) + '\n'


def _docstring(path: pathlib.Path) -> str:
  return ast.get_docstring(ast.parse(path.read_text())) or ''
