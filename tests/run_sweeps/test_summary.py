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
"""Tests of a sweep's statistics and pictures."""

import csv

import numpy as np
import pytest

from run_sweeps import pictures
from run_sweeps import results as sweep_results
from run_sweeps import summary
from tests.run_sweeps import sweep_files

RATES = (0.1, 0.2, 0.4)


def make_plan(tmp_path, names=('plain', 'fancy'), **changes):
  axes = {
    'name': {name: {'name': name} for name in names},
    'rate': {rate: {'rates.one.lr': rate} for rate in RATES},
  }
  return sweep_files.plan(
    tmp_path, **{'axes': axes, 'seeds': range(4)} | changes
  )


def invent_results(plan, scores, diverged=()):
  """Results by (name, rate): a score a seed; those that diverged have none."""
  found = {}
  for cell in plan.cells:
    levels = tuple(cell.levels.values())
    if (*levels, cell.seed) in diverged:
      found[cell.folder] = sweep_results.Result(sweep_results.DIVERGED, 'why')
    else:
      score = scores[levels][cell.seed]
      found[cell.folder] = sweep_results.Result(
        sweep_results.DONE, metrics={'score': score, 'distance': 1 - score}
      )
  return found


SCORES = {
  ('plain', 0.1): [1.0, 2.0, 3.0, 4.0],
  ('plain', 0.2): [5.0, 5.0, 5.0, 5.0],
  ('plain', 0.4): [0.0, 0.0, 1.0, 1.0],
  ('fancy', 0.1): [8.0, 7.0, 8.0, 9.0],
  ('fancy', 0.2): [0.0, 0.0, 0.0, 0.0],
  ('fancy', 0.4): [9.0, 9.0, 9.0, 9.0],
}


def test_means_have_intervals_over_seeds(tmp_path):
  plan = make_plan(tmp_path)
  first, second, *_ = summary.summarise(plan, invent_results(plan, SCORES))
  mean = first.means['score']
  assert mean.value == 2.5
  assert first.medians['score'] == 2.5
  # The bootstrap's deviation is that of the population over the root of n.
  deviation = np.std(SCORES['plain', 0.1]) / 2
  assert mean.low == pytest.approx(2.5 - 1.96 * deviation, abs=0.15)
  assert mean.high == pytest.approx(2.5 + 1.96 * deviation, abs=0.15)
  assert (second.means['score'].low, second.means['score'].high) == (5.0, 5.0)


def test_one_seed_has_no_interval():
  estimate = summary.estimate([[3.0]], np.mean)
  assert estimate.value == 3.0
  assert np.isnan(estimate.low)
  assert np.isnan(summary.estimate([[]], np.mean).value)


@pytest.mark.filterwarnings('error')
def test_what_is_not_finite_has_no_interval():
  estimate = summary.estimate([[1.0, np.nan, 2.0]], np.mean)
  assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


def test_runs_that_diverged_count_as_the_sweep_says(tmp_path):
  diverged = {('fancy', 0.4, seed) for seed in (0, 1)}
  plan = make_plan(tmp_path, diverged_as={'score': 1.0})
  *_, last = summary.summarise(plan, invent_results(plan, SCORES, diverged))
  assert last.means['score'].value == 5.0  # Of 1, 1, 9, 9.
  assert last.means['distance'].value == -8.0  # Of those that are there.
  assert last.count(sweep_results.DIVERGED) == 2


def test_levels_are_compared_at_their_best_and_by_their_median(tmp_path):
  plan = make_plan(tmp_path)
  diverged = {('fancy', 0.4, 0)}
  found = invent_results(plan, SCORES, diverged)
  compared = summary.compare_levels(plan, summary.summarise(plan, found))
  of_score = {c.level: c for c in compared if c.metric == 'score'}
  assert of_score['plain'].best.value == 5.0
  assert of_score['plain'].best_levels == {'rate': 0.2}
  assert of_score['plain'].median.value == 2.5
  assert of_score['plain'].median.low < 2.5 < of_score['plain'].median.high
  # Less of this is better: at 0.4 it is least, but a run diverged.
  of_distance = {c.level: c for c in compared if c.metric == 'distance'}
  assert of_distance['fancy'].best.value == -7.0
  assert of_distance['fancy'].num_combinations == 2


def test_tables_say_all_that_was_found(tmp_path):
  plan = make_plan(tmp_path)
  found = invent_results(plan, SCORES, {('fancy', 0.4, 0)})
  found[plan.cells[0].folder] = sweep_results.Result()
  summary.write(plan, found)
  with open(tmp_path / 'table.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['status'] for row in rows[:2]] == ['waiting', 'done']
  assert rows[0]['score'] == ''
  with open(tmp_path / 'summary.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert (rows[0]['cells'], rows[0]['done'], rows[0]['score_mean']) == (
    *('4', '3', '3'),
  )
  assert (rows[-1]['done'], rows[-1]['diverged']) == ('3', '1')
  page = (tmp_path / 'summary.md').read_text()
  assert '23 of 24 cells have ended.' in page
  assert '| fancy | 0.4 | 4 | 1 | 9 [9, 9] | -8 [-8, -8] |' in page
  assert '| fancy | score | 8 [7.' in page


def texts(figure):
  (axes,) = figure.axes
  return [text.get_text() for text in axes.texts]


def test_a_map_says_where_runs_diverged_or_are_missing(tmp_path):
  plan = make_plan(tmp_path)
  diverged = {('plain', 0.1, seed) for seed in range(4)} | {('fancy', 0.1, 0)}
  found = invent_results(plan, SCORES, diverged)
  found[plan.cells[-1].folder] = sweep_results.Result()
  figure = pictures.draw(plan, summary.summarise(plan, found), 'score')
  figure.draw_without_rendering()
  told = texts(figure)
  assert told[0] == 'diverged'
  assert told[1] == '5'
  assert told[3] == '8\n7 to 9\n1 of 4 diverged'
  assert told[5] == '9\n1 of 4 missing'


def test_a_curve_has_room_for_what_diverged(tmp_path):
  rates = {rate: {'rates.one.lr': rate} for rate in RATES}
  plan = sweep_files.plan(tmp_path, axes={'rate': rates}, seeds=range(4))
  scores = {(rate,): SCORES['plain', rate] for rate in RATES}
  diverged = {(0.4, seed) for seed in range(4)}
  found = invent_results(plan, scores, diverged)
  figure = pictures.draw(plan, summary.summarise(plan, found), 'score')
  figure.draw_without_rendering()
  assert texts(figure) == ['× 4 of 4\ndiverged']
  low, high = figure.axes[0].get_xlim()
  assert low < 0.1
  assert high > 0.4
