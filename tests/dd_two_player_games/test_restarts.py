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
"""What must give the same bits: chunks, restarts, `pmap`.

These programs are compiled as their users' are.
"""

import jax
import numpy as np
import pytest

from dd_two_player_games import model_utils
from jaxline_harness import device_mesh
from jaxline_harness import drawn_ahead
from tests.dd_two_player_games import small_experiments


def assert_equal(tree1, tree2):
  jax.tree.map(np.testing.assert_array_equal, tree1, tree2)


CONFIGS = {
  'dcgan_cancelled': small_experiments.images_config,
  'mlp_runge_kutta_4': lambda: small_experiments.points_config(
    small_experiments.RULES['runge_kutta_4']
  ),
  'mlp_in_turns_adam': lambda: small_experiments.points_config(
    small_experiments.RULES['several_updates'], {'name': 'adam', 'lr': 1e-3}
  ),
}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize('name', CONFIGS)
def test_chunks_and_restarts_change_no_bit(name):
  config = CONFIGS[name]()
  made = small_experiments.make(config)
  made.ensure_train_state()
  start = made.snapshot_state()
  logs = small_experiments.train(made, 30, chunk=1)
  expected = made.snapshot_state()
  assert int(expected['train_state'].global_step) == 30
  for chunk in (7, 30):
    made.restore_from_snapshot(start)
    assert_equal(small_experiments.train(made, 30, chunk), logs)
    assert_equal(made.snapshot_state(), expected)
  made.restore_from_snapshot(start)
  small_experiments.train(made, 13, 9)
  restarted = small_experiments.make(config)
  restarted.restore_from_snapshot(made.snapshot_state())
  assert_equal(small_experiments.train(restarted, 30, 9), logs)
  assert_equal(restarted.snapshot_state(), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
  'training',
  [
    {'num_disc_updates': 2, 'conditional': True},
    small_experiments.runge_kutta(2),
  ],
)
def test_examples_on_the_host_change_no_bit(training, monkeypatch):
  """Wherever chunks end, and windows of batches."""
  monkeypatch.setattr(drawn_ahead, '_MOST_STEPS', 3)
  on_device, on_host = (
    small_experiments.make(
      small_experiments.points_config(training, data_on=where)
    )
    for where in ('device', 'host')
  )
  logs = small_experiments.train(on_device, 8)
  expected = on_device.snapshot_state()
  on_host.ensure_train_state()
  start = on_host.snapshot_state()
  for chunk in (8, 2):
    on_host.restore_from_snapshot(start)
    assert_equal(small_experiments.train(on_host, 8, chunk), logs)
    assert_equal(on_host.snapshot_state(), expected)
  before, after = on_host.look_ahead()
  assert_equal(before, expected['train_state'])
  small_experiments.train(on_device, 9)
  assert_equal(after, on_device.snapshot_state()['train_state'])


@pytest.mark.slow
@pytest.mark.optimised
def test_pmap_gives_the_same_step():
  """The loop's `shard_map` means what `pmap` does, gradients of sums too."""
  made = small_experiments.make(
    small_experiments.points_config(small_experiments.RULES['simultaneous'])
  )
  made.ensure_train_state()
  step = jax.pmap(made.update, axis_name='i')
  wanted, _ = step(
    *model_utils.put_on_local_devices(
      (device_mesh.unreplicate(made.train_state), made.device_data())
    )
  )
  small_experiments.train(made, 1)
  jax.tree.map(
    lambda found, copies: np.testing.assert_array_equal(found, copies[0]),
    device_mesh.unreplicate(made.train_state),
    jax.device_get(wanted),
  )
