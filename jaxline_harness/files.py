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
"""Writes that leave no half-written file behind, and reads that run no code."""

import contextlib
import errno
import itertools
import json
import operator
import os
import stat
import tempfile
from typing import IO
import uuid

import numpy as np

from jaxline_harness import errors

# As the format's own library has it.
_MAX_HEADER_BYTES = 100_000_000
# Of the types that NumPy has.
_SAFETENSORS_DTYPES = {
  'BOOL': '?',
  **{f'F{8 * size}': f'f{size}' for size in (2, 4, 8)},
  **{f'I{8 * size}': f'i{size}' for size in (1, 2, 4, 8)},
  **{f'U{8 * size}': f'u{size}' for size in (1, 2, 4, 8)},
}


def make_folder(folder: str, named_by: str = 'config.checkpoint_dir') -> None:
  """Makes a run's folder, or one in it, if need be.

  Args:
    folder: the folder.
    named_by: the setting or flag that names it, for the message.

  Raises:
    UserError: nothing can be written there.
  """
  try:
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except (OSError, RecursionError) as error:  # Of thousands of folders.
    reason = getattr(error, 'strerror', None) or error
    raise errors.UserError(
      f'{named_by}: cannot write to {folder} ({reason})'
    ) from error


def write_atomically(path: str, content: str | bytes) -> None:
  """Writes a file so that a reader sees the old one or the new, never half.

  Args:
    path: the file; its folder must exist.
    content: text, written as UTF-8, or bytes.
  """
  data = content.encode() if isinstance(content, str) else content
  temporary = f'{path}.{uuid.uuid4().hex}.tmp'
  try:
    with open(temporary, 'wb') as f:
      f.write(data)
      f.flush()
      os.fsync(f.fileno())
    os.replace(temporary, path)
    sync(os.path.dirname(os.path.abspath(path)))
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


def append(path: str, data: bytes) -> None:
  """Appends to a file, or takes back the part that was written and raises."""
  with open(path, 'ab', buffering=0) as f:
    before = os.fstat(f.fileno())
    try:
      while data:
        data = data[f.write(data) :]
    except OSError:
      with contextlib.suppress(OSError):
        os.truncate(path, before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
      raise


def open_regular(path: str) -> IO[bytes]:
  """Opens a file to be read.

  Args:
    path: the file.

  Returns:
    The open file.

  Raises:
    OSError: that fails, or it is a pipe or a device, which may have no end.
  """
  # Nobody may ever write to a pipe.
  file = open(path, 'rb', opener=lambda p, f: os.open(p, f | os.O_NONBLOCK))
  if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
    file.close()
    raise OSError(errno.EINVAL, 'Not a regular file', path)
  return file


def sync(path: str) -> None:
  """Makes a file, or renames in a folder, outlast a loss of power."""
  handle = os.open(path, os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):  # Not every file system offers it.
      os.fsync(handle)
  finally:
    os.close(handle)


def unused_path(path: str) -> str:
  """Returns the path, or the first of `path.1`, `path.2`, ... that is free."""
  names = (f'{path}.{number}' for number in itertools.count(1))
  return next(
    p for p in itertools.chain([path], names) if not os.path.lexists(p)
  )


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads the arrays of an `.npz`; runs no pickle.

  Args:
    path: the file.

  Returns:
    The arrays by name.

  Raises:
    OSError: if the file cannot be opened.
    ValueError: if it is damaged, or is no such file, or holds pickled objects.
  """
  try:
    archive = np.load(path, allow_pickle=False)
    if isinstance(archive, np.ndarray):
      raise ValueError('it is an .npy')
    with archive:
      arrays = {name: archive[name] for name in archive.files}
  except OSError:
    raise
  # What zipfile and zlib raise for files of any content is not documented.
  except Exception as error:
    raise ValueError(f'it is no whole .npz of arrays: {error}') from error
  # What is no array comes as bytes.
  return {name: np.asarray(array) for name, array in arrays.items()}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads the arrays of a `.safetensors`.

  The format: eight bytes with the size of a header, the header, in JSON, which
  maps names to `dtype`, `shape` and `data_offsets`, and the data.

  Args:
    path: the file.

  Returns:
    The arrays by name.

  Raises:
    OSError: if the file cannot be opened.
    ValueError: if it is damaged, or is no such file.
  """
  with open_regular(os.fspath(path)) as f:
    size = int.from_bytes(f.read(8), 'little')
    header = f.read(min(size, _MAX_HEADER_BYTES))
    if len(header) < max(size, 2):
      raise ValueError('it is no whole .safetensors')
    data = memoryview(f.read())  # Whose parts are no copies.
  try:
    entries = json.loads(header)
    entries.pop('__metadata__', None)
    return {name: _read_tensor(data, **e) for name, e in entries.items()}
  # Whatever a wrong header makes of all this.
  except (
    *(ArithmeticError, AttributeError, KeyError, RecursionError),
    *(TypeError, ValueError),
  ) as error:
    raise ValueError(
      f'it is no whole .safetensors: {type(error).__name__}: {error}'
    ) from error


def _read_tensor(
  data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]
) -> np.ndarray:
  start, end = map(operator.index, data_offsets)
  if not 0 <= start <= end <= len(data) or any(n < 0 for n in shape):
    raise ValueError('its data are not where its header says')
  kind = np.dtype(_SAFETENSORS_DTYPES[dtype]).newbyteorder('<')
  return np.frombuffer(data[start:end], kind).reshape(shape)


def cache_folder() -> str:
  """Returns where to keep what can be computed again; it may not exist."""
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return os.path.join(home, 'jaxline_harness')
