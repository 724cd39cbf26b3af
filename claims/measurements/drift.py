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
"""Steps against the flows that they follow, and the Dirac GAN."""

from collections.abc import Iterator, Sequence
import functools
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from claims import declaration
from claims.measurements import random_games
from differentiable_games import adjustments
from differentiable_games import dynamics
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import tableaus
from differentiable_games import toy_games

_SIZES = (3, 2)
# Of both players. Errors stay above rounding; of fifth order where they are
# larger.
_SMALL = 2.0 ** -np.arange(6, 11)
_LARGE = 2.0 ** -np.arange(2, 7)
_RATIO = 0.7  # Of the second player's learning rate to the first one's.


def measure_orders(seed: int) -> Iterator[declaration.Row]:
  """How a step's distance to the flow, and to the modified one, falls with h.

  Yields:
    For each update rule, of a random game, the slopes of the logarithms.
  """
  waves, start = random_games.make_waves(seed, _SIZES)
  for update, order in (('simultaneous', None), ('alternating', (0, 1))):
    slopes = [
      _fit_slope(_SMALL, _measure_errors(waves, start, order, modified))
      for modified in (False, True)
    ]
    yield {
      'update': update,
      'slope_flow': slopes[0],
      'slope_modified': slopes[1],
    }
  errors = _measure_runge_kutta(waves, start)
  slope = _fit_slope(_LARGE, errors)
  yield {'update': 'Runge-Kutta 4', 'slope_flow': slope, 'slope_modified': ''}


def _fit_slope(steps: np.ndarray, errors: Any) -> float:
  return float(np.polyfit(np.log(steps), np.log(np.asarray(errors)), 1)[0])


def _distance(first: Any, second: Any) -> jax.Array:
  return optax.tree.norm(optax.tree.sub(first, second))


def _take_step(
  rule: rules.UpdateRule, field: Any, start: tuple[Any, ...]
) -> tuple[Any, ...]:
  return rules.move(rule, field, start, rule.init(start))[0]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _measure_errors(
  waves: random_games.Waves,
  start: tuple[Any, ...],
  order: Sequence[int] | None,
  modified: bool,
) -> jax.Array:
  losses = waves.losses

  def measure(h):
    rates = (h, _RATIO * h)
    optimizers = [optax.sgd(rate) for rate in rates]
    rule = rules.simultaneous(optimizers)
    if order is not None:
      rule = rules.alternating(optimizers, order)
    moved = _take_step(
      rule, lambda p: game.simultaneous_gradient(losses, p), start
    )
    field = flows.flow_of_descent(losses, rates)
    if modified:
      field = flows.modified_flow_of_descent(losses, rates, order=order)
    return _distance(moved, flows.integrate(field, start, 1.0, 1e-13, 1e-15))

  return jax.lax.map(measure, jnp.asarray(_SMALL))


@jax.jit
def _measure_runge_kutta(
  waves: random_games.Waves, start: tuple[Any, ...]
) -> jax.Array:
  def field(params):
    return game.simultaneous_gradient(waves.losses, params)

  def measure(h):
    rule = rules.runge_kutta([optax.sgd(h)] * 2, tableaus.RUNGE_KUTTA[4], h)
    moved = _take_step(rule, field, start)
    return _distance(moved, flows.integrate(field, start, h, 1e-13, 1e-15))

  return jax.lax.map(measure, jnp.asarray(_LARGE))


def measure_dirac_gan(seed: int) -> Iterator[declaration.Row]:
  """Where a hundred steps of the Dirac GAN lead from a random point.

  Yields:
    For each way, the last distance from the equilibrium over the first
    (`growth`), and the largest on the way over the first (`reach`).
  """
  rate, num_steps = 0.4, 100
  angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
  start = (jnp.float64(0.9 * np.cos(angle)), jnp.float64(0.9 * np.sin(angle)))
  losses = toy_games.dirac_gan()
  drift = adjustments.common_time_drift((rate, rate))
  interaction = [[0.0, -drift[0][1]], [-drift[1][0], 0.0]]
  optimizers = [optax.sgd(rate)] * 2
  ways = {
    'simultaneous': (rules.simultaneous(optimizers), None),
    'interaction terms cancelled': (
      rules.simultaneous(optimizers),
      interaction,
    ),
    'alternating': (rules.alternating(optimizers, (0, 1)), None),
  }
  for name, (rule, coefficients) in ways.items():
    field = functools.partial(adjustments.first_order, losses)
    points = rules.trajectory(
      rule, functools.partial(field, rows=coefficients), start, num_steps
    )
    distances = np.hypot(*map(np.asarray, points))
    yield {
      'way': name,
      'growth': distances[-1] / distances[0],
      'reach': distances.max() / distances[0],
    }


def measure_second_player(seed: int) -> Iterator[declaration.Row]:
  r"""The drift of the player who moves second, in its own time.

  The player is compared with the flow of all players over the time of its own
  learning rate, as the paper does. Its distance is explained by the two terms
  of drift, by least squares.

  Yields:
    For ratios of the second learning rate to the first: the coefficient of the
    interaction term over half the second learning rate, which the paper says is
    1 - 2 / ratio.
  """
  waves, start = random_games.make_waves(seed, (3, 3))
  _, terms = dynamics.gradient_and_terms(
    lambda p: tuple(loss(p) for loss in waves.losses), start
  )
  basis = np.stack([terms.self_norm[1], terms.other_dot_prod[1]], axis=1)
  for ratio in (1.0, 2.0, 4.0):
    off, half = _follow_second_player(waves, start, jnp.float64(ratio))
    coefficients = np.linalg.lstsq(basis, np.asarray(off), rcond=None)[0]
    yield {'ratio': f'{ratio:g}', 'coefficient': coefficients[1] / float(half)}


@jax.jit
def _follow_second_player(
  waves: random_games.Waves, start: tuple[Any, ...], ratio: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """What the second player's mean direction has beside its gradient's flow."""
  second = jnp.float64(1e-3)
  optimizers = [optax.sgd(second / ratio), optax.sgd(second)]

  def field(params):
    return game.simultaneous_gradient(waves.losses, params)

  moved = _take_step(rules.alternating(optimizers, (0, 1)), field, start)
  end = flows.integrate(field, start, second, 1e-13, 1e-15)
  return -ravel_pytree(moved[1] - end[1])[0] / second, second / 2
