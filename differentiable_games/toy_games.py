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

import jax
import jax.numpy as jnp
import numpy as np

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


def bilinear(matrix: jax.Array) -> tuple[game.Loss, game.Loss]:
  r"""Zero-sum :math:`L_1 = x^\top M y = -L_2`: pure rotation."""

  def loss(params):
    x, y = params
    return x @ matrix @ y

  return loss, lambda params: -loss(params)


def quadratic(jacobian: jax.Array, sizes: tuple[int, ...]):
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
