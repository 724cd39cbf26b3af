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
"""The notebooks, as pages with what they showed when they were run."""

import base64
import json
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
_FOLDER = ROOT / 'notebooks'


def _paths() -> list[pathlib.Path]:
  return sorted(_FOLDER.glob('*.ipynb'))


def target(path: pathlib.PurePosixPath) -> str | None:
  """The file of the site for a notebook."""
  if path.suffix != '.ipynb':
    return None
  return f'notebooks/{path.stem}.md'


def navigation() -> list:
  """The notebooks' part of the navigation; titles are those of the pages."""
  return [f'notebooks/{path.stem}.md' for path in _paths()]


def pages() -> dict[str, str]:
  """The pages' Markdown, by their paths."""
  return {f'notebooks/{path.stem}.md': _page(path) for path in _paths()}


def _page(path: pathlib.Path) -> str:
  parts = []
  for cell in json.loads(path.read_text())['cells']:
    source = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
      parts.append(source)
    elif cell['cell_type'] == 'code':
      parts.append(f'``````python\n{source}\n``````')
      parts += [_show(output) for output in cell['outputs']]
  return '\n\n'.join(part for part in parts if part) + '\n'


def _show(output: dict) -> str:
  """What a cell printed or drew; pictures lie within the page."""
  if 'text' in output:
    return _fence(''.join(output['text']))
  data = output.get('data', {})
  if 'image/png' in data:
    content = ''.join(data['image/png']).replace('\n', '')
    base64.b64decode(content, validate=True)
    return f'![What this cell draws](data:image/png;base64,{content})'
  if 'text/plain' in data:
    return _fence(''.join(data['text/plain']))
  return ''


def _fence(text: str) -> str:
  return f'``````text\n{text.rstrip()}\n``````' if text.strip() else ''
