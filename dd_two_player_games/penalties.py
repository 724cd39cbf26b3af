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
r"""Penalties of the discriminator, by its gradient in its inputs.

Each maps (disc_apply, rng, real, samples) to a scalar, which is added, times a
coefficient, to the discriminator's loss. The squared norm of :math:`\nabla_x D`
is that of all outputs' gradients together, :math:`\sum_j \|\nabla_x D_j\|^2`:
with one output that of its gradient, with several that of the Jacobian.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dd_two_player_games import utils

Penalty = Callable[..., jax.Array]


def r1_penalty(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""Half the mean of :math:`\|\nabla_x D(x)\|^2` over real examples.

  Args:
    disc_apply: D, from a batch of inputs to a batch of outputs.
    rng: not used.
    real: real examples, of shape (batch, …).
    samples: not used.

  Returns:
    A scalar.

  References:
    Mescheder et al., "Which Training Methods for GANs do actually Converge?",
    2018.
  """
  del rng, samples
  return _zero_centred(disc_apply, real) / 2


def r2_penalty(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""Half the mean of :math:`\|\nabla_x D(x)\|^2` over samples.

  Arguments, result and reference are those of `r1_penalty`.
  """
  del rng, real
  return _zero_centred(disc_apply, samples) / 2


def zero_centred_gradient_penalty(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""The mean of :math:`\|\nabla_x D(x)\|^2` between real examples and samples.

  Arguments and result are those of `wgan_gradient_penalty_loss`.

  References:
    Thanh-Tung et al., "Improving Generalization and Stability of Generative
    Adversarial Networks", 2019.
  """
  return _zero_centred(disc_apply, _interpolate(rng, real, samples))


def wgan_gradient_penalty_loss(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""Mean over the batch of :math:`(\|\nabla_x D(x)\| - 1)^2`.

  x lies between a real example and a sample, uniformly for each pair: the
  one-centred gradient penalty.

  Args:
    disc_apply: D, from a batch of inputs to a batch of outputs.
    rng: a key.
    real: real examples, of shape (batch, …).
    samples: samples, of the same shape.

  Returns:
    A scalar.

  References:
    Gulrajani et al., "Improved Training of Wasserstein GANs", 2017.
  """
  return _one_centred(disc_apply, _interpolate(rng, real, samples))


def dragan_penalty(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""Mean of :math:`(\|\nabla_x D(x)\| - 1)^2` near real examples.

  x is a real example plus :math:`a \, \sigma u / 2`, with σ the deviation of
  all numbers of the batch, u uniform on [0, 1) for each number and a for each
  example, as in the authors' code.

  Arguments and result are those of `wgan_gradient_penalty_loss`, of which the
  samples are not used.

  References:
    Kodali et al., "On Convergence and Stability of GANs", 2017.
  """
  del samples
  rng_noise, rng_mix = jax.random.split(rng)
  noise = jax.random.uniform(rng_noise, real.shape)
  moved = real + jnp.std(real) / 2 * noise
  return _one_centred(disc_apply, _interpolate(rng_mix, real, moved))


# Those that depend on the data and the discriminator alone: with them losses
# that are zero-sum stay so for the generator.
OF_DATA_ALONE: frozenset[Penalty] = frozenset((r1_penalty, dragan_penalty))


def input_gradients(
  disc_apply: Callable[[jax.Array], jax.Array], inputs: jax.Array
) -> jax.Array:
  r""":math:`\nabla_x D_j(x)` of each example and output, (batch, outputs, …).

  Each output must be of its own example alone. Several outputs take a backward
  pass each.
  """
  outputs, pull_back = jax.vjp(disc_apply, inputs)
  num_outputs = outputs.size // inputs.shape[0]
  if num_outputs == 1:
    return pull_back(jnp.ones_like(outputs))[0][:, None]
  (gradients,) = jax.vmap(
    lambda unit: pull_back(jnp.broadcast_to(unit, outputs.shape)), out_axes=1
  )(jnp.eye(num_outputs, dtype=outputs.dtype))
  return gradients


def combine(
  weighted: Sequence[tuple[Penalty, float]],
) -> tuple[Penalty, float] | None:
  """Penalties with their coefficients as one with its; None of none."""
  if len(weighted) < 2:
    return weighted[0] if weighted else None

  def total(disc_apply, rng, real, samples):
    keys = jax.random.split(rng, len(weighted))
    return sum(
      coefficient * penalty(disc_apply, key, real, samples)
      for key, (penalty, coefficient) in zip(keys, weighted, strict=True)
    )

  return total, 1.0


def as_pairs(chosen: Any) -> list[tuple[str, float]]:
  """What a config chooses, as pairs: None, one pair, or a list of them."""
  if not chosen:
    return []
  if isinstance(chosen[0], str):
    chosen = [chosen]
  return [(name, coefficient) for name, coefficient in chosen]


def _interpolate(rng, real, samples):
  """A point between each pair, uniformly."""
  mix = jax.random.uniform(rng, (real.shape[0],) + (1,) * (real.ndim - 1))
  return real + mix * (samples - real)


def _zero_centred(disc_apply, inputs):
  """The mean of the squared norms."""
  gradients = input_gradients(disc_apply, inputs)
  return jnp.sum(jnp.square(gradients)) / inputs.shape[0]


def _one_centred(disc_apply, inputs):
  """The mean of (norm - 1)²."""
  norms = utils.batch_l2_norms(input_gradients(disc_apply, inputs))
  return jnp.mean(jnp.square(norms - 1))
