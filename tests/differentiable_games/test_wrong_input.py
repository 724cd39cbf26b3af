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
"""Tests of what the library makes of input that is wrong, or on the edge."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import adjustments
from differentiable_games import diagnostics
from differentiable_games import fields
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import remembering
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import tableaus
from differentiable_games import toy_games
from differentiable_games import unrolling

LOSSES = toy_games.bilinear(np.array([[1.0, 0.5], [-0.3, 2.0]], np.float32))


def _pair(dtype=jnp.float32):
  return jnp.ones(2, dtype), jnp.array([0.5, -1.0], dtype)


def _three():
  loss = lambda p: sum(jnp.sum(own**2) for own in p)
  return [loss] * 3, (jnp.ones(1),) * 3


# Numbers of players.


@pytest.mark.parametrize(
  'use',
  [
    lambda g, p: game.simultaneous_gradient(g[:2], p),
    lambda g, p: jacobian.jacobian_product(g[:2], p, p),
    lambda g, p: jacobian.transposed_jacobian_product(g[:2], p, p),
    lambda g, p: adjustments.drift_adjusted(g, p, [[0.1] * 3] * 2),
    lambda g, p: adjustments.drift_adjusted(g, p, [[0.1] * 2] * 3),
    lambda g, p: adjustments.drift_adjusted(g[:2], p, [[0.1] * 3] * 3),
    lambda g, p: adjustments.symplectic_gradient(g[:2], p, 0.1),
    lambda g, p: adjustments.consensus(g[:2], p, 0.1),
    lambda g, p: adjustments.lola(g[:2], p, (0.1,) * 3),
    lambda g, p: adjustments.lola(g, p, (0.1,) * 2),
    lambda g, p: solved_adjustments.competitive(g[:2], p, (0.1,) * 3),
    lambda g, p: solved_adjustments.competitive(g, p, (0.1,) * 2),
    lambda g, p: solved_adjustments.competitive(
      g, p, (0.1,) * 3, zero_sum=True
    ),
    lambda g, p: solved_adjustments.follow_the_ridge(g, p, (0.1,) * 3),
    lambda g, p: diagnostics.is_local_minmax(g, p),
    lambda g, p: diagnostics.is_local_nash(g[:2], p),
  ],
)
def test_numbers_of_players_must_agree(use):
  with pytest.raises(ValueError, match='player'):
    use(*_three())


def _gradient_field(params):
  return game.simultaneous_gradient(_lone_losses(), params)


def _lone_losses():
  """Of two players of whom one may be without parameters."""

  def loss(params):
    first, second = (sum(map(jnp.sum, jax.tree.leaves(p))) for p in params)
    return (first - 1.0) ** 2 + 3.0 * first * second - second**2

  return game.zero_sum(loss)


TAKES_PLAYERS = {
  'player_gradient': lambda g, p: game.player_gradient(g[0], p, 0),
  'gradient': game.simultaneous_gradient,
  'joint_gradients': lambda g, p: game.joint_gradients(
    lambda p: (tuple(loss(p) for loss in g), None), p
  )[0]([1.0, 0.0], 0),
  'replace_player': lambda g, p: game.replace_player(p, 0, jnp.ones(2)),
  'row_product': lambda g, p: jacobian.row_product(g, p, 0, p),
  'jacobian_product': lambda g, p: jacobian.jacobian_product(g, p, p),
  'transposed': lambda g, p: jacobian.transposed_jacobian_product(g, p, p),
  'linearized_row': lambda g, p: jacobian.linearized_row(g, p, 0, [0])(p[0]),
  'dense_jacobian': jacobian.dense_jacobian,
  'drift': lambda g, p: adjustments.drift_adjusted(g, p, [[0.1] * 2] * 2),
  'sga': lambda g, p: adjustments.symplectic_gradient(g, p, 0.1, align=True),
  'consensus': lambda g, p: adjustments.consensus(g, p, 0.1, align=True),
  'lola': lambda g, p: adjustments.lola(g, p, (0.1, 0.1), anticipate=True),
  'competitive': lambda g, p: solved_adjustments.solve_competitive(
    g, p, (0.1, 0.1)
  ),
  'competitive_zero_sum': lambda g, p: solved_adjustments.solve_competitive(
    g, p, (0.1, 0.1), zero_sum=True
  ),
  'ridge': lambda g, p: solved_adjustments.solve_ridge(g, p, (0.1, 0.1)),
  'unrolled': lambda g, p: jax.grad(
    unrolling.unrolled_loss(g, 0, 1, optax.sgd(0.1), 2)
  )(p),
  'energy_split': diagnostics.energy_split,
  'is_local_nash': diagnostics.is_local_nash,
  'is_local_minmax': diagnostics.is_local_minmax,
  'flow': lambda g, p: flows.integrate(
    flows.flow_of_descent(g, (0.1, 0.1)), p, 1.0, rtol=1e-3, atol=1e-4
  ),
  'rule': lambda g, p: rules.trajectory(
    rules.extragradient([optax.sgd(0.1)] * 2), _gradient_field, p, 2
  ),
  'rule_init': lambda g, p: rules.alternating(
    [optax.sgd(0.1)] * 2, (0, 1)
  ).init(p),
}


@pytest.mark.parametrize('name', TAKES_PLAYERS)
def test_players_come_in_order(name):
  players = {'disc': jnp.ones(2), 'gen': jnp.ones(2)}
  for params in (players, jnp.ones((2, 2))):
    with pytest.raises(TypeError, match='params must be a tuple, named tuple'):
      TAKES_PLAYERS[name](_lone_losses(), params)


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize('name', TAKES_PLAYERS)
def test_players_without_parameters(name):
  found = TAKES_PLAYERS[name](_lone_losses(), (jnp.full(1, 0.5), ()))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_a_lone_player_follows_its_own_gradient():
  losses = _lone_losses()
  for params, own in (((jnp.full(1, 0.5), ()), -1.0), (({}, jnp.ones(1)), 2.0)):
    expected = jnp.full(1, own)
    for name in ('gradient', 'lola', 'competitive_zero_sum', 'ridge'):
      found = TAKES_PLAYERS[name](losses, params)
      found = getattr(found, 'direction', found)
      np.testing.assert_allclose(jax.tree.leaves(found)[0], expected)


def test_a_lone_player_s_minimum():
  params = (jnp.ones(1), ())
  assert diagnostics.is_local_nash(_lone_losses(), params)
  assert diagnostics.is_local_minmax(_lone_losses(), params)
  with pytest.raises(TypeError, match=r'params\[1\] is None'):
    diagnostics.is_local_nash(_lone_losses(), (jnp.ones(1), None))


def test_complex_parameters_are_refused():
  params = (jnp.ones(2, jnp.complex64), jnp.ones(2))
  losses = [lambda p: jnp.sum(jnp.abs(p[0]) ** 2) + jnp.sum(p[1] ** 2)] * 2
  for use in (
    lambda: game.simultaneous_gradient(losses, params),
    lambda: adjustments.consensus(losses, params, 0.1),
  ):
    with pytest.raises(TypeError, match=r'params\[0\] is complex'):
      use()


# NaN.


@pytest.mark.parametrize('verdict', ['is_local_nash', 'is_local_minmax'])
def test_nan_is_never_the_good_verdict(verdict):
  judge = getattr(diagnostics, verdict)
  good = game.zero_sum(lambda p: jnp.sum(p[0] ** 2) - jnp.sum(p[1] ** 2))
  origin = (jnp.zeros(1), jnp.zeros(1))
  assert judge(good, origin)
  for bad in (jnp.nan, jnp.inf):
    assert not judge(good, (jnp.full(1, bad), jnp.zeros(1)))
    curved = game.zero_sum(
      lambda p, bad=bad: jnp.sum(bad * p[0] ** 2) - jnp.sum(p[1] ** 2)
    )
    assert not judge(curved, origin)


# Types of rates and parameters.


ADJUSTED = {
  'drift': lambda p, h: adjustments.drift_adjusted(LOSSES, p, [[0, h], [h, 0]]),
  'sga': lambda p, h: adjustments.symplectic_gradient(LOSSES, p, h, align=True),
  'consensus': lambda p, h: adjustments.consensus(LOSSES, p, h, align=True),
  'lola': lambda p, h: adjustments.lola(LOSSES, p, (h, h), anticipate=True),
  'competitive': lambda p, h: solved_adjustments.competitive(
    LOSSES, p, (h, h), max_iterations=4
  ),
  'competitive_zero_sum': lambda p, h: solved_adjustments.competitive(
    LOSSES, p, (h, h), zero_sum=True
  ),
  'follow_the_ridge': lambda p, h: solved_adjustments.follow_the_ridge(
    LOSSES, p, (h, h)
  ),
}
RATES = {
  'python': 0.1,
  'numpy': np.float64(0.1),
  'jax': jnp.float32(0.1),
}


@functools.cache
def _adjusted(name, x64):
  with jax.enable_x64(x64):
    return ADJUSTED[name](_pair(), 0.1)


@pytest.mark.quick_cases(12)
@pytest.mark.parametrize('x64', [False, True])
@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize('name', ADJUSTED)
def test_adjustments_keep_the_types_of_parameters(name, rate, x64):
  with jax.enable_x64(x64):
    found = ADJUSTED[name](_pair(), RATES[rate])
    assert [own.dtype for own in found] == [jnp.float32] * 2
    for own, other in zip(found, _adjusted(name, x64), strict=True):
      np.testing.assert_allclose(own, other, rtol=1e-5)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
  'name', ['drift', 'sga', 'consensus', 'lola', 'competitive_zero_sum']
)
def test_adjustments_of_half_precision(name, dtype):
  found = ADJUSTED[name](_pair(dtype), jnp.float32(0.1))
  assert [own.dtype for own in found] == [dtype] * 2


MAKE_RULE = {
  'simultaneous': rules.simultaneous,
  'alternating': lambda o: rules.alternating(o, (0, 1)),
  'runge_kutta': lambda o: rules.runge_kutta(
    o, tableaus.RUNGE_KUTTA[4], np.float64(0.1)
  ),
  'extragradient': rules.extragradient,
  'from_the_past': rules.extrapolation_from_the_past,
  'lookahead': lambda o: rules.lookahead(
    rules.simultaneous(o), [2], np.float64(0.5)
  ),
}


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('name', MAKE_RULE)
def test_rules_keep_the_types_of_parameters(name, dtype):
  with jax.enable_x64(True):
    rule = MAKE_RULE[name]([optax.sgd(np.float64(0.1))] * 2)
    field = lambda p: game.simultaneous_gradient(LOSSES, p)
    points = rules.trajectory(rule, field, _pair(dtype), 3)
  assert [own.dtype for own in points] == [dtype] * 2


# Rates that reach zero, and solvers that do not reach their tolerance.


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize('rates', [(0.1, 0.0), (0.0, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize('traced', [False, True])
def test_follow_the_ridge_at_a_rate_of_zero(rates, traced):
  losses = toy_games.ridge_games()['nonconvex']
  params = (jnp.array(0.4), jnp.array(0.3))
  follow = lambda h: solved_adjustments.follow_the_ridge(losses, params, h)
  found = jax.jit(follow)(jnp.array(rates)) if traced else follow(rates)
  gradient = game.simultaneous_gradient(losses, params)
  # Who does not move makes up for nothing, and to a still leader there is
  # nothing to make up for.
  np.testing.assert_allclose(found, gradient, rtol=1e-6)


def test_residual_says_whether_the_iterations_were_enough():
  matrix = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
  losses = toy_games.bilinear(matrix)
  params = (jnp.ones(20), jnp.linspace(-1, 1, 20))
  for zero_sum in (False, True):
    residuals = [
      float(
        solved_adjustments.solve_competitive(
          losses, params, (1.0, 1.0), zero_sum, 1e-4, n
        ).residual
      )
      for n in (2, 40)
    ]
    assert residuals[0] > 1e-2
    assert residuals[1] < 1e-3


def test_solved_methods_log_their_residual_and_remember():
  model = game.Game(
    [
      lambda p, memory, draw, loss=loss: (loss(p), game.Pass(memory, {}))
      for loss in LOSSES
    ],
    lambda p, memory, draw: (
      tuple(loss(p) for loss in LOSSES),
      (game.Pass(memory, {}),) * 2,
    ),
    ('one', 'two'),
  )

  def adjust(losses, params, remembered):
    solved = solved_adjustments.solve_adaptive_competitive(
      losses, params, (0.1, 0.1), memory=remembered
    )
    logs = {'solver_residual': solved.residual}
    return fields.Adjusted(solved.direction, logs, solved.memory)

  rule = remembering.remember(
    rules.simultaneous([optax.sgd(0.1)] * 2, share_draws=True),
    solved_adjustments.no_moments,
  )
  params = _pair()
  memory = solved_adjustments.no_moments(params)
  carry = rules.Carry(params, (None, None), rule.init(params))
  field = fields.AdjustedField(model, adjust, remembers=True)
  for count in (1, 2):
    carry, logs = rule.step(field, lambda _: 'draw', carry)
    expected = adjust(LOSSES, params, memory)
    params = optax.tree.add_scale(params, -0.1, expected.directions)
    memory = expected.remembered
    assert logs == expected.logs
    assert carry.memory == (None, None)
    assert [own.num_gradients for own in carry.state.remembered] == [count] * 2
    jax.tree.map(np.testing.assert_array_equal, carry.params, params)
    jax.tree.map(np.testing.assert_array_equal, carry.state.remembered, memory)
