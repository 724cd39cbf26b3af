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
"""What does not fit into memory is refused before it is allocated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxline_harness import errors
from jaxline_harness import memory


def test_state_larger_than_the_memory(monkeypatch):
  monkeypatch.setattr(memory, 'of_device', lambda: 3 * 2**30)
  state = {
    'w': jax.ShapeDtypeStruct((2**28,), np.float32),
    'm': jax.ShapeDtypeStruct((2**20, 512), np.float32),
  }
  more = state | {'count': jax.ShapeDtypeStruct((), np.int32)}
  with pytest.raises(errors.UserError) as error:
    memory.check_devices('it', memory.size_of(more))
  line = 'it would take 3.0 GiB a device, but there are 3.0 GiB'
  assert str(error.value) == line
  memory.check_devices('it', memory.size_of(state))


def test_memory_of_the_host(monkeypatch):
  with pytest.raises(
    errors.UserError, match='^it would take 1048576.0 GiB of '
  ):
    memory.check_host('it', 2**50)
  memory.check_host('it', 2**20)


def test_memory_of_a_container(monkeypatch, tmp_path):
  limit, usage = tmp_path / 'limit', tmp_path / 'usage'
  monkeypatch.setattr(memory, '_CGROUPS', [(limit, usage)])
  without = memory.of_host()
  usage.write_text('1000000\n')
  for text, expected in (('3000000\n', 2_000_000), ('5\n', 0)):
    limit.write_text(text)
    assert memory.of_host() == expected
  limit.write_text('max\n')
  assert memory.of_host() > without / 2


def test_the_largest_array_is_found_inside():
  @jax.jit
  def inner(x):
    return jnp.outer(x, x).sum()

  def function(x):
    return jax.lax.scan(lambda c, y: (c + inner(y), c), 0.0, x)[0]

  shape = jax.ShapeDtypeStruct((2, 1000), np.float32)
  assert memory.largest_array(function, shape) == 4 * 1000**2
  assert memory.largest_array(lambda x: x, shape) == 0


def test_memory_of_a_cpu_is_shared_by_its_devices():
  host = memory.of_device() * jax.local_device_count()
  assert 2**28 < host < 2**50
