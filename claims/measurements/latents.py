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
"""What latent optimisation adds to the gradient, beside what SGA adds."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from claims import declaration
from differentiable_games import adjustments
from differentiable_games import dynamics
from differentiable_games import game
from differentiable_games import latent_optimisation


def measure_latent_optimisation(seed: int) -> Iterator[declaration.Row]:
  """The angle of what LOGAN adds to the gradient with what SGA adds.

  Of a small zero-sum GAN on a ring of eight Gaussians, at the start and after
  500 steps of Adam.

  Yields:
    For each of both times, of each player the cosine.
  """
  key = jax.random.PRNGKey(seed)
  keys = jax.random.split(key, 3)
  params = (_make_net(keys[0], (2, 24, 1)), _make_net(keys[1], (4, 24, 2)))
  draw = _draw(keys[2], 512)
  trained = _train(params, jax.random.fold_in(key, 7))
  for when, point in (('at the start', params), ('after 500 steps', trained)):
    found = _compare(draw, point)
    yield {
      'when': when,
      'discriminator_cosine': float(found[0]),
      'generator_cosine': float(found[1]),
    }


def _make_net(key: jax.Array, sizes: tuple[int, ...]) -> list[Any]:
  keys = jax.random.split(key, len(sizes) - 1)
  return [
    (jax.random.normal(k, (m, n)) / jnp.sqrt(m), jnp.zeros(n))
    for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
  ]


def _apply_net(layers: list[Any], x: jax.Array) -> jax.Array:
  for weights, bias in layers[:-1]:
    x = jnp.tanh(x @ weights + bias)
  weights, bias = layers[-1]
  return x @ weights + bias


def _draw(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
  """Examples and latents."""
  keys = jax.random.split(key, 3)
  angles = jax.random.randint(keys[0], (size,), 0, 8) * jnp.pi / 4
  centres = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
  noise = 0.1 * jax.random.normal(keys[1], (size, 2))
  latents = jax.random.uniform(keys[2], (size, 4), minval=-1.0, maxval=1.0)
  return centres + noise, latents


def _make_losses(
  examples: jax.Array, latents: jax.Array, alpha: float = 0.0
) -> tuple[game.Loss, game.Loss]:
  """Zero-sum losses; with alpha, of latents that have moved."""

  def disc_loss(params):
    disc, gen = params

    def score(z):
      return _apply_net(disc, _apply_net(gen, z))

    moved = latents
    if alpha:
      moved += latent_optimisation.latent_step(score, latents, alpha)
    of_data = jax.nn.softplus(-_apply_net(disc, examples))
    return jnp.mean(of_data) + jnp.mean(jax.nn.softplus(score(moved)))

  return game.zero_sum(disc_loss)


@jax.jit
def _train(params: Any, key: jax.Array) -> Any:
  """500 simultaneous steps of Adam, each on its own draw."""
  optimizer = optax.adam(1e-3, b1=0.5)
  states = tuple(map(optimizer.init, params))

  def step(carry, number):
    params, states = carry
    losses = _make_losses(*_draw(jax.random.fold_in(key, number), 128))
    gradient = game.simultaneous_gradient(losses, params)
    updates, states = zip(*map(optimizer.update, gradient, states), strict=True)
    return (optax.apply_updates(params, updates), states), None

  return jax.lax.scan(step, (params, states), jnp.arange(500))[0][0]


@jax.jit
def _compare(draw: tuple[jax.Array, jax.Array], params: Any) -> list[Any]:
  """Of each player the cosine of what the two methods add."""
  losses = _make_losses(*draw)
  plain = game.simultaneous_gradient(losses, params)
  # Small, so that the addition is that to first order in alpha.
  moved = game.simultaneous_gradient(_make_losses(*draw, 1e-4), params)
  adjusted = adjustments.symplectic_gradient(losses, params, 1.0)
  return [
    dynamics.cosine(
      optax.tree.sub(moved[i], plain[i]), optax.tree.sub(adjusted[i], plain[i])
    )
    for i in range(2)
  ]
