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

from jaxline_harness import datasets
from jaxline_harness import errors
from jaxline_harness import settings

_MAX_NDIM = 4


class DataFacts(NamedTuple):
  """The facts.

  Attributes:
    shape: of an example.
  """

  shape: tuple[int, ...]

  def to_record(self) -> dict[str, Any]:
    """What a checkpoint records, fit for JSON."""
    return {'shape': list(self.shape)}

  def network_arguments(
    self, make_module: Callable[..., Any]
  ) -> dict[str, Any]:
    """Those arguments of a network that follow from the data.

    Args:
      make_module: a module's class; one that declares an argument
        `output_shape` makes examples of any shape.

    Returns:
      Keyword arguments, to be overruled by those of a config.
    """
    given = {'output_shape': self.shape}
    declared = inspect.signature(make_module).parameters
    return {name: x for name, x in given.items() if name in declared}


def facts_of(dataset: datasets.Dataset) -> DataFacts:
  """The facts of a data set."""
  return DataFacts(dataset.examples.shape[1:])


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
  return DataFacts(tuple(shape))
