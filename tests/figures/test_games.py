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
"""What the figures of toy games show, at a small size."""

import jax
from matplotlib.backends import backend_agg
import numpy as np
import pytest

from figures import linear_games
from figures import normal_form_games


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _closed_form(name, h, order):
  """The modified flow's matrix: A - (h/2) A², or with a turned sign."""
  if name == 'Dirac GAN':
    a = np.array([[0, -0.5], [0.5, 0]])
  else:
    epsilon = float(name.rpartition(' ')[-1])
    a = np.array([[-epsilon, 1], [-1, -epsilon]])
  signs = np.ones((2, 2))
  if order is not None:
    signs[1, 0] = -1  # The second player has seen the first one's move.
  return a - h / 2 * (signs * a) @ a


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize('order', linear_games.ORDERS.values())
@pytest.mark.parametrize('name', linear_games.CASES)
def test_predictions(name, order):
  case = linear_games.CASES[name]
  predicted = linear_games.predict(case, order)
  expected = _closed_form(name, case.learning_rate, order)
  np.testing.assert_allclose(predicted.trace, np.trace(expected), atol=1e-9)
  np.testing.assert_allclose(
    predicted.determinant, np.linalg.det(expected), atol=1e-9
  )
  # The steps do what the modified flow predicts.
  does = {1: 'diverges', 0: 'turns', -1: 'converges'}
  assert predicted.verdict == does[np.sign(round(predicted.rate - 1, 9))]


def test_figures_of_the_published_game():
  """Recorded: at ε = 0.09 drift alone makes simultaneous descent diverge."""
  case = linear_games.CASES['linear game, ε = 0.09']
  traces = [
    linear_games.predict(case, order).trace
    for order in linear_games.ORDERS.values()
  ]
  np.testing.assert_allclose(traces, [0.018, -0.182], atol=5e-4)


def _draws(figure):
  canvas = backend_agg.FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba()).std() > 0


@pytest.mark.slow
def test_linear_games_are_drawn():
  case = linear_games.CASES['Dirac GAN']._replace(num_steps=5)
  assert _draws(linear_games.draw({'Dirac GAN': case}))


@pytest.mark.slow
def test_normal_form_games():
  case = normal_form_games.make_cases()['matching pennies']
  case = case._replace(num_steps=150)
  results = {
    name: normal_form_games.measure(case, method)
    for name, method in normal_form_games.METHODS.items()
  }
  found = {
    name
    for name, (distances, exploitabilities) in results.items()
    if max(distances[-1], exploitabilities[-1]) < 0.2
  }
  # Consensus is drawn to pure strategies, where softmax has no gradient.
  assert set(results) - found == {
    'simultaneous',
    'alternating',
    'drift cancelled',
    'Runge-Kutta 4',
    'consensus, aligned',
  }
  assert _draws(normal_form_games.draw({'matching pennies': results}))
