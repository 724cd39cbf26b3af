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
"""Estimators: against their definition, their bias, and several devices."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import regularizer_estimates as estimates
from dd_two_player_games import utils

ESTIMATORS = (
  'biased_estimate_grad_fn',
  'biased_estimate_multiple_devices_grad_fn',
  'unbiased_estimate_fn_different_device_results',
  'unbiased_estimate_fn_lowest_variance',
  'unbiased_estimate_fn_shared_draws',
)
COEFFS = gan.GANTuple(
  disc=drift_utils.PlayerRegularizationTerms(0.3, -0.2, 0.1),
  gen=drift_utils.PlayerRegularizationTerms(-0.15, 0.25, 0.05),
)
# Name of a term: its fn1, and the player in whose parameters it is taken.
TERMS = {
  'disc_grads_disc_norm': ('disc_loss_fn_disc_grads', 'disc'),
  'disc_grads_gen_dot_prod': ('disc_loss_fn_gen_grads', 'disc'),
  'disc_grads_gen_norm': ('gen_loss_fn_gen_grads', 'disc'),
  'gen_grads_gen_norm': ('gen_loss_fn_gen_grads', 'gen'),
  'gen_grads_disc_dot_prod': ('gen_loss_fn_disc_grads', 'gen'),
  'gen_grads_disc_norm': ('disc_loss_fn_disc_grads', 'gen'),
}


class SmoothMLP(hk.nets.MLP):
  def __init__(self, out_dim):
    super().__init__([6, out_dim], activation=jnp.tanh)

  def __call__(self, x, is_training=True):
    return super().__call__(x)


class PointGenerator(hk.Module):
  """All samples are one point, whatever the latents."""

  def __call__(self, latents, is_training=True):
    point = hk.get_parameter('point', (2,), init=hk.initializers.Constant(0.7))
    return jnp.tile(jnp.sin(point), (latents.shape[0], 1))


class LinearDiscriminator(hk.Module):
  def __call__(self, x, is_training=True):
    return hk.Linear(1, with_bias=False)(x)


class ShiftGenerator(hk.Module):
  """Samples θ + z."""

  def __call__(self, latents, is_training=True):
    return latents + hk.get_parameter('theta', (), init=jnp.zeros)


def _model(disc, gen, kwargs=None, loss='goodfellow', num_latents=3):
  gen_loss = {'goodfellow': 'generator_goodfellow_loss'}.get(
    loss, f'generator_{loss}_loss'
  )
  return gan.GAN(
    players_hk=gan.GANTuple(disc, gen),
    losses=gan.GANTuple(
      getattr(losses, f'discriminator_{loss}_loss'), getattr(losses, gen_loss)
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=kwargs or gan.GANTuple({}, {}),
    num_latents=num_latents,
  )


@functools.lru_cache
def _mlp_case():
  model = _model(
    SmoothMLP, SmoothMLP, gan.GANTuple({'out_dim': 1}, {'out_dim': 2})
  )
  data = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
  initial_params = jax.jit(model.initial_params)
  params, state = initial_params(jax.random.PRNGKey(0), data[0])
  return model, params, state, data


def _functions_of(model, term):
  """The fn1, fn2 and player of a term."""
  fn1, player = TERMS[term]
  # fn2 is ξ of the player whose parameters fn1 is a gradient in.
  own = 'disc' if fn1.endswith('disc_grads') else 'gen'
  return (
    getattr(model, fn1),
    getattr(model, f'{own}_loss_fn_{own}_grads'),
    player,
  )


def _literal(fn1, fn2, player, draws, average, params, state):
  """∇ ⟨fn1, sg(fn2)⟩ as it is written."""
  (batch1, rng1), (batch2, rng2) = draws

  def dot_product(own):
    moved = params._replace(**{player: own})
    factor = fn2(moved, state, batch2, rng2, True)
    if average:
      factor = jax.lax.pmean(factor, 'i')
    factor = jax.lax.stop_gradient(factor)
    return utils.tree_dot_product(fn1(moved, state, batch1, rng1, True), factor)

  return jax.grad(dot_product)(getattr(params, player))


def _draws(estimator, batch, rng):
  if estimator.startswith('biased'):
    return (batch, rng), (batch, rng)
  half = batch.shape[0] // 2
  key1, key2 = jax.random.split(rng, 2)
  return (batch[:half], key1), (batch[half:], key2)


def _assert_trees_close(actual, expected, rtol=1e-4, atol=1e-6):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    actual,
    expected,
  )


@pytest.mark.slow  # Of each estimator quick tests see the bias.
@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_terms_are_their_definition(estimator):
  model, params, state, data = _mlp_case()
  estimator_fn = getattr(estimates, estimator)
  average = estimator in (ESTIMATORS[1], *ESTIMATORS[3:])
  calculator = gan_grads_calculator.GANGradsCalculator(model, estimator_fn)

  def user_defined(fn1, fn2, grad_var):
    # No Estimator, so that the calculator knows nothing of its parts.
    return estimator_fn(fn1, fn2, grad_var)

  calculators = [calculator]
  if estimator.endswith('lowest_variance'):
    calculators.append(
      gan_grads_calculator.GANGradsCalculator(model, user_defined)
    )

  def on_device(batch, rng):
    args = params, state, batch, rng, True
    one_pass, transposed, literal = {}, {}, {}
    for term in TERMS:
      fn1, fn2, player = _functions_of(model, term)
      one_pass[term] = getattr(calculator, term)(*args)
      if term in ('disc_grads_gen_dot_prod', 'gen_grads_disc_norm'):
        # A function that is no LossGradient takes the general route.
        plain = lambda *args, fn1=fn1: fn1(*args)
        transposed[term] = estimator_fn(plain, fn2, player)(*args)
      literal[term] = _literal(
        fn1,
        fn2,
        player,
        _draws(estimator, batch, rng),
        average,
        params,
        state,
      )
    combined = [
      (c.disc_grads(*args, COEFFS)[0], c.gen_grads(*args, COEFFS)[0])
      for c in calculators
    ]
    both, _ = calculator.both_player_grads(
      params, state, batch, batch, rng, rng, True, COEFFS
    )
    combined.append(tuple(both))
    # Shared draws: the gradient, too, is the mean over the two halves.
    draws = (
      _draws(estimator, batch, rng)
      if estimator_fn.shares_draws
      else [(batch, rng)]
    )
    plain = [
      jax.tree.map(
        lambda *halves: sum(halves) / len(halves),
        *(gradient(params, state, *draw, True) for draw in draws),
      )
      for gradient in (
        model.disc_loss_fn_disc_grads,
        model.gen_loss_fn_gen_grads,
      )
    ]
    return one_pass, transposed, literal, combined, plain

  rngs = jax.random.split(jax.random.PRNGKey(1), 2)
  one_pass, transposed, literal, combined, plain = jax.jit(
    jax.vmap(on_device, axis_name='i')
  )(data, rngs)
  _assert_trees_close(one_pass, literal)
  for term, grads in transposed.items():
    _assert_trees_close(grads, literal[term])
  terms = [literal[name] for name in TERMS]  # jit sorts its results.
  for player in range(2):
    expected = jax.tree.map(
      lambda gradient, *own: np.mean(
        gradient
        + sum(c * term for c, term in zip(COEFFS[player], own, strict=True)),  # noqa: B023
        axis=0,
      ),
      plain[player],
      *terms[3 * player : 3 * player + 3],
    )
    for grads in combined:
      for device in range(2):
        own = jax.tree.map(lambda g, d=device: g[d], grads[player])
        _assert_trees_close(own, expected)


def test_two_data_estimate():
  model, params, state, data = _mlp_case()
  key1, key2 = jax.random.split(jax.random.PRNGKey(1))

  @jax.jit
  def both(batch1, batch2):
    out = []
    for term in ('disc_grads_gen_dot_prod', 'gen_grads_disc_norm'):
      fn1, fn2, player = _functions_of(model, term)
      estimate = estimates.two_data_estimate_grad_fn(fn1, fn2, player)
      draws = (batch1, key1), (batch2, key2)
      out.append(
        (
          estimate(params, state, batch1, batch2, key1, key2, True),
          _literal(fn1, fn2, player, draws, False, params, state),
        )
      )
    return out

  for estimate, literal in both(data[0], data[1]):
    _assert_trees_close(estimate, literal)


@pytest.mark.parametrize('average', [True, False])
def test_biased_estimate_general(average):
  model, params, state, data = _mlp_case()
  fn = model.disc_loss_fn_disc_grads
  name = ESTIMATORS[1] if average else ESTIMATORS[0]

  def on_device(batch):
    args = params, state, batch, jax.random.PRNGKey(1), True
    general = estimates.biased_estimate_general_grad_fn(fn, fn, average, 'gen')
    return general(*args), getattr(estimates, name)(fn, fn, 'gen')(*args)

  general, expected = jax.jit(jax.vmap(on_device, axis_name='i'))(data)
  _assert_trees_close(general, expected, rtol=1e-6)


def test_default_player_is_the_discriminator():
  model, params, state, data = _mlp_case()
  fn = model.disc_loss_fn_disc_grads
  grads = jax.eval_shape(
    lambda: estimates.biased_estimate_grad_fn(fn, fn)(
      params, state, data[0], jax.random.PRNGKey(1), True
    )
  )
  assert jax.tree.structure(grads) == jax.tree.structure(params.disc)


# Bias, on a problem whose expectation is known.

PHI, THETA, MEAN = 0.9, 0.4, 0.6
BATCH, DEVICES, DRAWS = 4, 2, 20_000


def _expected_self_norm(deviation):
  """E[J_dd] E[ξ_d] of L_d = mean (φx - 1)² + mean (φ(θ + z))²."""
  second_moments = MEAN**2 + deviation**2 + THETA**2 + 1
  return 2 * second_moments * (2 * PHI * second_moments - 2 * MEAN)


def _bias(deviation):
  """Covariance of J_dd and ξ_d on one batch."""
  # Of x² with itself and with x, and of (θ + z)², for normal x and z.
  var_x2 = 2 * deviation**4 + 4 * MEAN**2 * deviation**2
  cov_x2_x = 2 * MEAN * deviation**2
  var_s2 = 2 + 4 * THETA**2
  return (4 * PHI * (var_x2 + var_s2) - 4 * cov_x2_x) / BATCH


def _linear_case():
  model = _model(
    LinearDiscriminator, ShiftGenerator, loss='square', num_latents=1
  )
  params, state = model.initial_params(
    jax.random.PRNGKey(0), jnp.zeros((BATCH, 1))
  )
  params = gan.GANTuple(
    disc=jax.tree.map(lambda w: jnp.full(w.shape, PHI), params.disc),
    gen=jax.tree.map(lambda w: jnp.full(w.shape, THETA), params.gen),
  )
  return model, params, state


@functools.lru_cache
def _self_norms(deviation):
  """Draws of the disc's self norm for each estimator: (draws, devices)."""
  model, params, state = _linear_case()
  xi = model.disc_loss_fn_disc_grads

  def on_device(key):
    data_key, rng = jax.random.split(key)
    batch = MEAN + deviation * jax.random.normal(data_key, (BATCH, 1))
    out = {}
    for name in ESTIMATORS:
      estimate = getattr(estimates, name)(xi, xi, 'disc')
      grads = estimate(params, state, batch, rng, True)
      out[name] = jax.tree.leaves(grads)[0].reshape(())
    return out

  keys = jax.random.split(jax.random.PRNGKey(5), (DRAWS, DEVICES))
  out = jax.jit(jax.vmap(jax.vmap(on_device, axis_name='i')))(keys)
  return {name: np.asarray(v, np.float64) for name, v in out.items()}


def _mean_and_error(values):
  """The mean over draws and its standard error; devices may depend."""
  per_draw = values.mean(axis=1)
  return per_draw.mean(), per_draw.std() / np.sqrt(len(per_draw))


# With deviation 0 only the latents differ between the two factors.
@pytest.mark.parametrize('deviation', [1.0, 0.0])
@pytest.mark.parametrize('name', ESTIMATORS)
def test_bias(name, deviation):
  mean, error = _mean_and_error(_self_norms(deviation)[name])
  expected = _expected_self_norm(deviation)
  if name.startswith('unbiased'):
    assert abs(mean - expected) < 4 * error
    return
  assert abs(mean - expected) > 8 * error
  # Averaging the stopped factor divides the bias by the number of devices.
  devices = DEVICES if 'multiple_devices' in name else 1
  bias = _bias(deviation) / devices
  np.testing.assert_allclose(mean, expected + bias, atol=4 * error)


@functools.lru_cache
def _descents(name, coeff):
  """Draws of the disc's gradient with its self norm: (draws, devices)."""
  model, params, state = _linear_case()
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, getattr(estimates, name), use_pmean=False
  )
  terms = drift_utils.PlayerRegularizationTerms(coeff, 0.0, 0.0)

  def on_device(key):
    data_key, rng = jax.random.split(key)
    batch = MEAN + jax.random.normal(data_key, (BATCH, 1))
    grads, _ = calculator.disc_grads(
      params, state, batch, rng, True, gan.GANTuple(terms, terms)
    )
    return jax.tree.leaves(grads)[0].reshape(())

  keys = jax.random.split(jax.random.PRNGKey(6), (DRAWS, DEVICES))
  out = jax.jit(jax.vmap(jax.vmap(on_device, axis_name='i')))(keys)
  return np.asarray(out, np.float64)


@pytest.mark.parametrize('name', ESTIMATORS[2:])
def test_bias_of_the_whole_gradient(name):
  """Also where the gradient is taken from the estimate's own draws."""
  coeff = 0.3
  mean, error = _mean_and_error(_descents(name, coeff))
  gradient = 2 * PHI * (MEAN**2 + 1 + THETA**2 + 1) - 2 * MEAN
  regulariser = coeff * _expected_self_norm(1.0)
  assert abs(mean - gradient - regulariser) < 4 * error
  assert regulariser > 20 * error  # Else the test could not fail.


def test_lowest_variance():
  draws = _self_norms(1.0)
  plain, averaged = (
    draws[name].mean(axis=1).var() for name in (ESTIMATORS[2], ESTIMATORS[3])
  )
  assert averaged < 0.95 * plain


# Real devices.


@pytest.mark.slow
def test_one_batch_on_four_devices():
  """Averaged stopped factors do not tell 4 devices from 1; others do."""
  model = _model(SmoothMLP, PointGenerator, gan.GANTuple({'out_dim': 1}, {}))
  data = np.random.default_rng(2).normal(size=(8, 2)).astype(np.float32)
  params, state = model.initial_params(jax.random.PRNGKey(3), data)

  def on_devices(number):
    def gradients(batch):
      out = {}
      for name in ESTIMATORS[:2]:
        calculator = gan_grads_calculator.GANGradsCalculator(
          model, getattr(estimates, name)
        )
        args = params, state, batch, jax.random.PRNGKey(4), True, COEFFS
        out[name] = (
          calculator.disc_grads(*args)[0],
          calculator.gen_grads(*args)[0],
        )
      return out

    mapped = jax.pmap(
      gradients, axis_name='i', devices=jax.local_devices()[:number]
    )
    return jax.tree.map(
      lambda leaf: np.asarray(leaf[0]), mapped(data.reshape(number, -1, 2))
    )

  one, four = on_devices(1), on_devices(4)
  _assert_trees_close(four[ESTIMATORS[1]], one[ESTIMATORS[1]], rtol=1e-5)
  # On one device they are the same.
  _assert_trees_close(one[ESTIMATORS[0]], one[ESTIMATORS[1]], rtol=1e-5)
  differences = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), four[ESTIMATORS[0]], one[ESTIMATORS[0]]
  )
  assert max(jax.tree.leaves(differences)) > 1e-3


def test_lowest_variance_averages_the_second_halves_of_four_devices():
  model = _model(SmoothMLP, PointGenerator, gan.GANTuple({'out_dim': 1}, {}))
  data = np.random.default_rng(2).normal(size=(4, 4, 2)).astype(np.float32)
  params, state = model.initial_params(jax.random.PRNGKey(3), data[0])
  xi, key = model.disc_loss_fn_disc_grads, jax.random.PRNGKey(4)
  estimate = estimates.unbiased_estimate_fn_lowest_variance(xi, xi, 'disc')
  mapped = jax.pmap(
    lambda batch: estimate(params, state, batch, key, True),
    axis_name='i',
    devices=jax.local_devices()[:4],
  )
  by_device = mapped(data)
  # Device 2: its own first half, and all devices' second halves as one batch.
  expected = estimates.two_data_estimate_grad_fn(xi, xi, 'disc')(
    params, state, data[2, :2], data[:, 2:].reshape(8, 2), key, key, True
  )
  own = jax.tree.map(lambda leaf: leaf[2], by_device)
  _assert_trees_close(own, expected, rtol=1e-5)


def test_without_pmean_the_gradient_is_the_devices_own():
  model, params, state, data = _mlp_case()
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, estimates.biased_estimate_grad_fn, use_pmean=False
  )
  args = params, state, data[0], jax.random.PRNGKey(1), True
  none = gan.GANTuple(*[drift_utils.PlayerRegularizationTerms(0, 0.0, 0)] * 2)
  # No axis 'i' here: an average would fail.
  grads, expected = jax.jit(
    lambda: (
      calculator.disc_grads(*args, none)[0],
      model.disc_loss_fn_disc_grads(*args),
    )
  )()
  _assert_trees_close(grads, expected, rtol=1e-6)


def test_spectral_norm_is_inside_the_terms():
  """The derivative passes through the transform of the parameters."""
  model = gan.GAN(
    players_hk=gan.GANTuple(SmoothMLP, PointGenerator),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_goodfellow_loss
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(nets.spectral_norm, None),
    players_kwargs=gan.GANTuple({'out_dim': 1}, {}),
    num_latents=1,
  )
  data = np.random.default_rng(2).normal(size=(4, 2)).astype(np.float32)
  params, state = model.initial_params(jax.random.PRNGKey(3), data)
  xi, key = model.disc_loss_fn_disc_grads, jax.random.PRNGKey(4)
  draws = (data, key), (data, key)
  estimate = estimates.biased_estimate_grad_fn(xi, xi, 'disc')

  @jax.jit
  def both(params):
    return (
      estimate(params, state, data, key, True),
      _literal(xi, xi, 'disc', draws, False, params, state),
    )

  _assert_trees_close(*both(params))
