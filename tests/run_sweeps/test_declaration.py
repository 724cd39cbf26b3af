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
"""Tests of what a sweep's file may say, and of the cells it comes to."""

import dataclasses
import os
import re

import numpy as np
import pytest

from jaxline_harness import errors
from jaxline_harness import metrics_table
from jaxline_harness import run_directory
from jaxline_harness import shipped
from run_sweeps import declaration
from run_sweeps import jobs
from run_sweeps import processes
from run_sweeps import random_search
from tests.run_sweeps import sweep_files


def test_cells_are_all_combinations_with_seeds_innermost(tmp_path):
  plan = sweep_files.plan(tmp_path)
  found = [(*cell.levels.values(), cell.seed) for cell in plan.cells]
  assert found == [
    (name, rate, seed)
    for name in ('plain', 'fancy')
    for rate in (0.1, 0.2)
    for seed in (0, 1)
  ]
  cell = plan.cells[-1]
  own = cell.config.experiment_kwargs.config
  assert (own.name, own.random_seed) == ('fancy', 1)
  assert (own.rates.one.lr, own.rates.other.lr) == (0.2, 0.2)
  assert cell.folder == str(tmp_path / 'cells' / 'fancy_0.2' / 'seed_1')
  assert cell.name == 'name fancy, rate 0.2, seed 1'


def test_seeds_and_metrics_may_be_generators_and_levels_numpys(tmp_path):
  plan = sweep_files.plan(
    tmp_path,
    axes={'rate': {r: {'rates.*.lr': r} for r in np.linspace(0.1, 0.3, 2)}},
    seeds=(seed for seed in (4, 5)),
    metrics=(name for name in ('score', 'distance')),
  )
  assert [cell.name for cell in plan.cells] == [
    f'rate {rate}, seed {seed}' for rate in (0.1, 0.3) for seed in (4, 5)
  ]
  assert plan.more_is_better == {'score': True, 'distance': False}
  assert type(plan.cells[0].levels['rate']) is float


def test_settings_go_by_short_names_full_names_patterns_and_dicts(tmp_path):
  schema = sweep_files.plan(tmp_path).schema
  own = 'experiment_kwargs.config'

  def expand(overrides):
    return declaration.expand_overrides(schema, overrides, 'here')

  assert expand({}) == {}
  assert expand({'training_steps': 3}) == {'training_steps': 3}
  assert expand({f'{own}.name': 'fancy'}) == {f'{own}.name': 'fancy'}
  # An experiment's own come first: all keys are made of this one.
  assert expand({'random_seed': 3}) == {f'{own}.random_seed': 3}
  assert expand({'rates': {'*': {'lr': 1.0}}}) == {
    f'{own}.rates.one.lr': 1.0,
    f'{own}.rates.other.lr': 1.0,
  }
  assert expand({'rates.one.kwargs.b1': 0.5}) == {
    f'{own}.rates.one.kwargs.b1': 0.5
  }


@pytest.mark.parametrize(
  ('changes', 'line'),
  [
    (
      {'overrides': {'rates.*.rl': 1.0}},
      "SWEEP.overrides: there is no setting 'rates.*.rl'; did you mean "
      'rates.one.lr?',
    ),
    (
      {'axes': {'rate': {1: {'training_stebs': 1}}}},
      "SWEEP.axes: rate 1: there is no setting 'training_stebs'; did you mean "
      'training_steps?',
    ),
    (
      {'axes': {'rate': {1: {'rates.one.lr': 'fast'}}}},
      'rate 1, seed 0: config.experiment_kwargs.config.rates.one.lr must be a '
      "finite number from -1000000 up to 1000000, not 'fast'",
    ),
    (
      {'axes': {'name': {'x': {'name': 'fanzy'}}}},
      'name x, seed 0: config.experiment_kwargs.config.name: there is no '
      "'fanzy'; did you mean fancy?",
    ),
    (
      {'axes': {'a': {1: {'name': 'fancy'}}, 'b': {1: {'name': 'plain'}}}},
      'SWEEP.axes: a and b both set experiment_kwargs.config.name',
    ),
    (
      {'axes': {'a': {}}},
      'SWEEP.axes: a must map levels to their settings, not be {}',
    ),
    (
      {'axes': {'a': {'x y': {}, 'x_y': {}}}},
      "SWEEP.axes: a has 'x y' and 'x_y', whose folders would have one name",
    ),
    (
      {'axes': {'a': {1: 0.5}}},
      'SWEEP.axes: a 1 must be a mapping of names to values, not 0.5',
    ),
    ({'seeds': [0, 1, 0]}, 'SWEEP.seeds has one twice: (0, 1, 0)'),
    (
      {'seeds': [0.5]},
      'SWEEP.seeds must be a list, each item a whole number from 0 to '
      '4294967295, not (0.5,)',
    ),
    (
      {'metrics': ['scores']},
      "SWEEP.metrics: there is no 'scores'; did you mean score?",
    ),
    ({'metrics': 'score'}, 'SWEEP.metrics must be a list of names'),
    ({'metrics': []}, 'SWEEP.metrics names none'),
    (
      {'diverged_as': {'scores': 0.0}},
      "SWEEP.diverged_as: there is no 'scores'; did you mean score?",
    ),
  ],
)
def test_what_cannot_be_right_is_one_line(tmp_path, changes, line):
  with pytest.raises(errors.UserError) as error:
    sweep_files.plan(tmp_path, **changes)
  assert str(error.value) == line


def test_a_metric_that_no_schema_declares_says_whether_more_is_better(tmp_path):
  plan = sweep_files.plan(tmp_path, metrics={'third': False})
  assert plan.more_is_better == {'third': False}


@pytest.mark.parametrize(
  ('text', 'line'),
  [
    ('1 / 0\n', '{path}:1: ZeroDivisionError: division by zero'),
    (
      'SWEEP = {}\n',
      '{path}: SWEEP must be a run_sweeps.declaration.Sweep, not {{}}',
    ),
  ],
)
def test_files_that_declare_no_sweep(tmp_path, text, line):
  path = tmp_path / 'wrong.py'
  path.write_text(text)
  with pytest.raises(errors.UserError) as error:
    declaration.load_sweep(path)
  assert str(error.value) == line.format(path=path)


def test_a_file_that_is_not_there():
  with pytest.raises(errors.UserError, match='there is no sweep .nope.; give'):
    shipped.find_file('sweeps', 'nope')
  found = shipped.find_file('sweeps', 'mixture_rules')
  assert found == shipped.ROOT / 'sweeps' / 'mixture_rules.py'


def test_commands_are_those_that_a_user_would_type(tmp_path):
  plan = sweep_files.plan(tmp_path, overrides={'training_steps': 3})
  made = jobs.make_jobs(plan, plan.cells)
  assert [job.cells[0].seed for job in made] == [0] * 4 + [1] * 4
  own = '--config.experiment_kwargs.config'
  folder = tmp_path / 'cells' / 'plain_0.1' / 'seed_0'
  assert made[0].commands[1][1:] == [
    *('-P', '-m', 'tests.run_sweeps.toy.experiment', '--jaxline_mode=eval'),
    f'--config={sweep_files.CONFIG}',
    '--config.training_steps=3',
    f'{own}.name=plain',
    f'{own}.rates.one.lr=0.1',
    f'{own}.rates.other.lr=0.1',
    f'{own}.random_seed=0',
    f'--config.checkpoint_dir={folder}',
  ]


def test_what_training_has_measured_is_not_measured_again(tmp_path):
  plan = sweep_files.plan(tmp_path)
  metrics = list(plan.more_is_better)
  ended = processes.Ended(status=0, processor_seconds=1.0, last_line='')
  for step, is_done in ((5, False), (6, True)):  # Of six.
    (job, *_) = jobs.make_jobs(plan, plan.cells)
    writer = metrics_table.MetricsTable(f'{_folder(job, "eval")}/metrics.csv')
    writer.write(step, {'score': '2.0', 'distance': '1.0'})
    found = jobs.go_on(job, ended, metrics)
    assert (found is not None) == is_done
  (result,) = found.values()
  assert (result.status, result.step) == ('done', 6)
  assert result.metrics == {'score': 2.0, 'distance': 1.0}


def _folder(job, name):
  folder = os.path.join(job.folder, name)
  os.makedirs(folder, exist_ok=True)
  return folder


def test_seeds_of_one_program(tmp_path):
  plan = sweep_files.plan(tmp_path, seeds=[0, 1, 2, 5], map_seeds=True)
  made = jobs.make_jobs(plan, plan.cells)
  assert [[cell.seed for cell in job.cells] for job in made] == [
    [0, 1, 2, 5]
  ] * 4
  assert made[0].folder == str(tmp_path / 'cells/plain_0.1/seeds_0-2_5-5')
  assert (
    '--config.experiment_kwargs.config.mapped_seeds=[0, 1, 2, 5]'
    in (made[0].commands[0])
  )
  # Where some have a record, the others go on in the program of all.
  (tmp_path / 'cells/plain_0.1/seeds_0-2_5-5').mkdir(parents=True)
  (first, second) = jobs.make_jobs(plan, [plan.cells[2], *plan.cells[5:7]])
  assert [cell.seed for cell in first.cells] == [0, 1, 2, 5]
  assert [cell.seed for cell in second.cells] == [1, 2]


SHIPPED = sorted(
  path.stem for path in (shipped.ROOT / 'sweeps').glob('[!_]*.py')
)


@pytest.mark.parametrize('name', SHIPPED)
def test_the_shipped_sweeps_can_run(tmp_path, name):
  path = shipped.find_file('sweeps', name)
  sweep = dataclasses.replace(declaration.load_sweep(path), seeds=[0])
  if sweep.search is not None:
    sweep = dataclasses.replace(sweep, search=random_search.Search(2))
  plan = declaration.make_plan(sweep, name, str(tmp_path))
  # No combination is another one by another name.
  found = {
    (cell.config.training_steps, str(run_directory.to_plain(_settings(cell))))
    for cell in plan.cells
  }
  assert len(found) == len(plan.cells) > 1


@pytest.mark.parametrize(('number', 'num_cells'), [(0, 2 * 3 * 5), (1, 2 * 10)])
def test_the_documented_sweeps_can_run(tmp_path, number, num_cells):
  text = (shipped.ROOT / 'docs' / 'sweeps.md').read_text()
  examples = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  assert len(examples) == 2
  path = tmp_path / 'example.py'
  path.write_text(examples[number])
  sweep = declaration.load_sweep(path)
  plan = declaration.make_plan(sweep, 'example', str(tmp_path))
  assert len(plan.cells) == num_cells


def _settings(cell):
  return cell.config.experiment_kwargs.config
