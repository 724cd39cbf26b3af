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
"""Unrolled losses and latent optimisation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import game
from differentiable_games import latent_optimisation
from differentiable_games import unrolling
from tests.differentiable_games import sine_game

TOLERANCE = 1e-9
SINES = sine_game.make((2, 1, 3), seed=4)
PARAMS = (
  np.array([0.3, -1.0]),
  np.array([0.4]),
  np.array([0.5, 2.0, -0.2]),
)


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


@pytest.mark.parametrize('optimizer', [optax.sgd(0.2), optax.adam(0.2)])
def test_unrolled_loss_is_the_loss_after_the_followers_steps(optimizer):
  """Its value, and its gradient by differences of the value."""
  unrolled = unrolling.unrolled_loss(SINES.losses, 0, 2, optimizer, 3)

  def after_steps(params):
    own = params[2]
    state = optimizer.init(own)
    for _ in range(3):
      moved = (params[0], params[1], own)
      gradient = game.player_gradient(SINES.losses[2], moved, 2)
      update, state = optimizer.update(gradient, state, own)
      own = own + update
    return SINES.losses[0]((params[0], params[1], own))

  np.testing.assert_allclose(
    unrolled(PARAMS), after_steps(PARAMS), atol=TOLERANCE
  )
  gradient = game.player_gradient(unrolled, PARAMS, 0)
  for k, e in enumerate(1e-5 * np.eye(2)):
    values = [
      after_steps((PARAMS[0] + sign * e, *PARAMS[1:])) for sign in (1, -1)
    ]
    np.testing.assert_allclose(
      gradient[k], (values[0] - values[1]) / 2e-5, atol=1e-7
    )


def test_nothing_unrolled_is_the_loss():
  unrolled = unrolling.unrolled_loss(SINES.losses, 0, 2, optax.sgd(0.2), 0)
  assert unrolled(PARAMS) == SINES.losses[0](PARAMS)


def _score(params, latents):
  """A discriminator on a generator, both with one hidden layer."""
  disc, gen = params
  samples = jnp.tanh(latents @ gen['a']) @ gen['b']
  return jnp.tanh(samples @ disc['a']) @ disc['b']


def _networks():
  rng = np.random.default_rng(3)

  def network(*sizes):
    return {
      name: jnp.asarray(rng.normal(size=shape))
      for name, shape in zip(
        'ab', zip(sizes[:-1], sizes[1:], strict=True), strict=True
      )
    }

  latents = jnp.asarray(rng.uniform(-1, 1, size=(5, 3)))
  return (network(2, 4, 1), network(3, 4, 2)), latents


@pytest.mark.parametrize('beta', [None, 5.0])
def test_latent_step(beta):
  """Of each example alone, by differences of its score."""
  params, latents = _networks()
  step = latent_optimisation.latent_step(
    lambda z: _score(params, z), latents, 0.9, beta
  )
  for z, dz in zip(latents, step, strict=True):
    g = np.array(
      [
        float(_score(params, z + e)[0] - _score(params, z - e)[0]) / 2e-5
        for e in 1e-5 * np.eye(3)
      ]
    )
    expected = 0.9 * g if beta is None else 0.9 * g / (beta + g @ g)
    np.testing.assert_allclose(dz, expected, atol=1e-7)


def test_latents_score_higher_and_stay_in_the_cube():
  params, latents = _networks()
  score = lambda z: _score(params, z)
  moved = latent_optimisation.optimised_latents(score, latents, 1e-2)
  assert jnp.all(score(moved) > score(latents))
  far = latent_optimisation.optimised_latents(score, latents, 100.0)
  assert jnp.all(jnp.abs(far) <= 1)
  assert jnp.any(jnp.abs(far) == 1)


def _loss(params, latents, alpha):
  moved = latent_optimisation.optimised_latents(
    lambda z: _score(params, z), latents, alpha, 5.0
  )
  return jnp.mean(jax.nn.softplus(-_score(params, moved)))


def test_no_step_gives_the_plain_loss():
  params, latents = _networks()
  plain = lambda p: jnp.mean(jax.nn.softplus(-_score(p, latents)))
  assert _loss(params, latents, 0.0) == plain(params)
  jax.tree.map(
    np.testing.assert_array_equal,
    jax.grad(_loss)(params, latents, 0.0),
    jax.grad(plain)(params),
  )


def test_losses_are_differentiated_through_the_step():
  params, latents = _networks()
  gradient = jax.grad(_loss)(params, latents, 0.9)
  rng = np.random.default_rng(1)
  direction = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
  ahead, behind = (
    _loss(
      jax.tree.map(lambda p, d, s=sign: p + s * 1e-5 * d, params, direction),
      latents,
      0.9,
    )
    for sign in (1, -1)
  )
  np.testing.assert_allclose(
    optax.tree.vdot(gradient, direction), (ahead - behind) / 2e-5, atol=1e-8
  )
  # The gradient at latents that do not depend on the parameters is another.
  moved = latent_optimisation.optimised_latents(
    lambda z: _score(params, z), latents, 0.9, 5.0
  )
  stopped = jax.grad(_loss)(params, moved, 0.0)
  difference = jax.tree.map(jnp.subtract, gradient, stopped)
  assert optax.tree.norm(difference) > 1e-3 * optax.tree.norm(gradient)
