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
"""Tests of the figure of projected scaling."""

import pytest

from figures import scaling


def test_the_figure_draws_the_projection():
  rows = scaling.read_projection()
  figure = scaling.draw(rows)
  rates, shares, *_ = figure.axes
  assert len(rates.lines) == len(shares.lines) == 4
  drawn = [y for line in rates.lines for y in line.get_ydata()]
  assert sorted(drawn) == sorted(row['examples_per_second'] for row in rows)
  for row in rows:
    step = row['batch_size'] / row['examples_per_second']
    assert row['sending_seconds'] / step == pytest.approx(
      scaling.share_of_sending(row) / 100
    )
