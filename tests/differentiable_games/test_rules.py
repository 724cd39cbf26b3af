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
"""Update rules: their algorithms, and other implementations of them."""

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import game
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import toy_games
from differentiable_games import updates
from tests.differentiable_games import sine_game

TOLERANCE = 1e-9
SINES = sine_game.make((2, 3), seed=11)


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _flat(tree):
  return np.asarray(ravel_pytree(tree)[0])


def _field(losses):
  return lambda params: game.simultaneous_gradient(losses, params)


def _start():
  z = np.random.default_rng(8).normal(size=5)
  return {'w': jnp.asarray(z[:2])}, {'w': jnp.asarray(z[2:])}


def _sgd(rate):
  return (optax.sgd(rate),) * 2


def test_extragradient_and_the_past_part_at_third_order():
  """From the second step on; the first has no past, and parts at second."""
  hs = 2.0 ** -np.arange(6, 11)
  field = rules.every_draw(_field(SINES.losses))

  @jax.jit
  @jax.vmap
  def differences(h):
    past = rules.extrapolation_from_the_past(_sgd(h))
    ahead = rules.extragradient(_sgd(h))
    params = _start()
    state = past.init(params)
    steps = []
    for _ in range(3):
      other, _, _ = ahead.step(field, params, ahead.init(params))
      params, state, _ = past.step(field, params, state)
      difference = jax.tree.map(lambda a, b: a - b, params, other)
      steps.append(optax.tree.norm(difference))
    return jnp.stack(steps)

  slopes = np.polyfit(np.log(hs), np.log(differences(hs)), 1)[0]
  # Later steps agree better: the past is then no farther than they are apart.
  np.testing.assert_allclose(slopes, [2, 3, 4], atol=0.1)


@pytest.mark.parametrize('name', ['sgd', 'adam'])
def test_the_past_looks_ahead_to_the_points_of_optimism(name):
  """Optimistic descent and optimistic Adam of optax, with no past at first."""
  base, optimistic = {
    'sgd': (optax.sgd(0.1), optax.optimistic_gradient_descent(0.1)),
    'adam': (optax.adam(0.1), optax.optimistic_adam_v2(0.1, nesterov=False)),
  }[name]
  past = rules.extrapolation_from_the_past((base,) * 2)
  rule = rules.simultaneous((optimistic,) * 2)
  field = rules.every_draw(_field(SINES.losses))
  params = _start()
  state = past.init(params)
  ahead, other_state = params, rule.init(params)
  # optax's first step takes the gradient itself for its past.
  other_state = jax.tree.map(
    lambda leaf: jnp.array(False) if leaf.dtype == bool else leaf, other_state
  )
  for _ in range(6):
    np.testing.assert_allclose(
      _flat(optax.apply_updates(params, state.last_update)),
      _flat(ahead),
      atol=TOLERANCE,
    )
    params, state, _ = past.step(field, params, state)
    ahead, other_state, _ = rule.step(field, ahead, other_state)


def test_extra_adam_is_its_algorithm():
  """Algorithm 4 of Gidel et al. 2019, in NumPy."""
  lr, b1, b2, eps = 0.05, 0.5, 0.9, 1e-8
  rule = rules.extragradient((optax.adam(lr, b1, b2, eps),) * 2)
  field = _field(SINES.losses)
  params = _start()
  state = rule.init(params)
  z = _flat(params)
  m, v = np.zeros(5), np.zeros(5)
  for t in range(4):
    start = z
    for half in (1, 2):
      count = 2 * t + half
      g = SINES.gradient(z)
      m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
      z = start - lr * (m / (1 - b1**count)) / (
        np.sqrt(v / (1 - b2**count)) + eps
      )
    params, state, _ = rule.step(rules.every_draw(field), params, state)
    np.testing.assert_allclose(_flat(params), z, atol=TOLERANCE)


def test_steps_of_plain_descent_are_those_of_updates():
  field = _field(SINES.losses)
  lrs = (0.1, 0.3)
  optimizers = tuple(map(optax.sgd, lrs))
  params = _start()
  expected = {
    rules.simultaneous(optimizers): updates.simultaneous_step(
      field, params, lrs
    ),
    rules.alternating(optimizers, (1, 0), (2, 3)): updates.alternating_step(
      field, params, lrs, (1, 0), (2, 3)
    ),
    rules.runge_kutta(
      _sgd(0.3), updates.RUNGE_KUTTA[4], 0.3
    ): updates.runge_kutta_step(field, params, 0.3, updates.RUNGE_KUTTA[4]),
  }
  for rule, end in expected.items():
    moved, _, _ = rule.step(rules.every_draw(field), params, rule.init(params))
    np.testing.assert_allclose(_flat(moved), _flat(end), atol=TOLERANCE)


def test_lookahead_is_each_players_in_optax():
  """Where players move at once; slow parameters included."""
  fast = optax.adam(0.1)
  rule = rules.lookahead(rules.simultaneous((fast,) * 2), [3], 0.7)
  optimizer = optax.lookahead(fast, sync_period=3, slow_step_size=0.7)
  field = _field(SINES.losses)
  params = _start()
  state = rule.init(params)
  pairs = tuple(map(optax.LookaheadParams.init_synced, params))
  states = tuple(map(optimizer.init, pairs))
  for _ in range(7):
    params, state, _ = rule.step(rules.every_draw(field), params, state)
    direction = field(tuple(pair.fast for pair in pairs))
    results = [
      optimizer.update(*own)
      for own in zip(direction, states, pairs, strict=True)
    ]
    pairs = tuple(
      optax.apply_updates(pair, update)
      for pair, (update, _) in zip(pairs, results, strict=True)
    )
    states = tuple(new for _, new in results)
    for k in range(2):
      np.testing.assert_allclose(params[k]['w'], pairs[k].fast['w'], atol=1e-12)
      np.testing.assert_allclose(
        state.slow[0][k]['w'], pairs[k].slow['w'], atol=1e-12
      )


@pytest.mark.parametrize('periods', [(), (0,), (3, 4), (6, 3)])
def test_lookahead_periods(periods):
  with pytest.raises(ValueError, match='multiple of the last'):
    rules.lookahead(rules.simultaneous(_sgd(0.1)), periods)


def test_draws_and_their_outputs_are_in_order():
  for rule, num_draws in (
    (rules.simultaneous(_sgd(0.1)), 1),
    (rules.alternating(_sgd(0.1), (1, 0), (3, 2)), 5),
    (rules.extragradient(_sgd(0.1)), 2),
    (rules.extrapolation_from_the_past(_sgd(0.1)), 1),
    (rules.runge_kutta(_sgd(0.1), updates.RUNGE_KUTTA[4], 0.1), 4),
    (rules.lookahead(rules.extragradient(_sgd(0.1)), [2]), 2),
  ):

    def field(params, draw):
      return game.simultaneous_gradient(SINES.losses, params), draw

    _, _, aux = rule.step(field, _start(), rule.init(_start()))
    assert aux == tuple(range(num_draws))
    assert rule.num_draws == num_draws


def test_a_rule_over_devices_is_that_of_the_mean_game():
  """Extragradient of competitive descent, solved with products of all."""
  matrices = np.random.default_rng(4).normal(size=(4, 2, 2))
  rule = rules.extragradient((optax.adam(0.1),) * 2)
  start = (jnp.ones(2), jnp.array([0.5, -1.0]))

  def run(losses):
    return rules.trajectory(
      rule,
      lambda p: solved_adjustments.competitive(losses, p, (0.1, 0.1)),
      start,
      3,
    )

  def on_device(matrix):
    return run(
      [game.mean_over_devices(loss, 'i') for loss in toy_games.bilinear(matrix)]
    )

  points = jax.pmap(on_device, axis_name='i')(matrices)
  expected = run(toy_games.bilinear(matrices.mean(axis=0)))
  for own, other in zip(points, expected, strict=True):
    np.testing.assert_allclose(own, np.stack([other] * 4), atol=1e-6)
