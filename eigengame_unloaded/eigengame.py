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
"""Players who find eigenvectors: one step of each method, as pure functions.

Notation: V holds the k players' estimates as rows `(k, d)`; M is the estimate
that a minibatch X `(N, d)` gives of the matrix whose eigenvectors are sought,
XᵀX / N for a covariance. A method sees M only through the players' *images*
M vᵢ, the rows of V M, and through their *gram* matrix Aᵢⱼ = vᵢᵀ M vⱼ =
⟨X vᵢ, X vⱼ⟩ / N, which follows from them. All is a handful of matrix products.

The functions below also serve a device that computes some of the players only:
`images` and `weights` are then the rows of those, V those of all.

References:
  Gemp, McWilliams, Vernade, Graepel, "EigenGame Unloaded: When playing games
  is better than optimizing", ICLR 2022, arXiv 2102.04152.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Gather = Callable[[jax.Array], jax.Array]


def player_weights(num_players: int) -> jax.Array:
  """How players see each other: (k, k), 1 on the diagonal, -1 below, else 0."""
  ones = jnp.ones((num_players, num_players))
  return jnp.eye(num_players) - jnp.tril(ones, -1)


def parents(weights: jax.Array) -> jax.Array:
  """Minus one where a player is punished for being like another, else 0."""
  return jnp.where(weights == -1, -1.0, 0.0)


def utilities(gram: jax.Array, weights: jax.Array) -> jax.Array:
  """What each player wants more of: Σⱼ wᵢⱼ Aᵢⱼ² / Aⱼⱼ.

  Args:
    gram: A of all players, (k, k).
    weights: `player_weights`, (k, k).

  Returns:
    (k,).
  """
  return jnp.sum(weights * gram**2 / _no_zeros(jnp.diag(gram)), axis=-1)


# Directions of ascent, (m, d) for m of the k players.


def _alone(x: jax.Array) -> jax.Array:
  return x


def mu_eigengame(
  eigenvectors: jax.Array,
  images: jax.Array,
  weights: jax.Array,
  gather: Gather = _alone,
) -> jax.Array:
  """M vᵢ - Σ_{j<i} Aᵢⱼ vⱼ, linear in M: minibatches leave no bias.

  Args:
    eigenvectors: V, (k, d).
    images: M vᵢ of some players, (m, d).
    weights: their rows of `player_weights`, (m, k).
    gather: collects the rows of all players from those of some.

  Returns:
    A direction for each of these players, (m, d).
  """
  del gather
  gram = images @ eigenvectors.T
  return images + (parents(weights) * gram) @ eigenvectors


def alpha_eigengame(
  eigenvectors: jax.Array,
  images: jax.Array,
  weights: jax.Array,
  gather: Gather = _alone,
) -> jax.Array:
  """M (vᵢ - Σ_{j<i} Aᵢⱼ / Aⱼⱼ vⱼ), half the utility's gradient.

  The quotient makes it biased under minibatches.

  Args:
    eigenvectors: see `mu_eigengame`.
    images: see there.
    weights: see there.
    gather: see there.

  Returns:
    (m, d).
  """
  gram = images @ eigenvectors.T
  all_images = gather(images)
  norms = jnp.sum(all_images * eigenvectors, axis=-1)
  return images + (parents(weights) * gram / _no_zeros(norms)) @ all_images


def oja(
  eigenvectors: jax.Array,
  images: jax.Array,
  weights: jax.Array,
  gather: Gather = _alone,
) -> jax.Array:
  """M vᵢ: the players know of each other by `orthonormalize` alone."""
  del eigenvectors, weights, gather
  return images


def sanger(
  eigenvectors: jax.Array,
  images: jax.Array,
  weights: jax.Array,
  gather: Gather = _alone,
) -> jax.Array:
  """M vᵢ - Σ_{j≤i} Aᵢⱼ vⱼ: the generalised Hebbian algorithm.

  Args:
    eigenvectors: see `mu_eigengame`.
    images: see there.
    weights: see there.
    gather: see there.

  Returns:
    (m, d).

  References:
    Sanger, "Optimal unsupervised learning in a single-layer linear feedforward
    neural network", Neural Networks 2, 1989.
  """
  del gather
  gram = images @ eigenvectors.T
  return images - jnp.where(weights != 0, gram, 0.0) @ eigenvectors


def krasulina(
  eigenvectors: jax.Array,
  images: jax.Array,
  weights: jax.Array,
  gather: Gather = _alone,
) -> jax.Array:
  """M vᵢ - Σⱼ Aᵢⱼ vⱼ: what of M V lies outside of V's span.

  It finds the span of the first k eigenvectors. Within that span it has no
  preference, so that single players are not eigenvectors.

  Args:
    eigenvectors: see `mu_eigengame`.
    images: see there.
    weights: see there.
    gather: see there.

  Returns:
    (m, d).

  References:
    Tang, "Exponentially convergent stochastic k-PCA without variance
    reduction", NeurIPS 2019, arXiv 1904.01750.
  """
  del weights, gather
  return images - (images @ eigenvectors.T) @ eigenvectors


# Back to where eigenvectors live.


def normalize(eigenvectors: jax.Array) -> jax.Array:
  """Makes each row a unit vector."""
  norms = jnp.linalg.norm(eigenvectors, axis=-1, keepdims=True)
  return eigenvectors / _no_zeros(norms)


def orthonormalize(eigenvectors: jax.Array) -> jax.Array:
  """Gram-Schmidt from the first row on, by a QR decomposition.

  R's diagonal is made positive, which keeps rows from changing their signs.

  Args:
    eigenvectors: (k, d).

  Returns:
    (k, d), orthonormal.
  """
  q, r = jnp.linalg.qr(eigenvectors.T)
  return jnp.where(jnp.diag(r) < 0, -q, q).T


def _no_zeros(x: jax.Array) -> jax.Array:
  """For a divisor: where it is 0, so is here what it divides."""
  return jnp.where(x == 0, 1.0, x)


class Method(NamedTuple):
  """A way to find eigenvectors.

  Attributes:
    direction: of ascent, a function like `mu_eigengame`.
    retract: maps V after the ascent to the next V. (Sanger's rule keeps unit
      length by itself, if the learning rate is small enough.)
  """

  direction: Callable[..., jax.Array]
  retract: Callable[[jax.Array], jax.Array]


METHODS = {
  'mu_eigengame': Method(mu_eigengame, normalize),
  'alpha_eigengame': Method(alpha_eigengame, normalize),
  'oja': Method(oja, orthonormalize),
  'sanger': Method(sanger, _alone),
  'krasulina': Method(krasulina, orthonormalize),
}
