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
"""Keeps memory that is free from staying with the process.

None is lost, but glibc's heaps keep holes between what lives long: a few of
each chunk of training and each save, which come to be hundreds of megabytes in
hours. With another C library nothing is done.
"""

import ctypes

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # Of malloc.h.
_NUM_HEAPS = 2
_LARGE_BYTES = 1 << 17


def limit_holes() -> None:
  """Lets large blocks stay out of the heaps, and all threads share two.

  glibc starts with this size, but raises it to that of the largest block freed
  so far. To be called before there are other threads.
  """
  option = getattr(ctypes.CDLL(None), 'mallopt', None)
  if option is not None:
    option(_MMAP_THRESHOLD, _LARGE_BYTES)
    option(_ARENA_MAX, _NUM_HEAPS)


def give_back_holes() -> None:
  """Gives whole pages of what is free to the system."""
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
  if trim is not None:
    trim(0)
