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
r"""Spectra of games by products alone, and what they say of a point.

Arnoldi's method with a fixed number of products, which can be compiled; what is
made of its small matrices is for the host.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from differentiable_games import game

# The space is exhausted where what is left for the next vector is no longer
# than this many roundings of the longest image so far.
_BREAKDOWN = 100
# Real parts above minus this share of the largest modulus count as not
# negative: in most directions a network's loss is flat.
_FLAT = 1e-3
_NUM_LEADING = 5


class RitzValues(NamedTuple):
  """Approximate eigenvalues of a linear map.

  Attributes:
    values: by decreasing modulus; complex, real for symmetric maps.
    residuals: a bound on each one's distance from an eigenvalue, in symmetric
      maps; in others of a perturbation for which it is exact.
  """

  values: np.ndarray
  residuals: np.ndarray


def krylov_basis(
  product: Callable[[Any], Any], start: Any, num_products: int
) -> tuple[jax.Array, jax.Array]:
  r"""Arnoldi's method, compiled: exactly so many products.

  Args:
    product: a linear map from trees like `start` to such trees.
    start: where it begins, not zero.
    num_products: m. Vectors of so many times the size of `start` are kept.

  Returns:
    The upper Hessenberg matrix H, (m + 1, m), of the map in an orthonormal
    basis of its Krylov space, and the basis, (m + 1, d). Both are zero from
    where the basis spans all that the start contains.
  """
  flat, unravel = ravel_pytree(start)
  rounding = _BREAKDOWN * jnp.finfo(flat.dtype).eps

  def extend(k, carry):
    basis, hessenberg, longest = carry
    image, _ = ravel_pytree(product(unravel(basis[k])))
    longest = jnp.maximum(longest, jnp.linalg.norm(image))
    # Twice, since the first time leaves the rounding of what it takes away.
    once = basis @ image
    rest = image - once @ basis
    again = basis @ rest
    rest = rest - again @ basis
    length = jnp.linalg.norm(rest)
    goes_on = length > rounding * longest
    unit = jnp.where(goes_on, rest / length, 0)
    column = (once + again).at[k + 1].set(jnp.where(goes_on, length, 0))
    return (
      basis.at[k + 1].set(unit),
      hessenberg.at[:, k].set(column),
      longest,
    )

  basis = jnp.zeros((num_products + 1, flat.size), flat.dtype)
  basis = basis.at[0].set(flat / jnp.linalg.norm(flat))
  hessenberg = jnp.zeros((num_products + 1, num_products), flat.dtype)
  basis, hessenberg, _ = jax.lax.fori_loop(
    0,
    num_products,
    extend,
    (basis, hessenberg, jnp.zeros((), flat.dtype)),
  )
  return hessenberg, basis


def ritz_values(hessenberg: Any, symmetric: bool = False) -> RitzValues:
  """Eigenvalues that `krylov_basis` found, on the host.

  Args:
    hessenberg: its (m + 1, m) matrix.
    symmetric: whether the map is.

  Returns:
    The Ritz values; those of a space that was exhausted before, which are
    exact, where there are fewer than m. NaN where the matrix is not finite.
  """
  matrix = np.asarray(hessenberg, np.float64)
  num = matrix.shape[1]
  if not np.isfinite(matrix).all():
    nan = np.full(num, np.nan)
    return RitzValues(nan, nan)
  ends = np.flatnonzero(np.diag(matrix, -1) == 0)
  num = int(ends[0]) + 1 if ends.size else num
  square = matrix[:num, :num]
  if symmetric:
    values, vectors = np.linalg.eigh((square + square.T) / 2)
  else:
    values, vectors = np.linalg.eig(square)
  residuals = matrix[num, num - 1] * np.abs(vectors[-1])
  order = np.argsort(-np.abs(values), kind='stable')
  return RitzValues(values[order], residuals[order])


def krylov_matrices(
  joint_losses: Callable[[Any], tuple[jax.Array, ...]],
  params: game.Params,
  num_products: int,
) -> jax.Array:
  r"""Arnoldi's matrices of a game's Jacobian and of its own Hessians.

  Args:
    joint_losses: maps params to a tuple of n losses.
    params: n pytrees.
    num_products: m, with each of the n + 1 matrices.

  Returns:
    Shape (n + 1, m + 1, m): first that of J, then those of
    :math:`\nabla^2_{ii} L_i` by player, for `ritz_values`.
  """
  _, product = jax.linearize(
    lambda p: game.joint_simultaneous_gradient(joint_losses, p), params
  )
  # Not the gradient, which may lie in a part of the space.
  start = optax.tree.random_like(jax.random.key(0), params)

  def find_matrix(shown):
    """That of the rows and columns of some players."""

    def show(blocks):
      return game.from_players(
        params,
        [optax.tree.scale(shown[i], block) for i, block in enumerate(blocks)],
      )

    hessenberg, _ = krylov_basis(
      lambda v: show(product(show(v))), show(start), num_products
    )
    return hessenberg

  num_players = len(params)
  # One after the other, by the same compiled loop.
  everyone = jnp.ones((1, num_players))
  return jax.lax.map(
    find_matrix, jnp.concatenate([everyone, jnp.eye(num_players)])
  )


def describe_spectrum(
  matrices: Sequence[Any], names: Sequence[str]
) -> dict[str, float]:
  """What Arnoldi's matrices say of a point, on the host.

  Args:
    matrices: of `krylov_matrices`.
    names: the players'.

  Returns:
    By name: parts of the Jacobian's leading eigenvalues (by modulus), its
    smallest and largest real part; the smallest and largest eigenvalue of each
    player's own Hessian; whether the point is `stable` (no real part below
    zero) and `locally_nash` (no eigenvalue of an own Hessian below zero), 1 or
    0: to within a thousandth of the largest, and of what the products found.
    NaN is never the good verdict.
  """
  values = ritz_values(matrices[0]).values
  described: dict[str, float] = {}
  for k in range(_NUM_LEADING):
    value = values[k] if k < len(values) else np.nan
    described[f'eigenvalue_{k + 1}/real'] = float(np.real(value))
    described[f'eigenvalue_{k + 1}/imag'] = float(np.imag(value))
  described['smallest_real'] = float(np.real(values).min())
  described['largest_real'] = float(np.real(values).max())
  described['stable'] = float(_is_not_negative(values))
  is_nash = True
  for name, matrix in zip(names, matrices[1:], strict=True):
    own = ritz_values(matrix, symmetric=True).values
    described[f'{name}/hessian_smallest'] = float(own.min())
    described[f'{name}/hessian_largest'] = float(own.max())
    is_nash = is_nash and _is_not_negative(own)
  described['locally_nash'] = float(is_nash)
  return described


def _is_not_negative(values: np.ndarray) -> bool:
  return bool(np.real(values).min() >= -_FLAT * np.abs(values).max())
