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
"""Optimisers, and what each update rule lets the players see."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import drift_utils
from dd_two_player_games import experiment
from dd_two_player_games import gan
from dd_two_player_games import optim
from jaxline_harness import optimizers

Terms = drift_utils.PlayerRegularizationTerms
NO_COEFFS = gan.GANTuple(Terms(0.0, 0.0, 0.0), Terms(0.0, 0.0, 0.0))
DISC_FIRST = drift_utils.PlayerOrder.disc_first
GEN_FIRST = drift_utils.PlayerOrder.gen_first


# Update rules, on a calculator whose gradients say what they were given.


class Recorder(NamedTuple):
  """Gradients of known values; the losses count in the states."""

  calls: list
  shares_draws: bool = False

  def disc_grads(self, params, state, batch, rng, is_training, coeffs):
    call = ('disc', params, state, batch, rng, coeffs)
    return self._grads(call, is_training, 10.0 * params.gen + batch)

  def gen_grads(self, params, state, batch, rng, is_training, coeffs):
    call = ('gen', params, state, batch, rng, coeffs)
    return self._grads(call, is_training, 100.0 * params.disc + batch)

  def both_player_grads(
    self, params, state, disc_batch, gen_batch, rng_disc, rng_gen, *rest
  ):
    disc = self.disc_grads(params, state, disc_batch, rng_disc, *rest)
    gen = self.gen_grads(params, state, gen_batch, rng_gen, *rest)
    return gan.GANTuple(disc[0], gen[0]), gan.GANTuple(disc[1], gen[1])

  def regularisation_grads(
    self, player, params, state, batch, rng, is_training, coeffs
  ):
    call = ('after', player, params, batch, rng, coeffs)
    self.calls.append(call)
    if not any(coeffs):
      return None
    return sum(coeffs) * (10.0 + batch)

  def _grads(self, call, is_training, grads):
    assert is_training
    self.calls.append(call)
    return grads, gan.GANLossAux(
      _marked(call[2], call[0]), {f'{call[0]}_loss': call[3]}, {}
    )


def _marked(state, player):
  """Every part of the state says whose losses it went through."""
  return jax.tree.map(lambda text: f'{text}{player[0]}', state)


STATE = gan.GANState(
  players=gan.GANTuple('D', 'G'), param_transforms=gan.GANTuple('d', 'g')
)
PARAMS = gan.GANTuple(disc=1.0, gen=2.0)


def _coeffs(step, rate_scale=1.0):
  step *= rate_scale
  return gan.GANTuple(Terms(step, 0.0, 0.0), Terms(0.0, step, 0.0))


def _players(learning_rates=(0.1, 0.01)):
  recorder = Recorder([])
  optimizers = gan.GANTuple(*(optax.sgd(lr, 0.5) for lr in learning_rates))
  return optim.Players(recorder, optimizers, _coeffs), recorder.calls


def _start(players):
  return optim.TrainState(PARAMS, players.initial_opt_state(PARAMS), STATE, 7)


def _draw(k):
  return float(k), f'key {k}'


def _traces(train_state):
  """The momentum of both optimisers."""
  return [float(opt[0].trace) for opt in train_state.opt_state]


def test_simultaneous():
  players, calls = _players()
  rule = optim.simultaneous(players)
  assert rule.num_draws == 2
  train_state, logs = rule.step(_start(players), _draw)
  coeffs = _coeffs(7)
  # Both at the old params and states, each on its own draw.
  assert calls == [
    ('disc', PARAMS, STATE, 0.0, 'key 0', coeffs),
    ('gen', PARAMS, STATE, 1.0, 'key 1', coeffs),
  ]
  np.testing.assert_allclose(
    train_state.params, (1 - 0.1 * 20, 2 - 0.01 * 101), rtol=1e-6
  )
  assert _traces(train_state) == [20.0, 101.0]
  assert train_state.state == gan.GANState(
    players=gan.GANTuple('Dd', 'Gg'), param_transforms=gan.GANTuple('dd', 'gg')
  )
  assert train_state.global_step == 7
  assert logs == {'disc_loss': 0.0, 'gen_loss': 1.0}


def test_players_that_move_at_once_may_share_draws():
  players, calls = _players()
  recorder = players.grads_calculator._replace(shares_draws=True)
  players = players._replace(grads_calculator=recorder)
  rule = optim.simultaneous(players)
  assert rule.num_draws == 1
  rule.step(_start(players), _draw)
  assert [call[3:5] for call in calls] == [(0.0, 'key 0')] * 2
  calls.clear()
  zeros = jax.tree.map(lambda _: 0.0, _coeffs(7))
  rule = optim.runge_kutta(players, 2, lambda _: 0.1, zeros)
  assert rule.num_draws == 2
  rule.step(_start(players), _draw)
  drawn = [call[3:5] for call in calls if call[0] != 'after']
  assert drawn == [(0.0, 'key 0')] * 2 + [(1.0, 'key 1')] * 2


def test_alternating_disc_first():
  players, calls = _players()
  rule = optim.alternating(players, DISC_FIRST, gan.GANTuple(1, 1))
  assert rule.num_draws == 2
  train_state, logs = rule.step(_start(players), _draw)
  seen = PARAMS._replace(disc=1 - 0.1 * 20)
  assert [call[0] for call in calls] == ['disc', 'gen']
  np.testing.assert_allclose(calls[1][1], seen, rtol=1e-6)
  assert calls[1][2] == _marked(STATE, 'disc')
  assert [call[3:5] for call in calls] == [(0.0, 'key 0'), (1.0, 'key 1')]
  np.testing.assert_allclose(
    train_state.params, (-1.0, 2 - 0.01 * (100 * -1 + 1)), rtol=1e-6
  )
  assert train_state.state == _marked(_marked(STATE, 'disc'), 'gen')
  assert logs == {'disc_loss': 0.0, 'gen_loss': 1.0}


def test_alternating_gen_first_with_several_updates():
  players, calls = _players()
  rule = optim.alternating(players, GEN_FIRST, gan.GANTuple(disc=3, gen=2))
  assert rule.num_draws == 5
  train_state, logs = rule.step(_start(players), _draw)
  assert [call[0] for call in calls] == ['gen'] * 2 + ['disc'] * 3
  assert [call[3:5] for call in calls] == [_draw(k) for k in range(5)]
  # All updates of a step use the coefficients of the step.
  assert all(call[5] == _coeffs(7) for call in calls)
  # The generator's gradients 100 and 101, with momentum.
  gen = 2 - 0.01 * 100 - 0.01 * (101 + 50)
  np.testing.assert_allclose(calls[2][1], (1.0, gen), rtol=1e-5)
  trace, disc = 0.0, 1.0
  for k in (2, 3, 4):
    trace = 0.5 * trace + 10 * gen + k
    disc -= 0.1 * trace
  np.testing.assert_allclose(train_state.params, (disc, gen), rtol=1e-5)
  assert train_state.state.players.disc == 'Dggddd'
  assert logs == {'disc_loss': 4.0, 'gen_loss': 1.0}


# Runge-Kutta.


def _linear_field(seen):
  def grad_fn(params, offset, name):
    seen.append((params, offset, name))
    return 2.0 * params + offset, f'aux {name}'

  return grad_fn


def test_runge_kutta_4_combines_stages():
  seen = []
  rule = optim.RungeKutta(_linear_field(seen), 4)
  h, p = 0.1, np.float64(1.0)
  grads, aux = rule.grad(p, h, [1.0, 2.0, 3.0, 4.0], 'abcd')
  k1 = 2 * p + 1
  k2 = 2 * (p - h / 2 * k1) + 2
  k3 = 2 * (p - h / 2 * k2) + 3
  k4 = 2 * (p - h * k3) + 4
  np.testing.assert_allclose(grads, k1 / 6 + k2 / 3 + k3 / 3 + k4 / 6)
  assert aux == 'aux a'
  assert [call[1:] for call in seen] == [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')]
  assert rule.runge_kutta_order == 4


def test_runge_kutta_2_with_the_same_arguments():
  seen = []
  rule = optim.RungeKutta(_linear_field(seen), 2, same_args_to_grad_calls=True)
  grads, _ = rule.grad(np.float64(1.0), 0.1, [1.0, 50.0], ['a', 'b'])
  assert [call[1:] for call in seen] == [(1.0, 'a'), (1.0, 'a')]
  np.testing.assert_allclose(grads, (3.0 + 2 * 0.7 + 1) / 2)


def test_runge_kutta_1_is_the_gradient():
  grads, aux = optim.RungeKutta(_linear_field([]), 1).grad(3.0, 0.1, [1], ['a'])
  assert (grads, aux) == (7.0, 'aux a')


@pytest.mark.parametrize('order', [0, 3, 5])
def test_runge_kutta_of_another_order_is_an_error(order):
  with pytest.raises(ValueError, match=rf'{order} is not one of \[1, 2, 4\]'):
    optim.RungeKutta(_linear_field([]), order)


def _runge_kutta_step(after_coeffs):
  players, calls = _players()
  steps = []

  def step_size(global_step):
    steps.append(global_step)
    return 0.3

  rule = optim.runge_kutta(players, 2, step_size, after_coeffs)
  assert rule.num_draws == 4

  def mapped(_):
    # Averages over devices need the axis; texts stay outside it.
    results.append(rule.step(_start(players), _draw))
    return jnp.stack(results[0][0].params)

  results = []
  params = jax.vmap(mapped, axis_name='i')(jnp.zeros(1))
  assert steps == [7]
  return np.asarray(params)[0], *results[0], calls


# At the start, gradients (20, 100) plus the draws 0 and 2; then, at
# (1 - 0.3 · 20, 2 - 0.3 · 102), plus the draws 1 and 3.
COMBINED = (20 + 10 * (2 - 0.3 * 102) + 1) / 2, (102 + 100 * -5 + 3) / 2


def test_runge_kutta_rule():
  params, train_state, logs, calls = _runge_kutta_step(NO_COEFFS)
  stages = [call for call in calls if call[0] != 'after']
  assert [(call[0], *call[3:]) for call in stages] == [
    ('disc', 0.0, 'key 0', _coeffs(7)),
    ('gen', 2.0, 'key 2', _coeffs(7)),
    ('disc', 1.0, 'key 1', _coeffs(7)),
    ('gen', 3.0, 'key 3', _coeffs(7)),
  ]
  # Both players' stages step by the one step size, from the same state.
  np.testing.assert_allclose(
    stages[2][1], (1 - 0.3 * 20, 2 - 0.3 * 102), rtol=1e-6
  )
  assert all(call[2] == STATE for call in stages)
  # Each player's optimiser has its own learning rate.
  np.testing.assert_allclose(
    params, (1 - 0.1 * COMBINED[0], 2 - 0.01 * COMBINED[1]), rtol=1e-5
  )
  assert train_state.state.players == gan.GANTuple('Dd', 'Gg')
  assert train_state.state.param_transforms == gan.GANTuple('dd', 'gg')
  assert logs == {'disc_loss': 0.0, 'gen_loss': 2.0}


def test_runge_kutta_regularisers_after():
  coeffs = gan.GANTuple(disc=Terms(0.5, 0.0, 0.0), gen=Terms(0.0, 0.0, 2.0))
  params, _, _, calls = _runge_kutta_step(coeffs)
  after = [call for call in calls if call[0] == 'after']
  # At the initial params, with each player's first draw.
  assert after == [
    ('after', 'disc', PARAMS, 0.0, 'key 0', coeffs.disc),
    ('after', 'gen', PARAMS, 2.0, 'key 2', coeffs.gen),
  ]
  disc, gen = COMBINED[0] + 0.5 * 10, COMBINED[1] + 2.0 * 12
  np.testing.assert_allclose(
    params, (1 - 0.1 * disc, 2 - 0.01 * gen), rtol=1e-5
  )


# Coefficients from a config.


def _config(**training):
  config = base_config.get_base_config().experiment_kwargs.config
  config.training.update(training)
  return config


def _set(config, kind, player, **terms):
  config.training.grad_regularizes[kind][player].update(terms)


SCHEDULES = gan.GANTuple(
  disc=optax.piecewise_constant_schedule(0.4, {4: 0.5}),
  gen=optax.linear_schedule(0.1, 0.0, 10),
)


def _coefficients(config, step):
  fn = experiment.regularizer_coefficients(config, SCHEDULES)
  return fn(step)


def _is_python_zero(value):
  return isinstance(value, float) and value == 0.0


def test_coefficients_follow_the_schedule():
  config = _config(simultaneous_updates=True)
  _set(config, 'dd_coeffs_multiplier', 'disc', other_dot_prod=-1.0)
  _set(config, 'dd_coeffs_multiplier', 'gen', self_norm=2.0)
  for step, disc_rate, gen_rate in (
    (0, 0.4, 0.1),
    (3, 0.4, 0.07),
    (5, 0.2, 0.05),
  ):
    coeffs = _coefficients(config, step)
    np.testing.assert_allclose(
      coeffs, ([0, -disc_rate / 2, 0], [gen_rate, 0, 0]), rtol=1e-5
    )
    assert _is_python_zero(coeffs.disc.self_norm)
    assert _is_python_zero(coeffs.disc.other_norm)
    assert _is_python_zero(coeffs.gen.other_dot_prod)


def test_coefficients_of_a_traced_step_keep_python_zeros():
  config = _config(simultaneous_updates=True)
  _set(config, 'dd_coeffs_multiplier', 'disc', self_norm=1.0)
  seen = []
  jax.jit(lambda step: seen.append(_coefficients(config, step)))(3)
  assert not _is_python_zero(seen[0].disc.self_norm)
  others = [*seen[0].disc[1:], *seen[0].gen]
  assert all(map(_is_python_zero, others))


def test_explicit_coefficients_are_added():
  config = _config(simultaneous_updates=True)
  _set(config, 'dd_coeffs_multiplier', 'disc', self_norm=-1.0)
  _set(config, 'explicit_non_dd_coeffs', 'disc', self_norm=0.7, other_norm=0.3)
  _set(config, 'explicit_non_dd_coeffs', 'gen', other_dot_prod=-0.2)
  coeffs = _coefficients(config, 0)
  np.testing.assert_allclose(coeffs, ([0.5, 0, 0.3], [0, -0.2, 0]), rtol=1e-6)


def test_coefficients_count_a_players_own_updates():
  """The schedules are in updates, of which a step makes several."""
  config = _config(num_disc_updates=2, num_gen_updates=3)
  for player in ('disc', 'gen'):
    _set(
      config, 'dd_coeffs_multiplier', player, self_norm=1.0, other_dot_prod=1.0
    )
  # At step 2: 4 and 6 updates done.
  disc_rate, gen_rate = 0.2, 0.04
  np.testing.assert_allclose(
    _coefficients(config, 2),
    (
      [disc_rate / 4, disc_rate / 2, 0],
      [gen_rate / 6, gen_rate / 2 - disc_rate, 0],
    ),
    rtol=1e-5,
  )
  config.training.drift_convention = 'joint_flow'
  np.testing.assert_allclose(
    _coefficients(config, 2),
    (
      [disc_rate / 2, 3 * gen_rate / 2, 0],
      [gen_rate / 2, -2 * disc_rate / 2, 0],
    ),
    rtol=1e-5,
  )
  config.training.alternating_player_order = 'gen_first'
  np.testing.assert_allclose(
    _coefficients(config, 2),
    ([disc_rate / 2, -3 * gen_rate / 2, 0], [gen_rate / 2, disc_rate, 0]),
    rtol=1e-5,
  )


def test_named_regularizers():
  config = _config(simultaneous_updates=True)

  def coeffs_of(regularizers):
    config.training.grad_regularizes = regularizers
    return _coefficients(config, 0)

  np.testing.assert_allclose(
    coeffs_of(base_config.cancel_interaction_terms()),
    ([0, -0.2, 0], [0, -0.05, 0]),
  )
  np.testing.assert_allclose(
    coeffs_of(base_config.strengthen_self_terms()),
    ([0.2, 0, 0], [0.05, 0, 0]),
  )
  np.testing.assert_allclose(
    coeffs_of(base_config.consensus(3.0)), ([3, 0, 3], [3, 0, 3])
  )
  np.testing.assert_allclose(
    coeffs_of(base_config.sga(3.0)), ([0, -1.5, 1.5], [0, -1.5, 1.5])
  )


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_is_not_hidden(bad):
  pair = gan.GANTuple(
    optimizers.make_optimizer('sgd', 0.1, clip=0.5)[0], optax.lion(0.1)
  )
  players = optim.Players(None, pair, _coeffs)
  params = gan.GANTuple(*(np.ones(3, np.float32) for _ in range(2)))
  start = optim.TrainState(params, players.initial_opt_state(params), None, 7)
  grads = np.array([1.0, bad, 2.0], np.float32)
  apply = jax.jit(players.apply, static_argnums=0)
  for player in params._fields:
    moved = getattr(apply(player, start, grads).params, player)
    np.testing.assert_array_equal(np.isnan(moved), [False, True, False])


def test_rate_scale_is_a_factor_of_learning_rates():
  def trained(rates, scale):
    players, calls = _players(rates)
    players = players._replace(rate_scale=lambda train_state: scale)
    rule = optim.runge_kutta(players, 2, lambda step: rates[0], NO_COEFFS)
    return rule.step(_start(players), _draw)[0].params, calls

  params, calls = trained((0.1, 0.01), 0.5)
  expected, expected_calls = trained((0.05, 0.005), 1.0)
  np.testing.assert_allclose(params, expected)
  # The inner stages, too.
  np.testing.assert_allclose(calls[2][1], expected_calls[2][1])
  assert calls[2][-1] == _coeffs(7, 0.5)
