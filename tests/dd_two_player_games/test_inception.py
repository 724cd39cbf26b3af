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
"""FID's Inception against the same network in NumPy, and Keras' InceptionV3.

The published weights are not part of this project: these are made.
"""

import numpy as np
import pytest

from dd_two_player_games import inception
from jaxline_harness import errors

pytestmark = pytest.mark.optimised

# The least size that leaves a pixel for the last block.
SMALL = 75


def make_arrays():
  """Weights with which activations neither vanish nor grow."""
  rng = np.random.default_rng(0)
  arrays = {}
  for name, shape in inception.array_shapes().items():
    if name.endswith('conv.weight'):
      scale = np.sqrt(2 / np.prod(shape[1:]))
      values = scale * rng.standard_normal(shape, np.float32)
    elif name.endswith(('bn.weight', 'running_var')):
      values = rng.uniform(0.5, 1.5, shape)
    else:
      values = 0.1 * rng.standard_normal(shape, np.float32)
    arrays[name] = values.astype(np.float32)
  return arrays


@pytest.fixture(scope='module')
def arrays():
  return make_arrays()


@pytest.fixture(scope='module')
def path(arrays, tmp_path_factory):
  path = tmp_path_factory.mktemp('weights') / 'inception.npz'
  np.savez(path, **arrays)
  return path


# The same network in NumPy.


def windows(x, kernel, stride, padding, fill):
  """(N, H', W', C, h, w)."""
  pads = [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)]
  x = np.pad(x, pads, constant_values=fill)
  views = np.lib.stride_tricks.sliding_window_view(x, kernel, (1, 2))
  return views[:, ::stride, ::stride]


class Reference:
  """As pytorch-fid has it: every block by hand, batch norms apart."""

  def __init__(self, arrays):
    self.arrays = arrays

  def conv(self, x, name, stride=1, padding=(0, 0)):
    weight = self.arrays[f'{name}.conv.weight']
    x = windows(x, weight.shape[2:], stride, padding, 0)
    x = np.tensordot(x, weight, [(3, 4, 5), (1, 2, 3)])
    gain, bias, mean, variance = (
      self.arrays[f'{name}.bn.{part}']
      for part in ('weight', 'bias', 'running_mean', 'running_var')
    )
    x = (x - mean) / np.sqrt(variance + 0.001) * gain + bias
    return np.maximum(x, 0)

  def chain(self, x, *layers):
    for layer in layers:
      x = self.conv(x, *layer)
    return x

  def mean_pool(self, x):
    return np.nanmean(windows(x, (3, 3), 1, (1, 1), np.nan), axis=(4, 5))

  def max_pool(self, x, stride=2, padding=(0, 0)):
    return windows(x, (3, 3), stride, padding, -np.inf).max(axis=(4, 5))

  def block_a(self, x, n):
    return [
      self.conv(x, f'{n}.branch1x1'),
      self.chain(x, (f'{n}.branch5x5_1',), (f'{n}.branch5x5_2', 1, (2, 2))),
      self.chain(
        x,
        (f'{n}.branch3x3dbl_1',),
        (f'{n}.branch3x3dbl_2', 1, (1, 1)),
        (f'{n}.branch3x3dbl_3', 1, (1, 1)),
      ),
      self.conv(self.mean_pool(x), f'{n}.branch_pool'),
    ]

  def block_b(self, x, n):
    return [
      self.conv(x, f'{n}.branch3x3', 2),
      self.chain(
        x,
        (f'{n}.branch3x3dbl_1',),
        (f'{n}.branch3x3dbl_2', 1, (1, 1)),
        (f'{n}.branch3x3dbl_3', 2),
      ),
      self.max_pool(x),
    ]

  def block_c(self, x, n):
    return [
      self.conv(x, f'{n}.branch1x1'),
      self.chain(
        x,
        (f'{n}.branch7x7_1',),
        (f'{n}.branch7x7_2', 1, (0, 3)),
        (f'{n}.branch7x7_3', 1, (3, 0)),
      ),
      self.chain(
        x,
        (f'{n}.branch7x7dbl_1',),
        (f'{n}.branch7x7dbl_2', 1, (3, 0)),
        (f'{n}.branch7x7dbl_3', 1, (0, 3)),
        (f'{n}.branch7x7dbl_4', 1, (3, 0)),
        (f'{n}.branch7x7dbl_5', 1, (0, 3)),
      ),
      self.conv(self.mean_pool(x), f'{n}.branch_pool'),
    ]

  def block_d(self, x, n):
    return [
      self.chain(x, (f'{n}.branch3x3_1',), (f'{n}.branch3x3_2', 2)),
      self.chain(
        x,
        (f'{n}.branch7x7x3_1',),
        (f'{n}.branch7x7x3_2', 1, (0, 3)),
        (f'{n}.branch7x7x3_3', 1, (3, 0)),
        (f'{n}.branch7x7x3_4', 2),
      ),
      self.max_pool(x),
    ]

  def block_e(self, x, n, pooled):
    narrow = self.conv(x, f'{n}.branch3x3_1')
    double = self.chain(
      x, (f'{n}.branch3x3dbl_1',), (f'{n}.branch3x3dbl_2', 1, (1, 1))
    )
    return [
      self.conv(x, f'{n}.branch1x1'),
      self.conv(narrow, f'{n}.branch3x3_2a', 1, (0, 1)),
      self.conv(narrow, f'{n}.branch3x3_2b', 1, (1, 0)),
      self.conv(double, f'{n}.branch3x3dbl_3a', 1, (0, 1)),
      self.conv(double, f'{n}.branch3x3dbl_3b', 1, (1, 0)),
      self.conv(pooled, f'{n}.branch_pool'),
    ]

  def __call__(self, x):
    """Logits and activations of scaled images."""
    x = self.conv(x, 'Conv2d_1a_3x3', 2)
    x = self.conv(x, 'Conv2d_2a_3x3')
    x = self.max_pool(self.conv(x, 'Conv2d_2b_3x3', 1, (1, 1)))
    x = self.conv(x, 'Conv2d_3b_1x1')
    x = self.max_pool(self.conv(x, 'Conv2d_4a_3x3'))
    for kind, letters in (
      ('5a', 'bcd'),
      ('6b', 'a'),
      ('6c', 'bcde'),
      ('7d', 'a'),
    ):
      for letter in letters:
        block = getattr(self, f'block_{kind[1]}')
        x = np.concatenate(block(x, f'Mixed_{kind[0]}{letter}'), axis=-1)
    x = np.concatenate(self.block_e(x, 'Mixed_7b', self.mean_pool(x)), axis=-1)
    pooled = self.max_pool(x, 1, (1, 1))
    x = np.concatenate(self.block_e(x, 'Mixed_7c', pooled), axis=-1)
    activations = x.mean(axis=(1, 2))
    fc = (self.arrays[f'fc.{part}'] for part in ('weight', 'bias'))
    return activations @ next(fc).T + next(fc), activations


def resize_as_tensorflow_1(images, size):
  """Pixel by pixel, (N, size, size, 3), and scaled."""
  images = np.broadcast_to(images, (*images.shape[:-1], 3)).astype(np.float64)
  height, width = images.shape[1:3]
  out = np.empty((len(images), size, size, 3))
  for i in range(size):
    for j in range(size):
      y, x = i * height / size, j * width / size
      top, left = int(y), int(x)
      bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
      above, below = (
        images[:, row, left] * (1 - (x - left))
        + images[:, row, right] * (x - left)
        for row in (top, bottom)
      )
      out[:, i, j] = above * (1 - (y - top)) + below * (y - top)
  return (out - 128) / 128


@pytest.mark.slow
def test_against_numpy(monkeypatch, path, arrays):
  monkeypatch.setattr(inception, 'IMAGE_SIZE', SMALL)
  monkeypatch.setattr(inception, '_BATCH_SIZE', 2)
  network = inception.InceptionNetwork(path)
  assert network.name.startswith('Inception of 2015-12-05 in JAX, ')
  assert 'inception.npz (sha256 ' in network.name
  rng = np.random.default_rng(1)
  # Smaller and larger than the network's images, and not square; the second
  # batch is not full.
  images = rng.integers(0, 256, (3, 32, 90, 1), dtype=np.uint8)
  logits, activations = network(images)
  scaled = resize_as_tensorflow_1(images, SMALL).astype(np.float32)
  wanted = Reference(arrays)(scaled)
  assert logits.shape == (3, 1008)
  assert activations.shape == (3, 2048)
  # Float32 sums in another order, through 20 layers.
  for found, values in zip((logits, activations), wanted, strict=True):
    assert values.std() > 0.1
    np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4)
  # Grey images are three equal channels.
  again = network(np.repeat(images[:2], 3, axis=-1))
  np.testing.assert_allclose(again[1], activations[:2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shape', [(2, 8, 8), (2, 8, 8, 2), (2, 8, 8, 4)])
def test_images_of_other_channels(shape):
  network = object.__new__(inception.InceptionNetwork)
  with pytest.raises(errors.UserError, match='1 or 3 channels'):
    network(np.zeros(shape, np.uint8))


@pytest.mark.slow  # Imports TensorFlow.
def test_whole_size_against_keras_and_tensorflow(monkeypatch, path, arrays):
  """Keras' InceptionV3 has other pools in the last block only."""
  import tensorflow as tf

  monkeypatch.setattr(inception, '_BATCH_SIZE', 2)
  rng = np.random.default_rng(2)
  images = rng.integers(0, 256, (2, 48, 32, 3), dtype=np.uint8)
  scaled = tf.compat.v1.image.resize_bilinear(
    images.astype(np.float32), (299, 299)
  )
  scaled = (scaled - 128) / 128

  keras = tf.keras.applications.InceptionV3(weights=None, include_top=False)
  names = [
    name.removesuffix('.conv.weight')
    for name in arrays
    if name.endswith('.conv.weight')
  ]

  def in_order(kind):
    # By the number in a layer's name, which is the order they were made in.
    layers = [x for x in keras.layers if isinstance(x, kind)]
    return sorted(
      layers,
      key=lambda x: int(
        (x.name.split('_') + ['0'])[1 if kind is tf.keras.layers.Conv2D else 2]
      ),
    )

  layers = [
    in_order(kind)
    for kind in (tf.keras.layers.Conv2D, tf.keras.layers.BatchNormalization)
  ]
  for name, conv, norm in zip(names, *layers, strict=True):
    gain = arrays[f'{name}.bn.weight']
    # Its batch norms have no gain: the others' parts are divided by it.
    conv.set_weights([arrays[f'{name}.conv.weight'].transpose(2, 3, 1, 0)])
    mean, variance = (
      arrays[f'{name}.bn.running_{part}'] for part in ('mean', 'var')
    )
    norm.set_weights(
      [arrays[f'{name}.bn.bias'], mean, (variance + 1e-3) / gain**2 - 1e-3]
    )
  middle = tf.keras.Model(keras.input, keras.get_layer('mixed9').output)
  x = middle(scaled, training=False)
  last = dict(zip(names, zip(*layers, strict=True), strict=True))

  def apply(x, *parts):
    for part in parts:
      conv, norm = last[f'Mixed_7c.{part}']
      x = tf.nn.relu(norm(conv(x), training=False))
    return x

  narrow = apply(x, 'branch3x3_1')
  double = apply(x, 'branch3x3dbl_1', 'branch3x3dbl_2')
  x = tf.concat(
    [
      apply(x, 'branch1x1'),
      apply(narrow, 'branch3x3_2a'),
      apply(narrow, 'branch3x3_2b'),
      apply(double, 'branch3x3dbl_3a'),
      apply(double, 'branch3x3dbl_3b'),
      apply(tf.nn.max_pool2d(x, 3, 1, 'SAME'), 'branch_pool'),
    ],
    axis=-1,
  )
  wanted = tf.reduce_mean(x, axis=(1, 2)).numpy()
  logits, activations = inception.InceptionNetwork(path)(images)
  np.testing.assert_allclose(activations, wanted, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(
    logits,
    wanted @ arrays['fc.weight'].T + arrays['fc.bias'],
    rtol=1e-3,
    atol=1e-3,
  )


# Files of weights.


SHAPES = {'fc.weight': (2, 3), 'a.bn.running_var': (4,)}


@pytest.fixture
def few_arrays(monkeypatch):
  monkeypatch.setattr(inception, 'array_shapes', lambda: SHAPES)
  return {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}


def test_other_arrays_are_left_out(few_arrays, tmp_path):
  path = tmp_path / 'weights.npz'
  others = {'a.bn.num_batches_tracked': 7, 'AuxLogits.fc.weight': np.ones(3)}
  np.savez(path, **few_arrays, **others)
  assert inception.read_weights(path).keys() == few_arrays.keys()


@pytest.mark.parametrize(
  ('name', 'value', 'message'),
  [
    ('fc.weight', None, 'fc.weight is missing'),
    ('fc.weight', np.ones((3, 2)), r'has shape \(3, 2\), not \(2, 3\)'),
    ('fc.weight', np.ones((2, 3), int), 'holds int64, no floats'),
    ('fc.weight', np.full((2, 3), np.nan), 'that are not finite'),
    ('a.bn.running_var', -np.ones(4), 'a variance below zero'),
  ],
)
def test_wrong_arrays(few_arrays, tmp_path, name, value, message):
  path = tmp_path / 'weights.npz'
  changed = {**few_arrays, name: value}
  np.savez(path, **{k: v for k, v in changed.items() if v is not None})
  with pytest.raises(errors.UserError, match=message) as caught:
    inception.read_weights(path)
  line = str(caught.value)
  assert line.startswith(f'eval.inception_path: {path} holds no weights of ')
  assert f'{name} ' in line
  assert '\n' not in line


@pytest.mark.parametrize('name', ['weights.npz', 'weights.safetensors'])
@pytest.mark.parametrize('content', [None, b'', b'not', b'\n' * 300])
def test_files_that_cannot_be_read(tmp_path, name, content):
  path = tmp_path / name
  if content is not None:
    path.write_bytes(content)
  assert inception.is_file_of_weights(str(path))
  with pytest.raises(errors.UserError, match='cannot be read: ') as caught:
    inception.read_weights(path)
  assert '\n' not in str(caught.value)


def test_truncated_file(few_arrays, tmp_path):
  path = tmp_path / 'weights.npz'
  np.savez(path, **few_arrays)
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(errors.UserError, match='cannot be read: '):
    inception.read_weights(path)


def test_weights_of_torch(tmp_path):
  path = tmp_path / 'weights.pth'
  path.write_bytes(b'PK')
  assert inception.is_file_of_weights(str(path))
  with pytest.raises(errors.UserError, match='docs/metrics.md makes') as caught:
    inception.read_weights(path)
  assert 'neither a folder, nor named *.npz or *.safetensors' in str(
    caught.value
  )
  assert not inception.is_file_of_weights(str(tmp_path))
  assert not inception.is_file_of_weights('')
