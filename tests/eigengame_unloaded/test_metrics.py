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
"""Angles, streaks and subspaces with known answers."""

import numpy as np
import pytest

from eigengame_unloaded import metrics

TRUTH = metrics.Truth(np.array([4.0, 3.0, 1.0]), np.eye(3, 5))


def test_exact_is_in_descending_order():
  random = np.random.default_rng(0)
  basis, _ = np.linalg.qr(random.standard_normal((4, 4)))
  truth = metrics.exact(basis * [1.0, 7.0, 3.0, -9.0] @ basis.T, 2)
  np.testing.assert_allclose(truth.eigenvalues, [7.0, 3.0])
  np.testing.assert_allclose(
    np.abs(truth.eigenvectors @ basis), np.eye(4)[[1, 2]], atol=1e-12
  )


def test_exact_keeps_what_equals_the_last_eigenvalue():
  truth = metrics.exact(np.diag([1.0, 2.0, 5.0, 2.0, 2.0]), 2)
  np.testing.assert_array_equal(truth.eigenvalues, [5.0, 2.0, 2.0, 2.0])


@pytest.mark.parametrize('angle', [0.0, 1e-9, 0.3, np.pi / 2])
def test_angles(angle):
  estimates = np.eye(3, 5)
  estimates[1] = 0
  # Neither the sign nor the length of an estimate matters.
  estimates[1, [1, 4]] = -3 * np.cos(angle), 3 * np.sin(angle)
  found = metrics.angles(estimates, TRUTH)
  np.testing.assert_allclose(found, [0.0, angle, 0.0], rtol=1e-6, atol=1e-15)


def test_angles_are_to_the_right_eigenvector():
  swapped = np.eye(3, 5)[[1, 0, 2]]
  np.testing.assert_allclose(
    metrics.angles(swapped, TRUTH), [np.pi / 2, np.pi / 2, 0.0]
  )


def test_angles_to_the_space_of_a_repeated_eigenvalue():
  truth = metrics.Truth(np.array([4.0, 2.0, 2.0]), np.eye(3, 5))
  estimates = np.zeros((2, 5))
  estimates[0, 0] = 1
  estimates[1, [1, 2]] = 0.6, 0.8
  np.testing.assert_allclose(
    metrics.angles(estimates, truth), [0.0, 0.0], atol=1e-12
  )
  estimates[1, 4] = 1.0
  np.testing.assert_allclose(
    metrics.angles(estimates, truth), [0.0, np.pi / 4], atol=1e-12
  )


@pytest.mark.parametrize(
  ('angles', 'streak'),
  [
    ([0.1, 0.39, 0.4, 0.1], 2),
    ([0.4, 0.1, 0.1, 0.1], 0),
    ([0.1, 0.1, 0.1, 0.1], 4),
    ([0.1, np.nan, 0.1, 0.1], 1),
  ],
)
def test_longest_streak(angles, streak):
  assert metrics.longest_streak(np.array(angles)) == streak


def test_subspace_distance_does_not_depend_on_the_basis():
  random = np.random.default_rng(0)
  within = random.standard_normal((3, 3)) @ np.eye(3, 5)
  assert metrics.subspace_distance(within, TRUTH) == pytest.approx(0, abs=1e-12)


def test_subspace_distance_of_a_tilted_axis():
  estimates = np.eye(3, 5)
  estimates[2, [2, 4]] = np.cos(0.3), np.sin(0.3)
  assert metrics.subspace_distance(estimates, TRUTH) == pytest.approx(
    np.sin(0.3) ** 2 / 3
  )


def test_subspace_distance_counts_dependent_estimates_once():
  estimates = np.eye(3, 5)[[0, 1, 1]]
  assert metrics.subspace_distance(estimates, TRUTH) == pytest.approx(1 / 3)


def test_subspace_distance_with_a_repeated_last_eigenvalue():
  truth = metrics.Truth(np.array([4.0, 2.0, 2.0]), np.eye(3, 5))
  # Any direction in the last eigenspace is right, but only beside the first.
  right = np.eye(5)[[0, 2]]
  assert metrics.subspace_distance(right, truth) == pytest.approx(0)
  wrong = np.eye(5)[[1, 2]]
  assert metrics.subspace_distance(wrong, truth) == pytest.approx(1 / 2)


def test_rayleigh_quotients():
  matrix = np.diag([4.0, 3.0, 1.0])
  estimates = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
  np.testing.assert_allclose(
    metrics.rayleigh_quotients(estimates, estimates @ matrix), [4.0, 2.0]
  )


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
  ('estimates', 'eigenvalues'),
  [
    (np.eye(2, 4), [0.0, 0.0]),
    (np.eye(2, 4), [np.nan, np.nan]),
    (np.full((2, 4), np.nan), [2.0, 1.0]),
    (np.zeros((2, 4)), [2.0, 1.0]),
    (np.array([[1.0, 0, 0, 0], [np.inf, 0, 0, 0]]), [2.0, 1.0]),
  ],
)
def test_nan_is_never_the_good_verdict(estimates, eigenvalues):
  truth = metrics.Truth(np.array(eigenvalues), np.eye(2, 4))
  found = metrics.angles(estimates, truth)
  assert np.isnan(found[1])
  assert metrics.longest_streak(found) < 2
  assert np.isnan(metrics.subspace_distance(estimates, truth))
