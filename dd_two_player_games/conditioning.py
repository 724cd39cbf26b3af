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
"""What networks share, and how they take labels.

A network that declares an argument `num_classes` is called with labels where
that is not 0: a generator normalises by conditional batch norm, a discriminator
ends in a projection.
"""

from collections.abc import Mapping
import math
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

BATCH_NORM: dict[str, Any] = {
  'create_scale': True,
  'create_offset': True,
  'decay_rate': 0.999,
  'cross_replica_axis': 'i',
}


class ConditionalBatchNorm(hk.Module):
  """Batch norm with a scale and an offset for each class.

  Statistics are those of all classes together. At first all scales are 1 and
  all offsets 0.

  References:
    Dumoulin et al., "A Learned Representation for Artistic Style", 2017.
    de Vries et al., "Modulating early visual processing by language", 2017.
  """

  def __init__(
    self,
    num_classes: int,
    config: Mapping[str, Any] = BATCH_NORM,
    name: str = 'conditional_batch_norm',
  ):
    """Initialises the module.

    Args:
      num_classes: of the labels.
      config: keyword arguments of `hk.BatchNorm`.
      name: of the module.
    """
    super().__init__(name=name)
    self._num_classes = num_classes
    self._config = {**config, 'create_scale': False, 'create_offset': False}

  def __call__(
    self,
    x: jax.Array,
    is_training: bool,
    test_local_stats: bool,
    labels: jax.Array,
  ) -> jax.Array:
    shape = (self._num_classes, x.shape[-1])
    tables = (
      hk.get_parameter('scale', shape, x.dtype, jnp.ones),
      hk.get_parameter('offset', shape, x.dtype, jnp.zeros),
    )
    one_each = (-1, *(1,) * (x.ndim - 2), x.shape[-1])
    scale, offset = (table[labels].reshape(one_each) for table in tables)
    return hk.BatchNorm(**self._config)(
      *(x, is_training, test_local_stats, scale, offset)
    )


def normalise(
  x: jax.Array,
  is_training: bool,
  test_local_stats: bool = False,
  labels: jax.Array | None = None,
  num_classes: int = 0,
  config: Mapping[str, Any] = BATCH_NORM,
) -> jax.Array:
  """Batch norm, conditional where there are classes."""
  check_labels(labels, num_classes)
  if labels is not None:
    norm = ConditionalBatchNorm(num_classes, config)
    return norm(x, is_training, test_local_stats, labels)
  return hk.BatchNorm(**config)(x, is_training, test_local_stats)


def score(
  features: jax.Array,
  labels: jax.Array | None = None,
  num_classes: int = 0,
  num_outputs: int = 1,
) -> jax.Array:
  r"""A discriminator's output: linear, and where there are classes projected.

  .. math:: D(x, y) = V_y^\top \phi(x) + W^\top \phi(x) + b

  At first the entries of :math:`V` have the deviation of :math:`W`'s.

  Args:
    features: :math:`\phi(x)`, of shape (batch, d).
    labels: y.
    num_classes: of y; 0 for no projection.
    num_outputs: the length of :math:`D(x, y)`.

  Returns:
    Shape (batch, num_outputs).

  References:
    Miyato and Koyama, "cGANs with Projection Discriminator", 2018.
  """
  check_labels(labels, num_classes)
  outputs = hk.Linear(num_outputs)(features)
  if labels is None:
    return outputs
  size = features.shape[-1]
  init = hk.initializers.TruncatedNormal(1 / math.sqrt(size))
  table = hk.Embed(num_classes, size * num_outputs, w_init=init)
  directions = table(labels).reshape(-1, size, num_outputs)
  return outputs + jnp.einsum('bd,bdk->bk', features, directions)


def check_labels(labels: jax.Array | None, num_classes: int) -> None:
  """Raises ValueError unless there are labels just where there are classes."""
  if (labels is None) == bool(num_classes):
    has = 'no labels' if labels is None else 'labels'
    raise ValueError(f'{has} for a network of num_classes={num_classes}')
