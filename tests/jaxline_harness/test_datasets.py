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
import gzip
import io
import os
import pathlib
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zipfile

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors

# Counts of n cells are taken as uniform if χ² lies within so many standard
# deviations of its mean. The seeds are fixed: it holds or it does not.
MAX_CHI_SQUARE_Z = 4.0


def _chi_square_z(counts, dof, scale=1.0):
  expected = counts.mean()
  chi_square = scale * ((counts - expected) ** 2 / expected).sum()
  return (chi_square - dof) / np.sqrt(2 * dof)


def _epochs(num_epochs, batch_size, num_examples, seed=0):
  """All draws of the first epochs: (num_epochs, draws an epoch * batch)."""
  numbers = jnp.arange(num_epochs * (num_examples // batch_size))
  indices = jax.jit(
    jax.vmap(lambda d: draws.draw_indices(seed, d, batch_size, num_examples))
  )(numbers)
  return np.asarray(indices).reshape(num_epochs, -1)


# Draws.


@pytest.mark.parametrize(
  ('num_examples', 'batch_size'),
  [
    *((1, 1), (2, 1), (3, 1), (4, 2), (5, 5), (6, 3), (7, 1), (13, 13)),
    *((97, 1), (1000, 100), (1009, 1), (10_000, 100), (60_000, 100)),
  ],
)
def test_an_epoch_takes_every_example_once(num_examples, batch_size):
  for epoch in _epochs(3, batch_size, num_examples):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(num_examples))


def test_remainder_is_left_out_and_differs_between_epochs():
  epochs = _epochs(200, 64, 100)
  assert epochs.shape == (200, 64)
  for epoch in epochs:
    assert len(set(epoch.tolist())) == 64
  assert epochs.min() == 0
  assert epochs.max() == 99
  # Every example is taken in some epoch: each is left out 36 % of the time.
  assert len(np.unique(epochs)) == 100


@pytest.mark.parametrize('num_examples', [12, 60, 61])
def test_positions_and_indices_are_independent(num_examples):
  num_epochs = 100 * num_examples
  epochs = _epochs(num_epochs, num_examples, num_examples)
  table = np.zeros((num_examples, num_examples))
  np.add.at(table, (np.arange(num_examples)[None], epochs), 1)
  # The table's rows and columns have fixed sums: χ² is N / (N - 1) times too
  # large on average.
  z = _chi_square_z(table, (num_examples - 1) ** 2, 1 - 1 / num_examples)
  assert abs(z) < MAX_CHI_SQUARE_Z


@pytest.mark.parametrize('num_examples', [60, 61])
def test_neighbours_in_a_batch_are_independent(num_examples):
  epochs = _epochs(3000, num_examples, num_examples)
  for distance in (1, 2, 10):
    steps = (epochs[:, distance:] - epochs[:, :-distance]) % num_examples
    counts = np.bincount(steps.ravel(), minlength=num_examples)
    assert counts[0] == 0
    z = _chi_square_z(counts[1:], num_examples - 2)
    assert abs(z) < MAX_CHI_SQUARE_Z


@pytest.mark.parametrize('num_examples', [10_000, 10_007])
def test_consecutive_indices_do_not_correlate(num_examples):
  epoch = _epochs(1, num_examples, num_examples)[0]
  # The standard deviation of these is 0.01.
  assert abs(np.corrcoef(epoch[1:], epoch[:-1])[0, 1]) < 0.04
  assert abs(np.corrcoef(epoch, np.arange(num_examples))[0, 1]) < 0.04


@pytest.mark.parametrize('other', [{'seed': 1}, {'epoch': 1}])
def test_seeds_and_epochs_give_unrelated_permutations(other):
  first = _epochs(1, 5000, 10_000)[0]
  second = _epochs(2, 5000, 10_000, other.get('seed', 0))[other.get('epoch', 0)]
  # One equal value is expected.
  assert (first == second).sum() < 8
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.04


def test_draws_are_functions_of_their_number():
  one = draws.draw_indices(3, 17, 64, 1000)
  jitted = jax.jit(draws.draw_indices, static_argnums=(2, 3))
  assert one.dtype == jnp.int32
  np.testing.assert_array_equal(one, jitted(3, 17, 64, 1000))
  np.testing.assert_array_equal(one, jitted(np.int32(3), 17, 64, 1000))
  for key in (jax.random.key(3), jax.random.PRNGKey(3)):
    np.testing.assert_array_equal(one, jitted(key, 17, 64, 1000))
  assert not np.array_equal(one, jitted(3, 18, 64, 1000))
  assert not np.array_equal(one, jitted(4, 17, 64, 1000))


def test_draws_stay_what_they_are():
  # A run that goes on after an update of this package draws the same batches.
  np.testing.assert_array_equal(
    draws.draw_indices(0, 1000, 6, 10_000), [6127, 9397, 6856, 1840, 2480, 3466]
  )


@pytest.mark.parametrize('draw', [10**9, 2**31 - 1])
def test_late_draws_do_not_overflow(draw):
  indices = np.asarray(draws.draw_indices(0, draw, 3, 10))
  assert len(set(indices.tolist())) == 3
  assert 0 <= indices.min() <= indices.max() < 10
  again = np.asarray(draws.draw_indices(0, draw - 3, 3, 10))
  assert not np.array_equal(indices, again)


@pytest.mark.parametrize('num_devices', [1, 2, 4])
def test_devices_share_the_same_batch(num_devices):
  examples = np.arange(100, dtype=np.uint8).repeat(2).reshape(100, 2)
  labels = np.arange(100, dtype=np.int32)

  def run(last):
    def step(i, batches):
      batch = draws.draw_batch(
        (examples, labels), 5, i, 8, lax.axis_index('i'), num_devices
      )
      return jax.tree.map(lambda x, b: x.at[i].set(b), batches, batch)

    rows = 8 // num_devices
    empty = jnp.zeros((20, rows, 2), jnp.uint8), jnp.zeros((20, rows), int)
    return lax.fori_loop(0, last, step, empty)

  devices = jax.local_devices()[:num_devices]
  drawn, drawn_labels = jax.pmap(run, axis_name='i', devices=devices)(
    np.full(num_devices, 20)
  )
  assert drawn.dtype == jnp.uint8
  for i in range(20):
    indices = np.asarray(draws.draw_indices(5, i, 8, 100))
    joined = np.concatenate(np.asarray(drawn[:, i]))
    np.testing.assert_array_equal(joined, examples[indices])
    np.testing.assert_array_equal(np.ravel(drawn_labels[:, i]), indices)
    for k in range(num_devices):
      rows = draws.device_rows(jnp.asarray(indices), k, num_devices)
      np.testing.assert_array_equal(rows, drawn_labels[k, i])


def test_bad_batch_sizes_are_user_errors():
  with pytest.raises(errors.UserError, match='batch of 11 .* 10 examples'):
    draws.draw_indices(0, 0, 11, 10)
  with pytest.raises(errors.UserError, match='batch of 0'):
    draws.draw_indices(0, 0, 0, 10)
  with pytest.raises(errors.UserError, match='6 does not divide .* 4 devices'):
    draws.device_rows(jnp.arange(6), 0, 4)
  with pytest.raises(errors.UserError, match='6 does not divide .* 4 devices'):
    draws.draw_batch(np.zeros((10, 1)), 0, 0, 6, 0, 4)


# The embedded data set.


def test_embedded_fashion_mnist():
  dataset = datasets.load('fashion_mnist_10k')
  assert dataset.examples.shape == (10_000, 28, 28, 1)
  assert dataset.examples.dtype == np.uint8
  assert dataset.labels.dtype == np.int32
  np.testing.assert_array_equal(np.bincount(dataset.labels), [1000] * 10)
  assert 'Fashion-MNIST' in dataset.source
  licence = pathlib.Path(datasets.__file__).parent / 'embedded/fashion_mnist'
  assert 'MIT License' in (licence / 'LICENSE').read_text()
  test = datasets.load('fashion_mnist', 'test')
  np.testing.assert_array_equal(test.examples, dataset.examples)
  with pytest.raises(errors.UserError, match="no split 'test'"):
    datasets.load('fashion_mnist_10k', 'test')


# Original files.


def _idx(array):
  header = struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


def _made_up(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _write_idx_files(folder, zipped=True, prefix='train', labels=None):
  folder.mkdir(parents=True, exist_ok=True)
  images = _made_up((20, 28, 28))
  labels = np.arange(20) % 10 if labels is None else labels
  suffix, pack = ('.gz', gzip.compress) if zipped else ('', bytes)
  paths = [
    folder / f'{prefix}-{kind}-ubyte{suffix}'
    for kind in ('images-idx3', 'labels-idx1')
  ]
  for path, array in zip(paths, (images, labels), strict=True):
    path.write_bytes(pack(_idx(array)))
  return images, labels, paths


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('below', ['', 'mnist'])
def test_idx_files(tmp_path, zipped, below):
  images, labels, paths = _write_idx_files(tmp_path / below, zipped)
  dataset = datasets.load('mnist', 'train', tmp_path)
  np.testing.assert_array_equal(dataset.examples, images[..., None])
  np.testing.assert_array_equal(dataset.labels, labels)
  assert dataset.source == str(paths[0])
  assert dataset.name == 'mnist'


def test_idx_test_split_and_unknown_split(tmp_path):
  images, _, _ = _write_idx_files(tmp_path, prefix='t10k')
  dataset = datasets.load('fashion_mnist', 'test', tmp_path)
  np.testing.assert_array_equal(dataset.examples, images[..., None])
  with pytest.raises(errors.UserError, match="no split 'valid'"):
    datasets.load('fashion_mnist', 'valid', tmp_path)


def test_the_two_mnists_are_not_mistaken(tmp_path):
  first = datasets.load('fashion_mnist_10k').labels[:20]
  _write_idx_files(tmp_path, prefix='t10k', labels=first)
  assert len(datasets.load('fashion_mnist', 'test', tmp_path).examples) == 20
  with pytest.raises(errors.UserError, match="of fashion_mnist's test split"):
    datasets.load('mnist', 'test', tmp_path)


def _damaged(content):
  header = content[:4]
  return {
    'empty': b'',
    'header cut': content[:9],
    'cut': content[:-1],
    'too long': content + b'\0',
    'wrong magic': b'\0\0\x0d\x03' + content[4:],
    'labels': b'\0\0\x08\x01' + content[4:],
    'no images': header + struct.pack('>3I', 0, 28, 28),
    'claims 64 TiB': header + struct.pack('>3I', *[2**32 - 1] * 3) + b'x',
  }


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('damage', _damaged(b'\0' * 20))
def test_damaged_idx_is_named(tmp_path, damage, zipped):
  path = tmp_path / ('x.gz' if zipped else 'x')
  content = _damaged(_idx(_made_up((3, 4, 4))))[damage]
  path.write_bytes(gzip.compress(content) if zipped else content)
  with pytest.raises(errors.UserError, match='not a whole idx file') as caught:
    datasets.read_idx(path, 3)
  assert str(path) in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', ['cut', 'flipped', 'not gzip'])
def test_damaged_gzip_is_named(tmp_path, content):
  packed = bytearray(gzip.compress(_idx(_made_up((3, 28, 28)))))
  if content == 'cut':
    packed = packed[: len(packed) // 2]
  elif content == 'flipped':
    packed[-6] ^= 1  # In the checksum.
  else:
    packed = b'<html>404</html>'
  path = tmp_path / 'x.gz'
  path.write_bytes(packed)
  with pytest.raises(errors.UserError, match='x.gz: not a whole idx file'):
    datasets.read_idx(path, 3)


def test_labels_of_another_number_are_refused(tmp_path):
  _write_idx_files(tmp_path, labels=np.arange(19) % 10)
  with pytest.raises(errors.UserError, match='19 labels for 20 images'):
    datasets.load('mnist', 'train', tmp_path)


def _write_cifar10(folder):
  folder.mkdir(exist_ok=True)
  images, labels = _made_up((10, 32, 32, 3)), np.arange(10)
  for i in range(5):
    rows = [
      bytes([labels[j]]) + images[j].transpose(2, 0, 1).tobytes()
      for j in (2 * i, 2 * i + 1)
    ]
    (folder / f'data_batch_{i + 1}.bin').write_bytes(b''.join(rows))
  return images, labels


@pytest.mark.parametrize('below', ['.', 'cifar10', 'cifar-10-batches-bin'])
def test_cifar10_binary_files(tmp_path, below):
  images, labels = _write_cifar10(tmp_path / below)
  dataset = datasets.load('cifar10', 'train', tmp_path)
  np.testing.assert_array_equal(dataset.examples, images)
  np.testing.assert_array_equal(dataset.labels, labels)
  assert dataset.examples.flags.c_contiguous


def test_damaged_cifar10_is_named(tmp_path):
  _write_cifar10(tmp_path)
  path = tmp_path / 'data_batch_3.bin'
  content = path.read_bytes()
  path.write_bytes(content[:-1])
  with pytest.raises(errors.UserError, match='data_batch_3.bin: 6145 bytes'):
    datasets.load('cifar10', 'train', tmp_path)
  path.write_bytes(b'\x0a' + content[1:])
  with pytest.raises(errors.UserError, match='data_batch_3.bin: a label'):
    datasets.load('cifar10', 'train', tmp_path)
  path.unlink()
  with pytest.raises(errors.UserError, match='data_batch_3.bin: No such file'):
    datasets.load('cifar10', 'train', tmp_path)
  with pytest.raises(errors.UserError, match='test_batch.bin: No such file'):
    datasets.load('cifar10', 'test', tmp_path)


# A user's own images.


@pytest.mark.parametrize('key', ['images', 'x'])
@pytest.mark.parametrize('shape', [(6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 3)])
def test_npz(tmp_path, key, shape):
  images = _made_up(shape)
  path = tmp_path / 'mine.npz'
  np.savez_compressed(path, labels=np.arange(6), **{key: images})
  by_name = datasets.load(str(path))
  by_folder = datasets.load('mine.npz', data_dir=tmp_path)
  by_data_dir = datasets.load('mine', data_dir=path)
  for dataset in (by_name, by_folder, by_data_dir):
    assert dataset.examples.shape == (6, 5, 4, shape[3] if shape[3:] else 1)
    np.testing.assert_array_equal(dataset.examples.ravel(), images.ravel())
    np.testing.assert_array_equal(dataset.labels, np.arange(6))
    assert dataset.labels.dtype == np.int32
    assert dataset.source == str(path)
  assert by_data_dir.name == 'mine'
  with pytest.raises(errors.UserError, match="no split 'test'"):
    datasets.load(str(path), 'test')


def test_npz_without_labels(tmp_path):
  np.savez(tmp_path / 'a.npz', images=_made_up((2, 3, 3)), masks=np.zeros(2))
  assert datasets.load(str(tmp_path / 'a.npz')).labels is None


class _Mischief:
  """Unpickling one of these makes a folder."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.mark.parametrize('key', ['images', 'labels'])
def test_npz_runs_no_pickle(tmp_path, key):
  arrays = {'images': _made_up((2, 3, 3)), 'labels': np.arange(2)}
  mischief = _Mischief(tmp_path / 'made')
  arrays[key] = np.array([mischief, mischief], dtype=object)
  np.savez(tmp_path / 'bad.npz', **arrays)
  assert not (tmp_path / 'made').exists()
  with pytest.raises(errors.UserError, match='bad.npz: cannot be read'):
    datasets.load(str(tmp_path / 'bad.npz'))
  assert not (tmp_path / 'made').exists()


def _npz_bytes(**arrays):
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


def _zip_bytes(name, content):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    archive.writestr(name, content)
  return file.getvalue()


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'cannot be read'),
    (b'no archive', 'cannot be read'),
    (_npz_bytes(images=_made_up((9, 9, 9)))[:-300], 'cannot be read'),
    (_zip_bytes('images.npy', b'\x93NUMPY\x01'), 'cannot be read'),
    (_zip_bytes('../images', b'text'), 'cannot be read|must be uint8'),
    (_npz_bytes(), 'there is none'),
    (_npz_bytes(a=np.zeros(1), b=np.zeros(1)), 'there is a, b'),
    (_npz_bytes(images=np.zeros((2, 3, 3))), 'not float64'),
    (_npz_bytes(images=_made_up((2, 3))), r'of shape \(2, 3\)'),
    (_npz_bytes(images=_made_up((2, 3, 4, 4))), '1 or 3 channels'),
    (_npz_bytes(images=_made_up((0, 3, 3))), r'of shape \(0, 3, 3\)'),
    (
      _npz_bytes(images=_made_up((2, 3, 3)), labels=np.arange(3)),
      'labels must be 2 integers',
    ),
    (
      _npz_bytes(images=_made_up((2, 3, 3)), labels=np.zeros(2)),
      'not float64',
    ),
  ],
)
def test_bad_npz_is_one_line(tmp_path, content, message):
  path = tmp_path / 'bad.npz'
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match=message) as caught:
    datasets.load(str(path))
  assert str(path) in str(caught.value)
  assert '\n' not in str(caught.value)
  assert not (tmp_path.parent / 'images').exists()


def _save(path, pixels, **kwargs):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path, **kwargs)


def test_folder_of_images(tmp_path):
  images = _made_up((3, 6, 5, 3))
  for name, pixels in zip(('b.png', 'a.bmp', 'c.PNG'), images, strict=True):
    _save(tmp_path / name, pixels)
  (tmp_path / '.DS_Store').write_bytes(b'x')
  for dataset in (
    datasets.load(str(tmp_path)),
    datasets.load('anything', data_dir=tmp_path),
  ):
    np.testing.assert_array_equal(dataset.examples, images[[1, 0, 2]])
    assert dataset.labels is None
    assert dataset.source == str(tmp_path)


def test_folder_is_grey_if_all_images_are(tmp_path):
  grey = _made_up((2, 6, 5))
  for i, pixels in enumerate(grey):
    _save(tmp_path / f'{i}.png', pixels)
  dataset = datasets.load(str(tmp_path))
  np.testing.assert_array_equal(dataset.examples, grey[..., None])
  colour = _made_up((6, 5, 3))
  _save(tmp_path / '2.png', colour)
  dataset = datasets.load(str(tmp_path))
  assert dataset.examples.shape == (3, 6, 5, 3)
  np.testing.assert_array_equal(
    dataset.examples[:2], np.stack([grey] * 3, axis=-1)
  )
  np.testing.assert_array_equal(dataset.examples[2], colour)


def test_folder_with_splits(tmp_path):
  images = _made_up((2, 4, 4))
  _save(tmp_path / 'train' / 'x.png', images[0])
  _save(tmp_path / 'test' / 'x.png', images[1])
  for i, split in enumerate(('train', 'test')):
    dataset = datasets.load('mine', split, tmp_path)
    np.testing.assert_array_equal(dataset.examples[0, ..., 0], images[i])


def _spoil_size(folder):
  _save(folder / 'z.png', _made_up((5, 4)))


def _spoil_text(folder):
  (folder / 'z.txt').write_text('x')


def _spoil_folder(folder):
  (folder / 'z').mkdir()


def _spoil_cut(folder):
  path = folder / 'z.png'
  _save(path, _made_up((4, 4)))
  path.write_bytes(path.read_bytes()[:-30])


def _spoil_content(folder):
  (folder / 'z.png').write_bytes(b'x')


def _spoil_depth(folder):
  _save(folder / 'z.png', _made_up((4, 4)).astype(np.uint16))


def _spoil_frames(folder):
  frames = [Image.fromarray(_made_up((4, 4), i)) for i in range(2)]
  frames[0].save(folder / 'z.gif', save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (_spoil_size, r'z\.png: 4 x 5 pixels, but a\.png has 4 x 4'),
    (_spoil_text, r'z\.txt: not an image'),
    (_spoil_folder, r'z: not an image'),
    (_spoil_cut, r'z\.png: cannot be read'),
    (_spoil_content, r'z\.png: cannot be read'),
    (_spoil_depth, r'z\.png: .*more than 8 bits'),
    (_spoil_frames, r'z\.gif: .*2 frames'),
  ],
)
def test_folder_skips_nothing(tmp_path, spoil, message):
  _save(tmp_path / 'a.png', _made_up((4, 4)))
  assert len(datasets.load(str(tmp_path)).examples) == 1
  spoil(tmp_path)
  with pytest.raises(errors.UserError, match=message):
    datasets.load(str(tmp_path))


def test_missing_paths(tmp_path):
  for name, data_dir in (
    (str(tmp_path / 'none'), None),
    ('./none.npz', None),
    ('none.npz', tmp_path),
    ('mine', tmp_path / 'none.npz'),
  ):
    with pytest.raises(errors.UserError, match='none.*no such file or folder'):
      datasets.load(name, data_dir=data_dir)
  (tmp_path / 'text').write_text('x')
  with pytest.raises(errors.UserError, match='an .npz file or a folder'):
    datasets.load(str(tmp_path / 'text'))


# tensorflow_datasets.


@pytest.fixture
def no_network(monkeypatch):
  def refuse(*args, **kwargs):
    raise OSError('no network in this test')

  monkeypatch.setattr(socket, 'create_connection', refuse)
  monkeypatch.setattr(urllib.request, 'getproxies', dict)


@pytest.mark.parametrize(
  ('name', 'advice'),
  [
    ('cifar10', 'cifar-10-binary.tar.gz'),
    ('mnist', 'idx files'),
    ('fashion_mnist', 'fashion_mnist_10k'),
    ('svhn_cropped', 'on a machine with a network'),
  ],
)
def test_missing_data_is_one_line(tmp_path, no_network, name, advice, capfd):
  datasets.import_tensorflow()
  capfd.readouterr()
  start = time.monotonic()
  with pytest.raises(errors.UserError) as caught:
    datasets.load(name, 'train', tmp_path)
  # Retries of the download alone would take minutes.
  assert time.monotonic() - start < 20
  message = str(caught.value)
  for part in (name, str(tmp_path), 'no network', 'data_dir', advice):
    assert part in message
  assert '\n' not in message
  captured = capfd.readouterr()
  assert captured.out + captured.err == ''


def test_wrong_names_get_the_nearest():
  with pytest.raises(errors.UserError, match='did you mean fashion_mnist'):
    datasets.load('fasion_mnist')
  with pytest.raises(errors.UserError, match='did you mean spirals'):
    datasets.load('spirls', other_names=['spirals'])
  with pytest.raises(errors.UserError) as caught:
    datasets.load('qqqqqq')
  assert all(name in str(caught.value) for name in datasets.NAMES)
  # A namespace would fetch code.
  with pytest.raises(errors.UserError, match='no known data set'):
    datasets.load('somewhere:mnist')


def test_data_sets_without_images_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='not a data set of images'):
    datasets.load('imdb_reviews', data_dir=tmp_path)


def test_prepared_tfds_data_are_read(tmp_path):
  datasets.import_tensorflow()
  import tensorflow_datasets as tfds

  images, labels = _made_up((12, 8, 8, 3)), np.arange(12) % 3

  class HarnessTestImages(tfds.core.GeneratorBasedBuilder):
    """A data set made up here."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(
          {
            'image': tfds.features.Image(shape=(8, 8, 3)),
            'label': tfds.features.ClassLabel(num_classes=3),
            'id': tfds.features.Text(),
          }
        ),
      )

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      for i in range(12):
        yield i, {'image': images[i], 'label': labels[i], 'id': str(i)}

  dataset = datasets.load('harness_test_images', data_dir=tmp_path)
  again = datasets.load('harness_test_images', data_dir=tmp_path)
  np.testing.assert_array_equal(dataset.examples, again.examples)
  # tfds keeps its own order: compare as sets.
  order = [
    int(np.flatnonzero((images == x).all((1, 2, 3)))[0])
    for x in dataset.examples
  ]
  assert sorted(order) == list(range(12))
  np.testing.assert_array_equal(dataset.labels, labels[order])
  assert dataset.labels.dtype == np.int32
  part = datasets.load('harness_test_images', 'train[:5]', tmp_path)
  np.testing.assert_array_equal(part.examples, dataset.examples[:5])
  with pytest.raises(errors.UserError, match="split 'valid' cannot be read"):
    datasets.load('harness_test_images', 'valid', tmp_path)


@pytest.mark.slow
def test_tensorflow_is_quiet(tmp_path):
  program = (
    'from jaxline_harness import datasets\n'
    'tf = datasets.import_tensorflow()\n'
    'tf.constant(1) + 1\n'
    "print(tf.config.get_visible_devices('GPU'))\n"
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  assert done.stdout == '[]\n'
  assert done.stderr == ''


def test_importing_the_module_leaves_tensorflow_alone():
  program = (
    'import sys\n'
    'from jaxline_harness import datasets\n'
    "datasets.load('fashion_mnist_10k')\n"
    "sys.exit('tensorflow' in sys.modules)\n"
  )
  done = subprocess.run([sys.executable, '-c', program], timeout=120)
  assert done.returncode == 0
