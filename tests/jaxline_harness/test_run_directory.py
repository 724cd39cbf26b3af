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
"""A run's folder: metrics.csv, events, pictures, config.json."""

import csv
import errno
import json
import os
import struct

import numpy as np
from PIL import Image
import pytest
from tensorboardX.proto import event_pb2

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import run_directory
from tests.jaxline_harness import toy_experiment


@pytest.fixture
def config(tmp_path):
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path / 'run')
  return config


def prepare(config, has_checkpoint):
  run_directory.prepare(config, has_checkpoint, toy_experiment.SCHEMA)


def read_csv(path):
  with open(path, newline='') as f:
    return list(csv.DictReader(f))


def read_events(folder):
  """Yields the events of all files in a folder (TFRecord framing)."""
  for name in sorted(os.listdir(folder)):
    if not name.startswith('events'):
      continue
    with open(os.path.join(folder, name), 'rb') as f:
      while header := f.read(12):
        (length,) = struct.unpack('<Q', header[:8])
        event = event_pb2.Event()
        event.ParseFromString(f.read(length))
        f.read(4)
        yield event


def test_an_evaluation_that_measures_nothing_is_a_row(tmp_path):
  writer = run_directory.Writer(tmp_path, 'eval')
  writer.write_scalars(3, {})
  (row,) = read_csv(tmp_path / 'eval' / 'metrics.csv')
  assert row['step'] == '3'
  assert not [e for e in read_events(tmp_path / 'eval') if e.summary.value]


def test_scalars_go_to_csv_and_events(tmp_path):
  writer = run_directory.Writer(tmp_path, 'train', restored_step=0)
  writer.write_scalars(1, {'a': np.float32(0.1), 'b': 2})
  writer.write_scalars(np.int64(2), {'a': np.array([0.25]), 'b': 3})
  with open(tmp_path / 'train' / 'metrics.csv') as f:
    lines = [line.rsplit(',', 1)[0] for line in f]
  assert lines == ['step,a,b', '1,0.1,2', '2,0.25,3']
  seconds = [
    float(row['seconds']) for row in read_csv(tmp_path / 'train/metrics.csv')
  ]
  assert 0 <= seconds[0] <= seconds[1]
  values = {
    (event.step, value.tag): value.simple_value
    for event in read_events(tmp_path / 'train')
    for value in event.summary.value
  }
  assert values[2, 'b'] == 3
  np.testing.assert_allclose(values[1, 'a'], 0.1, rtol=1e-6)


def test_restart_hides_later_events(tmp_path):
  run_directory.Writer(tmp_path, 'train', restored_step=0)
  writer = run_directory.Writer(tmp_path, 'train', restored_step=7)
  writer.write_scalars(8, {'a': 1})
  starts = [
    event.step
    for event in read_events(tmp_path / 'train')
    if event.HasField('session_log')
  ]
  assert starts[-1] == 8


def test_images(tmp_path):
  writer = run_directory.Writer(tmp_path, 'eval')
  writer.write_images(
    3,
    {
      'batch': np.zeros((5, 8, 8, 3), np.uint8),
      'gray': np.zeros((2, 8, 8, 1), np.uint8),
      'one': np.zeros((8, 6, 3), np.uint8),
    },
  )
  images = {
    value.tag: value.image
    for event in read_events(tmp_path / 'eval')
    for value in event.summary.value
  }
  assert (images['one'].height, images['one'].width) == (8, 6)
  assert set(images) == {'batch', 'gray', 'one'}
  with pytest.raises(ValueError, match='expected uint8'):
    writer.write_images(3, {'x': np.zeros((8, 8, 3), np.float32)})


@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_png(tmp_path, shape):
  pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
  writer = run_directory.Writer(tmp_path, 'train')
  writer.write_png('samples/a.png', pixels)
  read = np.asarray(Image.open(tmp_path / 'samples' / 'a.png'))
  np.testing.assert_array_equal(read, np.squeeze(pixels))
  assert os.listdir(tmp_path / 'samples') == ['a.png']


def test_json_takes_numpy(tmp_path):
  writer = run_directory.Writer(tmp_path, 'eval')
  writer.write_json(
    'eval/x.json',
    {
      'a': np.float32(0.5),
      'b': np.arange(2),
      'c': float('nan'),
      'd': (1, None),
    },
  )
  with open(tmp_path / 'eval' / 'x.json') as f:
    read = json.load(f)
  assert read == {'a': 0.5, 'b': [0, 1], 'c': 'nan', 'd': [1, None]}


def test_config_json(config):
  config.experiment_kwargs.config.net_kwargs = {
    'activation': np.tanh,
    'make': toy_experiment.get_config,
    'sizes': (1, 2),
  }
  prepare(config, has_checkpoint=False)
  with open(os.path.join(config.checkpoint_dir, 'config.json')) as f:
    written = json.load(f)
  assert set(written) == {
    'config',
    'changed_defaults',
    'versions',
    'git_commit',
    'devices',
    'platform',
  }
  assert written['versions']['jax']
  assert len(written['devices']) == 4
  changed = written['changed_defaults']
  assert changed['experiment_kwargs.config.net_kwargs'] == {}
  assert changed['checkpoint_dir'] == ''
  assert 'max_checkpoints_to_keep' not in changed
  kwargs = written['config']['experiment_kwargs']['config']['net_kwargs']
  assert kwargs['sizes'] == [1, 2]
  assert kwargs['make'] == f'{toy_experiment.__name__}.get_config'
  # The same config is recognised, whatever its Python types.
  prepare(config, has_checkpoint=True)


def test_changed_config_is_refused_and_named(config):
  prepare(config, has_checkpoint=False)
  config.experiment_kwargs.config.lr = 0.5
  config.experiment_kwargs.config.net_kwargs.depth = 3
  config.random_seed = 1
  with pytest.raises(errors.UserError) as error:
    prepare(config, has_checkpoint=True)
  message = str(error.value)
  assert 'experiment_kwargs.config.lr was 0.01, now 0.5' in message
  assert 'experiment_kwargs.config.net_kwargs.depth was (absent), now 3' in (
    message
  )
  assert 'random_seed was 42, now 1' in message
  # Without a checkpoint there is nothing to protect.
  prepare(config, has_checkpoint=False)


def test_logging_length_and_evaluation_may_change(config):
  config.experiment_kwargs.config.training = {'on_nonfinite': 'stop'}
  prepare(config, has_checkpoint=False)
  config.experiment_kwargs.config.training.on_nonfinite = 'back_off'
  config.training_steps = 7
  config.interval_type = 'secs'
  config.log_tensors_interval = 99
  config.save_checkpoint_interval = 98
  config.max_checkpoints_to_keep = 1
  config.restore_path = 'x'
  config.best_model_eval_metric = 'y'
  config.experiment_kwargs.config.eval.samples = 8
  prepare(config, has_checkpoint=True)


def test_what_was_declared_since_is_at_its_default(config):
  lr = config.experiment_kwargs.config.lr
  path = os.path.join(config.checkpoint_dir, 'config.json')
  prepare(config, has_checkpoint=False)
  with open(path) as f:
    written = json.load(f)
  del written['config']['experiment_kwargs']['config']['lr']
  written['config']['experiment_kwargs']['config']['removed_since'] = 1
  with open(path, 'w') as f:
    json.dump(written, f)
  config.experiment_kwargs.config.lr = 0.5
  with pytest.raises(errors.UserError) as error:
    prepare(config, has_checkpoint=True)
  assert f'config.lr was {lr}, now 0.5' in str(error.value)
  assert 'config.removed_since was 1, now (absent)' in str(error.value)
  del written['config']['experiment_kwargs']['config']['removed_since']
  with open(path, 'w') as f:
    json.dump(written, f)
  config.experiment_kwargs.config.lr = lr
  prepare(config, has_checkpoint=True)


def test_damaged_config_json(config):
  os.makedirs(config.checkpoint_dir)
  with open(os.path.join(config.checkpoint_dir, 'config.json'), 'w') as f:
    f.write('{')
  with pytest.raises(errors.UserError, match='cannot be read'):
    prepare(config, has_checkpoint=True)


def test_folder_that_cannot_be_written(config, tmp_path):
  (tmp_path / 'file').write_text('')
  config.checkpoint_dir = str(tmp_path / 'file' / 'run')
  with pytest.raises(errors.UserError, match='cannot write'):
    prepare(config, has_checkpoint=False)


def fail_on_full_disk(*unused_arguments):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_everything(writer, step):
  writer.write_scalars(step, {'a': step})
  writer.write_images(step, {'w': np.zeros((4, 4, 3), np.uint8)})
  writer.write_png(f'samples/{step}.png', np.zeros((4, 4), np.uint8))
  writer.write_json(f'eval/{step}.json', {})


@pytest.mark.parametrize(
  ('write', 'function', 'path'),
  [
    ('write_scalars', 'append', 'train/metrics.csv'),
    ('write_images', 'append', 'train'),
    ('write_png', 'write_atomically', 'samples/a.png'),
    ('write_json', 'write_atomically', 'eval/a.json'),
  ],
)
def test_full_disk_stops_with_the_path(
  tmp_path, monkeypatch, write, function, path
):
  writer = run_directory.Writer(tmp_path, 'train', restored_step=0)
  writer.write_scalars(1, {'a': 1})
  monkeypatch.setattr(files, function, fail_on_full_disk)
  arguments = {
    'write_scalars': (2, {'a': 1}),
    'write_images': (2, {'w': np.zeros((4, 4, 3), np.uint8)}),
    'write_png': ('samples/a.png', np.zeros((4, 4), np.uint8)),
    'write_json': ('eval/a.json', {}),
  }
  with pytest.raises(errors.TrainingError) as error:
    getattr(writer, write)(*arguments[write])
  assert str(error.value) == (
    f'cannot write {tmp_path / path}: No space left on device'
  )


def test_full_disk_loses_no_row_if_training_goes_on(tmp_path, monkeypatch):
  writer = run_directory.Writer(
    tmp_path, 'train', restored_step=0, on_error='go_on'
  )
  write_everything(writer, 1)
  with monkeypatch.context() as full:
    full.setattr(files, 'append', fail_on_full_disk)
    full.setattr(files, 'write_atomically', fail_on_full_disk)
    write_everything(writer, 2)
  write_everything(writer, 3)
  rows = read_csv(tmp_path / 'train' / 'metrics.csv')
  assert [row['step'] for row in rows] == ['1', '2', '3']
  scalars = [
    event.step
    for event in read_events(tmp_path / 'train')
    for value in event.summary.value
    if value.tag == 'a'
  ]
  assert scalars == [1, 3]
  assert sorted(os.listdir(tmp_path / 'samples')) == ['1.png', '3.png']


def test_full_disk_at_the_start(config, monkeypatch):
  monkeypatch.setattr(files, 'write_atomically', fail_on_full_disk)
  with pytest.raises(errors.UserError, match=r'cannot write .*config\.json'):
    prepare(config, has_checkpoint=False)
