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
"""The published modules' names and signatures, used as research code does."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import metric_utils
from dd_two_player_games import model_utils
from dd_two_player_games import nets
from dd_two_player_games import optim
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import utils

DEVICES = 4
NUM_LATENTS = 3
LOSS_ARGS = ['params', 'state', 'data_batch', 'rng', 'is_training']


def parameters(function):
  """The names of what a function is called with."""
  names = list(inspect.signature(function).parameters)
  return names[1:] if names[0] == 'self' else names


@pytest.fixture(scope='module')
def setup():
  """A GAN made with positional arguments: (model, params, state, batch)."""
  model = gan.GAN(
    gan.GANTuple(disc=nets.SimpleMLP, gen=nets.SimpleMLP),
    gan.GANTuple(
      disc=losses.discriminator_goodfellow_loss,
      gen=losses.generator_goodfellow_loss,
    ),
    gan.GANTuple(
      disc=gan.GANPenalty(losses.wgan_gradient_penalty_loss, 0.1), gen=None
    ),
    gan.GANTuple(disc=nets.spectral_norm, gen=None),
    gan.GANTuple(
      disc={'depth': 1, 'hidden_size': 5, 'out_dim': 1},
      gen={'depth': 1, 'hidden_size': 5, 'out_dim': 2},
    ),
    NUM_LATENTS,
  )
  batch = jax.random.normal(jax.random.PRNGKey(7), (8, 2))
  initial_params = jax.jit(model.initial_params)
  params, state = initial_params(jax.random.PRNGKey(0), batch)
  return model, params, state, batch


def assert_close(tree1, tree2):
  # One sum in float32, compiled in two ways.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    tree1,
    tree2,
  )


def test_namedtuples():
  assert gan.GANTuple._fields == ('disc', 'gen')
  assert gan.GANPenalty._fields == ('fn', 'coeff')
  assert gan.GANState._fields == ('players', 'param_transforms')
  assert gan.GANLossAux._fields == ('state', 'log_dict', 'loss_components')
  assert drift_utils.PlayerRegularizationTerms._fields == (
    'self_norm',
    'other_dot_prod',
    'other_norm',
  )
  assert losses.LossOutput._fields == ('total', 'components')
  assert data_utils.DataProcessor._fields == ('preprocess', 'postprocess')


@pytest.mark.parametrize(
  ('function', 'names'),
  [
    (
      gan.GAN.__init__,
      [
        'players_hk',
        'losses',
        'penalties',
        'player_param_transformers',
        'players_kwargs',
        'num_latents',
      ],
    ),
    (gan.GAN.initial_params, ['rng', 'batch']),
    (
      gan.GAN.sample,
      ['gen_params', 'gen_state', 'rng', 'num_samples', 'gen_kwargs'],
    ),
    (
      gan.GAN.disc_forward,
      ['disc_params', 'state', 'inputs', 'is_training', 'update_stats'],
    ),
    (gan.GAN.disc_loss, LOSS_ARGS),
    (gan.GAN.gen_loss, LOSS_ARGS),
    (
      gan_grads_calculator.GANGradsCalculator.__init__,
      ['gan_model', 'estimator_fn', 'use_pmean'],
    ),
    (
      gan_grads_calculator.GANGradsCalculator.disc_grads,
      [*LOSS_ARGS, 'coeffs'],
    ),
    (
      gan_grads_calculator.GANGradsCalculator.gen_grads,
      [*LOSS_ARGS, 'coeffs'],
    ),
    (
      gan_grads_calculator.GANGradsCalculator.both_player_grads,
      [
        'params',
        'state',
        'disc_data_batch',
        'gen_data_batch',
        'rng_disc',
        'rng_gen',
        'is_training',
        'coeffs',
      ],
    ),
    (
      regularizer_estimates.biased_estimate_general_grad_fn,
      ['fn1', 'fn2', 'use_pmap_on_stop_grad_tree', 'grad_var'],
    ),
    (
      regularizer_estimates.two_data_estimate_grad_fn,
      ['fn1', 'fn2', 'grad_var'],
    ),
    (
      drift_utils.get_dd_coeffs,
      [
        'alternating_player_order',
        'simultaneous_updates',
        'learning_rates',
        'num_updates',
      ],
    ),
    (
      optim.RungeKutta.__init__,
      ['grad_fn', 'runge_kutta_order', 'same_args_to_grad_calls'],
    ),
    (optim.RungeKutta.grad, ['params', 'step_size', 'grad_fn_args']),
    (losses.binary_cross_entropy_loss, ['logits', 'targets']),
    (
      losses.wgan_gradient_penalty_loss,
      ['disc_apply', 'rng', 'real', 'samples'],
    ),
    (
      model_utils.Sampler.__init__,
      ['model', 'params', 'state', 'pmap'],
    ),
    (model_utils.Sampler.sample_batch, ['batch_size', 'rng']),
  ],
)
def test_signatures(function, names):
  found = parameters(function)
  assert found[: len(names)] == names
  # What is ours beyond them leaves published calls as they were.
  defaults = inspect.signature(function).parameters
  ours = found[len(names) :]
  assert all(defaults[n].default is not inspect.Parameter.empty for n in ours)


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
  'name',
  [
    'biased_estimate_grad_fn',
    'biased_estimate_multiple_devices_grad_fn',
    'unbiased_estimate_fn_different_device_results',
    'unbiased_estimate_fn_lowest_variance',
  ],
)
def test_estimators_take_two_functions_and_a_player(name, setup):
  model, params, state, batch = setup
  estimator = getattr(regularizer_estimates, name)
  signature = inspect.signature(estimator.__call__)
  assert list(signature.parameters) == ['fn1', 'fn2', 'grad_var']
  assert signature.parameters['grad_var'].default == 'disc'
  fn1, fn2 = model.disc_loss_fn_disc_grads, model.gen_loss_fn_disc_grads
  args = (params, state, batch, jax.random.PRNGKey(1), True)

  def shapes_of(estimate):
    function = jax.vmap(lambda: estimate(*args), axis_name='i', axis_size=1)
    return jax.tree.map(lambda leaf: leaf.shape[1:], jax.eval_shape(function))

  for player, estimate in (
    ('disc', estimator(fn1, fn2)),
    ('gen', estimator(fn1, fn2, 'gen')),
    ('gen', estimator(fn1, fn2, grad_var='gen')),
  ):
    assert shapes_of(estimate) == jax.tree.map(
      jnp.shape, getattr(params, player)
    )


def test_losses_with_positional_arguments(setup):
  model, params, state, batch = setup
  rng = jax.random.PRNGKey(2)
  for player in ('disc', 'gen'):
    loss, aux = getattr(model, f'{player}_loss')(
      params, state, batch, rng, True
    )
    assert loss.shape == ()
    assert aux.log_dict.keys() == {f'{player}_loss'}
    assert isinstance(aux.state, gan.GANState)
    components = getattr(model, f'{player}_loss_components')(
      params, state, batch, rng, True
    )
    assert components.keys() == aux.loss_components.keys()
    for name, value in components.items():
      np.testing.assert_allclose(value, aux.loss_components[name], rtol=1e-6)


@pytest.mark.parametrize('loss_of', ['disc', 'gen'])
def test_gradients_are_those_of_the_losses(setup, loss_of):
  model, params, state, batch = setup
  loss_fn = getattr(model, f'{loss_of}_loss')

  @jax.jit
  def compute(params):
    args = params, state, batch, jax.random.PRNGKey(2), True
    # As research code differentiates: with respect to the pair of params.
    (loss, aux), both = jax.value_and_grad(loss_fn, has_aux=True)(*args)
    own = [
      getattr(model, f'{loss_of}_loss_fn_{wrt}_grads')(*args)
      for wrt in ('disc', 'gen')
    ]
    return loss, aux.log_dict, both, gan.GANTuple(*own)

  loss, log_dict, both, own = compute(params)
  assert log_dict[f'{loss_of}_loss'] == loss
  assert_close(own, both)


def test_gradients_are_functions_that_jax_transforms_directly(setup):
  model, params, state, batch = setup
  jitted = jax.jit(model.disc_loss_fn_disc_grads, static_argnums=4)
  args = (params, state, batch, jax.random.PRNGKey(2), True)
  assert_close(jitted(*args), model.disc_loss_fn_disc_grads(*args))


def test_step_under_pmap_as_research_code_writes_it(setup):
  """One simultaneous step, gradients averaged over devices."""
  model, params, state, batch = setup
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_multiple_devices_grad_fn
  )
  coeffs = gan.GANTuple(
    disc=drift_utils.PlayerRegularizationTerms(0.1, 0.2, 0.0),
    gen=drift_utils.PlayerRegularizationTerms(0.0, 0.3, 0.1),
  )
  rng = jax.random.PRNGKey(3)

  def step(params, data):
    grads, aux = calculator.both_player_grads(
      params, state, data, data, rng, rng, True, coeffs
    )
    alone, _ = calculator.disc_grads(params, state, data, rng, True, coeffs)
    moved = utils.add_trees_with_coeff(acc=params, mul=grads, coeff=-0.1)
    return moved, grads, alone, aux.disc.log_dict['disc_loss']

  shards = batch.reshape(DEVICES, -1, 2)
  moved, grads, alone, loss = jax.pmap(step, axis_name='i', in_axes=(None, 0))(
    params, shards
  )
  assert isinstance(moved, gan.GANTuple)
  assert len(set(np.asarray(loss).tolist())) == DEVICES
  for leaf in jax.tree.leaves(grads):
    np.testing.assert_array_equal(leaf[0], leaf[1])
  assert_close(grads.disc, alone)
  expected = jax.tree.map(lambda p, g: p - 0.1 * g[0], params, grads)
  assert_close(jax.tree.map(lambda leaf: leaf[2], moved), expected)


def test_regularisation_functions_by_player_and_term(setup):
  model, params, state, batch = setup
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn, use_pmean=False
  )
  fns = calculator.regularisation_grad_fns
  names = (
    ('disc', 'self_norm', 'disc_grads_disc_norm'),
    ('disc', 'other_norm', 'disc_grads_gen_norm'),
    ('disc', 'other_dot_prod', 'disc_grads_gen_dot_prod'),
    ('gen', 'self_norm', 'gen_grads_gen_norm'),
    ('gen', 'other_norm', 'gen_grads_disc_norm'),
    ('gen', 'other_dot_prod', 'gen_grads_disc_dot_prod'),
  )

  def lower(function):
    """The program as text, and the shapes of what it gives."""
    args = (state, batch, jax.random.PRNGKey(3), True)
    program = jax.jit(lambda params: function(params, *args)).lower(params)
    return program.as_text(), jax.tree.map(jnp.shape, program.out_info)

  for player, term, name in names:
    by_term, by_name = (
      lower(getattr(*owner_and_name))
      for owner_and_name in ((getattr(fns, player), term), (calculator, name))
    )
    assert by_term == by_name
    assert by_name[1] == jax.tree.map(jnp.shape, getattr(params, player))


def test_forward_passes(setup):
  model, params, state, batch = setup
  samples, gen_state = model.sample(
    params.gen,
    state.players.gen,
    jax.random.PRNGKey(0),
    6,
    {'is_training': False},
  )
  assert samples.shape == (6, 2)
  assert jax.tree.structure(gen_state) == jax.tree.structure(state.players.gen)
  outputs, _, transformed, transform_state = model.disc_forward(
    params.disc, state, batch, True, True
  )
  assert outputs.shape == (8, 1)
  assert transformed.keys() == params.disc.keys()
  moved = jax.tree.map(
    lambda a, b: bool(np.any(a != b)),
    transform_state,
    state.param_transforms.disc,
  )
  assert any(jax.tree.leaves(moved))
  kept = model.disc_forward(params.disc, state, batch, True, False)[3]
  jax.tree.map(np.testing.assert_array_equal, kept, state.param_transforms.disc)


def test_estimates_of_any_gradient_functions():
  """f = (a · gen, b · disc): the gradient of <f1(p), sg f2(p)> by hand."""
  params = gan.GANTuple(disc=jnp.array([1.0, -2.0]), gen=jnp.array([3.0, 0.5]))

  def fn1(params, state, data_batch, rng, is_training):
    del state, rng, is_training
    return jnp.mean(data_batch) * params.disc * params.gen

  def fn2(params, state, data_batch, rng, is_training):
    del state, rng, is_training
    return jnp.sum(data_batch) * params.gen

  batch, other = jnp.array([1.0, 3.0]), jnp.array([2.0, 5.0])
  same = regularizer_estimates.biased_estimate_general_grad_fn(
    fn1, fn2, False, 'disc'
  )
  # mean * gen * (sum * gen), in disc; with disc in place of gen, in gen.
  assert_close(same(params, None, batch, None, True), 2 * 4 * params.gen**2)
  two = regularizer_estimates.two_data_estimate_grad_fn(fn1, fn2, 'gen')
  assert_close(
    two(params, None, batch, other, None, None, True),
    2 * 7 * params.disc * params.gen,
  )


def test_drift_coefficients():
  assert [order.name for order in drift_utils.PlayerOrder] == [
    'disc_first',
    'gen_first',
  ]
  coeffs = drift_utils.get_dd_coeffs(
    drift_utils.PlayerOrder.disc_first,
    False,
    gan.GANTuple(disc=0.2, gen=0.1),
    gan.GANTuple(disc=2, gen=1),
  )
  np.testing.assert_allclose(coeffs.disc, (0.05, 0.1, 0.0))
  # -(0.1 / 2) (2 · 0.2 / 0.1 - 1)
  np.testing.assert_allclose(coeffs.gen, (0.05, -0.15, 0.0))


@pytest.mark.parametrize('order', [1, 2, 4])
def test_runge_kutta(order):
  """One step of y' = -y, whose h-th powers the rule has up to its order."""
  step_size = 0.1
  rule = optim.RungeKutta(lambda y, scale: (scale * y, scale), order)
  direction, aux = rule.grad(jnp.array([2.0]), step_size, [1.0] * order)
  y = 2.0 - step_size * direction
  terms = [(-step_size) ** k / np.prod(np.arange(1, k + 1)) for k in range(5)]
  np.testing.assert_allclose(y, [2 * sum(terms[: order + 1])], rtol=1e-6)
  assert aux == 1.0


def test_runge_kutta_with_the_first_arguments_for_all_stages():
  def grad_fn(y, scale):
    return scale * jnp.ones_like(y), None

  y = jnp.zeros(1)
  own, _ = optim.RungeKutta(grad_fn, 2).grad(y, 0.1, [1.0, 3.0])
  same, _ = optim.RungeKutta(grad_fn, 2, True).grad(y, 0.1, [1.0, 3.0])
  np.testing.assert_allclose(own, [2.0])
  np.testing.assert_allclose(same, [1.0])
  with pytest.raises(ValueError, match='3'):
    optim.RungeKutta(grad_fn, runge_kutta_order=3)


def softplus(x):
  return np.log1p(np.exp(x))


REAL = np.array([0.5, -1.0, 2.0])
SAMPLES = np.array([-0.3, 0.7, 1.1])
SIGMOID = [1 / (1 + np.exp(-x)) for x in (REAL, SAMPLES)]


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    (
      'discriminator_goodfellow_loss',
      softplus(-REAL).mean() + softplus(SAMPLES).mean(),
    ),
    ('generator_goodfellow_loss', softplus(-SAMPLES).mean()),
    ('generator_saturating_loss', -softplus(SAMPLES).mean()),
    (
      'discriminator_square_loss',
      ((REAL - 1) ** 2).mean() + (SAMPLES**2).mean(),
    ),
    ('generator_square_loss', -(SAMPLES**2).mean()),
    (
      'discriminator_square_loss_with_sigmoid',
      ((SIGMOID[0] - 1) ** 2).mean() + (SIGMOID[1] ** 2).mean(),
    ),
    ('generator_square_loss_with_sigmoid', -(SIGMOID[1] ** 2).mean()),
    ('wasserstein_discriminator_loss', SAMPLES.mean() - REAL.mean()),
    ('wasserstein_generator_loss', REAL.mean() - SAMPLES.mean()),
  ],
)
def test_losses(name, expected):
  output = getattr(losses, name)(jnp.asarray(REAL), jnp.asarray(SAMPLES))
  np.testing.assert_allclose(output.total, expected, rtol=1e-5)
  parts = sum(float(part) for part in output.components.values())
  np.testing.assert_allclose(parts, expected, rtol=1e-5)


def test_binary_cross_entropy():
  found = losses.binary_cross_entropy_loss(
    logits=jnp.asarray(REAL), targets=jnp.array([1.0, 0.0, 1.0])
  )
  expected = -np.mean(
    [np.log(SIGMOID[0][0]), np.log(1 - SIGMOID[0][1]), np.log(SIGMOID[0][2])]
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradient_penalty_of_a_linear_discriminator():
  weight = jnp.array([3.0, 4.0])
  penalty = losses.wgan_gradient_penalty_loss(
    lambda x: x @ weight,
    jax.random.PRNGKey(0),
    jnp.zeros((4, 2)),
    jnp.ones((4, 2)),
  )
  # The norm is 5 everywhere, but for the 1e-5 under its root.
  np.testing.assert_allclose(penalty, 16.0, rtol=1e-5)


def test_networks_are_there():
  for name in (
    *('CifarGenerator', 'CifarDiscriminator'),
    *('MnistGenerator', 'MnistDiscriminator'),
    *('SimpleMLP', 'ConvNet2D', 'ConvNet2DTranspose'),
    *('spectral_norm', 'no_op'),
  ):
    assert callable(getattr(nets, name))


def test_sampler_on_all_devices_and_on_one(setup):
  model, params, state, _ = setup
  keys = jax.random.split(jax.random.PRNGKey(1), DEVICES)
  params, state = jax.tree.map(
    lambda leaf: jnp.stack([leaf] * DEVICES), (params, state)
  )
  samples = model_utils.Sampler(model, params, state).sample_batch(3, keys)
  assert samples.shape == (DEVICES, 3, 2)
  single = model_utils.Sampler(
    model,
    *jax.tree.map(lambda leaf: leaf[0], (params, state)),
    pmap=False,
  )
  assert_close(single.sample_batch(batch_size=3, rng=keys[1]), samples[1])


def test_metrics():
  log_probs = np.log(np.array([[0.9, 0.1], [0.1, 0.9]] * 2))
  # Of each half: exp of the mean divergence from (1/2, 1/2).
  score = np.exp(0.9 * np.log(1.8) + 0.1 * np.log(0.2))
  mean, std = metric_utils.calculate_inception_scores_with_error_bars(
    log_probs, num_splits=2
  )
  np.testing.assert_allclose(mean, score, rtol=1e-6)
  np.testing.assert_allclose(std, 0, atol=1e-6)
  sigma = np.diag([1.0, 4.0])
  distance = metric_utils.calculate_frechet_distance(
    np.zeros(2), sigma, np.array([3.0, 0.0]), np.diag([4.0, 4.0])
  )
  np.testing.assert_allclose(distance, 9 + (1 - 2) ** 2, rtol=1e-6)
  pool = np.random.default_rng(0).standard_normal((60, 2))
  halves = [pool[:30], pool[30:]]
  mean, std = metric_utils.calculate_frechet_distance_with_error_bars(
    pool,
    [half.mean(axis=0) + [2.0, 0.0] for half in halves],
    [np.cov(half, rowvar=False) for half in halves],
  )
  np.testing.assert_allclose(mean, 4.0, rtol=1e-5)
  np.testing.assert_allclose(std, 0.0, atol=1e-5)


def test_data_processor_and_iterator():
  assert isinstance(data_utils.ImageProcessor, data_utils.DataProcessor)
  images = np.array([0, 51, 255], np.uint8)
  scaled = data_utils.ImageProcessor.preprocess(images)
  np.testing.assert_allclose(scaled, [-1.0, -0.6, 1.0], rtol=1e-6)
  shown = data_utils.ImageProcessor.postprocess(scaled)
  np.testing.assert_allclose(shown, [0.0, 0.2, 1.0], rtol=1e-6)
  iterator = data_utils.get_image_dataset(
    dataset_name='fashion_mnist_10k',
    split='train',
    batch_dims=[2, 3],
    processor=data_utils.ImageProcessor,
    shard_args=(4, 1),
    seed=1,
  )
  batch = next(iterator)
  assert isinstance(batch, np.ndarray)
  assert batch.shape == (2, 3, 28, 28, 1)
  assert -1 <= batch.min() < batch.max() <= 1
  assert np.any(next(iterator) != batch)


def test_tree_helpers():
  one = {'a': jnp.array([1.0, 2.0]), 'b': jnp.array(3.0)}
  two = {'a': jnp.array([0.5, -1.0]), 'b': jnp.array(2.0)}
  np.testing.assert_allclose(utils.tree_dot_product(one, two), 4.5)
  np.testing.assert_allclose(utils.tree_square_norm(one), 14.0)
  assert_close(
    utils.tree_add(one, two), {'a': np.array([1.5, 1.0]), 'b': np.array(5.0)}
  )
  assert_close(
    utils.tree_diff(one, two), {'a': np.array([0.5, 3.0]), 'b': np.array(1.0)}
  )
  assert_close(
    utils.tree_mul(one, -2.0),
    {'a': np.array([-2.0, -4.0]), 'b': np.array(-6.0)},
  )
  assert_close(
    utils.add_trees_with_coeff(one, two, 2.0),
    {'a': np.array([2.0, 0.0]), 'b': np.array(7.0)},
  )


def test_other_helpers():
  assert utils.any_non_zero((0.0, 0, 1e-9))
  assert not utils.any_non_zero((0.0, 0))
  # A traced coefficient may be anything.
  traced = []
  jax.jit(lambda c: traced.append(utils.any_non_zero((0.0, c))))(0.0)
  assert traced == [True]
  norms = utils.batch_l2_norms(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(norms, np.sqrt([25 + 1e-5, 1e-5]), rtol=1e-6)
  averaged = utils.average_dict_values({'a': jnp.array([1.0, 3.0]), 'b': 4.0})
  assert {k: float(v) for k, v in averaged.items()} == {'a': 2.0, 'b': 4.0}


def test_players_train_with_any_optax_optimiser(setup):
  """A loop of one's own on the published parts brings the loss down."""
  model, params, state, batch = setup
  optimizer = optax.adam(1e-2)
  opt_state = optimizer.init(params.disc)

  @jax.jit
  def step(params, state, opt_state, rng):
    grads = model.disc_loss_fn_disc_grads(params, state, batch, rng, True)
    update, opt_state = optimizer.update(grads, opt_state)
    loss, aux = model.disc_loss(params, state, batch, rng, True)
    disc = optax.apply_updates(params.disc, update)
    return params._replace(disc=disc), aux.state, opt_state, loss

  values = []
  for i in range(30):
    rng = jax.random.PRNGKey(i)
    params, state, opt_state, loss = step(params, state, opt_state, rng)
    values.append(float(loss))
  assert np.mean(values[-5:]) < np.mean(values[:5])
