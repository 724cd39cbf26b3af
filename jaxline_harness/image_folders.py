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
"""Folders of images, as people keep them.

Images lie in one folder, or in a folder for each class; either may be there
once for each split (`train/`, `test/`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import hashlib
import math
import pathlib
import re
import shutil
import tempfile
from typing import Any, NamedTuple
import warnings

from absl import logging
import numpy as np

from jaxline_harness import dataset_files
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import memory

_SUFFIXES = frozenset(
  '.bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp'.split()
)
# Of other formats, EPS for one, Pillow would run programs.
_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')
# Files that desktops leave behind in folders.
_LITTER = frozenset(('thumbs.db', 'desktop.ini'))


def holds_images(path: pathlib.Path, in_classes: bool = True) -> bool:
  """Whether a path is a folder of images.

  Args:
    path: it may lead nowhere.
    in_classes: whether it may hold a folder for each class, of any names.
  """
  if _holds_images(path):
    return True
  folders = [entry for entry in _entries(path) if entry.is_dir()]
  if not in_classes and not _are_splits(folders):
    return False
  below = [*folders, *(f for folder in folders for f in _entries(folder))]
  return any(map(_holds_images, below))


def read(
  path: pathlib.Path, split: str, on_disk: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads a folder of images of one size, sorted by name.

  Args:
    path: the folder.
    split: which split of it.
    on_disk: whether to keep the images in a file of `files.cache_folder`, which
      is mapped into memory, and found again while no image is changed.

  Returns:
    Images, uint8 `(N, height, width, channels)`, greyscale if every file is,
    else RGB; and labels, int32 `(N,)`, if there is a folder for each class.

  Raises:
    UserError: there are none, or one cannot be read, or something else is
      there.
  """
  splits = [path]
  folders = [entry for entry in _entries(path) if entry.is_dir()]
  if _are_splits(folders):
    splits = folders
    dataset_files.check_split(path, split, [folder.name for folder in folders])
    path = path / split
  else:
    dataset_files.check_split(path, split, ('train',))
  if not all(entry.is_dir() for entry in _entries(path)):
    return _read_images(_image_files(path), path, on_disk), None
  # A class has the same number in each split, even if one of them lacks it.
  classes = sorted({entry.name for s in splits for entry in _entries(s)})
  by_class = [
    _image_files(path / name) if (path / name).is_dir() else []
    for name in classes
  ]
  labels = np.repeat(np.arange(len(classes)), list(map(len, by_class)))
  image_files = [file for image_files in by_class for file in image_files]
  return _read_images(image_files, path, on_disk), labels.astype(np.int32)


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
  """What lies in a folder, sorted, but for what programs leave behind."""
  if not folder.is_dir():
    return []
  return sorted(
    entry
    for entry in folder.iterdir()
    if not entry.name.startswith('.') and entry.name.lower() not in _LITTER
  )


def _holds_images(folder: pathlib.Path) -> bool:
  return any(
    entry.suffix.lower() in _SUFFIXES and entry.is_file()
    for entry in _entries(folder)
  )


def _are_splits(folders: Sequence[pathlib.Path]) -> bool:
  return bool(folders) and {folder.name for folder in folders} <= set(
    dataset_files.SPLITS
  )


def _image_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder; anything else there is an error."""
  entries = _entries(folder)
  for entry in entries:
    if entry.suffix.lower() not in _SUFFIXES or not entry.is_file():
      raise errors.UserError(
        f'{entry}: not an image; the folder of a data set holds images, or '
        'folders of images, only.'
      )
  if not entries:
    raise errors.UserError(f'{folder}: no images in this folder.')
  return entries


def _read_images(
  image_files: Sequence[pathlib.Path], folder: pathlib.Path, on_disk: bool
) -> np.ndarray:
  """Reads images of one size, into memory or a file."""
  if not image_files:
    raise errors.UserError(f'{folder}: no images in this folder.')
  if not on_disk:
    shape, pixels = _decode(image_files, folder)
    memory.check_host(
      f'{folder}: {shape[0]} images of {shape[2]} x {shape[1]} pixels',
      math.prod(shape),
    )
    images = np.empty(shape, np.uint8)
    for i, image in enumerate(pixels):
      images[i] = image
    return images
  cache = _cache_path(image_files)
  if not cache.exists():
    _write_images(cache, *_decode(image_files, folder))
  logging.info('%s: its images are kept in %s.', folder, cache)
  return dataset_files.open_npy(cache)


def _cache_path(image_files: Sequence[pathlib.Path]) -> pathlib.Path:
  """Where images are kept that are known by names, sizes and times."""
  digest = hashlib.sha256()
  for file in image_files:
    about = file.stat()
    digest.update(
      f'{file.absolute()}\0{about.st_size}\0{about.st_mtime_ns}\n'.encode(
        errors='surrogateescape'
      )
    )
  folder = pathlib.Path(files.cache_folder()) / 'decoded_images'
  return folder / f'{digest.hexdigest()[:32]}.npy'


def _write_images(
  path: pathlib.Path, shape: tuple[int, ...], pixels: Iterable[np.ndarray]
) -> None:
  """Writes an `.npy`, which is there only when it is whole."""
  files.make_folder(str(path.parent), 'XDG_CACHE_HOME')
  needed, free = math.prod(shape), shutil.disk_usage(path.parent).free
  if needed > free:
    raise errors.UserError(
      f'{path.parent}: {shape[0]} images would take {needed / 2**30:.1f} GiB, '
      f'but there are {free / 2**30:.1f} GiB; set XDG_CACHE_HOME to a folder '
      'with more.'
    )
  with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
    half_written = pathlib.Path(scratch) / path.name
    with half_written.open('wb') as f:
      header = {'descr': '|u1', 'fortran_order': False, 'shape': shape}
      np.lib.format.write_array_header_1_0(f, header)
      for image in pixels:
        f.write(image.tobytes())
    half_written.replace(path)


def _decode(
  image_files: Sequence[pathlib.Path], folder: pathlib.Path
) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
  """Reads images of one size.

  All are greyscale if every file is, else all are RGB.

  Args:
    image_files: the files.
    folder: for messages.

  Returns:
    The shape of them all, and one after the other, read when it is asked for.
  """
  headers = [_use_image(file, _read_header) for file in image_files]
  (width, height), first = headers[0].size, image_files[0].name
  for file, header in zip(image_files, headers, strict=True):
    if header.size != (width, height):
      raise errors.UserError(
        f'{file}: {header.size[0]} x {header.size[1]} pixels, but {first} has '
        f'{width} x {height}; all images must have one size.'
      )
  if any(header.is_transparent for header in headers):
    logging.warning('%s: transparency is left out of the images.', folder)
  mode = 'L' if all(h.mode in ('1', 'L', 'LA') for h in headers) else 'RGB'
  shape = height, width, len(mode)
  pixels = (
    _use_image(file, lambda image: np.asarray(image.convert(mode)))
    for file in image_files
  )
  return (len(headers), *shape), (each.reshape(shape) for each in pixels)


class _Header(NamedTuple):
  mode: str
  size: tuple[int, int]
  is_transparent: bool


def _read_header(image: Any) -> _Header:
  if _is_deep(image):
    raise ValueError('its pixels have more than 8 bits a channel')
  if getattr(image, 'n_frames', 1) != 1:
    raise ValueError(f'it has {image.n_frames} frames')
  return _Header(image.mode, image.size, image.has_transparency_data)


def _is_deep(image: Any) -> bool:
  """Whether a channel has more than 8 bits, which Pillow cuts off unasked."""
  if image.mode.startswith(('I', 'F')):
    return True
  arguments = [
    argument
    for tile in image.tile
    for argument in (tile.args if isinstance(tile.args, tuple) else [tile.args])
  ]
  if image.format == 'PPM':  # The largest value.
    return any(isinstance(x, int) and x > 255 for x in arguments)
  return image.format in ('PNG', 'TIFF') and any(
    re.search(r';(16|32|64)', str(x)) for x in arguments
  )


def _use_image(file: pathlib.Path, use: Callable[[Any], Any]) -> Any:
  """`use(image)`, with the errors of a damaged file as one line."""
  from PIL import Image

  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      with Image.open(file, formats=_FORMATS) as image:
        return use(image)
  # What a file of any content makes Pillow raise is not documented.
  except Exception as error:
    raise errors.UserError(
      f'{file}: cannot be read as an image ({errors.one_line(error, 200)}).'
    ) from None
