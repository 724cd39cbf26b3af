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
"""JAX's random numbers, bit for bit, in the form that each platform runs best.

On CPUs JAX rolls the twenty rounds of its generator into a loop of five turns,
which runs three times slower than one fused elementwise operation, and is
opaque to XLA: what depends on it is computed again even where it has been
computed before. So there they are one operation, elsewhere JAX's own; which of
them is decided where a program is lowered for a platform.

Keys stay behind barriers. Were they computed within the loops that draw with
them, LLVM's vectoriser (JAX 0.12's) would follow each path through the rounds,
and each round doubles the number of paths.
"""

import functools

import jax
from jax.extend import random as extend_random
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def step_key(key: jax.Array) -> jax.Array:
  """A key whose random numbers are drawn within a compiled function.

  Args:
    key: a raw key of JAX's default generator, two uint32.

  Returns:
    The same key as a typed one, whose random numbers are the same as JAX's.
  """
  return jax.random.wrap_key_data(key, impl=UNROLLED_THREEFRY)


def raw_key(seed: int) -> np.ndarray:
  """`jax.random.PRNGKey(seed)` of a seed below 2³², without a program."""
  return np.array([0, seed], np.uint32)


def split_seed(seed: int, num: int) -> np.ndarray:
  """`jax.random.split(jax.random.PRNGKey(seed), num)`, likewise."""
  numbers = np.arange(num, dtype=np.uint32)
  words = _threefry(raw_key(seed), np.zeros_like(numbers), numbers)
  return np.stack(words, axis=-1)


def _threefry(key, x0, x1):
  """Threefry-2x32 with twenty rounds.

  References:
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
  """
  keys = key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)
  x0, x1 = x0 + keys[0], x1 + keys[1]
  for i in range(5):
    for rotation in _ROTATIONS[i % 2]:
      x0 = x0 + x1
      x1 = (x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))
      x1 = x0 ^ x1
    x0 = x0 + keys[(i + 1) % 3]
    x1 = x1 + keys[(i + 2) % 3] + np.uint32(i + 1)
  return x0, x1


def _of_positions(key, shape):
  """Two random words for each position of a shape of fewer than 2³²."""
  positions = jax.lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape)
  return _threefry(key, jnp.zeros_like(positions), positions)


def _as_jaxs(key):
  return jax.random.wrap_key_data(key, impl='threefry2x32')


# Under jit, so that all draws of a shape are traced and lowered once.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _random_bits(key, bit_width, shape):
  if bit_width != 32:
    raise NotImplementedError(f'random bits of width {bit_width}')

  def unrolled(key):
    x0, x1 = _of_positions(key, shape)
    return x0 ^ x1

  return jax.lax.platform_dependent(
    key,
    cpu=unrolled,
    default=lambda key: jax.random.bits(_as_jaxs(key), shape, jnp.uint32),
  )


@functools.partial(jax.jit, static_argnums=1)
def _split(key, shape):
  keys = jax.lax.platform_dependent(
    key,
    cpu=lambda key: jnp.stack(_of_positions(key, shape), axis=-1),
    default=lambda key: jax.random.key_data(
      jax.random.split(_as_jaxs(key), shape)
    ),
  )
  return jax.lax.optimization_barrier(keys)


@jax.jit
def _fold_in(key, number):
  number = jnp.asarray(number, jnp.uint32)
  key = jax.lax.platform_dependent(
    *(key, number),
    cpu=lambda key, n: jnp.stack(_threefry(key, jnp.zeros_like(n), n)),
    default=lambda key, n: jax.random.key_data(
      jax.random.fold_in(_as_jaxs(key), n)
    ),
  )
  return jax.lax.optimization_barrier(key)


UNROLLED_THREEFRY = extend_random.define_prng_impl(
  key_shape=(2,),
  seed=lambda number: jnp.stack(
    [jnp.uint32(0), jnp.asarray(number, jnp.uint32)]
  ),
  split=_split,
  random_bits=_random_bits,
  fold_in=_fold_in,
  name='unrolled_threefry2x32',
  tag='ufry',
)
