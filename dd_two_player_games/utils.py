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
"""Tree helpers under their published names."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from differentiable_games import jacobian


def tree_dot_product(tree1: Any, tree2: Any) -> jax.Array:
  """Sum over all leaves of the elementwise product."""
  return optax.tree.vdot(tree1, tree2)


def tree_square_norm(tree: Any) -> jax.Array:
  """Squared l2 norm of all leaves together."""
  return optax.tree.norm(tree, squared=True)


def tree_add(tree1: Any, tree2: Any) -> Any:
  """Leafwise sum."""
  return optax.tree.add(tree1, tree2)


def tree_mul(tree: Any, constant: Any) -> Any:
  """Every leaf times a constant."""
  return optax.tree.scale(constant, tree)


def tree_diff(tree1: Any, tree2: Any) -> Any:
  """Leafwise difference, the first less the second."""
  return optax.tree.sub(tree1, tree2)


def add_trees_with_coeff(acc: Any, mul: Any, coeff: Any) -> Any:
  """Leafwise `acc + coeff * mul`."""
  return optax.tree.add_scale(acc, coeff, mul)


def any_non_zero(coeffs: Iterable[Any]) -> bool:
  """Whether a coefficient is not a Python zero; a traced one is taken as so."""
  return not all(jacobian.is_zero(coeff) for coeff in coeffs)


def batch_l2_norms(x: jax.Array, eps: float = 1e-5) -> jax.Array:
  r"""Norm of each example, :math:`\sqrt{\epsilon + \sum x^2}`.

  Args:
    x: shape (batch, …).
    eps: keeps the gradient finite at zero.

  Returns:
    Norms, of shape (batch,).
  """
  return jnp.sqrt(eps + jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim))))


def average_dict_values(dictionary: Mapping[str, Any]) -> dict[str, jax.Array]:
  """The mean of each value."""
  return {key: jnp.mean(value) for key, value in dictionary.items()}
