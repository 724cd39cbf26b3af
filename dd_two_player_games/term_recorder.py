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
"""Which term of which player is not finite, in a step of any update rule."""

from typing import Any

import jax
import jax.numpy as jnp

from dd_two_player_games import adjusted_grads
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from differentiable_games import adjustments

_NO_TERMS = drift_utils.PlayerRegularizationTerms(0.0, 0.0, 0.0)


class TermRecorder:
  """Stands in for a GANGradsCalculator, and looks at each term by itself.

  Attributes:
    is_finite: booleans by name, in the order in which an update rule asked: of
      a player's loss, of its gradient, of each regulariser. In a step's k-th
      update of a player, or k-th stage, the names end in `(k)`.
  """

  def __init__(self, calculator: Any):
    self._calculator = calculator
    self._num_calls = {'disc': 0, 'gen': 0}
    self.is_finite: dict[str, jax.Array] = {}

  @property
  def shares_draws(self) -> bool:
    return self._calculator.shares_draws

  def disc_grads(self, *args):
    return self._grads('disc', *args)

  def gen_grads(self, *args):
    return self._grads('gen', *args)

  def both_player_grads(
    self, params, state, disc_batch, gen_batch, rng_disc, rng_gen, *rest
  ):
    disc = self.disc_grads(params, state, disc_batch, rng_disc, *rest)
    gen = self.gen_grads(params, state, gen_batch, rng_gen, *rest)
    return gan.GANTuple(disc[0], gen[0]), gan.GANTuple(disc[1], gen[1])

  def regularisation_grads(self, player: str, *args) -> Any:
    self._record_terms(player, 'after', args[:-1], args[-1])
    return self._calculator.regularisation_grads(player, *args)

  def _grads(self, player, *args):
    grads_fn = getattr(self._calculator, f'{player}_grads')
    self._num_calls[player] += 1
    number = str(self._num_calls[player])
    if isinstance(self._calculator, adjusted_grads.AdjustedGradsCalculator):
      adjusted, aux = grads_fn(*args)
      self._record(f'{player}_loss', number, aux.log_dict)
      self._record(f'adjusted gradient of {player}', number, adjusted)
      return adjusted, aux
    no_terms = gan.GANTuple(_NO_TERMS, _NO_TERMS)
    plain, aux = grads_fn(*args[:-1], no_terms)
    self._record(f'{player}_loss', number, aux.log_dict)
    self._record(f'gradient of {player}_loss', number, plain)
    self._record_terms(player, number, args[:-1], getattr(args[-1], player))
    return grads_fn(*args)

  def _record_terms(self, player, number, args, coeffs):
    for term, coeff in coeffs._asdict().items():
      if not adjustments.is_zero(coeff):
        alone = _NO_TERMS._replace(**{term: coeff})
        grads = self._calculator.regularisation_grads(player, *args, alone)
        self._record(f'{term} term of {player}', number, grads)

  def _record(self, name, number, tree):
    if number != '1':
      name = f'{name} ({number})'
    self.is_finite[name] = jnp.stack(
      [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    ).all()
