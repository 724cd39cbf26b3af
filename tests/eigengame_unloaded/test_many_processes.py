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
"""Players and minibatches spread over processes end where one process does.

Each layout is what a user starts: processes that find each other through the
loopback interface.
"""

import pathlib
import sys

import numpy as np
import pytest

from tests.jaxline_harness import processes

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 20
SETTINGS = {
  'dataset': '../matrix.npy',
  # Not divisible by the groups of players.
  'num_eigenvectors': 5,
  'training.batch_size': 16,
}


def command(player_groups):
  settings = SETTINGS | {'training.player_groups': player_groups}
  return [
    *(sys.executable, '-m', 'eigengame_unloaded.experiment'),
    f'--config={ROOT / "configs" / "eigengame_synthetic_config.py"}',
    '--config.checkpoint_dir=run',
    *(
      f'--config.experiment_kwargs.config.{name}={value}'
      for name, value in settings.items()
    ),
  ]


@pytest.mark.slow
def test_a_streamed_matrix_in_two_processes(tmp_path):
  random = np.random.default_rng(0)
  matrix = random.standard_normal((40, 8)) * np.arange(8, 0, -1)
  np.save(tmp_path / 'matrix.npy', matrix)
  wanted = processes.train(tmp_path / 'one', command(1), 1, 1, STEPS)
  start = processes.state(tmp_path / 'one', 0)
  for player_groups, devices_each in ((2, 1), (2, 2)):
    folder = tmp_path / f'two_of_{devices_each}'
    actual = processes.train(
      folder, command(player_groups), 2, devices_each, STEPS
    )
    processes.assert_equal_but_for_rounding(actual, wanted, start)
