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

Where networks are trained a loss also depends on a draw of data, and on what
the networks carry from pass to pass; a `Game` holds such losses.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
from jax import flatten_util
import jax.numpy as jnp

PlayerParams = Any  # One player's pytree.
Params = TypeVar('Params', bound=tuple[Any, ...])  # One pytree a player.
Loss = Callable[[Any], jax.Array]
Memory = Any  # Like params: one pytree a player.
Draw = Any  # Of data, usually a minibatch and a key.


class Pass(NamedTuple):
  """What a player's loss leaves beside its value.

  Attributes:
    memory: all players' memory after the pass, as this player would have it.
    logs: scalars by name.
  """

  memory: Memory
  logs: Mapping[str, jax.Array]


class Game(NamedTuple):
  """Losses of a draw of data, of players that carry a memory.

  The memory is what networks carry from pass to pass: batch statistics, the
  vectors of a power iteration. Players without any have None.

  Attributes:
    losses: one a player, of (params, memory, draw): its value and a Pass.
    joint_losses: of the same arguments, from one pass: a tuple of all players'
      values and a tuple of their Passes.
    names: the players'.
  """

  losses: Sequence[Callable[[Any, Memory, Draw], tuple[jax.Array, Pass]]]
  joint_losses: Callable[
    [Any, Memory, Draw], tuple[tuple[jax.Array, ...], tuple[Pass, ...]]
  ]
  names: Sequence[str]

  def losses_of(
    self, memory: Memory, draw: Draw, axis_name: str | None = None
  ) -> list[Loss]:
    """The losses of one draw as functions of params alone.

    Args:
      memory: the players'.
      draw: the draw.
      axis_name: the mapped axis over whose devices, each with its own draw, the
        losses are averaged; None for this device's own.

    Returns:
      A list of losses.
    """

    def value(loss):
      return lambda params: loss(params, memory, draw)[0]

    own = [value(loss) for loss in self.losses]
    if axis_name is None:
      return own
    return [mean_over_devices(loss, axis_name) for loss in own]

  def joint_losses_of(
    self, memory: Memory, draw: Draw, axis_name: str | None = None
  ) -> Callable[[Any], tuple[jax.Array, ...]]:
    """All losses of one draw, from one pass; arguments are `losses_of`'s."""

    def values(params):
      return self.joint_losses(params, memory, draw)[0]

    if axis_name is None:
      return values
    return mean_over_devices(values, axis_name)


def from_players(params: Params, players: Sequence[PlayerParams]) -> Params:
  """Returns `players` in the container of `params` (tuple or named tuple)."""
  check_players(params)
  make = getattr(params, '_make', type(params))
  return make(players)


def replace_player(
  params: Params, player: int, player_params: PlayerParams
) -> Params:
  """Returns `params` with one player's parameters exchanged."""
  players = list(params)
  players[player] = player_params
  return from_players(params, players)


def scale_tree(coefficient: Any, tree: PlayerParams) -> PlayerParams:
  """Every leaf times a number; leaves keep their types, whatever its own."""
  return jax.tree.map(
    lambda leaf: jnp.asarray(coefficient * leaf, jnp.result_type(leaf)), tree
  )


def check_players(params: Any) -> None:
  """Raises TypeError unless players come in order, one entry each."""
  if not isinstance(params, tuple | list):
    raise TypeError(
      'params must be a tuple, named tuple or list with one entry a player, '
      f'not {type(params).__name__}.'
    )


def check_real(params: Any) -> None:
  """Raises TypeError for complex parameters, or None in a player's place.

  What JAX calls their gradient is conjugated: a descent along it diverges. None
  is a player that a direction leaves out.
  """
  check_players(params)
  for i, own in enumerate(params):
    if own is None:
      raise TypeError(
        f'params[{i}] is None: a player without parameters is an empty tuple.'
      )
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if jnp.iscomplexobj(leaf):
      raise TypeError(
        f'params{jax.tree_util.keystr(path)} is complex: give the players the '
        'real and imaginary parts as parameters.'
      )


def check_num_players(
  values: Sequence[Any], params: Sequence[Any], what: str = 'losses'
) -> None:
  """Raises ValueError unless there is one value a player."""
  check_players(params)
  if len(values) != len(params):
    raise ValueError(f'{len(values)} {what} for {len(params)} players.')


def player_gradient(loss: Loss, params: Params, player: int) -> PlayerParams:
  """Gradient of a loss in one player's parameters, the others fixed."""
  check_players(params)
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
    TypeError: for complex parameters.

  References:
    Balduzzi et al., "The Mechanics of n-Player Differentiable Games", 2018.
  """
  check_num_players(losses, params)
  check_real(params)
  return from_players(
    params, [player_gradient(loss, params, i) for i, loss in enumerate(losses)]
  )


def joint_gradients(
  joint_losses: Callable[[Params], tuple[tuple[jax.Array, ...], Any]],
  params: Params,
) -> tuple[Callable[[Sequence[Any], int], PlayerParams], Any]:
  """Gradients of sums of losses that come from one pass.

  Args:
    joint_losses: maps params to the values of all losses, and an aux.
    params: one pytree a player.

  Returns:
    A function of (weights, player), the gradient of the sum of weights times
    losses in that player's parameters; and the aux.
  """
  check_real(params)
  values, pullback, aux = jax.vjp(joint_losses, params, has_aux=True)

  def gradient(weights, player):
    cotangents = tuple(
      jnp.asarray(w, value.dtype)
      for w, value in zip(weights, values, strict=True)
    )
    return pullback(cotangents)[0][player]

  return gradient, aux


def joint_simultaneous_gradient(
  joint_losses: Callable[[Params], tuple[jax.Array, ...]], params: Params
) -> Params:
  """`simultaneous_gradient` of losses that come from one pass."""
  gradient, _ = joint_gradients(lambda p: (joint_losses(p), None), params)
  players = range(len(params))
  return from_players(
    params, [gradient([float(i == j) for j in players], i) for i in players]
  )


def zero_sum(loss: Loss) -> tuple[Loss, Loss]:
  """The game of two players of which the first minimises, the second not."""
  return loss, lambda params: -loss(params)


def mean_over_devices(
  loss: Callable[[Any], Any], axis_name: str
) -> Callable[[Any], Any]:
  """The mean of a loss over a mapped axis, as one loss of shared parameters.

  For use inside `pmap`, where each device has the loss of its own minibatch.
  All that is derived from the result, of any order, is derived from the mean:
  gradients and Jacobian products, but also what a solver finds with them.

  Args:
    loss: the loss on this device, or a function that gives several.
    axis_name: the mapped axis.

  Returns:
    A loss of parameters that are the same on every device.
  """

  def mean(params):
    # The mean of equal parameters changes nothing, but its transpose is the
    # mean of the devices' gradients.
    params = average_over_devices(params, axis_name)
    return average_over_devices(loss(params), axis_name)

  return mean


def average_over_devices(tree: Any, axis_name: str | None) -> Any:
  """The mean over a mapped axis, all arrays sent as one.

  Devices wait for each other once, not once for each array.

  Args:
    tree: arrays of floats.
    axis_name: the mapped axis; None for one device alone.

  Returns:
    The same tree.
  """
  if axis_name is None or jax.lax.axis_size(axis_name) == 1:
    return tree
  flat, restore = flatten_util.ravel_pytree(tree)
  return restore(jax.lax.pmean(flat, axis_name))
