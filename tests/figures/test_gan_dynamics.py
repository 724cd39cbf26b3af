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
"""Tests for the figures of a GAN's dynamics."""

import numpy as np
import pytest

from figures import gan_dynamics

pytestmark = pytest.mark.slow


def test_quickly():
  size = gan_dynamics.SIZES['quick']
  results = {
    method: {
      seed: gan_dynamics.measure_run(method, seed, size) for seed in size.seeds
    }
    for method in gan_dynamics.METHODS
  }
  for of_seeds in results.values():
    assert of_seeds[0]['step'] == [10, 20]
  plain, cancelled = (of_seeds[0] for of_seeds in results.values())
  assert plain['gen/other_dot_prod/share'] == [0, 0]
  assert min(cancelled['gen/other_dot_prod/share']) > 0
  drift = gan_dynamics.draw_dynamics(results)
  assert [axes.get_title() for axes in drift.axes][0].startswith('distance')
  spectrum = gan_dynamics.draw_spectrum(results)
  low, _ = spectrum.axes[0].get_xlim()
  assert low < 0
  assert np.isfinite(low)
