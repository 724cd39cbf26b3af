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
"""Who may change which state, and what the losses are made of."""

import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import utils

KEY = jax.random.PRNGKey(4)
DATA = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


class Player(hk.Module):
  """A network with batch-norm statistics and a state of its own."""

  def __init__(self, out_dim, name):
    super().__init__(name=name)
    self._out_dim = out_dim

  def __call__(self, x, is_training=True):
    passes = hk.get_state('passes', (), init=jnp.zeros)
    hk.set_state('passes', passes + 1)
    x = jnp.tanh(hk.Linear(3)(x))
    x = hk.BatchNorm(True, True, 0.9)(x, is_training)
    return hk.Linear(self._out_dim)(x)


class LinearDiscriminator(hk.Module):
  def __call__(self, x, is_training=True):
    return hk.Linear(1)(x)


def _model(
  disc=Player,
  disc_kwargs=None,
  penalties=gan.GANTuple(None, None),  # noqa: B008
  transforms=gan.GANTuple(nets.spectral_norm, None),  # noqa: B008
):
  if disc is Player:
    disc_kwargs = {'out_dim': 1, 'name': 'disc'}
  return gan.GAN(
    players_hk=gan.GANTuple(disc, Player),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_goodfellow_loss
    ),
    penalties=penalties,
    player_param_transformers=transforms,
    players_kwargs=gan.GANTuple(
      disc_kwargs or {}, {'out_dim': 2, 'name': 'gen'}
    ),
    num_latents=2,
  )


def _start(model):
  return jax.jit(model.initial_params)(jax.random.PRNGKey(1), DATA)


def _changed(new, old):
  """'module/name' of each entry of a player's state that differs."""
  assert jax.tree.structure(new) == jax.tree.structure(old)
  return {
    f'{module}/{name}'
    for module, entries in old.items()
    for name, value in entries.items()
    if not np.array_equal(value, new[module][name])
  }


def _is_batch_norm(name):
  return 'batch_norm' in name


@pytest.mark.parametrize('is_training', [True, False])
def test_disc_loss_changes(is_training):
  model = _model()
  params, state = _start(model)
  _, aux = model.disc_loss(params, state, DATA, KEY, is_training)
  disc = _changed(aux.state.players.disc, state.players.disc)
  gen = _changed(aux.state.players.gen, state.players.gen)
  transform = _changed(
    aux.state.param_transforms.disc, state.param_transforms.disc
  )
  assert aux.state.param_transforms.gen is None
  # All of its own; one pass over data and samples together.
  assert 'disc/passes' in disc
  passes = state.players.disc['disc']['passes']
  assert aux.state.players.disc['disc']['passes'] == passes + 1
  if is_training:
    assert any(map(_is_batch_norm, disc))
    # Of the generator's only what evaluation uses.
    assert gen
    assert all(map(_is_batch_norm, gen))
    assert any(name.endswith('/u0') for name in transform)
  else:
    assert disc == {'disc/passes'}
    assert not gen
    assert not transform


@pytest.mark.parametrize('is_training', [True, False])
def test_gen_loss_changes(is_training):
  model = _model()
  params, state = _start(model)
  _, aux = model.gen_loss(params, state, DATA, KEY, is_training)
  disc = _changed(aux.state.players.disc, state.players.disc)
  gen = _changed(aux.state.players.gen, state.players.gen)
  assert 'gen/passes' in gen
  assert not _changed(
    aux.state.param_transforms.disc, state.param_transforms.disc
  )
  if is_training:
    assert any(map(_is_batch_norm, gen))
    assert disc
    assert all(map(_is_batch_norm, disc))
  else:
    assert gen == {'gen/passes'}
    assert not disc


def test_keep_batch_norm():
  old = {'net/batch_norm/~/mean_ema': {'average': 1}, 'net': {'count': 2}}
  new = {'net/batch_norm/~/mean_ema': {'average': 3}, 'net': {'count': 4}}
  kept = gan.keep_batch_norm(new, old)
  assert kept == {
    'net/batch_norm/~/mean_ema': {'average': 3},
    'net': {'count': 2},
  }


def test_regularisers_change_no_state():
  model = _model()
  params, state = _start(model)
  # Halves of the batch: a pass of a regulariser would leave other statistics.
  calculator = gan_grads_calculator.GANGradsCalculator(
    model,
    regularizer_estimates.unbiased_estimate_fn_different_device_results,
    use_pmean=False,
  )
  terms = drift_utils.PlayerRegularizationTerms(0.3, 0.2, 0.1)
  coeffs = gan.GANTuple(terms, terms)

  @jax.jit
  def auxes(params):
    args = params, state, DATA, KEY, True
    return (
      (calculator.disc_grads(*args, coeffs)[1], model.disc_loss(*args)[1]),
      (calculator.gen_grads(*args, coeffs)[1], model.gen_loss(*args)[1]),
    )

  for with_terms, alone in auxes(params):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
      with_terms,
      alone,
    )


def test_spectral_norm_of_a_linear_discriminator():
  """Each pass divides by σ of one power iteration from the stored vector."""
  model = _model(disc=LinearDiscriminator)
  params, state = _start(model)
  module = next(iter(params.disc))
  w, b = params.disc[module]['w'], params.disc[module]['b'] + 0.3
  params = params._replace(disc={module: {'w': w, 'b': b}})
  ((name, transform),) = state.param_transforms.disc.items()
  # w has one column: its singular value is its norm.
  expected = DATA @ (w / np.linalg.norm(w)) + b
  for update_stats in (True, False):
    outputs, _, transformed, new = model.disc_forward(
      params.disc, state, DATA, True, update_stats
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    # Biases are left alone.
    np.testing.assert_array_equal(transformed[module]['b'], b)
    if not update_stats:
      jax.tree.map(np.testing.assert_array_equal, new[name], transform)
  np.testing.assert_allclose(
    np.linalg.norm(transformed[module]['w']), 1.0, rtol=1e-5
  )


def test_no_op_tracks_singular_values_only():
  model = _model(transforms=gan.GANTuple(nets.no_op, None))
  params, state = _start(model)
  _, _, transformed, new = model.disc_forward(
    params.disc, state, DATA, True, True
  )
  jax.tree.map(np.testing.assert_array_equal, transformed, params.disc)
  (linear,) = [
    w['w'] for name, w in params.disc.items() if name.endswith('linear_1')
  ]
  (sigma,) = [
    entries['sigma'] for name, entries in new.items() if 'linear_1' in name
  ]
  # One column again: the first power iteration is exact.
  np.testing.assert_allclose(
    sigma.reshape(()), np.linalg.norm(linear), rtol=1e-4
  )
  assert _changed(new, state.param_transforms.disc)


def test_losses_take_one_pass_over_data_and_samples():
  """With batch norm two passes would give other outputs."""
  model = _model(transforms=gan.GANTuple(None, None))
  params, state = _start(model)
  samples, _ = model.sample(
    params.gen, state.players.gen, KEY, len(DATA), {'is_training': True}
  )
  outputs, _, _, transform_state = model.disc_forward(
    params.disc, state, jnp.concatenate([DATA, samples]), True, True
  )
  assert transform_state is None
  real, sampled = outputs[: len(DATA)], outputs[len(DATA) :]
  args = params, state, DATA, KEY, True
  loss, aux = model.disc_loss(*args)
  expected = losses.discriminator_goodfellow_loss(real, sampled)
  np.testing.assert_allclose(loss, expected.total, rtol=1e-5)
  assert aux.log_dict.keys() == {'disc_loss'}
  assert model.disc_loss_components(*args).keys() == expected.components.keys()
  gen_loss, gen_aux = model.gen_loss(*args)
  np.testing.assert_allclose(
    gen_loss, losses.generator_goodfellow_loss(real, sampled).total, rtol=1e-5
  )
  assert gen_aux.log_dict.keys() == {'gen_loss'}
  np.testing.assert_allclose(
    model.gen_loss_components(*args)['gen_samples_loss'], gen_loss, rtol=1e-6
  )


def test_penalty_is_inside_the_disc_loss():
  """In the loss, its gradient and its regularisers; of σ-normed weights."""
  coeff = 0.7
  penalty = gan.GANPenalty(losses.wgan_gradient_penalty_loss, coeff)
  disc = LinearDiscriminator
  plain = _model(disc)
  model = _model(disc, penalties=gan.GANTuple(penalty, None))
  params, state = _start(model)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn, use_pmean=False
  )

  def loss_by_hand(own):
    moved = params._replace(disc=own)
    # The critic is linear: its gradient is the transformed weight everywhere.
    _, _, transformed, _ = plain.disc_forward(own, state, DATA, True, True)
    (weights,) = transformed.values()
    norm = jnp.sqrt(1e-5 + jnp.sum(weights['w'] ** 2))
    loss = plain.disc_loss(moved, state, DATA, KEY, True)[0]
    return loss + coeff * (norm - 1) ** 2

  def self_norm_by_hand(own):
    xi = jax.grad(loss_by_hand)(own)
    return utils.tree_dot_product(xi, jax.lax.stop_gradient(xi))

  @jax.jit
  def both(params):
    args = params, state, DATA, KEY, True
    computed = (
      model.disc_loss(*args)[0],
      model.disc_loss_fn_disc_grads(*args),
      calculator.disc_grads_disc_norm(*args),
      model.gen_loss(*args)[0],
    )
    expected = (
      loss_by_hand(params.disc),
      jax.grad(loss_by_hand)(params.disc),
      jax.grad(self_norm_by_hand)(params.disc),
      plain.gen_loss(*args)[0],  # The generator's loss has none.
    )
    return computed, expected

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    *both(params),
  )


def test_penalty_sees_the_transformed_parameters():
  seen = []

  def penalty(disc_apply, rng, real, samples):
    seen.append((rng, real.shape, samples.shape))
    return jnp.mean(disc_apply(real) ** 2)

  model = _model(
    LinearDiscriminator,
    penalties=gan.GANTuple(gan.GANPenalty(penalty, 2.0), None),
  )
  plain = _model(LinearDiscriminator)
  params, state = _start(model)
  with jax.disable_jit():
    loss, _ = model.disc_loss(params, state, DATA, KEY, True)
    plain_loss, _ = plain.disc_loss(params, state, DATA, KEY, True)
  ((rng, *shapes),) = seen
  np.testing.assert_array_equal(rng, KEY)  # The loss's own key.
  assert shapes == [DATA.shape, DATA.shape]
  (w,) = [entries['w'] for entries in params.disc.values()]
  outputs = DATA @ (w / np.linalg.norm(w))
  np.testing.assert_allclose(
    loss - plain_loss, 2 * np.mean(outputs**2), rtol=1e-4
  )


@pytest.mark.parametrize('kind', ['penalty', 'parameter transform'])
def test_nothing_of_the_generators_is_dropped_in_silence(kind):
  kwargs = {
    'penalty': {
      'penalties': gan.GANTuple(
        None, gan.GANPenalty(losses.wgan_gradient_penalty_loss, 1.0)
      )
    },
    'parameter transform': {
      'transforms': gan.GANTuple(None, nets.spectral_norm)
    },
  }[kind]
  with pytest.raises(ValueError, match=f'{kind} of the generator'):
    _model(**kwargs)


def test_sample_draws_standard_normal_latents():
  class Identity(hk.Module):
    def __call__(self, latents, is_training=True):
      return latents

  model = gan.GAN(
    players_hk=gan.GANTuple(LinearDiscriminator, Identity),
    losses=gan.GANTuple(
      losses.wasserstein_discriminator_loss, losses.wasserstein_generator_loss
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {}),
    num_latents=2,
  )
  samples, _ = model.sample({}, {}, KEY, 5, {'is_training': False})
  np.testing.assert_allclose(samples, jax.random.normal(KEY, (5, 2)))


def _dcgan(compute_dtype='float32', convolutions='fast'):
  return gan.GAN(
    players_hk=gan.GANTuple(nets.DCGANDiscriminator, nets.DCGANGenerator),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_goodfellow_loss
    ),
    penalties=gan.GANTuple(
      gan.GANPenalty(losses.wgan_gradient_penalty_loss, 0.1), None
    ),
    player_param_transformers=gan.GANTuple(nets.spectral_norm, None),
    players_kwargs=gan.GANTuple({'channels': (8, 9)}, {'channels': (9, 8)}),
    num_latents=8,
    compute_dtype=compute_dtype,
    convolutions=convolutions,
  )


def _types(tree):
  return jax.tree.map(lambda leaf: leaf.dtype, tree)


@pytest.mark.slow
def test_bfloat16_is_the_type_of_all_products_and_of_nothing_kept():
  images = jax.random.uniform(KEY, (16, 28, 28, 1), minval=-1.0)
  axis = {'axis_name': 'i', 'axis_size': 1}

  def run(compute_dtype):
    model = _dcgan(compute_dtype)

    def start():
      return model.initial_params(jax.random.PRNGKey(1), images)

    def grads(params, state):
      return jax.grad(model.disc_loss, has_aux=True)(
        params, state, images, KEY, True
      )

    # Nothing is mapped inside, so that matrices have two dimensions.
    both = jax.vmap(lambda: grads(*start()), **axis)
    started = jax.jit(jax.vmap(start, **axis))()
    computed = jax.jit(jax.vmap(grads, **axis))(*started)
    return started, *computed, str(jax.make_jaxpr(both)())

  start, grads, aux, program = run('bfloat16')
  start_32, grads_32, aux_32, program_32 = run('float32')
  jax.tree.map(np.testing.assert_array_equal, start, start_32)
  assert _types((grads, aux)) == _types((grads_32, aux_32))
  assert 'bf16' not in program_32
  # Spectral norm's products of a matrix and a vector stay float32.
  products = re.findall(r'.*(?:dot_general|conv_same\w*)\[.*', program)
  large = [line for line in products if re.search(r':\w+\[(\d+,){2,}', line)]
  assert large
  assert all(':bf16[' in line for line in large)
  # bfloat16 has eight binary digits.
  error = optax.tree.norm(optax.tree.sub(grads, grads_32))
  assert 1e-5 < error / optax.tree.norm(grads_32) < 0.05
  np.testing.assert_allclose(
    aux.log_dict['disc_loss'], aux_32.log_dict['disc_loss'], rtol=0.02
  )


def test_each_gan_has_its_own_convolutions():
  """Also where both are traced by one process, in turns."""
  images = jax.random.uniform(KEY, (16, 28, 28, 1), minval=-1.0)
  models = {name: _dcgan(convolutions=name) for name in ('fast', 'xla')}

  def has_xlas(model):
    def loss():
      params, state = model.initial_params(KEY, images)
      return model.disc_loss(params, state, images, KEY, True)[0]

    mapped = jax.vmap(loss, axis_name='i', axis_size=1)
    return 'stablehlo.convolution' in jax.jit(mapped).lower().as_text()

  for _ in range(2):
    assert not has_xlas(models['fast'])
    assert has_xlas(models['xla'])
