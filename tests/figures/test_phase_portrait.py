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
"""The page of phase portraits: its functions, and how it works."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from figures import _javascript
from figures import phase_portrait
from tests.dd_two_player_games import browser

pytestmark = pytest.mark.optimised

TOYS, METHODS = phase_portrait.TOYS, phase_portrait.METHODS


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def test_functions_are_written():
  def function(x, y):
    both = x * y
    return jnp.where(both > 2, both, -3.0 * both), 0.0 * x + 1.0 * y

  assert _javascript.write_function(function, 2) == (
    '(x0,x1)=>{const v0=x0*x1,v1=v0>2,v2=(-3)*v0,v3=v1?v0:v2;return[v3,x1]}'
  )


def test_what_cannot_be_written_is_refused():
  with pytest.raises(NotImplementedError, match='of arrays'):
    _javascript.write_function(lambda x: jnp.stack([x, x]).sum(), 1)
  with pytest.raises(NotImplementedError, match='erf has no JavaScript'):
    _javascript.write_function(jax.scipy.special.erf, 1)


def test_shipped_page_has_today_s_script_and_choices():
  """Its functions are compared in a browser."""
  page = phase_portrait.OUTPUT.read_text()
  assert phase_portrait.SCRIPT.read_text() in page
  description = phase_portrait.describe(TOYS, METHODS)
  assert json.dumps(description, ensure_ascii=False) in page


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  if browser.find() is None:
    pytest.skip('there is no Chromium')
  opened = browser.Browser(str(tmp_path_factory.mktemp('profile')))
  opened.open(phase_portrait.OUTPUT.as_uri(), 1280, False)
  yield opened
  opened.close()


def _random_coefficients(random, toy, method):
  """Learning rates, the method's and the game's; a list each."""
  return (
    list(random.uniform(0.2, 1, 2) * toy.max_rate),
    [random.uniform(s.low, s.high) for s in method.sliders],
    [random.uniform(s.low, s.high) for s in toy.sliders],
  )


# Evaluates a function, and its derivative beside central differences.
EVALUATE = """(([game, name, size, points]) => {
  const f = FUNCTIONS[game][name], g = FUNCTIONS[game][name + '_derivative'];
  return points.map(point => {
    const change = point.slice(0, size).map((_, k) => Math.cos(k));
    const moved = h => f(...point.map((v, k) => v + h * (change[k] ?? 0)));
    const [above, below] = [moved(1e-5), moved(-1e-5)];
    return [f(...point), g(...change, ...point),
      above.map((v, k) => (v - below[k]) / 2e-5)];
  });
})"""


@pytest.mark.slow
@pytest.mark.parametrize('name', TOYS)
def test_functions_of_the_page_are_the_library_s(page, name):
  random = np.random.default_rng(0)
  toy = TOYS[name]
  for key, traced in phase_portrait.trace_all(toy, METHODS).items():
    method = METHODS.get(key.rpartition('_')[0])
    points = []
    for _ in range(3):
      rates, ways, games = _random_coefficients(
        random, toy, method or phase_portrait.Method('', '', None)
      )
      state = random.uniform(-1, 1, traced.size) * toy.extent
      points.append([*state, *rates, *ways, *games])
    expected = np.stack(jax.vmap(traced.function)(*np.transpose(points)), -1)
    found = page.run(
      f'{EVALUATE}({json.dumps([name, key, traced.size, points])})'
    )
    values, derivatives, differences = zip(*found, strict=True)
    np.testing.assert_allclose(
      values, expected, rtol=1e-9, atol=1e-9, err_msg=key
    )
    scale = 1 + np.abs(derivatives).max()
    np.testing.assert_allclose(
      derivatives, differences, atol=1e-6 * scale, err_msg=key
    )


# The distance of one step to a flow, at a learning rate and at half of it.
ERRORS = """(([game, method, point, rate, own, others]) => [1, 0.5].map(h => {
  const common = [h * rate, h * rate * 0.7];
  const modified = [...common, ...own, ...others];
  const size = DESCRIPTION.methods[method].size;
  const state = [...point, ...Array(size - 2).fill(0)];
  const end = FUNCTIONS[game][method + '_step'](...state, ...modified);
  const field = FUNCTIONS[game][method + '_modified'];
  const flow = field ? followFlow(field, point, modified, 1)
    : followFlow(FUNCTIONS[game].flow, point, [...common, ...others], 1);
  const [x, y] = flow.at(-1);
  return Math.hypot(end[0] - x, end[1] - y);
}))"""


@pytest.mark.slow
@pytest.mark.parametrize('name', TOYS)
def test_steps_follow_their_modified_flow_to_third_order(page, name):
  random = np.random.default_rng(1)
  toy = TOYS[name]
  rate = 0.01 * toy.max_rate
  for key, method in METHODS.items():
    _, own, others = _random_coefficients(random, toy, method)
    point = list(random.uniform(0.2, 0.5, 2) * toy.extent)
    found = page.run(
      f'{ERRORS}({json.dumps([name, key, point, rate, own, others])})'
    )
    slope = np.log2(found[0] / found[1])
    if key == 'runge_kutta':
      assert found[0] < 1e-9
    elif METHODS[key].note:  # What remembers begins by descent.
      assert slope > 1.7, (key, found)
    else:
      assert slope > 2.7, (key, found)


@pytest.mark.slow
def test_a_flow_of_the_page_is_its_exponential(page):
  rates, own, start = [0.3, 0.2], [0.4, -0.1, 1.5], [0.7, -1.1]
  end = page.run(
    f'followFlow(FUNCTIONS.quadratic.flow, {start}, {rates + own}, 20).at(-1)'
  )
  a, b, r = own
  matrix = np.diag(rates) @ np.array([[-a, r], [-r, -b]])
  expected = scipy.linalg.expm(20 * matrix) @ start
  np.testing.assert_allclose(end, expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize('size', [2, 4])
def test_eigenvalues_of_the_page(page, size):
  matrices = np.random.default_rng(2).normal(size=(20, size, size))
  found = page.run(f'{matrices.tolist()}.map(findEigenvalues)')
  for pairs, matrix in zip(found, matrices, strict=True):
    values = [complex(*pair) for pair in pairs]
    expected = np.linalg.eigvals(matrix)
    for value in expected:
      assert np.abs(values - value).min() < 1e-8


CHOOSE = """(([id, value, event]) => {{
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(event, {{bubbles: true}}));
}})({})"""


def _choose(page, control, value, event='input'):
  page.run(CHOOSE.format(json.dumps([control, value, event])))


def _wait_for(page, condition):
  deadline = time.monotonic() + 60
  while not page.run(condition):
    assert time.monotonic() < deadline, condition
    time.sleep(0.05)


PICTURE = 'document.getElementById("plane").toDataURL()'


def _factor(page, value):
  shown = 'document.getElementById("steps-factor").textContent'
  _wait_for(page, f'{shown} === "{value}"')


@pytest.mark.slow
@pytest.mark.parametrize(('width', 'dark'), [(1280, False), (400, True)])
def test_page_in_a_browser(page, width, dark):
  del page.errors[:], page.requests[:]
  page.open('about:blank', width, dark)
  page.open(phase_portrait.OUTPUT.as_uri(), width, dark)
  # The Dirac GAN by simultaneous steps of 0.4: √(1 + 0.2²).
  _factor(page, '1.01980')
  _choose(page, 'rate', 0.8)
  _factor(page, '1.07703')
  _choose(page, 'method-1', -1)  # Interaction cancelled: √(1 + 0.4⁴/4).
  _factor(page, '1.00319')
  before = page.run(PICTURE)
  _choose(page, 'count', 200)
  _wait_for(page, f'{PICTURE} !== {json.dumps(before)}')
  _choose(page, 'method', 'alternating', 'change')
  _factor(page, '1.00000')
  verdict = 'document.getElementById("steps-verdict").textContent'
  assert page.run(verdict) == 'neither'
  _choose(page, 'game-0', 0.5)  # R1 draws in.
  _wait_for(page, f'{verdict} === "drawn in"')
  # What is chosen is kept in the address.
  _choose(page, 'game-0', 0.5, 'change')
  address = page.run('location.href')
  factor = page.run('document.getElementById("steps-factor").textContent')
  page.open('about:blank', width, dark)
  page.open(address, width, dark)
  _factor(page, factor)
  # Every game by every method, drawn.
  for name in TOYS:
    _choose(page, 'game', name, 'change')
    for method in METHODS:
      _choose(page, 'method', method, 'change')
      assert page.run('Number.isFinite(compute().steps.factor)')
  assert page.run('document.documentElement.scrollWidth') <= width
  assert page.errors == []
  assert {url.partition('#')[0] for url in page.requests} <= {
    phase_portrait.OUTPUT.as_uri(),
    'about:blank',
  }
