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
r"""What kind of point a game is at, and whether steps stay near it.

These functions are for looking at games, from the host: they return NumPy
arrays, floats and bools. Dense matrices are for small games; for large ones
`leading_eigenvalues` takes nothing but products.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
from scipy.sparse import linalg

from differentiable_games import fields
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import rules


def gradient_norm(losses: Sequence[game.Loss], params: game.Params) -> float:
  r""":math:`\|\xi\|`: how far from a fixed point."""
  gradient = game.simultaneous_gradient(losses, params)
  return float(optax.tree.norm(gradient))


class EnergySplit(NamedTuple):
  r"""The energies of the two parts of :math:`J\xi`.

  Attributes:
    symmetric: :math:`\|S\xi\|^2`, of attraction and repulsion.
    antisymmetric: :math:`\|A\xi\|^2`, of rotation.
  """

  symmetric: float
  antisymmetric: float

  @property
  def rotation(self) -> float:
    """The share of rotation: 0 in potential games, 1 in Hamiltonian ones.

    NaN where there is no energy to share, as at a fixed point.
    """
    total = self.symmetric + self.antisymmetric
    return self.antisymmetric / total if total else np.nan


def energy_split(
  losses: Sequence[game.Loss], params: game.Params
) -> EnergySplit:
  r"""Splits the energy of J along :math:`\xi` by :math:`J = S + A`.

  :math:`\|S\xi\|^2 + \|A\xi\|^2 = (\|J\xi\|^2 + \|J^\top\xi\|^2) / 2`.
  """
  gradient = game.simultaneous_gradient(losses, params)
  parts = (
    jacobian.symmetric_product(losses, params, gradient),
    jacobian.antisymmetric_product(losses, params, gradient),
  )
  return EnergySplit(
    *(float(optax.tree.norm(part, squared=True)) for part in parts)
  )


def spectrum(losses: Sequence[game.Loss], params: game.Params) -> np.ndarray:
  """All eigenvalues of a small game's Jacobian, by their real parts."""
  return np.sort_complex(
    np.linalg.eigvals(jacobian.dense_jacobian(losses, params))
  )


def leading_eigenvalues(
  product: Callable[[Any], Any], params: Any, count: int, which: str = 'LM'
) -> np.ndarray:
  """Some eigenvalues of a linear map, matrix-free, by Arnoldi's method.

  For a large game's Jacobian `product` is
  `lambda v: jacobian.jacobian_product(losses, params, v)`.

  Args:
    product: the map, from trees like `params` to such trees.
    params: gives the structure of what it maps.
    count: how many, at most the number of parameters less two.
    which: 'LM' and 'SM' for the largest and smallest modulus, 'LR', 'SR' for
      real parts, 'LI', 'SI' for imaginary parts.

  Returns:
    The eigenvalues, sorted by their real parts.
  """
  flat, unravel = ravel_pytree(params)

  @jax.jit
  def flat_product(vector):
    return ravel_pytree(product(unravel(vector)))[0]

  operator = linalg.LinearOperator(
    (flat.size, flat.size),
    matvec=lambda v: np.asarray(flat_product(jnp.asarray(v.reshape(-1)))),
    dtype=flat.dtype,
  )
  # A fixed start, so that results repeat.
  start = np.random.default_rng(0).normal(size=flat.size).astype(flat.dtype)
  return np.sort_complex(
    linalg.eigs(
      operator, count, which=which, v0=start, return_eigenvectors=False
    )
  )


def is_local_nash(
  losses: Sequence[game.Loss], params: game.Params, tolerance: float = 1e-6
) -> bool:
  r"""Whether no player gains by a small move of its own, to second order.

  :math:`\xi = 0` and all :math:`\nabla^2_{ii} L_i` are positive definite. This
  is sufficient for a strict local Nash equilibrium, and necessary up to
  Hessians that are singular.

  Args:
    losses: n losses.
    params: n pytrees, few numbers in all.
    tolerance: of the gradient's norm and the smallest eigenvalues.
  """
  matrix = np.asarray(jacobian.dense_jacobian(losses, params))
  own = _slices(params)
  return gradient_norm(losses, params) <= tolerance and all(
    _is_positive(matrix[block, block], tolerance) for block in own
  )


def is_local_minmax(
  losses: Sequence[game.Loss],
  params: game.Params,
  leader: int = 0,
  tolerance: float = 1e-6,
) -> bool:
  r"""Whether a point of a zero-sum game is local minmax, to second order.

  For the leader's loss f of (x, y): :math:`\nabla f = 0`,
  :math:`\nabla^2_{yy} f` is negative definite, and :math:`\nabla^2_{xx} f -
  \nabla^2_{xy} f (\nabla^2_{yy} f)^{-1} \nabla^2_{yx} f` positive definite.

  Args:
    losses: two losses that cancel.
    params: two pytrees, few numbers in all.
    leader: x, the player that moves first.
    tolerance: of the gradient's norm and the smallest eigenvalues.

  Raises:
    ValueError: for other than two players.

  References:
    Jin, Netrapalli and Jordan, "What is Local Optimality in
    Nonconvex-Nonconcave Minimax Optimization?", 2020.
  """
  if len(params) != 2:
    raise ValueError(f'Minmax is of two players, not of {len(params)}.')
  matrix = np.asarray(jacobian.dense_jacobian(losses, params))
  own = _slices(params)
  x, y = own[leader], own[1 - leader]
  # Written so that NaN is never the good verdict, here and below.
  if not gradient_norm(losses, params) <= tolerance:
    return False
  # The follower's rows of J are those of -f.
  if not _is_positive(matrix[y, y], tolerance):
    return False
  answer = np.linalg.solve(matrix[y, y], matrix[y, x])
  return _is_positive(matrix[x, x] - matrix[x, y] @ answer, tolerance)


def update_map(
  rule: rules.UpdateRule,
  field: fields.VectorField,
  params: Any,
  num_steps: int = 1,
) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
  """The discrete map of a rule: parameters and state, as one vector.

  The state is that after one step, so that rules that begin differently have
  begun. What is not a floating-point number, as a count of steps, is no part of
  the vector, and starts the same in every application.

  Args:
    rule: an update rule.
    field: the field that it follows.
    params: a fixed point of the rule, or where to look.
    num_steps: steps that the map takes: the period of a rule that has one.

  Returns:
    The map and the point.
  """

  def step(params, state):
    return rules.move(rule, field, params, state)

  start = step(params, rule.init(params))
  leaves, structure = jax.tree.flatten(start)
  moving = [
    i
    for i, leaf in enumerate(leaves)
    if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
  ]
  flat, unravel = ravel_pytree([leaves[i] for i in moving])

  def mapped(vector):
    merged = list(leaves)
    for i, leaf in zip(moving, unravel(vector), strict=True):
      merged[i] = leaf
    carry = jax.tree.unflatten(structure, merged)
    carry = jax.lax.fori_loop(0, num_steps, lambda _, c: step(*c), carry)
    ends = jax.tree.leaves(carry)
    return ravel_pytree([ends[i] for i in moving])[0]

  return mapped, flat


def convergence_rate(
  rule: rules.UpdateRule,
  field: fields.VectorField,
  params: Any,
  num_steps: int = 1,
) -> float:
  """The factor by which a step shrinks the distance to a fixed point, finally.

  The spectral radius of the Jacobian of `update_map`, whose arguments these
  are, a step: the fixed point is stable if it is below 1, unstable above.
  """
  mapped, point = update_map(rule, field, params, num_steps)
  eigenvalues = np.linalg.eigvals(jax.jit(jax.jacfwd(mapped))(point))
  return float(np.abs(eigenvalues).max() ** (1 / num_steps))


def _slices(params: Sequence[Any]) -> list[slice]:
  """Where each player's parameters are in `ravel_pytree(params)`."""
  ends = np.cumsum([optax.tree.size(own) for own in params])
  starts = [0, *ends[:-1]]
  return [slice(a, b) for a, b in zip(starts, ends, strict=True)]


def _is_positive(matrix: np.ndarray, tolerance: float) -> bool:
  symmetric = (matrix + matrix.T) / 2
  if not np.isfinite(symmetric).all():
    return False
  # A player without parameters has no eigenvalue.
  eigenvalues = np.linalg.eigvalsh(symmetric)
  return bool(eigenvalues.min(initial=np.inf) > tolerance)
