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
"""Memory: whether what a run will hold fits, and giving back what is freed.

Linux grants more memory than there is and kills who uses it: so sizes are
checked before anything is allocated.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import ctypes
import gc
import math
import os
import pathlib
import re
from typing import Any

from jaxline_harness import errors

_GIB = 2**30
_M_ARENA_MAX = -8  # Of glibc's malloc.h.
_MAX_HEAPS = 2
_MEMINFO = pathlib.Path('/proc/meminfo')
# Of a container: its limit and what it uses, in either version of cgroups.
_CGROUPS = (
  ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'),
  (
    '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    '/sys/fs/cgroup/memory/memory.usage_in_bytes',
  ),
)

_device_memory: contextvars.ContextVar[int | None] = contextvars.ContextVar(
  'device_memory', default=None
)


@contextlib.contextmanager
def devices_have(num_bytes: int | None) -> Iterator[None]:
  """Checks devices against so many bytes, not against those that are here.

  Args:
    num_bytes: None for what the devices that are here have left.

  Yields:
    Nothing.
  """
  token = _device_memory.set(num_bytes)
  try:
    yield
  finally:
    _device_memory.reset(token)


def of_host() -> int:
  """Returns how many bytes this process may yet take."""
  free = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  with contextlib.suppress(OSError):
    available = re.search(r'MemAvailable: *(\d+) kB', _MEMINFO.read_text())
    free = 1024 * int(available[1]) if available else free
  for limit, usage in _CGROUPS:
    with contextlib.suppress(OSError, ValueError):  # 'max' is no number.
      left = int(pathlib.Path(limit).read_text()) - int(
        pathlib.Path(usage).read_text()
      )
      free = min(free, left)
  return max(free, 0)


def of_device() -> int | None:
  """Returns how many bytes a device has left, None if it does not say."""
  import jax  # pylint: disable=g-import-not-at-top

  if (assumed := _device_memory.get()) is not None:
    return assumed
  device = jax.local_devices()[0]
  if device.platform == 'cpu':
    return of_host() // jax.local_device_count()
  stats = device.memory_stats() or {}
  if 'bytes_limit' not in stats:
    return None
  return stats['bytes_limit'] - stats.get('bytes_in_use', 0)


def check_host(what: str, num_bytes: int) -> None:
  """Raises UserError if the host has no memory for this.

  Args:
    what: with the setting to change first, to go before "would take".
    num_bytes: its size.
  """
  left = of_host()
  if num_bytes > left:
    raise errors.UserError(
      f'{what} would take {num_bytes / _GIB:.1f} GiB of memory, but there are '
      f'{left / _GIB:.1f} GiB'
    )


def check_devices(what: str, num_bytes: int) -> None:
  """The same of each device."""
  left = of_device()
  if left is not None and num_bytes > left:
    raise errors.UserError(
      f'{what} would take {num_bytes / _GIB:.1f} GiB a device, but there are '
      f'{left / _GIB:.1f} GiB'
    )


def check_program(what: str, program: Any, beside: Any = ()) -> None:
  """The same of what a compiled program needs beside its arguments.

  Args:
    what: the program.
    program: a `jax.stages.Compiled`.
    beside: arrays that are still to be put on each device.

  Raises:
    errors.UserError: there is less memory.
  """
  sizes = program.memory_analysis()
  if sizes is not None:  # Not all backends say.
    own = sizes.temp_size_in_bytes + sizes.output_size_in_bytes
    own -= sizes.alias_size_in_bytes
    check_devices(what, own + size_of(beside))


def largest_array(function: Callable[..., Any], *shapes: Any) -> int:
  """Returns the bytes of the largest array that a function makes.

  Args:
    function: of pytrees of arrays; it is traced only.
    *shapes: its arguments, or their shapes.
  """
  import jax  # pylint: disable=g-import-not-at-top

  def largest(jaxpr):
    sizes = [0]
    for equation in jaxpr.eqns:
      results = [v.aval for v in equation.outvars if hasattr(v.aval, 'shape')]
      sizes += [size_of(result) for result in results]
      for inner in jax.tree.leaves(list(equation.params.values())):
        inner = getattr(inner, 'jaxpr', inner)
        if hasattr(inner, 'eqns'):
          sizes.append(largest(inner))
    return max(sizes)

  return largest(jax.make_jaxpr(function)(*shapes).jaxpr)


def size_of(tree: Any) -> int:
  """Returns the bytes of all arrays of a pytree, or of their shapes."""
  import jax  # pylint: disable=g-import-not-at-top

  return sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


# The allocator's holes. What is not glibc's has none of these functions.


def limit_heaps() -> None:
  """Lets threads share two heaps, as `MALLOC_ARENA_MAX=2` does.

  By default glibc makes up to eight a core. The threads that save come and go,
  each time in other heaps, and leave holes in all of them: a training would
  grow for hours though it holds no more than before.
  """
  set_option = getattr(ctypes.CDLL(None), 'mallopt', None)
  if set_option is not None and 'MALLOC_ARENA_MAX' not in os.environ:
    set_option(_M_ARENA_MAX, _MAX_HEAPS)


def release_freed() -> None:
  """Gives memory that is free, but kept by the allocator, to the system.

  What Orbax leaves of a save is garbage in cycles, tens of megabytes before
  Python would look for it. Modules, which take most of the time to look
  through, are not looked through again.
  """
  gc.collect()
  if not gc.get_freeze_count():
    gc.freeze()
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
  if trim is not None:
    trim(0)
