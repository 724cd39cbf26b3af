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
"""Tests for runs that show themselves as they train, and for their use after.

One tiny GAN of images is trained with all measurements, and once without.
"""

import csv
import json
import re
import shutil

import jax
from ml_collections import config_dict
import numpy as np
from PIL import Image
import pytest

import dd_two_player_games
from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import experiment
from dd_two_player_games import report
from dd_two_player_games import sample
from dd_two_player_games import trained_run
from jaxline_harness import checkpoint_files
from jaxline_harness import errors
from tests.dd_two_player_games import small_experiments

pytestmark = pytest.mark.slow

CONFIG = """
from dd_two_player_games import base_config
from tests.dd_two_player_games import small_experiments


def get_config():
  config = base_config.get_base_config()
  config.training_steps = 6
  config.save_checkpoint_interval = 2
  config.max_checkpoints_to_keep = 2
  config.log_train_data_interval = 2
  config.best_model_eval_metric = 'FID'
  config.best_model_eval_metric_higher_is_better = False
  config.experiment_kwargs.config = small_experiments.images_config()
  return config
"""
PREFIX = '--config.experiment_kwargs.config.'
MEASURED = (
  f'{PREFIX}training.dynamics.every=2',
  f'{PREFIX}training.dynamics.drift_every=2',
  f'{PREFIX}training.dynamics.spectrum_every=4',
  f'{PREFIX}training.dynamics.spectrum_products=4',
  f'{PREFIX}eval.every=2',
)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  path = tmp_path_factory.mktemp('configs') / 'tiny_config.py'
  path.write_text(CONFIG)
  return path


@pytest.fixture(scope='module')
def run(config, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'measured'
  assert small_experiments.launch_mode('train', config, folder, *MEASURED) == 0
  return folder


def rows(folder, series):
  with open(folder / series / 'metrics.csv', newline='') as f:
    found = {int(row.pop('step')): row for row in csv.DictReader(f)}
  for row in found.values():
    del row['seconds']
  return found


def state_at(folder, step, series='latest'):
  given = json.loads((folder / 'config.json').read_text())['config']
  config = base_config.resolve(config_dict.ConfigDict(given))
  made = experiment.Experiment('train', None, config.experiment_kwargs.config)
  path = folder / 'checkpoints' / series / str(step)
  return checkpoint_files.read(str(path), made.abstract_train_state())


def test_measuring_changes_no_bit(config, run, tmp_path):
  assert small_experiments.launch_mode('train', config, tmp_path / 'plain') == 0
  jax.tree.map(
    np.testing.assert_array_equal,
    state_at(run, 6),
    state_at(tmp_path / 'plain', 6),
  )
  assert not (tmp_path / 'plain' / 'dynamics').exists()


def test_all_is_written_at_its_steps(run):
  assert list(rows(run, 'dynamics')) == [2, 4, 6]
  assert list(rows(run, 'spectrum')) == [4, 6]
  assert list(rows(run, 'eval')) == [2, 4, 6]
  for step, row in rows(run, 'dynamics').items():
    assert bool(row['e_flow']) == (step == 4)
    assert float(row['disc/update_norm']) > 0
  assert {'stable', 'locally_nash'} <= rows(run, 'spectrum')[4].keys()
  for step in (2, 4, 6):
    assert (run / 'eval' / f'metrics_{step:08d}.json').exists()


def test_a_report_shows_all(run):
  page = report.make_report([str(run)])
  assert re.findall(r'<h2 id="section-\d+">([^<]*)', page) == [
    *('Config', 'Losses', 'Metrics', 'Samples', 'Dynamics', 'Spectrum'),
    'What happened',
  ]
  assert 'Distance of a step from the flow' in page
  assert 'disc: measured drift' in page
  # Of measurements that no plot knows.
  assert 'Other measurements' not in page
  assert 'class="notes"' not in page


def test_best_follows_evaluations_in_training(run):
  distances = {
    step: float(row['FID']) for step, row in rows(run, 'eval').items()
  }
  best = trained_run.load(str(run), 'best').step
  assert best == min(distances, key=distances.__getitem__)


def test_a_run_goes_on_with_its_measurements(config, run, tmp_path):
  folder = tmp_path / 'restarted'
  short = (*MEASURED, '--config.training_steps=3')
  assert small_experiments.launch_mode('train', config, folder, *short) == 0
  # As if it had been killed after the row of step 4.
  shutil.copy(run / 'dynamics' / 'metrics.csv', folder / 'dynamics')
  assert small_experiments.launch_mode('train', config, folder, *MEASURED) == 0
  # The end of the first part is one more row.
  for series in ('dynamics', 'spectrum', 'eval'):
    again = rows(folder, series)
    assert {step: again[step] for step in rows(run, series)} == rows(
      run, series
    )


def test_all_checkpoints_are_evaluated(config, run, capsys, tmp_path):
  folder = tmp_path / 'copy'
  shutil.copytree(run, folder)
  before = rows(folder, 'eval')
  shutil.rmtree(folder / 'eval')
  assert small_experiments.launch_mode('eval', config, folder, '--all') == 0
  kept = {
    int(path.name)
    for series in ('latest', 'best')
    for path in (folder / 'checkpoints' / series).iterdir()
  }
  after = rows(folder, 'eval')
  assert set(after) == kept
  assert {6, 4} <= kept
  # The same figures as in training.
  assert after == {step: before[step] for step in kept}
  assert small_experiments.launch_mode('train', config, folder, '--all') == 2
  assert '--all is of eval' in capsys.readouterr().err


# A trained run.


@pytest.fixture
def loaded(run, monkeypatch):
  """The run, where there are no data."""

  def no_data(*arguments):
    raise AssertionError(f'asked for data: {arguments}')

  monkeypatch.setattr(data_utils, 'load_dataset', no_data)
  return dd_two_player_games.load(str(run))


def test_samples_need_no_data_and_follow_from_the_seed(loaded, run):
  samples = loaded.sample(5, seed=3)
  assert samples.shape == (5, 28, 28, 1)
  assert samples.dtype == np.uint8
  np.testing.assert_array_equal(samples, loaded.sample(5, seed=3))
  assert (samples != loaded.sample(5, seed=4)).any()
  latents = loaded.draw_latents(5, seed=3)
  np.testing.assert_array_equal(samples, loaded.sample(latents=latents))
  assert loaded.step == 6
  assert dd_two_player_games.load(str(run), 4).step == 4
  with pytest.raises(ValueError, match=r'latents have shape \(2, 3\)'):
    loaded.sample(latents=np.zeros((2, 3)))


def test_samples_are_the_experiment_s(run):
  loaded = trained_run.load(str(run))
  made = experiment.Experiment('train', None, loaded.config)
  made.restore_from_snapshot({'train_state': state_at(run, 6)})
  picture = made._samples(7, made._eval_key)
  latents = loaded._model.draw_latents(made._eval_key, 7)
  expected = np.round((np.clip(picture, -1, 1) + 1) * 127.5)
  found = loaded.sample(latents=latents)
  assert np.abs(found.astype(float) - expected).max() <= 1


def test_interpolations_begin_and_end_at_samples(loaded):
  ways = loaded.interpolate(num_pairs=2, num_between=4, seed=1)
  assert ways.shape == (8, 28, 28, 1)
  ends = loaded.sample(4, seed=1)
  np.testing.assert_allclose(ways[[0, 4]].astype(int), ends[:2], atol=1)
  np.testing.assert_allclose(ways[[3, 7]].astype(int), ends[2:], atol=1)


def test_the_discriminator_gives_a_number_an_example(loaded):
  outputs = loaded.discriminate(loaded.sample(3))
  assert outputs.shape == (3,)
  assert np.isfinite(outputs).all()


def test_the_discriminator_gives_features_where_losses_take_several(
  loaded, monkeypatch
):
  features = np.arange(6.0).reshape(3, 2)
  monkeypatch.setattr(loaded, '_discriminate', lambda batch: features)
  found = loaded.discriminate(loaded.sample(3))
  np.testing.assert_array_equal(found, features)


def test_what_is_not_there_is_one_line(run, tmp_path):
  with pytest.raises(errors.UserError, match='no folder'):
    trained_run.load(str(tmp_path / 'nothing'))
  with pytest.raises(
    errors.UserError, match='no checkpoint of step 5; there is'
  ):
    trained_run.load(str(run), 5)
  shutil.copytree(run, tmp_path / 'copy')
  (tmp_path / 'copy' / 'config.json').write_text('{')
  # The checkpoint knows its config (test_sample.py: one that does not).
  assert trained_run.load(str(tmp_path / 'copy')).step == 6
  (tmp_path / 'copy/checkpoints/latest/6/origin.json').write_text('{')
  with pytest.raises(errors.UserError, match='is damaged: .*; kept are 4, 6'):
    trained_run.load(str(tmp_path / 'copy'))


def test_samples_are_written(run, tmp_path, capsys):
  sample.main([str(run), '--num=3', f'--out={tmp_path / "pictures"}'])
  names = sorted(path.name for path in (tmp_path / 'pictures').iterdir())
  assert names == ['000000.png', '000001.png', '000002.png', 'grid.png']
  with Image.open(tmp_path / 'pictures' / '000000.png') as image:
    expected = trained_run.load(str(run)).sample(3)[0, ..., 0]
    np.testing.assert_array_equal(np.asarray(image), expected)
  archive = f'--out={tmp_path / "x.npz"}'
  sample.main([str(run), '--num=2', archive, '--interpolate'])
  with np.load(tmp_path / 'x.npz') as archive:
    assert archive['samples'].shape == (16, 28, 28, 1)
  assert '16 samples of step 6' in capsys.readouterr().out
