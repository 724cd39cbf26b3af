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
r"""The Hessian of one loss: products with it, and its largest eigenvalues.

A loss maps any pytree of parameters to a scalar. It is a game of one player,
whose Jacobian is the Hessian, so that products come from
`differentiable_games`.

Parameters may be complex where the loss is analytic (made of `@`, `tanh`,
powers, ...; no absolute values or maxima), since the principal flow leaves the
real line. JAX's gradient of a real function of complex numbers is
:math:`\partial/\partial x - i\,\partial/\partial y`. Of the real part of an
analytic E that is its complex derivative E', and the derivative of E' along a
direction is E'' times that. So the same code serves real and complex numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import spectra

Params = Any
Loss = Callable[[Params], jax.Array]
Product = Callable[[Params], Params]


def _as_player(loss: Loss) -> game.Loss:
  return lambda players: jnp.real(loss(players[0]))


def gradient(loss: Loss, params: Params) -> Params:
  """The gradient g; for complex parameters, the complex derivative."""
  return game.player_gradient(_as_player(loss), (params,), 0)


def product(loss: Loss, params: Params, direction: Params) -> Params:
  """The Hessian times a direction, one forward-over-reverse pass."""
  return jacobian.row_product((_as_player(loss),), (params,), 0, (direction,))


def gradient_of_curvature(
  loss: Loss, params: Params, direction: Params
) -> Params:
  r""":math:`\nabla(v^\top H v)` with v fixed: the third derivative along v, v.

  Third derivatives are symmetric, so this is how H v changes along v.
  """
  _, tangent = jax.jvp(
    lambda p: product(loss, p, direction), (params,), (direction,)
  )
  return tangent


def dense(loss: Loss, params: Params) -> jax.Array:
  """The Hessian of a small model as a (d, d) matrix, as in `ravel_pytree`."""
  flat, unravel = ravel_pytree(params)

  def row(direction):
    return ravel_pytree(product(loss, params, unravel(direction)))[0]

  return jax.vmap(row)(jnp.eye(flat.size, dtype=flat.dtype))


class Eigenpairs(NamedTuple):
  """Eigenvalues, largest first, with their eigenvectors.

  Attributes:
    values: (k,). NaN where the iteration found fewer than k.
    vectors: (k, d), orthonormal rows in the order of `ravel_pytree`; zero where
      the value is NaN.
  """

  values: jax.Array
  vectors: jax.Array


def top_eigenpairs(
  multiply: Product,
  params: Params,
  num_pairs: int,
  num_products: int,
  key: jax.Array,
) -> Eigenpairs:
  """The largest eigenvalues by Lanczos' method with full reorthogonalisation.

  The ends of the spectrum converge first: for the outliers of a network's
  Hessian twenty to thirty products give four digits. One start vector finds one
  eigenvector of each eigenvalue; of a multiple one that start's part in its
  eigenspace.

  Args:
    multiply: from a direction to H times it, linear and symmetric.
    params: of the structure that `multiply` takes; their values do not matter.
    num_pairs: k.
    num_products: how often to multiply; at most d are needed.
    key: of the random start.

  Returns:
    The k algebraically largest eigenvalues found, and their eigenvectors.
  """
  flat, unravel = ravel_pytree(params)
  num_products = min(num_products, flat.size)
  hessenberg, basis = spectra.krylov_basis(
    multiply,
    unravel(jax.random.normal(key, flat.shape, flat.dtype)),
    num_products,
  )
  basis = basis[:num_products]
  found = basis.any(axis=1)
  # Of a symmetric map the matrix is tridiagonal, but for rounding.
  beside = jnp.diag(hessenberg[1:-1, :-1])
  small = jnp.diag(jnp.diag(hessenberg))
  small += jnp.diag(beside, 1) + jnp.diag(beside, -1)
  # What was not found must not mix with what was, and comes last.
  far_below = -2 * jnp.linalg.norm(small) - 1
  small += jnp.diag(jnp.where(found, 0, far_below))
  values, vectors = jnp.linalg.eigh(small)
  is_found = jnp.arange(num_products) >= num_products - found.sum()
  values = jnp.where(is_found, values, jnp.nan)[::-1][:num_pairs]
  vectors = jnp.where(is_found[:, None], vectors.T @ basis, 0)[::-1][:num_pairs]
  missing = num_pairs - len(values)
  return Eigenpairs(
    jnp.pad(values, (0, missing), constant_values=jnp.nan),
    jnp.pad(vectors, ((0, missing), (0, 0))),
  )
