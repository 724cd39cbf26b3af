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
"""A player's gradient, with its regularisers: the published interface."""

from typing import Any

import jax
import optax

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import regularizer_estimates
from differentiable_games import fields
from differentiable_games import game
from differentiable_games import jacobian

_PLAIN = regularizer_estimates.biased_estimate_grad_fn
_NO_TERMS = gan.GANTuple(
  *[drift_utils.PlayerRegularizationTerms(0.0, 0.0, 0.0)] * 2
)


class GANGradsCalculator:
  r"""Gradients of both players, drift terms and other regularisers added.

  A player descends :math:`\xi_{own} + c_{self} J_{own,own} \xi_{own} +
  c_{dot} J_{own,other} \xi_{other} + c_{other} J_{other,own}^\top
  \xi_{other}`, the field `differentiable_games.fields.FirstOrderField`.
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
    draws = (data_batch, rng), None
    grads, aux = self._evaluate(params, state, draws, is_training, coeffs)
    return grads[0], aux[0]

  def gen_grads(
    self, params, state, data_batch, rng, is_training, coeffs
  ) -> tuple[Any, gan.GANLossAux]:
    """The generator's gradient, with its regularisers; see `disc_grads`."""
    draws = None, (data_batch, rng)
    grads, aux = self._evaluate(params, state, draws, is_training, coeffs)
    return grads[1], aux[1]

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
    """GANTuples of both players' gradients and GANLossAux.

    If the estimator makes the players share their draws, the generator's is not
    used.
    """
    draws = [(disc_data_batch, rng_disc), (gen_data_batch, rng_gen)]
    if getattr(self._estimator_fn, 'shares_draws', False):
      draws[1] = draws[0]
    grads, aux = self._evaluate(params, state, draws, is_training, coeffs)
    return gan.GANTuple(*grads), gan.GANTuple(*aux)

  def _evaluate(self, params, state, draws, is_training, coeffs):
    """Gradients and GANLossAux of the players that have a draw."""
    axis_name = 'i' if self._use_pmean else None
    estimator = self._estimator_fn
    is_ours = isinstance(estimator, fields.Estimator)
    field = fields.FirstOrderField(
      fields.Products(
        self._gan.as_game(is_training, logged=lambda aux: aux),
        *drift_utils.matrices_of(coeffs if is_ours else _NO_TERMS),
        estimator if is_ours else _PLAIN,
        axis_name,
      )
    )
    directions, passes = field(params, gan.memory_of(state), draws)
    grads = list(directions)
    aux = [own and own.logs for own in passes]
    if is_ours:
      return grads, aux
    for i, draw in enumerate(draws):
      if draw is not None:
        grads[i] = self._add_terms(
          grads[i], i, (params, state, *draw, is_training), coeffs[i], axis_name
        )
    return grads, aux

  def _add_terms(self, grads, player, args, coeffs, axis_name):
    """A gradient with a user's own estimates of the terms added."""
    fns = self.regularisation_grad_fns[player]
    for fn, coeff in zip(fns, coeffs, strict=True):
      if not jacobian.is_zero(coeff):
        term = fn(*args)
        term = game.average_over_devices(term, axis_name)
        grads = optax.tree.add_scale(grads, coeff, term)
    return grads
