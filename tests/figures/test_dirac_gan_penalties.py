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
"""Which methods converge on the Dirac GAN, in theory and in steps."""

import jax
import jax.numpy as jnp
from matplotlib.backends import backend_agg
import numpy as np
import pytest

from differentiable_games import diagnostics
from figures import dirac_gan_penalties as figure
from tests import marks

LINEAR = [name for name, m in figure.METHODS.items() if m.curvatures]
CONVERGENT = {
  'GAN, instance noise',
  'GAN, $R_1$',
  'GAN, $R_2$',
  'GAN, zero-centred',
  'WGAN, $R_1$',
  'GAN, consensus',
}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize('order', figure.ORDERS)
@pytest.mark.parametrize(
  'name',
  marks.slow_but(
    ['GAN', 'WGAN, clipped, $n_d$ = 5', 'GAN, instance noise', 'GAN, $R_1$'],
    LINEAR,
  ),
)
def test_predictions_are_the_steps_own_linear_map(name, order):
  method = figure.METHODS[name]
  origin = (jnp.zeros(()), jnp.zeros(()))
  np.testing.assert_allclose(
    figure.predict(method, order),
    diagnostics.convergence_rate(*figure.rule_and_field(method, order), origin),
    rtol=1e-9,
  )


def test_eigenvalues_are_those_of_the_paper():
  """Lemmas 2.2, 3.3 and 4.2: ± f'(0) i, and -γ/2 ± √(γ²/4 - f'(0)²)."""

  def found(name):
    return figure.continuous_eigenvalues(figure.METHODS[name])

  np.testing.assert_allclose(found('GAN'), [0.5j, -0.5j], atol=1e-12)
  np.testing.assert_allclose(found('WGAN'), [1j, -1j], atol=1e-12)
  with_r1 = -0.25 + 1j * np.sqrt(0.25 - 0.0625) * np.array([1, -1])
  np.testing.assert_allclose(found('GAN, $R_1$'), with_r1, atol=1e-12)
  assert found('WGAN-GP') is None


@pytest.mark.parametrize(
  'name',
  marks.slow_but(
    ['GAN', 'WGAN-GP', 'GAN, $R_1$', 'non-saturating GAN'], figure.METHODS
  ),
)
def test_which_methods_converge(name):
  for order in figure.ORDERS:
    found = figure.measure(figure.METHODS[name], order)
    verdict = 'does not converge'
    if name in CONVERGENT:
      verdict = 'converges'
    elif (name, order) == ('non-saturating GAN', 'alternating'):
      verdict = 'ever more slowly'
    assert found['verdict'] == verdict
    if name not in LINEAR:
      assert found['measured'] is None
      assert found['last_distances'][0] > 1
    else:
      # The distance swings by a share of itself, over hundreds of steps.
      np.testing.assert_allclose(
        found['measured'], found['predicted'], atol=3e-4
      )


@pytest.mark.slow
def test_the_figure_is_drawn():
  found = {'predicted': 0.95, 'measured': 0.951, 'verdict': 'converges'}
  results = {
    name: dict.fromkeys(figure.ORDERS, found) for name in figure.METHODS
  }
  canvas = backend_agg.FigureCanvasAgg(figure.draw(results))
  canvas.draw()
  assert np.asarray(canvas.buffer_rgba()).std() > 0
