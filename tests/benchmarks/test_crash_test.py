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
"""Trainings that are killed end as if they were not."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))  # As its scripts find each other.

import crash_test  # noqa: E402


def test_differences():
  same = {'params/w': b'\0\1', 'metrics.csv': [{'step': '1'}]}
  other = {'params/w': b'\0\2', 'metrics.csv': [], 'a.png': b''}
  assert crash_test.differences(same, dict(same)) == []
  assert crash_test.differences(other, same) == [
    'a.png',
    'metrics.csv',
    'params/w',
  ]


@pytest.mark.slow
def test_killed_trainings(tmp_path, one_device_env):
  result = subprocess.run(
    [
      *(sys.executable, 'benchmarks/crash_test.py', '--kills=3'),
      *('--config=mixture_of_gaussians', f'--runs={tmp_path}'),
      f'--output={tmp_path / "figures.json"}',
    ],
    cwd=ROOT,
    env=one_device_env,
    capture_output=True,
    text=True,
    timeout=1200,
  )
  assert result.returncode == 0, result.stderr + result.stdout
  assert result.stdout.splitlines()[-1].startswith('3 kills (')
  assert result.stdout.endswith('all equal\n')
  (figures,) = json.loads((tmp_path / 'figures.json').read_text())['results']
  assert sum(figures['kills'].values()) == 3
  # Both players' parameters, Adam's state, the step, some samples.
  assert figures['arrays'] > 50
  assert figures['different'] == []
