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

import jax
import jax.numpy as jnp
import numpy as np

from claims import declaration
from principal_flow_instability_single_objective import descent
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import principal_flow

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

  steps = np.asarray(descent.descend(loss, start, h, num_steps))
  times = h * jnp.arange(1.0, num_steps + 1)
  for name in _JUDGED:
    points = principal_flow.trajectory(
      functools.partial(descent.FLOWS[name], loss, h=h),
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
  # The loss of all seeds is one, so that it compiles once.
  loss, _ = descent.make_small_network()
  _, params = descent.make_small_network(seed)
  points = descent.descend(loss, params, h, 240)
  for at in (0, 60, 240):
    point = jax.tree.map(lambda leaf, at=at: leaf[at], points)
    drifts = {
      name: descent.measure_drift(name, loss, point, h) for name in _JUDGED
    }
    own = drifts['principal flow']
    curvature = np.linalg.eigvalsh(hessian.dense(loss, point))[-1]
    yield {
      'step': str(at),
      'times_nearer_than_gradient_flow': float(drifts['gradient flow'] / own),
      'times_nearer_than_igr_flow': float(drifts['IGR flow'] / own),
      'h_lambda_0': float(h * curvature),
    }
