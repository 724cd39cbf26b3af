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
  if simultaneous_updates:
    return gan.GANTuple(
      *(_terms(rate / 2, rate / 2) for rate in learning_rates)
    )
  first, second = _turns(alternating_player_order)
  first_rate = getattr(learning_rates, first)
  second_rate = getattr(learning_rates, second)
  terms = {
    first: _terms(
      first_rate / (2 * getattr(num_updates, first)), first_rate / 2
    ),
    second: _terms(
      second_rate / (2 * getattr(num_updates, second)),
      # -(s/2)(2 f/s - 1), without the division: a schedule may reach zero.
      second_rate / 2 - first_rate,
    ),
  }
  return gan.GANTuple(**terms)


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
  order = None
  if not simultaneous_updates:
    order = [
      gan.GANTuple._fields.index(player)
      for player in _turns(alternating_player_order)
    ]
  (disc_disc, disc_gen), (gen_disc, gen_gen) = adjustments.common_time_drift(
    learning_rates, num_updates, order
  )
  return gan.GANTuple(
    disc=_terms(disc_disc, disc_gen), gen=_terms(gen_gen, gen_disc)
  )


def _terms(self_norm: Any, other_dot_prod: Any) -> PlayerRegularizationTerms:
  return PlayerRegularizationTerms(self_norm, other_dot_prod, other_norm=0.0)


def _turns(order: PlayerOrder) -> tuple[str, str]:
  if order == PlayerOrder.disc_first:
    return 'disc', 'gen'
  return 'gen', 'disc'
