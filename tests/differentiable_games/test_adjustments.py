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
"""Adjusted fields against dense Jacobians and closed forms, in float64."""

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import toy_games
from tests.differentiable_games import sine_game

TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _flat(tree):
  return np.asarray(ravel_pytree(tree)[0])


def _three_players():
  rng = np.random.default_rng(3)
  sines = sine_game.make((2, 1, 3), seed=4)
  params = tuple({'w': rng.normal(size=size)} for size in sines.sizes)
  z = _flat(params)
  return sines, params, sines.gradient(z), sines.jacobian(z)


def test_drift_adjusted_is_the_weighted_row():
  sines, params, gradient, j = _three_players()
  # The second player has no term at all, the others a Python zero each.
  coefficients = [[0.3, 0, -0.2], [0.0, 0, 0.0], [0.0, 0.7, -0.4]]
  expected = np.array(gradient)
  for i, row in enumerate(coefficients):
    for k, c in enumerate(row):
      own, other = sines.own(i), sines.own(k)
      expected[own] += c * j[own, other] @ gradient[other]

  adjusted, traced = jax.jit(
    lambda params, c: (
      adjustments.drift_adjusted(sines.losses, params, coefficients),
      adjustments.drift_adjusted(sines.losses, params, c),
    )
  )(params, coefficients)
  np.testing.assert_allclose(_flat(adjusted), expected, atol=TOLERANCE)
  np.testing.assert_allclose(_flat(traced), expected, atol=TOLERANCE)


# Rows and columns of three players: zeros, single terms, and both of a pair.
ROWS = [[0.3, 0, -0.2], [0.0, 0, 0.5], [0.0, 0.7, -0.4]]
COLUMNS = [[0.2, -0.6, 0.1], [0.0, 0, 0.0], [0.9, 0.0, 0.0]]


def _weighted_sums(sines, j, direction):
  """The same with the dense Jacobian."""
  sums = np.zeros_like(direction)
  for i in range(3):
    for k in range(3):
      own, other = sines.own(i), sines.own(k)
      sums[own] += ROWS[i][k] * j[own, other] @ direction[other]
      sums[own] += COLUMNS[i][k] * j[other, own].T @ direction[other]
  return sums


def test_first_order_adds_rows_and_columns():
  sines, params, gradient, j = _three_players()
  found = adjustments.first_order(sines.losses, params, ROWS, COLUMNS)
  expected = gradient + _weighted_sums(sines, j, gradient)
  np.testing.assert_allclose(_flat(found), expected, atol=TOLERANCE)


def test_weighted_products_along_another_direction():
  sines, params, gradient, j = _three_players()
  direction = tuple({'w': np.cos(own['w'] + 1)} for own in params)
  found, aux, sums = jacobian.weighted_products(
    lambda p: (tuple(loss(p) for loss in sines.losses), 'aux'),
    params,
    ROWS,
    COLUMNS,
    [2, 0],
    direction,
  )
  np.testing.assert_allclose(_flat(found), gradient, atol=TOLERANCE)
  assert aux == 'aux'
  assert sorted(sums) == [0, 2]
  expected = _weighted_sums(sines, j, _flat(direction))
  for i, own in sums.items():
    np.testing.assert_allclose(
      _flat(own), expected[sines.own(i)], atol=TOLERANCE
    )


def test_python_zeros_cost_nothing():
  sines, params, _, _ = _three_players()
  plain = jax.make_jaxpr(lambda p: game.simultaneous_gradient(sines.losses, p))(
    params
  )

  def adjusted(coefficient):
    return jax.make_jaxpr(
      lambda p: adjustments.drift_adjusted(
        sines.losses, p, [[coefficient] * 3] * 3
      )
    )(params)

  assert str(adjusted(0.0)) == str(plain)
  assert len(str(adjusted(0.1))) > len(str(plain))


def test_common_time_drift_simultaneous():
  assert adjustments.common_time_drift([0.1, 0.4]) == [[0.05, 0.2], [0.05, 0.2]]


def test_common_time_drift_in_turns():
  drift = adjustments.common_time_drift(
    [0.1, 0.2, 0.4], num_updates=[1, 2, 3], order=[2, 0, 1]
  )
  expected = [
    [0.05, 0.2, -0.6],  # Moves after player 2, before player 1.
    [-0.05, 0.1, -0.6],
    [0.05, 0.2, 0.2],
  ]
  np.testing.assert_allclose(drift, expected)


@pytest.mark.parametrize(
  ('num_updates', 'order', 'message'),
  [
    ([1, 2], None, 'one update each'),
    (None, [0, 0], 'each player once'),
    (None, [0], 'each player once'),
    (None, [1, 2], 'each player once'),
  ],
)
def test_common_time_drift_errors(num_updates, order, message):
  with pytest.raises(ValueError, match=message):
    adjustments.common_time_drift([0.1, 0.2], num_updates, order)


@pytest.mark.parametrize('order', [None, (0, 1), (1, 0)])
@pytest.mark.parametrize('num_updates', [(1, 1), (2, 3)])
def test_own_time_drift_of_two_players_is_the_gans(order, num_updates):
  if order is None:
    num_updates = (1, 1)
  player_order = drift_utils.PlayerOrder.disc_first
  if order == (1, 0):
    player_order = drift_utils.PlayerOrder.gen_first
  disc, gen = drift_utils.get_dd_coeffs(
    player_order,
    order is None,
    gan.GANTuple(0.1, 0.4),
    gan.GANTuple(*num_updates),
  )
  np.testing.assert_allclose(
    adjustments.own_time_drift([0.1, 0.4], num_updates, order),
    [
      [disc.self_norm, disc.other_dot_prod],
      [gen.other_dot_prod, gen.self_norm],
    ],
  )


def test_lola_is_the_gradient_after_the_opponents_steps():
  """To first order in their rates, and with stops as in the source."""
  sines, params, _, _ = _three_players()
  rates = (0.3, 0.5, 0.7)

  def shaped_loss(own, i, stop):
    moved = game.replace_player(params, i, own)
    total = sines.losses[i](moved)
    for j in range(3):
      if j != i:
        step = game.player_gradient(sines.losses[j], moved, j)
        slope = stop(game.player_gradient(sines.losses[i], moved, j))
        total -= rates[j] * step['w'] @ slope['w']
    return total

  for anticipate, stop in (
    (True, lambda tree: tree),
    (False, jax.lax.stop_gradient),
  ):
    expected = [jax.grad(shaped_loss)(params[i], i, stop) for i in range(3)]
    adjusted = adjustments.lola(sines.losses, params, rates, anticipate)
    np.testing.assert_allclose(_flat(adjusted), _flat(expected), atol=TOLERANCE)


def test_lola_and_consensus_agree_in_a_bilinear_game():
  """There the shaping term is the pull: J_ji = -J_ijᵀ, and ∇_j L_i = -ξ_j."""
  losses = toy_games.bilinear(np.random.default_rng(1).normal(size=(2, 3)))
  params = (np.array([1.0, -2.0]), np.array([0.3, 1.5, 0.1]))
  lola = adjustments.lola(losses, params, (0.2, 0.2))
  consensus = adjustments.consensus(losses, params, 0.2)
  np.testing.assert_allclose(_flat(lola), _flat(consensus), atol=TOLERANCE)


def test_consensus_descends_the_norm_of_the_gradient():
  sines, params, gradient, _ = _three_players()

  def half_norm(p):
    xi = game.simultaneous_gradient(sines.losses, p)
    return sum(jnp.sum(own['w'] ** 2) for own in xi) / 2

  pull, consensus = jax.jit(
    lambda p: (
      jax.grad(half_norm)(p),
      adjustments.consensus(sines.losses, p, 0.3),
    )
  )(params)
  np.testing.assert_allclose(
    _flat(consensus), gradient + 0.3 * _flat(pull), atol=TOLERANCE
  )


def test_sga_leaves_a_potential_game_alone():
  sines = sine_game.make((2, 1, 2), seed=5)
  potential = (sines.losses[0],) * 3
  params = (np.array([0.3, -1.0]), np.array([0.5]), np.array([2.0, -0.2]))
  adjusted = adjustments.symplectic_gradient(potential, params, 10.0)
  gradient = jax.grad(sines.losses[0])(params)
  np.testing.assert_allclose(_flat(adjusted), _flat(gradient), atol=TOLERANCE)


def test_sga_descends_the_hamiltonian():
  matrix = np.random.default_rng(6).normal(size=(3, 2))
  losses = toy_games.bilinear(matrix)
  x, y = np.array([1.0, -2.0, 0.5]), np.array([0.3, 1.5])
  xi = np.concatenate([matrix @ y, -matrix.T @ x])
  # H = (‖M y‖² + ‖Mᵀ x‖²) / 2.
  grad_h = np.concatenate([matrix @ matrix.T @ x, matrix.T @ matrix @ y])
  np.testing.assert_allclose(xi @ grad_h, 0.0, atol=TOLERANCE)
  adjusted = _flat(adjustments.symplectic_gradient(losses, (x, y), 0.7))
  np.testing.assert_allclose(adjusted, xi + 0.7 * grad_h, atol=TOLERANCE)

  def hamiltonian(z):
    return (np.sum((matrix @ z[3:]) ** 2) + np.sum((matrix.T @ z[:3]) ** 2)) / 2

  z = np.concatenate([x, y])
  assert hamiltonian(z - 0.01 * adjusted) < hamiltonian(z)
  # Without the adjustment the players spiral out.
  assert hamiltonian(z - 0.01 * xi) > hamiltonian(z)


def _align_case(attraction, size):
  """A game of two players that rotates, and is drawn in or pushed out."""
  identity = np.eye(2)
  j = np.block(
    [[attraction * identity, identity], [-2 * identity, attraction * identity]]
  )
  z = size * np.array([1.0, 0.4, -0.5, 0.8])
  xi = j @ z
  a_t_xi = (j.T - j) @ xi / 2
  alignment = (xi @ j.T @ xi) * (a_t_xi @ j.T @ xi)
  return toy_games.quadratic(j, (2, 2)), z, xi, a_t_xi, alignment


@pytest.mark.parametrize(
  ('attraction', 'size', 'sign'),
  [
    (0.5, 1.0, 1),  # Drawn in: towards the fixed point.
    (-0.5, 1.0, -1),  # Pushed out: away from it.
    (-0.5, 0.01, 1),  # Near the fixed point 1/10 decides.
  ],
)
def test_sga_alignment(attraction, size, sign):
  losses, z, xi, a_t_xi, alignment = _align_case(attraction, size)
  assert np.sign(alignment / 4 + 0.1) == sign
  adjusted = adjustments.symplectic_gradient(
    losses, (z[:2], z[2:]), 0.3, align=True
  )
  np.testing.assert_allclose(
    _flat(adjusted), xi + sign * 0.3 * a_t_xi, atol=TOLERANCE
  )


@pytest.mark.parametrize(('attraction', 'sign'), [(0.5, 1), (-0.5, -1)])
def test_aligned_consensus_is_pushed_off_unstable_points(attraction, sign):
  losses, z, xi, _, _ = _align_case(attraction, 1.0)
  params = (z[:2], z[2:])
  plain = adjustments.consensus(losses, params, 0.3)
  aligned = adjustments.consensus(losses, params, 0.3, align=True)
  np.testing.assert_allclose(
    _flat(aligned) - xi, sign * (_flat(plain) - xi), atol=TOLERANCE
  )


def test_sga_alignment_counts_numbers_not_arrays():
  _, _, _, _, unit = _align_case(-0.5, 1.0)
  size = (0.3 / -unit) ** (1 / 4)  # The alignment is of fourth degree.
  losses, z, xi, a_t_xi, alignment = _align_case(-0.5, size)
  np.testing.assert_allclose(alignment, -0.3)
  # -0.3 / 4 + 1/10 > 0 where -0.3 / 2 + 1/10 < 0, the number of arrays.
  adjusted = adjustments.symplectic_gradient(
    losses, (z[:2], z[2:]), 0.3, align=True
  )
  np.testing.assert_allclose(_flat(adjusted), xi + 0.3 * a_t_xi, atol=TOLERANCE)
