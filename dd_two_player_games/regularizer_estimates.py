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
r"""Estimates of the regularisers' gradients from minibatches.

A regulariser's gradient has the form

.. math:: \nabla_w \langle g_1, \mathrm{sg}(g_2) \rangle

where :math:`g_1` and :math:`g_2` are expected gradients of losses, sg stops
gradients, and w is one player's parameters. The estimators differ in the
minibatches and keys on which the two factors are evaluated: a product of two
expectations is estimated without bias only from independent samples.

An `Estimator` is that choice. Called with two gradient functions it makes the
function that estimates one term, as in the published code; the fields of
`differentiable_games` use its parts to compute all terms of a draw at once.
"""

from collections.abc import Callable
from typing import Any

import jax

from dd_two_player_games import gan
from differentiable_games import fields
from differentiable_games import game
from differentiable_games import jacobian

GradFn = Callable[..., Any]


class Estimator(fields.Estimator):
  """An estimator that also makes the published function of a single term."""

  def __call__(
    self, fn1: GradFn, fn2: GradFn, grad_var: str = 'disc'
  ) -> GradFn:
    """Makes the estimate of one term.

    Args:
      fn1: a gradient function of (params, state, data_batch, rng,
        is_training), to be differentiated.
      fn2: another, with results of the same structure, stopped.
      grad_var: 'disc' or 'gen', the player in whose parameters the gradient
        is taken.

    Returns:
      A function of (params, state, data_batch, rng, is_training), for the
      gradient in that player's parameters.
    """

    def estimate(params, state, data_batch, rng, is_training):
      first, second = self.split((data_batch, rng))
      factor = self.stop(fn2(params, state, *second, is_training), 'i')
      return grad_of_dot_product(fn1, factor, grad_var)(
        params, state, *first, is_training
      )

    return estimate


# Both factors on the same minibatch and key. Biased, and its result depends on
# how many devices share a global batch.
biased_estimate_grad_fn = Estimator(fields.keep_whole, average_stopped=False)

# The same with the stopped factor averaged over devices: biased, but the same
# for any number of devices.
biased_estimate_multiple_devices_grad_fn = Estimator(
  fields.keep_whole, average_stopped=True
)

# The first half of the minibatch for one factor, the second for the other,
# each with its own latents. Unbiased.
unbiased_estimate_fn_different_device_results = Estimator(
  fields.halve, average_stopped=False
)

# The same with the stopped factor averaged over devices, which keeps it
# unbiased and lowers its variance.
unbiased_estimate_fn_lowest_variance = Estimator(
  fields.halve, average_stopped=True
)

# The same at about half its cost: the gradient is the mean of those of
# the halves, which the estimate needs anyway, and players that move at once
# share their draw. Each player's gradient stays unbiased; the two players'
# noise is no longer independent.
unbiased_estimate_fn_shared_draws = Estimator(
  fields.halve, average_stopped=True, shares_draws=True
)

# Both factors, and both players that move at once, on one whole minibatch and
# key: all products are of the Jacobian of one game. Biased, and the same for
# any number of devices.
biased_estimate_fn_shared_draws = Estimator(
  fields.keep_whole, average_stopped=True, shares_draws=True
)


def biased_estimate_general_grad_fn(
  fn1: GradFn,
  fn2: GradFn,
  use_pmap_on_stop_grad_tree: bool,
  grad_var: str = 'disc',
) -> GradFn:
  """The biased estimate, the average over devices being a choice."""
  return Estimator(fields.keep_whole, use_pmap_on_stop_grad_tree)(
    fn1, fn2, grad_var
  )


def two_data_estimate_grad_fn(
  fn1: GradFn, fn2: GradFn, grad_var: str = 'disc'
) -> GradFn:
  """An estimate from two given minibatches and keys.

  Returns:
    A function of (params, state, data_batch1, data_batch2, rng1, rng2,
    is_training).
  """

  def estimate(
    params, state, data_batch1, data_batch2, rng1, rng2, is_training
  ):
    factor = jax.lax.stop_gradient(
      fn2(params, state, data_batch2, rng2, is_training)
    )
    return grad_of_dot_product(fn1, factor, grad_var)(
      params, state, data_batch1, rng1, is_training
    )

  return estimate


def grad_of_dot_product(fn1: GradFn, factor: Any, grad_var: str) -> GradFn:
  r""":math:`\nabla_w \langle g_1, v \rangle` for a constant v.

  Where :math:`g_1 = \nabla_u L` is a GAN's own gradient this is
  :math:`\tfrac{d}{d\epsilon} \nabla_w L(u + \epsilon v)`: one
  forward-over-reverse pass. For any other function it is the transposed
  Jacobian of that function times v.

  Args:
    fn1: :math:`g_1`, of (params, *args).
    factor: v, in the structure of its results.
    grad_var: w, 'disc' or 'gen'.

  Returns:
    A function of (params, *args).
  """
  player = gan.GANTuple._fields.index(grad_var)

  if not isinstance(fn1, gan.LossGradient):
    return _transposed_product(fn1, factor, player)

  def one_pass(params, *args):
    direction = [None] * len(params)
    direction[fn1.player] = factor
    return jacobian.gradient_and_product(
      fn1.scalar_loss(*args), params, player, direction
    )[1]

  return one_pass


def _transposed_product(fn1: GradFn, factor: Any, player: int) -> GradFn:
  def product(params, *args):
    def own_gradient(own):
      return fn1(game.replace_player(params, player, own), *args)

    return jax.vjp(own_gradient, params[player])[1](factor)[0]

  return product
