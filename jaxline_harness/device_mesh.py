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
"""Arrays and functions on all devices, which form one axis, `i`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import sharding
import numpy as np

PyTree = Any

AXIS = 'i'
EVERYWHERE = sharding.PartitionSpec()  # A copy on each device.


def make_mesh(devices: Sequence[Any] | None = None) -> sharding.Mesh:
  """Returns the one-axis mesh `i`, by default of all processes' devices."""
  devices = jax.devices() if devices is None else devices
  return sharding.Mesh(np.array(devices), (AXIS,))


def replicate(tree: PyTree) -> PyTree:
  """Puts one copy of each array on each device of all processes.

  Args:
    tree: arrays of any shapes, the same in all processes.

  Returns:
    The same tree of global arrays of the same shapes.
  """
  placement = sharding.NamedSharding(make_mesh(), EVERYWHERE)

  def put(x):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, placement, lambda _: x)

  return jax.tree.map(put, tree)


def unreplicate(tree: PyTree) -> PyTree:
  """Fetches this process's copy as numpy arrays: the inverse of `replicate`.

  Args:
    tree: arrays that are the same on all devices.

  Returns:
    The same tree of numpy arrays, which share memory with the device's where
    that is possible: the next step may write over them.
  """
  return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), tree))


def run_everywhere(
  function: Callable[..., Any],
  mesh: sharding.Mesh,
  in_specs: PyTree = EVERYWHERE,
  **options: Any,
) -> Any:
  """Compiles a function that each device of a mesh runs.

  Inside, `lax.pmean(x, 'i')`, `lax.axis_index('i')` and the like are what they
  are inside `pmap`, gradients through them too.

  Args:
    function: of pytrees of arrays, to arrays that are the same on all devices.
    mesh: its devices need not be here for `lower` and `compile`.
    in_specs: how arguments are spread over devices, as `jax.shard_map` has it;
      by default all of them are on all devices.
    **options: of `jax.jit`.

  Returns:
    A function under `jax.jit`.
  """
  # Where JAX checks what varies over devices it sums some gradients by itself.
  mapped = jax.shard_map(
    function,
    mesh=mesh,
    in_specs=in_specs,
    out_specs=EVERYWHERE,
    check_vma=False,
  )
  inputs, outputs = jax.tree.map(
    lambda spec: sharding.NamedSharding(mesh, spec), (in_specs, EVERYWHERE)
  )
  return jax.jit(mapped, in_shardings=inputs, out_shardings=outputs, **options)
