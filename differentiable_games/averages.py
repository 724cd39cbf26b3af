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
r"""Averages of parameters over the steps of a rule, which one evaluates.

They change nothing of how players move.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import optax

from differentiable_games import game
from differentiable_games import rules


class AverageState(NamedTuple):
  """State of `average`.

  Attributes:
    rule: the state of the rule that makes the steps.
    means: the averages, one for each player that has one.
  """

  rule: Any
  means: tuple[Any, ...]


def average(
  rule: rules.UpdateRule, decay: float, players: Sequence[int]
) -> rules.UpdateRule:
  r"""A rule whose players are evaluated by averages of their parameters.

  After each step, from :math:`\bar\theta_0 = \theta_0`,

  .. math::
    \bar\theta_t = \beta \bar\theta_{t-1} + (1 - \beta) \theta_t
    = \beta^t \theta_0 + (1 - \beta) \sum_{s=1}^t \beta^{t-s} \theta_s

  where :math:`\theta` is what the rule evaluates: with `rules.lookahead` the
  slowest parameters.

  Args:
    rule: makes the steps.
    decay: :math:`\beta`, from 0 to 1.
    players: those with an average; of the others the rule's own parameters are
      evaluated.

  Returns:
    The rule.

  References:
    Yazıcı et al., "The Unusual Effectiveness of Averaging in GAN Training",
    2019.
  """

  def init(params):
    means = tuple(params[i] for i in players)
    return AverageState(rule.init(params), means)

  def step(field, draw, carry):
    moved, logs = rule.step(field, draw, carry._replace(state=carry.state.rule))
    params = rule.evaluated(moved)
    means = tuple(
      optax.incremental_update(params[i], mean, 1 - decay)
      for i, mean in zip(players, carry.state.means, strict=True)
    )
    return moved._replace(state=AverageState(moved.state, means)), logs

  def evaluated(carry):
    params = evaluate_last(rule, carry)
    for i, mean in zip(players, carry.state.means, strict=True):
      params = game.replace_player(params, i, mean)
    return params

  return rules.UpdateRule(
    rule.num_draws, init, step, evaluated, rule.directions_a_turn
  )


def evaluate_last(rule: rules.UpdateRule, carry: rules.Carry) -> Any:
  """The parameters that are averaged, as they are now.

  Args:
    rule: the one that `average` was given.
    carry: of the one that it made.
  """
  return rule.evaluated(carry._replace(state=carry.state.rule))
