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
import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, sys
from jaxline_harness import memory

def resident_bytes():
  with open('/proc/self/statm') as f:
    return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

if sys.argv[1] == 'limited':
  memory.limit_holes()
b'x' * (1 << 24)  # Once it is freed, glibc would keep smaller ones in a heap.
start = resident_bytes()
large, small = [], []
for _ in range(100):
  large.append(b'x' * (1 << 20))
  small.append(b'x' * (1 << 13))  # Outlives its neighbours.
del large
print(resident_bytes() - start)
"""


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'mallopt'), reason='no mallopt'
)
def test_large_blocks_leave_no_holes():
  kept = {
    how: int(
      subprocess.run(
        [sys.executable, '-c', PROGRAM, how],
        check=True,
        capture_output=True,
        text=True,
      ).stdout
    )
    for how in ('limited', 'as it is')
  }
  assert kept['limited'] < 10 << 20 < 50 << 20 < kept['as it is']
