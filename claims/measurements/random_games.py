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
"""Random games that measurements play, in float64."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from differentiable_games import game


class Waves(NamedTuple):
  r"""Losses :math:`\sum_k a_{ik} \sin(m_{ik} \cdot \theta + b_{ik})`.

  Attributes:
    amplitudes: a, (players, waves).
    frequencies: m, (players, waves, parameters).
    phases: b, (players, waves).
  """

  amplitudes: Any
  frequencies: Any
  phases: Any

  @property
  def losses(self) -> tuple[game.Loss, ...]:
    """One a player, neither zero-sum nor of a potential."""

    def loss_of(i):
      def loss(params):
        angles = self.frequencies[i] @ ravel_pytree(params)[0] + self.phases[i]
        return jnp.sum(self.amplitudes[i] * jnp.sin(angles))

      return loss

    return tuple(loss_of(i) for i in range(len(self.phases)))


def make_waves(
  seed: int, sizes: Sequence[int], num_waves: int = 5
) -> tuple[Waves, tuple[Any, ...]]:
  """A random game, and where it begins.

  Args:
    seed: of all numbers.
    sizes: numbers of the players' parameters.
    num_waves: of each loss.
  """
  random = np.random.default_rng(seed)
  shape = (len(sizes), num_waves)
  waves = Waves(
    jnp.asarray(random.normal(size=shape)),
    jnp.asarray(0.7 * random.normal(size=(*shape, sum(sizes)))),
    jnp.asarray(random.uniform(0, 2 * np.pi, shape)),
  )
  return waves, tuple(jnp.asarray(random.normal(size=n)) for n in sizes)


def make_linear(jacobian: Any) -> tuple[game.Loss, ...]:
  """Players of one parameter each, whose simultaneous gradient is J θ."""

  def loss_of(i):
    def loss(params):
      theta = jnp.stack(params)
      others = jacobian[i] @ theta - jacobian[i, i] * theta[i]
      return jacobian[i, i] * theta[i] ** 2 / 2 + theta[i] * others

    return loss

  return tuple(loss_of(i) for i in range(len(jacobian)))
