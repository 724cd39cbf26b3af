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
