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
"""Names of objects from outside: what they lead to, and what is said if not."""

import sys
import textwrap

import pytest

from jaxline_harness import errors
from jaxline_harness import outside
from jaxline_harness import settings


def check_number(found):
  if not isinstance(found, int):
    raise TypeError(f'this is no number but {found!r}')
  return found


NUMBERS = outside.Kind({'one': 1, 'two': 2}, check_number)


def write(path, text):
  path.write_text(textwrap.dedent(text))
  return path


def error_of(name):
  with pytest.raises(errors.UserError) as caught:
    NUMBERS.field().check('config.number', name)
  line = str(caught.value)
  assert '\n' not in line
  return line


def test_names_inside_and_outside(tmp_path, monkeypatch):
  write(tmp_path / 'mine.py', 'three = 3')
  (tmp_path / 'my_package').mkdir()
  write(tmp_path / 'my_package' / 'numbers.py', 'four = 4')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.chdir(tmp_path)
  for name, number in (
    ('two', 2),
    ('mine.py:three', 3),
    (f'{tmp_path}/mine.py:three', 3),
    ('my_package.numbers:four', 4),
  ):
    NUMBERS.field().check('config.number', name)
    assert NUMBERS.find(name) == number


def test_a_file_runs_once_in_a_process(tmp_path):
  path = write(tmp_path / 'counts.py', 'import sys\nn = sys.maxsize\nx = [n]')
  kind = outside.Kind({}, lambda found: found)
  assert kind.find(f'{path}:x') is kind.find(f'{path}:x')


def test_two_files_of_one_name_are_two(tmp_path):
  for number in (5, 6):
    (tmp_path / str(number)).mkdir()
    write(tmp_path / str(number) / 'same.py', f'x = {number}')
  found = [NUMBERS.find(f'{tmp_path}/{k}/same.py:x') for k in (5, 6)]
  assert found == [5, 6]


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    ('onee', "config.number: there is no 'onee'; did you mean one?"),
    ('mine.py', "there is no 'mine.py'; there is one, two"),
    ('mine.py:', "there is no 'mine.py:'"),
    ('mine:3x', "there is no 'mine:3x'"),
    (3, 'there is no 3'),
    ('none.py:x', 'config.number=none.py:x: there is no file {folder}/none.py'),
    ('mine.py:thre', 'mine.py has no thre; did you mean three?'),
    ('mine.py:xyz', 'config.number=mine.py:xyz: mine.py has no xyz'),
    ('mine.py:text', "config.number=mine.py:text: this is no number but 'a'"),
    ('fails.py:x', '{folder}/fails.py:2: ZeroDivisionError: division by zero'),
    ('exits.py:x', '{folder}/exits.py:1: SystemExit: 3'),
    ('no_python.py:x', '{folder}/no_python.py:1: SyntaxError: '),
    ('needs.py:x', '{folder}/needs.py:1: ModuleNotFoundError: No module named'),
    ('deep.py:x', '{folder}/deep.py:3: ValueError: lines of text'),
    ('not_there.at_all:x', 'there is no module not_there; PYTHONPATH says'),
    ('json.not_there:x', 'there is no module json.not_there; PYTHONPATH says'),
    ('json:lods', 'json has no lods; did you mean loads?'),
    ('a_package.fails:x', '/a_package/fails.py:1: NameError: name '),
  ],
)
def test_names_that_lead_nowhere(tmp_path, monkeypatch, name, expected):
  write(tmp_path / 'mine.py', "three = 3\ntext = 'a'")
  write(tmp_path / 'fails.py', 'x = 1\n1 / 0')
  write(tmp_path / 'exits.py', 'raise SystemExit(3)')
  write(tmp_path / 'no_python.py', 'x = = 1')
  write(tmp_path / 'needs.py', 'import no_such_library')
  write(
    tmp_path / 'deep.py',
    """\
    import json
    def f():
      raise ValueError('lines\\nof text')
    json.loads('1', parse_int=lambda _: f())
    """,
  )
  (tmp_path / 'a_package').mkdir(exist_ok=True)
  write(tmp_path / 'a_package' / 'fails.py', 'x = y')
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  assert expected.format(folder=tmp_path) in error_of(name)


def test_a_file_that_failed_is_read_again(tmp_path, monkeypatch):
  """Also where Python keeps what it has compiled of it."""
  monkeypatch.setattr(sys, 'dont_write_bytecode', False)
  path = write(tmp_path / 'fails.py', '1 / 0')
  assert 'ZeroDivisionError' in error_of(f'{path}:x')
  write(path, 'x = 7')
  assert NUMBERS.find(f'{path}:x') == 7


def test_an_interrupt_is_no_mistake_of_the_file(tmp_path):
  path = write(tmp_path / 'interrupted.py', 'raise KeyboardInterrupt')
  with pytest.raises(KeyboardInterrupt):
    NUMBERS.find(f'{path}:x')


def test_paths_become_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  tree = {
    'number': settings.Setting(None, 'A number.', NUMBERS.field()),
    'pair': settings.Setting(
      None,
      'A number and its share.',
      settings.list_with('[number, share]', NUMBERS.field(), settings.REAL),
    ),
    'pairs': settings.Setting(
      None,
      'One such pair or several.',
      settings.one_or_more(
        settings.list_with('[number, share]', NUMBERS.field(), settings.REAL)
      ),
    ),
  }
  for given, expected in (
    ('one', 'one'),
    (None, None),
    ('package.module:x', 'package.module:x'),
    ('a/b.py:x', f'{tmp_path}/a/b.py:x'),
    ('~/b.py:x', f'{tmp_path}/home/b.py:x'),
  ):
    for many in (False, True):
      configs = [
        {
          'number': name,
          'pair': name and [name, 0.5],
          'pairs': name and ([[name, 0.5]] * 2 if many else [name, 0.5]),
        }
        for name in (given, expected)
      ]
      settings.make_paths_absolute(tree, configs[0])
      assert configs[0] == configs[1]


def test_names_in_lists_are_looked_up(tmp_path):
  path = write(tmp_path / 'mine.py', 'three = 3')
  field = settings.list_with('[number, share]', NUMBERS.field(), settings.REAL)
  field.check('config.pair', [f'{path}:three', 0.5])
  with pytest.raises(errors.UserError, match=r'config.pair\[0\]=.*no fuor'):
    field.check('config.pair', [f'{path}:fuor', 0.5])
  several = settings.one_or_more(field)
  several.check('config.pairs', [[f'{path}:three', 0.5], ['one', 0.5]])
  with pytest.raises(
    errors.UserError, match=r'config.pairs\[1\]\[0\]=.*no fuor'
  ):
    several.check('config.pairs', [['one', 0.5], [f'{path}:fuor', 0.5]])
  with pytest.raises(errors.UserError, match=r'config.pairs\[0\]=.*no fuor'):
    several.check('config.pairs', [f'{path}:fuor', 0.5])


def test_errors_that_pass_a_users_file(tmp_path):
  path = write(tmp_path / 'mine.py', 'def f(x):\n  return 1 / x')
  function = outside.Kind({}, lambda found: found).find(f'{path}:f')
  with outside.explain_errors('dividing'):
    assert function(2) == 0.5
  with (
    pytest.raises(errors.UserError, match=f'^dividing: {path}:2: ZeroDiv'),
    outside.explain_errors('dividing'),
  ):
    function(0)
  with pytest.raises(ZeroDivisionError), outside.explain_errors('dividing'):
    1 / 0  # noqa: B018


def test_files_that_a_config_names_are_known_by_their_digests(tmp_path):
  path = write(tmp_path / 'mine.py', '')
  config = {'a': [f'{path}:x', 1.0], 'b': {'c': 'json:loads', 'd': None}}
  assert sorted(outside.names_in(config)) == [f'{path}:x', 'json:loads']
  assert outside.digests_in(config) == {
    # Of no bytes at all.
    str(path): 'e3b0c44298fc1c149afbf4c8996fb924'
    '27ae41e4649b934ca495991b7852b855'
  }


def test_modules_of_files_are_found_by_dataclasses(tmp_path):
  path = write(
    tmp_path / 'data.py',
    """\
    from __future__ import annotations
    import dataclasses
    @dataclasses.dataclass
    class Point:
      x: int = 0
    origin = Point().x
    """,
  )
  assert NUMBERS.find(f'{path}:origin') == 0
  assert not any(name == 'data' for name in sys.modules)
