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
r"""Measurements of a point on the way: curvature, stability, drift.

For a loss E with gradient g and Hessian eigenpairs :math:`\lambda_i, u_i`, and
the learning rate h:

- `lambda_i`, the largest first, and the `edge_of_stability`, which is the
  eigenvalue above which descent on a quadratic diverges: :math:`2/h`, and with
  heavy-ball momentum :math:`\beta`, :math:`2(1 + \beta)/h`;
- `stability_i`, the coefficient :math:`\log|1 - h\lambda_i| / (h\lambda_i)`,
  positive where the principal flow is driven from the minimum along
  :math:`u_i`; `speed_i`, that times :math:`g^\top u_i`, the eigenvector's sign
  such that this product is positive;
- `drift_gradient_flow`, `drift_igr_flow`, `drift_principal_flow`: how far one
  step of gradient descent comes from where the flow is after time h, and
  `step_length`, :math:`\lVert h g \rVert`.

The flows are those of gradient descent without momentum, and say nothing of
descent with it: then there are no `stability_i` and `speed_i`.
"""

import functools
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import optax

from principal_flow_instability_single_objective import batches
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import principal_flow

# Of a step's length: what of a drift is beyond the error of the solution.
RESOLUTION = 1e-4
# Of the solver, some ten times what smooth networks need.
_MAX_STEPS = 200


def curvature(
  loss: batches.BatchLoss,
  params: Any,
  batch: Any,
  h: Any,
  num_eigenvalues: int,
  num_products: int,
  microbatch_size: int | None = None,
  momentum: float = 0.0,
) -> tuple[dict[str, jax.Array], hessian.Eigenpairs]:
  """The largest eigenvalues and what they mean for stability.

  Args:
    loss: of (parameters, batch).
    params: where.
    batch: of examples.
    h: the learning rate.
    num_eigenvalues: how many.
    num_products: of Lanczos' iteration.
    microbatch_size: see `batches`.
    momentum: of the descent, heavy-ball.

  Returns:
    The measurements, and the eigenpairs.
  """
  _, grads, product = batches.gradient_and_product(
    loss, params, batch, microbatch_size
  )
  pairs = hessian.top_eigenpairs(
    product, params, num_eigenvalues, num_products, jax.random.key(0)
  )
  logs = {'edge_of_stability': jnp.asarray(2 * (1 + momentum) / h)}
  for i in range(num_eigenvalues):
    logs[f'lambda_{i}'] = pairs.values[i]
  if momentum:
    return logs, pairs
  along = jnp.abs(pairs.vectors @ ravel_pytree(grads)[0])
  stability = principal_flow.stability_coefficient(h * pairs.values)
  for i in range(num_eigenvalues):
    logs[f'stability_{i}'] = stability[i]
    logs[f'speed_{i}'] = stability[i] * along[i]
  return logs, pairs


def drift(
  loss: batches.BatchLoss,
  params: Any,
  batch: Any,
  h: Any,
  pairs: hessian.Eigenpairs,
  microbatch_size: int | None = None,
) -> dict[str, jax.Array]:
  """How far a step of gradient descent comes from each flow.

  The principal flow is that of `top_principal_flow`, with these eigenpairs. The
  loss must be analytic.

  Args:
    loss: of (parameters, batch).
    params: where the step starts.
    batch: of examples.
    h: the learning rate.
    pairs: of the Hessian at `params`.
    microbatch_size: see `batches`.

  Returns:
    Distances, good to `RESOLUTION` of the step's length. NaN where a flow
    cannot be followed that far.
  """
  flat, unravel = ravel_pytree(params)

  def loss_of_displacement(displacement):
    moved = _unravel(unravel, flat + displacement)
    return batches.mean_over_microbatches(
      jax.checkpoint(lambda part: loss(moved, part)[0]),
      *(batch, microbatch_size),
    )

  def top_principal_flow(loss, displacement, h):
    return principal_flow.top_principal_flow(loss, displacement, h, pairs)

  # Displacements, from zero, are as exact as the step is short.
  origin = jnp.zeros_like(flat)
  step = -h * hessian.gradient(loss_of_displacement, origin)
  length = optax.tree.norm(step)
  distances = {'step_length': length}
  for name, flow in {
    'gradient_flow': principal_flow.gradient_flow,
    'igr_flow': principal_flow.igr_flow,
    'principal_flow': top_principal_flow,
  }.items():
    end = principal_flow.solve(
      functools.partial(flow, loss_of_displacement, h=h),
      origin,
      h,
      rtol=RESOLUTION / 10,
      atol=RESOLUTION / 10 * length / jnp.sqrt(flat.size),
      max_steps=_MAX_STEPS,
      throw=False,
    )
    distances[f'drift_{name}'] = jnp.linalg.norm(step - end)
  return distances


def _unravel(unravel, vector):
  """`unravel`, also of complex vectors."""
  if not jnp.iscomplexobj(vector):
    return unravel(vector)
  return jax.tree.map(
    jax.lax.complex, unravel(vector.real), unravel(vector.imag)
  )
