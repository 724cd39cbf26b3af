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
"""Gradients and Hessian products of a loss's mean over a batch.

A batch is a pytree of arrays with one leading axis. Its loss is a function of
(parameters, batch) that returns a mean over the batch, and a dict of other
means to log. Where a batch does not fit in memory at once it is gone through in
microbatches; what comes out is the same but for rounding.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from principal_flow_instability_single_objective import hessian

Params = Any
Batch = Any
Logs = dict[str, jax.Array]
BatchLoss = Callable[[Params, Batch], tuple[jax.Array, Logs]]


def mean_over_microbatches(
  function: Callable[[Batch], Any], batch: Batch, size: int | None
) -> Any:
  """The mean of a function's results, one microbatch at a time.

  Args:
    function: from a microbatch to a pytree of arrays.
    batch: of n examples.
    size: of a microbatch, a divisor of n; None, or one of n or more, takes
      the batch as a whole.

  Returns:
    What `function(batch)` returns, if that is a mean over the batch.
  """
  num_examples = len(jax.tree.leaves(batch)[0])
  if size is None or size >= num_examples:
    return function(batch)
  if num_examples % size:
    raise ValueError(f'{num_examples} examples in microbatches of {size}')
  number = num_examples // size
  parts = jax.tree.map(lambda x: x.reshape(number, size, *x.shape[1:]), batch)
  shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts))

  def add(total, part):
    return optax.tree.add(total, function(part)), None

  total, _ = jax.lax.scan(add, optax.tree.zeros_like(shapes), parts)
  return optax.tree.scale(1 / number, total)


def gradient(
  loss: BatchLoss, params: Params, batch: Batch, size: int | None = None
) -> tuple[tuple[jax.Array, Logs], Params]:
  """((loss, logs), gradient), with microbatches of this size."""
  return mean_over_microbatches(
    lambda part: jax.value_and_grad(loss, has_aux=True)(params, part),
    *(batch, size),
  )


def gradient_and_product(
  loss: BatchLoss, params: Params, batch: Batch, size: int | None = None
) -> tuple[tuple[jax.Array, Logs], Params, hessian.Product]:
  """The gradient, and the function that multiplies by the Hessian.

  A batch taken as a whole is gone through once: products reuse what the
  gradient computed, which stays in memory as long as they are needed.
  Microbatches are gone through again for each product.

  Args:
    loss: of (parameters, batch).
    params: where.
    batch: of n examples.
    size: of a microbatch, a divisor of n; None, or one of n or more, takes
      the batch as a whole.

  Returns:
    (loss, logs), the gradient, and a function from a direction v to H v.
  """
  if size is None or size >= len(jax.tree.leaves(batch)[0]):
    (value, grads), derivative = jax.linearize(
      lambda p: jax.value_and_grad(loss, has_aux=True)(p, batch), params
    )
    return value, grads, lambda direction: derivative(direction)[1]
  value, grads = gradient(loss, params, batch, size)
  return (
    value,
    grads,
    lambda direction: product(loss, params, direction, batch, size),
  )


def product(
  loss: BatchLoss,
  params: Params,
  direction: Params,
  batch: Batch,
  size: int | None = None,
) -> Params:
  """The Hessian of a batch's loss times a direction."""
  return mean_over_microbatches(
    lambda part: hessian.product(lambda p: loss(p, part)[0], params, direction),
    *(batch, size),
  )
