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
"""The published Runge-Kutta class, over `differentiable_games.tableaus`."""

from collections.abc import Callable
from typing import Any

from differentiable_games import tableaus


class RungeKutta:
  """Combines the gradients of a Runge-Kutta rule's stages."""

  def __init__(
    self,
    grad_fn: Callable[..., tuple[Any, Any]],
    runge_kutta_order: int,
    same_args_to_grad_calls: bool = False,
  ):
    """Initialises the rule.

    Args:
      grad_fn: maps (params, *args) to (gradients, aux). It averages over
        devices if that is needed.
      runge_kutta_order: 1, 2 or 4.
      same_args_to_grad_calls: whether all stages use the first one's
        arguments.

    Raises:
      ValueError: for another order.
    """
    if runge_kutta_order not in tableaus.RUNGE_KUTTA:
      raise ValueError(
        f'runge_kutta_order {runge_kutta_order} is not one of '
        f'{sorted(tableaus.RUNGE_KUTTA)}.'
      )
    self.runge_kutta_order = runge_kutta_order
    self._grad_fn = grad_fn
    self._same_args = same_args_to_grad_calls

  def grad(self, params: Any, step_size: Any, *grad_fn_args) -> tuple[Any, Any]:
    """The combined gradient, and the first stage's aux.

    Args:
      params: where the step starts.
      step_size: of the inner stages.
      *grad_fn_args: for each argument of `grad_fn`, a sequence with one value
        a stage.
    """

    def stage_field(stage_params, stage):
      index = 0 if self._same_args else stage
      return self._grad_fn(stage_params, *(arg[index] for arg in grad_fn_args))

    return tableaus.runge_kutta_direction(
      stage_field,
      params,
      step_size,
      tableaus.RUNGE_KUTTA[self.runge_kutta_order],
    )
