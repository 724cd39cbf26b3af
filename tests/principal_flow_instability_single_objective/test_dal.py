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
"""Drift-adjusted learning rates against closed forms and plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from principal_flow_instability_single_objective import batches
from principal_flow_instability_single_objective import dal
from principal_flow_instability_single_objective import hessian

# A quadratic of two parameters, where ‖H g‖ / ‖g‖ is known.
CURVATURES = jnp.array([4.0, 1.0])


def quadratic(params):
  x = jnp.append(params['a'], params['b'])
  return (CURVATURES * x**2).sum() / 2


START = {'a': jnp.array([0.3]), 'b': jnp.array([-0.4])}
PRODUCT = functools.partial(hessian.product, quadratic, START)


def one_update(optimizer, grads, product):
  state = optimizer.init(grads)
  return optimizer.update(grads, state, None, hessian_product=product)


def classify(params, batch):
  """A small tanh network's cross-entropy, and its accuracy."""
  hidden = jnp.tanh(batch['x'] @ params['w0'])
  logits = hidden @ params['w1']
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
  return losses.mean(), {'right': (logits.argmax(-1) == batch['y']).mean()}


def network(seed=0, num_examples=24):
  random = np.random.default_rng(seed)
  params = {
    'w0': jnp.asarray(random.normal(size=(5, 6)), jnp.float32),
    'w1': jnp.asarray(random.normal(size=(6, 3)), jnp.float32),
  }
  batch = {
    'x': jnp.asarray(random.normal(size=(num_examples, 5)), jnp.float32),
    'y': jnp.asarray(random.integers(3, size=num_examples)),
  }
  return params, batch


def assert_close(actual, expected, rtol):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=rtol, atol=rtol * np.abs(b).max()
    ),
    actual,
    expected,
  )


# The transformation.


@pytest.mark.parametrize('power', [0.25, 0.5, 1.0])
@pytest.mark.parametrize('base', [0.01, 0.3])
def test_learning_rate_is_the_formula(power, base):
  """g = (1.2, -0.4), H g = (4.8, -0.4): the base rate does not matter."""
  optimizer = optax.chain(dal.scale_by_dal(power, base), optax.sgd(base))
  grads = jax.grad(quadratic)(START)
  updates, state = one_update(optimizer, grads, PRODUCT)
  ratio = np.hypot(4.8, 0.4) / np.hypot(1.2, 0.4)
  expected = 2 / ratio**power
  assert_close(updates, jax.tree.map(lambda g: -expected * g, grads), rtol=1e-6)
  measured = dal.state_of(state)._asdict()
  assert_close(
    {name: float(value) for name, value in measured.items()},
    {
      'num_updates': 1,
      'learning_rate': expected,
      'gradient_norm': np.hypot(1.2, 0.4),
      'product_norm': np.hypot(4.8, 0.4),
      'ratio': ratio,
    },
    rtol=1e-6,
  )


def test_learning_rate_is_clipped():
  optimizer = dal.scale_by_dal(1.0, 0.1, max_learning_rate=0.2)
  grads = jax.grad(quadratic)(START)
  updates, state = one_update(optimizer, grads, PRODUCT)
  assert_close(updates, jax.tree.map(lambda g: 2 * g, grads), rtol=1e-6)
  np.testing.assert_allclose(state.learning_rate, 0.2)


@pytest.mark.parametrize('power', [0.0, 0.5])
def test_zero_gradient_and_zero_curvature_are_no_nan(power):
  optimizer = dal.scale_by_dal(power, 0.1)
  zero = jax.tree.map(jnp.zeros_like, START)
  updates, state = one_update(optimizer, zero, PRODUCT)
  assert_close(updates, zero, rtol=0)
  assert np.isfinite(state).all()
  flat = lambda v: jax.tree.map(jnp.zeros_like, v)
  _, state = one_update(optimizer, START, flat)
  np.testing.assert_allclose(state.learning_rate, 5.0 if power else 0.1)


def run(optimizer, num_steps, start=START):
  """Parameters and learning rates after each of the steps."""

  @jax.jit
  def step(params, state):
    grads = jax.grad(quadratic)(params)
    product = functools.partial(hessian.product, quadratic, params)
    updates, state = optimizer.update(
      grads, state, params, hessian_product=product
    )
    return optax.apply_updates(params, updates), state

  optimizer = optax.with_extra_args_support(optimizer)
  params, state, rates = start, optimizer.init(start), []
  for _ in range(num_steps):
    params, state = step(params, state)
    is_dal = any(isinstance(s, dal.DalState) for s in state)
    rates.append(float(dal.state_of(state).learning_rate) if is_dal else None)
  return params, rates


def test_power_zero_is_plain_descent_to_the_bit():
  sgd = optax.sgd(0.3, momentum=0.9)
  with_dal, _ = run(optax.chain(dal.scale_by_dal(0, 0.3), sgd), 7)
  plain, _ = run(optax.chain(sgd), 7)
  jax.tree.map(np.testing.assert_array_equal, with_dal, plain)


def test_start_and_stop():
  optimizer = optax.chain(
    dal.scale_by_dal(1.0, 0.1, start=2, stop=4), optax.sgd(0.1)
  )
  _, rates = run(optimizer, 6)
  is_plain = np.isclose(rates, 0.1, rtol=1e-6)
  np.testing.assert_array_equal(
    is_plain, [True, True, False, False, True, True]
  )


def test_chains_with_momentum_and_a_schedule():
  """Against a loop in NumPy."""
  base, decay, power = 0.1, 0.9, 0.5
  schedule = optax.exponential_decay(base, transition_steps=1, decay_rate=0.8)
  optimizer = optax.chain(
    dal.scale_by_dal(power, base), optax.sgd(schedule, momentum=decay)
  )
  params, _ = run(optimizer, 5)
  x, trace, curvatures = np.array([0.3, -0.4]), np.zeros(2), np.array([4.0, 1])
  for t in range(5):
    g = curvatures * x
    ratio = np.linalg.norm(curvatures * g) / np.linalg.norm(g)
    trace = decay * trace + 2 / ratio**power / base * g
    x = x - base * 0.8**t * trace
  np.testing.assert_allclose(
    np.append(params['a'], params['b']), x, rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('base', [1e-3, 0.1])
def test_no_applied_rate_is_above_the_maximum(base):
  largest, factor = 0.5, 1000
  schedule = optax.warmup_constant_schedule(base, factor * base, 4)
  chain = optax.chain(
    dal.scale_by_dal(0.5, base, largest, schedule=schedule), optax.sgd(schedule)
  )
  state = chain.init(START)
  grads = {'w': np.ones(1, np.float32)}
  for _ in range(6):  # Of flat ground, where DAL's own rate has no bound.
    updates, state = chain.update(
      grads, state, hessian_product=lambda v: jax.tree.map(jnp.zeros_like, v)
    )
    # The schedule's first value is the optimiser's rate but for rounding.
    assert 0.9999 < -updates['w'] / largest < 1.000001


def test_dal_finds_the_stable_rate_of_a_parabola():
  """λ = 4: p = 1 takes 2/λ = 0.5 and bounces, p = 2 takes 1/8."""
  parabola = {'a': jnp.array([0.3]), 'b': jnp.array([0.0])}
  for power, expected in ((1.0, 0.5), (2.0, 0.125)):
    optimizer = optax.chain(dal.scale_by_dal(power, 0.1), optax.sgd(0.1))
    params, rates = run(optimizer, 4, parabola)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    end = 0.3 * (1 - 4 * expected) ** 4
    np.testing.assert_allclose(params['a'], end, rtol=1e-5)


# Products and batches.


def test_product_shares_the_gradients_pass():
  params, batch = network()
  (value, logs), grads, product = batches.gradient_and_product(
    classify, params, batch
  )
  expected, expected_logs = classify(params, batch)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_array_equal(logs['right'], expected_logs['right'])
  loss = lambda p: classify(p, batch)[0]
  assert_close(grads, jax.grad(loss)(params), rtol=1e-5)
  assert_close(product(grads), hessian.product(loss, params, grads), rtol=1e-5)


def test_microbatches_are_the_full_batch():
  params, batch = network()
  full, grads, product = batches.gradient_and_product(classify, params, batch)
  value, parts, product_of_parts = batches.gradient_and_product(
    classify, params, batch, 6
  )
  assert_close((value, parts), (full, grads), rtol=1e-5)
  assert_close(product_of_parts(grads), product(grads), rtol=1e-5)
  whole, _, _ = batches.gradient_and_product(classify, params, batch, 1000)
  assert_close(whole, full, rtol=0)
  assert_close(
    batches.product(classify, params, grads, batch, 8), product(grads), 1e-5
  )


def test_microbatches_must_fill_the_batch():
  params, batch = network()
  with pytest.raises(ValueError, match='24 examples in microbatches of 5'):
    batches.gradient(classify, params, batch, 5)


def test_finite_differences_are_near_the_exact_product():
  """The offset is 0.01 long: 2 % of ‖H g‖, and of DAL's rate."""
  params, batch = network()
  _, grads, exact = batches.gradient_and_product(classify, params, batch)
  near = dal.finite_difference_product(
    lambda p: batches.gradient(classify, p, batch)[1], params, grads
  )
  difference = optax.tree.norm(optax.tree.sub(near(grads), exact(grads)))
  assert 0 < difference < 0.02 * optax.tree.norm(exact(grads))
  rates = [
    one_update(dal.scale_by_dal(1.0, 0.1), grads, product)[1].learning_rate
    for product in (near, exact)
  ]
  np.testing.assert_allclose(*rates, rtol=0.02)


def test_finite_differences_are_exact_for_quadratics():
  grads = jax.grad(quadratic)(START)
  near = dal.finite_difference_product(jax.grad(quadratic), START, grads)
  assert_close(near(grads), PRODUCT(grads), rtol=1e-4)
  zero = jax.tree.map(jnp.zeros_like, grads)
  assert_close(near(zero), zero, rtol=0)


def test_devices_share_a_batch():
  """Four devices with a quarter of the batch each are one with all of it."""
  params, batch = network()
  optimizer = optax.chain(dal.scale_by_dal(0.5, 0.1), optax.sgd(0.1))

  def update(batch, mean):
    _, grads, product = batches.gradient_and_product(classify, params, batch)
    return one_update(optimizer, mean(grads), lambda v: mean(product(v)))

  alone, state = update(batch, lambda tree: tree)
  shares = jax.tree.map(lambda x: x.reshape(4, 6, *x.shape[1:]), batch)
  mean = functools.partial(jax.lax.pmean, axis_name='i')
  together, states = jax.pmap(
    lambda share: update(share, mean), axis_name='i', devices=jax.devices()[:4]
  )(shares)
  for device in range(4):
    assert_close(
      jax.tree.map(lambda x, i=device: x[i], together), alone, rtol=1e-5
    )
  np.testing.assert_allclose(
    dal.state_of(states).ratio, 4 * [dal.state_of(state).ratio], rtol=1e-5
  )
