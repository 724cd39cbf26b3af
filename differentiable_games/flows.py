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
r"""Continuous time: the flow of a game, and the flows that its steps follow."""

from collections.abc import Sequence
from typing import Any

import diffrax
import jax

from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import updates


def scaled_field(field: updates.Field, rates: Sequence[Any]) -> updates.Field:
  """The field with each player's direction times its own rate."""

  def scaled(params):
    blocks = [
      jax.tree.map(lambda d, r=rate: r * d, block)
      for block, rate in zip(field(params), rates, strict=True)
    ]
    return game.from_players(params, blocks)

  return scaled


def modified_field(
  losses: Sequence[game.Loss],
  coefficients: Sequence[Sequence[adjustments.Coefficient]],
) -> updates.Field:
  r"""The field :math:`\xi_i + \sum_j c_{ij} J_{ij}\xi_j` of a modified flow.

  Gradient descent with small steps follows the flow of this field to third
  order, where c are the drift coefficients of its update rule.
  """
  return lambda params: adjustments.drift_adjusted(losses, params, coefficients)


def integrate(
  field: updates.Field,
  params: Any,
  time: Any,
  rtol: float = 1e-10,
  atol: float = 1e-12,
) -> Any:
  r"""Solves :math:`\theta' = -f(\theta)` from `params` over `time`.

  Args:
    field: f.
    params: the start, any pytree. Use float64 for the default tolerances.
    time: how long to flow.
    rtol: relative tolerance of a step.
    atol: absolute tolerance of a step.

  Returns:
    The parameters at the end, in the structure of `params`.
  """
  term = diffrax.ODETerm(
    lambda t, y, args: jax.tree.map(lambda d: -d, field(y))
  )
  solution = diffrax.diffeqsolve(
    term,
    diffrax.Dopri8(),
    t0=0.0,
    t1=time,
    dt0=None,
    y0=params,
    stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
  )
  return jax.tree.map(lambda leaf: leaf[-1], solution.ys)
