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
"""Curvature and drift of a quadratic, whose flows are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from principal_flow_instability_single_objective import diagnostics

CURVATURES = np.array([2.6, 1.0, 0.2])
CENTRES = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0, 1, 0], [0, -1, -2]])
PARAMS = {'a': np.array([-1.0]), 'b': np.array([0.5, 2.0])}
# From the mean of the centres, (1, 0, 0).
DISTANCE = np.array([-2.0, 0.5, 2.0])
H = 0.9  # 2.34, 0.9 and 0.18 times: the first is beyond the edge.


def loss(params, batch):
  x = jnp.append(params['a'], params['b'])
  return ((x - batch) ** 2 @ CURVATURES).mean() / 2, {}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


@functools.lru_cache
def _program(num_pairs, microbatch_size):
  @jax.jit
  def measure(h):
    logs, pairs = diagnostics.curvature(
      loss, PARAMS, CENTRES, h, num_pairs, 3, microbatch_size
    )
    drift = diagnostics.drift(loss, PARAMS, CENTRES, h, pairs, microbatch_size)
    return logs | drift

  return measure


def measured(num_pairs, microbatch_size=None, h=H):
  return jax.device_get(_program(num_pairs, microbatch_size)(h))


@pytest.mark.slow
def test_curvature_and_stability():
  logs = measured(3)
  near = functools.partial(np.testing.assert_allclose, rtol=1e-9)
  near(logs['edge_of_stability'], 2 / 0.9)
  for i, curvature in enumerate(CURVATURES):
    z = H * curvature
    near(logs[f'lambda_{i}'], curvature)
    near(logs[f'stability_{i}'], np.log(abs(1 - z)) / z)
    near(
      logs[f'speed_{i}'],
      np.log(abs(1 - z)) / z * abs(curvature * DISTANCE[i]),
    )
  assert logs['stability_0'] > 0 > logs['stability_1']
  assert 'lambda_3' not in logs


@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_descent_diverges_beyond_the_edge(momentum):
  """On λ x² / 2, a hundredth below the edge and above it."""
  logs, _ = diagnostics.curvature(
    *(loss, PARAMS, CENTRES, H, 1, 3), momentum=momentum
  )
  assert ('stability_0' in logs) == ('speed_0' in logs) == (momentum == 0)
  curvatures = logs['edge_of_stability'] * jnp.array([0.99, 1.01])
  optimizer = optax.sgd(H, momentum=momentum)

  def step(carry, _):
    x, state = carry
    updates, state = optimizer.update(curvatures * x, state)
    return (optax.apply_updates(x, updates), state), None

  x = jnp.ones(2)
  (x, _), _ = jax.lax.scan(step, (x, optimizer.init(x)), length=3000)
  assert abs(x[0]) < 1e-6
  assert abs(x[1]) > 1e6


@pytest.mark.parametrize(
  'microbatch_size', [None, pytest.param(2, marks=pytest.mark.slow)]
)
def test_drift(microbatch_size):
  """Gradient descent multiplies the distance by 1 - z."""
  logs = measured(3, microbatch_size)
  z = H * CURVATURES
  step = (1 - z) * DISTANCE
  length = np.linalg.norm(z * DISTANCE)
  near = functools.partial(
    np.testing.assert_allclose, rtol=0, atol=diagnostics.RESOLUTION * length
  )
  near(logs['step_length'], length)
  near(
    logs['drift_gradient_flow'],
    np.linalg.norm(step - np.exp(-z) * DISTANCE),
  )
  near(
    logs['drift_igr_flow'],
    np.linalg.norm(step - np.exp(-z - z**2 / 2) * DISTANCE),
  )
  near(logs['drift_principal_flow'], 0)


@pytest.mark.slow
def test_drift_of_the_principal_flow_along_one_direction():
  """The others follow the IGR flow."""
  z, distance = H * CURVATURES[1:], DISTANCE[1:]
  expected = np.linalg.norm((1 - z - np.exp(-z - z**2 / 2)) * distance)
  np.testing.assert_allclose(
    measured(1)['drift_principal_flow'], expected, rtol=1e-3
  )


def test_a_flow_that_cannot_be_followed_is_nan():
  """It decays by exp(-52000) in the time of a step: too stiff."""
  logs = measured(1, h=2e4)
  assert np.isnan(logs['drift_gradient_flow'])
  assert np.isfinite(logs['lambda_0'])
