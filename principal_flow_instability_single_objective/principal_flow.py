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
r"""Continuous-time flows that gradient descent on one loss follows.

Gradient descent :math:`\theta \leftarrow \theta - h g` with the gradient g of a
loss E is compared, step by step, with flows :math:`\theta' = f(\theta)` over
time h. H is the Hessian, :math:`H = \sum_i \lambda_i u_i u_i^\top`. Each flow
here is a function of the loss, the parameters and h:

============================ ===================================== =========
flow                         f                                     error
============================ ===================================== =========
`gradient_flow`              :math:`-g`                            2
`igr_flow`                   :math:`-(g + \frac{h}{2} H g)`        3
`third_order_flow`           up to :math:`h^2`                     4
`principal_flow`             all that depends on H alone           3
`principal_flow_third_order` that, and the other term in h²        4
============================ ===================================== =========

where the last column is the power of h in the distance to one step. The
principal flow is exact for quadratics, also where gradient descent oscillates
or diverges. For that it is complex: its parameters are, and losses must take
complex numbers (see `hessian`).

References:
  Rosca, Wu, Qin and Dherin, "On a continuous time model of gradient descent
  dynamics and instability in deep learning", TMLR 2023.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

from differentiable_games import flows
from principal_flow_instability_single_objective import hessian

Params = Any
Flow = Callable[[hessian.Loss, Params, Any], Params]

# At hλ = 1 gradient descent jumps to the minimum along u, for which the flow
# would have to be infinitely fast. Instead it comes exp(-100) as near. What
# floating-point numbers beside 1 give is slower: -36 in float64.
JUMP = -100.0


def gradient_flow(loss: hessian.Loss, params: Params, h: Any) -> Params:
  """The negative gradient: what infinitely small steps follow."""
  del h
  return jax.tree.map(jnp.negative, hessian.gradient(loss, params))


def igr_flow(loss: hessian.Loss, params: Params, h: Any) -> Params:
  r""":math:`-(g + \frac{h}{2} H g)`, implicit gradient regularisation.

  References:
    Barrett and Dherin, "Implicit Gradient Regularization", 2021.
  """
  g = hessian.gradient(loss, params)
  hg = hessian.product(loss, params, g)
  return jax.tree.map(lambda g, hg: -(g + h / 2 * hg), g, hg)


def third_order_flow(loss: hessian.Loss, params: Params, h: Any) -> Params:
  r"""The flow with all terms up to h².

  .. math::
    -\big(g + \tfrac{h}{2} H g + h^2 (\tfrac13 H H g
      + \tfrac1{12} \nabla(g^\top H g))\big), \quad g \text{ fixed in } \nabla
  """
  g = hessian.gradient(loss, params)
  hg = hessian.product(loss, params, g)
  hhg = hessian.product(loss, params, hg)
  curvature = hessian.gradient_of_curvature(loss, params, g)
  return jax.tree.map(
    lambda g, hg, hhg, c: -(g + h / 2 * hg + h**2 * (hhg / 3 + c / 12)),
    *(g, hg, hhg, curvature),
  )


def principal_flow(loss: hessian.Loss, params: Params, h: Any) -> Params:
  r"""The principal flow, with all eigenvectors: for small models.

  .. math:: \sum_i \frac{\log(1 - h\lambda_i)}{h\lambda_i} (g^\top u_i) u_i

  At complex parameters the Hessian is symmetric but not Hermitian. There the
  sum is the matrix function of H applied to g, by its eigendecomposition.

  Args:
    loss: E.
    params: θ, real or complex.
    h: the learning rate.

  Returns:
    The direction, complex.
  """
  g, unravel = _ravel(hessian.gradient(loss, params))
  matrix = hessian.dense(loss, params)
  if jnp.iscomplexobj(matrix):
    values, vectors = jnp.linalg.eig(matrix)
    along = jnp.linalg.solve(vectors, g)
  else:
    values, vectors = jnp.linalg.eigh(matrix)
    along = vectors.T @ g
  return unravel(vectors @ (principal_factor(h * values) * along))


def principal_flow_third_order(
  loss: hessian.Loss, params: Params, h: Any
) -> Params:
  r"""The principal flow and its non-principal term.

  The term is :math:`-\frac{h^2}{12} \nabla(g^\top H g)` with g fixed, all that
  order h² has besides powers of the Hessian.
  """
  g = hessian.gradient(loss, params)
  return jax.tree.map(
    lambda f, c: f - h**2 / 12 * c,
    principal_flow(loss, params, h),
    hessian.gradient_of_curvature(loss, params, g),
  )


def top_principal_flow(
  loss: hessian.Loss, params: Params, h: Any, pairs: hessian.Eigenpairs
) -> Params:
  r"""The principal flow along the largest eigenvalues, for large models.

  Other directions, whose hλ is small, follow the IGR flow, which is the
  principal flow up to (hλ)². So the error of a step is of order 3 for any
  number of eigenpairs.

  Args:
    loss: E.
    params: θ, real or complex.
    h: the learning rate.
    pairs: of the Hessian at real parameters nearby, as at the step's start.
      That they are not those at θ changes f by a multiple of h² times the
      distance.

  Returns:
    The direction, complex.
  """
  values = jnp.nan_to_num(h * pairs.values)  # A zero vector is beside a NaN.
  g, unravel = _ravel(hessian.gradient(loss, params))
  along = pairs.vectors @ g
  beyond_igr = principal_factor(values) + 1 + values / 2
  return jax.tree.map(
    jnp.add,
    igr_flow(loss, params, h),
    unravel((beyond_igr * along) @ pairs.vectors),
  )


def _ravel(tree: Params) -> tuple[jax.Array, Callable[[jax.Array], Params]]:
  """`ravel_pytree`, with an inverse that takes complex vectors, too."""
  flat, unravel = ravel_pytree(tree)

  def complex_unravel(vector):
    parts = unravel(vector.real), unravel(vector.imag)
    return jax.tree.map(jax.lax.complex, *parts)

  return flat, (unravel if jnp.iscomplexobj(flat) else complex_unravel)


# One direction.


def principal_factor(h_lambda: Any) -> jax.Array:
  r""":math:`\log(1 - h\lambda)/(h\lambda)`; -1 at 0 and `JUMP` at 1.

  The logarithm's imaginary part is π for real hλ > 1. Along the flow of a loss
  that is not quadratic hλ comes to lie beside the real line, on either side;
  therefore the cut is not there but along 1 + it for t > 0.

  Args:
    h_lambda: the learning rate times eigenvalues, real or complex.

  Returns:
    A complex array of the same shape.
  """
  z = jnp.asarray(h_lambda)
  z = z.astype(jnp.promote_types(z.dtype, jnp.complex64))
  is_jump, is_zero = z == 1, z == 0
  rest = jnp.where(is_jump, 1, 1 - z)
  logarithm = jax.lax.complex(
    jnp.where(
      jnp.abs(z) < 0.5,  # Where 1 - z would lose digits of z.
      jnp.log1p(z.real * (z.real - 2) + z.imag**2) / 2,
      jnp.log(jnp.abs(rest)),
    ),
    jnp.where(
      rest.real > 0,
      jnp.angle(rest),
      jnp.angle(-1j * rest) + jnp.pi / 2,
    ),
  )
  factor = logarithm / jnp.where(is_zero, 1, z)
  return jnp.where(is_jump, JUMP, jnp.where(is_zero, -1, factor))


def stability_coefficient(h_lambda: Any) -> jax.Array:
  r""":math:`\log|1 - h\lambda| / (h\lambda)`, the factor's real part.

  Negative where the flow is drawn to the minimum along u, positive (hλ > 2)
  where it is driven from it. Times :math:`g^\top u` it is the speed along u.

  Args:
    h_lambda: the learning rate times eigenvalues, real.

  Returns:
    A real array of the same shape.
  """
  return principal_factor(h_lambda).real


# Along a flow.


def solve(
  field: Callable[[Params], Params],
  params: Params,
  time: Any,
  **settings: Any,
) -> Params:
  r"""Solves :math:`\theta' = f(\theta)` from `params` over `time`.

  Args:
    field: f. Where it is complex at `params`, so is the solution.
    params: the start, in float64 for the default tolerances.
    time: how long to flow: h for what one step of gradient descent does.
    **settings: of `flows.integrate`.

  Returns:
    The parameters at the end.
  """
  return _follow(flows.integrate, field, params, time, settings)


def trajectory(
  field: Callable[[Params], Params],
  params: Params,
  times: jax.Array,
  **settings: Any,
) -> Params:
  """The points of a flow at increasing times.

  Args:
    field: as in `solve`.
    params: as in `solve`.
    times: the first not before 0.
    **settings: of `flows.trajectory`.

  Returns:
    Parameters with an axis for the times in front.
  """
  return _follow(flows.trajectory, field, params, times, settings)


def _follow(follow, field, params, time, settings):
  """Calls a function of `flows`, which are of θ' = -f and of real numbers."""

  def is_complex(tree):
    return any(map(jnp.iscomplexobj, jax.tree.leaves(tree)))

  if not is_complex(jax.eval_shape(field, params)):
    minus_field = lambda p: jax.tree.map(jnp.negative, field(p))
    return follow(minus_field, params, time, **settings)

  def minus_field_of_parts(parts):
    direction = field(jax.tree.map(jax.lax.complex, *parts))
    return tuple(
      jax.tree.map(lambda d, part=part: -part(d), direction)
      for part in (jnp.real, jnp.imag)
    )

  start = tuple(jax.tree.map(part, params) for part in (jnp.real, jnp.imag))
  parts = follow(minus_field_of_parts, start, time, **settings)
  return jax.tree.map(jax.lax.complex, *parts)
