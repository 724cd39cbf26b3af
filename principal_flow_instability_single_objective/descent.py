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
"""Gradient descent on small losses, and how far from it flows are."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxline_harness import datasets
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import principal_flow

FLOWS = {
  'gradient flow': principal_flow.gradient_flow,
  'IGR flow': principal_flow.igr_flow,
  'third-order flow': principal_flow.third_order_flow,
  'principal flow': principal_flow.principal_flow,
  'principal flow, third order': principal_flow.principal_flow_third_order,
}


def descend(loss: hessian.Loss, start: Any, h: float, num_steps: int) -> Any:
  """The points of gradient descent.

  Args:
    loss: of the parameters.
    start: the parameters that it begins with.
    h: the learning rate.
    num_steps: how many.

  Returns:
    Trees like `start` with a leading axis of 1 + num_steps, the start first.
  """

  def step(params, _):
    grads = jax.grad(loss)(params)
    moved = jax.tree.map(lambda p, g: p - h * g, params, grads)
    return moved, moved

  _, points = jax.lax.scan(step, start, None, length=num_steps)
  return jax.tree.map(lambda s, p: jnp.concatenate([s[None], p]), start, points)


def make_small_network(
  seed: int = 0,
) -> tuple[hessian.Loss, dict[str, jax.Array]]:
  """A tanh network of 63 parameters, small enough for all eigenvalues.

  It tells apart the first three classes of Fashion-MNIST's embedded images, of
  which it sees 200, in 4 × 4 pixels.

  Args:
    seed: of the parameters.

  Returns:
    Its loss, and parameters to begin with.
  """
  dataset = datasets.load('fashion_mnist_10k')
  assert dataset.labels is not None
  chosen = np.flatnonzero(dataset.labels < 3)[:200]
  pixels = dataset.examples[chosen].reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4))
  images = jnp.asarray(pixels.reshape(-1, 16) / 127.5 - 1)
  labels = jax.nn.one_hot(dataset.labels[chosen], 3, dtype=images.dtype)
  random = np.random.default_rng(seed)
  params = {
    'w0': jnp.asarray(random.normal(size=(16, 3)) / 4),
    'b0': jnp.zeros(3),
    'w1': jnp.asarray(random.normal(size=(3, 3)) / np.sqrt(3)),
    'b1': jnp.zeros(3),
  }

  def loss(params):
    hidden = jnp.tanh(images @ params['w0'] + params['b0'])
    logits = hidden @ params['w1'] + params['b1']
    # Analytic, as the principal flow needs.
    return jnp.mean(
      jnp.log(jnp.sum(jnp.exp(logits), -1)) - jnp.sum(labels * logits, -1)
    )

  return loss, params


@functools.partial(jax.jit, static_argnums=(0, 1))
def measure_drift(
  name: str, loss: hessian.Loss, params: Any, h: float
) -> jax.Array:
  """How far a flow after time h is from a step of gradient descent.

  Args:
    name: one of `FLOWS`.
    loss: of the parameters, analytic.
    params: where both begin.
    h: the learning rate.

  Returns:
    The distance, in lengths of the step. NaN where the flow cannot be followed.
  """
  step = jax.tree.map(lambda g: -h * g, jax.grad(loss)(params))
  end = principal_flow.solve(
    lambda p: FLOWS[name](loss, p, h),
    *(params, h),
    rtol=1e-5,
    atol=1e-7,
    throw=False,
  )
  moved = optax.tree.add(params, step)
  return optax.tree.norm(optax.tree.sub(end, moved)) / optax.tree.norm(step)
