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
"""Layers against Haiku's, and how they are computed."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convolutions_as_products import convolution
from convolutions_as_products import layers


@pytest.mark.parametrize(
  ('module', 'reference'),
  [
    (
      lambda: layers.Conv2D(3, (4, 2), 2),
      lambda: hk.Conv2D(3, (4, 2), 2),
    ),
    (
      lambda: layers.Conv2DTranspose(3, (2, 4), 3),
      lambda: hk.Conv2DTranspose(3, (2, 4), 3),
    ),
  ],
)
def test_one_layer_is_haikus(module, reference):
  x = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
  transformed = (
    hk.without_apply_rng(hk.transform(lambda x, make=make: make()(x)))
    for make in (module, reference)
  )
  (ours, expected) = (t.init(jax.random.PRNGKey(0), x) for t in transformed)
  assert jax.tree.structure(ours) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, ours, expected)


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'tpu'])
def test_only_cpus_get_products(platform):
  """In a small network and its gradients."""

  def call(x):
    x = jax.nn.relu(layers.Conv2D(8, (3, 3), 2)(x))
    return layers.Conv2DTranspose(8, (4, 4), 2)(x)

  transformed = hk.without_apply_rng(hk.transform(call))
  x = jnp.ones((2, 6, 6, 8))
  params = jax.eval_shape(transformed.init, jax.random.PRNGKey(0), x)
  loss = lambda params, x: jnp.sum(jnp.square(transformed.apply(params, x)))
  traced = jax.jit(jax.grad(loss, (0, 1))).trace(params, x)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ('stablehlo.convolution' in text) == (platform != 'cpu')
  assert ('stablehlo.dot_general' in text) == (platform == 'cpu')
  assert ('stablehlo.while' in text) == (platform == 'cpu')


@pytest.mark.parametrize('implementation', convolution.IMPLEMENTATIONS)
@pytest.mark.parametrize('layer', [layers.Conv2D, layers.Conv2DTranspose])
def test_arrays_that_are_no_images_are_refused(layer, implementation):
  transformed = hk.transform(lambda x: layer(3, (2, 2))(x))
  with convolution.use_implementation(implementation):
    with pytest.raises(ValueError, match=r'not of shape \(5, 4\)'):
      transformed.init(jax.random.PRNGKey(0), jnp.ones((5, 4)))
