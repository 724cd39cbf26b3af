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
r"""A differentiable game: n losses of n players' parameters.

Notation, used throughout the package:

- A game is a sequence of losses `(L_1, …, L_n)`. Each loss maps all players'
  parameters to a scalar.
- `params` is a tuple, or named tuple, with one pytree a player.
- The simultaneous gradient is :math:`\xi = (\nabla_1 L_1, …, \nabla_n L_n)`:
  each player's gradient of its own loss in its own parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax

PlayerParams = Any  # One player's pytree.
Params = TypeVar('Params', bound=tuple[Any, ...])  # One pytree a player.
Loss = Callable[[Any], jax.Array]


def from_players(params: Params, players: Sequence[PlayerParams]) -> Params:
  """Returns `players` in the container of `params` (tuple or named tuple)."""
  make = getattr(params, '_make', type(params))
  return make(players)


def replace_player(
  params: Params, player: int, player_params: PlayerParams
) -> Params:
  """Returns `params` with one player's parameters exchanged."""
  players = list(params)
  players[player] = player_params
  return from_players(params, players)


def player_gradient(loss: Loss, params: Params, player: int) -> PlayerParams:
  """Gradient of a loss in one player's parameters, the others fixed."""
  return jax.grad(lambda own: loss(replace_player(params, player, own)))(
    params[player]
  )


def simultaneous_gradient(losses: Sequence[Loss], params: Params) -> Params:
  r"""Each player's gradient of its own loss.

  .. math:: \xi(\theta) = (\nabla_1 L_1(\theta), …, \nabla_n L_n(\theta))

  Args:
    losses: n losses, each of all players' parameters.
    params: n pytrees in a tuple or named tuple.

  Returns:
    :math:`\xi`, in the structure of `params`.

  Raises:
    ValueError: if the numbers of losses and players differ.

  References:
    Balduzzi et al., "The Mechanics of n-Player Differentiable Games", 2018.
  """
  if len(losses) != len(params):
    raise ValueError(f'{len(losses)} losses for {len(params)} players.')
  return from_players(
    params, [player_gradient(loss, params, i) for i, loss in enumerate(losses)]
  )


def zero_sum(loss: Loss) -> tuple[Loss, Loss]:
  """The game of two players of which the first minimises, the second not."""
  return loss, lambda params: -loss(params)


def mean_over_devices(loss: Loss, axis_name: str) -> Loss:
  """The mean of a loss over a mapped axis, as one loss of shared parameters.

  For use inside `pmap`, where each device has the loss of its own minibatch.
  All that is derived from the result, of any order, is derived from the mean:
  gradients and Jacobian products, but also what a solver finds with them.

  Args:
    loss: the loss on this device.
    axis_name: the mapped axis.

  Returns:
    A loss of parameters that are the same on every device.
  """

  def mean(params):
    # The mean of equal parameters changes nothing, but its transpose is the
    # mean of the devices' gradients.
    params = jax.lax.pmean(params, axis_name)
    return jax.lax.pmean(loss(params), axis_name)

  return mean
