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
"""The three ways of EigenGame's benchmark find the same subspace."""

import pathlib
import sys

import numpy as np
import pytest

from eigengame_unloaded import metrics

BENCHMARKS = pathlib.Path(__file__).parents[2] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))  # As its scripts find each other.

import eigengame as benchmark  # noqa: E402

pytestmark = pytest.mark.optimised


def test_power_law():
  examples = benchmark.power_law(dim=8, num_examples=100_000)
  covariance = examples.T.astype(np.float64) @ examples / len(examples)
  values = np.linalg.eigvalsh(covariance)[::-1]
  np.testing.assert_allclose(values, 1 / np.arange(1, 9), rtol=0.03)


@pytest.mark.slow
def test_ways_reach_the_target():
  examples = benchmark.power_law(dim=96, num_examples=1024)
  first, truth = benchmark.by_eigh(examples)
  covariance = examples.T.astype(np.float64) @ examples / len(examples)
  exact = metrics.exact(covariance, benchmark.NUM_EIGENVECTORS)
  np.testing.assert_allclose(truth.eigenvalues, exact.eigenvalues, rtol=1e-3)
  players = benchmark.by_eigengame(
    examples, exact, learning_rate=1.0, batch_size=512, chunk=100
  )
  # With all components nothing is lost between minibatches.
  pca = benchmark.by_incremental_pca(examples, exact, 96, batch_size=512)
  for way in (first, players, pca):
    assert way['subspace_distance'] <= benchmark.TARGET
    assert 0 < way['cpu_seconds']
  assert players['examples'] == 512 * players['steps']
  assert pca['examples'] == 1024
