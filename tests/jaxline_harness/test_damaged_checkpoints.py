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

import os
import pathlib
import shutil
import socket
import subprocess
import sys

from absl import logging
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
  checkpointer, state = test_checkpointing.make(config)
  params = {}
  for step in STEPS:
    test_checkpointing.advance(checkpointer, step)
    checkpointer.save('latest')
    params[step] = test_checkpointing.params(state).tobytes()
  return params


def files_below(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def contents(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in files_below(folder)
  }


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


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('name', ['metrics.json', 'digests.json', 'state'])
def test_best(config, warnings, damage, name):
  config.max_checkpoints_to_keep = 2
  test_checkpointing.save_best(config, 3, 2.0)
  test_checkpointing.save_best(config, 5, 1.0)
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
from jaxline_harness import checkpointing, distributed, errors
from tests.jaxline_harness import toy_experiment
config = toy_experiment.get_config()
config.checkpoint_dir = sys.argv[3]
if sys.argv[2] == '1':  # What it sees itself does not count.
  config.checkpoint_dir += '/nowhere'
cluster = distributed.find_cluster(sys.argv[1], 2, int(sys.argv[2]))
with distributed.joined(cluster, {}):
  checkpointer = checkpointing.Checkpointer(config, 'train')
  try:
    print('chose', checkpointer.step_to_restore())
  except errors.UserError as error:
    print('refused', str(error)[:19])
"""


@pytest.mark.slow
def test_processes_agree(config, one_device_env):
  train(config)

  def outputs(port):
    processes = [
      subprocess.Popen(
        [
          *(sys.executable, '-c', TWO_PROCESSES, f'localhost:{port}'),
          *(str(number), config.checkpoint_dir),
        ],
        env=one_device_env,
        stdout=subprocess.PIPE,
        text=True,
      )
      for number in range(2)
    ]
    texts = [process.communicate(timeout=120)[0] for process in processes]
    return [text.splitlines()[-1] for text in texts]

  _flip(series_folder(config) / '4' / 'digests.json')
  assert outputs(free_port()) == ['chose 2'] * 2
  _flip(series_folder(config) / '2' / 'digests.json')
  assert outputs(free_port()) == ['refused no whole checkpoint'] * 2
  shutil.rmtree(config.checkpoint_dir)
  assert outputs(free_port()) == ['chose None'] * 2
