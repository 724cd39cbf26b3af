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
"""Drift coefficients of both conventions."""

import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan

DISC_FIRST = drift_utils.PlayerOrder.disc_first
GEN_FIRST = drift_utils.PlayerOrder.gen_first
RATES = gan.GANTuple(disc=0.3, gen=0.1)
ONCE = gan.GANTuple(1, 1)


def _check(coeffs, disc, gen):
  """Compares with pairs of self_norm and other_dot_prod."""
  np.testing.assert_allclose(coeffs.disc, (*disc, 0.0), atol=1e-7)
  np.testing.assert_allclose(coeffs.gen, (*gen, 0.0), atol=1e-7)
  # A Python zero: what it multiplies is never computed.
  assert isinstance(coeffs.disc.other_norm, float)
  assert isinstance(coeffs.gen.other_norm, float)


def test_order_of_the_terms():
  terms = drift_utils.PlayerRegularizationTerms(1, 2, 3)
  assert (terms.self_norm, terms.other_dot_prod, terms.other_norm) == (1, 2, 3)


@pytest.mark.parametrize('order', [DISC_FIRST, GEN_FIRST])
def test_published_simultaneous(order):
  coeffs = drift_utils.get_dd_coeffs(order, True, RATES, ONCE)
  _check(coeffs, disc=(0.15, 0.15), gen=(0.05, 0.05))


def test_published_alternating():
  # Second player: -(s/2)(2 f/s - 1) = s/2 - f.
  updates = gan.GANTuple(disc=3, gen=2)
  coeffs = drift_utils.get_dd_coeffs(DISC_FIRST, False, RATES, updates)
  _check(coeffs, disc=(0.3 / 6, 0.15), gen=(0.1 / 4, 0.05 - 0.3))
  coeffs = drift_utils.get_dd_coeffs(GEN_FIRST, False, RATES, updates)
  _check(coeffs, disc=(0.3 / 6, 0.15 - 0.1), gen=(0.1 / 4, 0.05))


def test_joint_flow_simultaneous():
  coeffs = drift_utils.joint_flow_coeffs(DISC_FIRST, True, RATES, ONCE)
  _check(coeffs, disc=(0.15, 0.05), gen=(0.05, 0.15))


def test_joint_flow_alternating():
  updates = gan.GANTuple(disc=3, gen=2)
  coeffs = drift_utils.joint_flow_coeffs(DISC_FIRST, False, RATES, updates)
  _check(coeffs, disc=(0.15, 0.1), gen=(0.05, -0.45))
  coeffs = drift_utils.joint_flow_coeffs(GEN_FIRST, False, RATES, updates)
  _check(coeffs, disc=(0.15, -0.1), gen=(0.05, 0.45))


@pytest.mark.parametrize('simultaneous', [True, False])
@pytest.mark.parametrize('order', [DISC_FIRST, GEN_FIRST])
def test_conventions_agree_for_equal_rates_and_one_update(order, simultaneous):
  args = order, simultaneous, gan.GANTuple(0.2, 0.2), ONCE
  published = drift_utils.get_dd_coeffs(*args)
  joint = drift_utils.joint_flow_coeffs(*args)
  np.testing.assert_allclose(published, joint)


@pytest.mark.parametrize('rule', ['get_dd_coeffs', 'joint_flow_coeffs'])
def test_a_schedule_may_reach_zero(rule):
  rates = gan.GANTuple(jnp.array(0.3), jnp.array(0.0))
  for order in (DISC_FIRST, GEN_FIRST):
    coeffs = getattr(drift_utils, rule)(order, False, rates, ONCE)
    assert np.isfinite(np.array(coeffs)).all()
