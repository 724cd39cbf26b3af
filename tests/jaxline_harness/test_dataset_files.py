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
"""Data sets from files: the original ones and `.npz`."""

import gzip
import io
import os
import struct
import zipfile

import numpy as np
import pytest

from jaxline_harness import dataset_files
from jaxline_harness import datasets
from jaxline_harness import errors

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
    dataset_files.read_idx(path, 3)
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
    dataset_files.read_idx(path, 3)


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


# `.npz`.


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


@pytest.mark.parametrize('names', ['{kind}_{split}', '{split}_{kind}'])
def test_npz_as_keras_and_medmnist_name_their_arrays(tmp_path, names):
  kinds = ('x', 'y') if names == '{kind}_{split}' else ('images', 'labels')
  splits = (
    ('train', 'test') if kinds == ('x', 'y') else ('train', 'val', 'test')
  )
  images, labels = _made_up((3, 4, 5, 5)), np.arange(12).reshape(3, 4)
  arrays = {}
  for i, split in enumerate(splits):
    for kind, array in zip(kinds, (images[i], labels[i, :, None]), strict=True):
      arrays[names.format(kind=kind, split=split)] = array
  path = tmp_path / 'a.npz'
  np.savez(path, **arrays)
  for i, split in enumerate(splits):
    for dataset in (
      datasets.load(str(path), split),
      datasets.load('mine', split, path),
    ):
      np.testing.assert_array_equal(dataset.examples[..., 0], images[i])
      np.testing.assert_array_equal(dataset.labels, labels[i])
      assert dataset.labels.dtype == np.int32
  with pytest.raises(errors.UserError, match="no split 'all'; there is train"):
    datasets.load(str(path), 'all')
  # Neither needs labels.
  np.savez(path, **{k: v for k, v in arrays.items() if v.ndim > 2})
  assert datasets.load(str(path), 'test').labels is None


def test_npz_with_several_labels_an_image(tmp_path, caplog):
  path = tmp_path / 'a.npz'
  np.savez(path, train_images=_made_up((4, 3, 3)), train_labels=np.eye(4))
  assert datasets.load(str(path)).labels is None
  assert 'several labels an image are left out' in caplog.text


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ([0, -1, 2], 'that of image 1 is -1'),
    (np.array([0, 1, 3_000_000_000]), 'that of image 2 is 3000000000'),
    (np.array([2**64 - 1, 0, 0], np.uint64), f'image 0 is {2**64 - 1}'),
    ([0, 0, 49_999_999], 'fewer than 65536; that of image 2 is 49999999'),
    ([-(2**63), 0, 0], f'image 0 is {-(2**63)}'),
    (np.array([0, -128, 1], np.int8)[:, None], 'that of image 1 is -128'),
    ([[0], [1]], r'labels must be 3 integers, not int64 of shape \(2, 1\)'),
    (['a', 'b', 'c'], 'labels must be 3 integers, not <U1'),
  ],
)
def test_labels_that_number_no_classes(tmp_path, labels, message):
  path = tmp_path / 'a.npz'
  np.savez(path, images=_made_up((3, 4, 4)), labels=labels)
  with pytest.raises(errors.UserError, match=message) as caught:
    datasets.load(str(path))
  assert str(path) in str(caught.value)
  assert '\n' not in str(caught.value)


def test_labels_need_not_all_occur(tmp_path):
  path = tmp_path / 'a.npz'
  labels = np.array([999, 7], np.uint16)  # Two of ImageNet's test split, say.
  np.savez(path, images=_made_up((2, 4, 4)), labels=labels)
  np.testing.assert_array_equal(datasets.load(str(path)).labels, labels)


def test_npy_by_the_name_of_an_npz(tmp_path):
  path = tmp_path / 'a.npz'
  with path.open('wb') as file:
    np.save(file, _made_up((3, 4, 4)))
  with pytest.raises(errors.UserError, match=r'a\.npz: .*it is an \.npy'):
    datasets.load(str(path))


def test_an_npy_stays_on_disk(tmp_path):
  images = _made_up((3, 4, 5, 3))
  np.save(tmp_path / 'a.npy', images)
  for name, data_dir in (
    (str(tmp_path / 'a.npy'), None),
    ('a.npy', tmp_path),
    ('mine', tmp_path / 'a.npy'),
  ):
    examples = datasets.load(name, data_dir=data_dir).examples
    np.testing.assert_array_equal(examples, images)
    assert not examples.flags.owndata
    assert not examples.flags.writeable


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (np.asfortranarray(_made_up((3, 4, 5, 3))), 'one after the other'),
    (np.zeros((3, 4, 5, 3), np.float32), 'must be uint8'),
    (np.array([{}]), 'cannot be read as an .npy'),
  ],
)
def test_an_npy_that_holds_no_images(tmp_path, content, message):
  np.save(tmp_path / 'a.npy', content)
  with pytest.raises(errors.UserError, match=message):
    datasets.load(str(tmp_path / 'a.npy'))


def test_what_is_no_regular_file(tmp_path):
  os.mkfifo(tmp_path / 'a.npz')
  os.symlink('/dev/zero', tmp_path / 'b.npz')
  for name in ('a.npz', 'b.npz'):
    with pytest.raises(
      errors.UserError, match='data set is an .npz or .npy file'
    ):
      datasets.load(str(tmp_path / name))


@pytest.mark.parametrize(
  'name', ['n' * 5000, '/' + 'n' * 5000, 'a\0b', '~nn/a']
)
@pytest.mark.parametrize('as_folder', [True, False])
def test_names_that_no_file_can_have(tmp_path, name, as_folder, monkeypatch):
  monkeypatch.setattr(
    datasets, '_load_tfds', lambda name, *unused: pytest.fail(name[:10])
  )
  if as_folder:
    with pytest.raises(errors.UserError):
      datasets.load('./mine.npz', data_dir=name)
  elif name[0] in '/~':
    with pytest.raises(errors.UserError, match='no such file|File name too'):
      datasets.load(name)
  else:
    with pytest.raises(pytest.fail.Exception, match=f'^{name[:10]}$'):
      datasets.load(name, data_dir=tmp_path)


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
  with pytest.raises(
    errors.UserError, match='an .npz or .npy file or a folder'
  ):
    datasets.load(str(tmp_path / 'text'))
