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
"""What each kind of field takes, and how it says no."""

import math

from ml_collections import config_dict
import numpy as np
import pytest

from jaxline_harness import errors
from jaxline_harness import settings


@pytest.mark.parametrize(
  ('field', 'good', 'bad'),
  [
    (settings.flag(), [True, False], [0, 1, None, 'True', 1.0]),
    (
      settings.whole(0),
      [0, 1, 10**30, np.int64(3)],
      [-1, 1.0, True, '1', None],
    ),
    (settings.whole(2, 3), [2, 3], [1, 4, 2.5, [2]]),
    (
      settings.real(),
      [-1e300, 0, 3, np.float32(1)],
      [math.nan, math.inf, -math.inf, True, '1', None, 1j],
    ),
    (settings.real(0, 1), [0, 0.5, 1], [-1e-9, 1.1, math.nan]),
    (settings.real(above=0, below=1), [1e-9, 0.5], [0, 1, 10**400, math.inf]),
    (settings.text(), ['', 'a b', 'größe'], [None, 3, 'a\nb', 'a\0', b'a']),
    (settings.text(empty=False), ['a'], ['', 'a\n']),
    (settings.one_of(['a', 'b']), ['a', 'b'], ['c', '', None, ['a'], 1]),
    (settings.one_of(['a']).or_none(), ['a', None], ['None', 0]),
    (
      settings.list_of(settings.whole(1)),
      [[1], (2, 3)],
      [[], 1, [0], '12', None],
    ),
    (
      settings.one_or_more(
        settings.list_with('[s, n]', settings.text(), settings.whole(1))
      ),
      [['a', 1], ('a', 2), [['a', 1]], (['a', 1], ('b', 2))],
      [[], 'a', ['a'], ['a', 1, 2], {}, None],
    ),
    (
      settings.mapping(),
      [{}, {'a': 1}, config_dict.ConfigDict({'a': 1})],
      [None, [], 'a', {1: 2}],
    ),
  ],
)
def test_what_fields_take(field, good, bad):
  for value in good:
    field.check('config.x', value)
  for value in bad:
    with pytest.raises(errors.UserError, match=r'^config\.x(:| must be)'):
      field.check('config.x', value)


@pytest.mark.parametrize(
  ('field', 'value', 'line'),
  [
    (settings.whole(0), -1, 'x must be a whole number from 0 up, not -1'),
    (settings.whole(0, 2), 3, 'x must be a whole number from 0 to 2, not 3'),
    (settings.real(), math.nan, 'x must be a finite number, not nan'),
    (
      settings.real(above=0, most=2**31 - 1).or_none(),
      0,
      'x must be a finite number above 0 up to 2147483647, or None, not 0',
    ),
    (
      settings.one_of(['momentum', 'sgd']),
      'momentun',
      "x: there is no 'momentun'; did you mean momentum?",
    ),
    (
      settings.one_of(['momentum', 'sgd']),
      None,
      'x: there is no None; there is momentum, sgd',
    ),
  ],
)
def test_how_fields_say_no(field, value, line):
  with pytest.raises(errors.UserError) as caught:
    field.check('x', value)
  assert str(caught.value) == line


@pytest.mark.parametrize(
  ('value', 'shown'),
  [
    ('a\nb', r"'a\nb'"),
    (config_dict.ConfigDict({'a': {'b': 1}}), "{'a': {'b': 1}}"),
    ([0] * 1000, '[' + '0, ' * 25 + '0...'),
    (np.zeros((2, 2)), 'array([[0., 0.], [0., 0.]])'),
  ],
)
def test_values_are_shown_on_one_line(value, shown):
  assert settings.show(value) == shown


def test_an_integer_that_python_does_not_write():
  assert settings.show(10**5000) == 'this int'
