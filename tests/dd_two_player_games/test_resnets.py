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
"""Residual networks: the papers' tables, and their layers written out."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import nets
from dd_two_player_games import resnets
from tests.dd_two_player_games import small_experiments
from tests.dd_two_player_games import test_conditioning
from tests.dd_two_player_games import test_data_facts

init_and_apply = test_conditioning.init_and_apply
from_normals = test_conditioning.from_normals


def made_up(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def shapes_of(network, shape, labels=None, **kwargs):
  """The output's shape, and the number of parameters; nothing is computed."""
  given = {} if labels is None else {'labels': labels}
  transformed = nets.transform(network, kwargs)

  def run(x):
    params, state = transformed.init(jax.random.PRNGKey(0), x, **given)
    outputs, _ = transformed.apply(params, state, x, True, **given)
    return outputs, params

  outputs, params = jax.eval_shape(
    jax.vmap(run, axis_name='i'), jnp.zeros((1, *shape))
  )
  return outputs.shape[1:], hk.data_structures.tree_size(params)


# 1 × 1 and 3 × 3 convolutions of 256 channels, and of 128.
G1, G3 = 256 * 256 + 256, 9 * 256 * 256 + 256
D1, D3 = 128 * 128 + 128, 9 * 128 * 128 + 128
BLOCK = 2 * G3 + G1 + 2 * 2 * 256  # Two batch norms.
# Of 32 × 32 colour images, table 4 of Miyato et al., 2018, row by row.
GENERATOR = (128 * 4 * 4 * 256 + 4 * 4 * 256) + 3 * BLOCK
GENERATOR += 2 * 256 + (9 * 256 * 3 + 3)
DISCRIMINATOR = (9 * 3 * 128 + 128) + D3 + (3 * 128 + 128)
DISCRIMINATOR += (2 * D3 + D1) + 2 * (2 * D3) + (128 + 1)
# Of 28 × 28 grey ones: from 7 × 7, two blocks.
GENERATOR_28 = (128 * 7 * 7 * 256 + 7 * 7 * 256) + 2 * BLOCK
GENERATOR_28 += 2 * 256 + (9 * 256 + 1)
DISCRIMINATOR_28 = DISCRIMINATOR - 2 * (9 * 128 + 128)
TEN = np.arange(2)


@pytest.mark.parametrize(
  ('network', 'shape', 'kwargs', 'output', 'size'),
  [
    ('Generator', (2, 128), {}, (2, 32, 32, 3), GENERATOR),
    ('Discriminator', (2, 32, 32, 3), {}, (2, 1), DISCRIMINATOR),
    (
      *('Generator', (2, 128), {'output_shape': (28, 28, 1)}),
      *((2, 28, 28, 1), GENERATOR_28),
    ),
    ('Discriminator', (2, 28, 28, 1), {}, (2, 1), DISCRIMINATOR_28),
    # Of ten classes: a scale and an offset each, in each block's batch norms.
    (
      *('Generator', (2, 128), {'num_classes': 10, 'labels': TEN}),
      *((2, 32, 32, 3), GENERATOR + 3 * 9 * 2 * 2 * 256),
    ),
    (
      *('Discriminator', (2, 32, 32, 3), {'num_classes': 10, 'labels': TEN}),
      *((2, 1), DISCRIMINATOR + 10 * 128),
    ),
    # Attention: f, g, h to an eighth, v back, gamma.
    (
      *('Generator', (2, 128), {'attention_after': 2}, (2, 32, 32, 3)),
      GENERATOR + 3 * (256 * 32 + 32) + (32 * 256 + 256) + 1,
    ),
    (
      *('Discriminator', (2, 32, 32, 3), {'attention_after': 1}, (2, 1)),
      DISCRIMINATOR + 3 * (128 * 16 + 16) + (16 * 128 + 128) + 1,
    ),
  ],
)
def test_sizes_are_those_of_the_table(network, shape, kwargs, output, size):
  found = shapes_of(getattr(nets, f'ResNet{network}'), shape, **kwargs)
  assert found == (output, size)


def test_numbers_of_parameters_as_other_implementations_have_them():
  assert (GENERATOR, DISCRIMINATOR) == (4_276_739, 1_053_825)


@pytest.mark.parametrize(
  'shape', [(64, 64, 3), (48, 48, 1), (9, 14, 3), (5, 6, 1)]
)
def test_images_of_any_size(shape):
  kwargs = {'channels': 2}
  made, _ = shapes_of(
    nets.ResNetGenerator, (2, 4), output_shape=shape, **kwargs
  )
  assert made == (2, *shape)
  scored, _ = shapes_of(nets.ResNetDiscriminator, (2, *shape), **kwargs)
  assert scored == (2, 1)


@pytest.mark.parametrize(
  'kwargs', [{'num_halvings': 5}, {'attention_after': 5}]
)
def test_blocks_that_there_are_not(kwargs):
  with pytest.raises(ValueError, match='there are 4 blocks, not 5'):
    shapes_of(nets.ResNetDiscriminator, (2, 8, 8, 1), **kwargs)


# Layers.


def test_self_attention_is_its_formula():
  x = made_up(2, 3, 2, 16)
  params, _, outputs = init_and_apply(
    lambda x: resnets.SelfAttention()(x), x, fill=from_normals
  )

  def of(name, place):
    own = params[f'self_attention/{name}']
    return place @ own['w'][0, 0] + own['b']

  for image, found in zip(x, outputs, strict=True):
    places = image.reshape(6, 16)
    for j, place in enumerate(places):
      scores = [of('f', other) @ of('g', place) for other in places]
      weights = np.exp(scores - np.max(scores))
      weights /= weights.sum()
      mean = sum(w * of('h', y) for w, y in zip(weights, places, strict=True))
      gamma = params['self_attention']['gamma']
      np.testing.assert_allclose(
        found.reshape(6, 16)[j],
        place + gamma * of('v', mean),
        rtol=1e-4,
        atol=1e-4,
      )


def test_self_attention_begins_as_the_identity():
  x = made_up(2, 3, 2, 16)
  *_, outputs = init_and_apply(lambda x: resnets.SelfAttention()(x), x)
  np.testing.assert_array_equal(outputs, x)


def average_pool(x):
  return hk.avg_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), 'SAME')


def convolve(x, layer):
  return layer['b'] + jax.lax.conv_general_dilated(
    *(x, layer['w'], (1, 1), 'SAME'), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


@pytest.mark.parametrize(
  ('halves', 'is_first'), [(True, True), (True, False), (False, False)]
)
def test_a_block_of_the_discriminator_is_its_formula(halves, is_first):
  x = made_up(2, 4, 6, 3)
  params, _, outputs = init_and_apply(
    lambda x: resnets.DiscriminatorBlock(3, halves, is_first)(x),
    *(x,),
    fill=from_normals,
  )
  # The layers in the order of their making.
  first, second, *beside = (params[name] for name in sorted(params))
  pool = average_pool if halves else (lambda y: y)
  y = convolve(x if is_first else jax.nn.relu(x), first)
  y = pool(convolve(jax.nn.relu(y), second))
  # The paper's order: the mean of convolutions.
  y += pool(convolve(x, beside[0])) if halves else x
  assert len(beside) == halves
  np.testing.assert_allclose(outputs, y, rtol=1e-4, atol=1e-4)


def test_a_block_of_the_generator_is_its_formula():
  x = made_up(2, 2, 3, 3)
  params, _, outputs = init_and_apply(
    lambda x: resnets.GeneratorBlock(4)(x, True, False), x, fill=from_normals
  )
  layer = {name.rpartition('/')[2]: own for name, own in params.items()}

  def activate(y, norm):
    y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
    return jax.nn.relu(norm['scale'] * y + norm['offset'])

  def double(y):
    return np.asarray(y).repeat(2, axis=1).repeat(2, axis=2)

  y = convolve(double(activate(x, layer['batch_norm'])), layer['conv2_d'])
  y = convolve(activate(y, layer['batch_norm_1']), layer['conv2_d_1'])
  # The paper's order: the doubled, convolved.
  y += convolve(double(x), layer['conv2_d_2'])
  np.testing.assert_allclose(outputs, y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('size', [(4, 6), (5, 6), (5, 3)])
def test_halving_is_average_pooling(size):
  x = made_up(2, *size, 3)
  pooled = average_pool(x)
  np.testing.assert_allclose(resnets.halve(x), pooled, rtol=1e-5, atol=1e-6)


# Both players.

SMALL = {
  **{'channels': 4, 'num_blocks': 2, 'num_halvings': 1},
  **{'attention_after': 1, 'num_classes': 3},
}
LABELS = np.array([0, 2, 1, 1, 0, 2, 2, 0], np.int32)


@pytest.mark.slow
def test_gradients_are_the_same_by_products_and_by_xla():
  """Also the second ones, of a penalty, through 3 × 3 and 1 × 1 kernels."""
  x = made_up(8, 6, 9, 1)

  def gradient(convolutions):
    disc = nets.transform(
      nets.ResNetDiscriminator, SMALL, convolutions=convolutions
    )

    def loss(params):
      def score(x):
        return disc.apply(params, {}, x, True, labels=LABELS)[0].sum()

      value, slopes = jax.value_and_grad(score)(x)
      return value + jnp.sum(slopes**2)

    params, _ = disc.init(jax.random.PRNGKey(0), x, labels=LABELS)
    # Else gamma would be 0, and attention's gradients with it.
    params = jax.tree.map(
      lambda own, more: own + 0.1 * more, params, from_normals(params)
    )
    return jax.grad(loss)(params)

  fast, plain = jax.jit(lambda: (gradient('fast'), gradient('xla')))()
  # The bias of f has no gradient but by rounding: see `test_training`.
  rounding = 1e-6 * max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=rounding),
    *(fast, plain),
  )


def test_spectral_norm_takes_all_weights_and_leaves_gamma():
  disc = nets.transform(nets.ResNetDiscriminator, SMALL)
  norm = nets.transform(nets.spectral_norm, {})

  def run():
    params, _ = disc.init(
      jax.random.PRNGKey(0), made_up(8, 4, 4, 1), labels=LABELS
    )
    params = from_normals(params)
    _, state = norm.init(jax.random.PRNGKey(1), params)

    def step(state, _):
      return norm.apply({}, state, params)[1], None

    state, _ = jax.lax.scan(step, state, length=300)
    return params, norm.apply({}, state, params)[0]

  params, normed = jax.device_get(jax.jit(run)())
  names = set()
  for (path, before), after in zip(
    jax.tree_util.tree_leaves_with_path(params),
    jax.tree.leaves(normed),
    strict=True,
  ):
    name = path[-1].key
    names.add(name)
    if name in ('b', 'gamma'):
      np.testing.assert_array_equal(after, before)
      continue
    matrix = after.reshape(-1, after.shape[-1])
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1, rtol=1e-3)
  assert names == {'w', 'b', 'gamma', 'embeddings'}


@pytest.mark.slow
def test_batch_norm_is_of_all_devices():
  """Four devices with a quarter each are one with the whole batch."""
  gen = nets.transform(
    nets.ResNetGenerator,
    {'channels': 2, 'num_classes': 3, 'output_shape': (8, 8, 1)},
  )
  latents = made_up(8, 3)

  def on_devices(number):
    def run(latents, labels, key):
      params, state = gen.init(key, latents, labels=labels)
      return gen.apply(params, state, latents, True, labels=labels)

    mapped = jax.pmap(
      run,
      axis_name='i',
      in_axes=(0, 0, None),
      devices=jax.local_devices()[:number],
    )
    samples, state = mapped(
      latents.reshape(number, -1, 3),
      LABELS.reshape(number, -1),
      jax.random.PRNGKey(0),
    )
    last = jax.tree.map(lambda leaf: np.asarray(leaf[-1]), state)
    return np.asarray(samples).reshape(8, 8, 8, 1), last

  (samples, state), (sharded, sharded_state) = map(on_devices, (1, 4))
  np.testing.assert_allclose(sharded, samples, rtol=1e-4, atol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    sharded_state,
    state,
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ('shape', 'is_conditional', 'attention', 'num_blocks', 'drift'),
  [
    ((32, 32, 3), True, 1, 4, {}),
    ((28, 28, 1), False, 0, 4, {}),
    ((9, 14, 3), True, 1, 2, small_experiments.CANCEL),
  ],
)
def test_training(
  tmp_path, shape, is_conditional, attention, num_blocks, drift
):
  config = small_experiments.images_config(
    dataset=test_data_facts.write_images(
      tmp_path / 'mine.npz', shape, labels=np.arange(24) % 3
    ),
    nets={
      'discriminator': 'ResNetDiscriminator',
      'disc_kwargs': {
        'channels': 4,
        'attention_after': attention,
        'num_blocks': num_blocks,
      },
      'generator': 'ResNetGenerator',
      'gen_kwargs': {'channels': 4, 'attention_after': attention},
    },
    training={
      'batch_size': 8,
      'num_latents': 4,
      'conditional': is_conditional,
      **small_experiments.SIMULTANEOUS,
      **drift,
    },
    eval={'run_image_metrics': False},
  )
  made = small_experiments.make(config)
  made.ensure_train_state()
  before = made.snapshot_state()['train_state'].params
  logs = small_experiments.train(made, 2)
  assert np.isfinite(logs['disc_loss'])
  after = made.snapshot_state()['train_state'].params
  unmoved = [
    jax.tree_util.keystr(path)
    for (path, old), new in zip(
      jax.tree_util.tree_leaves_with_path(before),
      jax.tree.leaves(after),
      strict=True,
    )
    if np.array_equal(old, new)
  ]
  # Attention's weights move once gamma has, and the bias of f by rounding only:
  # it adds the same to f(x)ᵀ g(y) for all x, which softmax does not see.
  assert all('self_attention' in name for name in unmoved), unmoved
  assert made._samples(3, jax.random.PRNGKey(0)).shape == (3, *shape)
