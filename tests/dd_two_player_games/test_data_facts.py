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
"""What a model has to know of its data: how it is used and kept."""

import jax
import numpy as np
import pytest

from dd_two_player_games import data_facts
from dd_two_player_games import nets
from dd_two_player_games import trained_run
from jaxline_harness import checkpoint_files
from jaxline_harness import errors
from jaxline_harness import run_directory
from tests.dd_two_player_games import small_experiments


def write_images(path, shape, **more):
  """An `.npz` of 24 images."""
  images = np.random.default_rng(0).integers(0, 256, (24, *shape), np.uint8)
  np.savez(path, images=images, **more)
  return str(path)


def save(made, config, path):
  """A checkpoint of an experiment's state, at the step that its path names."""
  checkpoint_files.write(
    path,
    made.snapshot_state()['train_state'],
    run_directory.to_plain(config),
    data=made.describe_data(),
  )


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(9, 14, 3), (64, 64, 1)])
def test_the_default_networks_take_images_of_any_size(tmp_path, shape):
  """And a run of them needs no data set to be used."""
  config = small_experiments.images_config(
    dataset=write_images(tmp_path / 'mine.npz', shape), nets={}
  )
  path = str(tmp_path / '0')
  save(small_experiments.make(config), config, path)
  (tmp_path / 'mine.npz').unlink()
  run = trained_run.TrainedRun(config, path)
  samples = run.sample(3)
  assert samples.shape == (3, *shape)
  assert np.isfinite(run.discriminate(samples)).all()


def test_arguments_go_to_networks_that_declare_them():
  facts = data_facts.facts_of(np.zeros((4, 2)))
  assert facts.shape == (2,)
  assert facts.network_arguments(nets.DCGANGenerator) == {'output_shape': (2,)}
  assert facts.network_arguments(nets.SimpleMLP) == {}


@pytest.mark.parametrize(
  'shape', ['a', [], [28, 0, 1], [1] * 5, [2**20] * 3, None]
)
def test_records_that_are_none_are_refused(shape):
  with pytest.raises(errors.UserError, match='the checkpoint x records data'):
    data_facts.read_record('x', {'shape': shape})


def test_checkpoints_without_a_record(tmp_path):
  """Then the config says what networks make."""
  data = write_images(tmp_path / 'mine.npz', (8, 8, 1))
  nets = {'gen_kwargs': {'output_size': 8}}
  config = small_experiments.images_config(dataset=data, nets=nets)
  made = small_experiments.make(config)
  state = jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype), made.abstract_train_state()
  )
  path = str(tmp_path / '0')
  checkpoint_files.write(path, state, run_directory.to_plain(config))
  run = trained_run.TrainedRun(config, path)
  assert run.sample(2).shape == (2, 8, 8, 1)
