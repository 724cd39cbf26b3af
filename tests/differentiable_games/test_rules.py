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

from differentiable_games import fields
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import tableaus
from differentiable_games import toy_games
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
  field = _field(SINES.losses)

  @jax.jit
  @jax.vmap
  def differences(h):
    past = rules.extrapolation_from_the_past(_sgd(h))
    ahead = rules.extragradient(_sgd(h))
    params = _start()
    state = past.init(params)
    steps = []
    for _ in range(3):
      other, _ = rules.move(ahead, field, params, ahead.init(params))
      params, state = rules.move(past, field, params, state)
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
  field = _field(SINES.losses)
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
    params, state = rules.move(past, field, params, state)
    ahead, other_state = rules.move(rule, field, ahead, other_state)


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
    params, state = rules.move(rule, field, params, state)
    np.testing.assert_allclose(_flat(params), z, atol=TOLERANCE)


def test_steps_of_plain_descent():
  """Against the steps written out on vectors."""
  lrs = (0.1, 0.3)
  optimizers = tuple(map(optax.sgd, lrs))
  params = _start()
  sizes = np.repeat(lrs, (2, 3))
  xi = lambda z: _flat(_field(SINES.losses)(({'w': z[:2]}, {'w': z[2:]})))
  at_once = _flat(params) - sizes * xi(_flat(params))
  turns = _flat(params).copy()
  for own in (slice(2, 5), slice(2, 5), slice(2, 5), slice(2), slice(2)):
    turns[own] = turns[own] - (sizes * xi(turns))[own]
  k1 = xi(_flat(params))
  k2 = xi(_flat(params) - 0.15 * k1)
  k3 = xi(_flat(params) - 0.15 * k2)
  k4 = xi(_flat(params) - 0.3 * k3)
  expected = {
    rules.simultaneous(optimizers): at_once,
    rules.alternating(optimizers, (1, 0), (2, 3)): turns,
    rules.runge_kutta(_sgd(0.3), tableaus.RUNGE_KUTTA[4], 0.3): (
      _flat(params) - 0.3 * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    ),
  }
  for rule, end in expected.items():
    moved, _ = rules.move(rule, _field(SINES.losses), params, rule.init(params))
    np.testing.assert_allclose(_flat(moved), end, atol=TOLERANCE)


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
    params, state = rules.move(rule, field, params, state)
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


class Recorder:
  """A field of scalars that says what it was given.

  Memory and logs count whose passes they went through.
  """

  def __init__(self):
    self.calls = []

  def __call__(self, params, memory, draws):
    self.calls.append((params, memory, tuple(draws)))
    movers = [i for i, draw in enumerate(draws) if draw is not None]
    directions, passes = [None] * 2, [None] * 2
    for i in movers:
      directions[i] = (10.0, 100.0)[i] * params[1 - i] + draws[i]
      seen = tuple(f'{own}{i}' for own in memory)
      passes[i] = game.Pass(seen, {f'loss {i}': draws[i]})
    return fields.Evaluation(directions, passes)


def _recorded(rule):
  recorder = Recorder()
  params = jnp.asarray(1.0), jnp.asarray(2.0)
  carry, logs = rule.step(
    recorder, float, rules.Carry(params, ('a', 'b'), rule.init(params))
  )
  return recorder.calls, carry, logs


RATES = (0.1, 0.01)


def _optimizers():
  return tuple(optax.sgd(rate, 0.5) for rate in RATES)


def test_players_that_move_at_once_see_the_same_point():
  rule = rules.simultaneous(_optimizers())
  assert rule.num_draws == 2
  calls, carry, logs = _recorded(rule)
  assert calls == [((1.0, 2.0), ('a', 'b'), (0.0, 1.0))]
  np.testing.assert_allclose(
    carry.params, (1 - 0.1 * 20, 2 - 0.01 * 101), rtol=1e-6
  )
  assert [float(own[0].trace) for own in carry.state] == [20.0, 101.0]
  # Each player's own memory, of the pass of its own loss.
  assert carry.memory == ('a0', 'b1')
  assert logs == {'loss 0': 0.0, 'loss 1': 1.0}


def test_players_in_turns_see_the_earlier_ones_moves():
  rule = rules.alternating(_optimizers(), (1, 0), num_updates=(3, 2))
  assert rule.num_draws == 5
  calls, carry, logs = _recorded(rule)
  # Who does not move has no draw.
  assert [draws for *_, draws in calls] == [
    (None, 0.0),
    (None, 1.0),
    (2.0, None),
    (3.0, None),
    (4.0, None),
  ]
  # Gradients 100 and 101, with momentum.
  second = 2 - 0.01 * 100 - 0.01 * (101 + 50)
  np.testing.assert_allclose(calls[2][0], (1.0, second), rtol=1e-9)
  trace, first = 0.0, 1.0
  for k in (2, 3, 4):
    trace = 0.5 * trace + 10 * second + k
    first -= 0.1 * trace
  np.testing.assert_allclose(carry.params, (first, second), rtol=1e-9)
  assert carry.memory == ('a11000', 'b11000')
  assert logs == {'loss 1': 1.0, 'loss 0': 4.0}


def test_stages_of_runge_kutta_have_draws_of_their_own():
  rule = rules.runge_kutta(_optimizers(), tableaus.RUNGE_KUTTA[2], 0.3)
  assert rule.num_draws == 4
  calls, carry, logs = _recorded(rule)
  assert [draws for *_, draws in calls] == [(0.0, 2.0), (1.0, 3.0)]
  # Both players' stages step by the one step size, from the same memory.
  ahead = (1 - 0.3 * 20, 2 - 0.3 * 102)
  np.testing.assert_allclose(calls[1][0], ahead, rtol=1e-9)
  assert calls[1][1] == ('a', 'b')
  combined = (20 + 10 * ahead[1] + 1) / 2, (102 + 100 * ahead[0] + 3) / 2
  np.testing.assert_allclose(
    carry.params, (1 - 0.1 * combined[0], 2 - 0.01 * combined[1]), rtol=1e-9
  )
  assert carry.memory == ('a0', 'b1')
  assert logs == {'loss 0': 0.0, 'loss 1': 2.0}


def test_what_comes_after_runge_kutta_is_added_once():
  after_calls = []

  def after(params, memory, draws):
    after_calls.append((params, memory, tuple(draws)))
    return fields.Evaluation([7.0, None], [None, None])

  plain, added = (
    rules.runge_kutta(_optimizers(), tableaus.RUNGE_KUTTA[2], 0.3, after=field)
    for field in (None, after)
  )
  _, expected, _ = _recorded(plain)
  _, carry, _ = _recorded(added)
  # At the initial params, with the first draws.
  assert after_calls == [((1.0, 2.0), ('a', 'b'), (0.0, 2.0))]
  np.testing.assert_allclose(
    carry.params,
    (expected.params[0] - 0.1 * 7, expected.params[1]),
    rtol=1e-9,
  )


def test_extragradient_keeps_the_first_pass():
  calls, carry, logs = _recorded(rules.extragradient(_optimizers()))
  assert [draws for *_, draws in calls] == [(0.0, 2.0), (1.0, 3.0)]
  assert [memory for _, memory, _ in calls] == [('a', 'b')] * 2
  assert carry.memory == ('a0', 'b1')
  assert logs == {'loss 0': 0.0, 'loss 1': 2.0}


@pytest.mark.parametrize(
  ('make', 'draws'),
  [
    (rules.simultaneous, [(0.0, 0.0)]),
    (rules.extragradient, [(0.0, 0.0), (1.0, 1.0)]),
    (rules.extrapolation_from_the_past, [(0.0, 0.0)]),
    (
      lambda optimizers, share: rules.runge_kutta(
        optimizers, tableaus.RUNGE_KUTTA[4], 0.1, share
      ),
      [(float(k), float(k)) for k in range(4)],
    ),
    (
      lambda optimizers, share: rules.lookahead(
        rules.extragradient(optimizers, share), [2]
      ),
      [(0.0, 0.0), (1.0, 1.0)],
    ),
  ],
)
def test_players_that_move_at_once_may_share_draws(make, draws):
  rule = make(_optimizers(), True)
  calls, _, _ = _recorded(rule)
  assert [own for *_, own in calls] == draws
  assert rule.num_draws == len(draws)
  assert make(_optimizers(), False).num_draws == 2 * len(draws)


def test_directions_a_turn():
  """What optimisers count, for schedules that count steps."""
  schedules = (optax.sgd(optax.constant_schedule(0.1)),) * 2
  for make, expected in (
    (rules.simultaneous, 1),
    (rules.extragradient, 2),
    (rules.extrapolation_from_the_past, 1),
    (lambda own: rules.lookahead(rules.extragradient(own), [2]), 2),
  ):
    rule = make(schedules)
    assert rule.directions_a_turn == expected
    _, carry, _ = _recorded(rule)
    counts = [
      int(leaf)
      for path, leaf in jax.tree_util.tree_leaves_with_path(carry.state)
      if jax.tree_util.keystr(path).endswith('.count')
    ]
    assert counts == [expected] * 2


@pytest.mark.slow
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
