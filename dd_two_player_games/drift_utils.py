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
"""Drift coefficients of the update rules of two players."""

import enum
from typing import Any, NamedTuple

from dd_two_player_games import gan
from differentiable_games import adjustments
from differentiable_games import jacobian


class PlayerOrder(enum.Enum):
  """Who moves first when the players take turns."""

  disc_first = 'disc_first'
  gen_first = 'gen_first'


class PlayerRegularizationTerms(NamedTuple):
  r"""One value for each regulariser term of a player.

  For the discriminator, with :math:`\xi` the simultaneous gradient and J the
  game Jacobian:

  - `self_norm`: of :math:`J_{dd}\xi_d`.
  - `other_dot_prod`: the interaction term, of :math:`J_{dg}\xi_g`.
  - `other_norm`: of :math:`J_{gd}^\top\xi_g`.
  """

  self_norm: Any
  other_dot_prod: Any
  other_norm: Any


def get_dd_coeffs(
  alternating_player_order: PlayerOrder,
  simultaneous_updates: bool,
  learning_rates: gan.GANTuple,
  num_updates: gan.GANTuple,
) -> gan.GANTuple:
  r"""Drift coefficients as published: each player in its own time.

  Simultaneous: :math:`h/2` for both terms, with the player's own learning
  rate. In turns, the first player f and the second s: :math:`h_f / 2n_f` and
  :math:`h_f / 2`; :math:`h_s / 2n_s` and
  :math:`-(h_s/2)(2 h_f / h_s - 1)`.

  The formula for several updates a turn reads h as the total of the turn,
  while each update applies all of it: there it cancels no drift
  (`joint_flow_coeffs` does).

  Args:
    alternating_player_order: who moves first, if not simultaneous.
    simultaneous_updates: whether both players move at once.
    learning_rates: of both players, numbers or traced scalars.
    num_updates: of both players in a turn.

  Returns:
    A GANTuple of PlayerRegularizationTerms.

  References:
    Rosca et al., "Discretization Drift in Two-Player Games", 2021, theorems
    3.1 and 3.2.
  """
  return _coefficients(
    adjustments.own_time_drift,
    alternating_player_order,
    simultaneous_updates,
    learning_rates,
    num_updates,
  )


def joint_flow_coeffs(
  alternating_player_order: PlayerOrder,
  simultaneous_updates: bool,
  learning_rates: gan.GANTuple,
  num_updates: gan.GANTuple,
) -> gan.GANTuple:
  """Drift coefficients against one flow of both players in common time.

  For any learning rates and numbers of updates; see
  `differentiable_games.adjustments.common_time_drift`. Arguments and result
  are those of `get_dd_coeffs`.
  """
  return _coefficients(
    adjustments.common_time_drift,
    alternating_player_order,
    simultaneous_updates,
    learning_rates,
    num_updates,
  )


def player_indices(order: PlayerOrder) -> tuple[int, int]:
  """The players' numbers, in the order of their turns."""
  return (0, 1) if order == PlayerOrder.disc_first else (1, 0)


def matrices_of(
  coeffs: gan.GANTuple,
) -> tuple[jacobian.Matrix, jacobian.Matrix]:
  """Both players' coefficients as those of rows and columns of the Jacobian.

  Args:
    coeffs: a GANTuple of PlayerRegularizationTerms.

  Returns:
    The matrices c and t of `jacobian.weighted_products`.
  """
  disc, gen = coeffs
  rows = [
    [disc.self_norm, disc.other_dot_prod],
    [gen.other_dot_prod, gen.self_norm],
  ]
  columns = [[0.0, disc.other_norm], [gen.other_norm, 0.0]]
  return rows, columns


def _coefficients(
  drift, player_order, simultaneous, learning_rates, num_updates
) -> gan.GANTuple:
  """A function of `adjustments` on two players."""
  if simultaneous:
    matrix = drift(learning_rates)
  else:
    order = player_indices(player_order)
    matrix = drift(learning_rates, num_updates, order)
  (disc_disc, disc_gen), (gen_disc, gen_gen) = matrix
  return gan.GANTuple(
    disc=PlayerRegularizationTerms(disc_disc, disc_gen, other_norm=0.0),
    gen=PlayerRegularizationTerms(gen_gen, gen_disc, other_norm=0.0),
  )
