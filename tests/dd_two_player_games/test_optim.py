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
"""Tests of the published class of Runge-Kutta rules."""

import numpy as np
import pytest

from dd_two_player_games import optim


def _linear_field(seen):
  def grad_fn(params, offset, name):
    seen.append((params, offset, name))
    return 2.0 * params + offset, f'aux {name}'

  return grad_fn


def test_runge_kutta_4_combines_stages():
  seen = []
  rule = optim.RungeKutta(_linear_field(seen), 4)
  h, p = 0.1, np.float64(1.0)
  grads, aux = rule.grad(p, h, [1.0, 2.0, 3.0, 4.0], 'abcd')
  k1 = 2 * p + 1
  k2 = 2 * (p - h / 2 * k1) + 2
  k3 = 2 * (p - h / 2 * k2) + 3
  k4 = 2 * (p - h * k3) + 4
  np.testing.assert_allclose(grads, k1 / 6 + k2 / 3 + k3 / 3 + k4 / 6)
  assert aux == 'aux a'
  assert [call[1:] for call in seen] == [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')]
  assert rule.runge_kutta_order == 4


def test_runge_kutta_2_with_the_same_arguments():
  seen = []
  rule = optim.RungeKutta(_linear_field(seen), 2, same_args_to_grad_calls=True)
  grads, _ = rule.grad(np.float64(1.0), 0.1, [1.0, 50.0], ['a', 'b'])
  assert [call[1:] for call in seen] == [(1.0, 'a'), (1.0, 'a')]
  np.testing.assert_allclose(grads, (3.0 + 2 * 0.7 + 1) / 2)


def test_runge_kutta_1_is_the_gradient():
  grads, aux = optim.RungeKutta(_linear_field([]), 1).grad(3.0, 0.1, [1], ['a'])
  assert (grads, aux) == (7.0, 'aux a')


@pytest.mark.parametrize('order', [0, 3, 5])
def test_runge_kutta_of_another_order_is_an_error(order):
  with pytest.raises(ValueError, match=rf'{order} is not one of \[1, 2, 4\]'):
    optim.RungeKutta(_linear_field([]), order)
