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
"""Gradient descent on one loss, and the flows that are said to follow it."""

from collections.abc import Iterator
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from claims import declaration
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

# hλ, on both sides of 1, where descent begins to oscillate, and beyond 2, where
# it diverges.
_H_LAMBDAS = (0.05, 0.4, 0.9, 1.4, 2.1)
_JUDGED = ('gradient flow', 'IGR flow', 'principal flow')


def measure_quadratics(seed: int) -> Iterator[declaration.Row]:
  """20 steps on a quadratic in random directions, and flows over their time.

  Yields:
    For each flow, the largest distance to descent after a step, over the
    largest distance of descent from the minimum.
  """
  random = np.random.default_rng(seed)
  turn, _ = np.linalg.qr(random.normal(size=(len(_H_LAMBDAS),) * 2))
  h, num_steps = 0.5, 20
  matrix = jnp.asarray(turn @ np.diag(_H_LAMBDAS) @ turn.T / h)
  start = jnp.asarray(random.normal(size=len(_H_LAMBDAS)))

  def loss(x):
    return x @ matrix @ x / 2

  steps = np.asarray(descend(loss, start, h, num_steps))
  times = h * jnp.arange(1.0, num_steps + 1)
  for name in _JUDGED:
    points = principal_flow.trajectory(
      functools.partial(FLOWS[name], loss, h=h),
      start,
      times,
      rtol=1e-11,
      atol=1e-13,
    )
    off = np.linalg.norm(np.asarray(points).real - steps[1:], axis=1).max()
    extent = np.linalg.norm(steps, axis=1).max()
    yield {'flow': name, 'distance': float(off / extent)}


def measure_network(seed: int) -> Iterator[declaration.Row]:
  """The drift of single steps of a network of 63 parameters.

  Full-batch descent at h = 0.4 passes hλ₀ = 2 on the way.

  Yields:
    For steps 0, 60 and 240, how often nearer the principal flow ends to the
    step than the gradient flow and than the IGR flow.
  """
  h = 0.4
  loss, _ = small_network()  # The same for all seeds: it compiles once.
  _, params = small_network(seed)
  points = descend(loss, params, h, 240)
  for at in (0, 60, 240):
    point = jax.tree.map(lambda leaf, at=at: leaf[at], points)
    drifts = {name: drift(name, loss, point, h) for name in _JUDGED}
    own = drifts['principal flow']
    curvature = np.linalg.eigvalsh(hessian.dense(loss, point))[-1]
    yield {
      'step': str(at),
      'times_nearer_than_gradient_flow': float(drifts['gradient flow'] / own),
      'times_nearer_than_igr_flow': float(drifts['IGR flow'] / own),
      'h_lambda_0': float(h * curvature),
    }


def descend(loss: hessian.Loss, start: Any, h: float, num_steps: int) -> Any:
  """The points of gradient descent, the start first."""

  def step(params, _):
    grads = jax.grad(loss)(params)
    moved = jax.tree.map(lambda p, g: p - h * g, params, grads)
    return moved, moved

  _, points = jax.lax.scan(step, start, None, length=num_steps)
  return jax.tree.map(lambda s, p: jnp.concatenate([s[None], p]), start, points)


def small_network(seed: int = 0) -> tuple[hessian.Loss, dict[str, jax.Array]]:
  """(loss, parameters) of a tanh network of 63 parameters.

  It tells apart the first three classes of Fashion-MNIST's embedded images, of
  which it sees 200, in 4 × 4 pixels.
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
def drift(name: str, loss: hessian.Loss, params: Any, h: float) -> jax.Array:
  """A flow's distance after time h to a step, in lengths of the step."""
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
