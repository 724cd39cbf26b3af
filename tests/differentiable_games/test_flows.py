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
"""Orders of accuracy: errors of one step as powers of the learning rate.

All in float64, on nonlinear games that are neither zero-sum nor potential. A
local error of order p falls as h^p. Slopes are measured where the next term of
the error is a few per cent of it, which is the tolerance.
"""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from differentiable_games import adjustments
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import tableaus
from differentiable_games import toy_games
from tests.differentiable_games import sine_game

# Errors of third order stay above 1e-12 here, rounding below 1e-15.
SMALL = 2.0 ** -np.arange(5, 10)
# Errors of fifth order need larger steps to stay above rounding.
LARGE = 2.0 ** -np.arange(2, 7)  # As many, for one compiled flow.
TOLERANCE = 0.12
# Seeds whose terms J_ij ξ_j at the start are all of one size, so that an error
# in any coefficient weighs.
TWO = sine_game.make((2, 1), seed=90)
THREE = sine_game.make((1, 2, 1), seed=50)
ZERO = np.zeros


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _start(sines):
  z = np.random.default_rng(8).normal(size=sum(sines.sizes))
  return tuple(z[sines.own(i)] for i in range(len(sines.sizes)))


@functools.lru_cache
def _flow(sines_name):
  """One compiled program for all flows of a game, over many h."""
  sines = {'TWO': TWO, 'THREE': THREE}[sines_name]

  @jax.jit
  @jax.vmap
  def flow(rates, coefficients, time):
    field = flows.modified_field(sines.losses, coefficients)
    end = flows.integrate(
      flows.scaled_field(field, rates), _start(sines), time, 1e-13, 1e-15
    )
    return jnp.concatenate(end)

  return flow


@functools.lru_cache
def _step(sines_name, order, num_updates):
  sines = {'TWO': TWO, 'THREE': THREE}[sines_name]

  @jax.jit
  @jax.vmap
  def step(rates, coefficients):
    field = flows.modified_field(sines.losses, coefficients)
    rule = _descent(rates, order, num_updates)
    return jnp.concatenate(_moved(rule, field, _start(sines)))

  return step


def _descent(rates, order=None, num_updates=None):
  optimizers = [optax.sgd(rate) for rate in rates]
  if order is None:
    return rules.simultaneous(optimizers)
  return rules.alternating(optimizers, order, num_updates)


def _moved(rule, field, params):
  return rules.move(rule, field, params, rule.init(params))[0]


def _scale(hs, values):
  """Values for each h: `h * values`, of shape (len(hs), …)."""
  return jnp.asarray(np.multiply.outer(hs, np.asarray(values, np.float64)))


def _slope(hs, errors):
  return np.polyfit(np.log(hs), np.log(errors), 1)[0]


def _norms(difference):
  return np.linalg.norm(np.asarray(difference), axis=-1)


def _joint_slope(
  lrs,
  num_updates=None,
  order=None,
  *,
  step=None,
  flow=None,
):
  """Slope of one step's distance to a flow of all players in common time.

  Args:
    lrs: learning rates at h = 1.
    num_updates: of each player.
    order: of turns, None for simultaneous.
    step: drift coefficients at h = 1 that the step adds, None for none.
    flow: those of the flow.
  """
  name = 'TWO' if len(lrs) == 2 else 'THREE'
  num_updates = num_updates or (1,) * len(lrs)
  none = ZERO((len(lrs),) * 2)
  step, flow = (none if c is None else np.asarray(c) for c in (step, flow))
  totals = np.multiply(lrs, num_updates)
  ends = _flow(name)(
    _scale(SMALL, totals), _scale(SMALL, flow), np.ones(len(SMALL))
  )
  steps = _step(name, order, num_updates)(
    _scale(SMALL, lrs), _scale(SMALL, step)
  )
  return _slope(SMALL, _norms(steps - ends))


def _published(lrs, num_updates, order):
  """The published coefficients as the matrix of `drift_adjusted`."""
  player_order = drift_utils.PlayerOrder.disc_first
  if order == (1, 0):
    player_order = drift_utils.PlayerOrder.gen_first
  disc, gen = drift_utils.get_dd_coeffs(
    player_order, order is None, gan.GANTuple(*lrs), gan.GANTuple(*num_updates)
  )
  return np.array(
    [
      [disc.self_norm, disc.other_dot_prod],
      [gen.other_dot_prod, gen.self_norm],
    ]
  )


def test_flow_of_a_linear_game_is_its_exponential():
  """The reference of this file, against a closed form: a rotation inwards."""
  losses = toy_games.quadratic(np.array([[0.5, 2.0], [-2.0, 0.5]]), (1, 1))
  start = (jnp.array([1.0]), jnp.array([0.5]))
  end = flows.integrate(
    lambda p: game.simultaneous_gradient(losses, p), start, 1.3
  )
  angle, decay = 2 * 1.3, np.exp(-0.5 * 1.3)
  expected = decay * np.array(
    [
      [np.cos(angle) * 1.0 - np.sin(angle) * 0.5],
      [np.sin(angle) * 1.0 + np.cos(angle) * 0.5],
    ]
  )
  np.testing.assert_allclose(end, expected, atol=1e-9)


def test_a_flow_that_is_given_up():
  settings = lambda x: x, jnp.ones(1), 1e4, 1e-10, 1e-12, 50
  np.testing.assert_array_equal(flows.integrate(*settings, throw=False), np.nan)
  with pytest.raises(RuntimeError, match='maximum number of solver steps'):
    flows.integrate(*settings)


@pytest.mark.parametrize('order', [None, (0, 1), (1, 0)])
def test_orders_with_equal_learning_rates(order):
  lrs, once = (1.0, 1.0), (1, 1)
  drift = np.array(adjustments.common_time_drift(lrs, once, order))
  plain = _joint_slope(lrs, order=order)
  modified = _joint_slope(lrs, order=order, flow=drift)
  cancelled = _joint_slope(lrs, order=order, step=-drift)
  np.testing.assert_allclose(plain, 2, atol=TOLERANCE)
  np.testing.assert_allclose(modified, 3, atol=TOLERANCE)
  np.testing.assert_allclose(cancelled, 3, atol=TOLERANCE)
  # With one update and equal rates the published coefficients are the same.
  published = _joint_slope(lrs, order=order, step=-_published(lrs, once, order))
  np.testing.assert_allclose(published, 3, atol=TOLERANCE)


@pytest.mark.parametrize('order', [None, (0, 1), (1, 0)])
@pytest.mark.parametrize('entry', [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_wrong_coefficient_is_seen(order, entry):
  """What the other tests of this file can tell apart."""
  drift = np.array(adjustments.common_time_drift((1.0, 1.0), None, order))
  drift[entry] *= 0.5
  assert _joint_slope((1.0, 1.0), order=order, step=-drift) < 2.5
  assert _joint_slope((1.0, 1.0), order=order, flow=drift) < 2.5


@pytest.mark.parametrize(
  ('lrs', 'num_updates', 'order'),
  [
    ((1.0, 0.3), (1, 1), None),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in (
        ((1.0, 0.3), (1, 1), (0, 1)),
        ((0.4, 1.0), (1, 1), (1, 0)),
        ((0.5, 0.5), (2, 1), (0, 1)),
        ((1.0, 0.4, 0.7), (1, 1, 1), None),
        ((1.0, 0.4, 0.7), (1, 2, 1), (2, 0, 1)),
      )
    ),
    ((0.3, 0.7), (3, 2), (1, 0)),
  ],
)
def test_common_time_convention(lrs, num_updates, order):
  drift = np.array(adjustments.common_time_drift(lrs, num_updates, order))
  slope = functools.partial(_joint_slope, lrs, num_updates, order)
  np.testing.assert_allclose(slope(), 2, atol=TOLERANCE)
  np.testing.assert_allclose(slope(flow=drift), 3, atol=TOLERANCE)
  np.testing.assert_allclose(slope(step=-drift), 3, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('lrs', 'num_updates', 'order'),
  [
    ((0.5, 0.5), (2, 1), (0, 1)),
    ((0.5, 0.5), (1, 3), (0, 1)),
    ((0.3, 0.3), (2, 2), (1, 0)),
  ],
)
def test_published_coefficients_fail_for_several_updates(
  lrs, num_updates, order
):
  published = _published(lrs, num_updates, order)
  slope = _joint_slope(lrs, num_updates, order, step=-published)
  assert slope < 2.3


@pytest.mark.parametrize('order', [None, (0, 1), (1, 0)])
def test_published_coefficients_hold_at_each_players_own_time(order):
  """Unequal rates α, λ: φ against the flow at α, θ against it at λ."""
  lrs = (1.0, 0.4)
  ones, none = np.ones((len(SMALL), 2)), ZERO((len(SMALL), 2, 2))
  published = _published(lrs, (1, 1), order)
  steps = _step('TWO', order, (1, 1))(
    _scale(SMALL, lrs), _scale(SMALL, -published)
  )
  for player, lr in enumerate(lrs):
    end = _flow('TWO')(ones, none, lr * SMALL)
    errors = _norms((steps - end)[:, TWO.own(player)])
    np.testing.assert_allclose(_slope(SMALL, errors), 3, atol=TOLERANCE)


@pytest.mark.slow  # Of two players above.
@pytest.mark.parametrize('order', [None, (2, 0, 1)])
def test_own_time_drift_of_three_players(order):
  lrs = (1.0, 0.4, 0.7)
  drift = np.array(adjustments.own_time_drift(lrs, None, order))
  ones, none = np.ones((len(SMALL), 3)), ZERO((len(SMALL), 3, 3))
  steps = _step('THREE', order, (1, 1, 1))(
    _scale(SMALL, lrs), _scale(SMALL, -drift)
  )
  for player, lr in enumerate(lrs):
    end = _flow('THREE')(ones, none, lr * SMALL)
    errors = _norms((steps - end)[:, THREE.own(player)])
    np.testing.assert_allclose(_slope(SMALL, errors), 3, atol=TOLERANCE)


@pytest.mark.parametrize(('stages', 'order'), [(1, 2), (2, 3), (4, 5)])
def test_runge_kutta(stages, order):
  tableau = tableaus.RUNGE_KUTTA[stages]

  @jax.jit
  @jax.vmap
  def step(h):
    field = lambda p: game.simultaneous_gradient(TWO.losses, p)
    rule = rules.runge_kutta((optax.sgd(h),) * 2, tableau, h)
    return jnp.concatenate(_moved(rule, field, _start(TWO)))

  # Large steps for all, so that one tolerance tells orders apart for all.
  hs = LARGE / 2
  end = _flow('TWO')(np.ones((len(hs), 2)), ZERO((len(hs), 2, 2)), hs)
  slope = _slope(hs, _norms(step(hs) - end))
  np.testing.assert_allclose(slope, order, atol=0.3)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
  'solver', [diffrax.Midpoint, diffrax.Bosh3, diffrax.Tsit5]
)
def test_tableaus_of_diffrax(solver):
  """Also those whose stages use several of the ones before."""
  tableau = tableaus.Tableau(solver.tableau.b_sol, solver.tableau.a_lower)
  field = lambda p: game.simultaneous_gradient(TWO.losses, p)
  h = 0.7
  rule = rules.runge_kutta((optax.sgd(h),) * 2, tableau, h)
  step = _moved(rule, field, _start(TWO))
  solution = diffrax.diffeqsolve(
    diffrax.ODETerm(lambda t, y, _: jax.tree.map(jnp.negative, field(y))),
    solver(),
    t0=0.0,
    t1=h,
    dt0=h,
    y0=_start(TWO),
  )
  for own, expected in zip(step, solution.ys, strict=True):
    np.testing.assert_allclose(own, expected[0], atol=1e-12)


@pytest.mark.parametrize(
  ('num_updates', 'order'), [(None, None), ((3, 2), (1, 0))]
)
def test_flows_of_descent_are_counted_in_steps(num_updates, order):
  lrs = (0.2, 0.5)
  start = _start(TWO)
  z = np.concatenate(start)
  xi, j = TWO.gradient(z), TWO.jacobian(z)
  plain = flows.flow_of_descent(TWO.losses, lrs, num_updates)(start)
  modified = flows.modified_flow_of_descent(
    TWO.losses, lrs, num_updates, order
  )(start)
  drift = adjustments.common_time_drift(lrs, num_updates, order)
  for i in range(2):
    own = TWO.own(i)
    total = lrs[i] * (num_updates[i] if num_updates else 1)
    term = sum(
      drift[i][k] * j[own, TWO.own(k)] @ xi[TWO.own(k)] for k in range(2)
    )
    np.testing.assert_allclose(plain[i], total * xi[own], atol=1e-9)
    np.testing.assert_allclose(modified[i], total * (xi[own] + term), atol=1e-9)


def test_modified_flow_of_steps_is_that_of_descent():
  lrs = (0.2, 0.5)
  of_steps = flows.modified_flow_of_steps(
    flows.flow_of_descent(TWO.losses, lrs)
  )
  found = of_steps(_start(TWO))
  expected = flows.modified_flow_of_descent(TWO.losses, lrs)(_start(TWO))
  for own, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(own, other, atol=1e-9)


def test_trajectory_passes_through_the_points_of_integrate():
  times = jnp.array([0.0, 0.3, 0.6, 0.9, 1.1])
  field = flows.flow_of_descent(TWO.losses, (1.0, 1.0))
  points = flows.trajectory(field, _start(TWO), times)
  expected = _flow('TWO')(np.ones((5, 2)), ZERO((5, 2, 2)), times)
  np.testing.assert_allclose(np.hstack(points), expected, atol=1e-9)


def test_runge_kutta_stages_and_aux():
  """Each stage is asked for by its number; the aux is the first's."""
  seen = []

  def field(params, stage):
    seen.append((float(params), stage))
    return params + stage, f'aux {stage}'

  direction, aux = tableaus.runge_kutta_direction(
    field, np.float64(1.0), 0.5, tableaus.RUNGE_KUTTA[2]
  )
  # Heun: 1, then at 1 - 0.5 · 1 the direction 0.5 + 1.
  assert seen == [(1.0, 0), (0.5, 1)]
  assert direction == (1.0 + 1.5) / 2
  assert aux == 'aux 0'


def test_simultaneous_descent_of_the_bilinear_game_diverges():
  """Every step multiplies the distance to the fixed point by √(1 + h²)."""
  losses = toy_games.bilinear(jnp.ones((1, 1)))
  field = lambda p: game.simultaneous_gradient(losses, p)
  params = (jnp.array([0.6]), jnp.array([-0.8]))
  h = 0.3
  step = jax.jit(lambda p: _moved(_descent((h, h)), field, p))
  for k in range(1, 6):
    params = step(params)
    np.testing.assert_allclose(
      np.linalg.norm(np.concatenate(params)),
      (1 + h**2) ** (k / 2),
      rtol=1e-12,
    )


def test_alternating_descent_of_the_bilinear_game_keeps_its_area():
  """In turns the step is a shear after a shear: determinant one."""
  losses = toy_games.bilinear(jnp.ones((1, 1)))
  field = lambda p: game.simultaneous_gradient(losses, p)

  def step(z):
    rule = _descent((0.3, 0.5), (1, 0))
    return jnp.concatenate(_moved(rule, field, (z[:1], z[1:])))

  matrix = jax.jacfwd(step)(jnp.ones(2))
  # Player 1 first: y' = y + 0.5 x, then x' = x - 0.3 y'.
  np.testing.assert_allclose(matrix, [[1 - 0.15, -0.3], [0.5, 1.0]], rtol=1e-12)
