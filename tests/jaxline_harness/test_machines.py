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
"""Targets are read, and what is missing for one is said in a line."""

import sys
import tomllib

import pytest

from jaxline_harness import errors
from jaxline_harness import machines

KINDS = sorted({*machines.list_kinds()} - {'cpu'})


def test_kinds():
  assert {'a100', 'h100', 'h200', 'v4', 'v5e', 'v5p', 'v6e'} < {*KINDS}


@pytest.mark.parametrize('name', KINDS)
def test_each_kind_is_complete_and_plausible(name):
  kind = machines.read_target(name).kind
  assert all(kind.sources)
  assert 10e9 < kind.memory_bytes < 1e12
  assert 0.5 <= kind.usable_share <= 1
  assert 5e11 < kind.memory_bandwidth < 1e13
  assert 1e10 < kind.link_bandwidth < kind.memory_bandwidth
  assert 5e13 < kind.flops['float32'] <= kind.flops['bfloat16'] < 5e15
  assert bool(kind.target_config) == (kind.platform == 'cuda')
  if kind.target_config:
    assert f'device_memory_size: {kind.memory_bytes}\n' in kind.target_config
    bandwidth = f'memory_bandwidth: {kind.memory_bandwidth:.0f}\n'
    assert bandwidth in kind.target_config


@pytest.mark.parametrize(
  ('text', 'num_devices', 'platform'),
  [
    ('cpu', 1, 'cpu'),
    ('cpu:3', 3, 'cpu'),
    ('h100:2x8', 16, 'cuda'),
    ('v5e:4x4', 16, 'tpu'),
    ('v5p:2x2x4', 16, 'tpu'),
  ],
)
def test_targets(text, num_devices, platform):
  target = machines.read_target(text)
  assert (target.name, target.num_devices) == (text, num_devices)
  assert target.platform == platform


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('h10', "'h10' is no kind of device; did you mean h100"),
    ('../errors', 'is no kind of device'),
    ('h100:', None),
    ('h100:eight', 'after the colon stands a number'),
    ('h100:0', 'that is not 1 to 1024 devices'),
    ('v5e:99x99', 'that is not 1 to 1024 devices'),
    ('v5e:1x1x1x1', 'after the colon'),
  ],
)
def test_wrong_targets(text, message):
  if message is None:
    assert machines.read_target(text).num_devices == 1
    return
  with pytest.raises(errors.UserError, match=message):
    machines.read_target(text)


@pytest.mark.parametrize(
  ('text', 'module', 'extra'),
  [('h100:2', 'jax_cuda12_plugin', 'cuda12'), ('v5e:2x2', 'libtpu', 'tpu')],
)
def test_a_missing_compiler_is_named(monkeypatch, text, module, extra):
  monkeypatch.setitem(sys.modules, module, None)  # As if not installed.
  with pytest.raises(errors.UserError) as error:
    machines.describe_devices(machines.read_target(text))
  assert str(error.value).startswith(
    f"--target={text} needs the extra '{extra}'"
  )
  assert '\n' not in str(error.value)


def test_extras_are_in_setup():
  """The message names what there is."""
  root = machines._FOLDER.parents[1]
  assert tomllib.loads((machines._FOLDER / 'h100.toml').read_text())
  setup = (root / 'setup.py').read_text()
  assert "'cuda12': ['jax[cuda12]']" in setup
  assert "'tpu': ['jax[tpu]']" in setup
