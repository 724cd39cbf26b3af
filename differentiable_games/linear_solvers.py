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
"""Linear systems by Krylov methods that say how many iterations they took.

JAX's own do not tell. A system is given by a function of pytrees, its matrix is
never formed, and derivatives of a solution are those of the exact one.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

# GMRES keeps a vector an iteration, and begins anew after so many: as many as
# have this many numbers, within bounds.
_NUM_NUMBERS = 2**21
_LEAST_VECTORS, _MOST_VECTORS = 20, 100
_Product = Callable[[jax.Array], jax.Array]


def conjugate_gradients(
  operator: Callable[[Any], Any],
  right: Any,
  tolerance: Any,
  max_iterations: int,
  weights: Any = None,
) -> tuple[Any, jax.Array]:
  r"""Solves :math:`A x = b` for a positive definite A, from zero.

  Args:
    operator: A.
    right: b, a pytree.
    tolerance: of the residual's norm, relative to that of b.
    max_iterations: products with A.
    weights: of the inner product :math:`\sum_k w_k a_k b_k` in which A is
      symmetric, a tree like b; None for ones.

  Returns:
    x, and the number of iterations.
  """
  method = _conjugate_gradients
  if weights is not None:
    method = functools.partial(method, weights=ravel_pytree(weights)[0])
  is_symmetric = weights is None
  return _solve(
    method, operator, right, tolerance, max_iterations, is_symmetric
  )


def gmres(
  operator: Callable[[Any], Any],
  right: Any,
  tolerance: Any,
  max_iterations: int,
) -> tuple[Any, jax.Array]:
  """Solves a system of any kind; see `conjugate_gradients`."""
  return _solve(_gmres, operator, right, tolerance, max_iterations, False)


def _solve(method, operator, right, tolerance, max_iterations, is_symmetric):
  """Solves as vectors, of at least single precision."""
  vector, unravel = ravel_pytree(right)
  if not vector.size:  # Of a player without parameters.
    return right, jnp.zeros((), jnp.int32)
  dtype = jnp.promote_types(vector.dtype, jnp.float32)

  def product(x):
    return ravel_pytree(operator(unravel(x.astype(vector.dtype))))[0].astype(
      dtype
    )

  def solve(product, b):
    least = (tolerance * jnp.linalg.norm(b)).astype(dtype)
    return method(product, b, least, max_iterations)

  solution, num_iterations = jax.lax.custom_linear_solve(
    product,
    vector.astype(dtype),
    solve,
    # In the inner product of some weights the transpose is another system.
    transpose_solve=solve if method is _gmres else None,
    symmetric=is_symmetric,
    has_aux=True,
  )
  return unravel(solution.astype(vector.dtype)), num_iterations


def _conjugate_gradients(
  product: _Product,
  right: jax.Array,
  least: jax.Array,
  max_iterations: int,
  weights: Any = 1.0,
) -> tuple[jax.Array, jax.Array]:
  def dot(a, b):
    return jnp.vdot(a, weights * b).astype(right.dtype)

  def goes_on(state):
    _, residual, _, _, k = state
    return (jnp.linalg.norm(residual) > least) & (k < max_iterations)

  def step(state):
    solution, residual, direction, square, k = state
    moved = product(direction)
    length = square / dot(direction, moved)
    solution = solution + length * direction
    residual = residual - length * moved
    new_square = dot(residual, residual)
    direction = residual + new_square / square * direction
    return solution, residual, direction, new_square, k + 1

  start = jnp.zeros_like(right), right, right, dot(right, right), jnp.int32(0)
  solution, _, _, _, k = jax.lax.while_loop(goes_on, step, start)
  return solution, k


def _gmres(
  product: _Product, right: jax.Array, least: jax.Array, max_iterations: int
) -> tuple[jax.Array, jax.Array]:
  """Cycles of `_minimise_residual`, each from the residual that is left."""

  def goes_on(state):
    _, residual, k = state
    return (jnp.linalg.norm(residual) > least) & (k < max_iterations)

  def cycle(state):
    solution, residual, k = state
    correction, residual, num_iterations = _minimise_residual(
      product, residual, least, max_iterations - k
    )
    return solution + correction, residual, k + num_iterations

  start = jnp.zeros_like(right), right, jnp.int32(0)
  solution, _, k = jax.lax.while_loop(goes_on, cycle, start)
  return solution, k


def _minimise_residual(product, right, least, max_iterations):
  r"""The least residual in a Krylov space that grows until it is small enough.

  With V the orthonormal basis of that space and :math:`A V_k = V_{k+1} H`, the
  residuals that are left are multiples of the vector z with :math:`z^\top H =
  0`, :math:`z_0 = 1`, and their norm is :math:`\|b\| / \|z\|`.
  """
  size = max(_LEAST_VECTORS, _NUM_NUMBERS // right.size)
  size = min(size, _MOST_VECTORS, right.size)
  length = jnp.linalg.norm(right)
  basis = jnp.zeros((size + 1, right.size), right.dtype)
  # Columns that are not reached leave the least squares of the others alone.
  hessenberg = jnp.eye(size + 1, size, -1, dtype=right.dtype)
  null = jnp.zeros(size + 1, right.dtype).at[0].set(1)

  def goes_on(state):
    _, _, null, k = state
    is_small = length <= least * jnp.linalg.norm(null)
    return ~is_small & (k < size) & (k < max_iterations)

  def extend(state):
    basis, hessenberg, null, k = state
    vector = product(basis[k])
    column = jnp.zeros_like(null)
    for _ in range(2):  # Once leaves rounding errors that grow.
      overlaps = basis @ vector
      vector = vector - overlaps @ basis
      column = column + overlaps
    left = jnp.linalg.norm(vector)
    # Where nothing is left the system is solved: z grows beyond bounds.
    null = null.at[k + 1].set(-(null @ column) / left)
    basis = basis.at[k + 1].set(vector / jnp.where(left == 0, 1, left))
    hessenberg = hessenberg.at[:, k].set(column.at[k + 1].set(left))
    return basis, hessenberg, null, k + 1

  basis = basis.at[0].set(right / length)
  basis, hessenberg, _, k = jax.lax.while_loop(
    goes_on, extend, (basis, hessenberg, null, jnp.int32(0))
  )
  q, r = jnp.linalg.qr(hessenberg)
  weights = jax.scipy.linalg.solve_triangular(r, length * q[0])
  left = (-hessenberg @ weights).at[0].add(length)
  return weights @ basis[:-1], left @ basis, k
