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
r"""Unrolled losses: a leader that differentiates through a follower's steps."""

from collections.abc import Sequence

import jax
import optax

from differentiable_games import game


def unrolled_loss(
  losses: Sequence[game.Loss],
  leader: int,
  follower: int,
  optimizer: optax.GradientTransformation,
  num_steps: int,
) -> game.Loss:
  r"""The leader's loss after steps that the follower would take.

  .. math:: \tilde L_x(x, y) = L_x(x, y_k(x, y))

  :math:`y_k` is y after k steps of the optimiser on :math:`L_y(x, \cdot)`. The
  loss is differentiated through these steps. In place of the leader's loss it
  makes a game like any other, of which only the follower's *first* step, on
  its own loss, is really taken: GANs unroll the discriminator for the
  generator.

  Args:
    losses: n losses.
    leader: x, whose loss it is.
    follower: y.
    optimizer: the follower's, which starts afresh. Adam's square root needs its
      `eps_root`, or gradients of zero make derivatives that are not finite.
    num_steps: k; with none the loss is the leader's own.

  Returns:
    A loss of all players' parameters.

  References:
    Metz et al., "Unrolled Generative Adversarial Networks", 2017.
  """

  def loss(params):
    game.check_players(params)

    def step(carry, _):
      own, state = carry
      moved = game.replace_player(params, follower, own)
      gradient = game.player_gradient(losses[follower], moved, follower)
      update, state = optimizer.update(gradient, state, own)
      return (optax.apply_updates(own, update), state), None

    start = params[follower], optimizer.init(params[follower])
    (own, _), _ = jax.lax.scan(step, start, length=num_steps)
    return losses[leader](game.replace_player(params, follower, own))

  return loss


def unrolled_game(
  model: game.Game,
  leader: int,
  follower: int,
  optimizer: optax.GradientTransformation,
  num_steps: int,
  axis_name: str | None = None,
) -> game.Game:
  """A game in which the leader's loss is its `unrolled_loss`.

  Args:
    model: the game.
    leader: see `unrolled_loss`.
    follower: likewise.
    optimizer: likewise.
    num_steps: likewise.
    axis_name: the mapped axis over whose devices the losses are averaged that
      the follower descends; None for this device's own.

  Returns:
    The game. Passes are those of the losses as they were.
  """

  def unrolled_value(params, memory, draw):
    losses = model.losses_of(memory, draw, axis_name)
    return unrolled_loss(losses, leader, follower, optimizer, num_steps)(params)

  def leaders_loss(params, memory, draw):
    _, own_pass = model.losses[leader](params, memory, draw)
    return unrolled_value(params, memory, draw), own_pass

  def joint_losses(params, memory, draw):
    values, passes = model.joint_losses(params, memory, draw)
    value = unrolled_value(params, memory, draw)
    return (*values[:leader], value, *values[leader + 1 :]), passes

  losses = list(model.losses)
  losses[leader] = leaders_loss
  return game.Game(losses, joint_losses, model.names)
