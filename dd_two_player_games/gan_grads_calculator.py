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

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import utils
from differentiable_games import adjustments


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
  def shares_draws(self) -> bool:
    """Whether players that move at once are to be given the same draw."""
    return getattr(self._estimator_fn, 'shares_draws', False)

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
    """GANTuples of both players' gradients and GANLossAux.

    If the players share their draws, the generator's is not used.
    """
    if self.shares_draws and any(map(utils.any_non_zero, coeffs)):
      grads, aux = self._shared_grads(
        coeffs._asdict(), params, state, disc_data_batch, rng_disc, is_training
      )
      return gan.GANTuple(**grads), gan.GANTuple(**aux)
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
      _, _, products = self._halves({player: coeffs}, *args)
      return products[player]
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
    if self.shares_draws and utils.any_non_zero(coeffs):
      grads, aux = self._shared_grads({player: coeffs}, *args)
      return grads[player], aux[player]
    gradient = self._own_grads[player]
    own = getattr(params, player)

    def loss(own):
      return gradient.loss(params._replace(**{player: own}), *args[1:])

    grads, aux = jax.grad(loss, has_aux=True)(own)
    regularisation = self.regularisation_grads(player, *args, coeffs)
    if regularisation is not None:
      grads = optax.tree.add(grads, regularisation)
    return self._average(grads), aux

  def _shared_grads(self, coeffs, *args):
    """Gradients and auxes of the players in `coeffs`, from one draw."""
    grads, aux, products = self._halves(coeffs, *args)
    for player, product in products.items():
      grads[player] = optax.tree.add(grads[player], product)
    return self._average(grads), aux._asdict()

  def _average(self, grads):
    return jax.lax.pmean(grads, axis_name='i') if self._use_pmean else grads

  def _halves(self, coeffs, params, state, data_batch, rng, is_training):
    r"""Everything that an `Estimator` makes of a draw, in as few passes as can.

    A player's regularisers are derivatives, along both players' gradients on
    the second half, of gradients on the first: along its own of
    :math:`c_{self} L_{own}`, along the other's of
    :math:`c_{dot} L_{own} + c_{other} L_{other}`. All losses and gradients of a
    half come from one forward pass, all derivatives along a player's gradient
    from one tangent pass; XLA leaves out what is not used.

    Args:
      coeffs: maps players to their PlayerRegularizationTerms.
      params: both players' parameters.
      state: the GAN's state.
      data_batch: real examples, of shape (batch, …).
      rng: a key.
      is_training: passed to the networks.

    Returns:
      Dicts of the players' gradients, the mean of both halves', a GANTuple of
      GANLossAux, and a dict of the players' regularisers.
    """
    first, second = self._estimator_fn.split(data_batch, rng)
    passes = _passes(coeffs)

    def gradients_on(draw, params):
      def losses(params):
        return self._gan.both_losses(params, state, *draw, is_training)

      values, pullback, aux = jax.vjp(losses, params, has_aux=True)

      def gradient(weights, player):
        cotangents = [
          jnp.asarray(w, value.dtype)
          for w, value in zip(weights, values, strict=True)
        ]
        return getattr(pullback(gan.GANTuple(*cotangents))[0], player)

      own = {name: gradient(_unit(name), name) for name in params._fields}
      return [gradient(p.weights, p.player) for p in passes], (own, aux)

    _, (second_grads, _) = gradients_on(second, params)
    _, derivative, (first_grads, aux) = jax.linearize(
      functools.partial(gradients_on, first), params, has_aux=True
    )
    zeros = optax.tree.zeros_like(params)

    def derivatives_along(direction):
      # A tangent of a linear function: JAX then knows that the other player's
      # block is zero, and does not compute with it.
      def along(block):
        return derivative(zeros._replace(**{direction: block}))

      stopped = self._estimator_fn.stopped(second_grads[direction])
      zero = getattr(zeros, direction)
      return jax.jvp(along, (zero,), (stopped,))[1]

    along = {}
    for direction in (p.direction for p in passes):
      if direction not in along:
        along[direction] = derivatives_along(direction)
    products: dict[str, Any] = {}
    for k, of in enumerate(passes):
      term = adjustments.scaled(of.factor, along[of.direction][k])
      if of.player in products:
        term = optax.tree.add(products[of.player], term)
      products[of.player] = term
    means = {
      player: jax.tree.map(
        lambda a, b: (a + b) / 2, first_grads[player], second_grads[player]
      )
      for player in first_grads
    }
    return means, aux, products


def _unit(player: str) -> gan.GANTuple:
  """One for a player's loss, zero for the other's."""
  return gan.GANTuple(*(float(player == p) for p in gan.GANTuple._fields))


class _Pass(NamedTuple):
  """The derivative of a player's gradient of weighted losses in a direction.

  Attributes:
    player: the player whose regulariser it is part of.
    direction: the player along whose gradient is differentiated.
    weights: of the two losses.
    factor: of the result.
  """

  player: str
  direction: str
  weights: gan.GANTuple
  factor: Any


def _passes(coeffs) -> list[_Pass]:
  """What the coefficients ask for, without terms whose coefficient is zero.

  A single loss has the weight one, so that its gradient is the one that is
  needed anyway.
  """
  passes = []
  for player, (self_norm, dot_prod, other_norm) in coeffs.items():
    other = 'gen' if player == 'disc' else 'disc'
    if not adjustments.is_zero(self_norm):
      passes.append(_Pass(player, player, _unit(player), self_norm))
    weights = {player: dot_prod, other: other_norm}
    used = [name for name in weights if not adjustments.is_zero(weights[name])]
    if len(used) == 1:
      loss_of = used[0]
      passes.append(_Pass(player, other, _unit(loss_of), weights[loss_of]))
    elif used:
      passes.append(_Pass(player, other, gan.GANTuple(**weights), 1.0))
  return passes
