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
"""Which products a convolution becomes, and Winograd's matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

from convolutions_as_products import products


@pytest.mark.parametrize(
  ('kernel', 'stride', 'channels', 'expected'),
  [
    ((3, 3), 1, (8, 8), True),
    ((3, 3), 1, (7, 8), False),
    ((3, 3), 1, (8, 7), False),
    ((3, 2), 1, (8, 8), True),
    ((4, 3), 1, (8, 8), True),
    ((5, 5), 1, (8, 8), True),
    ((6, 5), 1, (8, 8), False),
    ((3, 1), 1, (8, 8), False),
    ((4, 4), 2, (8, 8), True),
    ((4, 2), 2, (8, 8), False),
    ((6, 5), 2, (8, 8), True),
    ((7, 6), 2, (8, 8), True),
    ((11, 10), 2, (8, 8), False),
  ],
)
def test_when_minimal_filtering_is_used(kernel, stride, channels, expected):
  """2 to 5 taps a dimension, and no fewer than 8 channels."""
  geometry = products.Geometry((6, 6), kernel, stride)
  chosen = products._choose_algorithm(geometry, 2, channels, jnp.float32)
  assert (chosen.indices == ('tnc', 'tco', 'tno')) == expected


@pytest.mark.parametrize(
  ('outputs', 'taps'),
  [(4, 2), (4, 3), (2, 2), (2, 3), (3, 4), (2, 5), (4, 5)],
)
def test_winograds_matrices(outputs, taps):
  """The outputs of a filter are A^T [(G w) * (B^T x)], and exactly so."""
  a, g, b = products._winograd_matrices(outputs, taps)
  rng = np.random.default_rng(0)
  num_products = outputs + taps - 1
  assert a.shape == (outputs, num_products)
  assert g.shape == (num_products, taps)
  assert b.shape == (num_products, num_products)
  w, x = rng.normal(size=taps), rng.normal(size=num_products)
  np.testing.assert_allclose(
    a @ ((g @ w) * (b @ x)), np.correlate(x, w, 'valid'), rtol=0, atol=1e-13
  )
