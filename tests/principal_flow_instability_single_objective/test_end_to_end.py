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
"""Training and evaluation from the command line, as run.sh starts them."""

import csv
import pathlib
import subprocess
import sys

import pytest

CONFIG = pathlib.Path(__file__).parents[2] / 'configs'
MODULE = 'principal_flow_instability_single_objective.experiment'
EXPERIMENT = '--config.experiment_kwargs.config.'
SHORT = (
  '--config.log_train_data_interval=2',
  '--config.log_tensors_interval=2',
  '--config.save_checkpoint_interval=4',
  f'{EXPERIMENT}num_train_examples=40',
  f'{EXPERIMENT}num_test_examples=20',
  f'{EXPERIMENT}eval.interval=4',
  f'{EXPERIMENT}eval.drift=False',
  f'{EXPERIMENT}dal.power=1.0',
  f'{EXPERIMENT}training.batch_size=20',
)


def run(folder, env, *arguments):
  config = CONFIG / 'dal_fashion_mnist_config.py'
  return subprocess.run(
    [sys.executable, '-P', '-m', MODULE, f'--config={config}', *arguments],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    timeout=580,
  )


@pytest.mark.slow
def test_train_go_on_and_evaluate(tmp_path, one_device_env):
  for last_step in (4, 8):
    steps = f'--config.training_steps={last_step}'
    trained = run(tmp_path, one_device_env, *SHORT, steps)
    assert trained.returncode == 0, trained.stderr
    assert f'Trained to step {last_step}.' in trained.stdout
  folder = tmp_path / 'runs' / 'dal_fashion_mnist'
  rows = list(csv.DictReader((folder / 'train' / 'metrics.csv').open()))
  assert [row['step'] for row in rows] == ['2', '4', '6', '8']
  assert [bool(row['lambda_0']) for row in rows] == [False, True, False, True]
  assert all(float(row['learning_rate']) > 0 for row in rows)
  evaluated = run(tmp_path, one_device_env, *SHORT, '--jaxline_mode=eval')
  assert evaluated.returncode == 0, evaluated.stderr
  assert 'test_accuracy' in evaluated.stdout
  assert (folder / 'eval' / 'metrics_00000008.json').is_file()
