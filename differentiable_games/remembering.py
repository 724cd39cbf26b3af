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
"""Rules for fields that remember something from step to step."""

from collections.abc import Callable
from typing import Any, NamedTuple

from differentiable_games import fields
from differentiable_games import rules


class RememberingState(NamedTuple):
  """State of `remember`.

  Attributes:
    rule: the state of the rule that makes the steps.
    remembered: what the field remembers, one entry a player.
  """

  rule: Any
  remembered: Any


def remember(
  rule: rules.UpdateRule, begin: Callable[[Any], Any]
) -> rules.UpdateRule:
  """A rule that hands a field what it remembers, with the players' memory.

  Args:
    rule: makes the steps.
    begin: maps the initial parameters to what the field remembers at first, one
      entry a player.

  Returns:
    The rule. Its fields see a `fields.Remembered` in place of each player's
    memory, and leave one.
  """

  def init(params):
    return RememberingState(rule.init(params), begin(params))

  def step(field, draw, carry):
    state = carry.state
    memory = fields.join_memory(carry.memory, state.remembered)
    moved, logs = rule.step(
      field, draw, carry._replace(memory=memory, state=state.rule)
    )
    networks, remembered = fields.split_memory(moved.memory)
    state = RememberingState(moved.state, remembered)
    return moved._replace(memory=networks, state=state), logs

  def evaluated(carry):
    return rule.evaluated(carry._replace(state=carry.state.rule))

  return rules.UpdateRule(
    rule.num_draws, init, step, evaluated, rule.directions_a_turn
  )
