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
"""Losses of the two players, and penalties of the discriminator.

Each loss maps discriminator outputs on real data and on samples to a
`LossOutput`; discriminators minimise theirs, generators theirs.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dd_two_player_games import utils


class LossOutput(NamedTuple):
  """A scalar loss, and its parts by name."""

  total: jax.Array
  components: Mapping[str, jax.Array]


def binary_cross_entropy_loss(
  logits: jax.Array, targets: jax.Array
) -> jax.Array:
  r"""Mean of :math:`-t \log\sigma(x) - (1 - t)\log(1 - \sigma(x))`.

  Args:
    logits: x, any shape.
    targets: t in [0, 1], of the same shape.

  Returns:
    A scalar.
  """
  return jnp.mean(jax.nn.softplus(logits) - targets * logits)


def discriminator_goodfellow_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  r"""Mean softplus(-real) + mean softplus(samples).

  References:
    Goodfellow et al., "Generative Adversarial Networks", 2014.
  """
  return _disc_output(
    jnp.mean(jax.nn.softplus(-real_outputs)),
    jnp.mean(jax.nn.softplus(sample_outputs)),
  )


def generator_goodfellow_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The non-saturating loss, mean softplus(-samples)."""
  del real_outputs
  return _gen_output(jnp.mean(jax.nn.softplus(-sample_outputs)))


def generator_saturating_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The zero-sum loss, -mean softplus(samples)."""
  del real_outputs
  return _gen_output(-jnp.mean(jax.nn.softplus(sample_outputs)))


def discriminator_square_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean (real - 1)² + mean samples².

  References:
    Mao et al., "Least Squares Generative Adversarial Networks", 2017.
  """
  return _disc_output(
    jnp.mean(jnp.square(real_outputs - 1)), jnp.mean(jnp.square(sample_outputs))
  )


def generator_square_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Minus the discriminator's loss on samples: -mean samples²."""
  del real_outputs
  return _gen_output(-jnp.mean(jnp.square(sample_outputs)))


def discriminator_square_loss_with_sigmoid(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The square loss of the outputs' sigmoids."""
  return discriminator_square_loss(
    jax.nn.sigmoid(real_outputs), jax.nn.sigmoid(sample_outputs)
  )


def generator_square_loss_with_sigmoid(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The generator's square loss of the outputs' sigmoids."""
  return generator_square_loss(
    jax.nn.sigmoid(real_outputs), jax.nn.sigmoid(sample_outputs)
  )


def wasserstein_discriminator_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean(-real) + mean(samples).

  References:
    Arjovsky et al., "Wasserstein GAN", 2017.
  """
  return _disc_output(jnp.mean(-real_outputs), jnp.mean(sample_outputs))


def wasserstein_generator_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean(real) + mean(-samples): zero-sum with the discriminator's."""
  data_loss = jnp.mean(real_outputs)
  samples_loss = jnp.mean(-sample_outputs)
  return LossOutput(
    data_loss + samples_loss,
    {'gen_data_loss': data_loss, 'gen_samples_loss': samples_loss},
  )


def wgan_gradient_penalty_loss(
  disc_apply: Callable[[jax.Array], jax.Array],
  rng: jax.Array,
  real: jax.Array,
  samples: jax.Array,
) -> jax.Array:
  r"""Mean over the batch of :math:`(\|\nabla_x D(x)\| - 1)^2`.

  x lies between a real example and a sample, uniformly for each pair.

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
  shape = (real.shape[0],) + (1,) * (real.ndim - 1)
  mix = jax.random.uniform(rng, shape)
  between = real + mix * (samples - real)
  input_grads = jax.grad(lambda x: jnp.sum(disc_apply(x)))(between)
  return jnp.mean(jnp.square(utils.batch_l2_norms(input_grads) - 1))


def _disc_output(data_loss: jax.Array, samples_loss: jax.Array) -> LossOutput:
  return LossOutput(
    data_loss + samples_loss,
    {'disc_data_loss': data_loss, 'disc_samples_loss': samples_loss},
  )


def _gen_output(samples_loss: jax.Array) -> LossOutput:
  return LossOutput(samples_loss, {'gen_samples_loss': samples_loss})
