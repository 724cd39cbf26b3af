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
"""The notebooks run, and are stored as they have run."""

import ast
import base64

import jax
import numpy as np
import pytest

from notebooks import execute

NAMES = execute.find_names()
# What a test runs in place of what is stored.
SMALL = {
  'edge_of_stability': {'NUM_STEPS': 50},
  'eigengame_and_pca': {'NUM_STEPS': 50},
  'gan_on_a_mixture': {'NUM_STEPS': 6, 'EVERY': 3},
}


@pytest.fixture(autouse=True)
def _keep_precision():
  """Some notebooks turn float64 on."""
  before = jax.config.jax_enable_x64
  yield
  jax.config.update('jax_enable_x64', before)


def _outputs(notebook, kind):
  return [
    output['data'][kind]
    for cell in notebook['cells']
    for output in cell.get('outputs', ())
    if kind in output.get('data', {})
  ]


def test_outputs_are_what_a_cell_prints_shows_and_draws():
  source = (
    'from matplotlib import pyplot\nprint("a")\npyplot.plot([1, 2])\nB + 1'
  )
  cells = [
    {'cell_type': 'markdown', 'source': ['# Title']},
    {
      'cell_type': 'code',
      'metadata': {'tags': ['parameters']},
      'source': ['B = 1'],
    },
    {'cell_type': 'code', 'metadata': {}, 'source': [source]},
  ]
  names = execute.run({'cells': cells}, {'B': 5})
  assert names['B'] == 5
  assert cells[1]['outputs'] == []
  text, picture, result = cells[2]['outputs']
  assert text['text'] == ['a\n']
  assert picture['data']['image/png'].startswith('iVBOR')
  assert result['data']['text/plain'] == ['6']


@pytest.mark.parametrize('name', NAMES)
def test_notebooks_are_stored_with_small_outputs(name):
  notebook = execute.read(name)
  code = [c for c in notebook['cells'] if c['cell_type'] == 'code']
  assert notebook['cells'][0]['source'][0].startswith('# ')
  assert [c['execution_count'] for c in code] == list(range(1, len(code) + 1))
  pictures = _outputs(notebook, 'image/png')
  assert pictures
  assert all(len(base64.b64decode(p)) < 100_000 for p in pictures)
  for cell in code:
    drawn = 'plt.show()' in ''.join(cell['source'])
    kinds = [kind for o in cell['outputs'] for kind in o.get('data', {})]
    assert drawn == ('image/png' in kinds)


@pytest.mark.parametrize('name', SMALL)
def test_sizes_are_parameters_of_the_notebook(name):
  cells = execute.read(name)['cells']
  (source,) = (
    ''.join(cell['source'])
    for cell in cells
    if 'parameters' in cell['metadata'].get('tags', ())
  )
  assigned = {node.targets[0].id for node in ast.parse(source).body}
  assert set(SMALL[name]) <= assigned


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_notebooks_run(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  stored, notebook = execute.read(name), execute.read(name)
  names = execute.run(notebook, SMALL.get(name, {}))
  kinds = ('image/png', 'text/plain')
  for kind in kinds:
    assert len(_outputs(notebook, kind)) == len(_outputs(stored, kind))
  if name == 'your_own_game':
    np.testing.assert_allclose(names['efforts'][:, -1], 3 / 16, rtol=1e-6)
