# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""What the figures of the principal flow show, at a small size."""

import json

import jax
import numpy as np
import pytest

from figures import principal_flow


@pytest.mark.slow
def test_drift_of_a_network_shrinks_by_the_flow_s_order():
  """In lengths of a step: halved with h, and quartered."""
  with jax.enable_x64(True):
    loss, params = principal_flow.small_network()
    for name, factor in {'gradient flow': 2, 'IGR flow': 4}.items():
      drifts = [
        principal_flow.drift(name, loss, params, h) for h in (0.1, 0.05)
      ]
      np.testing.assert_allclose(drifts[0] / drifts[1], factor, rtol=0.1)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--quick'], '--quick needs --output=FOLDER'),
    (['quadratic'], 'no figure quadratic; there are quadratics'),
  ],
)
def test_what_is_refused(arguments, message, capsys):
  with pytest.raises(SystemExit):
    principal_flow.main(arguments)
  assert message in capsys.readouterr().err


@pytest.mark.slow
def test_figures(tmp_path):
  principal_flow.main(['--quick', f'--output={tmp_path}'])
  results = {}
  for name in principal_flow.DRAWINGS:
    picture = tmp_path / f'principal_flow_{name}.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    results[name] = json.loads(picture.with_suffix('.json').read_text())

  for case in results['quadratics']:
    apart = case['largest_distance_to_descent']
    assert apart['principal flow'] < 1e-8
    assert min(apart['gradient flow'], apart['IGR flow']) > 0.25
  for case in results['nonlinear']['banana']:
    apart = case['distance']
    assert apart['principal flow'][1] < 0.1 * apart['gradient flow'][1]
  (edge,) = results['edge_of_stability']
  assert edge['learning_rate'] * edge['two_over_h'] == 2
  for methods in results['dal'].values():
    for row in methods.values():
      assert np.isfinite(row['train_loss'] + row['lambda_0']).all()
