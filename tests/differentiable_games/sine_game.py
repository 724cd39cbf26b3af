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
"""A nonlinear, non-zero-sum game whose gradient and Jacobian are in NumPy."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from differentiable_games import game


class SineGame(NamedTuple):
  r"""Losses :math:`L_i(z) = \sum_k a_{ik} \sin(m_{ik} \cdot z + b_{ik})`.

  z is all players' parameters in one vector, in the order of `ravel_pytree`.
  """

  amplitudes: np.ndarray  # (players, waves)
  frequencies: np.ndarray  # (players, waves, parameters)
  phases: np.ndarray  # (players, waves)
  sizes: tuple[int, ...]

  @property
  def losses(self) -> tuple[game.Loss, ...]:
    def loss_of(i):
      def loss(params):
        angles = self.frequencies[i] @ ravel_pytree(params)[0] + self.phases[i]
        return jnp.sum(self.amplitudes[i] * jnp.sin(angles))

      return loss

    return tuple(loss_of(i) for i in range(len(self.sizes)))

  def own(self, i: int) -> slice:
    """Where player i's parameters are in z."""
    end = sum(self.sizes[: i + 1])
    return slice(end - self.sizes[i], end)

  def gradient(self, z: np.ndarray) -> np.ndarray:
    rows = []
    for i in range(len(self.sizes)):
      waves = self.amplitudes[i] * np.cos(self._angles(i, z))
      rows.append((self.frequencies[i].T @ waves)[self.own(i)])
    return np.concatenate(rows)

  def jacobian(self, z: np.ndarray) -> np.ndarray:
    rows = []
    for i in range(len(self.sizes)):
      waves = -self.amplitudes[i] * np.sin(self._angles(i, z))
      m = self.frequencies[i]
      rows.append(((m.T * waves) @ m)[self.own(i)])
    return np.concatenate(rows)

  def _angles(self, i, z):
    return self.frequencies[i] @ z + self.phases[i]


def make(sizes: Sequence[int], seed: int = 0, waves: int = 5) -> SineGame:
  """A random game of players with so many parameters."""
  rng = np.random.default_rng(seed)
  shape = (len(sizes), waves)
  return SineGame(
    amplitudes=rng.normal(size=shape),
    frequencies=0.7 * rng.normal(size=(*shape, sum(sizes))),
    phases=rng.uniform(0, 2 * np.pi, shape),
    sizes=tuple(sizes),
  )
