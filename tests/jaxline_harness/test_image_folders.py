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
"""Folders of images."""

import io
import os
import shutil
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image
import pytest

from jaxline_harness import datasets
from jaxline_harness import errors
from jaxline_harness import memory


def _made_up(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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


# A folder for each class.


def _write_classes(folder, classes=('cat', 'dog'), number=2):
  images = _made_up((len(classes), number, 4, 4))
  for name, pixels in zip(classes, images, strict=True):
    for i, image in enumerate(pixels):
      _save(folder / name / f'{i}.png', image)
  return images.reshape(-1, 4, 4)


@pytest.mark.parametrize('below', ['', 'train'])
def test_folder_for_each_class(tmp_path, below):
  folder = tmp_path / 'animals'
  images = _write_classes(folder / below, ('dog', 'Cat', 'train'))
  (folder / '.DS_Store').write_bytes(b'x')
  order = [2, 3, 0, 1, 4, 5]  # By the names of classes.
  loaded = [
    datasets.load(str(folder)),
    datasets.load('animals', data_dir=tmp_path),
  ]
  if below:
    loaded.append(datasets.load('any name', data_dir=folder))
  for dataset in loaded:
    np.testing.assert_array_equal(dataset.examples[..., 0], images[order])
    np.testing.assert_array_equal(dataset.labels, [0, 0, 1, 1, 2, 2])
    assert dataset.labels.dtype == np.int32
  with pytest.raises(errors.UserError, match="no split 'test'; there is train"):
    datasets.load(str(folder), 'test')


def test_classes_have_one_number_in_all_splits(tmp_path):
  _write_classes(tmp_path / 'train', ('ant', 'bee', 'cat'))
  _write_classes(tmp_path / 'test', ('bee', 'eel'))
  train, test = (datasets.load(str(tmp_path), s) for s in ('train', 'test'))
  np.testing.assert_array_equal(train.labels, [0, 0, 1, 1, 2, 2])
  np.testing.assert_array_equal(test.labels, [1, 1, 3, 3])


def test_folders_of_a_data_folder_are_no_classes(tmp_path, monkeypatch):
  """They may be data sets each: only by their own name are they taken."""
  _write_classes(tmp_path, ('celeba', 'faces'))
  monkeypatch.setattr(datasets, '_load_tfds', lambda name, *unused: name)
  assert datasets.load('svhn_cropped', data_dir=tmp_path) == 'svhn_cropped'
  assert datasets.load('faces', data_dir=tmp_path).labels is None


def test_one_folder_in_a_folder(tmp_path):
  """As archives unpack to."""
  images = _write_classes(tmp_path / 'a', ('img_align_celeba',))
  dataset = datasets.load('a', data_dir=tmp_path)
  np.testing.assert_array_equal(dataset.examples[..., 0], images)
  np.testing.assert_array_equal(dataset.labels, [0, 0])


@pytest.mark.parametrize('what', ['empty class', 'deeper', 'file', 'no images'])
def test_classes_skip_nothing(tmp_path, what):
  _write_classes(tmp_path)
  if what == 'empty class':
    (tmp_path / 'eel').mkdir()
    message = 'eel: no images in this folder'
  elif what == 'deeper':
    _save(tmp_path / 'dog' / 'poodle' / '0.png', _made_up((4, 4)))
    message = 'poodle: not an image'
  elif what == 'file':
    (tmp_path / 'readme.txt').write_text('x')
    message = '(cat|readme.txt): not an image'
  else:
    shutil.rmtree(tmp_path / 'dog')
    (tmp_path / 'cat' / 'x.txt').write_text('x')
    message = 'x.txt: not an image'
  with pytest.raises(errors.UserError, match=message):
    datasets.load(str(tmp_path))


# What Pillow does with a file.


def _png(bits, colour_type, transparency=b''):
  """A PNG of 2 x 2 pixels, of any of the kinds that there are."""
  channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
  row = b'\0' + bytes(range(2 * channels * bits // 8))

  def chunk(name, data):
    checksum = zlib.crc32(name + data)
    return (
      struct.pack('>I', len(data)) + name + data + struct.pack('>I', checksum)
    )

  header = struct.pack('>IIBBBBB', 2, 2, bits, colour_type, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + (chunk(b'PLTE', bytes(range(12))) if colour_type == 3 else b'')
    + (chunk(b'tRNS', transparency) if transparency else b'')
    + chunk(b'IDAT', zlib.compress(2 * row))
    + chunk(b'IEND', b'')
  )


def _tiff_of_16_bits(channels):
  """A TIFF, uncompressed, of 2 x 2 pixels."""
  pixels = bytes(2 * 4 * channels)
  bits = struct.pack(f'<{channels}H', *[16] * channels)
  tags = [
    (256, 3, 1, 2),
    (257, 3, 1, 2),
    (258, 3, channels, 8 if channels > 2 else 16),
    (259, 3, 1, 1),
    (262, 3, 1, 2 if channels > 2 else 1),
    (273, 4, 1, 8 + len(bits)),
    (277, 3, 1, channels),
    (278, 3, 1, 2),
    (279, 4, 1, len(pixels)),
  ]
  directory = struct.pack('<H', len(tags)) + b''.join(
    struct.pack('<HHII', *tag) for tag in tags
  )
  start = 8 + len(bits) + len(pixels)
  return (
    b'II*\0' + struct.pack('<I', start) + bits + pixels + directory + bytes(4)
  )


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    *((f'a{kind}.png', _png(16, kind)) for kind in (0, 2, 4, 6)),
    *((f'a{n}.tiff', _tiff_of_16_bits(n)) for n in (1, 3)),
    ('a.ppm', b'P6 2 2 65535\n' + bytes(24)),
    ('a.ppm', b'P6 2 2 4095\n' + bytes(24)),
    ('a.ppm', b'P3 1 1 1023\n1 2 3\n'),
    ('a.pgm', b'P5 2 2 65535\n' + bytes(8)),
    ('a.pgm', b'P2 1 1 300\n5\n'),
  ],
)
def test_more_than_8_bits_are_refused(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.UserError, match=f'{name}: .*more than 8 bits'):
    datasets.load(str(tmp_path))


@pytest.mark.parametrize(
  'content', [b'P6 2 2 255\n' + bytes(12), b'P5 2 2 15\n' + bytes(4)]
)
def test_8_bits_and_fewer_are_not(tmp_path, content):
  (tmp_path / 'a.ppm').write_bytes(content)
  assert datasets.load(str(tmp_path)).examples.shape[:3] == (1, 2, 2)


@pytest.mark.parametrize(
  ('content', 'channels'),
  [
    (_png(8, 4), 1),
    (_png(8, 6), 3),
    (_png(8, 3, b'\0\x80'), 3),
    (_png(8, 3, b'\0'), 3),
    (_png(8, 0, b'\0\1'), 1),
    (_png(8, 2, bytes(6)), 3),
  ],
)
def test_transparency_is_left_out_with_a_line(
  tmp_path, caplog, recwarn, content, channels
):
  (tmp_path / 'a.png').write_bytes(content)
  dataset = datasets.load(str(tmp_path))
  assert dataset.examples.shape == (1, 2, 2, channels)
  assert 'transparency is left out' in caplog.text
  assert not recwarn


def test_no_transparency_no_line(tmp_path, caplog):
  for kind in (0, 2, 3):
    (tmp_path / f'{kind}.png').write_bytes(_png(8, kind))
  datasets.load(str(tmp_path))
  assert caplog.text == ''


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'gif', 'tif', 'webp'])
def test_no_image_starts_a_program(tmp_path, monkeypatch, suffix):
  """Pillow gives EPS to Ghostscript, whatever the file's name."""
  started = []
  for name in ('Popen', 'run', 'call', 'check_call', 'check_output'):
    monkeypatch.setattr(subprocess, name, lambda *a, **k: started.append(a))
  eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n'
  (tmp_path / f'a.{suffix}').write_bytes(eps + b'(x) run showpage\n%%EOF\n')
  with pytest.raises(errors.UserError, match='cannot be read as an image'):
    datasets.load(str(tmp_path))
  assert started == []


def test_formats_that_are_not_meant(tmp_path):
  for kind in ('ICO', 'TGA', 'PCX', 'SGI', 'JPEG2000', 'DDS', 'PDF'):
    file = io.BytesIO()
    try:
      Image.fromarray(_made_up((16, 16, 3))).save(file, kind)
    except (OSError, KeyError):
      continue  # This Pillow does not write it.
    (tmp_path / 'a.png').write_bytes(file.getvalue())
    with pytest.raises(errors.UserError, match='cannot be read as an image'):
      datasets.load(str(tmp_path))


def _damage(content, random):
  content = bytearray(content)
  for _ in range(random.integers(1, 4)):
    content[random.integers(len(content))] = random.integers(256)
  return bytes(content[: random.integers(1, len(content) + 1)])


@pytest.mark.parametrize('kind', ['BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_damaged_images_are_read_or_named(tmp_path, kind):
  file = io.BytesIO()
  Image.fromarray(_made_up((8, 8, 3))).save(file, kind)
  path = tmp_path / 'a.png'
  random = np.random.default_rng(0)
  messages = []
  for _ in range(100):
    path.write_bytes(_damage(file.getvalue(), random))
    try:
      datasets.load(str(tmp_path))
    except errors.UserError as error:
      messages.append(str(error))
  assert len(messages) > 10
  assert all(str(path) in message for message in messages)
  assert not any('\n' in message for message in messages)


def test_a_tiff_without_dimensions(tmp_path):
  content = _tiff_of_16_bits(1).replace(struct.pack('<HH', 256, 3), b'\xff' * 4)
  (tmp_path / 'a.tif').write_bytes(content)
  with pytest.raises(errors.UserError, match='a.tif: cannot be read'):
    datasets.load(str(tmp_path))


def test_what_is_no_regular_file(tmp_path):
  _save(tmp_path / 'a.png', _made_up((4, 4)))
  os.mkfifo(tmp_path / 'b.png')
  with pytest.raises(errors.UserError, match='b.png: not an image'):
    datasets.load(str(tmp_path))


def test_more_than_there_is_memory_for(tmp_path, monkeypatch):
  for i in range(3):
    _save(tmp_path / f'{i}.png', _made_up((4, 4)))
  monkeypatch.setattr(memory, 'of_host', lambda: 40)
  line = '3 images of 4 x 4 pixels would take'
  with pytest.raises(errors.UserError, match=line):
    datasets.load(str(tmp_path))


def test_images_on_disk(tmp_path, monkeypatch):
  """They are decoded once, and again where one has changed."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  images = _made_up((2, 6, 5, 3))
  folder = tmp_path / 'images'
  for i, pixels in enumerate(images):
    _save(folder / f'class {i}' / 'a.png', pixels)

  def load():
    return datasets.load(str(folder), on_disk=True)

  with monkeypatch.context() as patch:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    patch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(errors.UserError, match='2 images would take .*CACHE'):
      load()
  with monkeypatch.context() as patch:
    patch.setattr(memory, 'of_host', lambda: 0)
    dataset = load()
  np.testing.assert_array_equal(dataset.examples, images)
  np.testing.assert_array_equal(dataset.labels, [0, 1])
  assert not dataset.examples.flags.owndata
  with monkeypatch.context() as patch:
    patch.setattr(Image, 'open', lambda *_, **__: pytest.fail('it is read'))
    np.testing.assert_array_equal(load().examples, images)
  _save(folder / 'class 0' / 'a.png', images[1])
  np.testing.assert_array_equal(load().examples, images[[1, 1]])
  assert len(list((tmp_path / 'cache').rglob('*'))) == 4  # Two folders, two.
