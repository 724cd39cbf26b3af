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
"""Which term of which player is not finite, in a step of any update rule."""

from collections.abc import Iterator
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from differentiable_games import fields
from differentiable_games import game


@dataclasses.dataclass(eq=False)
class ExaminedField:
  """A field that also looks at each of its terms by itself.

  Attributes:
    field: the field.
    is_finite: gets a boolean for each term by its name, in the order in which
      they are computed. In a player's k-th evaluation within a step the names
      end in `(k)`.
    label: what the names end in, in place of the number.
  """

  field: fields.Field
  is_finite: dict[str, jax.Array]
  label: str | None = None

  def __post_init__(self):
    self._num_calls: dict[int, int] = {}

  def __call__(
    self, params: Any, memory: game.Memory, draws: fields.Draws
  ) -> fields.Evaluation:
    for i, draw in enumerate(draws):
      if draw is not None:
        self._num_calls[i] = self._num_calls.get(i, 0) + 1
    for term in self.terms(params, memory, draws):
      label = self.label or str(self._num_calls[term.player])
      name = term.name if label == '1' else f'{term.name} ({label})'
      self.is_finite[name] = _is_finite(term.value)
    return self.field(params, memory, draws)

  def terms(
    self, params: Any, memory: game.Memory, draws: fields.Draws
  ) -> Iterator[fields.Term]:
    """Yields the field's terms."""
    return self.field.terms(params, memory, draws)


def _is_finite(tree: Any) -> jax.Array:
  return jnp.stack(
    [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
  ).all()
