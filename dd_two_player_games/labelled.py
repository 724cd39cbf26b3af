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
"""Batches whose examples have labels, and those whose examples have none.

A batch is an array of examples, or a `Labelled`. Networks are called with the
examples, and where there are labels with those by name: `labels=…`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from jaxline_harness import errors


class Labelled(NamedTuple):
  """Examples and their labels.

  Attributes:
    examples: of shape (batch, …).
    labels: whole numbers, of shape (batch,).
  """

  examples: Any
  labels: Any


Batch = Any  # An array, or a Labelled.


def label(examples: Any, labels: Any) -> Batch:
  """The batch of examples that may have labels; None if they have none."""
  return examples if labels is None else Labelled(examples, labels)


def examples_of(batch: Batch) -> Any:
  """A batch's examples."""
  return batch.examples if isinstance(batch, Labelled) else batch


def labels_of(batch: Batch) -> Any:
  """A batch's labels, or None."""
  return batch.labels if isinstance(batch, Labelled) else None


def map_examples(function: Callable[[Any], Any], batch: Batch) -> Batch:
  """The batch with a function's value in the place of its examples."""
  return label(function(examples_of(batch)), labels_of(batch))


def take_batches(network: hk.TransformedWithState) -> hk.TransformedWithState:
  """A network of examples, or latents, as one of batches of them."""

  def init(rng, batch):
    return network.init(rng, examples_of(batch), **arguments_of(batch))

  def apply(params, state, batch, *args, **kwargs):
    kwargs |= arguments_of(batch)
    return network.apply(params, state, examples_of(batch), *args, **kwargs)

  return hk.TransformedWithState(init, apply)


def arguments_of(batch: Batch) -> dict[str, Any]:
  """What networks are called with beside examples or latents."""
  return {'labels': batch.labels} if isinstance(batch, Labelled) else {}


def concatenate(first: Batch, second: Batch) -> Batch:
  """One batch after the other; both or none have labels."""
  return jax.tree.map(lambda *both: jnp.concatenate(both), first, second)


def draw_labels(
  key: jax.Array, num: int, class_counts: Sequence[int]
) -> jax.Array | None:
  """Draws labels that are as frequent as they are in data.

  Args:
    key: a key, also where the examples' latents come from it.
    num: how many.
    class_counts: how many examples each class has.

  Returns:
    int32 `(num,)`, None where there are no classes.
  """
  if not class_counts:
    return None
  counts = np.asarray(class_counts, np.float64)
  shares = jnp.asarray(counts / counts.sum(), jnp.float32)
  key = jax.random.fold_in(key, len(class_counts))
  labels = jax.random.choice(key, len(class_counts), (num,), p=shares)
  return labels.astype(jnp.int32)


def check_labels(labels: Any, num: int | None, num_classes: int) -> np.ndarray:
  """The labels of so many samples.

  Args:
    labels: one for all, or one for each.
    num: how many samples; None for as many as there are labels.
    num_classes: of the model; 0 if it takes no labels.

  Returns:
    int32 `(num,)`.

  Raises:
    errors.UserError: if they are none of the classes, or of another number.
  """
  if not num_classes:
    raise errors.UserError(
      'labels: this model takes none; it was trained without '
      'training.conditional'
    )
  found = np.asarray(labels)
  if found.dtype.kind not in 'iu' or found.ndim > 1 or not found.size:
    raise errors.UserError(
      'labels must be a whole number, or a list of them, not '
      f'{errors.one_line(repr(labels), 80)}'
    )
  for value in (found.min(), found.max()):
    if not 0 <= value < num_classes:
      raise errors.UserError(
        f'labels: {value} is none of the {num_classes} classes, 0 to '
        f'{num_classes - 1}'
      )
  found = np.atleast_1d(found).astype(np.int32)
  if num is None or np.ndim(labels) == 0:
    found = np.broadcast_to(found, (num or len(found),))
  if num is not None and len(found) != num:
    raise errors.UserError(f'{len(found)} labels for {num} samples')
  return found
