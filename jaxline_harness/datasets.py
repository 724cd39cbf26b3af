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
"""Data sets as arrays.

`load` reads a whole data set into memory: an embedded one, the original files
of MNIST, Fashion-MNIST or CIFAR-10, whatever image classification data set
`tensorflow_datasets` has, an `.npz` or a folder of images.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import difflib
import gzip
import io
import math
import os
import pathlib
import socket
import types
from typing import Any, cast, IO, NamedTuple
import urllib.parse
import urllib.request
import warnings
import zlib

from absl import logging
import numpy as np

from jaxline_harness import errors
from jaxline_harness import files

NAMES = ('fashion_mnist_10k', 'fashion_mnist', 'mnist', 'cifar10')

_EMBEDDED = pathlib.Path(__file__).resolve().parent / 'embedded'
_IMAGE_SUFFIXES = frozenset(
  '.bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp'.split()
)
# Files that desktops leave behind in folders.
_LITTER = frozenset(('thumbs.db', 'desktop.ini'))

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

_HOW_TO_GET = {
  'mnist': 'put its four idx files (train-images-idx3-ubyte.gz, ...) there',
  'fashion_mnist': (
    'put its four idx files there (Debian: apt install dataset-fashion-mnist,'
    ' then data_dir=/usr/share/datasets/fashion-mnist), or take dataset '
    'fashion_mnist_10k, which needs no download'
  ),
  'cifar10': (
    'unpack https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz there '
    '(the binary version; Python pickles are not read)'
  ),
}


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


# Loading.


def load(
  name: str,
  split: str = 'train',
  data_dir: str | os.PathLike[str] | None = None,
  other_names: Sequence[str] = (),
) -> Dataset:
  """Reads a data set of images.

  Where it is looked for, in this order:

  1. the original files of `mnist`, `fashion_mnist` (idx, gzipped or not) or
     `cifar10` (binary version), in `data_dir` or a folder of that name in it;
  2. `data_dir`, if that is itself an `.npz` or a folder with images in it;
  3. `name`, if that is a path to an `.npz` or to a folder of images;
  4. the embedded files: `fashion_mnist_10k`, the 10,000 images of
     Fashion-MNIST's test split, which are the embedded data set's only split;
  5. `tensorflow_datasets`, in `data_dir` or in its own default folder, where it
     is downloaded if it can be.

  Args:
    name: the data set's name, or a path.
    split: 'train' or 'test'; for `tensorflow_datasets` also its expressions. A
      folder of images may have a folder for each split.
    data_dir: where data sets lie, or the path of an `.npz` or folder of images.
    other_names: names that the caller knows, for the message about a wrong one.

  Returns:
    The split's examples in their stored order.

  Raises:
    UserError: the data set does not exist, cannot be had, or is damaged.
  """
  name = os.fspath(name)
  root = None if not data_dir else pathlib.Path(data_dir).expanduser()
  dataset = _find_original(name, split, root)
  if dataset is not None:
    return dataset
  if root is not None and _is_image_path(root, split):
    return _load_path(root, split, name)
  path = _as_path(name, root)
  if path is not None:
    return _load_path(path, split, path.name)
  if name == 'fashion_mnist_10k':
    _check_split(name, split, ('train',))
    return _read_embedded_fashion_mnist(name)
  if (name, split) == ('fashion_mnist', 'test'):
    return _read_embedded_fashion_mnist(name)
  return _load_tfds(name, split, root, other_names)


def import_tensorflow() -> types.ModuleType:
  """Imports TensorFlow quietly and keeps it off the accelerators.

  Returns:
    The module `tensorflow`, which sees no GPU: JAX needs their memory.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  with _no_native_stderr():
    import tensorflow as tf

    try:
      tf.config.set_visible_devices([], 'GPU')
      hidden = True
    except RuntimeError:
      hidden = False
  if not hidden:
    # Someone ran TensorFlow operations before: too late to hide the GPUs.
    logging.warning('TensorFlow is already in use and may take GPU memory.')
  return tf


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
  """Silences what libraries write to file descriptor 2 past Python."""
  saved = os.dup(2)
  sink = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(sink, 2)
    yield
  finally:
    os.dup2(saved, 2)
    os.close(saved)
    os.close(sink)


@contextlib.contextmanager
def _only_errors_logged() -> Iterator[None]:
  """Silences the chatter of libraries that log through absl."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(min(verbosity, logging.ERROR))
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


def _check_split(what: Any, split: str, splits: Sequence[str]) -> None:
  if split not in splits:
    raise errors.UserError(
      f'{what}: no split {split!r}; there is {" and ".join(splits)}.'
    )


# The original files.


def _find_original(
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
      images = _existing_idx(folder, prefix, 'images', 3)
      if images is None:
        continue
      _check_split(f'{name} from idx files', split, tuple(_IDX_PREFIXES))
      if known == split:
        labels = _existing_idx(folder, prefix, 'labels', 1)
        return _read_idx_pair(name, split, images, labels)
  return None


def _folders(root: pathlib.Path | None, *names: str) -> list[pathlib.Path]:
  """Where a data set's files may lie: folders of its names, then `root`."""
  if root is None:
    return []
  return [root / name for name in dict.fromkeys(names)] + [root]


def _existing_idx(
  folder: pathlib.Path, prefix: str, kind: str, ndim: int
) -> pathlib.Path | None:
  # Unpacking programs have left both spellings in the world.
  for separator in '-.':
    for suffix in ('.gz', ''):
      path = folder / f'{prefix}-{kind}{separator}idx{ndim}-ubyte{suffix}'
      if path.is_file():
        return path
  return None


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


def _read_embedded_fashion_mnist(name: str) -> Dataset:
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
    _check_split('cifar10 from binary files', split, tuple(_CIFAR10_FILES))
    parts = [_read_cifar10(folder / f) for f in _CIFAR10_FILES[split]]
    examples = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Dataset(examples, labels, 'cifar10', str(folder))
  return None


def _read_cifar10(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Reads one file of rows: a label, then red, green and blue planes."""
  try:
    content = np.fromfile(path, np.uint8)
  except OSError as error:
    raise errors.UserError(f'{path}: {error.strerror}.') from None
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


# A user's own images.


def _as_path(name: str, root: pathlib.Path | None) -> pathlib.Path | None:
  """The path that `name` means; None if it is the name of a data set."""
  if name in NAMES or not name:
    return None
  path = pathlib.Path(name).expanduser()
  candidates = [path] if root is None else [path, root / path]
  for candidate in candidates:
    if candidate.is_file() or (
      candidate.is_dir() and _is_image_path(candidate, 'train')
    ):
      return candidate
  if path.suffix == '.npz' or name[0] in ('.', '~') or path.is_absolute():
    return path
  return None


def _is_image_path(path: pathlib.Path, split: str) -> bool:
  """Whether `path` is an `.npz`, or a folder with images lying in it."""
  if path.suffix == '.npz':
    return True
  return any(
    entry.suffix.lower() in _IMAGE_SUFFIXES
    for folder in (path / split, path)
    if folder.is_dir()
    for entry in folder.iterdir()
  )


def _load_path(path: pathlib.Path, split: str, name: str) -> Dataset:
  if path.is_dir():
    return _read_folder(path, split, name)
  if not path.exists():
    raise errors.UserError(f'{path}: no such file or folder.')
  if path.suffix != '.npz':
    raise errors.UserError(
      f'{path}: a data set is an .npz file or a folder of images.'
    )
  _check_split(path, split, ('train',))
  return _read_npz(path, name)


def _read_npz(path: pathlib.Path, name: str) -> Dataset:
  """Reads `images` (or the only array) and `labels`, if there are any."""
  try:
    arrays = files.read_npz(path)
    keys = [key for key in arrays if key != 'labels']
    key = 'images' if 'images' in keys else keys[0] if keys else None
    if key is None or (key != 'images' and len(keys) > 1):
      raise ValueError(
        "the images' array must be the only one or be called images; "
        f'there is {", ".join(arrays) or "none"}'
      )
  except (OSError, ValueError) as error:
    raise errors.UserError(
      f'{path}: cannot be read as an .npz of images ({_one_line(error)}).'
    ) from None
  images, labels = arrays[key], arrays.get('labels')
  return Dataset(
    _check_images(images, path),
    None if labels is None else _check_labels(labels, len(images), path),
    name,
    str(path),
  )


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
) -> np.ndarray:
  if labels.shape != (num_images,) or labels.dtype.kind not in 'iu':
    raise errors.UserError(
      f'{path}: labels must be {num_images} integers, not {labels.dtype} of '
      f'shape {labels.shape}.'
    )
  return labels.astype(np.int32)


def _read_folder(path: pathlib.Path, split: str, name: str) -> Dataset:
  """Reads a folder of images of one size, sorted by name.

  All are greyscale if every file is, else all are RGB.
  """
  if (path / split).is_dir():
    path = path / split
  else:
    _check_split(path, split, ('train',))
  files = _image_files(path)
  headers = [_with_image(file, _mode_and_size) for file in files]
  modes, sizes = zip(*headers, strict=True)
  for file, size in zip(files, sizes, strict=True):
    if size != sizes[0]:
      raise errors.UserError(
        f'{file}: {size[0]} x {size[1]} pixels, but {files[0].name} has '
        f'{sizes[0][0]} x {sizes[0][1]}; all images must have one size.'
      )
  mode = 'L' if set(modes) <= {'1', 'L', 'LA'} else 'RGB'
  if any(m in ('LA', 'La', 'PA', 'RGBA', 'RGBa') for m in modes):
    logging.warning('%s: transparency is left out of the images.', path)
  width, height = sizes[0]
  images = np.empty((len(files), height, width, len(mode)), np.uint8)
  for i, file in enumerate(files):
    pixels = _with_image(file, lambda image: np.asarray(image.convert(mode)))
    images[i] = pixels.reshape(images.shape[1:])
  return Dataset(images, None, name, str(path))


def _image_files(path: pathlib.Path) -> list[pathlib.Path]:
  """The images in a folder, sorted; anything else there is an error."""
  files = []
  for entry in sorted(path.iterdir()):
    if entry.name.startswith('.') or entry.name.lower() in _LITTER:
      logging.warning('%s is left out: not an image.', entry)
    elif entry.suffix.lower() in _IMAGE_SUFFIXES and not entry.is_dir():
      files.append(entry)
    else:
      raise errors.UserError(
        f'{entry}: not an image; the folder of a data set holds images only.'
      )
  if not files:
    raise errors.UserError(f'{path}: no images in this folder.')
  return files


def _mode_and_size(image: Any) -> tuple[str, tuple[int, int]]:
  if image.mode.startswith(('I', 'F')):
    raise ValueError(f'its pixels have more than 8 bits (mode {image.mode})')
  if getattr(image, 'n_frames', 1) != 1:
    raise ValueError(f'it has {image.n_frames} frames')
  return image.mode, image.size


def _with_image(file: pathlib.Path, use: Callable[[Any], Any]) -> Any:
  """`use(image)`, with the errors of a damaged file as one line."""
  from PIL import Image

  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      with Image.open(file) as image:
        return use(image)
  except (
    *(OSError, ValueError, SyntaxError, EOFError, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
  ) as error:
    raise errors.UserError(
      f'{file}: cannot be read as an image ({_one_line(error)}).'
    ) from None


# tensorflow_datasets.


def _load_tfds(
  name: str,
  split: str,
  root: pathlib.Path | None,
  other_names: Sequence[str],
) -> Dataset:
  """Reads a data set through `tensorflow_datasets`."""
  import_tensorflow()
  with _no_native_stderr():
    import tensorflow_datasets as tfds
  builders = tfds.list_builders(with_community_datasets=False)
  _check_name(name, root, builders, other_names)
  where = tfds.core.constants.DATA_DIR if root is None else root
  problem = 'tensorflow_datasets cannot make it'
  try:
    with _only_errors_logged():
      builder = tfds.builder(name, data_dir=None if root is None else str(root))
      _check_features(name, builder.info.features)
      prepared = builder.is_prepared()
    if not prepared:
      logging.info('Downloading %s to %s.', name, builder.data_path)
    with _only_errors_logged():
      if not prepared:
        _download(builder)
      problem = f'its split {split!r} cannot be read'
      examples, labels = _read_tfds(builder, split)
  except errors.UserError:
    raise
  except Exception as error:  # Builders raise whatever they like.
    raise errors.UserError(
      f'{name}: looked for in {where}; {problem}: {_one_line(error)}. '
      f'{_advice(name)}'
    ) from None
  source = f'tensorflow_datasets: {builder.data_path}'
  return Dataset(examples, labels, name, source)


def _check_name(
  name: str,
  root: pathlib.Path | None,
  builders: Sequence[str],
  other_names: Sequence[str],
) -> None:
  """Refuses what is no data set's name, with the nearest names that are."""
  # Names with a namespace would run code from elsewhere; they are not known.
  if name.split('/')[0].split(':')[0] in builders:
    return
  own = [*NAMES, *other_names]
  near = difflib.get_close_matches(name, [*own, *builders], n=3, cutoff=0.6)
  hint = f'did you mean {" or ".join(dict.fromkeys(near))}? ' if near else ''
  where = '' if root is None else f', nor are there images in {root}'
  raise errors.UserError(
    f'dataset {name!r} is no known data set, no .npz file and no folder of '
    f'images{where}; {hint}There are {", ".join(own)}, and the image '
    'classification data sets of tensorflow_datasets.'
  )


def _check_features(name: str, features: Any) -> None:
  """Refuses a data set that has no 8-bit images of one size."""
  image = features['image'] if 'image' in (features or ()) else None
  if image is None:
    raise errors.UserError(f'{name} is not a data set of images with labels.')
  if image.np_dtype != np.uint8 or len(image.shape) != 3:
    raise errors.UserError(
      f'{name}: its images are {np.dtype(image.np_dtype)} of shape '
      f'{image.shape}, not uint8 of shape (height, width, channels).'
    )
  if None in image.shape:
    raise errors.UserError(
      f'{name}: its images have different sizes; resize them and save them as '
      'an .npz or a folder of images.'
    )


def _download(builder: Any) -> None:
  """Downloads and prepares a data set, or soon says that it cannot."""
  import tensorflow_datasets as tfds

  # Retries of a download that cannot begin would take minutes.
  if not _any_host_answers(builder.url_infos or ()):
    raise OSError('no network: the servers of its files do not answer')
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare()


def _any_host_answers(urls: Iterable[str], timeout: float = 5.0) -> bool:
  """Whether a server of the files, or Google's copy of them, answers."""
  if urllib.request.getproxies():
    return True  # The proxy has to find out.
  found = (urllib.parse.urlparse(url).hostname for url in urls)
  hosts = {host for host in found if host}
  if not hosts:
    return True  # Nothing to download, or nobody knows from where.
  for host in [*sorted(hosts)[:2], 'storage.googleapis.com']:
    with contextlib.suppress(OSError):
      socket.create_connection((host, 443), timeout).close()
      return True
  return False


def _read_tfds(
  builder: Any, split: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads a prepared split in its stored order."""
  keys = [key for key in ('image', 'label') if key in builder.info.features]
  examples = builder.as_dataset(split=split, shuffle_files=False)
  batches = examples.map(lambda example: {k: example[k] for k in keys})
  columns: dict[str, list[np.ndarray]] = {key: [] for key in keys}
  for batch in batches.batch(1024).as_numpy_iterator():
    for key in keys:
      columns[key].append(batch[key])
  if not columns['image']:
    raise ValueError('it is empty')
  images = np.concatenate(columns['image'])
  if 'label' not in keys:
    return images, None
  labels = np.concatenate(columns['label'])
  # Labels that are not one integer an image are of no use here.
  if labels.ndim != 1 or labels.dtype.kind not in 'iu':
    return images, None
  return images, labels.astype(np.int32)


def _advice(name: str) -> str:
  how = _HOW_TO_GET.get(
    name, 'prepare it with tensorflow_datasets on a machine with a network'
  )
  return f'To get it, set data_dir to a folder and {how}.'


def _one_line(error: BaseException, limit: int = 200) -> str:
  """An error's message without line breaks, or its type if it has none."""
  text = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
  return text if len(text) <= limit else f'{text[:limit]}...'
