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
"""Tree helpers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import utils

TREE1 = {'a': np.array([1.0, 2.0]), 'b': {'w': np.array([[3.0]])}}
TREE2 = {'a': np.array([-1.0, 0.5]), 'b': {'w': np.array([[4.0]])}}


def _assert_equal(tree, a, w):
  assert jax.tree.structure(tree) == jax.tree.structure(TREE1)
  np.testing.assert_array_equal(tree['a'], a)
  np.testing.assert_array_equal(tree['b']['w'], w)


def test_products_and_norms():
  assert utils.tree_dot_product(TREE1, TREE2) == 12.0
  assert utils.tree_square_norm(TREE1) == 14.0


def test_arithmetic():
  _assert_equal(utils.tree_add(TREE1, TREE2), [0.0, 2.5], [[7.0]])
  _assert_equal(utils.tree_diff(TREE1, TREE2), [2.0, 1.5], [[-1.0]])
  _assert_equal(utils.tree_mul(TREE1, -2.0), [-2.0, -4.0], [[-6.0]])
  _assert_equal(
    utils.add_trees_with_coeff(acc=TREE1, mul=TREE2, coeff=2.0),
    [-1.0, 3.0],
    [[11.0]],
  )


@pytest.mark.parametrize(
  ('coeffs', 'expected'),
  [((0, 0.0), False), ((), False), ((0.0, -1), True), ((0.0, 1e-9), True)],
)
def test_any_non_zero(coeffs, expected):
  assert utils.any_non_zero(coeffs) is expected


def test_any_non_zero_takes_traced_coefficients_as_non_zero():
  seen = []
  jax.jit(lambda c: seen.append(utils.any_non_zero((0.0, c))))(0.0)
  assert seen == [True]


def test_batch_l2_norms():
  x = jnp.array([[[3.0], [4.0]], [[0.0], [0.0]]])
  np.testing.assert_allclose(
    utils.batch_l2_norms(x), np.sqrt([25 + 1e-5, 1e-5]), rtol=1e-6
  )
  np.testing.assert_allclose(
    utils.batch_l2_norms(x, eps=11.0), [6.0, np.sqrt(11)], rtol=1e-6
  )


def test_average_dict_values():
  averages = utils.average_dict_values({'a': np.array([1.0, 2.0]), 'b': 4.0})
  assert averages == {'a': 1.5, 'b': 4.0}
