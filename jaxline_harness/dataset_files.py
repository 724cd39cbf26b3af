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
"""The files that data sets lie in: idx, CIFAR-10's binary, `.npz`, `.npy`.

Folders of images are in `image_folders`.
"""

from collections.abc import Collection, Sequence
import gzip
import math
import os
import pathlib
from typing import Any, cast, IO, NamedTuple
import zlib

from absl import logging
import numpy as np

from jaxline_harness import errors
from jaxline_harness import files

_EMBEDDED = pathlib.Path(__file__).resolve().parent / 'embedded'
# What folders and arrays are called.
SPLITS = ('train', 'test', 'val', 'valid', 'validation')
_MAX_CLASSES = 1 << 16  # Unless there are more images.

_IDX_PREFIXES = {'train': 'train', 'test': 't10k'}
# MNIST and Fashion-MNIST use the same file names. The first labels tell them
# apart, so that neither is taken for the other.
_FIRST_LABELS = {
  ('mnist', 'train'): (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
  ('mnist', 'test'): (7, 2, 1, 0, 4, 1, 4, 9, 5, 9),
  ('fashion_mnist', 'train'): (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
  ('fashion_mnist', 'test'): (9, 2, 1, 1, 6, 1, 4, 6, 5, 7),
}
_CIFAR10_FILES = {
  'train': tuple(f'data_batch_{i}.bin' for i in range(1, 6)),
  'test': ('test_batch.bin',),
}
_CIFAR10_ROW = 1 + 3 * 32 * 32
# Deflate cannot make a file more than about 1032 times smaller.
_MAX_GZIP_RATIO = 1040


class Dataset(NamedTuple):
  """A data set in memory.

  Attributes:
    examples: images, uint8 `(N, height, width, channels)`, or points, float32
      `(N, d)`.
    labels: int32 `(N,)`, or None.
    name: what the user calls it.
    source: where it was read from, for people.
  """

  examples: np.ndarray
  labels: np.ndarray | None
  name: str
  source: str


def check_split(what: Any, split: str, splits: Sequence[str]) -> None:
  """Raises UserError unless `what` has the split."""
  if split not in splits:
    raise errors.UserError(
      f'{what}: no split {split!r}; there is {" and ".join(splits)}.'
    )


# The original files.


def find_original(
  name: str, split: str, root: pathlib.Path | None
) -> Dataset | None:
  """Reads a data set's original files below `root`; None if there are none."""
  if name in ('mnist', 'fashion_mnist'):
    return _find_idx(name, split, root)
  if name == 'cifar10':
    return _find_cifar10(split, root)
  return None


def read_idx(path: str | os.PathLike[str], ndim: int) -> np.ndarray:
  """Reads one idx file of bytes, gzipped if its name ends in `.gz`.

  Args:
    path: the file.
    ndim: the number of dimensions it must have.

  Returns:
    A uint8 array.

  Raises:
    UserError: the file is damaged, or is not such a file.
  """
  path = pathlib.Path(path)
  try:
    size = path.stat().st_size
    zipped = path.suffix == '.gz'
    opened = gzip.open(path) if zipped else path.open('rb')
    with cast(IO[bytes], opened) as file:
      # The header's claim is checked before memory is taken for it.
      limit = size * _MAX_GZIP_RATIO if zipped else size
      return _parse_idx(file, ndim, limit)
  except (OSError, EOFError, zlib.error, ValueError) as error:
    raise errors.UserError(f'{path}: not a whole idx file ({error}).') from None


def _parse_idx(file: IO[bytes], ndim: int, limit: int) -> np.ndarray:
  """Parses an idx file of at most `limit` bytes; see `read_idx`."""
  header = file.read(4 + 4 * ndim)
  if len(header) < 4 + 4 * ndim:
    raise ValueError('it ends within its header')
  if header[:4] != bytes((0, 0, 8, ndim)):
    raise ValueError(
      f'it begins with {header[:4].hex()}, not {bytes((0, 0, 8, ndim)).hex()}'
    )
  shape = tuple(int(n) for n in np.frombuffer(header, '>u4', offset=4))
  size = math.prod(shape)
  if size == 0:
    raise ValueError(f'its shape is {shape}')
  if size > limit:
    raise ValueError(f'it is too short for its shape {shape}')
  content = file.read(size)
  if len(content) < size:
    raise ValueError(f'it is too short for its shape {shape}')
  if file.read(1):
    raise ValueError(f'it is too long for its shape {shape}')
  return np.frombuffer(content, np.uint8).reshape(shape)


def _find_idx(
  name: str, split: str, root: pathlib.Path | None
) -> Dataset | None:
  """Reads idx files below `root`; None if there are none."""
  for folder in _folders(root, name, name.replace('_', '-')):
    for known, prefix in _IDX_PREFIXES.items():
      images = _find_idx_file(folder, prefix, 'images', 3)
      if images is None:
        continue
      check_split(f'{name} from idx files', split, tuple(_IDX_PREFIXES))
      if known == split:
        labels = _find_idx_file(folder, prefix, 'labels', 1)
        return _read_idx_pair(name, split, images, labels)
  return None


def _folders(root: pathlib.Path | None, *names: str) -> list[pathlib.Path]:
  """Where a data set's files may lie: folders of its names, then `root`."""
  if root is None:
    return []
  return [root / name for name in dict.fromkeys(names)] + [root]


def _find_idx_file(
  folder: pathlib.Path, prefix: str, kind: str, ndim: int
) -> pathlib.Path | None:
  # Unpacking programs have left both spellings in the world.
  names = (f'{prefix}-{kind}{mark}idx{ndim}-ubyte' for mark in '-.')
  paths = (folder / f'{name}{end}' for name in names for end in ('.gz', ''))
  return next((path for path in paths if path.is_file()), None)


def _read_idx_pair(
  name: str, split: str, images: pathlib.Path, labels: pathlib.Path | None
) -> Dataset:
  """Reads images and, where there are any, labels from idx files."""
  examples = read_idx(images, 3)[..., None]
  targets = None
  if labels is not None:
    targets = read_idx(labels, 1).astype(np.int32)
    if len(targets) != len(examples):
      raise errors.UserError(
        f'{labels}: {len(targets)} labels for {len(examples)} images.'
      )
    first = tuple(targets[:10].tolist())
    for (other, other_split), other_first in _FIRST_LABELS.items():
      if first == other_first and (other, other_split) != (name, split):
        raise errors.UserError(
          f"{labels}: these are the labels of {other}'s {other_split} split, "
          f"not of {name}'s {split} split."
        )
  return Dataset(examples, targets, name, str(images))


def read_embedded_fashion_mnist(name: str) -> Dataset:
  """Reads the embedded data set, to be known by a name."""
  folder = _EMBEDDED / 'fashion_mnist'
  dataset = _read_idx_pair(
    'fashion_mnist',
    'test',
    folder / 't10k-images-idx3-ubyte.gz',
    folder / 't10k-labels-idx1-ubyte.gz',
  )
  source = "embedded: Fashion-MNIST's test split"
  return dataset._replace(name=name, source=source)


# CIFAR-10, binary version.


def _find_cifar10(split: str, root: pathlib.Path | None) -> Dataset | None:
  """Reads the binary version below `root`; None if it is not there."""
  everything = [file for files in _CIFAR10_FILES.values() for file in files]
  for folder in _folders(root, 'cifar10', 'cifar-10-batches-bin'):
    if not any((folder / file).is_file() for file in everything):
      continue
    check_split('cifar10 from binary files', split, tuple(_CIFAR10_FILES))
    parts = [_read_cifar10(folder / f) for f in _CIFAR10_FILES[split]]
    examples = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Dataset(examples, labels, 'cifar10', str(folder))
  return None


def _read_cifar10(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Reads one file of rows: a label, then red, green and blue planes."""
  content = np.fromfile(path, np.uint8)
  if not content.size or content.size % _CIFAR10_ROW:
    raise errors.UserError(
      f'{path}: {content.size} bytes are not a whole number of CIFAR-10 '
      f'images of {_CIFAR10_ROW} bytes; the file is damaged.'
    )
  rows = content.reshape(-1, _CIFAR10_ROW)
  if rows[:, 0].max() > 9:
    raise errors.UserError(f'{path}: a label is above 9; not CIFAR-10.')
  images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  return np.ascontiguousarray(images), rows[:, 0].astype(np.int32)


# `.npz` files.


def read_npz(
  path: pathlib.Path, split: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads images, and labels if there are any.

  Args:
    path: the file.
    split: which split of it.

  Returns:
    Images, uint8 `(N, height, width, channels)`, and labels, int32 `(N,)` or
    None.

  Raises:
    UserError: there are none, or the file is damaged.
  """
  try:
    arrays = files.read_npz(path)
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f'{path}: cannot be read as an .npz of images '
      f'({errors.one_line(error, 200)}).'
    ) from None
  names = _names_in_npz(arrays)
  if not names:
    raise errors.UserError(
      f"{path}: the images' array must be the only one, or be called images, "
      f'x_train or train_images; there is {", ".join(arrays) or "none"}.'
    )
  check_split(path, split, tuple(names))
  images_key, labels_key = names[split]
  images = _check_images(arrays[images_key], path)
  labels = arrays.get(labels_key)
  if labels is not None:
    labels = _check_labels(labels, len(images), path)
  return images, labels


def open_npy(path: pathlib.Path) -> np.ndarray:
  """Maps images on disk into memory, uint8 `(N, height, width, channels)`.

  Raises:
    UserError: there are none, or the file is damaged.
  """
  try:
    images = np.load(path, mmap_mode='r', allow_pickle=False)
  # What a file of any content makes NumPy raise is not documented.
  except Exception as error:
    raise errors.UserError(
      f'{path}: cannot be read as an .npy of images '
      f'({errors.one_line(error, 200)}).'
    ) from None
  if not isinstance(images, np.ndarray) or not images.flags.c_contiguous:
    raise errors.UserError(
      f'{path}: not an .npy of images one after the other; save '
      'np.ascontiguousarray of them.'
    )
  return _check_images(images, path)


def _names_in_npz(names: Collection[str]) -> dict[str, tuple[str, str]]:
  """The names of images and labels by split, as people give them."""
  for images, labels in (('x_{}', 'y_{}'), ('{}_images', '{}_labels')):
    found = {
      split: (images.format(split), labels.format(split))
      for split in SPLITS
      if images.format(split) in names
    }
    if found:
      return found
  others = [name for name in names if name != 'labels']
  if 'images' in others or len(others) == 1:
    images = 'images' if 'images' in others else others[0]
    return {'train': (images, 'labels')}
  return {}


def _check_images(images: np.ndarray, path: pathlib.Path) -> np.ndarray:
  """Gives greyscale images a channel axis and refuses what is no image."""
  if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
    raise errors.UserError(
      f'{path}: images must be uint8 of shape (N, height, width) or (N, height,'
      f' width, channels), not {images.dtype} of shape {images.shape}.'
    )
  images = images if images.ndim == 4 else images[..., None]
  if images.shape[-1] not in (1, 3):
    raise errors.UserError(
      f'{path}: images must have 1 or 3 channels, last; the shape is '
      f'{images.shape}.'
    )
  return np.ascontiguousarray(images)


def _check_labels(
  labels: np.ndarray, num_images: int, path: pathlib.Path
) -> np.ndarray | None:
  """Returns the number of each image's class, or None if it has several."""
  shape = labels.shape
  if len(shape) == 2 and len(labels) == num_images:
    if shape[1] > 1:
      logging.warning('%s: several labels an image are left out.', path)
      return None
    labels = labels[:, 0]
  if labels.shape != (num_images,) or labels.dtype.kind not in 'iu':
    raise errors.UserError(
      f'{path}: labels must be {num_images} integers, not {labels.dtype} of '
      f'shape {shape}.'
    )
  for row in (labels.argmin(), labels.argmax()):
    if not 0 <= labels[row] < max(num_images, _MAX_CLASSES):
      raise errors.UserError(
        f'{path}: labels must number the classes from 0, fewer than '
        f'{max(num_images, _MAX_CLASSES)}; that of image {row} is '
        f'{labels[row]}.'
      )
  return labels.astype(np.int32)
