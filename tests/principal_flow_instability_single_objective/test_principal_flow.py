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
"""The flows against steps of gradient descent, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import principal_flow

# Errors stay above 1e-10 here, rounding below 1e-15.
STEPS = 2.0 ** -np.arange(5, 9)
# The next term of an error is at most a few per cent of it.
TOLERANCE = 0.08
FLOWS = {
  principal_flow.gradient_flow: 2,
  principal_flow.igr_flow: 3,
  principal_flow.third_order_flow: 4,
  principal_flow.principal_flow: 3,
  principal_flow.principal_flow_third_order: 4,
}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def quadratic(eigenvalues):
  """(matrix, start), whose axes are not those of the parameters."""
  random = np.random.default_rng(0)
  size = len(eigenvalues)
  axes, _ = np.linalg.qr(random.normal(size=(size, size)))
  matrix = axes @ np.diag(eigenvalues) @ axes.T
  return jnp.asarray(matrix), jnp.asarray(random.normal(size=size))


def loss_of(matrix):
  return lambda x: x @ matrix @ x / 2


@functools.partial(jax.jit, static_argnums=0)
def follow_quadratic(flow, matrix, x, h, time):
  """One compiled program for all quadratics of a size."""
  return follow(flow, loss_of(matrix), x, h, time)


def waves(params):
  """An analytic loss of a pytree with derivatives of all orders."""
  x = jnp.concatenate([params['a'], params['b']['c']])
  random = np.random.default_rng(3)
  directions = jnp.asarray(random.normal(size=(5, 3))) / 2
  return jnp.sum(jnp.sin(directions @ x + 0.3)) + 0.1 * jnp.sum(x**4)


WAVES_START = {'a': np.array([0.7, -0.4]), 'b': {'c': np.array([0.2])}}


def descend(loss, x, h, num_steps=1):
  for _ in range(num_steps):
    x = jax.tree.map(lambda p, g: p - h * g, x, jax.grad(loss)(x))
  return x


def follow(flow, loss, x, h, time):
  return principal_flow.solve(
    lambda p: flow(loss, p, h), x, time, rtol=1e-13, atol=1e-15
  )


def distance(x, y):
  squares = jax.tree.map(lambda a, b: jnp.sum(jnp.abs(a - b) ** 2), x, y)
  return jnp.sqrt(sum(jax.tree.leaves(squares)))


# Of one direction.


def test_factor_is_the_power_series_below_one():
  z = np.array([-0.5, -0.1, 0.2, 0.5])
  series = -sum(z**k / (k + 1) for k in range(200))
  factor = principal_flow.principal_factor(z)
  np.testing.assert_allclose(factor, series, rtol=1e-14)
  np.testing.assert_allclose(factor.imag, 0, atol=1e-16)


@pytest.mark.parametrize('z', [0.0, 1e-300, -1e-14, 1e-9])
def test_factor_is_exact_near_zero(z):
  expected = -1 - z / 2
  factor = principal_flow.principal_factor(z)
  np.testing.assert_allclose(factor, expected, rtol=1e-15)


def test_factor_gives_one_step_of_gradient_descent():
  """exp(z f(z)) is 1 - z, wherever z is; the imaginary part is π on z > 1."""
  z = np.array([0.3, 1.5, 2.0, 7.0, -3.0, 2.5 + 1e-9j, 2.5 - 1e-9j, 0.5 + 2j])
  factor = principal_flow.principal_factor(z)
  np.testing.assert_allclose(np.exp(z * factor), 1 - z, rtol=1e-13)
  np.testing.assert_allclose((z * factor).imag[1:4], np.pi, rtol=1e-15)


def test_factor_is_continuous_across_the_real_line():
  above, below = principal_flow.principal_factor(
    np.array([2.5 + 1e-12j, 2.5 - 1e-12j])
  )
  np.testing.assert_allclose(above, below, atol=1e-11)


def test_factor_at_one_is_large_and_finite():
  assert principal_flow.principal_factor(1.0) == principal_flow.JUMP
  nearest = np.nextafter(1.0, 0.0)
  assert (
    principal_flow.JUMP < principal_flow.principal_factor(nearest).real < -30
  )


def test_stability_coefficients():
  h_lambda = np.array([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
  expected = [
    *(-np.log(2), -1, 2 * np.log(0.5), principal_flow.JUMP),
    *(np.log(0.5) / 1.5, 0, np.log(2) / 3),
  ]
  coefficients = principal_flow.stability_coefficient(h_lambda)
  np.testing.assert_allclose(coefficients, expected, rtol=1e-14, atol=1e-16)
  np.testing.assert_array_equal(np.sign(coefficients[-3:]), [-1, 0, 1])


# Of quadratics.


@pytest.mark.parametrize(
  ('eigenvalues', 'h', 'num_steps'),
  [
    ([2.0, 1.0, 0.02, 0.0], 0.3, 50),  # Monotone.
    ([2.0, 1.0, 0.02, 0.0], 0.9, 200),  # Oscillates: hλ = 1.8.
    ([2.0, 1.0, 0.02, 0.0], 1.05, 5),  # Diverges: hλ = 2.1.
    ([2.0, 1.0, 0.02, 0.0], 1.05, 60),
    ([3.0, 1.0, -1.0, 0.0], 0.7, 10),  # All at once, and a saddle.
    ([2.5, 2.5, 1.0, 1.0], 0.7, 20),  # Multiple eigenvalues.
    ([2.0, 1.0, 0.5, 0.25], 0.5, 4),  # Jumps to the minimum: hλ = 1.
  ],
)
def test_principal_flow_is_gradient_descent_on_quadratics(
  eigenvalues, h, num_steps
):
  matrix, start = quadratic(eigenvalues)
  expected = descend(loss_of(matrix), start, h, num_steps)
  size = max(1.0, float(jnp.linalg.norm(expected)))
  end = follow_quadratic(
    principal_flow.principal_flow, matrix, start, h, num_steps * h
  )
  np.testing.assert_allclose(end, expected, atol=1e-9 * size, rtol=0)


def test_principal_flow_between_steps_is_complex():
  """Half a step of x ← -0.8 x is a multiplication by i √0.8."""
  # As large as the quadratics above, whose program it is.
  end = follow_quadratic(
    *(principal_flow.principal_flow, 2 * jnp.eye(4), jnp.ones(4)), 0.9, 0.45
  )
  np.testing.assert_allclose(end, 4 * [1j * np.sqrt(0.8)], atol=1e-12)


def test_trajectory_passes_through_the_steps_of_gradient_descent():
  matrix, start = quadratic([2.0, 1.0, 0.02, 0.0])
  loss, h = loss_of(matrix), 1.05
  points = principal_flow.trajectory(
    lambda x: principal_flow.principal_flow(loss, x, h),
    start,
    h * jnp.arange(4) / 2,
  )
  np.testing.assert_allclose(points[0], start, atol=1e-12)
  np.testing.assert_allclose(points[2], descend(loss, start, h), atol=1e-8)
  assert np.abs(points[1].imag).max() > 0.1


@pytest.mark.parametrize('flow', list(FLOWS)[:3])
def test_other_flows_neither_oscillate_nor_diverge(flow):
  """Which is what they miss: hλ = 2.1, where descent diverges."""
  matrix, start = 2 * jnp.eye(1), jnp.ones(1)
  end = follow_quadratic(flow, matrix, start, 1.05, 5 * 1.05)
  assert 0 < end[0] < 1e-3
  assert abs(descend(loss_of(matrix), start, 1.05, 5)[0]) > 1.6


# Of one step elsewhere.


def _errors(flow, steps=STEPS):
  @jax.jit
  def error(h):
    start = jax.tree.map(jnp.asarray, WAVES_START)
    return distance(follow(flow, waves, start, h, h), descend(waves, start, h))

  return np.array([error(h) for h in steps])


def _slope(errors):
  return np.polyfit(np.log(STEPS), np.log(errors), 1)[0]


@pytest.mark.parametrize(
  ('flow', 'order'),
  [
    pytest.param(flow, order, marks=pytest.mark.slow if order == 4 else [])
    for flow, order in FLOWS.items()
  ],
)
def test_orders_of_local_errors(flow, order):
  np.testing.assert_allclose(_slope(_errors(flow)), order, atol=TOLERANCE)


@pytest.mark.parametrize(
  'num_pairs', [1, pytest.param(3, marks=pytest.mark.slow)]
)
def test_order_of_the_restricted_principal_flow(num_pairs):
  """Third, with the eigenvectors of the step's start, whatever their number."""

  def flow(loss, params, h):
    return principal_flow.top_principal_flow(loss, params, h, pairs)

  pairs = hessian.top_eigenpairs(
    functools.partial(hessian.product, waves, WAVES_START),
    WAVES_START,
    num_pairs,
    3,
    jax.random.key(0),
  )
  np.testing.assert_allclose(_slope(_errors(flow)), 3, atol=TOLERANCE)


def _pairs_of(matrix, num_pairs):
  return hessian.top_eigenpairs(
    lambda v: matrix @ v, matrix[0], num_pairs, 4, jax.random.key(1)
  )


def test_restricted_principal_flow_with_all_pairs_is_the_principal_flow():
  matrix, start = quadratic([3.0, 1.5, 0.2, -1.0])
  loss, pairs = loss_of(matrix), _pairs_of(matrix, 4)
  np.testing.assert_allclose(
    principal_flow.top_principal_flow(loss, start, 0.8, pairs),
    principal_flow.principal_flow(loss, start, 0.8),
    rtol=1e-9,
    atol=1e-11,
  )


def test_restricted_principal_flow_of_the_unstable_direction_suffices():
  """The others, with hλ up to 0.016, err by (hλ)³ / 3 at most."""
  matrix, start = quadratic([2.6, 0.02, 0.01, 0.0])
  loss, pairs = loss_of(matrix), _pairs_of(matrix, 1)
  flow = lambda loss, params, h: principal_flow.top_principal_flow(
    loss, params, h, pairs
  )
  end = follow(flow, loss, start, 0.8, 0.8)
  np.testing.assert_allclose(end, descend(loss, start, 0.8), atol=3e-6)
