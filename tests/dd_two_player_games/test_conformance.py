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
"""Figures that the published code computes for fixed inputs."""

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
from differentiable_games import fields
from differentiable_games import rules
from differentiable_games import tableaus
from tests import marks
from tests.dd_two_player_games import conformance

RECORDED = conformance.recorded('two_player_gan')
RECORDED_IMAGES = conformance.recorded('image_gan')
PLAIN = 'mnist.no_op.no_regularisation'
LOSSES = ('disc_loss', 'gen_loss')
GEN_LOSSES = (
  'generator_saturating_loss',
  pytest.param('generator_goodfellow_loss', marks=pytest.mark.slow),
)
CROSS_GRADIENTS = (
  'disc_loss_fn_disc_grads',
  'disc_loss_fn_gen_grads',
  'gen_loss_fn_disc_grads',
  'gen_loss_fn_gen_grads',
)
TERMS = (
  'disc_grads_disc_norm',
  'disc_grads_gen_norm',
  'disc_grads_gen_dot_prod',
  'gen_grads_gen_norm',
  'gen_grads_disc_norm',
  'gen_grads_disc_dot_prod',
)
ESTIMATORS = (
  'biased_estimate_grad_fn',
  'unbiased_estimate_fn_different_device_results',
)
# LLVM's optimisations of programs that run once take longer than they save.
QUICK = {'xla_backend_optimization_level': 0}
NO_TERMS = drift_utils.PlayerRegularizationTerms(0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def _highest_precision():
  with jax.default_matmul_precision('highest'):
    yield


COEFFS = gan.GANTuple(
  disc=drift_utils.PlayerRegularizationTerms(0.3, -0.2, 0.1),
  gen=drift_utils.PlayerRegularizationTerms(-0.15, 0.25, 0.05),
)


def _compute(params, state, functions):
  """What functions of a GAN's loss give at the fixed inputs: one program."""

  def everything(*args):
    return {name: fn(*args, True) for name, fn in functions.items()}

  compiled = jax.jit(everything, compiler_options=QUICK)
  return compiled(params, state, conformance.points(0), jax.random.PRNGKey(4))


def _calculator(model, estimator):
  return gan_grads_calculator.GANGradsCalculator(
    model, getattr(regularizer_estimates, estimator), use_pmean=False
  )


@pytest.mark.parametrize('gen_loss', GEN_LOSSES)
def test_losses_and_cross_gradients(gen_loss):
  recorded = RECORDED[f'mlp_gan.{gen_loss}']
  model, params, state = conformance.mlp_gan(gen_loss)
  names = (*LOSSES, *CROSS_GRADIENTS)
  found = _compute(
    params, state, {name: getattr(model, name) for name in names}
  )
  for name in LOSSES:
    np.testing.assert_allclose(found[name][0], recorded[name], rtol=1e-5)
  for name in CROSS_GRADIENTS:
    conformance.assert_tree_matches(found[name], recorded[name])


# Each alone; the quick tests have them together, below.
@pytest.mark.slow
@pytest.mark.parametrize('estimator', ESTIMATORS)
@pytest.mark.parametrize('gen_loss', GEN_LOSSES)
def test_regulariser_terms(gen_loss, estimator):
  recorded = RECORDED[f'mlp_gan.{gen_loss}']
  model, params, state = conformance.mlp_gan(gen_loss)
  calculator = _calculator(model, estimator)
  found = _compute(
    params, state, {term: getattr(calculator, term) for term in TERMS}
  )
  for term in TERMS:
    conformance.assert_tree_matches(
      found[term], recorded[f'{estimator}.{term}']
    )


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('estimator', ESTIMATORS)
@pytest.mark.parametrize('gen_loss', GEN_LOSSES)
def test_regularised_gradients(gen_loss, estimator):
  recorded = RECORDED[f'mlp_gan.{gen_loss}']
  model, params, state = conformance.mlp_gan(gen_loss)
  calculator = _calculator(model, estimator)
  found = _compute(
    params,
    state,
    {
      'disc': lambda *args: calculator.disc_grads(*args, COEFFS)[0],
      'gen': lambda *args: calculator.gen_grads(*args, COEFFS)[0],
    },
  )
  conformance.assert_tree_matches(
    found['disc'], recorded[f'{estimator}.disc_grads.disc(0.3,-0.2,0.1)']
  )
  conformance.assert_tree_matches(
    found['gen'], recorded[f'{estimator}.gen_grads.gen(-0.15,0.25,0.05)']
  )


def _coefficients(drift_coeffs):
  multipliers = drift_utils.PlayerRegularizationTerms(1.0, -1.0, 0.0)
  return gan.GANTuple(
    *(
      drift_utils.PlayerRegularizationTerms(
        *(m * c for m, c in zip(multipliers, own, strict=True))
      )
      for own in drift_coeffs
    )
  )


def _trajectory_rule(name):
  """An update rule, and the regularisers' coefficients."""
  once = gan.GANTuple(1, 1)
  order = drift_utils.PlayerOrder.disc_first
  rates = gan.GANTuple(disc=0.05, gen=0.02)
  if name == 'runge_kutta4':
    optimizers = [optax.sgd(0.2)] * 2
    rule = rules.runge_kutta(optimizers, tableaus.RUNGE_KUTTA[4], 0.2)
    return rule, gan.GANTuple(NO_TERMS, NO_TERMS)
  at_once = name == 'simultaneous'
  drift = drift_utils.get_dd_coeffs(order, at_once, rates, once)
  optimizers = [optax.sgd(rate) for rate in rates]
  if at_once:
    return rules.simultaneous(optimizers), _coefficients(drift)
  rule = rules.alternating(optimizers, drift_utils.player_indices(order))
  return rule, _coefficients(drift)


@pytest.mark.optimised
@pytest.mark.parametrize(
  'name',
  marks.slow_but(
    ['simultaneous'],
    ['simultaneous', 'alternating_disc_first', 'runge_kutta4'],
  ),
)
def test_trajectories(name):
  recorded = RECORDED[f'trajectory.{name}']
  model, params, state = conformance.mlp_gan()
  rule, coeffs = _trajectory_rule(name)
  # One device, so both unbiased estimators are the same.
  unbiased = regularizer_estimates.unbiased_estimate_fn_lowest_variance
  field = fields.FirstOrderField(
    fields.Products(
      model.as_game(), *drift_utils.matrices_of(coeffs), unbiased, 'i'
    )
  )
  carry = rules.Carry(params, gan.memory_of(state), rule.init(params))
  num_steps = len(recorded['losses_after_each_step'])
  batches = jnp.stack(
    [conformance.points(t) for t in range(num_steps * rule.num_draws + 1)]
  )

  def step(number, carry):
    def draw(k):
      t = number * rule.num_draws + k + 1
      return batches[t], jax.random.fold_in(jax.random.PRNGKey(7), t)

    carry, _ = rule.step(field, draw, carry)
    args = conformance.points(0), jax.random.PRNGKey(4), False
    values = [
      getattr(model, name)(carry.params, gan.state_of(carry.memory), *args)[0]
      for name in LOSSES
    ]
    return carry, values

  mapped_step = jax.pmap(
    step,
    axis_name='i',
    in_axes=(None, 0),
    devices=jax.local_devices()[:1],
  )
  carry = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], carry)
  losses_after = []
  for number in range(num_steps):
    carry, values = mapped_step(number, carry)
    losses_after.append([value[0] for value in values])
  one = jax.tree.map(lambda leaf: leaf[0], carry)
  np.testing.assert_allclose(
    losses_after, recorded['losses_after_each_step'], rtol=1e-4
  )
  conformance.assert_tree_matches(one.params.disc, recorded['final_disc'])
  conformance.assert_tree_matches(one.params.gen, recorded['final_gen'])


@pytest.mark.parametrize(
  'name',
  sorted(RECORDED['losses(real=linspace(-2,3,7),fake=linspace(1,-4,7))']),
)
def test_losses(name):
  key = 'losses(real=linspace(-2,3,7),fake=linspace(1,-4,7))'
  recorded = RECORDED[key][name]
  output = getattr(losses, name)(jnp.linspace(-2, 3, 7), jnp.linspace(1, -4, 7))
  np.testing.assert_allclose(output.total, recorded['total'], rtol=1e-4)
  assert output.components.keys() == recorded['components'].keys()
  for component, value in output.components.items():
    np.testing.assert_allclose(
      value, recorded['components'][component], rtol=1e-4
    )


def test_wgan_gradient_penalty():
  def critic(x):
    return jnp.sin(x) @ jnp.array([1.0, 2.0])

  penalty = losses.wgan_gradient_penalty_loss(
    critic,
    jax.random.PRNGKey(3),
    conformance.points(1),
    conformance.points(2),
  )
  np.testing.assert_allclose(
    penalty, RECORDED['wgan_gradient_penalty'], rtol=1e-4
  )


@pytest.mark.parametrize('case', sorted(RECORDED['drift_coefficients']))
def test_drift_coefficients(case):
  rule, order, rest = case.split('.', 2)
  rates, num_updates = rest.removeprefix('lr').split('.updates')

  def parse(text, kind):
    return gan.GANTuple(*map(kind, text.strip('()').split(', ')))

  coeffs = drift_utils.get_dd_coeffs(
    drift_utils.PlayerOrder[order],
    rule == 'simultaneous',
    parse(rates, float),
    parse(num_updates, int),
  )
  for player, recorded in RECORDED['drift_coefficients'][case].items():
    for term, value in recorded.items():
      np.testing.assert_allclose(
        getattr(getattr(coeffs, player), term), value, rtol=1e-6, atol=1e-12
      )


def _image_gan(case, convolutions='fast'):
  cifar = case.startswith('cifar')
  prefix = 'Cifar' if cifar else 'Mnist'
  model = gan.GAN(
    players_hk=gan.GANTuple(
      disc=getattr(nets, f'{prefix}Discriminator'),
      gen=getattr(nets, f'{prefix}Generator'),
    ),
    losses=gan.GANTuple(
      disc=losses.discriminator_goodfellow_loss,
      gen=losses.generator_saturating_loss,
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(
      disc=nets.spectral_norm if cifar else nets.no_op, gen=None
    ),
    players_kwargs=gan.GANTuple({}, {}),
    num_latents=128,
    convolutions=convolutions,
  )
  batch = conformance.images((4, 32, 32, 3) if cifar else (4, 28, 28, 1), 0)
  return model, batch


def _drop_axis(tree):
  return jax.tree.map(lambda leaf: leaf[0], tree)


def _on_one_device(fn, *args):
  def mapped(*args):
    return jax.vmap(lambda: fn(*args), axis_name='i', axis_size=1)()

  # XLA's convolutions of float64 are loops, for LLVM to optimise.
  options = None if jax.config.jax_enable_x64 else QUICK
  return _drop_axis(jax.jit(mapped, compiler_options=options)(*args))


def _names(case, player):
  recorded = RECORDED_IMAGES[case][f'{player}_params']
  return [(p['module'], p['name']) for p in recorded]


def _image_inputs(case):
  """Parameters, state and batch of which the published code's figures are."""
  model, batch = _image_gan(case)
  params, state = jax.eval_shape(
    lambda batch: _drop_axis(
      jax.vmap(model.initial_params, (None, None), axis_name='i', axis_size=1)(
        jax.random.PRNGKey(0), batch
      )
    ),
    batch,
  )
  # Batch norm has seen nothing yet.
  state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)
  params = gan.GANTuple(
    disc=conformance.fill_tree(params.disc, _names(case, 'disc')),
    gen=conformance.fill_tree(params.gen, _names(case, 'gen')),
  )
  u0_names = list(RECORDED_IMAGES[case]['sn_u0_after_disc_update'])
  transform_state = {k: dict(v) for k, v in state.param_transforms.disc.items()}
  assert transform_state.keys() == set(u0_names)
  for k, name in enumerate(u0_names):
    u0 = conformance.fill(transform_state[name]['u0'].shape, k)
    transform_state[name]['u0'] = jnp.asarray(u0 / np.linalg.norm(u0))
  state = state._replace(
    param_transforms=gan.GANTuple(disc=transform_state, gen=None)
  )
  return params, state, batch


def _image_outputs(case, convolutions, *inputs):
  """Samples, and each player's gradient and aux."""
  model, _ = _image_gan(case, convolutions)
  key = jax.random.PRNGKey(11)
  coeffs = NO_TERMS
  if 'unbiased' in case:
    coeffs = drift_utils.PlayerRegularizationTerms(0.05, -0.1, 0.02)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.unbiased_estimate_fn_lowest_variance
  )

  def everything(params, state, batch):
    both = gan.GANTuple(coeffs, coeffs)
    args = params, state, batch, key, True, both
    samples, _ = model.sample(
      params.gen, state.players.gen, key, 4, {'is_training': True}
    )
    return samples, calculator.disc_grads(*args), calculator.gen_grads(*args)

  return _on_one_device(everything, *inputs)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('case', 'convolutions'),
  [
    (case, convolutions)
    for case in sorted(RECORDED_IMAGES)
    for convolutions in ('xla', 'fast')
    # Samples and losses are the same with regularisers, and the gradients are
    # part of theirs.
    if (case, convolutions) != (PLAIN, 'fast')
  ],
)
def test_image_networks(case, convolutions):
  """All figures by XLA's convolutions, all but gradients by fast ones too.

  Those round differently, and that turns some activation within rounding of a
  ReLU's kink, which the gradients of four images show.
  """
  recorded = RECORDED_IMAGES[case]
  params, state, batch = _image_inputs(case)
  samples, (disc_grads, disc_aux), (gen_grads, gen_aux) = _image_outputs(
    case, convolutions, params, state, batch
  )
  np.testing.assert_allclose(
    disc_aux.log_dict['disc_loss'], recorded['disc_loss'], rtol=1e-4
  )
  np.testing.assert_allclose(
    gen_aux.log_dict['gen_loss'], recorded['gen_loss'], rtol=1e-4
  )
  conformance.assert_matches(samples, recorded['samples'])
  for player, grads in (('disc', disc_grads), ('gen', gen_grads)):
    for (module, name), summary in zip(
      _names(case, player), recorded[f'{player}_grads'], strict=True
    ):
      if convolutions == 'xla':
        conformance.assert_matches(grads[module][name], summary)
      else:
        norm = np.linalg.norm(grads[module][name])
        np.testing.assert_allclose(norm, summary['l2'], rtol=5e-3, atol=1e-6)
  conformance.assert_tree_matches(
    gen_aux.state.players.gen, recorded['gen_state_after_gen_update']
  )
  for name, summary in recorded['sn_u0_after_disc_update'].items():
    u0 = disc_aux.state.param_transforms.disc[name]['u0']
    conformance.assert_matches(u0, summary)
    kept = gen_aux.state.param_transforms.disc[name]['u0']
    np.testing.assert_array_equal(kept, state.param_transforms.disc[name]['u0'])


# With regularisers the gradients without them are part of the program.
@pytest.mark.slow
@pytest.mark.parametrize(
  'case',
  [
    # XLA's convolutions of float64 are loops: those of many channels take
    # longer than to compile them.
    pytest.param(case, marks=pytest.mark.optimised if 'cifar' in case else [])
    for case in sorted({*RECORDED_IMAGES} - {PLAIN})
  ],
)
def test_image_networks_on_the_cpu(case):
  """The CPU's convolutions are XLA's, at any order of differentiation.

  In float64, where rounding turns no activation; of two images, for time.
  """
  params, state, batch = _image_inputs(case)
  inputs = params, state, batch[:2]
  with jax.enable_x64(True):
    inputs = jax.tree.map(
      lambda leaf: jnp.asarray(
        leaf, jnp.float64 if leaf.dtype == jnp.float32 else leaf.dtype
      ),
      inputs,
    )
    actual = _image_outputs(case, 'fast', *inputs)
    expected = _image_outputs(case, 'xla', *inputs)
  for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
    assert a.dtype == b.dtype
    # The gradient of a bias that batch norm takes away is zero but for 1e-19.
    tolerance = 1e-9 * np.abs(b).max() + 1e-15
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
