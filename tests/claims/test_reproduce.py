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
"""Tests of `./run.sh reproduce`."""

import dataclasses

import pytest

from claims import catalogue
from claims import declaration
from claims import page
from claims import pictures
from claims import program
from claims import readings
from claims import rules
from claims import tables
from claims import verdicts
from jaxline_harness import errors

MEASURED: list[int] = []


def measure(seed):
  MEASURED.append(seed)
  yield {'way': 'a', 'score': 1.0 + seed}


@pytest.fixture
def claim(monkeypatch, tmp_path):
  """The only claim, whose results go to a folder of their own."""
  made = declaration.Claim(
    name='toy_claim',
    paper='A paper',
    statement='The score is large.',
    source=declaration.Measurement('toy', measure, ['way'], 2.0),
    rules=[rules.Within('score', 'score', low=0.5)],
  )
  monkeypatch.setattr(catalogue, 'CLAIMS', (made,))
  folder = tmp_path / 'results'
  for function in (
    *(verdicts.find_outcome, verdicts.make_path, verdicts.is_recorded),
    page.make_page,
  ):
    defaults = [
      folder if value == declaration.RESULTS else value
      for value in function.__defaults__
    ]
    monkeypatch.setattr(function, '__defaults__', tuple(defaults))
  monkeypatch.setattr(page.write, '__defaults__', (tmp_path / 'claims.md',))
  monkeypatch.setattr(pictures, 'FOLDER', tmp_path / 'claims')
  MEASURED.clear()
  return made


def test_what_is_missing_is_run_once(claim, tmp_path, capsys):
  program.main([])
  assert MEASURED == [0, 1, 2, 3, 4]
  text = (tmp_path / 'claims.md').read_text()
  assert '| [The score is large.](#toy_claim) | **holds** | 5 |' in text
  assert '| score | at least 0.5 | 3 [' in text
  assert '![toy_claim](../figures/claims/toy_claim.png)' in text
  assert (tmp_path / 'claims' / 'toy_claim.png').is_file()
  assert 'toy_claim: holds' in capsys.readouterr().out
  program.main(['toy_claim'])
  assert len(MEASURED) == 5
  # What is recorded decides, not what was.
  table = tmp_path / 'results' / 'toy.csv'
  table.write_text(table.read_text().replace('a,4,done,5', 'a,4,done,-99'))
  program.main([])
  assert verdicts.find_outcome(claim).verdict == readings.UNDECIDED
  assert '| **undecided** |' in (tmp_path / 'claims.md').read_text()


def test_quick_leaves_nothing(claim, tmp_path, capsys):
  program.main(['--size=quick'])
  assert MEASURED == [0]
  assert list(tmp_path.iterdir()) == []
  assert capsys.readouterr().out == 'toy: 1 rows\n'


def test_a_dry_run_says_what_there_is(claim, tmp_path, capsys):
  program.main(['--dry-run'])
  assert capsys.readouterr().out == (
    'toy_claim: not run; small: to run, 2 minutes of a core\n'
  )
  rows = [
    {'way': 'a', 'score': 2.0, 'seed': seed, 'processor_seconds': 1.0}
    for seed in range(5)
  ]
  tables.write_measured(tmp_path / 'results' / 'toy.csv', ['way'], rows)
  program.main(['--dry-run'])
  assert 'holds; small: recorded' in capsys.readouterr().out
  program.main(['--dry-run', '--size=full'])
  assert capsys.readouterr().out == 'Not at the size full: toy_claim\n'


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['toy_clam'], "no claim 'toy_clam'; did you mean toy_claim?"),
    (['zzz'], "no claim 'zzz'; --dry-run lists all"),
    (
      ['--size=full'],
      'none of these claims has the size full; give one of: quick, small',
    ),
    (['--size=tiny'], 'invalid choice'),
  ],
)
def test_mistakes_are_one_line(claim, arguments, message):
  with pytest.raises(errors.UserError) as error:
    program.main(arguments)
  assert message in str(error.value)
  assert '\n' not in str(error.value)


def test_sources_run_in_order_of_cost_each_once(claim):
  cheap = declaration.Measurement('cheap', measure, ['way'], 1.0)
  others = [
    dataclasses.replace(claim, name='other'),
    dataclasses.replace(claim, name='cheap', source=cheap),
  ]
  ordered = program._order_by_cost([claim, *others], 'small')
  assert [source.name for source in ordered] == ['cheap', 'toy']
