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
import os
import resource

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
