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
"""Tests for dynamics: against dense Jacobians, closed forms and slopes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import adjustments
from differentiable_games import diagnostics
from differentiable_games import dynamics
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import rules
from differentiable_games import toy_games
from tests import marks

NAMES = ('a', 'b')


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def three_players(params):
  """Losses without any symmetry, of players of one to three numbers."""
  x, y, z = params
  return (
    jnp.sin(x @ x) * y[0] + jnp.cos(z).sum() * x[0],
    jnp.exp(0.3 * y @ y) + x[1] * y[1] * z[0],
    (z**4).sum() / 4 + jnp.tanh(x.sum() * y[0] * z[0]),
  )


THREE = (
  np.array([0.3, -0.7]),
  np.array([0.5, 0.2, -0.4]),
  np.array([0.8]),
)


def losses_of(joint_losses, num_players):
  return [lambda p, i=i: joint_losses(p)[i] for i in range(num_players)]


def test_terms_are_those_of_the_dense_jacobian():
  gradient, terms = dynamics.gradient_and_terms(three_players, THREE)
  losses = losses_of(three_players, 3)
  matrix = np.asarray(jacobian.dense_jacobian(losses, THREE))
  ends = np.cumsum([0, 2, 3, 1])
  own = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
  xi = np.concatenate(game.simultaneous_gradient(losses, THREE))
  np.testing.assert_allclose(np.concatenate(gradient), xi, rtol=1e-12)
  for i, block in enumerate(own):
    others = [k for k in own if k is not block]
    self_norm = matrix[block, block] @ xi[block]
    dot = sum(matrix[block, k] @ xi[k] for k in others)
    norm = sum(matrix[k, block].T @ xi[k] for k in others)
    np.testing.assert_allclose(terms.self_norm[i], self_norm, rtol=1e-10)
    np.testing.assert_allclose(terms.other_dot_prod[i], dot, rtol=1e-10)
    np.testing.assert_allclose(terms.other_norm[i], norm, rtol=1e-10)


def test_descriptions_agree_with_diagnostics():
  gradient, terms = dynamics.gradient_and_terms(three_players, THREE)
  described = dynamics.describe_terms(gradient, terms, 'xyz')
  losses = losses_of(three_players, 3)
  split = diagnostics.energy_split(losses, THREE)
  np.testing.assert_allclose(described['rotation'], split.rotation, rtol=1e-9)
  transposed = jacobian.transposed_jacobian_product(losses, THREE, gradient)
  np.testing.assert_allclose(
    described['alignment'], dynamics.cosine(gradient, transposed), rtol=1e-9
  )


def test_linear_game_in_closed_form():
  # L1 = 2 xy + 3/2 x², L2 = -xy + 1/2 y²: ξ = (2y + 3x, -x + y).
  def losses(params):
    x, y = params
    return 2 * x * y + 1.5 * x**2, -x * y + 0.5 * y**2

  x, y = 1.0, 2.0
  gradient, terms = dynamics.gradient_and_terms(
    losses, (jnp.array(x), jnp.array(y))
  )
  described = dynamics.describe_terms(
    *(gradient, terms, NAMES), [(0.1, -0.5, 0.25), (0.0, 0.0, 0.0)]
  )
  # J = [[3, 2], [-1, 1]], ξ = (7, 1).
  expected = {
    'a/gradient_norm': 7,
    'a/self_norm/relative_norm': 3,
    'a/other_dot_prod/relative_norm': 2 / 7,
    'a/other_norm/relative_norm': 1 / 7,
    'a/self_norm/cosine': 1,
    'a/other_dot_prod/cosine': 1,
    'a/other_norm/cosine': -1,
    # The direction is 7 + 2.1 - 1 - 0.25.
    'a/self_norm/share': 2.1 / 7.85,
    'a/other_dot_prod/share': 1 / 7.85,
    'a/other_norm/share': 0.25 / 7.85,
    'b/gradient_norm': 1,
    'b/other_dot_prod/relative_norm': 7,
    'b/other_dot_prod/cosine': -1,
    'b/other_norm/relative_norm': 14,
    'b/self_norm/share': 0,
    # Jξ = (23, -6), Jᵀξ = (20, 15).
    'rotation': (3**2 + 21**2) / (3**2 + 21**2 + 43**2 + 9**2),
    'alignment': 155 / (np.sqrt(50) * 25),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(described[name], value, rtol=1e-12, err_msg=name)


def test_at_a_fixed_point_nothing_is_made_up():
  losses = losses_of(lambda p: (p[0] * p[1], -p[0] * p[1]), 2)
  gradient, terms = dynamics.gradient_and_terms(
    lambda p: tuple(loss(p) for loss in losses), (jnp.zeros(()), jnp.zeros(()))
  )
  described = dynamics.describe_terms(gradient, terms, NAMES)
  assert described['a/gradient_norm'] == 0
  assert np.isnan(described['rotation'])
  assert np.isnan(described['a/self_norm/cosine'])


# Drift.


def make_step(rates, order=None, cancelled=False, num_updates=None):
  """Plain descent, or with its interaction terms cancelled."""
  drift = adjustments.common_time_drift(rates, num_updates, order)
  players = range(len(rates))
  rows = [
    [-drift[i][j] if cancelled and i != j else 0.0 for j in players]
    for i in players
  ]
  optimizers = [optax.sgd(rate) for rate in rates]
  if order is None:
    rule = rules.simultaneous(optimizers)
  else:
    rule = rules.alternating(optimizers, order, num_updates)
  total = [[drift[i][j] + rows[i][j] for j in players] for i in players]
  nothing = adjustments.constant_matrix(len(rates), 0.0)
  return dynamics.Step(
    rule,
    lambda losses, p: adjustments.joint_first_order(losses, p, rows, nothing),
    rates,
    num_updates,
    (total, nothing),
  )


@functools.partial(jax.jit, static_argnums=(0, 2))
def _describe(joint_losses, params, make, rates):
  _, terms = dynamics.gradient_and_terms(joint_losses, params)
  return dynamics.describe_drift(
    *(joint_losses, params, make(rates), terms, NAMES)
  )


def describe_drift(joint_losses, params, make, rates):
  described = _describe(joint_losses, params, make, rates)
  return {name: float(value) for name, value in described.items()}


def bilinear(params):
  x, y = params
  return x * y, -x * y


@pytest.mark.parametrize('h', [0.01, 0.3])
def test_bilinear_game_in_closed_form(h):
  start = jnp.array(3.0), jnp.array(-1.0)
  described = describe_drift(bilinear, start, make_step, (h, h))
  # In x + iy the field is -i: a step is 1 + ih, the flow exp(ih), and the
  # modified flow exp(ih + h²/2).
  step = 1 + 1j * h
  flow, modified = np.exp(1j * h), np.exp(1j * h + h**2 / 2)
  # The solver's own error is below a hundredth of these, here by far.
  np.testing.assert_allclose(
    described['e_flow'], abs(step - flow) / h, rtol=1e-5
  )
  np.testing.assert_allclose(
    described['e_modified'], abs(step - modified) / h, rtol=1e-3
  )
  # Own Hessians are zero.
  assert described['a/self_norm/drift'] == 0


def dirac_gan(params):
  """Losses of a Dirac GAN, of tensors, that is not zero-sum."""
  losses = toy_games.dirac_gan(saturating=False)
  own = [loss((params[0].sum(), params[1].sum())) for loss in losses]
  return (
    own[0] + 0.1 * (params[0] ** 2).sum(),
    own[1] + 0.2 * (params[1] ** 4).sum(),
  )


DIRAC = np.array([0.6, 0.3]), np.array([0.5, -0.2])
MAKERS = {
  'simultaneous': make_step,
  'alternating': functools.partial(make_step, order=(1, 0)),
  'several_updates': functools.partial(
    make_step, order=(0, 1), num_updates=(2, 3)
  ),
  'cancelled': functools.partial(make_step, cancelled=True),
  'alternating_cancelled': functools.partial(
    make_step, order=(0, 1), cancelled=True
  ),
}


@pytest.mark.parametrize('name', marks.slow_but(['cancelled'], MAKERS))
def test_orders_of_both_distances(name):
  rates = np.array([0.005, 0.01, 0.02])
  found = [
    describe_drift(dirac_gan, DIRAC, MAKERS[name], (h, 0.7 * h)) for h in rates
  ]

  def slope(what):
    values = [abs(own[what]) for own in found]
    return np.polyfit(np.log(rates), np.log(values), 1)[0]

  assert abs(slope('e_flow') - 1) < 0.05
  assert abs(slope('e_modified') - 2) < 0.1
  # What is cancelled is gone to first order, in which the rest stays.
  order = 2 if 'cancelled' in name else 1
  for player in NAMES:
    assert abs(slope(f'{player}/other_dot_prod/drift') - order) < 0.15
    assert abs(slope(f'{player}/self_norm/drift') - 1) < 0.1


@pytest.mark.parametrize(
  'order', [None, pytest.param((1, 0), marks=pytest.mark.slow)]
)
def test_measured_drift_is_the_theory(order):
  rates = 1e-4, 2e-4
  described = describe_drift(
    *(dirac_gan, DIRAC, functools.partial(make_step, order=order), rates)
  )
  gradient, terms = dynamics.gradient_and_terms(dirac_gan, DIRAC)
  coefficients = adjustments.common_time_drift(rates, None, order)
  for i, name in enumerate(NAMES):
    for term, c in (
      ('self_norm', coefficients[i][i]),
      ('other_dot_prod', coefficients[i][1 - i]),
    ):
      norms = [
        optax.tree.norm(t) for t in (getattr(terms, term)[i], gradient[i])
      ]
      np.testing.assert_allclose(
        described[f'{name}/{term}/drift'], c * norms[0] / norms[1], rtol=2e-3
      )


@pytest.mark.slow
def test_single_precision_is_enough():
  start, rates = (3.0, -1.0), (1e-3, 1e-3)
  single = describe_drift(
    bilinear, tuple(map(jnp.float32, start)), make_step, rates
  )
  double = describe_drift(
    bilinear, tuple(map(jnp.float64, start)), make_step, rates
  )
  assert single['e_flow'] == pytest.approx(double['e_flow'], rel=1e-2)


def test_what_a_stiff_flow_leaves_open_is_said():
  def losses(params):
    x, y = params
    return 200 * x**2, y**2

  start = jnp.array(1.0), jnp.array(1.0)
  described = describe_drift(losses, start, make_step, (0.1, 0.1))
  assert described['e_uncertainty'] > 0.01 * described['e_flow']


# Devices.


def test_over_devices_it_is_the_mean_of_their_losses():
  draws = jnp.array([0.5, 2.0, -0.3])
  params = jnp.array(0.4), jnp.array(0.7)

  def losses(params, memory, draw):
    x, y = params
    values = jnp.sin(draw * x) * y, jnp.cos(x * y) * draw
    return values, (game.Pass(memory, {}),) * 2

  def describe(joint_losses):
    gradient, terms = dynamics.gradient_and_terms(joint_losses, params)
    return dynamics.describe_terms(gradient, terms, NAMES)

  played = game.Game([], losses, NAMES)
  over_devices = jax.vmap(
    lambda draw: describe(played.joint_losses_of(None, draw, 'i')),
    axis_name='i',
  )(draws)

  def mean(params):
    each = jax.vmap(lambda draw: losses(params, None, draw)[0])(draws)
    return jax.tree.map(jnp.mean, each)

  for name, value in describe(mean).items():
    np.testing.assert_allclose(
      over_devices[name], np.full(3, value), rtol=1e-10, err_msg=name
    )
