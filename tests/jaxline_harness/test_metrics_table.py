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
import os
import time

import pytest

from jaxline_harness import files
from jaxline_harness import metrics_table
from tests.jaxline_harness import test_files


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


def test_reading_changes_nothing(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('seconds;step;a\n1,5;5;1\nnonsense\n\n2,5;6;\n')
  before = path.read_bytes()
  assert metrics_table.read(str(path)) == (
    ['seconds', 'step', 'a'],
    {
      5: {'seconds': '1.5', 'step': '5', 'a': '1'},
      6: {'seconds': '2.5', 'step': '6', 'a': ''},
    },
    1,
  )
  assert path.read_bytes() == before
  assert os.listdir(tmp_path) == ['m.csv']
  with pytest.raises(FileNotFoundError):
    metrics_table.read(str(tmp_path / 'missing.csv'))


def table_of(*steps):
  return 'step,a,b,seconds\n' + ''.join(f'{n},{n}.5,x{n},1.0\n' for n in steps)


def values(path):
  return [(row['step'], row['a'], row['b']) for row in read_csv(path)]


def test_a_clock_that_cannot_be_read_begins_anew(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('step,a,seconds\n5,1,nan\n')
  metrics_table.MetricsTable(str(path), last_step=5).write(6, {'a': '2'})
  assert 0 <= float(read_csv(path)[-1]['seconds']) < 60


EXPECTED = [('5', '5.5', 'x5'), ('10', '10.5', 'x10')]
# What people and their programs make of a table, and it can still be read.
CHANGES = {
  'none': str.encode,
  'byte-order mark': lambda text: text.encode('utf-8-sig'),
  'UTF-16': lambda text: text.encode('utf-16'),
  'UTF-16, big end first': lambda text: b'\xfe\xff' + text.encode('utf-16-be'),
  'UTF-16 without a mark': lambda text: text.encode('utf-16-le'),
  'semicolons': lambda text: text.replace(',', ';').encode(),
  'decimal commas': lambda text: (
    text.replace(',', ';').replace('.', ',').encode()
  ),
  'tabs': lambda text: text.replace(',', '\t').encode(),
  'line ends': lambda text: text.replace('\n', '\r\n').encode(),
  'old line ends': lambda text: text.replace('\n', '\r').encode(),
  'steps as floats': lambda text: (
    text.replace('\n5,', '\n5.0,').replace('\n10,', '\n1e1,').encode()
  ),
  'no last line end': lambda text: text.rstrip().encode(),
  'empty lines': lambda text: text.replace('\n', '\n\n').encode(),
  'spaces': lambda text: text.replace(',', ' , ').encode(),
  'quotes': lambda text: text.replace('x5', '"x5"').encode(),
  'order of rows': lambda text: ''.join(
    [text.splitlines(True)[i] for i in (0, 2, 1)]
  ).encode(),
}


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('last_step', [10, None])
def test_changes_that_people_make_cost_no_row(tmp_path, change, last_step):
  path = tmp_path / 'm.csv'
  path.write_bytes(CHANGES[change](table_of(5, 10)))
  table = metrics_table.MetricsTable(str(path), last_step)
  assert values(path) == EXPECTED
  table.write(15, {'a': '15.5', 'b': 'x15'})
  assert values(path) == [*EXPECTED, ('15', '15.5', 'x15')]
  assert os.listdir(tmp_path) == ['m.csv']


@pytest.mark.parametrize('change', CHANGES)
def test_also_while_the_table_is_written(tmp_path, change):
  path = tmp_path / 'm.csv'
  table = metrics_table.MetricsTable(str(path))
  for step in (5, 10):
    table.write(step, {'a': f'{step}.5', 'b': f'x{step}'})
  path.write_bytes(CHANGES[change](table_of(5, 10)))
  table.write(15, {'a': '15.5', 'b': 'x15'})
  assert values(path) == [*EXPECTED, ('15', '15.5', 'x15')]


@pytest.mark.parametrize('early', [True, False])
def test_columns_that_were_moved_or_added(tmp_path, early):
  path = tmp_path / 'm.csv'
  changed = 'seconds,b,note,step,a\n1.0,x5,why?,5,5.5\n1.0,x10,,10,10.5\n'
  path.write_text(changed if early else table_of(5, 10))
  table = metrics_table.MetricsTable(str(path), last_step=10)
  if not early:
    path.write_text(changed)
  table.write(15, {'a': '15.5', 'b': 'x15', 'c': '7'})
  table.write(20, {'a': '20.5', 'b': 'x20'})
  expected = [*EXPECTED, ('15', '15.5', 'x15'), ('20', '20.5', 'x20')]
  assert values(path) == expected
  rows = read_csv(path)
  assert [row['note'] for row in rows] == ['why?', '', '', '']
  assert [row['c'] for row in rows] == ['', '', '7', '']
  assert all(row['seconds'] for row in rows)


@pytest.mark.parametrize('content', ['', '\n', '\ufeff', 'step,a,b,seconds'])
def test_files_without_rows(tmp_path, content):
  path = tmp_path / 'm.csv'
  path.write_text(content)
  table = metrics_table.MetricsTable(str(path), last_step=10)
  for step in (11, 12):
    table.write(step, {'a': '1', 'b': '2'})
  assert values(path) == [('11', '1', '2'), ('12', '1', '2')]
  assert os.listdir(tmp_path) == ['m.csv']


# What cannot be read, and which steps are kept.
UNREADABLE = {
  'no header': (table_of(5, 10).split('\n', 1)[1], []),
  'another header': (table_of(5, 10).replace('step', 'Schritt'), []),
  'two columns of one name': (table_of(5, 10).replace('b', 'a'), []),
  'half a line': (table_of(5) + '10,10.', [5]),
  'a cell too many': (table_of(5, 10).replace('x5', 'x,5'), [10]),
  'a quote too many': (table_of(5, 10).replace('x5', '"x5'), [10]),
  'no step': (table_of(5, 10).replace('\n5,', '\n?,'), [10]),
  'half a step': (table_of(5, 10).replace('\n5,', '\n5.5,'), [10]),
  'two rows of one step': (table_of(5, 10, 10), [5, 10]),
  'no text': (table_of(5, 10).replace('x5', '\udcff'), [10]),
  'a hole': (table_of(5) + '\0' * 50, [5]),
  'a line without end': (table_of(5) + '"' + 'x' * 200_000, [5]),
  'no table': ('<html>\n' * 9, []),
}


@pytest.mark.parametrize('case', UNREADABLE)
def test_what_cannot_be_read_is_set_aside(tmp_path, case):
  text, kept = UNREADABLE[case]
  path = tmp_path / 'm.csv'
  content = text.encode('utf-8', 'surrogateescape')
  for name in ('m.csv.damaged', 'm.csv.damaged.1'):
    path.write_bytes(content)
    table = metrics_table.MetricsTable(str(path), last_step=10)
    table.write(15, {'a': '15.5', 'b': 'x15'})
    assert [int(row['step']) for row in read_csv(path)] == [*kept, 15]
    assert (tmp_path / name).read_bytes() == content
  metrics_table.MetricsTable(str(path), last_step=15)
  assert len(os.listdir(tmp_path)) == 3  # Nothing more once it is mended.


def test_a_failed_append_is_made_up_for_by_an_append(tmp_path, monkeypatch):
  """A row may find room where a second table does not."""
  path = tmp_path / 'm.csv'
  table = metrics_table.MetricsTable(str(path))
  table.write(1, {'a': '1'})
  with monkeypatch.context() as full:
    full.setattr(files, 'write_atomically', pytest.fail)
    size = os.path.getsize(path)
    with (
      test_files.largest_file(size + 5),
      pytest.raises(OSError, match='large'),
    ):
      table.write(2, {'a': '2'})
    assert os.path.getsize(path) == size
    table.write(3, {'a': '3'})
  assert [row['a'] for row in read_csv(path)] == ['1', '2', '3']


def test_widening_that_failed_puts_no_value_in_a_wrong_column(
  tmp_path, monkeypatch
):
  def fail(*unused_arguments):
    raise OSError('disk full')

  path = tmp_path / 'm.csv'
  table = metrics_table.MetricsTable(str(path))
  table.write(1, {'a': '1'})
  with monkeypatch.context() as full:
    full.setattr(files, 'write_atomically', fail)
    with pytest.raises(OSError, match='disk full'):
      table.write(2, {'a': '2', 'b': 'x'})
    with pytest.raises(OSError, match='disk full'):
      table.write(3, {'a': '3'})
  table.write(4, {'a': '4'})
  rows = read_csv(path)
  assert [row['a'] for row in rows] == ['1', '2', '3', '4']
  assert [row['b'] for row in rows] == ['', 'x', '', '']


def test_a_long_table_costs_no_more_a_row(tmp_path, monkeypatch):
  path = tmp_path / 'm.csv'
  path.write_text(table_of(*range(20_000)))
  table = metrics_table.MetricsTable(str(path), last_step=20_000)
  monkeypatch.setattr(files, 'open_regular', pytest.fail)
  monkeypatch.setattr(files, 'write_atomically', pytest.fail)
  start = time.monotonic()
  for step in range(20_000, 21_000):
    table.write(step, {'a': '1', 'b': '2'})
  # Some 50 ms; with a look at all rows it would be seconds.
  assert time.monotonic() - start < 1.0


def test_a_pipe_is_refused(tmp_path):
  os.mkfifo(tmp_path / 'm.csv')
  with pytest.raises(OSError, match='Not a regular file'):
    metrics_table.MetricsTable(str(tmp_path / 'm.csv'))
