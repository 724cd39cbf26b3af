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
"""The unrolled generator gives JAX's numbers, to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxline_harness import prng

KEY = jax.random.PRNGKey(7)
OPERATIONS = {
  'normal': lambda key: jax.random.normal(key, (5, 7)),
  'uniform': lambda key: jax.random.uniform(key, (3,)),
  'bits': lambda key: jax.random.bits(key, (4, 3)),
  'of split keys': lambda key: jax.random.normal(
    jax.random.split(key, (2, 3))[1, 2], (4,)
  ),
  'folded in': lambda key: jax.random.normal(
    jax.random.fold_in(key, 2**31 + 5), (4,)
  ),
  'of mapped keys': lambda key: jax.vmap(lambda k: jax.random.normal(k, (4,)))(
    jax.random.split(key, 3)
  ),
}


@pytest.mark.parametrize('seed', [0, 7, 2**32 - 1])
def test_keys_of_seeds_are_jaxs(seed):
  key = jax.random.PRNGKey(seed)
  np.testing.assert_array_equal(prng.raw_key(seed), key)
  keys = prng.split_seed(seed, 3)
  np.testing.assert_array_equal(keys, jax.random.split(key, 3))
  assert keys.dtype == key.dtype


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize('operation', OPERATIONS)
def test_numbers_are_jaxs(operation):
  draw = OPERATIONS[operation]
  expected = np.asarray(draw(KEY))
  np.testing.assert_array_equal(draw(prng.step_key(KEY)), expected)
  np.testing.assert_array_equal(
    jax.jit(lambda key: draw(prng.step_key(key)))(KEY), expected
  )


def test_there_is_no_loop():
  def lowered(key_of):
    draw = lambda key: jax.random.normal(key_of(key), (64,))
    return jax.jit(draw).lower(KEY).compile().as_text()

  assert ' while(' in lowered(lambda key: key)
  assert ' while(' not in lowered(prng.step_key)


def test_loops_that_draw_do_not_compute_their_keys():
  def draw(key):
    key = prng.step_key(key)
    key = jax.random.split(jax.random.fold_in(key, 1))[1]
    return jax.random.normal(key, (64,))

  text = jax.jit(draw).lower(KEY).compile().as_text()
  drawing = [part for part in text.split('\n\n') if 'erf_inv' in part]
  num_xors = sum(part.count(' xor(') for part in drawing)
  # One a round of the draw itself, and few around them.
  assert 20 <= num_xors < 30


def test_a_chain_of_keys_compiles_soon():
  # With JAX 0.12 each further link took a million times as long.
  def draw(key):
    key = prng.step_key(key)
    for i in range(4):
      key = jax.random.fold_in(jax.random.split(key)[1], i)
    return jax.random.normal(key, (64,))

  jax.jit(draw).lower(KEY).compile()


def test_seeds_are_jaxs():
  key = jax.random.key(3, impl=prng.UNROLLED_THREEFRY)
  np.testing.assert_array_equal(jax.random.key_data(key), jax.random.PRNGKey(3))


@pytest.mark.parametrize('platform', ['cpu', 'cuda', 'tpu'])
def test_other_platforms_keep_jaxs_own(platform):
  """Whatever the process runs on: what counts is what it is lowered for."""

  def draw(key):
    key = jax.random.fold_in(jax.random.split(prng.step_key(key))[1], 3)
    return jax.random.bits(key, (64,))

  traced = jax.jit(draw).trace(KEY)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ('threefry2x32' in text) == (platform != 'cpu')


def test_wider_bits_are_refused():
  with pytest.raises(NotImplementedError, match='width 8'):
    jax.random.bits(prng.step_key(KEY), (4,), dtype=jnp.uint8)
