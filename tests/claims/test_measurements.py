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
"""What claims measure, where the answer is known."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from claims.measurements import full_batch


def test_curvature_of_a_quadratic_is_followed():
  """Below the diagonal's largest entry are the others, of both signs."""
  curvatures = jnp.array([2.0, 1.7, 0.3, -0.5])
  start, h = {'x': jnp.array([1.0, -1.0, 2.0, 0.5])}, 0.9

  def loss(params, batch):
    return jnp.sum(batch * params['x'] ** 2) / 2, {}

  losses, found = jax.jit(
    lambda *given: full_batch.follow_curvature(loss, *given, h, 4)
  )(start, curvatures)
  np.testing.assert_allclose(found, 2.0, rtol=1e-5)
  factors = (1 - h * curvatures) ** np.arange(4)[:, None]
  expected = np.sum(curvatures * (factors * start['x']) ** 2, axis=1) / 2
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_descent_is_summarized_from_the_edge_on():
  h_lambda = np.array([1.0, 1.5, 2.2, 2.4, 1.9, 2.1])
  # Of steps from above the edge one of two rises, of the others one of three.
  losses = np.array([5.0, 4.0, 3.0, 3.5, 3.2, 3.3])
  assert full_batch.summarize_descent(losses, h_lambda) == {
    'at_the_start': 1.0,
    'from_the_edge_on': np.median([2.2, 2.4, 1.9, 2.1]),
    'rises_more_often': 1 / 2 - 1 / 3,
  }
  below = full_batch.summarize_descent(losses, h_lambda / 2)
  assert below['from_the_edge_on'] == below['rises_more_often'] == 0


def test_measurements_need_no_figures():
  """Nor matplotlib, then, which an extra brings."""
  for path in pathlib.Path(full_batch.__file__).parent.glob('*.py'):
    text = path.read_text()
    assert 'figures' not in text, path
    assert 'matplotlib' not in text, path
