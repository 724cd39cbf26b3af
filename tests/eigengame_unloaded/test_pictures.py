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
"""Eigenvectors as images: where they are, signs and colours."""

import numpy as np

from eigengame_unloaded import pictures

RED, WHITE, BLUE = [255, 0, 0], [255, 255, 255], [0, 0, 255]


def test_estimates_over_exact_eigenvectors_of_the_same_sign():
  estimates = np.zeros((2, 56 * 56))
  estimates[0, 0], estimates[1, 0] = 0.2, -3.0
  grid = pictures.eigenvector_grid(estimates, -estimates, (56, 56, 1))
  assert grid.dtype == np.uint8
  assert grid.shape == (2 * 58 + 6, 2 * 58, 3)
  for top in (0, 58):
    np.testing.assert_array_equal(grid[top, 0], RED)
    np.testing.assert_array_equal(grid[top, 58], BLUE)
    np.testing.assert_array_equal(grid[top + 1, 1], WHITE)


def test_without_exact_ones_and_in_several_rows():
  estimates = np.ones((9, 28 * 28))
  grid = pictures.eigenvector_grid(estimates, None, (28, 28, 1))
  # Small images are enlarged.
  assert grid.shape == (2 * (58 + 6), 8 * 58, 3)
  np.testing.assert_array_equal(grid[64, 0], RED)
  np.testing.assert_array_equal(grid[64, 58], WHITE)


def test_three_channels():
  estimates = np.array([[[[0.0, 1.0, -1.0]]]]).repeat(56, 1).repeat(56, 2)
  grid = pictures.eigenvector_grid(estimates.reshape(1, -1), None, (56, 56, 3))
  np.testing.assert_array_equal(grid[0, 0], [128, 255, 0])


def test_an_eigenvector_of_zeros():
  grid = pictures.eigenvector_grid(np.zeros((1, 56 * 56)), None, (56, 56, 1))
  assert (grid == 255).all()
