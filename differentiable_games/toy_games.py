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
r"""Small games with known answers. Each is a tuple of losses of `params`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from differentiable_games import divergences
from differentiable_games import game


def dirac_gan(saturating: bool = True) -> tuple[game.Loss, game.Loss]:
  r"""The Dirac GAN: data at 0, samples at θ, discriminator D(x) = φ x.

  :math:`L_d = \mathrm{softplus}(\varphi\theta) + \log 2`; the generator's loss
  is :math:`-\mathrm{softplus}(\varphi\theta)`, or non-saturating
  :math:`\mathrm{softplus}(-\varphi\theta)`.

  References:
    Mescheder et al., "Which Training Methods for GANs do actually Converge?",
    2018.
  """

  def disc_loss(params):
    disc, gen = params
    return jax.nn.softplus(disc * gen) + jnp.log(2.0)

  def gen_loss(params):
    disc, gen = params
    if saturating:
      return -jax.nn.softplus(disc * gen)
    return jax.nn.softplus(-disc * gen)

  return disc_loss, gen_loss


def dirac_wgan() -> tuple[game.Loss, game.Loss]:
  r"""The Dirac GAN with Wasserstein losses: :math:`L_d = \varphi\theta = -L_g`.

  The discriminator is not held to a Lipschitz bound: the game is bilinear.
  """
  return game.zero_sum(lambda params: params[0] * params[1])


def dirac_f_gan(divergence: str) -> tuple[game.Loss, game.Loss]:
  r"""The Dirac GAN of an f-divergence: zero-sum, the discriminator first.

  With :math:`t(x) = g(\varphi x)`, data at 0 and samples at θ it maximises
  :math:`E_p t(x) - E_q f^*(t(x)) = g(0) - f^*(g(\varphi\theta))`.

  Args:
    divergence: a key of `divergences.DIVERGENCES`.

  References:
    Nowozin et al., "f-GAN: Training Generative Neural Samplers using
    Variational Divergence Minimization", 2016.
  """
  chosen = divergences.DIVERGENCES[divergence]

  def disc_loss(params):
    disc, gen = params
    of_data = chosen.activation(0.0 * disc)
    return chosen.conjugate_of_output(disc * gen) - of_data

  return game.zero_sum(disc_loss)


def bilinear(matrix: jax.Array) -> tuple[game.Loss, game.Loss]:
  r"""Zero-sum :math:`L_1 = x^\top M y = -L_2`: pure rotation."""
  return game.zero_sum(lambda params: params[0] @ matrix @ params[1])


def quadratic(jacobian: jax.Array | np.ndarray, sizes: tuple[int, ...]):
  r"""The n-player game whose simultaneous gradient is :math:`J\theta`.

  Player i has :math:`L_i = \theta_i^\top (\tfrac12 J_{ii}\theta_i +
  \sum_{j\ne i} J_{ij}\theta_j)`.

  Args:
    jacobian: J, of shape (d, d), its diagonal blocks symmetric.
    sizes: the number of parameters of each player; their sum is d.

  Returns:
    n losses of n vectors.

  Raises:
    ValueError: if a diagonal block is not symmetric: no loss has such a
      gradient.
  """
  ends = np.cumsum(sizes)
  own = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
  for i, rows in enumerate(own):
    block = np.asarray(jacobian[rows, rows])
    if not np.allclose(block, block.T):
      raise ValueError(f'Block ({i}, {i}) of the Jacobian is not symmetric.')

  def loss_of(i):
    def loss(params):
      total = params[i] @ jacobian[own[i], own[i]] @ params[i] / 2
      for j, other in enumerate(params):
        if j != i:
          total += params[i] @ jacobian[own[i], own[j]] @ other
      return total

    return loss

  return tuple(loss_of(i) for i in range(len(sizes)))


def spiral(
  attractions: tuple[Any, Any], rotation: Any
) -> tuple[game.Loss, game.Loss]:
  r"""The quadratic game :math:`x' = -a_1 x + r y`, :math:`y' = -r x - a_2 y`.

  Its simultaneous gradient is minus the right-hand side: r turns the players
  about the origin, and :math:`a_i` draws them to it, or off it where negative.

  Args:
    attractions: :math:`a_1, a_2`.
    rotation: r.

  Returns:
    Two losses of numbers, or of arrays of one shape.
  """

  def loss_of(player, turn):
    def loss(params):
      own, other = params[player], params[1 - player]
      return jnp.sum(attractions[player] * own**2 / 2 + turn * own * other)

    return loss

  return loss_of(0, -rotation), loss_of(1, rotation)


def almost_bilinear(strength: Any) -> tuple[game.Loss, game.Loss]:
  r"""Zero-sum :math:`L_1 = xy + \epsilon (y^2/2 - y^4/4)`, x minimising.

  The origin, the only fixed point, repels; all else is drawn to a cycle about
  it, where neither player's gradient is zero.

  Args:
    strength: :math:`\epsilon`.

  References:
    Hsieh, Mertikopoulos and Cevher, "The Limits of Min-Max Optimization
    Algorithms: Convergence to Spurious Non-Critical Sets", 2021.
  """

  def loss(params):
    x, y = params
    return x * y + strength * (y**2 / 2 - y**4 / 4)

  return game.zero_sum(loss)


def hamiltonian(matrix: jax.Array | np.ndarray, sizes: tuple[int, ...]):
  r"""The n-player game with :math:`\xi = A\theta`, A antisymmetric.

  Its flow keeps :math:`H = \|\xi\|^2 / 2`.

  Args:
    matrix: of shape (d, d). Its blocks above the diagonal are those of A.
    sizes: the number of parameters of each player; their sum is d.
  """
  owner = np.repeat(np.arange(len(sizes)), sizes)
  above = np.where(owner[:, None] < owner, np.asarray(matrix), 0.0)
  return quadratic(above - above.T, sizes)


def potential(function: game.Loss, num_players: int):
  """All players descend one function, each in its own parameters."""
  return (function,) * num_players


def ridge_games() -> dict[str, tuple[game.Loss, game.Loss]]:
  r"""Zero-sum games of two numbers on which minmax and descent part ways.

  At the origin, x minimising first:

  - `unstable_minmax`, :math:`-3x^2 - y^2 + 4xy`: local minmax; simultaneous
    descent is pushed off it.
  - `stable_other`, :math:`3x^2 + y^2 + 4xy`: not local minmax; simultaneous
    descent is drawn to it.
  - `nonconvex`, :math:`(4x^2 - (y - 3x + 0.05x^3)^2 - 0.1y^4)
    e^{-0.01(x^2 + y^2)}`: local minmax.

  References:
    Wang, Zhang and Ba, "On Solving Minimax Optimization Locally: A
    Follow-the-Ridge Approach", 2020, section 5.1.
  """

  def nonconvex(params):
    x, y = params
    ridge = y - 3 * x + 0.05 * x**3
    value = 4 * x**2 - ridge**2 - 0.1 * y**4
    return value * jnp.exp(-0.01 * (x**2 + y**2))

  def quadratic_of(xx, yy, xy):
    def function(params):
      x, y = params
      return xx * x**2 + yy * y**2 + xy * x * y

    return function

  return {
    'unstable_minmax': game.zero_sum(quadratic_of(-3, -1, 4)),
    'stable_other': game.zero_sum(quadratic_of(3, 1, 4)),
    'nonconvex': game.zero_sum(nonconvex),
  }
