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
"""Tests of optimisers and schedules by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxline_harness import optimizers


def _updates(optimizer, grads, params=1.0):
  """The updates that an optimiser makes of successive gradients."""
  state, out = optimizer.init(params), []
  for grad in grads:
    update, state = optimizer.update(jnp.asarray(grad), state, params)
    out.append(np.asarray(update))
  return out


def test_sgd():
  optimizer, schedule = optimizers.make_optimizer('sgd', 0.1)
  np.testing.assert_allclose(_updates(optimizer, [2.0, -3.0]), [-0.2, 0.3])
  assert schedule(0) == schedule(1000) == 0.1


def test_sgd_without_momentum_keeps_no_trace():
  optimizer, _ = optimizers.make_optimizer('sgd', 0.1, kwargs={'momentum': 0.0})
  assert not jax.tree.leaves(optimizer.init(jnp.ones(3)))
  with_trace, _ = optimizers.make_optimizer(
    'sgd', 0.1, kwargs={'momentum': 0.5}
  )
  assert jax.tree.leaves(with_trace.init(jnp.ones(3)))


DECAY = {
  'scheduler': 'piecewise_constant_schedule',
  # As a config holds it: boundaries are strings.
  'scheduler_kwargs': {'boundaries_and_scales': {'1': 0.5, '2': 0.1}},
}
RATES = [0.2, 0.1, 0.01]


def test_schedule_of_sgd():
  optimizer, schedule = optimizers.make_optimizer('sgd', 0.2, **DECAY)
  np.testing.assert_allclose([schedule(k) for k in range(3)], RATES)
  np.testing.assert_allclose(
    _updates(optimizer, [1.0, 2.0, 3.0]), [-0.2, -0.2, -0.03], rtol=1e-6
  )


def test_momentum_traces_before_the_schedule():
  optimizer, _ = optimizers.make_optimizer(
    'momentum', 0.2, kwargs={'momentum': 0.5}, **DECAY
  )
  traces = [1.0, 2.5, 4.25]
  np.testing.assert_allclose(
    _updates(optimizer, [1.0, 2.0, 3.0]), -np.multiply(RATES, traces), rtol=1e-6
  )


@pytest.mark.parametrize('scheduled', [True, False])
def test_adam(scheduled):
  kwargs = {'b1': 0.5, 'b2': 0.9}
  optimizer, _ = optimizers.make_optimizer(
    'adam', 0.2, kwargs=kwargs, **(DECAY if scheduled else {})
  )
  first = second = 0.0
  expected = []
  for k, grad in enumerate([1.0, 2.0, -3.0]):
    first = 0.5 * first + 0.5 * grad
    second = 0.9 * second + 0.1 * grad**2
    first_hat, second_hat = (
      first / (1 - 0.5 ** (k + 1)),
      second / (1 - 0.9 ** (k + 1)),
    )
    rate = RATES[k] if scheduled else 0.2
    expected.append(-rate * first_hat / (np.sqrt(second_hat) + 1e-8))
  np.testing.assert_allclose(
    _updates(optimizer, [1.0, 2.0, -3.0]), expected, rtol=1e-5
  )


def test_any_optax_alias():
  optimizer, _ = optimizers.make_optimizer(
    'rmsprop', 0.1, kwargs={'decay': 0.8}
  )
  expected = _updates(optax.rmsprop(0.1, decay=0.8), [1.0, 2.0])
  np.testing.assert_allclose(_updates(optimizer, [1.0, 2.0]), expected)


@pytest.mark.parametrize('scheduled', [True, False])
@pytest.mark.parametrize('name', ['sgd', 'momentum'])
def test_clip_bounds_each_element_of_the_update(name, scheduled):
  kwargs = {'momentum': 0.0} if name == 'momentum' else {}
  optimizer, _ = optimizers.make_optimizer(
    name, 0.2, clip=0.3, kwargs=kwargs, **(DECAY if scheduled else {})
  )
  grads = np.array([[1.0, -2.0, 5.0]] * 2)
  rates = RATES[:2] if scheduled else [0.2, 0.2]
  # lr · gradient is bounded: 0.2 · 5 is, 0.2 · 1 is not.
  expected = [np.clip(-rate * grads[0], -0.3, 0.3) for rate in rates]
  np.testing.assert_allclose(
    _updates(optimizer, grads, jnp.zeros(3)), expected, rtol=1e-6
  )
