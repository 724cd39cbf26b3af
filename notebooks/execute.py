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
"""Runs the notebooks, and stores what their cells print and draw.

    python -m notebooks.execute [NAME …]

One process runs them all, without Jupyter: a cell is a piece of Python, whose
last expression is shown, and whatever pyplot holds after it is its picture.
They are stored with their outputs, so that they can be read where they lie.
"""

import argparse
import ast
import base64
from collections.abc import Mapping, Sequence
import contextlib
import io
import json
import pathlib
from typing import Any

from matplotlib import pyplot

FOLDER = pathlib.Path(__file__).parent
_DPI = 80  # Of stored pictures, so that they stay small.
Notebook = dict[str, Any]


def find_names() -> list[str]:
  """The notebooks' names."""
  return sorted(path.stem for path in FOLDER.glob('*.ipynb'))


def read(name: str) -> Notebook:
  """The notebook of a name."""
  return json.loads((FOLDER / f'{name}.ipynb').read_text(encoding='utf-8'))


def run(notebook: Notebook, parameters: Mapping[str, Any]) -> dict[str, Any]:
  """Runs all cells in order, and puts their outputs into them.

  Args:
    notebook: is changed.
    parameters: what to set after the cell with the tag `parameters`.

  Returns:
    The names that the notebook has made.
  """
  names: dict[str, Any] = {'__name__': '__main__'}
  pyplot.switch_backend('agg')
  code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  for number, cell in enumerate(code, 1):
    cell['outputs'] = _run_cell(''.join(cell['source']), names, number)
    cell['execution_count'] = number
    if 'parameters' in cell['metadata'].get('tags', ()):
      names |= parameters
  return names


def _run_cell(
  source: str, names: dict[str, Any], number: int
) -> list[dict[str, Any]]:
  """Runs a cell; returns its outputs."""
  tree = ast.parse(source)
  last = None
  if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
  printed, value = io.StringIO(), None
  with contextlib.redirect_stdout(printed):
    exec(compile(tree, f'<cell {number}>', 'exec'), names)
    if last is not None:
      value = eval(compile(last, f'<cell {number}>', 'eval'), names)
  outputs: list[dict[str, Any]] = []
  if printed.getvalue():
    outputs.append(
      {
        'name': 'stdout',
        'output_type': 'stream',
        'text': printed.getvalue().splitlines(keepends=True),
      }
    )
  outputs += [_take_picture(figure) for figure in pyplot.get_fignums()]
  if value is not None:
    outputs.append(
      {
        'data': {'text/plain': repr(value).splitlines(keepends=True)},
        'execution_count': number,
        'metadata': {},
        'output_type': 'execute_result',
      }
    )
  return outputs


def _take_picture(number: int) -> dict[str, Any]:
  """The output that a figure of pyplot is; closes the figure."""
  figure = pyplot.figure(number)
  png = io.BytesIO()
  figure.savefig(png, format='png', dpi=_DPI, bbox_inches='tight')
  pyplot.close(figure)
  return {
    'data': {'image/png': base64.b64encode(png.getvalue()).decode()},
    'metadata': {},
    'output_type': 'display_data',
  }


def write(name: str, notebook: Notebook) -> None:
  """Stores a notebook as Jupyter does."""
  content = json.dumps(notebook, indent=1, ensure_ascii=False) + '\n'
  (FOLDER / f'{name}.ipynb').write_text(content, encoding='utf-8')


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs and stores the notebooks that are named, or all."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('names', nargs='*', metavar='NAME')
  for name in parser.parse_args(arguments).names or find_names():
    notebook = read(name)
    run(notebook, {})
    write(name, notebook)
    print(FOLDER / f'{name}.ipynb')


if __name__ == '__main__':
  main()
