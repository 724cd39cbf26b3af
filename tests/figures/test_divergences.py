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
"""Tests for the figures of divergences: what is exact, and that GANs train."""

import jax
import numpy as np
import pytest
from scipy import stats

from differentiable_games import divergences
from figures import disjoint_supports
from figures import mode_seeking


@pytest.mark.parametrize('name', mode_seeking.NAMES)
def test_divergences_are_those_of_the_table(name):
  """An expectation under the samples, E_q f(p/q), where f can be computed."""
  x = np.linspace(-11, 11, 8001)
  q = stats.norm.pdf(x, 0.3, 1.4)
  u = np.exp(mode_seeking.log_data('near', x)) / q
  with jax.enable_x64():
    f = np.asarray(divergences.DIVERGENCES[name].generator(u))
  np.testing.assert_allclose(
    mode_seeking.divergence(name, 'near', 0.3, np.log(1.4)),
    np.trapezoid(q * f, x),
    rtol=1e-7,
  )


@pytest.mark.parametrize(
  ('name', 'mixture', 'covers'),
  [
    ('kl', 'near', True),
    ('kl', 'far', True),
    ('reverse_kl', 'near', False),
    ('reverse_kl', 'far', False),
    ('jensen_shannon', 'near', True),
    ('jensen_shannon', 'far', False),
  ],
)
def test_what_fits_best_covers_or_seeks(name, mixture, covers):
  location, scale = mode_seeking.minimise(name, mixture)[0]
  (low, _), weight = mode_seeking.MEANS[mixture], mode_seeking.WEIGHTS[0]
  assert (scale > 1.2) == covers
  if not covers:  # The larger part.
    assert abs(location - low) < 0.05
  if name == 'kl':  # The data's moments.
    means = np.array(mode_seeking.MEANS[mixture])
    mean = weight * means[0] + (1 - weight) * means[1]
    variance = weight * (1 - weight) * np.diff(means)[0] ** 2
    np.testing.assert_allclose(location, mean, atol=1e-4)
    np.testing.assert_allclose(
      scale, np.sqrt(variance + mode_seeking.DEVIATION**2), atol=1e-4
    )


def test_the_exact_divergence_is_flat_where_supports_are_disjoint():
  values, slopes = zip(
    *map(disjoint_supports.exact_divergence, (0.0, 1.0, 5.0, 10.0)), strict=True
  )
  assert abs(values[0]) < 1e-9
  assert 0 < values[1] < values[2] < values[3] < np.log(2) + 1e-9
  assert np.log(2) - values[3] < 1e-5
  assert 0 < slopes[3] < 1e-5
  step = 1e-4
  above, below = (
    disjoint_supports.exact_divergence(1.0 + s)[0] for s in (step, -step)
  )
  np.testing.assert_allclose(slopes[1], (above - below) / (2 * step), rtol=1e-6)


@pytest.mark.slow
def test_mode_seeking_quickly():
  size = mode_seeking.SIZES['quick']
  described = mode_seeking.describe('kl', 'near', size)
  figure = mode_seeking.draw(
    {'near': dict.fromkeys(mode_seeking.NAMES, described)}
  )
  assert len(figure.axes) == len(mode_seeking.NAMES)
  for generator in mode_seeking.GENERATORS:
    assert len(described[generator]['divergence']) == size.num_seeds
    assert np.ptp(described[generator]['location']) > 0
    least = described['exact']['divergence'][0]
    assert min(described[generator]['divergence']) > least


@pytest.mark.slow
def test_disjoint_supports_quickly():
  size = disjoint_supports.SIZES['quick']
  learned = disjoint_supports.learn_divergences(size, 'spectral_norm')
  for of_step in learned['learned'].values():
    assert np.shape(of_step['divergence']) == (2, size.num_seeds)
    assert np.all(np.abs(of_step['zero-sum']) > 0)
  locations = disjoint_supports.learn_locations(size)
  assert locations['step'] == [0, 2, 4]
  for loss in disjoint_supports.GANS:
    assert np.all(np.array(locations[loss])[:, 0] == disjoint_supports.START)
    assert np.ptp(locations[loss]) > 0
  figure = disjoint_supports.draw(learned, learned, locations)
  assert len(figure.axes) == 3
