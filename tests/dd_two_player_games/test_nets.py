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
"""Networks, and their layers against Haiku's."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convolutions_as_products import layers
from dd_two_player_games import image_sizes
from dd_two_player_games import nets


def _transform(make_module):
  return hk.transform_with_state(lambda *args: make_module()(*args))


def _init_and_apply(make_module, x):
  transformed = _transform(make_module)

  # The key is an argument: XLA would compute with what it knows.
  def run(x, key):
    params, state = transformed.init(key, x)
    # A single replica has no axis: statistics of the batch are those stored.
    return params, transformed.apply(params, state, None, x, False)[0]

  mapped = jax.vmap(run, (0, None), axis_name='i')
  return jax.jit(mapped)(x[None], jax.random.PRNGKey(3))


@pytest.mark.parametrize(
  ('name', 'shape'),
  [
    pytest.param('MnistDiscriminator', (2, 28, 28, 1), marks=pytest.mark.slow),
    pytest.param('MnistGenerator', (2, 5), marks=pytest.mark.slow),
    pytest.param('DCGANDiscriminator', (2, 12, 12, 3), marks=pytest.mark.slow),
    ('DCGANGenerator', (2, 5)),
  ],
)
def test_layers_are_haikus(monkeypatch, name, shape):
  """Names, shapes and initial values of parameters, and outputs."""
  make_module = getattr(nets, name)
  x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  params, outputs = _init_and_apply(make_module, x)
  monkeypatch.setattr(layers, 'Conv2D', hk.Conv2D)
  monkeypatch.setattr(layers, 'Conv2DTranspose', hk.Conv2DTranspose)
  expected_params, expected = _init_and_apply(make_module, x)
  assert any('conv2_d' in module for module in params)
  assert jax.tree.structure(params) == jax.tree.structure(expected_params)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
    params,
    expected_params,
  )
  np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def _shapes(make_module, shape):
  """Output and parameter shapes, with nothing computed."""
  transformed = _transform(make_module)

  def run(x):
    params, state = transformed.init(jax.random.PRNGKey(0), x)
    return transformed.apply(params, state, None, x)[0], params

  outputs, params = jax.eval_shape(
    lambda x: jax.vmap(run, axis_name='i')(x[None]), jnp.zeros(shape)
  )
  drop = lambda leaf: leaf.shape[1:]
  return drop(outputs), jax.tree.map(drop, params)


@pytest.mark.parametrize(
  ('make_module', 'shape', 'expected'),
  [
    (nets.CifarGenerator, (2, 128), (2, 32, 32, 3)),
    (nets.CifarDiscriminator, (2, 32, 32, 3), (2, 1)),
    (nets.MnistGenerator, (2, 128), (2, 28, 28, 1)),
    (nets.MnistDiscriminator, (2, 28, 28, 1), (2, 1)),
    (nets.DCGANGenerator, (2, 128), (2, 28, 28, 1)),
    (nets.DCGANDiscriminator, (2, 28, 28, 1), (2, 1)),
    (
      lambda: nets.DCGANGenerator((8, 4, 4), output_channels=3, output_size=32),
      (2, 7),
      (2, 32, 32, 3),
    ),
    (
      lambda: nets.DCGANGenerator(output_shape=(64, 64, 3)),
      (2, 7),
      (2, 64, 64, 3),
    ),
    # Neither side is divisible by 4.
    (
      lambda: nets.DCGANGenerator(output_shape=(9, 14, 3)),
      (2, 7),
      (2, 9, 14, 3),
    ),
    (nets.DCGANDiscriminator, (2, 9, 14, 3), (2, 1)),
    (lambda: nets.SimpleMLP(out_dim=2), (5, 16), (5, 2)),
  ],
)
def test_output_shapes(make_module, shape, expected):
  assert _shapes(make_module, shape)[0] == expected


def test_channels_and_kernels_of_the_published_networks():
  def kernels(make_module, shape):
    _, params = _shapes(make_module, shape)
    return [
      entries['w'] for module, entries in params.items() if 'conv2' in module
    ]

  assert kernels(nets.CifarGenerator, (1, 128)) == [
    (4, 4, 256, 512),
    (4, 4, 128, 256),
    (4, 4, 64, 128),
    (3, 3, 3, 64),
  ]
  assert kernels(nets.CifarDiscriminator, (1, 32, 32, 3)) == [
    (3, 3, 3, 64),
    (4, 4, 64, 64),
    (3, 3, 64, 128),
    (4, 4, 128, 128),
    (3, 3, 128, 256),
    (4, 4, 256, 256),
    (3, 3, 256, 512),
  ]
  assert kernels(nets.MnistGenerator, (1, 128)) == [
    (5, 5, 32, 64),
    (5, 5, 1, 32),
  ]
  assert kernels(nets.MnistDiscriminator, (1, 28, 28, 1)) == [
    (5, 5, 1, 8),
    (5, 5, 8, 16),
    (5, 5, 16, 32),
    (5, 5, 32, 64),
    (5, 5, 64, 128),
  ]


def test_simple_mlp():
  make_module = lambda: nets.SimpleMLP(depth=2, hidden_size=7, out_dim=3)
  transformed = hk.without_apply_rng(
    hk.transform(lambda x: make_module()(x, False))
  )
  x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
  params = transformed.init(jax.random.PRNGKey(0), x)
  expected = x
  for k, (fan_in, fan_out) in enumerate(((5, 7), (7, 7), (7, 3))):
    layer = params[f'SimpleMLP/~/linear_{k}']
    assert layer['w'].shape == (fan_in, fan_out)
    expected = expected @ layer['w'] + layer['b']
    if k < 2:
      expected = np.maximum(expected, 0)
  np.testing.assert_allclose(transformed.apply(params, x), expected, rtol=1e-4)


@pytest.mark.parametrize(
  ('make_module', 'message'),
  [
    (
      lambda: nets.DCGANGenerator(output_shape=(2,)),
      r'\(2,\) is not the shape of an image',
    ),
    (
      lambda: nets.ConvNet2D([8, 4], [1], [(3, 3)], jax.nn.relu),
      '2 output_channels, 1 strides',
    ),
    (
      lambda: nets.ConvNet2DTranspose([8, 4], [1], [(3, 3)] * 3),
      '3 kernel_shapes',
    ),
  ],
)
def test_layers_must_agree(make_module, message):
  with pytest.raises(ValueError, match=message):
    hk.transform(lambda: make_module() and None).init(None)


def test_images_that_are_too_large_are_cropped_in_the_middle():
  images = np.arange(2 * 5 * 8 * 3.0).reshape(2, 5, 8, 3)
  np.testing.assert_array_equal(
    image_sizes.crop(images, (4, 6)), images[:, :4, 1:7, :]
  )
  assert image_sizes.crop(images, (5, 8)) is images


def test_batch_norm_across_devices():
  """Four devices with a quarter each are one with the whole batch."""
  transformed = hk.without_apply_rng(
    _transform(lambda: nets.DCGANGenerator((4,), output_size=4))
  )
  latents = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)

  def on_devices(number, is_training):
    def run(x, key):
      params, state = transformed.init(key, x)
      # Statistics of the whole batch: one device's own would be others.
      return transformed.apply(params, state, x, is_training)

    mapped = jax.pmap(
      run,
      axis_name='i',
      in_axes=(0, None),
      devices=jax.local_devices()[:number],
    )
    samples, state = mapped(
      latents.reshape(number, -1, 3), jax.random.PRNGKey(0)
    )
    states = [
      jax.tree.map(lambda leaf, d=device: np.asarray(leaf[d]), state)
      for device in range(number)
    ]
    return np.asarray(samples).reshape(8, 4, 4, 1), states

  samples, (state,) = on_devices(1, True)
  sharded_samples, sharded_states = on_devices(4, True)
  np.testing.assert_allclose(sharded_samples, samples, rtol=1e-4, atol=1e-5)
  assert jax.tree.leaves(state)
  for sharded in sharded_states:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      sharded,
      state,
    )
