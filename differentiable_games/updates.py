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
r"""One discrete step of a game: simultaneous, in turns, or Runge-Kutta.

A `field` maps all players' parameters to the direction that each descends:
the simultaneous gradient, or one of `adjustments`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from differentiable_games import game

Field = Callable[[Any], Any]
# Maps params and the number of the evaluation within a step, which stands for
# a draw of data, to the direction and an auxiliary output.
StagedField = Callable[[Any, int], tuple[Any, Any]]


class Tableau(NamedTuple):
  """An explicit Runge-Kutta rule: a Butcher tableau.

  Stage k is taken at `params - step * sum_j coefficients[k - 1][j] * stage_j`
  over the stages before it; the step's direction is the sum of
  `weights[k] * stage_k`. A tableau `t` of diffrax is
  `Tableau(t.b_sol, t.a_lower)`.

  Attributes:
    weights: b, one a stage.
    coefficients: the rows of A below its diagonal, without the empty first.
  """

  weights: Sequence[float]
  coefficients: Sequence[Sequence[float]]


# The Runge-Kutta rules of the published code, by order. Order 2 is Heun's.
RUNGE_KUTTA = {
  1: Tableau((1.0,), ()),
  2: Tableau((1 / 2, 1 / 2), ((1.0,),)),
  4: Tableau(
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
  ),
}


def descend(params: Any, direction: Any, step_size: Any) -> Any:
  """`params - step_size * direction`, for any pytree."""
  return jax.tree.map(lambda p, d: p - step_size * d, params, direction)


def runge_kutta_direction(
  field: StagedField, params: Any, step_size: Any, tableau: Tableau
) -> tuple[Any, Any]:
  """The direction of one Runge-Kutta step.

  Args:
    field: maps (params, stage number) to (direction, auxiliary output). Stages
      may differ, as when each has its own minibatch.
    params: all players' parameters.
    step_size: the step that the inner stages take, for all players.
    tableau: the rule.

  Returns:
    The weighted direction of all stages, and the first stage's auxiliary
    output.

  References:
    Qin et al., "Training Generative Adversarial Networks by Solving Ordinary
    Differential Equations", 2020.
  """
  stages: list[Any] = []
  outputs = []
  for k, row in enumerate(((), *tableau.coefficients)):
    point = params
    for stage, coefficient in zip(stages, row, strict=True):
      if coefficient != 0:
        point = descend(point, stage, coefficient * step_size)
    stage, aux = field(point, k)
    stages.append(stage)
    outputs.append(aux)
  terms = [
    optax.tree.scale(weight, stage)
    for weight, stage in zip(tableau.weights, stages, strict=True)
    if weight != 0
  ]
  return jax.tree.map(lambda *leaves: sum(leaves), *terms), outputs[0]


def simultaneous_step(
  field: Field, params: game.Params, learning_rates: Sequence[Any]
) -> game.Params:
  """All players descend the field at once: Euler's step."""
  direction = field(params)
  moved = [
    descend(own, d, rate)
    for own, d, rate in zip(params, direction, learning_rates, strict=True)
  ]
  return game.from_players(params, moved)


def alternating_step(
  field: Field,
  params: game.Params,
  learning_rates: Sequence[Any],
  order: Sequence[int],
  num_updates: Sequence[int] | None = None,
) -> game.Params:
  """Players descend the field in turns, each seeing the earlier ones' moves.

  Args:
    field: maps all players' parameters to all players' directions.
    params: n pytrees.
    learning_rates: one a player.
    order: the players, in the order of their turns.
    num_updates: updates of each player in its turn; one if None.

  Returns:
    The parameters after all turns.
  """
  for player in order:
    for _ in range(num_updates[player] if num_updates else 1):
      own = descend(
        params[player], field(params)[player], learning_rates[player]
      )
      params = game.replace_player(params, player, own)
  return params


def runge_kutta_step(
  field: Field, params: game.Params, learning_rate: Any, tableau: Tableau
) -> game.Params:
  """All players take one Runge-Kutta step with a common learning rate."""
  direction, _ = runge_kutta_direction(
    lambda p, _: (field(p), None), params, learning_rate, tableau
  )
  return descend(params, direction, learning_rate)
