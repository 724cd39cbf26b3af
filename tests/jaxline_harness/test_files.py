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
"""Writes that fail leave the old content."""

import contextlib
import json
import os
import resource

import numpy as np
import pytest

from jaxline_harness import files


@contextlib.contextmanager
def largest_file(size):
  """Makes the system refuse to write files beyond a size."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_write_leaves_the_old_file(tmp_path):
  path = str(tmp_path / 'a.txt')
  files.write_atomically(path, 'old')
  with largest_file(10), pytest.raises(OSError, match='File too large'):
    files.write_atomically(path, 'new' * 10)
  assert os.listdir(tmp_path) == ['a.txt']
  with open(path) as f:
    assert f.read() == 'old'


def test_a_failed_append_leaves_no_half(tmp_path):
  path = str(tmp_path / 'a.txt')
  files.append(path, b'one line\n')
  with largest_file(15), pytest.raises(OSError, match='File too large'):
    files.append(path, b'another line\n')
  files.append(path, b'a third line\n')
  with open(path) as f:
    assert f.read() == 'one line\na third line\n'


# Safetensors.


def safetensors(entries, data=b'', size=None):
  header = (
    entries if isinstance(entries, bytes) else json.dumps(entries).encode()
  )
  size = len(header) if size is None else size
  return size.to_bytes(8, 'little') + header + data


def entry(**changed):
  return {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]} | changed


def test_safetensors(tmp_path):
  rows = np.arange(6, dtype='<f4').reshape(2, 3)
  half = np.array(0.5, '<f2')
  counts = np.array([-1, 2**40], '<i8')
  path = tmp_path / 'a.safetensors'
  path.write_bytes(
    safetensors(
      {
        '__metadata__': {'format': 'pt'},
        'half': entry(dtype='F16', shape=[], data_offsets=[24, 26]),
        'rows': entry(),
        'counts': entry(dtype='I64', shape=[2], data_offsets=[26, 42]),
        'nothing': entry(shape=[0, 3], data_offsets=[42, 42]),
      },
      rows.tobytes() + half.tobytes() + counts.tobytes(),
    )
  )
  arrays = files.read_safetensors(path)
  assert arrays.keys() == {'half', 'rows', 'counts', 'nothing'}
  for name, wanted in (('rows', rows), ('half', half), ('counts', counts)):
    assert arrays[name].dtype == wanted.dtype
    np.testing.assert_array_equal(arrays[name], wanted)
  assert arrays['nothing'].shape == (0, 3)
  with pytest.raises(FileNotFoundError):
    files.read_safetensors(tmp_path / 'b.safetensors')


@pytest.mark.parametrize(
  'content',
  [
    b'',
    bytes(8),
    safetensors({'a': entry()}, bytes(23)),
    safetensors({'a': entry()}, bytes(24), size=1000),
    safetensors({'a': entry()}, bytes(24), size=2**63),
    safetensors(b'[1, 2]'),
    safetensors(b'{"a": 7}'),
    safetensors(b'[' * 100_000),
    safetensors(b'\xff\xfe'),
    safetensors({'a': {}}, bytes(24)),
    safetensors({'a': entry(more=1)}, bytes(24)),
    safetensors({'a': entry(dtype='F4')}, bytes(24)),
    safetensors({'a': entry(dtype=[1])}, bytes(24)),
    safetensors({'a': entry(shape=[2, 4])}, bytes(24)),
    safetensors({'a': entry(shape=[-2, -3])}, bytes(24)),
    safetensors({'a': entry(shape=[-1])}, bytes(24)),
    safetensors({'a': entry(shape=[2**70])}, bytes(24)),
    safetensors({'a': entry(shape=7)}, bytes(24)),
    safetensors({'a': entry(shape=[2.0, 3])}, bytes(24)),
    safetensors({'a': entry(data_offsets=[-24, 0])}, bytes(24)),
    safetensors({'a': entry(data_offsets=[24, 0])}, bytes(24)),
    safetensors({'a': entry(data_offsets=[0, 24, 48])}, bytes(24)),
    safetensors({'a': entry(data_offsets=[0, 2**70])}, bytes(24)),
    safetensors({'a': entry(data_offsets='ab')}, bytes(24)),
  ],
)
def test_damaged_safetensors(tmp_path, content):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='it is no whole .safetensors'):
    files.read_safetensors(path)
