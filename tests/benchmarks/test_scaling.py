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
"""What a step sends is counted; layouts and the projection make sense."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))  # As its scripts find each other.

import scaling  # noqa: E402

SUMS = """
import jax

def step(x):
  return jax.lax.pmean({'a': x, 'b': x[:3]}, 'i')

run = jax.pmap(step, axis_name='i')
shape = jax.ShapeDtypeStruct((2, 5, 7), 'float32')
print(run.lower(shape).compile().as_text())
"""


def test_bytes_of_a_compiled_program():
  """Whether XLA joins the two sums or not: (5 · 7 + 3 · 7) float32."""
  program = subprocess.run(
    [sys.executable, '-c', SUMS],
    env={
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
    },
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  assert sum(scaling.collective_bytes(program)) == 4 * (35 + 21)


def test_bytes_of_asynchronous_and_other_collectives():
  program = """
  %a = bf16[2,3]{1,0} all-gather-start(bf16[1,3]{1,0} %x), dimensions={0}
  %b = bf16[2,3]{1,0} all-gather-done(bf16[2,3]{1,0} %a)
  ROOT %c = (f32[4]{0}, s32[]) all-reduce(f32[4]{0} %y, s32[] %z)
  %d = f32[4]{0} add(f32[4]{0} %y, f32[4]{0} %y)
  """
  assert scaling.collective_bytes(program) == [12, 20]


def test_layouts():
  kinds = scaling.layouts(64, cores=2)
  for kind, expected in (
    ('strong', {1: 64, 2: 64, 4: 64}),
    ('weak', {1: 16, 2: 32, 4: 64}),
  ):
    places = kinds[kind]
    assert places[0] == scaling.Layout(1, 1, 1, expected[1])
    assert {p.all_devices: p.batch_size for p in places} == expected


@pytest.mark.parametrize('gpus', [2, 8, 256])
def test_no_all_reduce_beats_its_bandwidth_or_latency(gpus):
  given = scaling.Assumptions()
  rate = given.node_gbytes if gpus <= 8 else given.network_gbytes
  hop = given.node_us if gpus <= 8 else given.network_us
  for size in (4, 10**6, 10**9):
    seconds = scaling.all_reduce_seconds(size, gpus, given)
    assert seconds >= 2 * (gpus - 1) / gpus * size / (1e9 * rate)
    assert seconds >= 2 * 1e-6 * hop
  # A large sum goes round the ring at its full bandwidth.
  assert seconds == pytest.approx(
    2 * (gpus - 1) / gpus * 1e9 / (1e9 * rate), rel=0.1
  )


def test_projection():
  counted = {'case': 'cifar', 'variant': 'plain', 'sizes': [4 * 10**6]}
  counted |= {'batch_size': 128}
  program = {'case': 'cifar', 'variant': 'plain'}
  program |= {'bytes_moved': 3352 * 10**7, 'kernels': 500}
  results = scaling.project([counted], [program], scaling.Assumptions())
  weak = [r for r in results if r['scaling'] == 'weak']
  strong = [r for r in results if r['scaling'] == 'strong']
  assert [r['gpus'] for r in weak] == [8, 16, 32, 64, 128, 256]
  assert {r['batch_size'] for r in strong} == {8 * 128}
  assert {r['batch_size'] // r['gpus'] for r in weak} == {128}
  # 10 ms of memory's bandwidth for each 128 examples, and 1.5 ms of starts.
  for row in results:
    wanted = 0.01 * row['batch_size'] / row['gpus'] / 128 + 0.0015
    assert row['computing_seconds'] == pytest.approx(wanted)
  rates = [r['examples_per_second'] for r in weak]
  assert rates == sorted(rates)
  table = scaling.projection_table(results).split('\n')
  assert len({line.count('|') for line in table}) == 1
  assert re.search(r'\| 100 % \|$', table[2])
