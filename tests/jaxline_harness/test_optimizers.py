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
from ml_collections import config_dict
import numpy as np
import optax
import pytest

from jaxline_harness import errors
from jaxline_harness import optimizers
from jaxline_harness import settings


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


@pytest.mark.parametrize('kwargs', [{}, {'key': 7, 'eta': 0.5}])
def test_a_key_is_kept_as_plain_numbers(kwargs):
  optimizer, _ = optimizers.make_optimizer('noisy_sgd', 0.1, kwargs=kwargs)
  state = optimizer.init({'w': jnp.ones(3)})
  for leaf in jax.tree.leaves(state):
    assert np.asarray(leaf).dtype in (np.int32, np.uint32)
  reference = optax.noisy_sgd(0.1, **{'key': 0} | kwargs)
  grads, params = np.array([[1.0, 2.0]] * 3, np.float32), jnp.zeros(2)
  updates = _updates(optimizer, grads, params)
  np.testing.assert_array_equal(updates, _updates(reference, grads, params))
  assert np.abs(updates[0] - updates[1]).max() > 0


# Checks.


def check(lr=0.1, **given):
  declared = optimizers.declare(lr=0.1)
  config = settings.add_defaults(declared, {'lr': lr, **given})
  settings.check(declared, config, 'opt')
  optimizers.check('opt', config_dict.ConfigDict(config))


@pytest.mark.parametrize(
  ('name', 'kwargs'),
  [
    ('adam', {'mu_dtype': int}),
    ('adamw', {'mu_dtype': 'int8'}),
    ('lion', {'mu_dtype': bool}),
    ('amsgrad', {'mu_dtype': 'complex64'}),
    ('sgd', {'momentum': 0.9, 'accumulator_dtype': 'uint8'}),
    ('adafactor', {'momentum': 0.9, 'dtype_momentum': 'int32'}),
  ],
)
def test_averages_are_floating_point_numbers(name, kwargs):
  with pytest.raises(errors.UserError) as error:
    check(name=name, kwargs=kwargs)
  line = str(error.value)
  assert line.startswith(f'opt.kwargs: {name} would keep ')
  assert line.endswith('they must be floating-point ones')


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16', float, None])
def test_averages_of_other_floating_point_types(dtype):
  check(name='adam', kwargs={'mu_dtype': dtype})


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_every_optimiser_has_floating_point_averages(name):
  check(name=name, kwargs={'momentum': 0.9} if name == 'momentum' else {})


RISING = {
  'warmup_constant_schedule': {'peak_value': 0.1, 'warmup_steps': 3},
  'linear_schedule': {'end_value': 0.1, 'transition_steps': 3},
  'warmup_cosine_decay_schedule': {
    'peak_value': 0.1,
    'warmup_steps': 3,
    'decay_steps': 9,
  },
}


@pytest.mark.parametrize('name', RISING)
def test_a_schedule_may_rise_from_zero(name):
  check(lr=0.0, scheduler=name, scheduler_kwargs=RISING[name])
  optimizer, schedule = optimizers.make_optimizer(
    'sgd', 0.0, scheduler=name, scheduler_kwargs=RISING[name]
  )
  assert schedule(0) == 0
  assert schedule(3) > 0
  np.testing.assert_array_equal(_updates(optimizer, [1.0]), [0.0])


@pytest.mark.parametrize(
  ('name', 'kwargs'),
  [
    (None, {}),
    ('cosine_decay_schedule', {'decay_steps': 9}),
    ('exponential_decay', {'transition_steps': 9, 'decay_rate': 0.5}),
    ('linear_schedule', {'end_value': 0.0, 'transition_steps': 9}),
    ('piecewise_constant_schedule', {'boundaries_and_scales': {'3': 2.0}}),
  ],
)
def test_no_rate_is_zero_for_ever(name, kwargs):
  with pytest.raises(errors.UserError, match=r'^opt\.lr must be a finite numb'):
    check(lr=0.0, scheduler=name, scheduler_kwargs=kwargs)


def test_a_rate_is_never_negative():
  name = 'linear_schedule'
  with pytest.raises(errors.UserError, match=r'^opt\.lr must be a finite numb'):
    check(lr=-0.1, scheduler=name, scheduler_kwargs=RISING[name])
