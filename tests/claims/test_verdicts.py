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
"""Tests of verdicts: the rules, what is recorded, and the page."""

import dataclasses
import pathlib

import numpy as np
import pytest

from claims import catalogue
from claims import declaration
from claims import page
from claims import pictures
from claims import readings
from claims import rules
from claims import tables
from claims import verdicts
from jaxline_harness import errors
from run_sweeps import summary

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATES = ('0.1', '0.2', '0.4')


def make_table(scores, status='done', num_seeds=5):
  """A table of (method, rate): a score a seed; None is one that diverged."""
  rows = [
    {
      'method': method,
      'rate': rate,
      'seed': str(seed),
      'status': status if score is not None else 'diverged',
      'score': '' if score is None else str(score),
      'processor_seconds': '6.0',
    }
    for (method, rate), of_seeds in scores.items()
    for seed, score in enumerate(of_seeds[:num_seeds])
  ]
  return tables.Table(['method', 'rate'], rows)


def spread(value):
  return [value - 0.2, value - 0.1, value, value + 0.1, value + 0.2]


def make_scores(fancy, plain):
  return {
    (method, rate): values
    for method, of_rates in (('fancy', fancy), ('plain', plain))
    for rate, values in zip(RATES, of_rates, strict=True)
  }


def make_claim(*of_rules):
  return declaration.Claim(
    name='fancy_helps',
    paper='A paper',
    statement='Fancy beats plain.',
    source=declaration.Measurement('nothing', lambda _: [], [], 1.0),
    rules=of_rules,
  )


BETTER = rules.Better('fancy', 'plain', 'score', 1.0)


@pytest.mark.parametrize(
  ('fancy', 'plain', 'verdict'),
  [
    # By two at the best rate, and by two in the median.
    ((5, 4, 3), (3, 2, 1), readings.HOLDS),
    # Both by half: below what counts.
    ((5, 4, 3), (4.5, 3.5, 2.5), readings.FAILS),
    ((3, 2, 1), (5, 4, 3), readings.FAILS),
    # The best is better, the median is not; and the other way round.
    ((9, 2, 1), (5, 4, 3), readings.UNDECIDED),
    ((5, 5, 5), (5, 1, 1), readings.UNDECIDED),
    # Just what counts, so that the interval reaches to both sides.
    ((5, 4, 3), (4, 3, 2), readings.UNDECIDED),
  ],
)
def test_two_readings_must_agree(fancy, plain, verdict):
  # Seeds of plain the other way round: differences have a spread.
  scores = make_scores(
    [spread(x) for x in fancy], [spread(x)[::-1] for x in plain]
  )
  outcome = verdicts.judge(make_claim(BETTER), make_table(scores))
  assert outcome.verdict == verdict
  best, median = outcome.all_readings
  assert best.effect.value == pytest.approx(max(fancy) - max(plain))
  assert median.effect.value == pytest.approx(
    np.median(fancy) - np.median(plain)
  )


def test_less_may_be_better_and_diverged_runs_count():
  less = dataclasses.replace(BETTER, more_is_better=False, diverged_as=9.0)
  lost = [None] * 5
  scores = make_scores([spread(1)] * 3, [spread(4), lost, lost])
  best, median = less.read(make_table(scores))
  assert best.effect.value == pytest.approx(3)
  assert median.effect.value == pytest.approx(8)


def test_lost_runs_are_counted():
  rule = rules.MoreKept('fancy', 'plain', 'score', kept_from=2, least=0.1)
  scores = make_scores(
    [[2, 2, 2, 2, 2]] * 3, [[2] * 5, [1] * 5, [None, None, 2, 2, 2]]
  )
  (reading,) = rule.read(make_table(scores))
  # Lost are the second rate's, and two of the third one's.
  assert reading.samples == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3])
  assert reading.verdict == readings.HOLDS


def test_a_mean_lies_within_a_range():
  table = make_table(make_scores([spread(1)] * 3, [spread(5)] * 3))
  where = {'method': 'fancy', 'rate': '0.1'}
  for low, high, verdict in (
    (0.5, 1.5, readings.HOLDS),
    (2.0, 3.0, readings.FAILS),
    (1.0, 3.0, readings.UNDECIDED),
  ):
    (reading,) = rules.Within('it', 'score', low, high, where).read(table)
    assert reading.verdict == verdict
  with pytest.raises(errors.UserError, match='no result has'):
    rules.Within('it', 'score', where={'method': 'nope'}).read(table)


def test_one_false_statement_of_several_makes_a_claim_fail():
  scores = make_scores([spread(5)] * 3, [spread(3)] * 3)
  worse = rules.Better('plain', 'fancy', 'score', 1.0)
  outcome = verdicts.judge(make_claim(BETTER, worse), make_table(scores))
  assert outcome.verdict == readings.FAILS


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'num_seeds': 3}, '3 of 5 seeds'),
    ({'status': 'failed'}, '30 of 30 runs have not ended, or failed'),
  ],
)
def test_too_little_gives_no_verdict(changes, reason):
  scores = make_scores([spread(5)] * 3, [spread(3)] * 3)
  outcome = verdicts.judge(make_claim(BETTER), make_table(scores, **changes))
  assert (outcome.verdict, outcome.reason) == (readings.NOT_RUN, reason)


def test_no_interval_decides_nothing():
  alone = readings.Reading('it', summary.Estimate(1.0), low=0.0)
  assert alone.verdict == readings.UNDECIDED


def test_measured_rows_are_read_back(tmp_path):
  path = tmp_path / 'folder' / 'table.csv'
  rows = [
    {'way': 'a', 'score': 1.5, 'seed': 0, 'processor_seconds': 3.0},
    {'way': 'b', 'score': '', 'seed': 0, 'processor_seconds': 3.0},
  ]
  tables.write_measured(path, ['way'], rows)
  table = tables.read(path)
  assert table.values('score', {'way': 'a'}) == {('a',): {'0': 1.5}}
  assert table.minutes == pytest.approx(0.1)
  with pytest.raises(errors.UserError, match='has no score'):
    table.values('score', {'way': 'b'})


def test_results_of_other_seeds_are_refused(tmp_path):
  source = make_claim().source
  rows = [{'score': 1.0, 'seed': 7, 'processor_seconds': 0.1}]
  tables.write_measured(tmp_path / 'nothing.csv', [], rows)
  with pytest.raises(errors.UserError, match='other runs than are declared'):
    verdicts.is_recorded(source, 'small', tmp_path)


def test_a_quick_sweep_keeps_what_is_compared():
  source = next(
    claim.source
    for claim in catalogue.CLAIMS
    if claim.name == 'cancelling_helps'
  )
  sweep, quick = source.load('small'), source.load('quick')
  assert list(quick.axes['rule']) == list(sweep.axes['rule'])
  assert len(quick.axes['learning rate']) == 1
  assert len(quick.seeds) == 2
  assert quick.overrides['training_steps'] == 20


# What is there.


def test_names_are_unique_and_sweeps_exist():
  names = [claim.name for claim in catalogue.CLAIMS]
  assert len(set(names)) == len(names)
  for claim in catalogue.CLAIMS:
    if isinstance(claim.source, declaration.Sweeps):
      for file in claim.source.files.values():
        assert (ROOT / 'sweeps' / f'{file.name}.py').is_file(), claim.name


@pytest.fixture(scope='module')
def outcomes():
  """Of all claims, from what is recorded."""
  return {
    claim.name: verdicts.find_outcome(claim) for claim in catalogue.CLAIMS
  }


def test_the_page_is_what_is_recorded():
  assert page.PATH.read_text() == page.make_page(), './run.sh reproduce'


def test_verdicts_rest_on_enough_seeds_and_have_pictures(outcomes):
  run = {
    name: outcome
    for name, outcome in outcomes.items()
    if outcome.verdict != readings.NOT_RUN
  }
  assert run
  for name, outcome in run.items():
    assert outcome.table.num_seeds >= verdicts.LEAST_SEEDS, name
    assert (pictures.FOLDER / f'{name}.png').is_file(), name
  drawn = {path.stem for path in pictures.FOLDER.glob('*.png')}
  assert drawn == set(run)


def test_a_picture_says_each_verdict(outcomes):
  claim = make_claim(BETTER)
  scores = make_scores([spread(5)] * 3, [spread(3)] * 3)
  outcome = verdicts.judge(claim, make_table(scores))
  figure = pictures.draw(claim, outcome)
  curves, readout = figure.subfigs
  (legend,) = curves.legends
  assert [t.get_text() for t in legend.get_texts()] == ['fancy', 'plain']
  for axes, reading in zip(readout.axes, outcome.all_readings, strict=True):
    assert axes.get_title('left').endswith(f': {reading.verdict}')


def test_a_level_s_own_settings_are_drawn_from_the_best_to_the_worst():
  scores = {
    ('fancy, 1', '0.1'): spread(3),
    ('fancy, 2', '0.1'): spread(5),
    ('plain, 7', '0.1'): spread(4),
    ('other', '0.1'): spread(1),
  }
  claim = make_claim(BETTER, dataclasses.replace(BETTER, than='other'))
  outcome = verdicts.judge(claim, make_table(scores))
  axes = pictures.draw(claim, outcome).subfigs[0].axes[0]
  curves = {c.get_label(): c.lines[0].get_ydata() for c in axes.containers}
  assert list(curves) == ['fancy', 'plain', 'other']
  np.testing.assert_allclose(curves['fancy'], [5, 3])
  assert axes.get_xlabel() == 'settings, from the best to the worst'
