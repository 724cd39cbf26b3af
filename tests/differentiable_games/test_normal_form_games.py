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
"""Normal-form games: payoffs, equilibria, exploitability."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import game
from differentiable_games import normal_form_games

ZERO_SUM = {
  'pennies': normal_form_games.matching_pennies(),
  'rock_paper_scissors': normal_form_games.rock_paper_scissors(),
  'random_2': normal_form_games.random_zero_sum(jax.random.key(1), 2),
  'random_10': normal_form_games.random_zero_sum(jax.random.key(2), 10),
}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _softmax(logits):
  weights = np.exp(logits)
  return weights / weights.sum()


def _logits(strategy):
  return jnp.log(jnp.asarray(strategy) + 1e-13)


def test_losses_and_exploitability_of_three_players():
  """Against sums over all joint actions."""
  rng = np.random.default_rng(0)
  shape = (2, 3, 2)
  payoffs = [jnp.asarray(rng.normal(size=shape)) for _ in shape]
  logits = [jnp.asarray(rng.normal(size=n)) for n in shape]
  strategies = [_softmax(own) for own in logits]

  def expected(i, played):
    return sum(
      payoffs[i][actions]
      * np.prod([s[a] for s, a in zip(played, actions, strict=True)])
      for actions in itertools.product(*map(range, shape))
    )

  gains = 0.0
  for i, loss in enumerate(normal_form_games.losses(payoffs)):
    value = expected(i, strategies)
    np.testing.assert_allclose(loss(logits), -value, rtol=1e-10)
    answers = [
      expected(i, [*strategies[:i], pure, *strategies[i + 1 :]])
      for pure in np.eye(shape[i])
    ]
    gains += max(answers) - value
  np.testing.assert_allclose(
    normal_form_games.exploitability(payoffs, logits), gains, rtol=1e-10
  )


@pytest.mark.parametrize('name', ZERO_SUM)
def test_equilibria_cannot_be_exploited(name):
  payoffs = ZERO_SUM[name]
  equilibrium = normal_form_games.zero_sum_equilibrium(payoffs)
  logits = tuple(map(_logits, equilibrium))
  for strategy in equilibrium:
    np.testing.assert_allclose(strategy.sum(), 1.0)
    assert strategy.min() >= -1e-12
  # The payoffs are float32 numbers.
  assert abs(normal_form_games.exploitability(payoffs, logits)) < 1e-6
  moved = (logits[0] + jnp.arange(len(logits[0])), logits[1])
  assert normal_form_games.exploitability(payoffs, moved) > 1e-3


@pytest.mark.parametrize('name', ['pennies', 'rock_paper_scissors'])
def test_uniform_play_is_the_equilibrium(name):
  payoffs = ZERO_SUM[name]
  for strategy in normal_form_games.zero_sum_equilibrium(payoffs):
    np.testing.assert_allclose(strategy, 1 / len(strategy), atol=1e-12)
  logits = tuple(jnp.zeros(n) for n in payoffs[0].shape)
  gradient = game.simultaneous_gradient(
    normal_form_games.losses(payoffs), logits
  )
  np.testing.assert_allclose(jnp.concatenate(gradient), 0.0, atol=1e-12)


def test_each_action_beats_the_one_before():
  first, second = normal_form_games.rock_paper_scissors()
  for i in range(3):
    assert first[i, i - 1] == 1
    assert second[i, i - 1] == -1
    assert first[i, i] == 0
