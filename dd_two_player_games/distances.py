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
"""Distances of two sets of vectors, such as the features of data and samples.

Each maps x of shape (m, k) and y of shape (n, k) to a number; kernels map them
to an (m, n) matrix.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Kernel = Callable[[jax.Array, jax.Array], jax.Array]

_BANDWIDTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
_EXPONENTS = (0.2, 0.5, 1.0, 2.0, 5.0)
_NUM_DIRECTIONS = 128


def rbf(x: jax.Array, y: jax.Array) -> jax.Array:
  r"""The sum over bandwidths σ of :math:`\exp(-\|x - y\|^2 / 2\sigma^2)`."""
  squares = _squared_distances(x, y)
  return sum(
    (jnp.exp(-squares / (2 * sigma**2)) for sigma in _BANDWIDTHS),
    start=jnp.zeros_like(squares),
  )


def rational_quadratic(x: jax.Array, y: jax.Array) -> jax.Array:
  r"""The sum over α of :math:`(1 + \|x - y\|^2 / 2\alpha)^{-\alpha}`."""
  squares = _squared_distances(x, y)
  return sum(
    ((1 + squares / (2 * alpha)) ** -alpha for alpha in _EXPONENTS),
    start=jnp.zeros_like(squares),
  )


def linear(x: jax.Array, y: jax.Array) -> jax.Array:
  r"""The dot products, whose distance is that of the means."""
  return x @ y.T


def squared_mmd(x: jax.Array, y: jax.Array, kernel: Kernel) -> jax.Array:
  r"""The squared maximum mean discrepancy, estimated without bias.

  .. math::
    \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j)
    + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j)
    - \frac{2}{mn} \sum_{i, j} k(x_i, y_j)

  It is below zero where the sets are closer than sets of one distribution are
  on average.

  Args:
    x: of shape (m, k), m at least 2.
    y: of shape (n, k), n at least 2.
    kernel: one of this module.

  Returns:
    A scalar.

  References:
    Gretton et al., "A Kernel Two-Sample Test", 2012.
    Li et al., "MMD GAN: Towards Deeper Understanding of Moment Matching
    Network", 2017.
    Bińkowski et al., "Demystifying MMD GANs", 2018.
  """
  within = _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y))
  return within - 2 * jnp.mean(kernel(x, y))


def sliced_wasserstein(
  x: jax.Array,
  y: jax.Array,
  rng: jax.Array,
  num_directions: int = _NUM_DIRECTIONS,
) -> jax.Array:
  r"""The mean over directions of the projections' squared distance W₂².

  On a line the best plan pairs the sorted sets.

  Args:
    x: of shape (n, k).
    y: of the same shape.
    rng: a key; of the directions, uniform on the sphere.
    num_directions: how many.

  Returns:
    A scalar.

  References:
    Deshpande et al., "Generative Modeling using the Sliced Wasserstein
    Distance", 2018.
  """
  directions = jax.random.normal(rng, (x.shape[1], num_directions))
  directions /= jnp.linalg.norm(directions, axis=0)
  gaps = jnp.sort(x @ directions, axis=0) - jnp.sort(y @ directions, axis=0)
  return jnp.mean(jnp.square(gaps))


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
  # Not by |x|² - 2 x·y + |y|², which loses the small ones of large features.
  return jnp.sum(jnp.square(x[:, None] - y[None]), axis=-1)


def _mean_of_pairs(matrix: jax.Array) -> jax.Array:
  """The mean off the diagonal."""
  num = matrix.shape[0]
  return (jnp.sum(matrix) - jnp.trace(matrix)) / (num * (num - 1))
