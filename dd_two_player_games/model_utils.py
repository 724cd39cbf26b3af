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
"""Sampling from a trained generator, as evaluation needs it."""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax import sharding
import numpy as np

from dd_two_player_games import gan

# Batch norm with the statistics of training, not of the batch.
_EVALUATION = {'is_training': False}


def put_on_local_devices(tree: Any) -> Any:
  """Puts one copy of each array on each local device, as `pmap` takes them.

  Args:
    tree: arrays `[…]`.

  Returns:
    The same tree of arrays `[local_device_count, …]`.
  """
  devices = np.array(jax.local_devices())
  placement = sharding.NamedSharding(
    sharding.Mesh(devices, ('i',)), sharding.PartitionSpec('i')
  )

  def put(x):
    x = np.asarray(x)
    return jax.device_put(
      np.broadcast_to(x, (devices.size,) + x.shape), placement
    )

  return jax.tree.map(put, tree)


@functools.lru_cache(maxsize=4)
def _sample_fn(model: gan.GAN, pmap: bool) -> Callable[..., jax.Array]:
  """One compiled function a model, for the samplers of all its checkpoints."""

  def sample(batch_size, params, state, rng, **labels):
    kwargs = {**_EVALUATION, **labels}
    return model.sample(params, state, rng, batch_size, kwargs)[0]

  if pmap:
    return jax.pmap(sample, axis_name='i', static_broadcasted_argnums=0)
  return jax.jit(sample, static_argnums=0)


class Sampler:
  """Samples a GAN's generator in evaluation mode."""

  def __init__(
    self, model: gan.GAN, params: Any, state: gan.GANState, pmap: bool = True
  ):
    """Initialises the sampler.

    Args:
      model: the GAN.
      params: its parameters, with a leading axis of local devices if `pmap`.
      state: its state, likewise.
      pmap: whether to sample on all local devices.
    """
    self._params = params.gen
    self._state = state.players.gen
    self._sample = _sample_fn(model, pmap)

  def sample_batch(
    self, batch_size: int, rng: jax.Array, labels: Any = None
  ) -> jax.Array:
    """Draws samples.

    Args:
      batch_size: number of samples, on each device if the sampler is mapped.
      rng: a key, or one key a device, on a leading axis.
      labels: of the samples, shape (batch_size,) or (devices, batch_size), for
        a generator that takes them.

    Returns:
      Shape (batch_size, …), or (devices, batch_size, …).
    """
    given = {} if labels is None else {'labels': labels}
    return self._sample(batch_size, self._params, self._state, rng, **given)
