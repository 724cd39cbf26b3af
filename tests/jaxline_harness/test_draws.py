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
"""Draws: permutations, shares of devices, what stays equal."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxline_harness import draws
from jaxline_harness import errors

# deviations of its mean. The seeds are fixed: it holds or it does not.
MAX_CHI_SQUARE_Z = 4.0


def _chi_square_z(counts, dof, scale=1.0):
  expected = counts.mean()
  chi_square = scale * ((counts - expected) ** 2 / expected).sum()
  return (chi_square - dof) / np.sqrt(2 * dof)


def _epochs(num_epochs, batch_size, num_examples, seed=0):
  """All draws of the first epochs: (num_epochs, draws an epoch * batch)."""
  numbers = jnp.arange(num_epochs * (num_examples // batch_size))
  indices = jax.jit(
    jax.vmap(lambda d: draws.draw_indices(seed, d, batch_size, num_examples))
  )(numbers)
  return np.asarray(indices).reshape(num_epochs, -1)


@pytest.mark.parametrize(
  ('num_examples', 'batch_size'),
  [
    *((1, 1), (2, 1), (5, 5), (1009, 1), (60_000, 100)),
    *(
      pytest.param(*sizes, marks=pytest.mark.slow)
      for sizes in (
        *((3, 1), (4, 2), (6, 3), (7, 1), (13, 13)),
        *((97, 1), (1000, 100), (10_000, 100)),
      )
    ),
  ],
)
def test_an_epoch_takes_every_example_once(num_examples, batch_size):
  for epoch in _epochs(3, batch_size, num_examples):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(num_examples))


def test_remainder_is_left_out_and_differs_between_epochs():
  epochs = _epochs(200, 64, 100)
  assert epochs.shape == (200, 64)
  for epoch in epochs:
    assert len(set(epoch.tolist())) == 64
  assert epochs.min() == 0
  assert epochs.max() == 99
  # Every example is taken in some epoch: each is left out 36 % of the time.
  assert len(np.unique(epochs)) == 100


@pytest.mark.parametrize(
  'num_examples',
  [*(pytest.param(n, marks=pytest.mark.slow) for n in (12, 60)), 61],
)
def test_positions_and_indices_are_independent(num_examples):
  num_epochs = 100 * num_examples
  epochs = _epochs(num_epochs, num_examples, num_examples)
  table = np.zeros((num_examples, num_examples))
  np.add.at(table, (np.arange(num_examples)[None], epochs), 1)
  # The table's rows and columns have fixed sums: χ² is N / (N - 1) times too
  # large on average.
  z = _chi_square_z(table, (num_examples - 1) ** 2, 1 - 1 / num_examples)
  assert abs(z) < MAX_CHI_SQUARE_Z


@pytest.mark.parametrize(
  'num_examples', [pytest.param(60, marks=pytest.mark.slow), 61]
)
def test_neighbours_in_a_batch_are_independent(num_examples):
  epochs = _epochs(3000, num_examples, num_examples)
  for distance in (1, 2, 10):
    steps = (epochs[:, distance:] - epochs[:, :-distance]) % num_examples
    counts = np.bincount(steps.ravel(), minlength=num_examples)
    assert counts[0] == 0
    z = _chi_square_z(counts[1:], num_examples - 2)
    assert abs(z) < MAX_CHI_SQUARE_Z


@pytest.mark.parametrize('num_examples', [10_000, 10_007])
def test_consecutive_indices_do_not_correlate(num_examples):
  epoch = _epochs(1, num_examples, num_examples)[0]
  # The standard deviation of these is 0.01.
  assert abs(np.corrcoef(epoch[1:], epoch[:-1])[0, 1]) < 0.04
  assert abs(np.corrcoef(epoch, np.arange(num_examples))[0, 1]) < 0.04


@pytest.mark.parametrize('other', [{'seed': 1}, {'epoch': 1}])
def test_seeds_and_epochs_give_unrelated_permutations(other):
  first = _epochs(1, 5000, 10_000)[0]
  second = _epochs(2, 5000, 10_000, other.get('seed', 0))[other.get('epoch', 0)]
  # One equal value is expected.
  assert (first == second).sum() < 8
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.04


def test_draws_are_functions_of_their_number():
  one = draws.draw_indices(3, 17, 64, 1000)
  jitted = jax.jit(draws.draw_indices, static_argnums=(2, 3))
  assert one.dtype == jnp.int32
  np.testing.assert_array_equal(one, jitted(3, 17, 64, 1000))
  np.testing.assert_array_equal(one, jitted(np.int32(3), 17, 64, 1000))
  for key in (jax.random.key(3), jax.random.PRNGKey(3)):
    np.testing.assert_array_equal(one, jitted(key, 17, 64, 1000))
  assert not np.array_equal(one, jitted(3, 18, 64, 1000))
  assert not np.array_equal(one, jitted(4, 17, 64, 1000))


def test_draws_stay_what_they_are():
  # A run that goes on after an update of this package draws the same batches.
  np.testing.assert_array_equal(
    draws.draw_indices(0, 1000, 6, 10_000), [6127, 9397, 6856, 1840, 2480, 3466]
  )


@pytest.mark.parametrize('draw', [10**9, 2**31 - 1])
def test_late_draws_do_not_overflow(draw):
  indices = np.asarray(draws.draw_indices(0, draw, 3, 10))
  assert len(set(indices.tolist())) == 3
  assert 0 <= indices.min() <= indices.max() < 10
  again = np.asarray(draws.draw_indices(0, draw - 3, 3, 10))
  assert not np.array_equal(indices, again)


@pytest.mark.parametrize('num_devices', [1, 2, 4])
def test_devices_share_the_same_batch(num_devices):
  examples = np.arange(100, dtype=np.uint8).repeat(2).reshape(100, 2)
  labels = np.arange(100, dtype=np.int32)

  def run(last):
    def step(i, batches):
      batch = draws.draw_batch(
        (examples, labels), 5, i, 8, lax.axis_index('i'), num_devices
      )
      return jax.tree.map(lambda x, b: x.at[i].set(b), batches, batch)

    rows = 8 // num_devices
    empty = jnp.zeros((20, rows, 2), jnp.uint8), jnp.zeros((20, rows), int)
    return lax.fori_loop(0, last, step, empty)

  devices = jax.local_devices()[:num_devices]
  drawn, drawn_labels = jax.pmap(run, axis_name='i', devices=devices)(
    np.full(num_devices, 20)
  )
  assert drawn.dtype == jnp.uint8
  for i in range(20):
    indices = np.asarray(draws.draw_indices(5, i, 8, 100))
    joined = np.concatenate(np.asarray(drawn[:, i]))
    np.testing.assert_array_equal(joined, examples[indices])
    np.testing.assert_array_equal(np.ravel(drawn_labels[:, i]), indices)
    for k in range(num_devices):
      rows = draws.device_rows(jnp.asarray(indices), k, num_devices)
      np.testing.assert_array_equal(rows, drawn_labels[k, i])


def test_bad_batch_sizes_are_user_errors():
  with pytest.raises(errors.UserError, match='batch of 11 .* 10 examples'):
    draws.draw_indices(0, 0, 11, 10)
  with pytest.raises(errors.UserError, match='batch of 0'):
    draws.draw_indices(0, 0, 0, 10)
  with pytest.raises(errors.UserError, match='6 does not divide .* 4 devices'):
    draws.device_rows(jnp.arange(6), 0, 4)
  with pytest.raises(errors.UserError, match='6 does not divide .* 4 devices'):
    draws.draw_batch(np.zeros((10, 1)), 0, 0, 6, 0, 4)


def test_bytes_are_scaled():
  images = np.arange(256, dtype=np.uint8)
  expected = np.linspace(-1, 1, 256)
  for scaled in (
    draws.scale_images(images),
    draws.scale_images(jnp.asarray(images)),
  ):
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, atol=1e-7)
  assert isinstance(draws.scale_images(images), np.ndarray)
