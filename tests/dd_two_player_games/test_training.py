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
"""Tests of what a config's steps are made of."""

import functools

import jax
import numpy as np
import optax
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import gan
from dd_two_player_games import training
from differentiable_games import examine
from differentiable_games import fields
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import tableaus
from differentiable_games import toy_games
from jaxline_harness import optimizers
from tests.dd_two_player_games import small_experiments

# The networks' states.


STATE = gan.GANState(
  players=gan.GANTuple('D', 'G'), param_transforms=gan.GANTuple('d', 'g')
)


def test_memory_has_an_entry_a_player():
  memory = gan.memory_of(STATE)
  assert memory == gan.GANTuple(('D', 'd'), ('G', 'g'))
  assert gan.state_of(memory) == STATE


class MarkingField:
  """A field that marks every part of the state it leaves with the player."""

  def __call__(self, params, memory, draws):
    passes = [
      draw and game.Pass(jax.tree.map(lambda t, i=i: t + 'DG'[i], memory), {})
      for i, draw in enumerate(draws)
    ]
    return fields.Evaluation([1.0, 1.0], passes)


@pytest.mark.parametrize(
  ('settings', 'players', 'transforms'),
  [
    # At once each player keeps its own network's and transform's state.
    ({'simultaneous_updates': True}, ('DD', 'GG'), ('dD', 'gG')),
    ({'runge_kutta_updates': True}, ('DD', 'GG'), ('dD', 'gG')),
    ({'update_rule': 'extragradient'}, ('DD', 'GG'), ('dD', 'gG')),
    # In turns the whole state goes from one update to the next.
    ({}, ('DDG', 'GDG'), ('dDG', 'gDG')),
    (
      {'alternating_player_order': 'gen_first', 'num_gen_updates': 2},
      ('DGGD', 'GGGD'),
      ('dGGD', 'gGGD'),
    ),
  ],
)
def test_who_may_change_which_state(settings, players, transforms):
  config = _config(**settings)
  params = gan.GANTuple(np.float32(1), np.float32(2))
  rule = training.build_rule(config, (optax.identity(),) * 2)
  carry = rules.Carry(params, gan.memory_of(STATE), rule.init(params))
  end, _ = rule.step(MarkingField(), lambda k: 'draw', carry)
  assert gan.state_of(end.memory) == gan.GANState(
    gan.GANTuple(*players), gan.GANTuple(*transforms)
  )


# Coefficients from a config.


def _config(**settings):
  config = base_config.get_base_config().experiment_kwargs.config
  config.training.update(settings)
  return config


def _set(config, kind, player, **terms):
  config.training.grad_regularizes[kind][player].update(terms)


SCHEDULES = gan.GANTuple(
  disc=optax.piecewise_constant_schedule(0.4, {4: 0.5}),
  gen=optax.linear_schedule(0.1, 0.0, 10),
)


def _coefficients(config, step):
  rates = training.learning_rates(config.training, SCHEDULES, step)
  return training.regularizer_coefficients(config.training, rates)


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


# Optimisers in a step.


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite_is_not_hidden(bad):
  grads = np.array([1.0, bad, 2.0], np.float32)
  for optimizer in (
    optimizers.make_optimizer('sgd', 0.1, clip=0.5)[0],
    optimizers.make_optimizer('sgd', 0.1, weight_clip=0.5)[0],
    optax.lion(0.1),
  ):
    scaled = optimizers.scale_updates(optimizer, 1.0)
    state = scaled.init(np.ones(3, np.float32))
    update, _ = jax.jit(scaled.update)(grads, state, np.ones(3, np.float32))
    np.testing.assert_array_equal(np.isnan(update), [False, True, False])


def test_updates_are_scaled_after_the_optimiser():
  scaled = optimizers.scale_updates(optax.adam(0.1), 0.5)
  grads = np.array([3.0, -0.2], np.float32)
  update, _ = scaled.update(grads, scaled.init(grads), grads)
  np.testing.assert_allclose(update, [-0.05, 0.05], rtol=1e-5)


@pytest.mark.parametrize(
  'make_rule',
  [
    rules.simultaneous,
    functools.partial(rules.alternating, order=(0, 1), num_updates=(5, 1)),
    functools.partial(
      rules.runge_kutta, tableau=tableaus.RUNGE_KUTTA[4], step_size=0.3
    ),
    rules.extragradient,
    rules.extrapolation_from_the_past,
    lambda each: rules.lookahead(rules.simultaneous(each), (2, 6)),
  ],
)
def test_every_rule_keeps_clipped_weights_in_their_bounds(make_rule):
  clipped, _ = optimizers.make_optimizer('sgd', 0.3, weight_clip=0.5)
  rule = make_rule(
    [optimizers.scale_updates(clipped, scale=0.5), optax.sgd(0.3)]
  )
  losses = toy_games.dirac_wgan()
  field = lambda params: game.simultaneous_gradient(losses, params)
  disc, gen = rules.trajectory(rule, field, (0.4, -2.0), num_steps=30)
  # The last digit of a sum.
  assert np.abs(disc).max() <= 0.5 + 1e-6
  assert np.abs(disc).max() > 0.49
  assert np.ptp(gen) > 1


# Fields by name.


@pytest.mark.slow
@pytest.mark.optimised
def test_sga_by_its_two_names_is_the_same():
  """As an adjustment, and by its coefficients: one method, the same numbers."""
  ends = []
  for settings in (
    {'adjustment': 'sga', 'adjustment_kwargs': {'lam': 0.6}},
    {'grad_regularizes': base_config.sga(0.6)},
  ):
    made = small_experiments.make(
      small_experiments.points_config(
        {'update_rule': 'simultaneous'} | settings
      )
    )
    small_experiments.train(made, 3)
    ends.append(made.snapshot_state())
  jax.tree.map(np.testing.assert_array_equal, *ends)


def test_terms_of_a_step_of_more_than_two_players_name_the_other():
  names = ('one', 'two', 'three')

  def loss(i):
    def value(params, memory, draw):
      total = sum((k + 1) * p**2 * draw for k, p in enumerate(params))
      return total * params[i], game.Pass(memory, {f'{names[i]}_loss': total})

    return value

  losses = [loss(i) for i in range(3)]

  def joint_losses(params, memory, draw):
    both = [own(params, memory, draw) for own in losses]
    values, passes = zip(*both, strict=True)
    return values, passes

  rows = [[0.5, 0.0, 0.1], [0.0, 0.0, 0.0], [0.0, np.inf, 0.0]]
  field = fields.FirstOrderField(
    fields.Products(
      game.Game(losses, joint_losses, names),
      rows,
      [[0.0] * 3] * 3,
      fields.Estimator(fields.keep_whole, average_stopped=False),
    )
  )
  is_finite = {}
  rule = rules.simultaneous([optax.sgd(0.1)] * 3)
  params = (np.float32(1), np.float32(2), np.float32(3))
  rule.step(
    examine.ExaminedField(field, is_finite),
    lambda k: np.float32(k + 1),
    rules.Carry(params, (None,) * 3, rule.init(params)),
  )
  assert {name: bool(value) for name, value in is_finite.items()} == {
    'one_loss': True,
    'gradient of one_loss': True,
    'self_norm term of one': True,
    'other_dot_prod with three term of one': True,
    'two_loss': True,
    'gradient of two_loss': True,
    'three_loss': True,
    'gradient of three_loss': True,
    'other_dot_prod with two term of three': False,
  }
