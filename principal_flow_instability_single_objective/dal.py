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
r"""Drift-adjusted learning rates (DAL): steps as long as the drift allows.

The error of a step of gradient descent, its drift, is
:math:`\frac{h^2}{2} H g` to leading order. DAL-p takes the learning rate

.. math:: h = \frac{2}{(\lVert H g \rVert / \lVert g \rVert)^p}

at most `max_learning_rate`. The ratio is the root mean square of the Hessian's
eigenvalues, weighted by the squares of the gradient's components. For p = 1 it
takes the place of :math:`\lambda_0` in the bound of stability
:math:`h < 2/\lambda_0`; with smaller p steps are longer where it is above 1.

The learning rate is a factor on the gradient, in units of a fixed one, so that
it goes before any other optimiser:

    optax.chain(
      dal.scale_by_dal(power=0.5, learning_rate=0.1),
      optax.sgd(0.1, momentum=0.9),
    )

`update` needs a function that multiplies by the Hessian, of the gradient's
batch or of another, averaged over devices as the gradient is:

    (loss, _), grads, product = batches.gradient_and_product(f, params, batch)
    updates, state = optimizer.update(
      grads, state, params, hessian_product=product
    )

References:
  Rosca, Wu, Qin and Dherin, "On a continuous time model of gradient descent
  dynamics and instability in deep learning", TMLR 2023.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from principal_flow_instability_single_objective import hessian


class DalState(NamedTuple):
  """What the last update measured; the fields but the first are to be logged.

  Attributes:
    num_updates: the number of updates so far.
    learning_rate: h, without the shape of a schedule that comes after.
    gradient_norm: ‖g‖.
    product_norm: ‖H g‖.
    ratio: ‖H g‖ / ‖g‖; 0 where the gradient is 0.
  """

  num_updates: jax.Array
  learning_rate: jax.Array
  gradient_norm: jax.Array
  product_norm: jax.Array
  ratio: jax.Array


def scale_by_dal(
  power: float,
  learning_rate: float,
  max_learning_rate: float = 5.0,
  start: int = 0,
  stop: int | None = None,
  schedule: optax.Schedule | None = None,
) -> optax.GradientTransformationExtraArgs:
  r"""Multiplies gradients by DAL's learning rate over a fixed one.

  .. math::
    \mathrm{clip}\Big(\frac{2}{h_0 (\lVert H g \rVert / \lVert g \rVert)^p},
      0, \frac{h_{\max}}{h_0}\Big)

  An optimiser after it multiplies by :math:`h_0`; with a schedule that starts
  from there, DAL's learning rates follow the schedule's shape, up to
  :math:`h_{\max}`.

  Args:
    power: p. With 0 gradients stay as they are, and norms are measured.
    learning_rate: :math:`h_0`, that of the optimiser after this one. But for
      rounding the result does not depend on it.
    max_learning_rate: :math:`h_{\max}`.
    start: the first update, counted from 0, with DAL's learning rate.
    stop: the first update after it without; None: there is none.
    schedule: that of the optimiser after this one, if it has one.

  Returns:
    A transformation whose `update` takes `hessian_product`, a function from a
    direction v to H v.
  """

  def init(params):
    del params
    zero = jnp.zeros((), jnp.float32)
    return DalState(
      num_updates=jnp.zeros((), jnp.int32),
      learning_rate=jnp.asarray(learning_rate, jnp.float32),
      gradient_norm=zero,
      product_norm=zero,
      ratio=zero,
    )

  def update(updates, state, params=None, *, hessian_product, **extra_args):
    del params, extra_args
    gradient_norm = optax.tree.norm(updates)
    product_norm = optax.tree.norm(hessian_product(updates))
    # H g = 0 where g = 0: any divisor gives 0.
    ratio = product_norm / jnp.where(gradient_norm == 0, 1, gradient_norm)
    scale = jnp.ones_like(ratio)
    if power:
      scale = jnp.clip(
        2 / (learning_rate * ratio**power), 0, max_learning_rate / learning_rate
      )
      if schedule is not None:
        # The schedule is a factor that comes after this one.
        rate = jnp.asarray(schedule(state.num_updates))
        largest = max_learning_rate / jnp.maximum(rate, learning_rate)
        scale = jnp.minimum(scale, largest)
      is_on = (state.num_updates >= start) & (
        stop is None or state.num_updates < stop
      )
      scale = jnp.where(is_on, scale, 1)
    measured = scale * learning_rate, gradient_norm, product_norm, ratio
    return (
      jax.tree.map(lambda u: (scale * u).astype(u.dtype), updates),
      DalState(
        state.num_updates + 1, *(x.astype(jnp.float32) for x in measured)
      ),
    )

  return optax.GradientTransformationExtraArgs(init, update)


def state_of(opt_state: Any) -> DalState:
  """The DAL state in that of a chain of transformations."""
  is_dal = lambda node: isinstance(node, DalState)
  return next(filter(is_dal, jax.tree.leaves(opt_state, is_leaf=is_dal)))


def finite_difference_product(
  gradient: Callable[[Any], Any], params: Any, at_params: Any
) -> hessian.Product:
  r"""Hessian products from one more gradient, a little along the direction.

  .. math::
    H v \approx \frac{g(\theta + \epsilon v) - g(\theta)}{\epsilon}, \quad
    \epsilon = \frac{0.01}{\lVert v \rVert}

  Args:
    gradient: g.
    params: θ.
    at_params: g(θ).

  Returns:
    A function from v to about H v.

  References:
    Geiping et al., "Stochastic Training is Not Necessary for Generalization",
    2022, for the offset.
  """

  def product(direction):
    norm = optax.tree.norm(direction)
    offset = 0.01 / jnp.where(norm == 0, 1, norm)
    moved = optax.tree.add_scale(params, offset, direction)
    difference = optax.tree.sub(gradient(moved), at_params)
    return optax.tree.scale(1 / offset, difference)

  return product
