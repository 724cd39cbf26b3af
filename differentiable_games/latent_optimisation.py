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
r"""Latent optimisation: latents move so that the discriminator scores higher.

`latents` is a batch, examples along the first axis, drawn uniformly from
[-1, 1]. A loss of the moved latents is differentiated through the move, with
respect to both players' parameters.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Score = Callable[[jax.Array], jax.Array]


def latent_step(
  score: Score, latents: jax.Array, alpha: float, beta: float | None = None
) -> jax.Array:
  r"""The step :math:`\Delta z` of each latent of a batch.

  With :math:`g = \partial D(G(z)) / \partial z`, gradient and natural gradient:

  .. math::
    \Delta z = \alpha g, \quad \Delta z = \alpha \frac{g}{\beta + \|g\|^2}

  Args:
    score: maps latents to the discriminator's outputs on their samples, of
      shape (batch,) or (batch, 1). Each output is to depend on its own latent;
      with batch norm the others' share is part of the gradient.
    latents: z.
    alpha: :math:`\alpha`.
    beta: :math:`\beta`; None for the plain gradient.

  Returns:
    :math:`\Delta z`, in the shape of `latents`.

  References:
    Wu et al., "LOGAN: Latent Optimisation for Generative Adversarial
    Networks", 2019.
  """
  gradient = jax.grad(lambda z: jnp.sum(score(z)))(latents)
  if beta is None:
    return alpha * gradient
  axes = tuple(range(1, latents.ndim))
  squared_norm = jnp.sum(gradient**2, axis=axes, keepdims=True)
  return alpha * gradient / (beta + squared_norm)


def optimised_latents(
  score: Score, latents: jax.Array, alpha: float, beta: float | None = None
) -> jax.Array:
  r""":math:`z' = \mathrm{clip}(z + \Delta z, -1, 1)`; see `latent_step`."""
  step = latent_step(score, latents, alpha, beta)
  return jnp.clip(latents + step, -1.0, 1.0)
