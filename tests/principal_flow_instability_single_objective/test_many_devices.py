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
"""DAL's training on one device, and in two processes."""

import pathlib
import sys

import pytest

from tests.jaxline_harness import processes

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = '--config.experiment_kwargs.config.'
COMMAND = [
  sys.executable,
  '-m',
  'principal_flow_instability_single_objective.experiment',
  f'--config={ROOT / "configs" / "dal_fashion_mnist_config.py"}',
  '--config.checkpoint_dir=run',
  f'{SETTINGS}num_train_examples=64',
  f'{SETTINGS}num_test_examples=20',
  f'{SETTINGS}net.kwargs.hidden_sizes=[8]',
  f'{SETTINGS}optimizer.momentum=0.5',
  f'{SETTINGS}dal.power=1.0',
  f'{SETTINGS}training.batch_size=16',
  f'{SETTINGS}eval.num_eigenvalues=0',
  f'{SETTINGS}eval.drift=False',
]


@pytest.mark.slow
@pytest.mark.parametrize('batch', ['same', 'full'])
def test_processes_change_no_parameter(batch, tmp_path):
  """Nor DAL's norms, of gradients and products averaged over devices."""
  command = [*COMMAND, f'{SETTINGS}dal.batch={batch}']
  wanted = processes.train(tmp_path / 'one', command, 1, 1, 3)
  actual = processes.train(tmp_path / 'two', command, 2, 1, 3)
  assert any('product_norm' in name for name in wanted)
  processes.assert_equal_but_for_rounding(
    actual, wanted, processes.state(tmp_path / 'one', 0)
  )
