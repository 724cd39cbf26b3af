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
"""Tests for random search: what is drawn, what is recorded, the best draws."""

import dataclasses
import json

import numpy as np
import pytest

from jaxline_harness import errors
from run_sweeps import finals
from run_sweeps import jobs
from run_sweeps import pictures
from run_sweeps import program
from run_sweeps import random_search
from run_sweeps import results as sweep_results
from run_sweeps import summary
from tests.run_sweeps import sweep_files

WIDE = random_search.log_uniform(1e-3, 0.1)
AXES = {
  'name': {
    'plain': {'name': 'plain'},
    'fancy': {'name': 'fancy', 'rates.*.lr': random_search.uniform(0.6, 0.9)},
  }
}
ONE, OTHER = 'rates.one.lr', 'rates.other.lr'


def make_plan(folder, runs=4, seed=0, **changes):
  return sweep_files.plan(
    folder,
    **{
      'overrides': {'rates.*.lr': WIDE},
      'axes': AXES,
      'seeds': [3],
      'search': random_search.Search(runs, seed),
    }
    | changes,
  )


def drawn_of(plan):
  """Rates of both players, by level and draw."""
  return {
    (cell.levels['name'], cell.draw): cell.config.experiment_kwargs.config.rates
    for cell in plan.cells
  }


def test_all_levels_get_the_same_draws_along_their_own_ranges(tmp_path):
  rates = drawn_of(make_plan(tmp_path))
  assert list(rates) == [(n, k) for n in ('plain', 'fancy') for k in range(4)]
  shares = []
  for (name, _), rate in rates.items():
    assert rate.one.lr == rate.other.lr == float(f'{rate.one.lr:.4g}')
    share = (rate.one.lr - 0.6) / 0.3
    if name == 'plain':
      assert WIDE.low <= rate.one.lr <= WIDE.high
      share = (np.log10(rate.one.lr) + 3) / 2
    shares.append(share)
  np.testing.assert_allclose(shares[:4], shares[4:], atol=1e-3)  # 4 digits.
  assert len(set(shares[:4])) == 4


def test_draws_stay_when_there_are_more_and_follow_the_seed(tmp_path):
  before = drawn_of(make_plan(tmp_path))
  more = make_plan(
    tmp_path,
    runs=6,
    overrides={
      'rates.*.lr': WIDE,
      'seconds_a_step': random_search.choice(0.0, 0.5),
    },
  )
  after = drawn_of(more)
  assert len(after) == 12
  assert all(after[key].one.lr == rate.one.lr for key, rate in before.items())
  other = drawn_of(make_plan(tmp_path, seed=1))
  assert all(other[key].one.lr != rate.one.lr for key, rate in before.items())
  # Each player by itself.
  apart = make_plan(tmp_path, overrides={ONE: WIDE, OTHER: WIDE})
  first = apart.cells[0].config.experiment_kwargs.config.rates
  assert first.one.lr != first.other.lr


def test_lists_may_hold_what_is_drawn(tmp_path):
  plan = make_plan(
    tmp_path, overrides={'rates.one.kwargs.pair': ['name', WIDE]}, axes={}
  )
  (name, value), *others = plan.cells[0].drawn.items()
  assert name == 'experiment_kwargs.config.rates.one.kwargs.pair'
  assert value[0] == 'name'
  assert WIDE.low <= value[1] <= WIDE.high
  assert not others
  assert plan.cells[0].folder == str(tmp_path / 'cells/all/draw_0/seed_3')


def test_what_is_drawn_is_recorded_and_another_search_is_refused(tmp_path):
  plan = make_plan(tmp_path, runs=2)
  found = invent_results(plan, [1.0, 2.0, 3.0, 4.0])
  columns, rows = sweep_results.make_table(plan, found)
  assert columns[:5] == ['name', 'draw', ONE, OTHER, 'seed']
  for row, cell in zip(rows, plan.cells, strict=True):
    rates = cell.config.experiment_kwargs.config.rates
    assert (row['draw'], row[ONE]) == (cell.draw, rates.one.lr)
    assert row['folder'] == f'cells/{row["name"]}/draw_{cell.draw}/seed_3'
  for cell in plan.cells:
    sweep_results.write_result(cell, found[cell.folder])
  assert sweep_results.read_results(make_plan(tmp_path, runs=2)) == found
  with pytest.raises(errors.UserError) as error:
    sweep_results.read_results(make_plan(tmp_path, runs=2, seed=1))
  assert str(error.value).startswith(
    f'4 of the cells in {tmp_path} have run with other settings: name plain, '
    f'draw 0, seed 3: experiment_kwargs.config.rates.one.lr was {rows[0][ONE]}'
  )


@pytest.mark.parametrize(
  ('changes', 'line'),
  [
    (
      {'search': None},
      'experiment_kwargs.config.rates.one.lr is to be drawn, and SWEEP.search '
      'does not say how often',
    ),
    (
      {'overrides': {}},
      'SWEEP.search: nothing is drawn for name plain; give a setting as '
      'log_uniform, uniform or choice',
    ),
    (
      {'search': random_search.Search(0)},
      'SWEEP.search.runs must be a whole number from 1 to 10000, not 0',
    ),
    (
      {'axes': {'draw': {1: {}}}},
      "SWEEP.axes: draw is the name of a search's own",
    ),
    (
      {'axes': {}, 'search': random_search.Search(2, final_seeds=[1])},
      'SWEEP.search.final_seeds needs one axis, not 0',
    ),
    (
      {'search': random_search.Search(2, final_seeds=[1, 3])},
      'SWEEP.search.final_seeds: 3 is one of SWEEP.seeds, by which the best '
      'draw is chosen',
    ),
    (
      {'overrides': {'name': random_search.choice('fanzy', 'fanzi')}},
      "config.experiment_kwargs.config.name: there is no 'fanz",
    ),
  ],
)
def test_what_cannot_be_right_is_one_line(tmp_path, changes, line):
  if 'fanz' in line:
    changes = changes | {'axes': {}}
    line = f'draw 0, seed 3: {line}'
  with pytest.raises(errors.UserError) as error:
    make_plan(tmp_path, **changes)
  assert str(error.value).startswith(line)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('make', 'bounds'),
  [
    (random_search.log_uniform, (0, 1)),
    (random_search.log_uniform, (1, 0.1)),
    (random_search.uniform, (1, 1)),
    (random_search.choice, (1,)),
  ],
)
def test_there_is_something_to_draw_from(make, bounds):
  with pytest.raises(ValueError, match='must be|two values'):
    make(*bounds)


def test_all_draws_of_a_level_are_one_program(tmp_path):
  plan = make_plan(tmp_path, seeds=[3, 4], map_seeds=True)
  made = jobs.make_jobs(plan, plan.cells)
  assert [[cell.draw for cell in job.cells] for job in made] == [
    [0, 1, 2, 3]
  ] * 4
  first = made[0]
  assert first.folder == str(tmp_path / 'cells/plain/seed_3_draws_0-3')
  arguments = dict(
    argument.split('=', 1)
    for argument in first.commands[0]
    if argument.startswith('--config.')
  )
  own = '--config.experiment_kwargs.config'
  assert arguments[f'{own}.mapped_seeds'] == '[3, 3, 3, 3]'
  draws = json.loads(arguments[f'{own}.mapped_draws'].replace("'", '"'))
  assert [draw['number'] for draw in draws] == [0, 1, 2, 3]
  for draw, cell in zip(draws, first.cells, strict=True):
    rate = cell.config.experiment_kwargs.config.rates.one.lr
    assert draw['values'] == {ONE: rate, OTHER: rate}
  # What has begun goes on in the program of all.
  (tmp_path / 'cells/plain/seed_3_draws_0-3').mkdir(parents=True)
  (again,) = jobs.make_jobs(plan, [first.cells[2]])
  assert again.commands == first.commands


# The best draws.


def invent_results(plan, scores, diverged=()):
  found = {}
  for k, (cell, value) in enumerate(zip(plan.cells, scores, strict=True)):
    status = sweep_results.DIVERGED if k in diverged else sweep_results.DONE
    metrics = {} if k in diverged else {'score': value, 'distance': -value}
    found[cell.folder] = sweep_results.Result(status, metrics=metrics)
  return found


def test_each_level_is_run_again_at_its_best_draw(tmp_path):
  search = random_search.Search(4, final_seeds=(7, 8))
  plan = make_plan(tmp_path, search=search)
  found = invent_results(plan, [1.0, 9.0, 2.0, 3.0, 5.0, 4.0, 3.0, 2.0], [1])
  final = finals.make_final_plan(plan, found)
  assert [(c.levels, c.seed) for c in final.cells] == [
    ({'name': name}, seed) for name in ('plain', 'fancy') for seed in (7, 8)
  ]
  assert final.folder == str(tmp_path / 'final')
  for cell, draw in ((final.cells[0], 3), (final.cells[2], 4)):
    expected = plan.cells[draw].config.experiment_kwargs.config
    own = cell.config.experiment_kwargs.config
    assert (own.name, own.rates.one.lr) == (
      expected.name,
      expected.rates.one.lr,
    )
  farthest = dataclasses.replace(search, best_by=lambda m: m['distance'])
  final = finals.make_final_plan(make_plan(tmp_path, search=farthest), found)
  own = final.cells[2].config.experiment_kwargs.config
  expected = plan.cells[7].config.experiment_kwargs.config
  assert own.rates.one.lr == expected.rates.one.lr
  waiting = found | {plan.cells[0].folder: sweep_results.Result()}
  assert finals.make_final_plan(plan, waiting) is None
  assert finals.make_final_plan(make_plan(tmp_path), found) is None


def test_final_seeds_are_run_once_the_search_has_ended(tmp_path, monkeypatch):
  path = tmp_path / 'toy.py'
  path.write_text(
    'from tests.run_sweeps import test_random_search as tests\n'
    'SWEEP = tests.SEARCH\n'
  )
  ran = []

  def run(plan, *unused):
    ran.append(plan)
    return invent_results(plan, range(len(plan.cells)))

  monkeypatch.setattr(program, 'run', run)
  program.main([str(path), f'--out={tmp_path}'])
  assert [len(plan.cells) for plan in ran] == [4, 4]
  assert {cell.seed for cell in ran[1].cells} == {7, 8}


SEARCH = sweep_files.declare(
  overrides={'rates.*.lr': WIDE},
  axes=AXES,
  seeds=[3],
  search=random_search.Search(2, final_seeds=(7, 8)),
)


@pytest.mark.slow
def test_a_search_and_its_best_draws_run(tmp_path, capsys):
  path = tmp_path / 'toy.py'
  path.write_text(
    'from tests.run_sweeps import test_random_search as tests\n'
    'SWEEP = tests.SEARCH\n'
  )
  out = tmp_path / 'out'
  program.main([str(path), f'--out={out}'])
  assert capsys.readouterr().out.count('4 cells: 4 done.') == 2
  assert '| plain | score | 3.0' in (out / 'summary.md').read_text()
  best = (out / 'final' / 'table.csv').read_text().splitlines()
  assert len(best) == 1 + 4


def test_spreads_are_drawn_with_what_diverged(tmp_path):
  plan = make_plan(tmp_path)
  found = invent_results(plan, [1.0, 9.0, 2.0, 3.0, 5.0, 4.0, 3.0, 2.0], [1])
  combinations = summary.summarise(plan, found)
  figure = pictures.draw(plan, combinations, 'score')
  (axes,) = figure.axes
  assert [text.get_text() for text in axes.texts] == ['× 1 of 4\ndiverged']
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert labels == ['plain', 'fancy']
  shown = {
    float(y): x.tolist()
    for x, (y, *_) in (
      line.get_data() for line in axes.lines if line.get_marker() == '.'
    )
  }
  assert shown == {0.0: [1.0, 2.0, 3.0], 1.0: [5.0, 4.0, 3.0, 2.0]}
  (best, _, _, _) = summary.compare_levels(plan, combinations)
  assert best.best_levels == {'draw': 3}
  assert best.best_drawn == sweep_results.describe_drawn(plan.cells[3])
