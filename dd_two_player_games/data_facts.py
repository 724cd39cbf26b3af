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
"""What a model has to know of its data, recorded beside each checkpoint.

With it a trained run can be used without its data set.
"""

from collections.abc import Callable, Mapping
import inspect
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from dd_two_player_games import labelled
from jaxline_harness import errors
from jaxline_harness import settings

_MAX_NDIM = 4


class DataFacts(NamedTuple):
  """The facts.

  Attributes:
    shape: of an example.
    class_counts: how many examples each class has; empty for a model that takes
      no labels.
  """

  shape: tuple[int, ...]
  class_counts: tuple[int, ...] = ()

  def to_record(self) -> dict[str, Any]:
    """What a checkpoint records, fit for JSON."""
    classes = {'class_counts': list(self.class_counts)}
    return {'shape': list(self.shape), **(classes if self.class_counts else {})}

  def example_batch(self) -> labelled.Batch:
    """Shapes and types of a batch of two."""
    images = jax.ShapeDtypeStruct((2, *self.shape), np.float32)
    labels = jax.ShapeDtypeStruct((2,), np.int32)
    return labelled.label(images, labels if self.class_counts else None)

  def draw_labels(self, key: jax.Array, num: int) -> jax.Array | None:
    """`labelled.draw_labels` as frequent as in the data."""
    return labelled.draw_labels(key, num, self.class_counts)

  def network_arguments(
    self, make_module: Callable[..., Any]
  ) -> dict[str, Any]:
    """Those arguments of a network that follow from the data.

    Args:
      make_module: a module's class; one that declares an argument
        `output_shape` makes examples of any shape, one that declares
        `num_classes` takes labels where that is not 0.

    Returns:
      Keyword arguments, to be overruled by those of a config.
    """
    given: dict[str, Any] = {'output_shape': self.shape}
    if self.class_counts:
      given['num_classes'] = len(self.class_counts)
    declared = inspect.signature(make_module).parameters
    return {name: x for name, x in given.items() if name in declared}


def facts_of(data: labelled.Batch) -> DataFacts:
  """The facts of data that have labels for a conditional model."""
  labels = labelled.labels_of(data)
  counts = () if labels is None else np.bincount(labels)
  shape = labelled.examples_of(data).shape[1:]
  return DataFacts(shape, tuple(map(int, counts)))


def read_record(
  path: str, record: Mapping[str, Any] | None
) -> DataFacts | None:
  """Reads what `DataFacts.to_record` made.

  Args:
    path: of the checkpoint that holds it.
    record: None if the checkpoint is older than such records.

  Returns:
    The facts, None if there are none.

  Raises:
    errors.UserError: if it is no such record.
  """
  if not record:
    return None
  shape: Any = record.get('shape')
  sizes = settings.list_of(settings.SIZE)
  if (
    not sizes.accepts(shape)
    or len(shape) > _MAX_NDIM
    or math.prod(shape) > settings.MAX_INT32
  ):
    raise errors.UserError(
      f'the checkpoint {path} records data of shape {settings.show(shape)}, '
      'which is none'
    )
  counts: Any = record.get('class_counts', [])
  if counts and not settings.list_of(settings.whole(0)).accepts(counts):
    raise errors.UserError(
      f'the checkpoint {path} records class_counts={settings.show(counts)}, '
      'which are none'
    )
  return DataFacts(tuple(shape), tuple(counts))
