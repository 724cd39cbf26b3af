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
"""Defaults, shipped configs, and what is refused."""

import pathlib
import runpy

from ml_collections import config_dict
import numpy as np
import optax
import pytest

from eigengame_unloaded import base_config
from eigengame_unloaded import optim
from jaxline_harness import errors

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted((ROOT / 'configs').glob('eigengame_*_config.py'))


def resolved(top=None, **settings):
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.config = settings
  config.update(top or {})
  return base_config.resolve(config)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_resolve_and_name_their_experiment(path):
  module = runpy.run_path(str(path))
  assert module['EXPERIMENT'] == 'eigengame_unloaded.experiment'
  base_config.resolve(module['get_config']().unlock())


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize('steps', [1000, 30_000])
def test_shipped_rates_decay_until_training_ends(path, steps):
  config = runpy.run_path(str(path))['get_config']().unlock()
  config.training_steps = steps
  settings = base_config.resolve(config).experiment_kwargs.config.optimizer
  schedule = getattr(optax, settings.scheduler)(
    settings.lr, **settings.scheduler_kwargs
  )
  # A cosine's: half of it is left in the middle, and nothing at the end.
  np.testing.assert_allclose(schedule(steps // 2), settings.lr / 2, rtol=1e-6)
  assert schedule(steps) == 0 < schedule(steps - steps // 100)


def test_a_decay_of_given_length_stays():
  given = {
    'scheduler': 'cosine_decay_schedule',
    'scheduler_kwargs': {'decay_steps': 300},
  }
  config = resolved({'training_steps': 1000}, optimizer=given)
  settings = config.experiment_kwargs.config.optimizer
  assert settings.scheduler_kwargs.decay_steps == 300


def test_an_empty_config_gets_all_defaults():
  config = base_config.resolve(config_dict.ConfigDict())
  default = base_config.get_base_config().experiment_kwargs
  assert config.experiment_kwargs.to_dict() == default.to_dict()


def test_published_optimiser_is_the_default():
  settings = resolved().experiment_kwargs.config.optimizer
  assert (settings.name, settings.lr) == ('sgd', 1e-4)
  assert settings.kwargs.to_dict() == {'momentum': 0.9, 'nesterov': True}
  assert settings.scheduler is None


@pytest.mark.parametrize(
  ('name', 'kwargs'),
  [
    ('adam', {}),
    ('lion', {}),
    ('sgd', {'momentum': 0.9, 'nesterov': True}),
    ('momentum', {'momentum': 0.9, 'nesterov': True}),
    ('rmsprop', {'momentum': 0.9, 'nesterov': True}),
  ],
)
def test_default_arguments_of_another_optimiser_are_left_out(name, kwargs):
  optimizer = resolved(optimizer={'name': name}).experiment_kwargs.config
  assert optimizer.optimizer.kwargs.to_dict() == kwargs
  given = {'name': 'adam', 'kwargs': {'momentum': 0.5}}
  with pytest.raises(errors.UserError, match='kwargs.momentum does not exist'):
    resolved(optimizer=given)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'metod': 'oja'}, r'config\.metod does not exist; did you mean method'),
    ({'method': 'ojas'}, 'did you mean oja'),
    ({'num_eigenvectors': 0}, 'num_eigenvectors must be a whole number from 1'),
    ({'training': {'batch_size': 2.5}}, 'batch_size must be a whole number'),
    ({'training': {'average': 1}}, 'average must be True or False'),
    ({'training': 3}, 'training must hold fields such as average, batch'),
    ({'synthetic': {'decay': 'cubic'}}, 'decay: there is no'),
    ({'synthetic': {'smallest_eigenvalue': 0.0}}, 'above 0'),
    ({'stochastic_block_model': {'within': 2}}, 'up to 1'),
    ({'optimizer': {'lr': -1.0}}, 'lr must be a finite number above 0'),
    ({'optimizer': {'name': 'lbfgs'}}, 'there is no'),
    ({'optimizer': {'kwargs': {'speed': 1}}}, 'speed does not exist'),
    ({'optimizer': {'scheduler': 'cosine'}}, 'cosine_decay_schedule'),
    (
      {'optimizer': {'scheduler_kwargs': {'decay_steps': 3}}},
      'no effect without a scheduler',
    ),
    ({'centring': 'sometimes'}, 'streaming, data, none, an .npy vector'),
    ({'dataset': 'stochastic_block_model'}, 'set none'),
    ({'dataset': 'my.edges', 'centring': 'data'}, 'set none'),
    (
      {'synthetic': {'dim': 30}},
      "synthetic.dim=30 has no effect: .*dataset is 'fashion_mnist_10k'",
    ),
    (
      {'dataset': 'synthetic', 'stochastic_block_model': {'within': 0.4}},
      'stochastic_block_model.within=0.4 has no effect',
    ),
    (
      {'dataset': 'synthetic', 'data_dir': 'here'},
      "data_dir='here' has no effect: synthetic is made",
    ),
    (
      {
        'dataset': 'stochastic_block_model',
        'centring': 'none',
        'data_dir': 'here',
      },
      "data_dir='here' has no effect: stochastic_block_model is made",
    ),
  ],
)
def test_wrong_settings_are_one_line(settings, message):
  with pytest.raises(errors.UserError, match=message) as error:
    resolved(**settings)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('top', 'message'),
  [
    ({'random_seed': 3}, 'no effect: all keys come from .*config.random_seed'),
    ({'best_model_eval_metric': 'FID'}, 'there is streak'),
    (
      {'best_model_eval_metric': 'subspace_distance'},
      'is True, but of subspace_distance less is better',
    ),
  ],
)
def test_wrong_top_level_settings(top, message):
  with pytest.raises(errors.UserError, match=message):
    resolved(top)


def test_optimizer_ascends_at_the_scheduled_rate():
  optimizer = optim.make_optimizer(
    name='sgd',
    lr=0.5,
    scheduler='exponential_decay',
    scheduler_kwargs={'transition_steps': 1, 'decay_rate': 0.5},
  )
  state, position = optimizer.init(np.zeros(1, np.float32)), np.zeros(1)
  for expected in (0.5, 0.75, 0.875):
    update, state = optimizer.update(np.ones(1, np.float32), state)
    position = optax.apply_updates(position, update)
    np.testing.assert_allclose(position, [expected])
