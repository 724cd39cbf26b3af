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
"""`./run.sh train` and `eval` as a user types them, and what they answer."""

import csv
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from tests import command_lines
from tests.dd_two_player_games import small_experiments

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENT = '--config.experiment_kwargs.config.'
# The embedded default, a few steps of it.
SHORT = (
  '--config.training_steps=6',
  '--config.log_train_data_interval=2',
  '--config.log_tensors_interval=2',
  '--config.save_checkpoint_interval=4',
  f'{EXPERIMENT}training.batch_size=8',
  f'{EXPERIMENT}eval.num_eval_splits=2',
  f'{EXPERIMENT}eval.num_inception_images=50',
  f'{EXPERIMENT}eval.batch_size=50',
)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
  """The project where dd_venv's Python is the one that runs the tests.

  It finds no TensorFlow, nor what else the GANs' extra does not bring.
  """
  folder = tmp_path_factory.mktemp('checkout')
  for name in ('run.sh', 'requirements.txt'):
    shutil.copy(ROOT / name, folder / name)
  for name in (
    *('configs', 'convolutions_as_products', 'dd_two_player_games'),
    *('differentiable_games', 'diffgames', 'jaxline_harness', 'tests'),
  ):
    (folder / name).symlink_to(ROOT / name)
  (folder / 'sitecustomize.py').write_text(
    'from tests import partial_installation\n'
    "partial_installation.keep('gan', 'plots')\n"
  )
  python = folder / 'dd_venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
  python.chmod(0o755)
  checksum = subprocess.run(
    'cksum < requirements.txt',
    shell=True,
    cwd=folder,
    check=True,
    capture_output=True,
    text=True,
  ).stdout.strip()
  (folder / 'dd_venv' / '.set_up').write_text(f'jax[cpu] {checksum}\n')
  return folder


def user_env():
  """One device, as users of the CPU have."""
  env = dict(os.environ, DD_JAX='cpu')
  flags = env.get('XLA_FLAGS', '').split()
  env['XLA_FLAGS'] = ' '.join(f for f in flags if 'device_count' not in f)
  env.pop('PYTHONPATH', None)
  return env


class Session:
  """A folder in which a user calls run.sh."""

  def __init__(self, checkout: pathlib.Path, folder: pathlib.Path):
    self.folder = folder
    self._script = str(checkout / 'run.sh')

  def run(self, *arguments):
    return subprocess.run(
      [self._script, *arguments],
      cwd=self.folder,
      env=user_env(),
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=580,
    )

  def succeed(self, *arguments):
    result = self.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert 'Traceback' not in result.stderr
    return result


@pytest.fixture(scope='module')
def session(checkout, tmp_path_factory):
  return Session(checkout, tmp_path_factory.mktemp('user'))


@pytest.fixture(scope='module')
def trained(session):
  """`./run.sh train`: (the run's folder, what it printed)."""
  result = session.succeed('train', *SHORT)
  return session.folder / 'runs' / 'sgd_fashion_mnist', result.stdout


@pytest.fixture(scope='module')
def evaluated(session, trained):
  result = session.succeed('eval', *SHORT)
  return trained[0], result.stdout


def rows(path):
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def is_picture(path):
  with Image.open(path) as picture:
    picture.load()
    levels = np.asarray(picture)
  return picture.format == 'PNG' and levels.std() > 0


def event_tags(folder):
  from tensorboard.backend.event_processing import event_accumulator

  accumulator = event_accumulator.EventAccumulator(str(folder))
  accumulator.Reload()
  return accumulator.Tags()


@pytest.mark.slow
def test_train_leaves_its_files(trained):
  folder, printed = trained
  described = json.loads((folder / 'config.json').read_text())
  experiment = described['config']['experiment_kwargs']['config']
  assert described['config']['training_steps'] == 6
  assert experiment['training']['batch_size'] == 8
  assert experiment['dataset'] == 'fashion_mnist_10k'
  assert len(described['devices']) == 1
  steps = rows(folder / 'train' / 'metrics.csv')
  assert [int(row['step']) for row in steps] == [2, 4, 6]
  for row in steps:
    assert np.isfinite(float(row['disc_loss']))
    assert np.isfinite(float(row['gen_loss']))
  assert any(name.endswith('/sv') for name in steps[0])
  for step in (4, 6):
    assert (folder / 'checkpoints' / 'latest' / str(step)).is_dir()
    assert is_picture(folder / f'samples/step_{step:08d}.png')
  assert 'disc_loss' in event_tags(folder / 'train')['scalars']
  assert 'Trained to step 6.' in printed
  assert f'Files of the run: {folder}\n' in printed
  assert f'Report: ./run.sh report {folder}\n' in printed


@pytest.mark.slow
def test_eval_measures_the_newest_checkpoint(evaluated):
  folder, printed = evaluated
  metrics = json.loads((folder / 'eval/metrics_00000006.json').read_text())
  measured_with = metrics.pop('measured_with')
  assert measured_with['data'] == 'fashion_mnist_10k'
  assert measured_with['images_per_split'] == 50
  assert metrics.pop('step') == 6
  assert metrics.keys() == (
    small_experiments.IMAGE_METRICS | small_experiments.OTHER_METRICS
  )
  assert 1 <= metrics['IS_mean'] <= 10
  assert metrics['FID'] > 0
  for name, value in metrics.items():
    assert f'{value:.6g}' in printed
    assert name in printed
  (row,) = rows(folder / 'eval' / 'metrics.csv')
  assert int(row['step']) == 6
  np.testing.assert_allclose(float(row['FID']), metrics['FID'], rtol=1e-5)
  assert is_picture(folder / 'eval' / 'samples_00000006.png')
  tags = event_tags(folder / 'eval')
  assert 'FID' in tags['scalars']
  assert 'samples_and_data' in tags['images']
  # The first evaluation's checkpoint is the best so far.
  assert (folder / 'checkpoints' / 'best' / '6').is_dir()


@pytest.mark.slow
def test_restore_path_evaluates_another_runs_checkpoint(session, evaluated):
  folder, _ = evaluated
  elsewhere = session.folder / 'elsewhere'
  session.succeed(
    'eval',
    'sgd_fashion_mnist',
    *SHORT,
    f'--config.checkpoint_dir={elsewhere}',
    f'--config.restore_path={folder}/checkpoints/latest/6',
  )
  name = 'eval/metrics_00000006.json'
  metrics = [json.loads((f / name).read_text()) for f in (folder, elsewhere)]
  assert metrics[0] == metrics[1]
  assert not (elsewhere / 'checkpoints' / 'best').exists()


@pytest.mark.slow
def test_train_goes_on_to_more_steps(session, evaluated):
  """The last test of this run: it makes further files."""
  folder, _ = evaluated
  result = session.succeed('train', *SHORT, '--config.training_steps=9')
  assert 'Trained to step 9.' in result.stdout
  steps = rows(folder / 'train' / 'metrics.csv')
  assert [int(row['step']) for row in steps] == [2, 4, 6, 8, 9]
  assert (folder / 'checkpoints' / 'latest' / '9').is_dir()
  described = json.loads((folder / 'config.json').read_text())
  assert described['config']['training_steps'] == 9
  # Another learning rate would be another run.
  changed = session.run(
    'train', *SHORT, f'{EXPERIMENT}optimizers.generator.lr=0.2'
  )
  assert changed.returncode == 2
  assert 'optimizers.generator.lr was 0.1, now 0.2' in changed.stderr
  assert len(changed.stderr.splitlines()) == 1


@pytest.mark.slow
def test_mixture_of_gaussians(session):
  arguments = (
    '--config.training_steps=3',
    '--config.log_train_data_interval=1',
    f'{EXPERIMENT}training.simultaneous_updates=True',
  )
  session.succeed('train', 'mixture_of_gaussians', *arguments)
  folder = session.folder / 'runs' / 'mixture_of_gaussians'
  assert len(rows(folder / 'train' / 'metrics.csv')) == 3
  assert is_picture(folder / 'samples' / 'step_00000003.png')
  result = session.succeed('eval', 'mixture_of_gaussians', *arguments)
  assert 'modes_covered' in result.stdout
  metrics = json.loads((folder / 'eval/metrics_00000003.json').read_text())
  assert 0 <= metrics['high_quality_share'] <= 1


# What a user can do wrong.


@pytest.fixture
def error_line(tmp_path, monkeypatch, capsys):
  """Runs the program here: the line that it ends with, and nothing else."""
  monkeypatch.chdir(tmp_path)

  def run(*arguments, config='sgd_fashion_mnist', mode='train'):
    flags = [
      f'--config={ROOT}/configs/{config}_config.py',
      f'--jaxline_mode={mode}',
    ]
    return command_lines.error_line(
      capsys, experiment.Experiment, base_config.SCHEMA, *flags, *arguments
    )

  return run


def test_unknown_field(error_line, tmp_path):
  line = error_line(f'{EXPERIMENT}training.batchsize=3')
  assert line == (
    'error: config.experiment_kwargs.config.training.batchsize does not exist; '
    'did you mean config.experiment_kwargs.config.training.batch_size?'
  )
  assert list(tmp_path.iterdir()) == []


def test_bad_loss_name(error_line):
  line = error_line(f'{EXPERIMENT}losses.generator=generator_saturatin_loss')
  assert line == (
    'error: config.experiment_kwargs.config.losses.generator: there is no '
    "'generator_saturatin_loss'; did you mean generator_saturating_loss?"
  )


def test_two_update_rules_at_once(error_line):
  line = error_line(f'{EXPERIMENT}training.runge_kutta_updates=True')
  assert line == (
    'error: config.experiment_kwargs.config.training.simultaneous_updates=True '
    'and .runge_kutta_updates=True: choose one update rule'
  )


def test_batch_that_devices_cannot_share(error_line):
  line = error_line(f'{EXPERIMENT}training.batch_size=34')
  assert line == (
    'error: config.experiment_kwargs.config.training.batch_size=34 is not '
    'divisible by the number of devices, 4'
  )


def test_missing_checkpoint(error_line, tmp_path):
  line = error_line(mode='eval')
  assert 'runs/sgd_fashion_mnist' in line
  assert 'checkpoint' in line
  missing = tmp_path / 'missing'
  line = error_line(f'--config.restore_path={missing}', mode='eval')
  assert str(missing) in line


@pytest.mark.slow  # Imports TensorFlow.
def test_missing_data(error_line, tmp_path, monkeypatch):
  def refuse(*unused_args, **unused_kwargs):
    raise socket.gaierror('no network in this test')

  monkeypatch.setattr(socket, 'getaddrinfo', refuse)
  for name in ('http_proxy', 'https_proxy', 'all_proxy'):
    monkeypatch.setenv(name, '')
    monkeypatch.setenv(name.upper(), '')
  empty = tmp_path / 'empty'
  empty.mkdir()
  line = error_line(f'{EXPERIMENT}data_dir={empty}', config='sgd_cifar')
  for part in ('cifar10', str(empty), 'no network', 'cifar-10-binary.tar.gz'):
    assert part in line


def test_missing_npz(error_line, tmp_path):
  line = error_line(f'{EXPERIMENT}dataset={tmp_path}/none.npz')
  assert line == f'error: {tmp_path}/none.npz: no such file or folder.'
