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
"""Players' gradients in which the whole field is adjusted: SGA, CGD and others.

`gan_grads_calculator` adds terms to each player's gradient, estimated without
bias. The adjustments here need both players' gradients at once: a sign, or the
solution of a linear system. They are those of `differentiable_games`, on the
game of one draw, which both players share: of the whole batch, so that devices
adjust the mean of their losses. Where they are not linear in the field that is
biased, as in their sources.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import optax

from dd_two_player_games import gan
from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import solved_adjustments
from differentiable_games import unrolling


class Adjustment(NamedTuple):
  """An adjustment of the simultaneous gradient.

  Attributes:
    function: maps two losses and a GANTuple of parameters to a direction.
    takes_rates: whether the players' learning rates are its third argument.
  """

  function: Callable[..., Any]
  takes_rates: bool


ADJUSTMENTS = {
  'none': Adjustment(game.simultaneous_gradient, takes_rates=False),
  'sga': Adjustment(adjustments.symplectic_gradient, takes_rates=False),
  'consensus': Adjustment(adjustments.consensus, takes_rates=False),
  'lola': Adjustment(adjustments.lola, takes_rates=True),
  'competitive': Adjustment(solved_adjustments.competitive, takes_rates=True),
  'follow_the_ridge': Adjustment(
    solved_adjustments.follow_the_ridge, takes_rates=True
  ),
}


class AdjustedGradsCalculator:
  """Has what update rules use of a `GANGradsCalculator`."""

  shares_draws = True

  def __init__(
    self,
    gan_model: gan.GAN,
    name: str,
    kwargs: Mapping[str, Any],
    unrolled_steps: int = 0,
    use_pmean: bool = True,
  ):
    """Initialises the calculator.

    Args:
      gan_model: the GAN.
      name: one of `ADJUSTMENTS`.
      kwargs: its keyword arguments.
      unrolled_steps: how many of the discriminator's steps of gradient descent
        the generator differentiates through.
      use_pmean: whether the losses are averaged over the mapped axis 'i'.
    """
    self._gan = gan_model
    self._adjustment, self._kwargs = ADJUSTMENTS[name], dict(kwargs)
    self._unrolled_steps = unrolled_steps
    self._use_pmean = use_pmean

  def disc_grads(
    self, params, state, data_batch, rng, is_training, rates
  ) -> tuple[Any, gan.GANLossAux]:
    """The discriminator's direction and GANLossAux; see `both_player_grads`."""
    grads, aux = self._grads(params, state, data_batch, rng, is_training, rates)
    return grads.disc, aux.disc

  def gen_grads(
    self, params, state, data_batch, rng, is_training, rates
  ) -> tuple[Any, gan.GANLossAux]:
    """The generator's direction and GANLossAux; see `both_player_grads`."""
    grads, aux = self._grads(params, state, data_batch, rng, is_training, rates)
    return grads.gen, aux.gen

  def both_player_grads(
    self,
    params: gan.GANTuple,
    state: gan.GANState,
    disc_data_batch: jax.Array,
    gen_data_batch: jax.Array,
    rng_disc: jax.Array,
    rng_gen: jax.Array,
    is_training: bool,
    rates: gan.GANTuple,
  ) -> tuple[gan.GANTuple, gan.GANTuple]:
    """GANTuples of both players' directions and GANLossAux, from one draw.

    Args:
      params: both players' parameters.
      state: the GAN's state.
      disc_data_batch: real examples of this device, of shape (batch, …).
      gen_data_batch: the same, as the players share their draw.
      rng_disc: a key.
      rng_gen: the same.
      is_training: passed to the networks.
      rates: both players' learning rates.

    Returns:
      The directions and auxes.
    """
    del gen_data_batch, rng_gen
    return self._grads(
      params, state, disc_data_batch, rng_disc, is_training, rates
    )

  def regularisation_grads(self, *args) -> None:
    """There are no other regularisers."""
    del args

  def _grads(self, params, state, *args_and_rates):
    *args, rates = args_and_rates
    losses = gan.GANTuple(
      *(
        functools.partial(_loss, fn, state, args)
        for fn in (self._gan.disc_loss, self._gan.gen_loss)
      )
    )
    if self._use_pmean:
      losses = gan.GANTuple(
        *(game.mean_over_devices(loss, 'i') for loss in losses)
      )
    if self._unrolled_steps:
      unrolled = unrolling.unrolled_loss(
        losses, 1, 0, optax.sgd(rates.disc), self._unrolled_steps
      )
      losses = losses._replace(gen=unrolled)
    given = (rates,) if self._adjustment.takes_rates else ()
    grads = self._adjustment.function(losses, params, *given, **self._kwargs)
    _, aux = self._gan.both_losses(params, state, *args)
    return grads, aux


def _loss(loss_fn, state, args, params):
  return loss_fn(gan.GANTuple(*params), state, *args)[0]
