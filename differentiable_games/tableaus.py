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
"""Runge-Kutta rules as data, and one stepper for all of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from differentiable_games import game


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


def runge_kutta_direction(
  stage_field: Callable[[Any, int], tuple[Any, Any]],
  params: Any,
  step_size: Any,
  tableau: Tableau,
) -> tuple[Any, Any]:
  """The direction of one Runge-Kutta step.

  Args:
    stage_field: maps (params, stage number) to (direction, auxiliary output).
      Stages may differ, as when each has its own minibatch.
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
    stage, aux = stage_field(point, k)
    stages.append(stage)
    outputs.append(aux)
  terms = [
    game.scale_tree(weight, stage)
    for weight, stage in zip(tableau.weights, stages, strict=True)
    if weight != 0
  ]
  return jax.tree.map(lambda *leaves: sum(leaves), *terms), outputs[0]


def descend(params: Any, direction: Any, step_size: Any) -> Any:
  """`params - step_size * direction`, in the types of `params`."""
  return jax.tree.map(
    lambda p, d: jnp.asarray(p - step_size * d, jnp.result_type(p)),
    params,
    direction,
  )
