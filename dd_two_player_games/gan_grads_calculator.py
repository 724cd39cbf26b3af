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
"""A player's gradient, with its regularisers."""

from typing import Any

import jax
import optax

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import utils
from differentiable_games import adjustments
from differentiable_games import jacobian


class GANGradsCalculator:
  r"""Gradients of both players, drift terms and other regularisers added.

  A player descends :math:`\xi_{own} + c_{self} J_{own,own} \xi_{own} +
  c_{dot} J_{own,other} \xi_{other} + c_{other} J_{other,own}^\top
  \xi_{other}`. The first two terms share one forward-over-reverse pass of the
  player's own loss; the third is one of the other's.
  """

  def __init__(self, gan_model: gan.GAN, estimator_fn, use_pmean: bool = True):
    """Initialises the calculator.

    Args:
      gan_model: the GAN.
      estimator_fn: one of `regularizer_estimates`, or any function (fn1, fn2,
        grad_var) -> estimate of the same kind.
      use_pmean: whether gradients are averaged over the mapped axis 'i'.
    """
    self._gan = gan_model
    self._estimator_fn = estimator_fn
    self._use_pmean = use_pmean
    own = {
      'disc': gan_model.disc_loss_fn_disc_grads,
      'gen': gan_model.gen_loss_fn_gen_grads,
    }
    cross = {
      'disc': gan_model.disc_loss_fn_gen_grads,
      'gen': gan_model.gen_loss_fn_disc_grads,
    }
    self._own_grads = own
    self.disc_grads_disc_norm = estimator_fn(own['disc'], own['disc'], 'disc')
    self.disc_grads_gen_norm = estimator_fn(own['gen'], own['gen'], 'disc')
    self.disc_grads_gen_dot_prod = estimator_fn(
      cross['disc'], own['gen'], 'disc'
    )
    self.gen_grads_gen_norm = estimator_fn(own['gen'], own['gen'], 'gen')
    self.gen_grads_disc_norm = estimator_fn(own['disc'], own['disc'], 'gen')
    self.gen_grads_disc_dot_prod = estimator_fn(
      cross['gen'], own['disc'], 'gen'
    )

  @property
  def regularisation_grad_fns(self) -> gan.GANTuple:
    """Each term alone: a GANTuple of PlayerRegularizationTerms of functions."""
    return gan.GANTuple(
      disc=drift_utils.PlayerRegularizationTerms(
        self_norm=self.disc_grads_disc_norm,
        other_dot_prod=self.disc_grads_gen_dot_prod,
        other_norm=self.disc_grads_gen_norm,
      ),
      gen=drift_utils.PlayerRegularizationTerms(
        self_norm=self.gen_grads_gen_norm,
        other_dot_prod=self.gen_grads_disc_dot_prod,
        other_norm=self.gen_grads_disc_norm,
      ),
    )

  def disc_grads(
    self,
    params: gan.GANTuple,
    state: gan.GANState,
    data_batch: jax.Array,
    rng: jax.Array,
    is_training: bool,
    coeffs: gan.GANTuple,
  ) -> tuple[Any, gan.GANLossAux]:
    """The discriminator's gradient, with its regularisers.

    Args:
      params: both players' parameters.
      state: the GAN's state; passes made for regularisers do not change it.
      data_batch: real examples of this device, of shape (batch, …).
      rng: a key.
      is_training: passed to the networks.
      coeffs: a GANTuple of PlayerRegularizationTerms. Terms whose coefficient
        is a Python zero cost nothing.

    Returns:
      The gradient, and the loss's GANLossAux.
    """
    return self._player_grads(
      'disc', params, state, data_batch, rng, is_training, coeffs.disc
    )

  def gen_grads(
    self, params, state, data_batch, rng, is_training, coeffs
  ) -> tuple[Any, gan.GANLossAux]:
    """The generator's gradient, with its regularisers; see `disc_grads`."""
    return self._player_grads(
      'gen', params, state, data_batch, rng, is_training, coeffs.gen
    )

  def both_player_grads(
    self,
    params,
    state,
    disc_data_batch,
    gen_data_batch,
    rng_disc,
    rng_gen,
    is_training,
    coeffs,
  ) -> tuple[gan.GANTuple, gan.GANTuple]:
    """GANTuples of both players' gradients and GANLossAux."""
    disc = self.disc_grads(
      params, state, disc_data_batch, rng_disc, is_training, coeffs
    )
    gen = self.gen_grads(
      params, state, gen_data_batch, rng_gen, is_training, coeffs
    )
    return gan.GANTuple(disc[0], gen[0]), gan.GANTuple(disc[1], gen[1])

  def regularisation_grads(
    self,
    player: str,
    params: gan.GANTuple,
    state: gan.GANState,
    data_batch: jax.Array,
    rng: jax.Array,
    is_training: bool,
    coeffs: drift_utils.PlayerRegularizationTerms,
  ) -> Any:
    """The weighted sum of one player's terms on this device.

    Args:
      player: 'disc' or 'gen'.
      params: both players' parameters.
      state: the GAN's state.
      data_batch: real examples, of shape (batch, …).
      rng: a key.
      is_training: passed to the networks.
      coeffs: the player's coefficients.

    Returns:
      A tree like the player's parameters, or None if all coefficients are
      Python zeros.
    """
    if not utils.any_non_zero(coeffs):
      return None
    args = (params, state, data_batch, rng, is_training)
    if isinstance(self._estimator_fn, regularizer_estimates.Estimator):
      terms = self._terms_in_shared_passes(player, *args, coeffs)
    else:
      fns = getattr(self.regularisation_grad_fns, player)
      terms = [
        adjustments.scaled(coeff, fn(*args))
        for fn, coeff in zip(fns, coeffs, strict=True)
        if not adjustments.is_zero(coeff)
      ]
    return jax.tree.map(lambda *leaves: sum(leaves), *terms)

  def _player_grads(
    self, player, params, state, data_batch, rng, is_training, coeffs
  ):
    args = (params, state, data_batch, rng, is_training)
    gradient = self._own_grads[player]
    own = getattr(params, player)

    def loss(own):
      return gradient.loss(params._replace(**{player: own}), *args[1:])

    grads, aux = jax.grad(loss, has_aux=True)(own)
    regularisation = self.regularisation_grads(player, *args, coeffs)
    if regularisation is not None:
      grads = optax.tree.add(grads, regularisation)
    if self._use_pmean:
      grads = jax.lax.pmean(grads, axis_name='i')
    return grads, aux

  def _terms_in_shared_passes(
    self, player, params, state, data_batch, rng, is_training, coeffs
  ):
    other = 'gen' if player == 'disc' else 'disc'
    (batch1, rng1), (batch2, rng2) = self._estimator_fn.split(data_batch, rng)

    def stopped(name):
      gradient = self._own_grads[name](params, state, batch2, rng2, is_training)
      return self._estimator_fn.stopped(gradient)

    def product(loss_of, **blocks):
      return jacobian.gradient_and_product(
        self._own_grads[loss_of].scalar_loss(state, batch1, rng1, is_training),
        params,
        gan.GANTuple._fields.index(player),
        gan.GANTuple(**{'disc': None, 'gen': None, **blocks}),
      )[1]

    self_norm, dot_prod, other_norm = coeffs
    directions = {}
    if not adjustments.is_zero(self_norm):
      directions[player] = adjustments.scaled(self_norm, stopped(player))
    other_grads = None
    if utils.any_non_zero((dot_prod, other_norm)):
      other_grads = stopped(other)
    if not adjustments.is_zero(dot_prod):
      directions[other] = adjustments.scaled(dot_prod, other_grads)
    terms = []
    if directions:
      terms.append(product(player, **directions))
    if not adjustments.is_zero(other_norm):
      block = adjustments.scaled(other_norm, other_grads)
      terms.append(product(other, **{other: block}))
    return terms
