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
"""metrics.csv: rows added, replaced, cut off and lost."""

import csv

import pytest

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import metrics_table


def read_csv(path):
  with open(path, newline='') as f:
    return list(csv.DictReader(f))


def test_columns_may_widen(tmp_path):
  table = metrics_table.MetricsTable(str(tmp_path / 'm.csv'))
  table.write(1, {'a': '1'})
  table.write(2, {'a': '2', 'with, comma': '5'})
  table.write(3, {'with, comma': '6'})
  rows = read_csv(tmp_path / 'm.csv')
  assert list(rows[0]) == ['step', 'a', 'with, comma', 'seconds']
  assert [row['a'] for row in rows] == ['1', '2', '']
  assert [row['with, comma'] for row in rows] == ['', '5', '6']


def test_rows_beyond_the_restored_step_are_cut_off(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('step,a,seconds\n5,1,10.0\n10,2,20.0\n15,3,30.0\n')
  table = metrics_table.MetricsTable(str(path), last_step=10)
  assert [row['step'] for row in read_csv(path)] == ['5', '10']
  table.write(15, {'a': '4'})
  rows = read_csv(path)
  assert [(row['step'], row['a']) for row in rows] == [
    ('5', '1'),
    ('10', '2'),
    ('15', '4'),
  ]
  assert 20.0 <= float(rows[-1]['seconds']) < 25.0  # The clock goes on.


def test_half_a_line_is_dropped(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('step,a,seconds\n5,1,10.0\n10,2')
  table = metrics_table.MetricsTable(str(path), last_step=10)
  table.write(15, {'a': '4'})
  assert [row['step'] for row in read_csv(path)] == ['5', '15']


def test_a_step_written_again_replaces_its_row(tmp_path):
  table = metrics_table.MetricsTable(str(tmp_path / 'm.csv'))
  for step, value in ((10, 'x'), (20, 'y'), (10, 'z')):
    table.write(step, {'a': value})
  rows = read_csv(tmp_path / 'm.csv')
  assert [(row['step'], row['a']) for row in rows] == [('10', 'z'), ('20', 'y')]


def test_a_row_that_could_not_be_written_comes_with_the_next(
  tmp_path, monkeypatch
):
  def fail(*unused_arguments):
    raise OSError('disk full')

  table = metrics_table.MetricsTable(str(tmp_path / 'm.csv'))
  table.write(1, {'a': '1'})
  with monkeypatch.context() as full:
    full.setattr(files, 'append', fail)
    with pytest.raises(OSError, match='disk full'):
      table.write(2, {'a': '2'})
  table.write(3, {'a': '3'})
  rows = read_csv(tmp_path / 'm.csv')
  assert [row['a'] for row in rows] == ['1', '2', '3']


def test_damaged_lines_are_dropped(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_bytes(b'step,a,seconds\n5,1,10.0\n\xff\xfe,\x00,2\n6,2,11.0\n')
  metrics_table.MetricsTable(str(path), last_step=10)
  assert [row['step'] for row in read_csv(path)] == ['5', '6']


def test_what_is_no_table_is_refused(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('step,a,seconds\n"' + 'x' * 200_000)
  with pytest.raises(errors.UserError, match=r'm\.csv is damaged .*move it'):
    metrics_table.MetricsTable(str(path), last_step=10)
