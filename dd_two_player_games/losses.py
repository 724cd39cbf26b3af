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
"""Losses of the two players.

Each loss maps discriminator outputs on real data and on samples to a
`LossOutput`; discriminators minimise theirs, generators theirs. Outputs are one
number an example; a loss that takes more, or also a key, declares it.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dd_two_player_games import distances
from dd_two_player_games import penalties
from differentiable_games import divergences


class LossOutput(NamedTuple):
  """A scalar loss, and its parts by name."""

  total: jax.Array
  components: Mapping[str, jax.Array]


Loss = Callable[..., LossOutput]


@dataclasses.dataclass(frozen=True)
class Traits:
  """What a loss asks of its callers, and which it belongs with.

  Attributes:
    several_outputs: whether it takes several outputs an example, (batch, k),
      in place of one.
    takes_key: whether a key is its third argument.
    least_examples: that it can be computed on.
    family: of an f-GAN; its losses' outputs mean something to no other.
    zero_sum_with: of a generator's loss, the discriminator's that it cancels
      but for what depends on the discriminator alone.
  """

  several_outputs: bool = False
  takes_key: bool = False
  least_examples: int = 1
  family: str | None = None
  zero_sum_with: Loss | None = None


_TRAITS: dict[Loss, Traits] = {}


def declare(**traits: Any) -> Callable[[Loss], Loss]:
  """A decorator that declares a loss's `Traits`, where it is not plain."""

  def register(loss: Loss) -> Loss:
    _TRAITS[loss] = Traits(**traits)
    return loss

  return register


def traits_of(loss: Loss) -> Traits:
  """What a loss declares."""
  return _TRAITS.get(loss, Traits())


def are_zero_sum(disc_loss: Loss, gen_loss: Loss) -> bool:
  """Whether two losses cancel, but for what the discriminator decides alone."""
  return traits_of(gen_loss).zero_sum_with is disc_loss


def evaluate(
  loss: Loss, real_outputs: jax.Array, sample_outputs: jax.Array, rng: jax.Array
) -> LossOutput:
  """A loss's output, with a key made from `rng` if it takes one.

  Both players' losses get the same key from the same `rng`, so that those that
  cancel do.
  """
  outputs = real_outputs, sample_outputs
  if traits_of(loss).takes_key:
    # Latents are drawn by `rng` itself.
    return loss(*outputs, jax.random.fold_in(rng, 1))
  return loss(*outputs)


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


@declare(zero_sum_with=discriminator_goodfellow_loss)
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


@declare(zero_sum_with=discriminator_square_loss)
def generator_square_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Minus the discriminator's loss on samples: -mean samples²."""
  del real_outputs
  return _gen_output(-jnp.mean(jnp.square(sample_outputs)))


def generator_non_saturating_square_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The published least squares, mean (samples - 1)²."""
  del real_outputs
  return _gen_output(jnp.mean(jnp.square(sample_outputs - 1)))


def discriminator_square_loss_with_sigmoid(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """The square loss of the outputs' sigmoids."""
  return discriminator_square_loss(
    jax.nn.sigmoid(real_outputs), jax.nn.sigmoid(sample_outputs)
  )


@declare(zero_sum_with=discriminator_square_loss_with_sigmoid)
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


@declare(zero_sum_with=wasserstein_discriminator_loss)
def wasserstein_generator_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean(real) + mean(-samples): zero-sum with the discriminator's."""
  return _gen_output(jnp.mean(-sample_outputs), jnp.mean(real_outputs))


def hinge_discriminator_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean relu(1 - real) + mean relu(1 + samples).

  References:
    Lim and Ye, "Geometric GAN", 2017.
  """
  return _disc_output(
    jnp.mean(jax.nn.relu(1 - real_outputs)),
    jnp.mean(jax.nn.relu(1 + sample_outputs)),
  )


def hinge_generator_loss(
  real_outputs: jax.Array, sample_outputs: jax.Array
) -> LossOutput:
  """Mean(-samples)."""
  del real_outputs
  return _gen_output(jnp.mean(-sample_outputs))


# Divergences, estimated by the best discriminator.


def _f_gan_losses(name: str) -> tuple[Loss, Loss, Loss]:
  """The losses of a divergence of `divergences.DIVERGENCES`.

  Returns:
    The discriminator's loss, -V of V = E t(real) - E f*(t(samples)); the
    generator's, V, which the best discriminator makes the divergence; and its
    non-saturating one, -E t(samples).
  """
  chosen = divergences.DIVERGENCES[name]
  of_real, of_samples = chosen.activation, chosen.conjugate_of_output

  @declare(family=f'f_gan_{name}')
  def disc_loss(real_outputs, sample_outputs):
    return _disc_output(
      jnp.mean(-of_real(real_outputs)), jnp.mean(of_samples(sample_outputs))
    )

  @declare(family=f'f_gan_{name}', zero_sum_with=disc_loss)
  def gen_loss(real_outputs, sample_outputs):
    return _gen_output(
      jnp.mean(-of_samples(sample_outputs)), jnp.mean(of_real(real_outputs))
    )

  @declare(family=f'f_gan_{name}')
  def non_saturating_loss(real_outputs, sample_outputs):
    del real_outputs
    return _gen_output(jnp.mean(-of_real(sample_outputs)))

  return disc_loss, gen_loss, non_saturating_loss


(
  f_gan_kl_discriminator_loss,
  f_gan_kl_generator_loss,
  f_gan_kl_non_saturating_generator_loss,
) = _f_gan_losses('kl')
(
  f_gan_reverse_kl_discriminator_loss,
  f_gan_reverse_kl_generator_loss,
  f_gan_reverse_kl_non_saturating_generator_loss,
) = _f_gan_losses('reverse_kl')
(
  f_gan_pearson_discriminator_loss,
  f_gan_pearson_generator_loss,
  f_gan_pearson_non_saturating_generator_loss,
) = _f_gan_losses('pearson')
(
  f_gan_squared_hellinger_discriminator_loss,
  f_gan_squared_hellinger_generator_loss,
  f_gan_squared_hellinger_non_saturating_generator_loss,
) = _f_gan_losses('squared_hellinger')
(
  f_gan_jensen_shannon_discriminator_loss,
  f_gan_jensen_shannon_generator_loss,
  f_gan_jensen_shannon_non_saturating_generator_loss,
) = _f_gan_losses('jensen_shannon')


# Distances of features: the discriminator gives several outputs an example,
# and makes the distance large, which the generator makes small.


def _distance_losses(
  distance: Callable[..., jax.Array], **traits: Any
) -> tuple[Loss, Loss]:
  """The losses of a distance of real outputs and samples', perhaps by a key."""

  @declare(several_outputs=True, **traits)
  def disc_loss(real_outputs, sample_outputs, *key):
    loss = -distance(real_outputs, sample_outputs, *key)
    return LossOutput(loss, {'disc_distance_loss': loss})

  @declare(several_outputs=True, zero_sum_with=disc_loss, **traits)
  def gen_loss(real_outputs, sample_outputs, *key):
    loss = distance(real_outputs, sample_outputs, *key)
    return LossOutput(loss, {'gen_distance_loss': loss})

  return disc_loss, gen_loss


def _mmd_losses(kernel: distances.Kernel) -> tuple[Loss, Loss]:
  distance = functools.partial(distances.squared_mmd, kernel=kernel)
  return _distance_losses(distance, least_examples=2)


mmd_rbf_discriminator_loss, mmd_rbf_generator_loss = _mmd_losses(distances.rbf)
(
  mmd_rational_quadratic_discriminator_loss,
  mmd_rational_quadratic_generator_loss,
) = _mmd_losses(distances.rational_quadratic)
mmd_linear_discriminator_loss, mmd_linear_generator_loss = _mmd_losses(
  distances.linear
)
sliced_wasserstein_discriminator_loss, sliced_wasserstein_generator_loss = (
  _distance_losses(distances.sliced_wasserstein, takes_key=True)
)


# Published here; the others are in penalties.py.
wgan_gradient_penalty_loss = penalties.wgan_gradient_penalty_loss


# The parts of losses.


def _disc_output(data_loss: jax.Array, samples_loss: jax.Array) -> LossOutput:
  return LossOutput(
    data_loss + samples_loss,
    {'disc_data_loss': data_loss, 'disc_samples_loss': samples_loss},
  )


def _gen_output(
  samples_loss: jax.Array, data_loss: jax.Array | None = None
) -> LossOutput:
  if data_loss is None:
    return LossOutput(samples_loss, {'gen_samples_loss': samples_loss})
  return LossOutput(
    data_loss + samples_loss,
    {'gen_data_loss': data_loss, 'gen_samples_loss': samples_loss},
  )
