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
"""What passes keep for their derivatives, and that those stay the same."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from dd_two_player_games import nets
from dd_two_player_games import rematerialisation
from dd_two_player_games import training
from tests.dd_two_player_games import small_experiments

KEY = jax.random.PRNGKey(0)
FROM_MOST_TO_LEAST = ('nothing', 'activations', 'networks')
ONE_DEVICE = {'axis_name': 'i', 'axis_size': 1}  # Batch norm needs an axis.


def bytes_kept(what):
  """What a pass of a GAN's loss keeps for the generator's gradient."""
  config = small_experiments.images_config()
  config.training.rematerialise = what
  model = training.build_gan(config)
  images = jnp.zeros((8, 28, 28, 1))

  def keep():
    params, state = model.initial_params(KEY, images)
    _, derivative = jax.vjp(
      lambda gen: model.gen_loss(
        params._replace(gen=gen), state, images, KEY, True
      )[0],
      params.gen,
    )
    return jax.tree.leaves(derivative)

  kept = jax.eval_shape(jax.vmap(keep, **ONE_DEVICE))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in kept)


def test_each_policy_keeps_less_than_the_one_before():
  most, less, least = map(bytes_kept, FROM_MOST_TO_LEAST)
  assert less < 0.6 * most
  assert least < 0.6 * less


def derivatives_by(what):
  """Gives a generator's gradient, and that of its square."""
  network = rematerialisation.apply_to(
    nets.transform(nets.DCGANGenerator, {'channels': (4, 3)}), what
  )

  def loss(params, state, latents):
    return jnp.square(network.apply(params, state, latents, True)[0]).mean()

  def derive():
    latents = jax.random.normal(KEY, (4, 5))
    params, state = network.init(KEY, latents)

    def square(params):
      gradient = jax.grad(loss)(params, state, latents)
      return optax.tree.norm(gradient, squared=True), gradient

    return jax.grad(square, has_aux=True)(params)

  return derive


@functools.cache
def derivatives(what):
  return jax.jit(jax.vmap(derivatives_by(what), **ONE_DEVICE))()


@pytest.mark.slow
@pytest.mark.parametrize('what', rematerialisation.POLICIES)
def test_derivatives_of_first_and_second_order(what):
  expected = derivatives(rematerialisation.NOTHING)
  for found, exact in zip(derivatives(what), expected, strict=True):
    error = optax.tree.norm(optax.tree.sub(found, exact))
    assert error < 1e-5 * optax.tree.norm(exact)  # Roundings.


@pytest.mark.parametrize('what', rematerialisation.POLICIES)
def test_nothing_is_sent_twice(what):
  """Batch statistics are kept: to compute them anew would send them anew."""
  sent, at_least = (
    str(jax.make_jaxpr(derivatives_by(each), axis_env=[('i', 2)])()).count(
      ' psum'
    )
    for each in (what, rematerialisation.NOTHING)
  )
  assert sent == at_least > 0
