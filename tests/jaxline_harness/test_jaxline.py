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
"""An experiment of ours in jaxline's own loop, which makes single steps."""

from absl import flags
import jax
from jaxline import train
from jaxline import utils
import numpy as np
import pytest

from jaxline_harness import checkpointing
from tests.jaxline_harness import test_launch
from tests.jaxline_harness import toy_experiment

toy = test_launch.toy


@pytest.fixture
def jaxline(monkeypatch):
  """jaxline 0.0.8 with what JAX has no longer put back."""
  flags.FLAGS.mark_as_parsed()

  def broadcast(tree):
    return jax.tree.map(
      lambda x: np.stack([x] * jax.local_device_count()), tree
    )

  monkeypatch.setattr(utils, 'bcast_local_devices', broadcast)
  return train


class Writer:
  def __init__(self):
    self.rows = {}

  def write_scalars(self, global_step, scalars):
    self.rows[global_step] = dict(scalars)

  def write_json(self, path, value):
    del path, value

  def write_images(self, global_step, images):
    del global_step, images


@pytest.mark.slow
@pytest.mark.optimised
def test_trains_and_evaluates_to_the_same_last_bit(jaxline, toy):
  assert toy(test_launch.CONFIG)[0] == 0
  config = toy_experiment.get_config()
  config.checkpoint_dir = 'jaxline'
  writer = Writer()
  jaxline.train(
    toy_experiment.Experiment,
    config,
    checkpointing.Checkpointer(config, 'train'),
    writer,
  )
  assert checkpointing.steps_in('jaxline/checkpoints/latest') == [10, 20]
  ours = test_launch.state_bytes('runs/toy')
  assert test_launch.state_bytes('jaxline') == ours
  table = test_launch.rows('runs/toy/train/metrics.csv')
  assert [row['step'] for row in table] == [str(step) for step in writer.rows]
  for row, logs in zip(table, writer.rows.values(), strict=True):
    np.testing.assert_equal(np.float32(row['toy_loss']), logs['toy_loss'])

  config.one_off_evaluate = True
  jaxline.evaluate(
    toy_experiment.Experiment,
    config,
    checkpointing.Checkpointer(config, 'eval'),
    writer,
    'eval',
  )
  assert checkpointing.steps_in('jaxline/checkpoints/best') == [20]
  w = np.frombuffer(ours['w'], np.float32)
  assert writer.rows[20]['score'] == float(np.sum(w))
