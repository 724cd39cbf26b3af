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
"""Checkpoints that something has damaged: noticed, passed over, kept."""

import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from absl import logging
from ml_collections import config_dict
import pytest

from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import errors
from tests.jaxline_harness import test_checkpointing
from tests.jaxline_harness import toy_experiment

STEPS = (2, 4)


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


DAMAGES = {
  'cut': lambda path: os.truncate(path, path.stat().st_size // 2),
  'emptied': lambda path: os.truncate(path, 0),
  'flipped': _flip,
  'missing': lambda path: path.unlink(),
}


@pytest.fixture
def config(tmp_path):
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path / 'run')
  return config


@pytest.fixture
def warnings(monkeypatch):
  lines = []
  monkeypatch.setattr(
    logging, 'warning', lambda text, *values: lines.append(text % values)
  )
  return lines


def series_folder(config, series='latest'):
  return pathlib.Path(config.checkpoint_dir, 'checkpoints', series)


def train(config):
  """Saves the toy at each of `STEPS`; returns the parameters by step."""
  return _saved(_train, config)


def save_two_bests(config):
  """Of step 3, which is the better one, and of step 5."""
  _saved(_save_two_bests, config)


def _train(config):
  checkpointer, state = test_checkpointing.make(config)
  params = {}
  for step in STEPS:
    test_checkpointing.advance(checkpointer, step)
    checkpointer.save('latest')
    params[step] = test_checkpointing.params(state).tobytes()
  return params


def _save_two_bests(config):
  test_checkpointing.save_best(config, 3, 2.0)
  test_checkpointing.save_best(config, 5, 1.0)


def _saved(save, config):
  """What `save(config)` returns and leaves, which is made once."""
  settings = config.to_json().replace(config.checkpoint_dir, '')
  files, result = _made(save, settings)
  for name, content in files.items():
    path = pathlib.Path(config.checkpoint_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  return result


@functools.cache
def _made(save, settings):
  config = config_dict.ConfigDict(json.loads(settings))
  with tempfile.TemporaryDirectory() as folder:
    config.checkpoint_dir = folder
    result = save(config)
    return contents(pathlib.Path(folder)), result


def files_below(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def contents(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in files_below(folder)
  }


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('damage', DAMAGES)
def test_each_file_of_the_newest(config, tmp_path, warnings, damage):
  params = train(config)
  original = pathlib.Path(config.checkpoint_dir)
  newest = series_folder(config) / '4'
  names = [path.relative_to(newest) for path in files_below(newest)]
  assert len(names) > 8
  for number, name in enumerate(names):
    config.checkpoint_dir = str(tmp_path / str(number))
    shutil.copytree(original, config.checkpoint_dir)
    path = series_folder(config) / '4'
    DAMAGES[damage](path / name)
    damaged = contents(path)
    warnings.clear()
    checkpointer, state = test_checkpointing.make(config)
    assert checkpointer.step_to_restore() == 2, name
    assert checkpointer.step_to_restore() == 2
    checkpointer.restore('latest')
    assert state.global_step == 2
    assert test_checkpointing.params(state).tobytes() == params[2]
    (line,) = warnings
    assert line.startswith(f'the checkpoint {path} is damaged (')
    assert line.endswith(': passed over')
    # A flip in the digests themselves shows in some other file.
    assert f'({name}' in line or name.name == 'digests.json'
    assert contents(path) == damaged  # Until training saves.


def test_the_damaged_one_is_kept_and_replaced(config, warnings):
  params = train(config)
  path = series_folder(config) / '4'
  _flip(path / 'state' / 'manifest.ocdbt')
  damaged = contents(path)
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  test_checkpointing.advance(checkpointer, 4)
  checkpointer.save('latest')
  assert test_checkpointing.params(state).tobytes() == params[4]
  aside = series_folder(config, 'damaged') / 'latest' / '4'
  assert contents(aside) == damaged
  assert warnings[1:] == [f'moved the damaged checkpoint {path} to {aside}']
  assert test_checkpointing.make(config)[0].step_to_restore() == 4


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('name', ['state', '.'])
def test_missing_folder(config, warnings, name):
  params = train(config)
  for path in (series_folder(config) / '4' / name).iterdir():
    if path.name != 'digests.json':
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  assert test_checkpointing.params(state).tobytes() == params[2]
  assert len(warnings) == 1


def test_what_is_set_aside_is_never_replaced(config, warnings):
  train(config)
  for _ in range(3):
    _flip(series_folder(config) / '4' / 'digests.json')
    checkpointer, _ = test_checkpointing.make(config)
    checkpointer.restore('latest')
    assert checkpointer.describe_newest().endswith('latest/2')
    test_checkpointing.advance(checkpointer, 4)
    checkpointer.save('latest')
    assert checkpointer.describe_newest().endswith('latest/4')
  aside = series_folder(config, 'damaged') / 'latest'
  assert sorted(os.listdir(aside)) == ['4', '4.1', '4.2']


def test_damaged_ones_do_not_count_among_those_to_keep(config, warnings):
  config.max_checkpoints_to_keep = 2
  train(config)
  _flip(series_folder(config) / '4' / 'digests.json')
  checkpointer, _ = test_checkpointing.make(config)
  checkpointer.restore('latest')
  test_checkpointing.advance(checkpointer, 3)
  checkpointer.save('latest')
  assert checkpointing.steps_in(series_folder(config)) == [2, 3]


def test_damage_after_the_choice_is_no_traceback(config):
  train(config)
  checkpointer, _ = test_checkpointing.make(config)
  assert checkpointer.step_to_restore() == 4
  DAMAGES['cut'](series_folder(config) / '4' / 'state' / '_METADATA')
  with pytest.raises(errors.UserError, match='4 cannot be read'):
    checkpointer.restore('latest')


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_none_is_whole(config, warnings, mode):
  train(config)
  for step in STEPS:
    _flip(series_folder(config) / str(step) / 'state' / 'manifest.ocdbt')
  before = contents(series_folder(config))
  checkpointer, _ = test_checkpointing.make(config, mode=mode)
  with pytest.raises(errors.UserError) as error:
    checkpointer.step_to_restore()
  for step in STEPS:
    assert (
      f'latest/{step}: state/manifest.ocdbt is not what was saved'
    ) in str(error.value)
  assert 'Nothing was deleted' in str(error.value)
  assert '\n' not in str(error.value)
  assert warnings == []
  assert contents(series_folder(config)) == before


def test_evaluation_moves_nothing(config, warnings):
  params = train(config)
  _flip(series_folder(config) / '4' / 'digests.json')
  before = contents(pathlib.Path(config.checkpoint_dir))
  checkpointer, state = test_checkpointing.make(config, mode='eval')
  checkpointer.restore('latest')
  assert test_checkpointing.params(state).tobytes() == params[2]
  assert len(warnings) == 1
  assert contents(pathlib.Path(config.checkpoint_dir)) == before


def test_all_that_are_kept_are_whole(config, warnings):
  train(config)
  checkpointer, _ = test_checkpointing.make(config, mode='eval')
  folder = series_folder(config)
  assert checkpointer.kept() == [str(folder / '2'), str(folder / '4')]
  _flip(folder / '4' / 'digests.json')
  checkpointer, _ = test_checkpointing.make(config, mode='eval')
  assert checkpointer.kept() == [str(folder / '2')] == checkpointer.kept()
  assert len(warnings) == 1
  _flip(folder / '2' / 'digests.json')
  checkpointer, _ = test_checkpointing.make(config, mode='eval')
  with pytest.raises(errors.UserError, match='no whole checkpoint: .*latest/4'):
    checkpointer.kept()


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_restore_path(config, tmp_path, warnings, mode):
  params = train(config)
  damaged = series_folder(config) / '4'
  _flip(damaged / 'digests.json')
  config.restore_path = str(damaged)
  config.checkpoint_dir = str(tmp_path / 'other')
  with pytest.raises(errors.UserError, match='no whole checkpoint: .*latest/4'):
    test_checkpointing.make(config, mode=mode)[0].step_to_restore()
  config.restore_path = str(damaged.parent)
  checkpointer, state = test_checkpointing.make(config, mode=mode)
  checkpointer.restore('latest')
  assert test_checkpointing.params(state).tobytes() == params[2]
  assert len(warnings) == 1
  checkpointer.save('latest')  # Another run's checkpoint stays where it is.
  assert damaged.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_no_permission_is_no_damage(config):
  train(config)
  (series_folder(config) / '4' / 'digests.json').chmod(0)
  with pytest.raises(errors.UserError, match='no permission to read'):
    test_checkpointing.make(config)[0].step_to_restore()


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('name', ['metrics.json', 'digests.json', 'state'])
def test_best(config, warnings, damage, name):
  config.max_checkpoints_to_keep = 2
  save_two_bests(config)
  path = series_folder(config, 'best') / '3' / name
  DAMAGES[damage](path / 'manifest.ocdbt' if name == 'state' else path)
  assert test_checkpointing.restored_best(config) == (5, 1.0)
  assert 'best/3 is damaged (' in warnings[0]
  config.restore_path = str(series_folder(config, 'best'))
  checkpointer, _ = test_checkpointing.make(config, mode='eval')
  assert checkpointer.step_to_restore() == 5
  config.restore_path = ''
  # A new one is saved beside what cannot be judged, and not in its place.
  test_checkpointing.save_best(config, 3, 3.0)
  assert test_checkpointing.restored_best(config) == (3, 3.0)


# Folders that were moved, or are another run's.


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('move', [os.rename, shutil.copytree])
@pytest.mark.parametrize('step', [5, 2**31 - 1])
def test_a_folder_by_another_name(config, warnings, move, step):
  params = train(config)
  folder = series_folder(config)
  move(folder / '4', folder / str(step))
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  newest = 2 if move is os.rename else 4
  assert state.global_step == newest
  assert test_checkpointing.params(state).tobytes() == params[newest]
  assert f'{step} is damaged (it was saved as step 4' in warnings[0]
  # It stands in the way of no save and is not among those that are kept.
  config.max_checkpoints_to_keep = 1
  test_checkpointing.advance(checkpointer, 6)
  checkpointer.save('latest')
  assert checkpointing.steps_in(folder) == [6]
  assert os.listdir(folder.parent / 'damaged' / 'latest') == [str(step)]


def test_a_copy_that_comes_while_training_hinders_no_save(config, warnings):
  config.max_checkpoints_to_keep = 1
  checkpointer, _ = test_checkpointing.make(config, 4)
  checkpointer.save('latest')
  folder = series_folder(config)
  for name in ('6', '1000'):
    shutil.copytree(folder / '4', folder / name)
  test_checkpointing.advance(checkpointer, 6)
  checkpointer.save('latest')
  assert checkpointing.steps_in(folder) == [6]
  assert test_checkpointing.make(config)[0].step_to_restore() == 6


def test_an_old_checkpoint_by_another_name(config):
  """It does not say its step, but its state does."""
  train(config)
  test_checkpointing.forget_origin(config, 4)
  folder = series_folder(config)
  os.rename(folder / '4', folder / '5')
  checkpointer, _ = test_checkpointing.make(config)
  with pytest.raises(errors.UserError, match='/5 holds the state of step 4: '):
    checkpointer.restore('latest')


def test_the_origin_is_under_the_digests(config):
  train(config)
  path = series_folder(config) / '4'
  origin = path / 'origin.json'
  origin.write_text(origin.read_text().replace('"step": 4', '"step": 5'))
  os.rename(path, path.with_name('5'))
  with pytest.raises(checkpoint_files.DamagedError, match='origin.json is not'):
    checkpoint_files.check(str(path.with_name('5')))


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('field', ['seed', 'lr', 'sizes', 'net_kwargs.depth'])
def test_another_runs_checkpoint(config, tmp_path, warnings, field):
  config.experiment_kwargs.config.net_kwargs.depth = 1
  params = train(config)
  first = config.checkpoint_dir
  *parents, name = field.split('.')
  node = config.experiment_kwargs.config
  for parent in parents:
    node = node[parent]
  node[name] = [7] if field == 'sizes' else 7
  changes = f'another config: experiment_kwargs.config.{field} was .*, now .*7'
  # In this run's folder it is an error, even without a config.json.
  for mode in ('train', 'eval'):
    checkpointer, state = test_checkpointing.make(config, mode=mode)
    if mode == 'train':
      with pytest.raises(errors.UserError, match=f'latest/4 was .*{changes}'):
        checkpointer.restore('latest')
      assert warnings == []
      continue
    checkpointer.restore('latest')
    assert re.search(changes, warnings.pop())
  # Elsewhere it is what was asked for.
  config.restore_path = first
  config.checkpoint_dir = str(tmp_path / 'other')
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  assert re.search(changes, warnings.pop())
  assert test_checkpointing.params(state).tobytes() == params[4]


def test_what_may_change_makes_no_other_config(config, warnings):
  train(config)
  config.training_steps = 100
  config.log_tensors_interval = 7
  config.experiment_kwargs.config.eval.samples = 8
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  assert state.global_step == 4
  assert warnings == []


# Odd files.


def test_names_that_are_no_steps(config, warnings):
  train(config)
  folder = series_folder(config)
  for name in (
    '99999999999999999999',
    '²',
    '٣',
    '007',
    '-1',
    '2147483648',
    '+9',
  ):
    shutil.copytree(folder / '2', folder / name)
  (folder / '50').write_text('')
  (folder / '60').mkdir()
  os.mkfifo(folder / '70')
  assert checkpointing.steps_in(folder) == [2, 4]
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  assert state.global_step == 4
  test_checkpointing.advance(checkpointer, 6)
  checkpointer.save('latest')
  assert checkpointing.steps_in(folder) == [2, 4, 6]
  assert warnings == []


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
  'name', ['digests.json', 'origin.json', 'state/_METADATA']
)
@pytest.mark.parametrize(
  'make', [os.mkfifo, lambda path: os.symlink('/dev/zero', path), os.mkdir]
)
def test_what_is_no_file_is_damage(config, warnings, name, make):
  params = train(config)
  path = series_folder(config) / '4' / name
  path.unlink()
  make(path)
  checkpointer, state = test_checkpointing.make(config)
  checkpointer.restore('latest')
  assert test_checkpointing.params(state).tobytes() == params[2]
  assert f'4 is damaged ({name}' in warnings[0]


def test_a_link_to_a_file_is_that_file(config, tmp_path):
  train(config)
  path = series_folder(config) / '4' / 'state' / 'manifest.ocdbt'
  os.rename(path, tmp_path / 'moved')
  os.symlink(tmp_path / 'moved', path)
  assert test_checkpointing.make(config)[0].step_to_restore() == 4


NO_METRICS = [
  *(
    '',
    '{',
    'null',
    '7',
    '[]',
    '[["a", 1]]',
    '{}',
    '{"best_model_eval_metric": 1}',
  ),
  *(
    json.dumps(good | change)
    for good in [
      {
        'best_model_eval_metric': 'score',
        'best_eval_metric_value': 9.0,
        'save_time': 1.0,
      }
    ]
    for change in (
      {'best_model_eval_metric': None},
      {'best_model_eval_metric': ['score']},
      {'best_eval_metric_value': None},
      {'best_eval_metric_value': '9'},
      {'best_eval_metric_value': [9.0]},
      {'best_eval_metric_value': True},
      {'best_eval_metric_value': float('nan')},
      {'save_time': 'now'},
      {'more': 1},
    )
  ),
]


def test_metrics_that_are_none_with_digests_that_agree(
  config, tmp_path, warnings
):
  save_two_bests(config)
  original = pathlib.Path(config.checkpoint_dir)
  for number, content in enumerate(NO_METRICS):
    config.checkpoint_dir = str(tmp_path / str(number))
    shutil.copytree(original, config.checkpoint_dir)
    path = series_folder(config, 'best') / '3'
    (path / 'metrics.json').write_text(content)
    digests = json.loads((path / 'digests.json').read_text())
    digests['metrics.json'] = hashlib.sha256(content.encode()).hexdigest()
    (path / 'digests.json').write_text(json.dumps(digests))
    warnings.clear()
    assert test_checkpointing.restored_best(config) == (5, 1.0), content
    assert 'best/3 is damaged (metrics.json' in warnings[0]
    assert checkpointing.find_checkpoint(str(path.parent)) == str(path)
    config.restore_path = str(path.parent)
    checkpointer, _ = test_checkpointing.make(config, mode='eval')
    assert checkpointer.step_to_restore() == 5, content
    config.restore_path = ''


def test_a_config_that_is_none_with_digests_that_agree(config):
  train(config)
  path = series_folder(config) / '4'
  for content in ('7', '[]', '"a"', '{"experiment_kwargs": 7}'):
    (path / 'origin.json').write_text(f'{{"step": 4, "config": {content}}}')
    digests = json.loads((path / 'digests.json').read_text())
    digests['origin.json'] = checkpoint_files._digest(str(path), 'origin.json')
    (path / 'digests.json').write_text(json.dumps(digests))
    checkpointer, _ = test_checkpointing.make(config)
    with pytest.raises(errors.UserError, match='latest/4 cannot be read'):
      checkpointer.restore('latest')


def test_escapes_do_not_reach_the_terminal(config, warnings):
  train(config)
  path = series_folder(config) / '4' / 'digests.json'
  path.write_text(json.dumps({'\x1b[31mred\r\nerror: \u202eall lost': ''}))
  test_checkpointing.make(config)[0].step_to_restore()
  (line,) = warnings
  assert line.isprintable()
  assert '\\x1b[31mred error: \\u202eall lost is missing' in line


def test_digests_that_are_none(config):
  train(config)
  folder = series_folder(config) / '4'
  for content in ('{}', '[]', '7', 'null', '{"a": 1}', '[' * 100_000):
    (folder / 'digests.json').write_text(content)
    with pytest.raises(checkpoint_files.DamagedError):
      checkpoint_files.check(str(folder))


def test_digests_lead_to_no_other_file(config):
  train(config)
  folder = series_folder(config) / '4'
  (folder / 'digests.json').write_text('{"../2/digests.json": ""}')
  with pytest.raises(
    checkpoint_files.DamagedError, match='2/digests.json is missing'
  ):
    checkpoint_files.check(str(folder))


def free_port():
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]


TWO_PROCESSES = """
import sys
from jaxline_harness import checkpointing, clusters, distributed, errors
from tests.jaxline_harness import toy_experiment
config = toy_experiment.get_config()
cluster = clusters.find_cluster(sys.argv[1], 2, int(sys.argv[2]))
with distributed.joined(cluster, {}):
  for config.checkpoint_dir in sys.argv[3:]:
    if sys.argv[2] == '1':  # What it sees itself does not count.
      config.checkpoint_dir += '/nowhere'
    checkpointer = checkpointing.Checkpointer(config, 'train')
    try:
      print('chose', checkpointer.step_to_restore())
    except errors.UserError as error:
      print('refused', str(error)[:19])
"""


@pytest.mark.slow
def test_processes_agree(config, one_device_env, tmp_path):
  train(config)
  _flip(series_folder(config) / '4' / 'digests.json')
  one_is_whole = config.checkpoint_dir
  config.checkpoint_dir = none_is_whole = str(tmp_path / 'none')
  shutil.copytree(one_is_whole, none_is_whole)
  _flip(series_folder(config) / '2' / 'digests.json')
  port = free_port()
  processes = [
    subprocess.Popen(
      [
        *(sys.executable, '-c', TWO_PROCESSES, f'localhost:{port}'),
        *(str(number), one_is_whole, none_is_whole, str(tmp_path / 'nothing')),
      ],
      env=one_device_env,
      stdout=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  for process in processes:
    text, _ = process.communicate(timeout=120)
    assert text.splitlines()[-3:] == [
      'chose 2',
      'refused no whole checkpoint',
      'chose None',
    ]
