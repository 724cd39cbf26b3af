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
r"""Convergence and its rates, against the theory of each method.

The bilinear game xy has eigenvalues ±i: with a rule linear in the gradient a
step multiplies by roots of a polynomial in ih, whose modulus is the rate. Near
its fixed point the Dirac GAN has eigenvalues ±ic, and the rates are those at
hc.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from differentiable_games import adjustments
from differentiable_games import diagnostics
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import solved_adjustments
from differentiable_games import tableaus
from differentiable_games import toy_games
from differentiable_games import unrolling
from tests import marks

BILINEAR = toy_games.bilinear(np.ones((1, 1)))
DIRAC_GANS = {
  'saturating': (toy_games.dirac_gan(True), 1 / 2),
  'non_saturating': (toy_games.dirac_gan(False), 1 / 2),
  'wasserstein': (toy_games.dirac_wgan(), 1.0),
  'kl': (toy_games.dirac_f_gan('kl'), np.exp(-1)),
  'reverse_kl': (toy_games.dirac_f_gan('reverse_kl'), 1.0),
  'pearson': (toy_games.dirac_f_gan('pearson'), 1.0),
  'squared_hellinger': (toy_games.dirac_f_gan('squared_hellinger'), 1.0),
  'jensen_shannon': (toy_games.dirac_f_gan('jensen_shannon'), 1 / 2),
}


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _field(losses):
  return lambda params: game.simultaneous_gradient(losses, params)


def _sgd(rate, momentum=None):
  return (optax.sgd(rate, momentum),) * 2


def _largest_root(*coefficients):
  return np.abs(np.roots(coefficients)).max()


def _simultaneous(h):
  return rules.simultaneous(_sgd(h))


def _two_in_turns(h):
  return rules.alternating(_sgd(h), (0, 1))


# By name: the rule at a learning rate h, its period, and the modulus of what a
# step multiplies by where J has the eigenvalues ±ih.
RULES = {
  'simultaneous': (_simultaneous, 1, lambda h: np.sqrt(1 + h**2)),
  'alternating': (
    _two_in_turns,
    1,
    lambda h: _largest_root(1, h**2 - 2, 1),
  ),
  'extragradient': (
    lambda h: rules.extragradient(_sgd(h)),
    1,
    lambda h: np.sqrt((1 - h**2) ** 2 + h**2),
  ),
  'extrapolation_from_the_past': (
    lambda h: rules.extrapolation_from_the_past(_sgd(h)),
    1,
    lambda h: _largest_root(1, 2j * h - 1, -1j * h),
  ),
  'optimistic': (
    lambda h: rules.simultaneous((optax.optimistic_gradient_descent(h),) * 2),
    1,
    lambda h: _largest_root(1, 2j * h - 1, -1j * h),
  ),
  'negative_momentum_alternating': (
    lambda h: rules.alternating(_sgd(h, -0.5), (0, 1)),
    1,
    # (z - 1)² (z - β)² + h² z³, Gidel et al. 2019.
    lambda h: _largest_root(1, -1 + h**2, -0.75, 0.5, 0.25),
  ),
  'negative_momentum_simultaneous': (
    lambda h: rules.simultaneous(_sgd(h, -0.5)),
    1,
    # z² - (1 + β - ih) z + β.
    lambda h: _largest_root(1, 1j * h - 0.5, -0.5),
  ),
  'lookahead': (
    lambda h: rules.lookahead(_simultaneous(h), [6], 0.4),
    6,
    lambda h: np.abs(0.6 + 0.4 * (1 - 1j * h) ** 6) ** (1 / 6),
  ),
  'nested_lookahead': (
    lambda h: rules.lookahead(_simultaneous(h), [3, 6], 0.4),
    6,
    lambda h: (
      np.abs(0.6 + 0.4 * (0.6 + 0.4 * (1 - 1j * h) ** 3) ** 2) ** (1 / 6)
    ),
  ),
  'runge_kutta_2': (
    lambda h: rules.runge_kutta(_sgd(h), tableaus.RUNGE_KUTTA[2], h),
    1,
    lambda h: np.sqrt(1 + h**4 / 4),
  ),
  'runge_kutta_4': (
    lambda h: rules.runge_kutta(_sgd(h), tableaus.RUNGE_KUTTA[4], h),
    1,
    lambda h: np.sqrt(1 - h**6 / 72 + h**8 / 576),
  ),
}


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize('name', RULES)
def test_rates_on_the_bilinear_game(name):
  make, period, expected = RULES[name]
  origin = (jnp.zeros(1), jnp.zeros(1))
  for h in (0.1, 0.4, 0.8):
    rate = diagnostics.convergence_rate(
      make(h), _field(BILINEAR), origin, period
    )
    np.testing.assert_allclose(rate, expected(h), rtol=1e-9)


@pytest.mark.parametrize('name', RULES)
def test_rates_are_those_of_long_runs(name):
  make, _, expected = RULES[name]
  h, num_steps = 0.4, 1200
  points = rules.trajectory(
    make(h), _field(BILINEAR), (jnp.ones(1), jnp.zeros(1)), num_steps
  )
  distances = np.linalg.norm(np.hstack(points), axis=1)
  # Half the run is a multiple of all periods.
  rate = (distances[-1] / distances[num_steps // 2]) ** (2 / num_steps)
  # Distances swing by a bounded factor within a turn.
  np.testing.assert_allclose(rate, expected(h), rtol=3e-3)


@pytest.mark.parametrize(
  ('name', 'threshold'),
  [
    ('extragradient', 1.0),
    ('extrapolation_from_the_past', 1 / np.sqrt(3)),
    ('optimistic', 1 / np.sqrt(3)),
    ('runge_kutta_4', np.sqrt(8)),
  ],
)
def test_stable_below_a_known_learning_rate(name, threshold):
  make, period, _ = RULES[name]
  origin = (jnp.zeros(1), jnp.zeros(1))
  below, above = (
    diagnostics.convergence_rate(
      make(factor * threshold), _field(BILINEAR), origin, period
    )
    for factor in (0.99, 1.01)
  )
  assert below < 1 < above


@pytest.mark.parametrize('momentum', [-0.9, -0.5, -0.1, 0.0, 0.5])
def test_simultaneous_momentum_never_converges(momentum):
  """Gidel et al. 2019, theorem 5."""
  origin = (jnp.zeros(1), jnp.zeros(1))
  rule = rules.simultaneous(_sgd(0.2, momentum))
  assert diagnostics.convergence_rate(rule, _field(BILINEAR), origin) > 1


@pytest.mark.parametrize(
  'name', marks.slow_but(['saturating', 'reverse_kl'], DIRAC_GANS)
)
def test_rates_near_the_fixed_point_of_dirac_gans(name):
  losses, c = DIRAC_GANS[name]
  origin = (jnp.zeros(()), jnp.zeros(()))
  h = 0.3
  for rule_name in ('simultaneous', 'alternating', 'extragradient'):
    make, period, expected = RULES[rule_name]
    rate = diagnostics.convergence_rate(make(h), _field(losses), origin, period)
    np.testing.assert_allclose(rate, expected(h * c), rtol=1e-7)


@pytest.mark.quick_cases(11)
@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('gan', ['saturating', 'jensen_shannon'])
def test_dirac_gans_converge_where_the_theory_says(name, gan):
  """Not only near the fixed point."""
  losses, c = DIRAC_GANS[gan]
  make, _, expected = RULES[name]
  h, num_steps = 0.8, 3000
  points = rules.trajectory(
    make(h), _field(losses), (jnp.array(0.5), jnp.array(0.3)), num_steps
  )
  distances = np.hypot(*points)
  growth = distances[-1] / distances[0]
  # What the rate near the fixed point makes of so many steps.
  expected_growth = expected(h * c) ** num_steps
  if expected_growth < 1e-3:
    assert growth < 1e-2
  elif expected_growth > 10:
    assert growth > 2
  else:
    np.testing.assert_allclose(growth, expected_growth, rtol=0.2)


# Adjusted fields of a game at a learning rate h, and the eigenvalue of their
# matrix where J has the eigenvalues ±ic and no symmetric part.
ADJUSTED = {
  'sga': (
    lambda g, h: lambda p: adjustments.symplectic_gradient(g, p, 0.3),
    lambda h, c: 0.3 * c**2 + 1j * c,
  ),
  'consensus': (
    lambda g, h: lambda p: adjustments.consensus(g, p, 0.3),
    lambda h, c: 0.3 * c**2 + 1j * c,
  ),
  'lola': (
    lambda g, h: lambda p: adjustments.lola(g, p, (0.3, 0.3)),
    lambda h, c: 0.3 * c**2 + 1j * c,
  ),
  'lola_anticipating': (
    lambda g, h: lambda p: adjustments.lola(g, p, (0.3, 0.3), True),
    lambda h, c: 0.6 * c**2 + 1j * c,
  ),
  'competitive': (
    lambda g, h: (
      lambda p: solved_adjustments.competitive(g, p, (h, h), tolerance=1e-12)
    ),
    lambda h, c: 1j * c / (1 + 1j * h * c),
  ),
  # J - (h / 2) J²: as Heun's rule, it still drifts outwards, at fourth order.
  'drift_cancelled': (
    lambda g, h: (
      lambda p: adjustments.drift_adjusted(g, p, [[0, -h / 2], [-h / 2, 0]])
    ),
    lambda h, c: h / 2 * c**2 + 1j * c,
  ),
  # The second player's loss -c x_k y, x_k = x - k s c y.
  'unrolled': (
    lambda g, h: _field(
      (g[0], unrolling.unrolled_loss(g, 1, 0, optax.sgd(0.1), 5))
    ),
    lambda h, c: np.roots([1, -(c**2), c**2])[0],
  ),
}


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
  # To differentiate its solver takes ten seconds to compile.
  'name',
  marks.slow_but(ADJUSTED.keys() - {'competitive'}, ADJUSTED),
)
@pytest.mark.parametrize(
  'gan', [None, pytest.param('saturating', marks=pytest.mark.slow)]
)
def test_rates_of_adjusted_fields(name, gan):
  """On the bilinear game, and near the fixed point of a Dirac GAN."""
  make, eigenvalue = ADJUSTED[name]
  losses, c = DIRAC_GANS[gan] if gan else (BILINEAR, 1.0)
  shape = () if gan else (1,)
  origin = (jnp.zeros(shape), jnp.zeros(shape))
  for h in (0.5,) if gan else (0.1, 0.5):
    rate = diagnostics.convergence_rate(
      _simultaneous(h), make(losses, h), origin
    )
    expected = np.abs(1 - h * eigenvalue(h, c))
    np.testing.assert_allclose(rate, expected, rtol=1e-7)
    assert (rate < 1) == (name != 'drift_cancelled')


@pytest.mark.quick_cases(5)
@pytest.mark.parametrize('name', ADJUSTED)
@pytest.mark.parametrize('gan', [None, 'saturating'])
def test_rates_of_adjusted_fields_are_those_of_long_runs(name, gan):
  make, eigenvalue = ADJUSTED[name]
  losses, c = DIRAC_GANS[gan] if gan else (BILINEAR, 1.0)
  h, num_steps = 0.4, 300
  # So near the fixed point the Dirac GAN is bilinear to 1e-6.
  shape = () if gan else (1,)
  start = (jnp.full(shape, 1e-3), jnp.zeros(shape))
  points = rules.trajectory(_simultaneous(h), make(losses, h), start, num_steps)
  distances = np.linalg.norm([np.ravel(own) for own in points], axis=0)
  rate = (distances[-1] / distances[num_steps // 2]) ** (2 / num_steps)
  # Distances swing by a bounded factor within a turn.
  np.testing.assert_allclose(rate, np.abs(1 - h * eigenvalue(h, c)), rtol=3e-3)


def test_competitive_is_stable_at_any_learning_rate():
  """The implicit step: 1 / |1 + ih|, where explicit methods diverge."""
  origin = (jnp.zeros(1), jnp.zeros(1))
  for h in (1.0, 10.0):
    rate = diagnostics.convergence_rate(
      _simultaneous(h),
      lambda p, h=h: solved_adjustments.competitive(
        BILINEAR, p, (h, h), zero_sum=True, tolerance=1e-12
      ),
      origin,
    )
    np.testing.assert_allclose(rate, 1 / np.sqrt(1 + h**2), rtol=1e-7)


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize('name', RULES)
def test_rules_may_be_mapped_over_starts_and_learning_rates(name):
  make, _, _ = RULES[name]
  losses, _ = DIRAC_GANS['non_saturating']

  def run(h, phi):
    return rules.trajectory(
      make(h), _field(losses), (phi, jnp.array(0.3)), num_steps=4
    )

  hs, starts = jnp.array([0.1, 0.2]), jnp.array([1.0, 2.0])
  both = jax.jit(jax.vmap(run))(hs, starts)
  second = jax.tree.map(lambda leaf: leaf[1], both)
  np.testing.assert_allclose(
    np.stack(second), np.stack(run(hs[1], starts[1])), atol=1e-12
  )
