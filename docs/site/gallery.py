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
"""The gallery: a page for each script in figures/, made of it."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
_FOLDER = ROOT / 'figures'


def scripts() -> list[pathlib.Path]:
  """The scripts, in the order of their names."""
  return sorted(
    path for path in _FOLDER.glob('*.py') if not path.name.startswith('_')
  )


def pictures() -> dict[str, list[str]]:
  """The names of each script's pictures.

  A picture belongs to the script that it begins with the name of, or else to
  the one whose text has its name.

  Raises:
    ValueError: if a picture belongs to none.
  """
  names = [path.stem for path in scripts()]
  found = {name: [] for name in names}
  for picture in sorted(_FOLDER.glob('*.png')):
    owners = [
      name for name in names if re.match(rf'{name}(_|$)', picture.stem)
    ] or [path.stem for path in scripts() if picture.name in path.read_text()]
    if not owners:
      raise ValueError(
        f'figures/{picture.name}: no script in figures/ has its name'
      )
    found[max(owners, key=len)].append(picture.name)
  return found


def target(path: pathlib.PurePosixPath) -> str | None:
  """The file of the site for one of figures/."""
  if path.parts[0] != 'figures' or path.name.startswith('_'):
    return None
  if len(path.parts) == 1:
    return 'gallery/index.md'
  return f'gallery/{path.stem}.md' if path.suffix == '.py' else str(path)


def navigation() -> list:
  """The gallery's part of the navigation."""
  pages = [{path.stem: f'gallery/{path.stem}.md'} for path in scripts()]
  return ['gallery/index.md', *pages]


def pages() -> dict[str, str]:
  """The pages' Markdown, by their paths."""
  owned = pictures()
  result = {'gallery/index.md': _overview(owned)}
  for path in scripts():
    result[f'gallery/{path.stem}.md'] = _page(path, owned[path.stem])
  return result


def _overview(owned: dict[str, list[str]]) -> str:
  lines = [
    '# Gallery',
    '',
    'Every figure, with the command and the code that draw it.',
    '',
    '<div class="pictures" markdown>',
  ]
  for path in scripts():
    title, _ = _description(path)
    for picture in owned[path.stem]:
      link = f'[![{title}](../figures/{picture})'
      name = title if len(owned[path.stem]) == 1 else picture[: -len('.png')]
      lines += ['', f'{link}<br>{name}]({path.stem}.md)']
  lines += ['', '</div>', '', '## Claims', '']
  lines += ['<div class="pictures" markdown>']
  for path in sorted((_FOLDER / 'claims').glob('*.png')):
    link = f'[![{path.stem}](../figures/claims/{path.name})'
    lines += ['', f'{link}<br>{path.stem}](../claims.md#{path.stem})']
  lines += ['', '</div>', '', '## Not drawn yet', '']
  for path in scripts():
    if not owned[path.stem]:
      lines.append(f'- [{_description(path)[0]}]({path.stem}.md)')
  return '\n'.join([*lines, ''])


def _page(path: pathlib.Path, names: list[str]) -> str:
  title, text = _description(path)
  parts = [f'# {title}', f'```bash\n./run.sh figures {path.stem}\n```']
  parts += [f'![{title}](../figures/{name})' for name in names]
  if not names:
    parts.append('Its picture has not been made yet.')
  parts += [text, f'## figures/{path.name}']
  parts.append(f'``````python\n{_code(path)}\n``````')
  return '\n\n'.join(parts) + '\n'


def _description(path: pathlib.Path) -> tuple[str, str]:
  """The first line of a script's docstring, and the rest as Markdown."""
  title, _, text = ast.get_docstring(ast.parse(path.read_text())).partition(
    '\n'
  )
  # What is indented is code; Markdown wants four spaces for that.
  text = re.sub(r'(?m)^ +(?=\S)', '    ', text.strip('\n'))
  return title.rstrip('.'), text


def _code(path: pathlib.Path) -> str:
  """A script without the licence above its docstring."""
  return re.sub(r'\A(#.*\n)+', '', path.read_text()).strip()
