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
"""Passes that keep less for their derivatives, and compute it anew.

What a pass keeps grows with the batch and with each order of differentiation.
"""

from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax

# What devices have sent each other is not sent again. XLA's own convolutions,
# and those of `convolutions_as_products`, are what costs time.
_SENT = frozenset({'all_gather', 'psum', 'psum_invariant'})
_PRODUCTS = frozenset(
  {
    'conv_general_dilated',
    'conv_same',
    'conv_same_to_images',
    'conv_same_to_kernel',
    'dot_general',
  }
)


def _keep(names: frozenset[str]) -> Callable[..., bool]:
  return lambda primitive, *_, **__: primitive.name in names


# What is computed anew, and what of the rest is kept.
POLICIES: Mapping[str, Callable[..., bool]] = {
  'activations': _keep(_SENT | _PRODUCTS),
  'networks': _keep(_SENT),
}
NOTHING = 'nothing'


def apply_to(
  network: hk.TransformedWithState, what: str
) -> hk.TransformedWithState:
  """A network of which derivatives compute a part anew.

  Args:
    network: its `apply` takes parameters, state and inputs, and then what is
      not traced.
    what: one of POLICIES, or NOTHING.

  Returns:
    The same function with the same derivatives.
  """
  if what == NOTHING:
    return network

  def apply(params: Any, state: Any, inputs: Any, *args, **kwargs):
    def run(*traced):
      return network.apply(*traced, *args, **kwargs)

    return jax.checkpoint(run, policy=POLICIES[what])(params, state, inputs)

  return hk.TransformedWithState(network.init, apply)
