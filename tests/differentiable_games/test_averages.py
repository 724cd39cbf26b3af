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
"""Averages over the steps of a rule, against the sums that they are."""

import jax
import numpy as np
import optax
import pytest

from differentiable_games import averages
from differentiable_games import game
from differentiable_games import rules
from tests.differentiable_games import sine_game

SINES = sine_game.make((2, 3), seed=11)
DECAY, NUM_STEPS = 0.8, 6
BOTH = (optax.adam(0.1),) * 2


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _start():
  z = np.random.default_rng(8).normal(size=5)
  return {'w': z[:2]}, {'w': z[2:]}


def _run(rule):
  """The Carries of a rule from its start."""
  params = _start()
  carries = [rules.Carry(params, (None, None), rule.init(params))]
  for _ in range(NUM_STEPS):
    params, state = rules.move(
      rule,
      lambda p: game.simultaneous_gradient(SINES.losses, p),
      params,
      carries[-1].state,
    )
    carries.append(rules.Carry(params, (None, None), state))
  return carries


@pytest.mark.parametrize(
  'rule',
  [
    rules.alternating(BOTH, (1, 0), (2, 1)),
    rules.lookahead(rules.extragradient(BOTH), [2, 4]),
  ],
)
def test_the_average_is_the_explicit_sum(rule):
  """Of what the rule evaluates: with lookahead, of the slow parameters."""
  plain = _run(rule)
  evaluated = [rule.evaluated(carry) for carry in plain]
  averaged = averages.average(rule, DECAY, [1])
  carries = _run(averaged)
  for t, carry in enumerate(carries):
    jax.tree.map(np.testing.assert_array_equal, carry.params, plain[t].params)
    terms = [DECAY ** (t - s) * evaluated[s][1]['w'] for s in range(1, t + 1)]
    expected = DECAY**t * _start()[1]['w'] + (1 - DECAY) * sum(terms)
    found = averaged.evaluated(carry)
    np.testing.assert_allclose(found[1]['w'], expected, rtol=1e-12)
    # The other player has no average.
    np.testing.assert_array_equal(found[0]['w'], evaluated[t][0]['w'])
    last = averages.evaluate_last(rule, carry)
    np.testing.assert_array_equal(last[1]['w'], evaluated[t][1]['w'])


def test_an_average_of_lookahead_is_not_of_the_fast_parameters():
  """So that the test above can tell the two."""
  carry = _run(rules.lookahead(rules.extragradient(BOTH), [4]))[3]
  assert np.abs(carry.params[1]['w'] - carry.state.slow[0][1]['w']).max() > 0.1


def test_the_rule_itself_is_left_as_it_is():
  rule = rules.lookahead(rules.extragradient(BOTH), [2])
  averaged = averages.average(rule, DECAY, [0, 1])
  assert averaged.num_draws == rule.num_draws
  assert averaged.directions_a_turn == rule.directions_a_turn == 2
