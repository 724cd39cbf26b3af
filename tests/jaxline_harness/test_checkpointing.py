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
"""Checkpoints: what is written, restored, refused."""

import ctypes
import gc
import json
import os
import pathlib
import shutil
import sys
import time
import weakref

import jax
from ml_collections import config_dict
import numpy as np
from orbax import checkpoint as ocp
import pytest
import tensorstore

from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import train_loop
from tests.jaxline_harness import toy_experiment


class SampleWriter:
  def __init__(self):
    self.pictures = []
    self.syncs = 0

  def sync(self):
    self.syncs += 1

  def write_samples(self, step, image):
    self.pictures.append((step, image.shape))


@pytest.fixture
def config(tmp_path):
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path / 'run')
  config.max_checkpoints_to_keep = 2
  return config


def make(config, step=None, mode='train', series='latest', writer=None):
  """Returns a checkpointer whose experiment was trained to `step`."""
  checkpointer = checkpointing.Checkpointer(
    config, mode, writer, toy_experiment.SCHEMA
  )
  experiment = toy_experiment.Experiment(
    mode,
    **config.experiment_kwargs.to_dict()
    | {'config': config.experiment_kwargs.config},
  )
  state = checkpointer.get_experiment_state(series)
  state.experiment_module = experiment
  state.global_step = 0
  if step is not None:
    advance(checkpointer, step, series)
  return checkpointer, state


def advance(checkpointer, step, series='latest'):
  state = checkpointer.get_experiment_state(series)
  length = {'training_steps': step, 'max_chunk_steps': 1000}
  train_loop.run_loop(
    state.experiment_module, config_dict.ConfigDict(length), state
  )


def params(state):
  return device_mesh.unreplicate(state.experiment_module.train_state).params[
    'w'
  ]


def test_round_trip(config):
  checkpointer, state = make(config, 7)
  checkpointer.save('latest')
  restored, new_state = make(config)
  assert restored.restore_path('latest') is not None
  assert restored.step_to_restore() == 7
  restored.restore('latest')
  assert new_state.global_step == 7
  assert params(new_state).tobytes() == params(state).tobytes()
  assert params(new_state).dtype == np.float32


def test_keeps_the_newest_and_skips_what_is_saved(config):
  writer = SampleWriter()
  checkpointer, _ = make(config, 1, writer=writer)
  for step in (1, 1, 2, 3):
    advance(checkpointer, step)
    checkpointer.save('latest')
  folder = os.path.join(config.checkpoint_dir, 'checkpoints', 'latest')
  assert checkpointing.steps_in(folder) == [2, 3]
  assert [step for step, _ in writer.pictures] == [1, 2, 3]
  assert writer.syncs == 3


def test_nothing_saved(config):
  checkpointer, _ = make(config)
  assert checkpointer.restore_path('best') is None
  assert checkpointer.restore_path('latest') is None
  with pytest.raises(errors.UserError, match='no checkpoint in .*train first'):
    checkpointer.restore('latest')
  assert not os.path.exists(config.checkpoint_dir)


def test_unfinished_checkpoint_is_no_checkpoint(config):
  checkpointer, _ = make(config, 1)
  checkpointer.save('latest')
  folder = os.path.join(config.checkpoint_dir, 'checkpoints', 'latest')
  os.makedirs(os.path.join(folder, '5.tmp', 'state'))
  os.makedirs(os.path.join(folder, '6'))
  assert make(config)[0].step_to_restore() == 1


def test_a_failing_replacement_leaves_the_old_one(config, monkeypatch):
  checkpointer, state = make(config, 1)
  checkpointer.save('latest')
  folder = os.path.join(config.checkpoint_dir, 'checkpoints', 'latest')
  rename = os.rename

  def rename_the_old_one_only(source, target):
    if source.endswith('1.tmp'):
      raise OSError('no')
    rename(source, target)

  monkeypatch.setattr(os, 'rename', rename_the_old_one_only)
  with pytest.raises(OSError, match='no'):
    checkpoint_files.write(os.path.join(folder, '1'), {'w': np.zeros(2)})
  monkeypatch.undo()
  assert os.listdir(folder) == ['1']
  other = make(config, 2)[1]
  checkpointer.restore('latest')
  assert state.experiment_module.train_state is not None
  assert not np.array_equal(params(other), params(state))


def test_a_kill_between_two_renames_loses_nothing(tmp_path):
  (tmp_path / '1.replaced.tmp').mkdir()  # Its successor is not in place.
  (tmp_path / '1.tmp').mkdir()
  (tmp_path / '2.replaced.tmp').mkdir()
  (tmp_path / '2').mkdir()
  (tmp_path / '3.old.tmp').mkdir()
  checkpoint_files.remove_leftovers(str(tmp_path))
  assert sorted(os.listdir(tmp_path)) == ['1', '2']


def test_other_networks_are_named(config):
  checkpointer, _ = make(config, 1)
  checkpointer.save('latest')
  config.experiment_kwargs.config.size = 4
  other, _ = make(config)
  with pytest.raises(errors.UserError) as error:
    other.restore('latest')
  assert (
    'params/w: float32[3] in the checkpoint, float32[4] by the config'
  ) in str(error.value)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
  'path', ['', 'checkpoints', 'checkpoints/latest', 'checkpoints/latest/4']
)
def test_restore_path(config, tmp_path, path):
  checkpointer, state = make(config, 4)
  checkpointer.save('latest')
  config.restore_path = os.path.join(config.checkpoint_dir, path)
  config.checkpoint_dir = str(tmp_path / 'other')
  for mode in ('train', 'eval'):
    other, other_state = make(config, mode=mode)
    other.restore('latest')
    assert other_state.global_step == 4
    assert params(other_state).tobytes() == params(state).tobytes()
    assert not other.is_own(other.restore_path('latest'))


def test_restore_path_in_a_run_with_checkpoints(config, tmp_path):
  make(config, 4)[0].save('latest')
  first = config.checkpoint_dir
  config.checkpoint_dir = str(tmp_path / 'other')
  make(config, 2)[0].save('latest')
  config.restore_path = first
  # Training goes on with its own; evaluation takes what it was given.
  assert make(config, mode='train')[0].step_to_restore() == 2
  assert make(config, mode='eval')[0].step_to_restore() == 4


def test_eval_specific_checkpoint_dir_counts_in_eval_only(config, tmp_path):
  make(config, 4)[0].save('latest')
  config.eval_specific_checkpoint_dir = config.checkpoint_dir
  config.checkpoint_dir = str(tmp_path / 'other')
  assert make(config, mode='eval')[0].step_to_restore() == 4
  assert make(config, mode='train')[0].step_to_restore() is None


def test_restore_path_without_checkpoint(config, tmp_path):
  config.restore_path = str(tmp_path / 'nowhere')
  with pytest.raises(errors.UserError, match='no checkpoint in .*nowhere'):
    make(config, mode='eval')[0].restore_path('latest')


def save_best(config, step, value, name='score'):
  config.best_model_eval_metric = name
  checkpointer, state = make(config, step, mode='eval', series='best')
  state.best_eval_metric_value = value
  state.best_model_eval_metric = name
  checkpointer.save('best')


def restored_best(config):
  checkpointer, state = make(config, mode='eval', series='best')
  path = checkpointer.restore_path('best')
  if path is None:
    return None
  checkpointer.restore('best')
  metric = checkpoint_files.read_metric(path)
  return state.global_step, metric.best_eval_metric_value


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('higher', [True, False])
def test_best_is_by_value_and_not_by_step(config, higher):
  config.best_model_eval_metric_higher_is_better = higher
  sign = 1 if higher else -1
  save_best(config, 9, sign * 1.0)
  save_best(config, 3, sign * 2.0)
  save_best(config, 5, sign * 1.5)  # Two are kept: the worst goes.
  assert restored_best(config) == (3, sign * 2.0)
  folder = os.path.join(config.checkpoint_dir, 'checkpoints', 'best')
  assert checkpointing.steps_in(folder) == [3, 5]
  with open(os.path.join(folder, '3', 'metrics.json')) as f:
    metrics = json.load(f)
  assert abs(time.time() - metrics.pop('save_time')) < 60
  assert metrics == {
    'best_eval_metric_value': sign * 2.0,
    'best_model_eval_metric': 'score',
  }


def test_best_of_another_metric_does_not_count(config):
  save_best(config, 3, 100.0, name='IS')
  config.best_model_eval_metric = 'FID'
  assert restored_best(config) is None
  save_best(config, 4, 5.0, name='FID')
  assert restored_best(config) == (4, 5.0)


def test_best_measured_anew_replaces_the_old_value(config):
  save_best(config, 3, 1.0)
  save_best(config, 3, 2.0)
  assert restored_best(config) == (3, 2.0)


def test_restore_path_to_a_folder_of_best_takes_the_last_saved(config):
  save_best(config, 9, 1.0)
  save_best(config, 3, 2.0)
  path = os.path.join(config.checkpoint_dir, 'checkpoints', 'best')
  assert checkpointing.find_checkpoint(path) == os.path.join(path, '3')


# Names of folders in which some library sees more than a name.
NAMES = [
  *('lr[0.1]', '*', 'a?b', '**', '{a,b}', ' a  b ', 'a\\b', "it's", '"', '#a'),
  *('%20', '$HOME', '~', 'gs:a', '-a', '20', 'a.tmp', 'Läufe', '训练', 'a\nb'),
  *('\x1b[31m', os.fsdecode(b'\xff'), 'n' * 255),
]


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize('name', NAMES)
def test_any_name_that_a_file_system_takes(config, tmp_path, name):
  config.checkpoint_dir = str(tmp_path / name / name)
  checkpointer, state = make(config)
  checkpointer.check_folder()
  for step in (1, 2, 3):
    advance(checkpointer, step)
    checkpointer.save('latest')
  assert os.listdir(tmp_path) == [name]
  for mode in ('train', 'eval'):
    other, restored = make(config, mode=mode)
    assert other.step_to_restore() == 3
    other.restore('latest')
    assert params(restored).tobytes() == params(state).tobytes()
  # And elsewhere.
  shutil.move(config.checkpoint_dir, tmp_path / 'plain')
  config.checkpoint_dir = str(tmp_path / 'plain')
  other, restored = make(config)
  other.restore('latest')
  assert params(restored).tobytes() == params(state).tobytes()
  assert sorted(os.listdir(tmp_path / 'plain')) == ['checkpoints']


def test_a_folder_that_cannot_keep_checkpoints_is_refused_early(
  config, tmp_path, monkeypatch
):
  for folder in (tmp_path / ('n' * 256), tmp_path / 'file' / 'run'):
    (tmp_path / 'file').write_text('')
    config.checkpoint_dir = str(folder)
    with pytest.raises(errors.UserError, match='cannot keep checkpoints in'):
      make(config)[0].check_folder()
  config.checkpoint_dir = str(tmp_path / 'run')
  monkeypatch.setattr(os, 'statvfs', lambda path: FULL_DISK)
  with pytest.raises(errors.UserError, match=r'\(No space left on device\)'):
    make(config)[0].check_folder()
  assert os.listdir(tmp_path / 'run' / 'checkpoints') == []


FULL_DISK = os.statvfs_result((4096, 4096, 1000, 1, 1, 9, 9, 9, 0, 255))


def test_an_old_one_goes_only_when_the_new_one_reads_well(config, monkeypatch):
  config.max_checkpoints_to_keep = 1
  config.on_save_error = 'go_on'
  checkpointer, _ = make(config, 1)
  checkpointer.save('latest')
  save = ocp.Checkpointer.save

  def save_less(self, path, args):
    save(self, path, args=ocp.args.StandardSave({'w': np.zeros(2)}))

  def save_other_numbers(self, path, args):
    zeros = jax.tree.map(np.zeros_like, args.item)
    save(self, path, args=ocp.args.StandardSave(zeros))

  def save_nothing(self, path, args):
    path.mkdir()

  for step, wrong in enumerate(
    (save_less, save_other_numbers, save_nothing), 2
  ):
    advance(checkpointer, step)
    with monkeypatch.context() as failing:
      failing.setattr(ocp.Checkpointer, 'save', wrong)
      checkpointer.save('latest')
    assert 'cannot save' in checkpointer.save_error
    folder = os.path.join(config.checkpoint_dir, 'checkpoints', 'latest')
    assert os.listdir(folder) == ['1']
    assert make(config)[0].step_to_restore() == 1


def test_checkpoints_of_before_can_be_gone_on_from(config):
  """They say neither their step nor their config."""
  checkpointer, state = make(config, 4)
  checkpointer.save('latest')
  forget_origin(config, 4)
  other, restored = make(config)
  other.restore('latest')
  assert restored.global_step == 4
  assert params(restored).tobytes() == params(state).tobytes()


def forget_origin(config, step):
  folder = pathlib.Path(config.checkpoint_dir, 'checkpoints/latest', str(step))
  (folder / 'origin.json').unlink()
  digests = json.loads((folder / 'digests.json').read_text())
  del digests['origin.json']
  (folder / 'digests.json').write_text(json.dumps(digests))


def test_checkpoint_holds_no_pickle(config):
  make(config, 1)[0].save('latest')
  for folder, _, names in os.walk(config.checkpoint_dir):
    for name in names:
      assert not name.endswith(('.pkl', '.pickle', '.dill')), folder


def test_initial_state_can_be_saved(config):
  checkpointer, _ = make(config)
  checkpointer.save('latest')
  other, state = make(config)
  other.restore('latest')
  assert state.global_step == 0
  np.testing.assert_array_equal(params(state), [0.0, 1.0, 2.0])


@pytest.mark.slow
def test_saves_leave_no_memory_behind(tmp_path):
  state = {str(i): np.zeros(1) for i in range(50)}
  blocks = []
  for step in range(8):
    checkpoint_files.write(str(tmp_path / str(step)), state)
    gc.collect()
    blocks.append(sys.getallocatedblocks())
  # TensorStore's own to_json leaves 8 for each array at each save.
  assert blocks[-1] - blocks[3] < 4 * 4 * 50
  # Which others find as it was.
  folder = {'driver': 'file', 'path': f'{tmp_path}/a[b]/'}
  assert tensorstore.KvStore.Spec(folder).to_json() == folder


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='not glibc'
)
def test_a_save_gives_freed_memory_to_the_system(config):
  checkpointer, _ = make(config, step=5)
  least = resident_bytes()
  blocks = [bytearray(1 << 16) for _ in range(4000)]  # 250 MiB.
  kept = blocks[-1]  # Above the hole that the others leave.
  del blocks
  assert resident_bytes() > least + (200 << 20)
  checkpointer.save('latest')
  assert resident_bytes() < least + (100 << 20)
  assert kept


def test_a_save_frees_what_holds_itself(config):
  checkpointer, _ = make(config, step=5)
  holder = SampleWriter()
  holder.me = holder
  is_held = weakref.ref(holder)
  gc.disable()
  try:
    del holder
    assert is_held()
    checkpointer.save('latest')
    assert not is_held()
  finally:
    gc.enable()


def resident_bytes():
  pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  return int(pages) * os.sysconf('SC_PAGE_SIZE')
