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
"""Update rules and adjustments of `differentiable_games`, in GANs."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import model_utils
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import training
from differentiable_games import game
from differentiable_games import rules
from jaxline_harness import device_mesh
from tests import marks
from tests.dd_two_player_games import small_experiments

Terms = drift_utils.PlayerRegularizationTerms
KEYS = jax.random.split(jax.random.PRNGKey(3), 8)
DATA = np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32)
RATES = gan.GANTuple(disc=0.1, gen=0.05)


class Smooth(hk.Module):
  """Without kinks, so that differences of second derivatives are small."""

  def __init__(self, out_dim=1):
    super().__init__(name='smooth')
    self._out_dim = out_dim

  def __call__(self, x, is_training=True):
    return hk.Linear(self._out_dim)(jnp.tanh(hk.Linear(5)(x)))


@functools.cache
def _model(latent_optimisation=None):
  return gan.GAN(
    players_hk=gan.GANTuple(Smooth, Smooth),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_goodfellow_loss
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {'out_dim': 2}),
    num_latents=3,
    latent_optimisation=latent_optimisation,
  )


@functools.cache
def _start(model):
  return jax.jit(model.initial_params)(KEYS[0], DATA[0])


def _evaluate(field, params, state, k=0):
  """Both players' directions and Passes, on one draw that they share."""
  draw = DATA[k], KEYS[k]
  directions, passes = jax.jit(field)(
    params, gan.memory_of(state), (draw, draw)
  )
  return gan.GANTuple(*directions), passes


def _adjusted(model, name, unrolled_steps=0, axis_name=None, **kwargs):
  """The field of a config that names an adjustment."""
  config = base_config.get_base_config().experiment_kwargs.config.training
  config.update(
    adjustment=name,
    unrolled_steps=unrolled_steps,
    estimator_fn='biased_estimate_fn_shared_draws',
  )
  config.adjustment_kwargs.update(kwargs)
  none = gan.GANTuple(*[Terms(0.0, 0.0, 0.0)] * 2)
  return training.build_field(config, model, none, RATES, axis_name)


def _assert_close(tree1, tree2, rtol=1e-4, atol=1e-6):
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    tree1,
    tree2,
  )


@pytest.mark.parametrize(
  ('name', 'kwargs', 'terms'),
  [
    ('none', {}, Terms(0.0, 0.0, 0.0)),
    ('sga', {'lam': 0.6}, Terms(0.0, -0.3, 0.3)),
    (
      'consensus',
      {'gamma': 0.6},
      Terms(self_norm=0.6, other_dot_prod=0.0, other_norm=0.6),
    ),
  ],
)
def test_games_of_two_players_are_those_of_the_gan_calculator(
  name, kwargs, terms
):
  model = _model()
  start = _start(model)
  grads, passes = _evaluate(_adjusted(model.as_game(), name, **kwargs), *start)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, regularizer_estimates.biased_estimate_grad_fn, use_pmean=False
  )
  draw = DATA[0], DATA[0], KEYS[0], KEYS[0]
  grads_fn = jax.jit(calculator.both_player_grads, static_argnums=6)
  expected, aux = grads_fn(*start, *draw, True, gan.GANTuple(terms, terms))
  _assert_close(grads, expected)
  for own, own_aux in zip(passes, aux, strict=True):
    _assert_close(gan.state_of(own.memory), own_aux.state)
    _assert_close(own.logs, own_aux.log_dict)


@pytest.mark.slow
def test_competitive_solves_its_system():
  model = _model()
  params, state = _start(model)
  field = _adjusted(model.as_game(), 'competitive', tolerance=1e-6)
  grads, _ = _evaluate(field, params, state)
  plain = _adjusted(model.as_game(), 'none')
  draw = DATA[0], KEYS[0]

  @jax.jit
  def derivative(params, along):
    def gradient(params):
      directions, _ = plain(params, gan.memory_of(state), (draw, draw))
      return gan.GANTuple(*directions)

    return jax.jvp(gradient, (params,), (along,))

  # d_i + rate_j J_ij d_j = xi_i: the derivative along the other's step alone.
  for player, other in (('disc', 'gen'), ('gen', 'disc')):
    zeros = optax.tree.zeros_like(params)
    step = optax.tree.scale(getattr(RATES, other), getattr(grads, other))
    xi, along = derivative(params, zeros._replace(**{other: step}))
    total = optax.tree.add(getattr(grads, player), getattr(along, player))
    _assert_close(total, getattr(xi, player))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'kwargs', 'unrolled_steps'),
  [
    pytest.param('sga', {'lam': 0.6, 'align': True}, 0, marks=pytest.mark.slow),
    ('consensus', {'gamma': 0.6}, 0),
    pytest.param(
      *('competitive', {'max_iterations': 20, 'tolerance': 1e-6}, 0),
      marks=pytest.mark.slow,
    ),
    pytest.param('none', {}, 2, marks=pytest.mark.slow),
  ],
)
def test_devices_adjust_the_mean_of_their_losses(name, kwargs, unrolled_steps):
  model = _model()
  params, state = _start(model)
  memory = gan.memory_of(state)

  def directions(field, draw):
    return gan.GANTuple(*field(params, memory, (draw, draw)).directions)

  field = _adjusted(model.as_game(), name, unrolled_steps, 'i', **kwargs)
  found = jax.pmap(
    lambda *draw: directions(field, draw),
    axis_name='i',
  )(DATA[:4], KEYS[:4])

  def average_draws(loss):
    """A loss, or losses, that are the mean over the devices' draws."""

    def mean(params, memory, draws):
      values, passes = jax.vmap(lambda *draw: loss(params, memory, draw))(
        *draws
      )
      return jax.tree.map(jnp.mean, values), passes

    return mean

  of_draws = model.as_game()
  mean = game.Game(
    [average_draws(loss) for loss in of_draws.losses],
    average_draws(of_draws.joint_losses),
    of_draws.names,
  )
  expected = jax.jit(
    lambda: directions(
      _adjusted(mean, name, unrolled_steps, **kwargs), (DATA[:4], KEYS[:4])
    )
  )()
  for device in range(4):
    own = jax.tree.map(lambda leaf, k=device: leaf[k], found)
    _assert_close(own, expected)


def test_unrolled_generator_differentiates_through_the_discriminators_step():
  model = _model()
  params, state = _start(model)
  grads, _ = _evaluate(_adjusted(model.as_game(), 'none', 1), params, state)
  args = state, DATA[0], KEYS[0], True

  def generator_loss(gen):
    moved = params._replace(gen=gen)
    own = model.disc_loss_fn_disc_grads(moved, *args)
    disc = jax.tree.map(lambda p, g: p - RATES.disc * g, params.disc, own)
    return model.gen_loss(gan.GANTuple(disc, gen), *args)[0]

  _assert_close(grads.gen, jax.jit(jax.grad(generator_loss))(params.gen))
  own = jax.jit(lambda p: model.disc_loss_fn_disc_grads(p, *args))(params)
  _assert_close(grads.disc, own)


# Rules.


def _draw(k):
  return DATA[k], KEYS[k]


def _carry(rule, model):
  params, state = _start(model)
  return rules.Carry(params, gan.memory_of(state), rule.init(params))


def _descended(params, grads):
  return gan.GANTuple(
    *(
      jax.tree.map(lambda p, g, r=rate: p - r * g, own, own_grads)
      for own, own_grads, rate in zip(params, grads, RATES, strict=True)
    )
  )


def test_extragradient_steps_from_the_start_by_what_it_saw_ahead():
  model = _model()
  field = _adjusted(model.as_game(), 'none')
  rule = rules.extragradient([*map(optax.sgd, RATES)], share_draws=True)
  assert rule.num_draws == 2
  start = _carry(rule, model)
  end, logs = jax.jit(lambda start: rule.step(field, _draw, start))(start)
  state = gan.state_of(start.memory)

  @functools.partial(jax.jit, static_argnums=1)
  def gradient(params, k):
    return _evaluate(field, params, state, k)[0]

  ahead = _descended(start.params, gradient(start.params, 0))
  _assert_close(end.params, _descended(start.params, gradient(ahead, 1)))
  first, _ = model.disc_loss(start.params, state, *_draw(0), True)
  np.testing.assert_allclose(logs['disc_loss'], first, rtol=1e-5)


def test_lookahead_goes_on_from_the_mean_of_its_steps():
  model = _model()
  field = _adjusted(model.as_game(), 'none')
  fast = rules.simultaneous([*map(optax.sgd, RATES)], share_draws=True)
  rule = rules.lookahead(fast, [2], 0.25)
  state, expected = _carry(rule, model), _carry(fast, model)
  start = state.params
  step, fast_step = (
    jax.jit(lambda s, r=r: r.step(field, _draw, s)[0]) for r in (rule, fast)
  )
  state, expected = step(state), fast_step(expected)
  _assert_close(state.params, expected.params)
  _assert_close(rule.evaluated(state), start)
  state, expected = step(state), fast_step(expected)
  mean = jax.tree.map(lambda s, p: s + 0.25 * (p - s), start, expected.params)
  _assert_close(state.params, mean)
  _assert_close(rule.evaluated(state), mean)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'booleans'),
  [
    ('simultaneous', {'simultaneous_updates': True}),
    ('runge_kutta', {'runge_kutta_updates': True}),
    ('alternating', {}),
  ],
)
def test_names_of_the_published_rules(name, booleans):
  named, published = (
    _program(small_experiments.make(small_experiments.points_config(settings)))
    for settings in ({'update_rule': name}, booleans)
  )
  assert named == published


def _program(made):
  """The text of what trains an experiment."""
  return made.lower_chunk(device_mesh.make_mesh()).as_text()


@pytest.mark.slow
def test_a_tableau_of_the_config_is_that_of_the_order():
  heun, own, ralston = (
    small_experiments.make(
      small_experiments.points_config({'update_rule': 'runge_kutta'} | settings)
    )
    for settings in (
      {'runge_kutta_order': 2},
      {'runge_kutta_tableau': [[0.5, 0.5], [[1.0]]]},
      {'runge_kutta_tableau': [[0.25, 0.75], [[2 / 3]]]},
    )
  )
  assert _program(heun) == _program(own)
  ends = []
  for made in (heun, ralston):
    small_experiments.train(made, 2)
    ends.append(made.snapshot_state()['train_state'].params)
  assert 0 < optax.tree.norm(optax.tree.sub(*ends)) < 0.1


# Latent optimisation.


def test_latents_move_towards_a_higher_score():
  model, plain = _model(gan.LatentOptimisation(0.3, 0.5)), _model()
  params, state = _start(model)
  args = state, DATA[0], KEYS[1], True
  z = jax.random.uniform(KEYS[1], (8, 3), minval=-1.0)

  def score(z):
    samples, _ = plain._gen.apply(params.gen, state.players.gen, z)
    return plain._disc.apply(params.disc, state.players.disc, samples)[0]

  g = jax.grad(lambda z: score(z).sum())(z)
  square = jnp.sum(g**2, axis=1, keepdims=True)
  moved = jnp.clip(z + 0.3 * g / (0.5 + square), -1, 1)
  assert np.mean(score(moved)) > np.mean(score(z))
  loss = losses.generator_goodfellow_loss(score(moved), score(moved)).total
  np.testing.assert_allclose(model.gen_loss(params, *args)[0], loss, rtol=1e-5)
  samples, _ = model.sample(params.gen, state.players.gen, KEYS[1], 8, {})
  expected, _ = plain._gen.apply(params.gen, state.players.gen, z)
  np.testing.assert_allclose(samples, expected, rtol=1e-5)


def test_discriminator_gets_the_gradient_through_the_move():
  model = _model(gan.LatentOptimisation(0.3))
  params, state = _start(model)
  args = state, DATA[0], KEYS[1], True
  loss = jax.jit(lambda p: model.gen_loss(p, *args)[0])
  along = jax.jit(jax.grad(loss))(params)
  size = 1e-2
  for player, own in along._asdict().items():
    step = optax.tree.scale(size / optax.tree.norm(own), own)
    ends = (
      loss(params._replace(**{player: optax.tree.add(mine, step)}))
      - loss(params._replace(**{player: optax.tree.sub(mine, step)}))
      for mine in [getattr(params, player)]
    )
    (difference,) = ends
    np.testing.assert_allclose(
      difference / (2 * size), optax.tree.norm(own), rtol=0.02
    )


# The experiment.


TO_ZERO = {'end_value': 0.0, 'transition_steps': 4}


@pytest.mark.slow
def test_schedules_of_extragradient_count_steps():
  """Its optimisers see two gradients a step, both at the step's rate."""
  config = small_experiments.points_config(
    {'update_rule': 'extragradient'},
    {'scheduler': 'linear_schedule', 'scheduler_kwargs': TO_ZERO},
  )
  made = small_experiments.make(config)
  small_experiments.train(made, 3)
  before = made.snapshot_state()['train_state'].params
  small_experiments.train(made, 4)
  after = made.snapshot_state()['train_state'].params
  assert optax.tree.norm(optax.tree.sub(after, before)) > 0
  small_experiments.train(made, 5)
  _assert_close(made.snapshot_state()['train_state'].params, after, 0, 0)


DYNAMICS = {
  'extragradient': {'update_rule': 'extragradient'},
  'from_the_past': {'update_rule': 'extrapolation_from_the_past'},
  'lookahead': {
    'update_rule': 'simultaneous',
    'lookahead_periods': [2, 4],
  },
  'average': {
    'update_rule': 'extragradient',
    'lookahead_periods': [2],
    'generator_average': 0.75,
  },
  'competitive': {
    'adjustment': 'competitive',
    'adjustment_kwargs': {'max_iterations': 3},
  },
  'adaptive_competitive': {
    'adjustment': 'adaptive_competitive',
    'lookahead_periods': [2],
  },
  'follow_the_ridge': {
    'update_rule': 'simultaneous',
    'adjustment': 'follow_the_ridge',
    'adjustment_kwargs': {'leader': 1, 'max_iterations': 3},
  },
  'lola_unrolled': {
    'adjustment': 'lola',
    'unrolled_steps': 2,
  },
  'logan': {
    'update_rule': 'simultaneous',
    'latent_optimisation': {'alpha': 0.5, 'beta': 1.0},
  },
  'aligned_sga': {
    'update_rule': 'runge_kutta',
    'runge_kutta_order': 2,
    'adjustment': 'sga',
    'adjustment_kwargs': {'lam': 0.5, 'align': True},
  },
}


# The others are slow.
QUICK = ('follow_the_ridge',)


@pytest.mark.slow
@pytest.mark.parametrize('name', marks.slow_but(QUICK, DYNAMICS))
def test_chunks_and_restarts_change_no_bit(name):
  """In one object; test_restarts.py goes on in another, too."""
  made = small_experiments.make(small_experiments.points_config(DYNAMICS[name]))
  made.ensure_train_state()
  start = made.snapshot_state()
  small_experiments.train(made, 6)
  expected = made.snapshot_state()
  small_experiments.assert_devices_agree(made.train_state)
  made.restore_from_snapshot(start)
  small_experiments.train(made, 5, chunk=2)
  part = made.snapshot_state()
  for restarted in (False, True):
    if restarted:
      made.restore_from_snapshot(part)
    small_experiments.train(made, 6)
    jax.tree.map(np.testing.assert_array_equal, made.snapshot_state(), expected)


@pytest.mark.slow
def test_adaptive_competitive_trains_to_its_tolerance(caplog):
  training_settings = {
    'adjustment': 'adaptive_competitive',
    'adjustment_kwargs': {'tolerance': 1e-2},
    'simultaneous_updates': True,
  }
  made = small_experiments.make(
    small_experiments.points_config(training_settings)
  )
  logs = small_experiments.train(made, 3)
  assert 0 < logs[training.RESIDUAL] <= 1e-2
  assert logs[training.ITERATIONS] >= 1
  state = made.snapshot_state()['train_state']
  assert [own.num_gradients for own in state.opt_state.remembered] == [3, 3]
  assert 'residual' not in caplog.text
  # The warning, given once.
  for _ in range(2):
    made.measure({training.RESIDUAL: 0.1, training.ITERATIONS: 200.0})
  assert caplog.text.count("solver's residual is 0.1 after 200 it") == 1


@pytest.mark.slow
@pytest.mark.parametrize('name', ['competitive', 'logan'])
def test_batch_norm_and_spectral_norm(name):
  made = small_experiments.make(
    small_experiments.images_config(
      training={'batch_size': 8, 'num_latents': 4} | DYNAMICS[name]
    )
  )
  made.ensure_train_state()
  start = made.snapshot_state()['train_state'].state
  small_experiments.train(made, 2)
  end = made.snapshot_state()['train_state'].state
  for old, new in zip(
    jax.tree.leaves(start), jax.tree.leaves(end), strict=True
  ):
    assert np.isfinite(new).all()
    assert not np.array_equal(old, new)
  small_experiments.assert_devices_agree(made.train_state)


@pytest.mark.slow
def test_lookahead_evaluates_the_slow_parameters(tmp_path):
  config = small_experiments.points_config(
    {'update_rule': 'simultaneous', 'lookahead_periods': [3]}
  )
  made = small_experiments.make(config)
  made.ensure_train_state()
  before = made._samples(4, KEYS[0])
  small_experiments.train(made, 2)
  np.testing.assert_array_equal(made._samples(4, KEYS[0]), before)
  small_experiments.train(made, 3)
  assert np.abs(made._samples(4, KEYS[0]) - before).max() > 0


def test_a_generator_average_is_evaluated_beside_the_parameters():
  decay = 0.5
  made = small_experiments.make(
    small_experiments.points_config(
      {'update_rule': 'simultaneous', 'generator_average': decay}
    )
  )
  made.ensure_train_state()
  expected = made.snapshot_state()['train_state'].params.gen
  for step in (1, 2):
    small_experiments.train(made, step)
    state = made.snapshot_state()['train_state']
    expected = jax.tree.map(
      lambda mean, x: decay * mean + (1 - decay) * x, expected, state.params.gen
    )
  trainer = made._trainer
  assert trainer.evaluated(state).disc is state.params.disc
  assert trainer.last(state) is state.params
  _assert_close(trainer.evaluated(state).gen, expected, 1e-6, 1e-7)
  metrics = made.evaluate(global_step=2, rng=None, writer=None)
  for prefix, gen in (('', expected), ('last/', state.params.gen)):
    sampler = model_utils.Sampler(
      *(made._gan, state.params._replace(gen=gen), state.state), pmap=False
    )
    samples = sampler.sample_batch(10_000, made._eval_key)
    found = data_utils.point_metrics('mixture_of_gaussians', samples)
    assert metrics.items() >= {prefix + k: v for k, v in found.items()}.items()
  assert len(metrics) == 2 * len(found)
  # The metrics of so young generators may be the same.
  pictured = made._samples(10_000, made._eval_key)
  assert np.abs(pictured - samples).max() > 0
