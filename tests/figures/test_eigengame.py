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
"""What the figure of EigenGame shows, at its quick size."""

from matplotlib import image
import numpy as np
import pytest

from figures import _output
from figures import eigengame

pytestmark = pytest.mark.optimised


@pytest.fixture(scope='module')
def curves():
  return eigengame.measure(eigengame.SIZES['quick'])


@pytest.mark.slow
def test_only_alpha_keeps_an_error_at_a_small_minibatch(curves):
  ends = {name: curve.distances[-1] for name, curve in curves[8].items()}
  alpha = ends.pop('alpha_eigengame')
  assert alpha > 3 * max(ends.values())
  # Of the full batch, alpha's direction is the utility's own gradient.
  full = {name: curve.distances[-1] for name, curve in curves[None].items()}
  alpha = full.pop('alpha_eigengame')
  assert alpha < 3 * max(full.values())


@pytest.mark.slow
def test_players_find_eigenvectors_but_krasulinas(curves):
  streaks = {name: curve.streaks[-1] for name, curve in curves[None].items()}
  assert streaks.pop('krasulina') < 8 == min(streaks.values())


@pytest.mark.slow
def test_it_is_drawn(curves, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(eigengame, 'measure', lambda size: curves)
  monkeypatch.setattr(_output, 'FOLDER', tmp_path)
  monkeypatch.setattr('sys.argv', ['eigengame.py', '--size=quick'])
  eigengame.main()
  assert np.std(image.imread(tmp_path / 'eigengame.png')) > 0
  printed = capsys.readouterr().out
  assert printed.count('subspace distance') == 2 * len(eigengame.METHODS)
