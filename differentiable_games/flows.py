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

import jax
import jax.numpy as jnp
import optax

from differentiable_games import adjustments
from differentiable_games import fields
from differentiable_games import game


def scaled_field(
  field: fields.VectorField, rates: Sequence[Any]
) -> fields.VectorField:
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
) -> fields.VectorField:
  r"""The field :math:`\xi_i + \sum_j c_{ij} J_{ij}\xi_j` of a modified flow.

  Gradient descent with small steps follows the flow of this field to third
  order, where c are the drift coefficients of its update rule.
  """
  return lambda params: adjustments.drift_adjusted(losses, params, coefficients)


def flow_of_descent(
  losses: Sequence[game.Loss],
  learning_rates: Sequence[Any],
  num_updates: Sequence[int] | None = None,
) -> fields.VectorField:
  r"""The field whose flow gradient descent follows to second order.

  Its time is counted in steps: :math:`n_i h_i \xi_i` for each player.
  """
  rates = total_rates(learning_rates, num_updates)
  return scaled_field(
    lambda params: game.simultaneous_gradient(losses, params), rates
  )


def modified_flow_of_descent(
  losses: Sequence[game.Loss],
  learning_rates: Sequence[Any],
  num_updates: Sequence[int] | None = None,
  order: Sequence[int] | None = None,
) -> fields.VectorField:
  """The field whose flow gradient descent follows to third order.

  Its time is counted in steps. Arguments are those of
  `adjustments.common_time_drift`: simultaneous descent where `order` is None.
  """
  drift = adjustments.common_time_drift(learning_rates, num_updates, order)
  rates = total_rates(learning_rates, num_updates)
  return scaled_field(modified_field(losses, drift), rates)


def modified_flow_of_steps(field: fields.VectorField) -> fields.VectorField:
  r"""The field whose flow simultaneous steps along any field follow.

  .. math:: f + \tfrac12 (Df) f

  Steps :math:`\theta - f(\theta)` follow its flow over unit time to third order
  in f. For :math:`f_i = h_i \xi_i` that is `modified_flow_of_descent`.

  Args:
    field: f, with its learning rates: see `scaled_field`.
  """

  def modified(params):
    direction = field(params)
    _, change = jax.jvp(field, (params,), (direction,))
    return optax.tree.add_scale(direction, 0.5, change)

  return modified


def integrate(
  field: fields.VectorField,
  params: Any,
  time: Any,
  rtol: float = 1e-10,
  atol: float = 1e-12,
  max_steps: int = 4096,
  throw: bool = True,
) -> Any:
  r"""Solves :math:`\theta' = -f(\theta)` from `params` over `time`.

  Args:
    field: f.
    params: the start, any pytree. Use float64 for the default tolerances.
    time: how long to flow.
    rtol: relative tolerance of a step.
    atol: absolute tolerance of a step.
    max_steps: of the solver, before it gives up.
    throw: where the solver gives up, raise its error; False returns NaN.

  Returns:
    The parameters at the end, in the structure of `params`.
  """
  points = _solve(
    *(field, params, time, {'t1': True}),
    *(rtol, atol, max_steps, throw),
  )
  return jax.tree.map(lambda leaf: leaf[-1], points)


def trajectory(
  field: fields.VectorField,
  params: Any,
  times: jax.Array,
  rtol: float = 1e-10,
  atol: float = 1e-12,
) -> Any:
  """The points of a flow at increasing times, the first not before 0.

  Arguments are those of `integrate`.

  Returns:
    Params with an axis for the times in front.
  """
  return _solve(field, params, times[-1], {'ts': times}, rtol, atol)


def _solve(field, params, time, saved, rtol, atol, max_steps=4096, throw=True):
  # A third of what a training imports, and hardly one needs it.
  import diffrax  # pylint: disable=g-import-not-at-top

  leaves, structure = jax.tree.flatten(params)  # diffrax takes no empty tuple.

  def negative(unused_t, leaves, unused_args):
    direction = field(jax.tree.unflatten(structure, leaves))
    return [-d for d in jax.tree.leaves(direction)]

  solution = diffrax.diffeqsolve(
    diffrax.ODETerm(negative),
    diffrax.Dopri8(),
    t0=0.0,
    t1=time,
    dt0=None,
    y0=leaves,
    saveat=diffrax.SaveAt(**saved),
    stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
    max_steps=max_steps,
    throw=throw,
  )
  is_solved = solution.result == diffrax.RESULTS.successful
  return jax.tree.unflatten(
    structure, [jnp.where(is_solved, leaf, jnp.nan) for leaf in solution.ys]
  )


def total_rates(
  learning_rates: Sequence[Any], num_updates: Sequence[int] | None = None
) -> list[Any]:
  """Each player's learning rate times its updates in a step."""
  if num_updates is None:
    return list(learning_rates)
  return [n * rate for n, rate in zip(num_updates, learning_rates, strict=True)]
