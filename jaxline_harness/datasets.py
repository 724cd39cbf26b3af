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
`tensorflow_datasets` has, an `.npz` or a folder of images. An `.npy` stays on
disk, and so do images of a folder where that is wanted.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import difflib
import io
import os
import pathlib
import socket
import types
from typing import Any
import urllib.parse
import urllib.request

from absl import logging
import numpy as np

from jaxline_harness import dataset_files
from jaxline_harness import errors
from jaxline_harness import image_folders

Dataset = dataset_files.Dataset
_SUFFIXES = ('.npz', '.npy')
NAMES = ('fashion_mnist_10k', 'fashion_mnist', 'mnist', 'cifar10')

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


# Loading.


def load(
  name: str,
  split: str = 'train',
  data_dir: str | os.PathLike[str] | None = None,
  other_names: Sequence[str] = (),
  on_disk: bool = False,
) -> Dataset:
  """Reads a data set of images.

  Where it is looked for, in this order:

  1. the original files of `mnist`, `fashion_mnist` (idx, gzipped or not) or
     `cifar10` (binary version), in `data_dir` or a folder of that name in it;
  2. `data_dir`, if that is itself an `.npz` or `.npy` or a folder with images
     in it;
  3. `name`, if that is a path to an `.npz`, an `.npy` or a folder of images;
  4. the embedded files: `fashion_mnist_10k`, the 10,000 images of
     Fashion-MNIST's test split, which are the embedded data set's only split;
  5. `tensorflow_datasets`, in `data_dir` or in its own default folder, where it
     is downloaded if it can be.

  Args:
    name: the data set's name, or a path.
    split: 'train' or 'test'; for `tensorflow_datasets` also its expressions. A
      folder of images may have a folder for each split.
    data_dir: where data sets lie, or the path of such images.
    other_names: names that the caller knows, for the message about a wrong one.
    on_disk: whether images of a folder are kept in a file, and not in memory.

  Returns:
    The split's examples in their stored order.

  Raises:
    UserError: the data set does not exist, cannot be had, or is damaged.
  """
  name = os.fspath(name)
  root = pathlib.Path(os.path.expanduser(data_dir)) if data_dir else None
  try:
    dataset = _load_files(name, split, root, on_disk)
  except OSError as error:
    raise errors.UserError(
      f'{error.filename or name}: {error.strerror or error}.'
    ) from error
  return dataset or _load_tfds(name, split, root, other_names)


def _load_files(
  name: str, split: str, root: pathlib.Path | None, on_disk: bool
) -> Dataset | None:
  """Reads all but `tensorflow_datasets`; None if there is nothing."""
  dataset = dataset_files.find_original(name, split, root)
  if dataset is not None:
    return dataset
  if root is not None and (
    root.suffix in _SUFFIXES
    or image_folders.holds_images(root, in_classes=False)
  ):
    return _load_path(root, split, name, on_disk)
  path = _as_path(name, root)
  if path is not None:
    return _load_path(path, split, path.name, on_disk)
  if name == 'fashion_mnist_10k':
    dataset_files.check_split(name, split, ('train',))
    return dataset_files.read_embedded_fashion_mnist(name)
  if (name, split) == ('fashion_mnist', 'test'):
    return dataset_files.read_embedded_fashion_mnist(name)
  return None


def import_tensorflow() -> types.ModuleType:
  """Imports TensorFlow quietly and keeps it off the accelerators.

  Returns:
    The module `tensorflow`, which sees no GPU: JAX needs their memory.

  Raises:
    ImportError: it is not installed; `errors.require_extra` explains that.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  with _silence_stderr():
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
def _silence_stderr() -> Iterator[None]:
  """Drops what libraries write to file descriptor 2 past Python."""
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
def _silence_logs() -> Iterator[None]:
  """Drops the chatter of libraries that log through absl."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(min(verbosity, logging.ERROR))
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


def _as_path(name: str, root: pathlib.Path | None) -> pathlib.Path | None:
  """The path that `name` means; None if it is the name of a data set."""
  if name in NAMES or not name:
    return None
  path = pathlib.Path(os.path.expanduser(name))
  candidates = [path] if root is None else [path, root / path]
  for candidate in candidates:
    # Unlike those of pathlib, these take names that are too long.
    if os.path.isfile(candidate) or (
      os.path.isdir(candidate) and image_folders.holds_images(candidate)
    ):
      return candidate
  if path.suffix in _SUFFIXES or name[0] in ('.', '~') or path.is_absolute():
    return path
  return None


def _load_path(
  path: pathlib.Path, split: str, name: str, on_disk: bool
) -> Dataset:
  """Reads an `.npz`, an `.npy` or a folder of images."""
  if path.is_dir():
    images, labels = image_folders.read(path, split, on_disk)
  elif not path.exists():
    raise errors.UserError(f'{path}: no such file or folder.')
  elif path.suffix == '.npz' and path.is_file():
    images, labels = dataset_files.read_npz(path, split)
  elif path.suffix == '.npy' and path.is_file():
    dataset_files.check_split(path, split, ('train',))
    images, labels = dataset_files.open_npy(path), None
  else:
    raise errors.UserError(
      f'{path}: a data set is an .npz or .npy file or a folder of images.'
    )
  return Dataset(images, labels, name, str(path))


def _load_tfds(
  name: str,
  split: str,
  root: pathlib.Path | None,
  other_names: Sequence[str],
) -> Dataset:
  """Reads a data set through `tensorflow_datasets`."""
  missing = _missing_without_tfds(name, root, other_names)
  with errors.require_extra('tfds', missing):
    import_tensorflow()
    with _silence_stderr():
      import tensorflow_datasets as tfds
  tfds.disable_progress_bar()
  builders = tfds.list_builders(with_community_datasets=False)
  # Names with a namespace would run code from elsewhere; they are not known.
  if name.split('/')[0].split(':')[0] not in builders:
    unknown = _unknown_name(name, root, builders, other_names)
    raise errors.UserError(f'{unknown}.')
  where = tfds.core.constants.DATA_DIR if root is None else root
  logging.info('Reading or downloading %s in %s.', name, where)
  problem = 'tensorflow_datasets cannot make it'
  try:
    with _silence_logs():
      builder = tfds.builder(name, data_dir=None if root is None else str(root))
      _check_features(name, builder.info.features)
      if not builder.is_prepared():
        _download(builder)
      problem = f'its split {split!r} cannot be read'
      examples, labels = _read_tfds(builder, split)
  except errors.UserError:
    raise
  except Exception as error:  # Builders raise whatever they like.
    raise errors.UserError(
      f'{name}: looked for in {where}; {problem}: '
      f'{errors.one_line(error, 200)}. {_advice(name)}'
    ) from None
  source = f'tensorflow_datasets: {builder.data_path}'
  return Dataset(examples, labels, name, source)


def _unknown_name(
  name: str,
  root: pathlib.Path | None,
  builders: Sequence[str],
  other_names: Sequence[str],
) -> str:
  """What a data set could be, and the names nearest to this one."""
  own = [*NAMES, *other_names]
  near = difflib.get_close_matches(name, [*own, *builders], n=3, cutoff=0.6)
  hint = f'did you mean {" or ".join(dict.fromkeys(near))}? ' if near else ''
  where = '' if root is None else f', nor are there images in {root}'
  return (
    f'dataset {errors.one_line(repr(name), 100)} is no known data set, no .npz '
    f'or .npy file and no folder of images{where}; {hint}There are '
    f'{", ".join(own)}, and the image classification data sets of '
    'tensorflow_datasets'
  )


def _missing_without_tfds(
  name: str, root: pathlib.Path | None, other_names: Sequence[str]
) -> str:
  """What is missing, and that it needs tensorflow_datasets; a subject."""
  if name not in _HOW_TO_GET:
    return f'{_unknown_name(name, root, (), other_names)}, which'
  where = '' if root is None else f' in {root}'
  return (
    f'{name}: its files are not found{where}. {_advice(name)} Else '
    'tensorflow_datasets fetches it, which'
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
  # Retries of a download that cannot begin would take minutes.
  if not _any_host_answers(builder.url_infos or ()):
    raise OSError('no network: the servers of its files do not answer')
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare()


def _any_host_answers(urls: Iterable[str]) -> bool:
  """Whether a server of the files, or Google's copy of them, answers."""
  if urllib.request.getproxies():
    return True  # The proxy has to find out.
  found = (urllib.parse.urlparse(url).hostname for url in urls)
  hosts = {host for host in found if host}
  if not hosts:
    return True  # Nothing to download, or nobody knows from where.
  for host in [*sorted(hosts)[:2], 'storage.googleapis.com']:
    with contextlib.suppress(OSError):
      socket.create_connection((host, 443), timeout=5).close()
      return True
  return False


def _read_tfds(
  builder: Any, split: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads a prepared split in its stored order."""
  import tensorflow_datasets as tfds

  keys = [key for key in ('image', 'label') if key in builder.info.features]
  examples = tfds.as_numpy(
    builder.as_dataset(
      split=split,
      shuffle_files=False,
      batch_size=-1,  # All of them.
      decoders=tfds.decode.PartialDecoding(dict.fromkeys(keys, True)),
    )
  )
  labels = examples.get('label')
  # Of no use unless they are one class an image; tfds calls unknown ones -1.
  if labels is not None and (
    labels.ndim != 1 or labels.dtype.kind not in 'iu' or labels.min() < 0
  ):
    labels = None
  return examples['image'], None if labels is None else labels.astype(np.int32)


def _advice(name: str) -> str:
  how = _HOW_TO_GET.get(
    name, 'prepare it with tensorflow_datasets on a machine with a network'
  )
  return f'To get it, set data_dir to a folder and {how}.'
