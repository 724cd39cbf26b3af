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
"""Tests for the figure of losses' sensitivity to hyper-parameters."""

import itertools

from matplotlib.backends import backend_agg
import numpy as np
import pytest

from figures import sensitivity
from run_sweeps import declaration
from run_sweeps import results as sweep_results

SCORES = [0.5, 0.1, 0.9, 0.3, 0.3]


@pytest.mark.parametrize('k', range(1, 6))
@pytest.mark.parametrize('more', [True, False])
def test_the_best_of_k_runs_is_that_of_all_choices(k, more):
  best = [(max if more else min)(c) for c in itertools.combinations(SCORES, k)]
  mean, low, high = sensitivity.best_of(SCORES, k, more)
  assert mean == pytest.approx(np.mean(best))
  assert low <= mean <= high
  # A percentile is the first of the ordered, from the best on.
  sign = -1 if more else 1
  expected = sign * np.percentile(
    sign * np.array(best), (5, 95), method='inverted_cdf'
  )
  np.testing.assert_allclose((low, high), sorted(expected))


@pytest.fixture(scope='module', params=['mixture', 'images'])
def plan(request, tmp_path_factory):
  data = request.param
  sweep = sensitivity.declare(data, sensitivity.SIZES['quick'][data])
  folder = str(tmp_path_factory.mktemp('runs'))
  return data, declaration.make_plan(sweep, data, folder)


def test_all_losses_have_one_budget_and_the_same_draws(plan):
  data, made = plan
  drawn = {}
  for cell in made.cells:
    values = sweep_results.describe_drawn(cell)
    has_penalty = values.pop('penalties.discriminator', None) is not None
    assert has_penalty == ('penalty' in cell.levels['loss'])
    drawn.setdefault(cell.levels['loss'], []).append(values)
    own = cell.config.experiment_kwargs.config
    assert own.param_transformers.discriminator is None
    cancelled = own.training.grad_regularizes.dd_coeffs_multiplier
    assert cancelled.disc.other_dot_prod == 0
  assert list(drawn) == list(sensitivity.LOSSES)
  first, *others = drawn.values()
  assert len(first) == sensitivity.SIZES['quick'][data].runs
  assert all(other == first for other in others)


def test_what_diverged_counts_and_is_drawn(plan):
  data, made = plan
  results = {
    cell.folder: sweep_results.Result(
      sweep_results.DONE,
      metrics={'modes_covered': 8.0, 'high_quality_share': 0.5}
      if data == 'mixture'
      else {'FID': 120.0},
    )
    for cell in made.cells
  }
  diverged = sweep_results.Result(sweep_results.DIVERGED)
  results[made.cells[1].folder] = diverged
  found = {data: sensitivity.list_runs(made, results)}
  runs = found[data]['saturating']
  worst, usual = (0.0, 0.25) if data == 'mixture' else (400.0, 120.0)
  assert [run['score'] for run in runs] == [usual, worst]
  assert [run['diverged'] for run in runs] == [False, True]
  row = sensitivity.table(data, found[data]).splitlines()[2]
  assert row.startswith('| saturating | 2 | 1 | ')
  figure = sensitivity.draw(found, {data: 'A title'})
  backend_agg.FigureCanvasAgg(figure).draw()
  told = [text.get_text() for text in figure.axes[0].texts]
  assert told == ['1 of 2\ndiverged']
