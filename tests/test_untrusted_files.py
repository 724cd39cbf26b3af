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
"""Files from elsewhere are read as data: no file that is loaded runs code.

(Config files are Python by design; the README says so.)
"""

import ast
import io
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from dd_two_player_games import evaluation_network
from dd_two_player_games import inception
from dd_two_player_games import real_statistics
from jaxline_harness import checkpoint_files
from jaxline_harness import dataset_files
from jaxline_harness import datasets
from jaxline_harness import errors
from jaxline_harness import files
from tests.jaxline_harness import test_checkpointing
from tests.jaxline_harness import test_launch
from tests.jaxline_harness import toy_experiment

ROOT = pathlib.Path(__file__).parents[1]
toy = test_launch.toy

# The source.

FORBIDDEN_MODULES = {
  *('pickle', 'cPickle', '_pickle', 'cloudpickle', 'dill', 'joblib'),
  *('marshal', 'shelve', 'tarfile'),
}
FORBIDDEN_CALLS = {'eval', 'exec', 'compile', '__import__'}
FORBIDDEN_METHODS = {'extract', 'extractall', 'unpack_archive', 'system'}
# Notebooks are programs of the project's, as its modules are.
RUNS_PROGRAMS = pathlib.Path('notebooks/execute.py')


def sources():
  return [
    path
    for path in sorted(ROOT.rglob('*.py'))
    if path.relative_to(ROOT) != RUNS_PROGRAMS
    and path.relative_to(ROOT).parts[0]
    not in ('tests', 'dd_venv', 'docs_venv', 'build', 'runs', '.cache')
  ]


def dangers(source: str) -> list[str]:
  """Names what could run code that a file holds, or write where it says."""
  found = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names = {alias.name.split('.')[0] for alias in node.names}
      found += sorted(names & FORBIDDEN_MODULES)
    elif isinstance(node, ast.ImportFrom):
      found += sorted({(node.module or '').split('.')[0]} & FORBIDDEN_MODULES)
    elif isinstance(node, ast.Call):
      found += _dangers_of_call(node)
  return found


def _dangers_of_call(node: ast.Call) -> list[str]:
  text = ast.unparse(node.func)
  name = text.rsplit('.', 1)[-1]
  keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
  if text in FORBIDDEN_CALLS or ('.' in text and name in FORBIDDEN_METHODS):
    return [text]
  if text == 'np.load' and keywords.get('allow_pickle') != 'False':
    return ['np.load without allow_pickle=False']
  if keywords.get('shell') == 'True':
    return [f'{text} with a shell']
  return []


@pytest.mark.parametrize(
  ('source', 'expected'),
  [
    ('import pickle', ['pickle']),
    ('def f():\n  from dill import loads', ['dill']),
    ('eval("1")', ['eval']),
    ('x.evaluate(1); model.eval(); re.compile(x)', []),
    ('np.load(path)', ['np.load without allow_pickle=False']),
    ('np.load(path, allow_pickle=False)', []),
    ('archive.extractall(path)', ['archive.extractall']),
    ('subprocess.run(x, shell=True)', ['subprocess.run with a shell']),
  ],
)
def test_dangers(source, expected):
  assert dangers(source) == expected


@pytest.mark.slow
def test_no_source_runs_what_a_file_holds():
  assert len(sources()) > 30
  found = {
    str(path.relative_to(ROOT)): names
    for path in sources()
    if (names := dangers(path.read_text()))
  }
  assert found == {}


# The files.


class Mischief:
  """Unpickling one of these makes a folder."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.fixture
def mischief(tmp_path):
  """An object whose unpickling fails the test."""
  marker = tmp_path / 'marker'
  payload = Mischief(marker)
  pickle.loads(pickle.dumps(payload))  # It works.  # noqa: S301
  marker.rmdir()
  yield payload
  assert not marker.exists()


def objects(mischief):
  return np.array([mischief, mischief], dtype=object)


def npy(mischief):
  content = io.BytesIO()
  np.save(content, objects(mischief), allow_pickle=True)
  return content.getvalue()


def npz(mischief, names):
  content = io.BytesIO()
  np.savez(content, **dict.fromkeys(names, objects(mischief)))
  return content.getvalue()


def archive_with_other_members(mischief, names):
  """An archive whose members are pickles, and lie elsewhere."""
  content = io.BytesIO()
  with zipfile.ZipFile(content, 'w') as archive:
    for name in names:
      archive.writestr(name, pickle.dumps(mischief))
    archive.writestr('../marker/file.npy', npy(mischief))
    archive.writestr(f'{mischief.path}/file.npy', npy(mischief))
  return content.getvalue()


CONTENTS = {
  'pickle': lambda mischief, names: pickle.dumps(mischief),
  'pickle of protocol 0': lambda mischief, names: pickle.dumps(mischief, 0),
  'npy': lambda mischief, names: npy(mischief),
  'npz': npz,
  'archive': archive_with_other_members,
  'nothing': lambda mischief, names: b'',
}


@pytest.mark.parametrize('content', CONTENTS)
def test_npz(tmp_path, mischief, content):
  path = tmp_path / 'file.npz'
  path.write_bytes(CONTENTS[content](mischief, ['images', 'labels']))
  with pytest.raises(ValueError, match='it is no whole .npz of arrays'):
    files.read_npz(path)
  with pytest.raises(errors.UserError, match='file.npz: cannot be read'):
    datasets.load(str(path))


@pytest.mark.parametrize('content', CONTENTS)
def test_weights_of_inception(tmp_path, mischief, content):
  for suffix in inception.SUFFIXES:
    path = tmp_path / f'weights{suffix}'
    path.write_bytes(CONTENTS[content](mischief, ['fc.weight', 'fc.bias']))
    with pytest.raises(errors.UserError, match='weights.* cannot be read: '):
      inception.read_weights(path)


@pytest.mark.parametrize('content', CONTENTS)
def test_cached_statistics(tmp_path, mischief, content, caplog):
  path = tmp_path / 'statistics.npz'
  path.write_bytes(
    CONTENTS[content](mischief, real_statistics.DataStatistics._fields)
  )
  assert real_statistics.read(path, real_statistics.DataStatistics) is None
  (line,) = [record.getMessage() for record in caplog.records]
  assert line.startswith(f'Cannot read {path} (it is no whole .npz of arrays')
  assert line.endswith('computing it again.')


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('mus', np.zeros(3)),
    ('sigmas', np.zeros((2, 3, 4))),
    ('scores', np.full(2, np.nan)),
    ('scores', np.array(['a', 'b'])),
  ],
)
def test_cached_statistics_of_wrong_numbers(tmp_path, field, value):
  statistics = real_statistics.DataStatistics(
    np.zeros((2, 3)), np.zeros((2, 3, 3)), np.zeros(2)
  )
  path = tmp_path / 'statistics.npz'
  real_statistics.write(path, statistics)
  assert real_statistics.read(path, real_statistics.DataStatistics) is not None
  changed = statistics._replace(**{field: value})
  real_statistics.write(path, changed)
  assert real_statistics.read(path, real_statistics.DataStatistics) is None


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('activations', np.zeros((2, 8))),
    ('activations', np.full((2, 8, 4), np.inf)),
    ('radii', np.zeros((2, 2, 7))),
    ('floors', np.zeros((2, 5))),
    ('floors', np.zeros((1, 4))),
  ],
)
def test_cached_activations_of_wrong_numbers(tmp_path, field, value):
  kept = real_statistics.DataActivations(
    np.zeros((2, 8, 4)), np.zeros((2, 2, 8)), np.zeros((1, 5))
  )
  path = tmp_path / 'activations.npz'
  kind = real_statistics.DataActivations
  real_statistics.write(path, kept)
  assert real_statistics.read(path, kind) is not None
  assert (
    real_statistics.read(path, real_statistics.DataStatistics) is None
  )  # They are no statistics.
  real_statistics.write(path, kept._replace(**{field: value}))
  assert real_statistics.read(path, kind) is None


@pytest.mark.parametrize('content', CONTENTS)
def test_weights_of_the_evaluation_network(tmp_path, mischief, content):
  path = tmp_path / 'weights.npz'
  names = ['test_accuracy', *evaluation_network._array_shapes()]
  path.write_bytes(
    CONTENTS[content](mischief, [name.replace('/', '_') for name in names])
  )
  with pytest.raises(errors.UserError, match='Cannot read the evaluation'):
    evaluation_network.EvaluationNetwork(path)


@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_idx(tmp_path, mischief, suffix):
  path = tmp_path / f'images-idx3-ubyte{suffix}'
  path.write_bytes(pickle.dumps(mischief))
  with pytest.raises(errors.UserError, match='not a whole idx file'):
    dataset_files.read_idx(path, 3)


def restores(checkpointer):
  """Whether that succeeds; else it must be with one line."""
  message = ''
  try:
    checkpointer.restore('latest')
  except errors.UserError as error:
    message = str(error)
  assert not message or 'cannot be read' in message
  assert '\n' not in message
  return not message


@pytest.mark.parametrize(('mode', 'protocol'), [('train', 0), ('eval', 4)])
def test_checkpoint(tmp_path, mischief, protocol, mode):
  """Each file is a pickle, also where the digests say that it ought to be."""
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path)
  test_checkpointing.make(config, 1)[0].save('latest')
  step = tmp_path / 'checkpoints' / 'latest' / '1'
  digests = json.loads((step / 'digests.json').read_text())
  for path in [path for path in step.rglob('*') if path.is_file()]:
    content = path.read_bytes()
    path.write_bytes(pickle.dumps(mischief, protocol))
    checkpointer, _ = test_checkpointing.make(config, mode=mode)
    with pytest.raises(errors.UserError, match='no whole checkpoint'):
      checkpointer.restore('latest')
    name = str(path.relative_to(step))
    if name in digests:
      new = digests | {name: checkpoint_files._digest(str(step), name)}
      (step / 'digests.json').write_text(json.dumps(new))
      checkpointer, state = test_checkpointing.make(config, mode=mode)
      if restores(checkpointer):  # Orbax did not need that file.
        assert state.global_step == 1
      (step / 'digests.json').write_text(json.dumps(digests))
    path.write_bytes(content)


def test_other_files_of_a_run(toy, mischief):
  config = test_launch.CONFIG
  longer = '--config.training_steps=25'
  assert toy(config)[0] == 0
  run = pathlib.Path('runs', 'toy')
  content = pickle.dumps(mischief)

  path = run / 'config.json'
  old = path.read_bytes()
  for text in (content, b'[]', b'{"config": 7}', b'[' * 100_000):
    path.write_bytes(text)
    line = test_launch.error_line(toy(config, longer))
    assert 'runs/toy' in line
  path.write_bytes(old)

  for name in ('.lock', 'train/metrics.csv', 'samples/step_00000020.png'):
    (run / name).write_bytes(content)
  status, _, err = toy(config, longer)
  assert status == 0, err
  assert [row['step'] for row in test_launch.rows(run / 'train/metrics.csv')]
