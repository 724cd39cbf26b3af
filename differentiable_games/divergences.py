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
r"""f-divergences in variational form, each as a row of one table.

.. math::
  D_f(p, q) = E_q f(p/q) = \max_v E_p\, t(v) - E_q\, f^*(t(v)),

with v any function of x, such as a network, and t an activation whose values
are the domain of the convex conjugate :math:`f^*`. The best v has
:math:`t(v) = f'(p/q)`.

References:
  Nowozin et al., "f-GAN: Training Generative Neural Samplers using Variational
  Divergence Minimization", 2016.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Function = Callable[[jax.Array], jax.Array]


class Divergence(NamedTuple):
  r"""An f-divergence.

  Attributes:
    generator: f, of u = p/q.
    derivative: f'.
    activation: t, of any number v.
    conjugate: :math:`f^*`, of t.
    conjugate_of_output: :math:`f^* \circ t`, of v, in a form that does not
      overflow on the way.
    best_output: v where :math:`t(v) = f'(u)`, as a function of log u.
  """

  generator: Function
  derivative: Function
  activation: Function
  conjugate: Function
  conjugate_of_output: Function
  best_output: Function


DIVERGENCES = {
  'kl': Divergence(
    generator=lambda u: u * jnp.log(u),
    derivative=lambda u: 1 + jnp.log(u),
    activation=lambda v: v,
    conjugate=lambda t: jnp.exp(t - 1),
    conjugate_of_output=lambda v: jnp.exp(v - 1),
    best_output=lambda log_u: 1 + log_u,
  ),
  'reverse_kl': Divergence(
    generator=lambda u: -jnp.log(u),
    derivative=lambda u: -1 / u,
    activation=lambda v: -jnp.exp(-v),
    conjugate=lambda t: -1 - jnp.log(-t),
    conjugate_of_output=lambda v: v - 1,
    best_output=lambda log_u: log_u,
  ),
  'pearson': Divergence(
    generator=lambda u: jnp.square(u - 1),
    derivative=lambda u: 2 * (u - 1),
    activation=lambda v: v,
    conjugate=lambda t: jnp.square(t) / 4 + t,
    conjugate_of_output=lambda v: jnp.square(v) / 4 + v,
    best_output=lambda log_u: 2 * jnp.expm1(log_u),
  ),
  'squared_hellinger': Divergence(
    generator=lambda u: jnp.square(jnp.sqrt(u) - 1),
    derivative=lambda u: 1 - 1 / jnp.sqrt(u),
    activation=lambda v: -jnp.expm1(-v),
    conjugate=lambda t: t / (1 - t),
    conjugate_of_output=jnp.expm1,
    best_output=lambda log_u: log_u / 2,
  ),
  # Twice the Jensen-Shannon divergence of weights 1/2.
  'jensen_shannon': Divergence(
    generator=lambda u: u * jnp.log(u) - (u + 1) * jnp.log((u + 1) / 2),
    derivative=lambda u: jnp.log(2 * u / (1 + u)),
    activation=lambda v: jnp.log(2.0) - jax.nn.softplus(-v),
    conjugate=lambda t: -jnp.log(2 - jnp.exp(t)),
    conjugate_of_output=lambda v: jax.nn.softplus(v) - jnp.log(2.0),
    best_output=lambda log_u: log_u,
  ),
}
