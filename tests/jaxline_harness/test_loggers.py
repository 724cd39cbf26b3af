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
"""Loggers by name, with stand-ins for the services' libraries."""

import json
import os
import pathlib
import sys
import types

import pytest

from jaxline_harness import run_directory
from tests.jaxline_harness import test_launch
from tests.jaxline_harness import test_run_directory

CONFIG = test_launch.CONFIG
RUN = pathlib.Path('runs', 'toy')
toy = test_launch.toy


class FakeWandB(types.ModuleType):
  """Notes what is logged."""

  def __init__(self):
    super().__init__('wandb')
    self.started, self.logged, self.finished = [], [], 0

  def init(self, **arguments):
    self.started.append(arguments)
    return self

  def finish(self):
    self.finished += 1

  def log(self, values):
    self.logged.append(values)

  def define_metric(self, name, step_metric):
    assert (name, step_metric) == ('*', 'step')

  def Settings(self, **settings):
    return settings

  def Image(self, pixels):
    return pixels.shape


class FakeMLflow(types.ModuleType):
  """Notes what is logged; fails from the step `fails_at` on."""

  def __init__(self, fails_at=1_000):
    super().__init__('mlflow')
    self.fails_at = fails_at
    self.started, self.metrics, self.pictures = [], [], []
    self.config = None

  def start_run(self, run_id, run_name):
    self.started.append(run_id)
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id='theirs'))

  def log_dict(self, content, path):
    assert path == 'config.json'
    self.config = content

  def log_metrics(self, metrics, step):
    if step >= self.fails_at:
      raise ConnectionError('nobody\nanswers')
    self.metrics.append((step, set(metrics)))

  def log_image(self, image, key, step):
    self.pictures.append((step, key, image.shape))

  def end_run(self):
    pass


@pytest.fixture
def wandb(monkeypatch):
  module = FakeWandB()
  monkeypatch.setitem(sys.modules, 'wandb', module)
  return module


@pytest.fixture
def mlflow(monkeypatch):
  module = FakeMLflow()
  monkeypatch.setitem(sys.modules, 'mlflow', module)
  return module


def warnings_in(caplog):
  return [r.getMessage() for r in caplog.records if r.levelname == 'WARNING']


def name_loggers(*names):
  return f'--config.loggers={names!r}'


def test_metrics_pictures_and_config_reach_all(toy, wandb, mlflow, caplog):
  named = name_loggers('csv', 'tensorboard', 'wandb', 'mlflow')
  assert toy(CONFIG, named)[0] == 0
  assert toy(CONFIG, named, '--jaxline_mode=eval')[0] == 0
  assert warnings_in(caplog) == []
  config = json.loads((RUN / 'config.json').read_text())['config']
  assert [start['config'] for start in wandb.started] == [config, config]
  assert mlflow.config == config
  # An evaluation goes on with the run.
  assert wandb.started[0]['id'] == wandb.started[1]['id']
  assert mlflow.started == [None, 'theirs']
  assert wandb.finished == 2

  steps = [step for step, names in mlflow.metrics if 'train/toy_loss' in names]
  assert steps == [5, 10, 15, 20]
  losses = [v['step'] for v in wandb.logged if 'train/toy_loss' in v]
  assert losses == steps
  values = [
    (event.step, value.tag, value.WhichOneof('value'))
    for event in test_run_directory.read_events(RUN / 'train')
    for value in event.summary.value
  ]
  assert [step for step, tag, _ in values if tag == 'toy_loss'] == steps
  assert (0, 'config/text_summary', 'tensor') in values
  for step in (10, 20):
    assert (step, 'samples', 'image') in values
    assert {'step': step, 'train/samples': [(1, 3, 1)]} in wandb.logged
    assert (step, 'train/samples', (1, 3, 1)) in mlflow.pictures
  assert (20, 'eval/w/1', (4, 4, 1)) in mlflow.pictures
  assert {'eval/score', 'eval/spread'} in [names for _, names in mlflow.metrics]


def test_one_that_fails_ends_no_run(toy, wandb, mlflow, caplog):
  mlflow.fails_at = 10
  wandb.init = None  # 'NoneType' object is not callable.
  assert toy(CONFIG, name_loggers('wandb', 'mlflow'))[0] == 0
  of_wandb, of_mlflow = warnings_in(caplog)
  assert of_wandb.startswith('config.loggers: wandb failed (TypeError: ')
  assert of_mlflow == (
    'config.loggers: mlflow failed (ConnectionError: nobody answers); '
    'the run goes on without it'
  )
  assert [step for step, _ in mlflow.metrics] == [5]
  rows = test_launch.rows(RUN / 'train' / 'metrics.csv')
  assert [row['step'] for row in rows] == ['5', '10', '15', '20']
  assert os.listdir(RUN / 'train') == ['metrics.csv']  # TensorBoard's is not.


def test_tensorboard_fails_but_for_a_full_disk(tmp_path, monkeypatch, caplog):
  writer = run_directory.Writer(str(tmp_path), 'train')

  def fail(*arguments):
    raise RuntimeError('no such thing')

  monkeypatch.setattr('jaxline_harness.event_file.EventFile', fail)
  for step in (1, 2):
    writer.write_scalars(step, {'a': 1})
  (line,) = warnings_in(caplog)
  assert 'tensorboard failed (RuntimeError: no such thing)' in line


def test_a_library_that_is_missing_is_told_first(toy, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  for mode in ('train', 'eval'):
    line = test_launch.error_line(
      toy(CONFIG, name_loggers('csv', 'wandb'), f'--jaxline_mode={mode}')
    )
    assert line.startswith(
      "error: 'wandb' in config.loggers needs the extra 'wandb' ("
    )
    assert "pip install '.[wandb]'" in line
  assert not RUN.exists()


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    ("('csv','tensorbord')", "[1]: there is no 'tensorbord'; did you mean"),
    ('wandb', ' must be a list of csv, tensorboard, wandb, mlflow, not'),
    ('(3,)', '[0]: there is no 3; there is csv, tensorboard'),
  ],
)
def test_names_are_checked(toy, value, message):
  line = test_launch.error_line(toy(CONFIG, f'--config.loggers={value}'))
  assert line.startswith(f'error: config.loggers{message}')
