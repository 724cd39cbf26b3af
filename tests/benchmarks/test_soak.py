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
"""A leak or a slowing is found, where there is one."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))  # As its scripts find each other.

import soak  # noqa: E402


def curve(**last):
  """Ten minutes of samples; `last` is what the last minute adds."""
  steady = {'resident_bytes': 1e9, 'threads': 20, 'descriptors': 40}
  steady['steps_per_second'] = 10.0
  samples = [{'seconds': float(s), **steady} for s in range(0, 600, 5)]
  # A save opens files for a moment: that is no leak.
  samples[30]['descriptors'] = samples[-2]['descriptors'] = 60
  for sample in samples[-13:]:
    for name, more in last.items():
      sample[name] += more
  return samples


@pytest.mark.parametrize(
  ('last', 'fails'),
  [
    ({}, set()),
    ({'resident_bytes': 5e6}, set()),
    ({'resident_bytes': 2e7}, {'memory_holds'}),
    ({'threads': 1}, {'threads_hold'}),
    ({'descriptors': 1}, {'descriptors_hold'}),
    ({'steps_per_second': -0.2}, set()),
    ({'steps_per_second': -2.0}, {'speed_holds'}),
  ],
)
def test_verdicts(last, fails):
  samples = curve(**last)
  results = soak.verdicts(soak.compare(samples, 60, 595))
  assert {n for n, v in results.items() if 'hold' in n and not v} == fails


def test_too_short_a_soak_says_so():
  with pytest.raises(SystemExit, match='too short'):
    soak.compare(curve(), 700, 800)


def test_speeds(tmp_path):
  table = tmp_path / 'metrics.csv'
  table.write_text('step,seconds\n10,2.0\n30,4.0\n30,4.0\n60,5.0\n')
  assert soak.speeds(table) == [
    {'seconds': 4.0, 'steps_per_second': 10.0},
    {'seconds': 5.0, 'steps_per_second': 30.0},
  ]


def test_samples_of_a_process():
  with subprocess.Popen(['sleep', '30']) as process:
    samples = soak.watch(process, seconds=0.2, period=0.05)
    process.kill()
  assert len(samples) > 1
  assert samples[0]['threads'] == 1
  assert samples[0]['descriptors'] >= 3
  assert 0 < samples[0]['resident_bytes'] < 100 << 20
  assert samples[0]['seconds'] < samples[-1]['seconds'] < 1
