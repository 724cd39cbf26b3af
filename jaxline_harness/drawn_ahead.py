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
"""Examples that stay on the host, and whose batches devices are given in time.

Steps are cut into windows of so many steps, whose numbers alone say which
examples they take (see `draws`): where chunks and runs end changes nothing.
While the devices compute with one window, a thread reads the next one. Each
process reads what its own devices take.
"""

from collections.abc import Mapping
from concurrent import futures
import functools
import math
from typing import Any, NamedTuple

import jax
from jax import lax
from jax import sharding
import jax.numpy as jnp
import numpy as np

from jaxline_harness import device_mesh
from jaxline_harness import draws

PyTree = Any

# Of all devices together: long enough for starting a program to cost nothing,
# and short enough for devices to hold two.
_WINDOW_BYTES = 1 << 26
_MOST_STEPS = 1024


class Window(NamedTuple):
  """What devices have of the examples: those of some successive steps.

  Attributes:
    batches: a pytree of arrays (steps, draws, batch, …); inside of a step, with
      the device's own share of each batch.
    first_step: number of the first of these steps.
  """

  batches: PyTree
  first_step: Any


_SPECS = Window(
  sharding.PartitionSpec(None, None, device_mesh.AXIS), device_mesh.EVERYWHERE
)


def draw_batch(
  examples: PyTree,
  seed: Any,
  step: Any,
  draw: Any,
  batch_size: int,
  num_draws: int,
) -> PyTree:
  """A device's share of a draw, on devices that form the axis `i`; traced.

  Args:
    examples: all of them, see `draws.draw_batch`, or a window of batches of a
      source with the same seed, batch size and number of draws.
    seed: see `draws.draw_indices`.
    step: its number, in the window if there is one.
    draw: its number within the step.
    batch_size: over all devices.
    num_draws: of a step.

  Returns:
    The same examples, of either.
  """
  if isinstance(examples, Window):
    row = step - examples.first_step
    return jax.tree.map(lambda x: x[row, draw], examples.batches)
  return draws.draw_batch(
    examples,
    seed,
    step * num_draws + draw,
    batch_size,
    lax.axis_index(device_mesh.AXIS),
    lax.axis_size(device_mesh.AXIS),
  )


class Source:
  """Examples on the host; `device_data` may hold it in place of arrays.

  A step is given a `Window` there, see `draw_batch`.

  Attributes:
    window_steps: how many steps a window has.
  """

  def __init__(
    self, examples: PyTree, seed: Any, batch_size: int, num_draws: int
  ):
    """Takes the examples.

    Args:
      examples: an array (N, …), perhaps a file mapped into memory, or a pytree
        of such arrays.
      seed: see `draws.draw_indices`; draw k of step s has the number
        `s * num_draws + k` there.
      batch_size: over all devices.
      num_draws: draws of a step.
    """
    self._examples = examples
    self._seed = np.asarray(seed)
    self._batch_dims = num_draws, batch_size
    num_bytes = math.prod(self._batch_dims) * sum(
      x.dtype.itemsize * math.prod(x.shape[1:])
      for x in jax.tree.leaves(examples)
    )
    steps = _WINDOW_BYTES // max(1, num_bytes)
    self.window_steps = min(max(1, steps), _MOST_STEPS)
    self._windows: Mapping[int, futures.Future[Window]] = {}
    self._thread = futures.ThreadPoolExecutor(1, 'draws_ahead')

  def shapes(self, num_shards: int = 1) -> Window:
    """Shapes and types of one of so many equal parts of a window."""
    draws_of_step, size = self._batch_dims
    dims = self.window_steps, draws_of_step, size // num_shards
    batches = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((*dims, *x.shape[1:]), x.dtype),
      self._examples,
    )
    return Window(batches, jax.ShapeDtypeStruct((), np.int32))

  def window(self, step: int) -> Window:
    """The window of a step on all devices; begins to read the one after it."""
    number = step // self.window_steps
    self._windows = {
      n: self._windows.get(n) or self._begin(n) for n in (number, number + 1)
    }
    return self._windows[number].result()

  def _begin(self, number: int) -> futures.Future[Window]:
    first_step = number * self.window_steps
    # Where devices compute one program after the other, this one comes before
    # the next window's steps, so that the thread need not wait for them.
    indices = _window_indices(
      self._seed,
      np.int32(first_step),
      num_steps=self.window_steps,
      batch_dims=self._batch_dims,
      num_examples=len(jax.tree.leaves(self._examples)[0]),
    )
    return self._thread.submit(self._read, first_step, indices)

  def _read(self, first_step: int, indices: jax.Array) -> Window:
    """Reads the rows that this process's devices take of a window."""
    rows = np.asarray(indices)
    placement = sharding.NamedSharding(device_mesh.make_mesh(), _SPECS.batches)

    def place(x: np.ndarray) -> jax.Array:
      def read(part: Any) -> np.ndarray:
        return np.take(x, rows[part[: rows.ndim]], axis=0)

      shape = (*rows.shape, *x.shape[1:])
      return jax.make_array_from_callback(shape, placement, read)

    batches = jax.tree.map(place, self._examples)
    return Window(batches, device_mesh.replicate(np.int32(first_step)))


@functools.partial(
  jax.jit, static_argnames=('num_steps', 'batch_dims', 'num_examples')
)
def _window_indices(seed, first_step, *, num_steps, batch_dims, num_examples):
  """Which examples the steps take: int32 (steps, draws, batch)."""
  num_draws, batch_size = batch_dims
  numbers = first_step * num_draws + jnp.arange(num_steps * num_draws)
  indices = jax.vmap(
    lambda number: draws.draw_indices(seed, number, batch_size, num_examples)
  )(numbers)
  return indices.reshape(num_steps, *batch_dims)


class DeviceData:
  """Data on all devices: arrays that stay there, and windows of sources."""

  def __init__(self, data: PyTree):
    """Puts the arrays of data, which may hold sources, on all devices."""
    self._data = _map_data(lambda x: x, device_mesh.replicate, data)

  def at(self, step: int, last_step: int) -> tuple[PyTree, int]:
    """What the steps after `step` are given.

    Args:
      step: a number of steps done.
      last_step: of the steps that are wanted.

    Returns:
      Global arrays and windows, and the last of these steps that they do for.
    """
    ends = [
      (step // source.window_steps + 1) * source.window_steps
      for source in sources(self._data)
    ]
    at_step = _map_data(lambda s: s.window(step), lambda x: x, self._data)
    return at_step, min([last_step, *ends])


def sources(data: PyTree) -> list[Source]:
  """All sources that data hold."""
  leaves = jax.tree.leaves(data, is_leaf=_is_source)
  return [leaf for leaf in leaves if _is_source(leaf)]


def shapes_of(data: PyTree, num_shards: int = 1) -> PyTree:
  """Shapes and types of what a step is given for data, sources among them.

  Args:
    data: what `device_data` returned.
    num_shards: devices that share the batches.

  Returns:
    The same of one device.
  """
  return _map_data(
    lambda source: source.shapes(num_shards),
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype),
    data,
  )


def shapes_held(data: PyTree, num_shards: int) -> PyTree:
  """The same with the window that is read ahead: what a device holds of it."""
  return shapes_of((data, sources(data)), num_shards)


def specs_of(data: PyTree) -> PyTree:
  """How that is spread over a mesh's devices."""
  return _map_data(lambda _: _SPECS, lambda _: device_mesh.EVERYWHERE, data)


def _is_source(x: Any) -> bool:
  return isinstance(x, Source)


def _map_data(of_source: Any, of_array: Any, data: PyTree) -> PyTree:
  return jax.tree.map(
    lambda x: of_source(x) if _is_source(x) else of_array(x),
    data,
    is_leaf=_is_source,
  )
