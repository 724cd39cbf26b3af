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
"""The benchmark's configs are what its table says; the table is Markdown."""

import json
import sys

import pytest

from benchmarks import train_step
from dd_two_player_games import settings

CASES = {'mlp': 128, 'mnist': 64, 'cifar': 128}


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('terms', ['plain', 'cancelled', 'all', 'rk4'])
@pytest.mark.parametrize('option', ['', '-shared', '-bfloat16'])
def test_config(case, terms, option):
  training = train_step.full_config(case, terms + option).training
  assert training.batch_size == CASES[case]
  assert training.runge_kutta_updates == (terms == 'rk4')
  assert training.simultaneous_updates != training.runge_kutta_updates
  assert training.estimator_fn.endswith(
    'shared_draws' if option == '-shared' else 'lowest_variance'
  )
  bfloat16 = option == '-bfloat16'
  assert training.compute_dtype == ('bfloat16' if bfloat16 else 'float32')
  used = {
    term
    for kind in training.grad_regularizes.values()
    for coefficients in kind.values()
    for term, coefficient in coefficients.items()
    if coefficient
  }
  assert (
    used
    == {
      'plain': set(),
      'rk4': set(),
      'cancelled': {'other_dot_prod'},
      'all': set(settings.TERMS),
    }[terms]
  )


def test_table():
  def figures(seconds):
    return {
      'step_seconds': seconds,
      'step_seconds_range': [seconds, seconds],
      'compile_seconds': 2.0,
      'peak_megabytes': 300.0,
    }

  plain = {'project': figures(0.5), 'textbook': figures(2.0)}
  shared = {'project': figures(0.75)}
  lines = train_step.table(
    [
      {'case': 'mlp', 'variant': 'plain', **plain},
      {'case': 'mlp', 'variant': 'all-shared', **shared},
    ]
  ).split('\n')
  assert len({line.count('|') for line in lines}) == 1
  cells = [[cell.strip() for cell in line.split('|')] for line in lines[2:]]
  assert cells[0][1:6] == [
    'mlp, plain',
    '500 (500–500)',
    '2,000 (2,000–2,000)',
    '4.0',
    '1.00',
  ]
  assert cells[1][3:6] == ['–', '–', '1.50']


def test_what_fails_costs_the_others_nothing(tmp_path, monkeypatch, capsys):
  def measure(case, variant, repeats, names):
    if variant == 'plain':
      raise RuntimeError('no memory')
    figures = {
      'step_seconds': 0.5,
      'step_seconds_range': [0.5, 0.5],
      'compile_seconds': 2.0,
      'peak_megabytes': 300.0,
    }
    return {'case': case, 'variant': variant, **dict.fromkeys(names, figures)}

  monkeypatch.setattr(train_step, 'measure', measure)
  monkeypatch.setenv('XLA_PYTHON_CLIENT_PREALLOCATE', 'true')  # Kept after.
  output = tmp_path / 'figures.json'
  command = 'x --without-textbook --cases mlp --variants plain rk4 --output'
  monkeypatch.setattr(sys, 'argv', [*command.split(), str(output)])
  with pytest.raises(SystemExit, match='not measured, see above: mlp plain'):
    train_step.main()
  assert 'mlp, plain: no memory' in capsys.readouterr().err
  (kept,) = json.loads(output.read_text())['results']
  assert kept['variant'] == 'rk4'
  assert 'textbook' not in kept
