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
"""Config files: the shipped ones, published ones, and the helpers."""

import logging
import pathlib
import runpy

import pytest

from dd_two_player_games import base_config
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import settings
from jaxline_harness import errors

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(
  path.name.removesuffix('.py')
  for path in (ROOT / 'configs').glob('*_config.py')
  if 'dd_two_player_games' in path.read_text()
)
PLAYERS = ('disc', 'gen')
# (dataset, update rule, lr of disc and gen, optimiser, batch, transform,
# estimator, multiplier of other_dot_prod, steps)
PUBLISHED_SETTINGS = {
  'sgd_cifar_config': (
    'cifar10',
    'simultaneous',
    (1e-2, 5e-3),
    ('sgd', {}),
    128,
    'spectral_norm',
    'unbiased_estimate_fn_lowest_variance',
    -1.0,
    300_000,
  ),
  'ode_gan_cifar_config': (
    'cifar10',
    'runge_kutta_4',
    (1e-2, 1e-2),
    ('sgd', {}),
    128,
    'spectral_norm',
    'unbiased_estimate_fn_lowest_variance',
    0.0,
    300_000,
  ),
  'cifar_config': (
    'cifar10',
    'disc_first',
    (1e-4, 1e-4),
    ('adam', {'b1': 0.5, 'b2': 0.999}),
    128,
    'no_op',
    'unbiased_estimate_fn_lowest_variance',
    0.0,
    600_000,
  ),
  'sgd_mnist_config': (
    'mnist',
    'simultaneous',
    (1e-2, 1e-2),
    ('sgd', {}),
    64,
    'no_op',
    'biased_estimate_grad_fn',
    0.0,
    100_000,
  ),
}


def load(path, *args):
  """What a config file makes, before it is resolved."""
  return runpy.run_path(str(path))['get_config'](*args)


def resolved(path, *args):
  return base_config.resolve(load(path, *args).unlock())


def update_rule(training):
  if training.simultaneous_updates:
    return 'simultaneous'
  if training.runge_kutta_updates:
    return f'runge_kutta_{training.runge_kutta_order}'
  return training.alternating_player_order


def non_zero(grad_regularizes):
  """The coefficients that are not 0, as {(kind, player, term): value}."""
  return {
    (kind, player, term): value
    for kind, players in grad_regularizes.items()
    for player, terms in players.items()
    for term, value in terms.items()
    if value != 0
  }


def both(kind, **terms):
  return {(kind, p, t): v for p in PLAYERS for t, v in terms.items()}


# The shipped configs.


def test_there_are_the_configs_that_the_readme_names():
  assert set(PUBLISHED_SETTINGS) < set(CONFIGS)
  assert 'sgd_fashion_mnist_config' in CONFIGS
  assert 'mixture_of_gaussians_config' in CONFIGS


@pytest.mark.parametrize('name', CONFIGS)
def test_shipped_configs_resolve_without_a_warning(name, caplog):
  with caplog.at_level(logging.WARNING):
    config = resolved(ROOT / 'configs' / f'{name}.py')
  assert caplog.messages == []
  full = base_config.get_base_config().experiment_kwargs.config
  assert config.experiment_kwargs.config.keys() == full.keys()


@pytest.mark.parametrize('name', PUBLISHED_SETTINGS)
def test_published_settings(name):
  config = resolved(ROOT / 'configs' / f'{name}.py')
  experiment = config.experiment_kwargs.config
  disc, gen = (experiment.optimizers[p] for p in ('discriminator', 'generator'))
  multiplier = PUBLISHED_SETTINGS[name][-2]
  assert (
    experiment.dataset,
    update_rule(experiment.training),
    (disc.lr, gen.lr),
    (disc.name, disc.kwargs.to_dict()),
    experiment.training.batch_size,
    experiment.param_transformers.discriminator,
    experiment.training.estimator_fn,
    multiplier,
    config.training_steps,
  ) == PUBLISHED_SETTINGS[name]
  assert (gen.name, gen.kwargs) == (disc.name, disc.kwargs)
  expected = {}
  if multiplier:
    expected = both('dd_coeffs_multiplier', other_dot_prod=multiplier)
  assert non_zero(experiment.training.grad_regularizes) == expected


@pytest.mark.parametrize('name', PUBLISHED_SETTINGS)
def test_settings_that_all_published_configs_share(name):
  experiment = resolved(
    ROOT / 'configs' / f'{name}.py'
  ).experiment_kwargs.config
  assert experiment.random_seed == 0
  assert experiment.data_processor == 'ImageProcessor'
  assert experiment.training.num_latents == 128
  assert experiment.training.num_disc_updates == 1
  assert experiment.training.num_gen_updates == 1
  assert experiment.training.drift_convention == 'published'
  assert experiment.losses.discriminator == 'discriminator_goodfellow_loss'
  assert experiment.losses.generator == 'generator_saturating_loss'
  assert experiment.penalties.discriminator is None
  assert experiment.eval.batch_size == 16
  assert experiment.eval.num_eval_splits == 5
  assert experiment.eval.num_inception_images == 10_000
  for optimizer in experiment.optimizers.values():
    assert optimizer.clip is None
    assert optimizer.scheduler is None
  prefix = 'Mnist' if name == 'sgd_mnist_config' else 'Cifar'
  assert experiment.nets.discriminator == f'{prefix}Discriminator'
  assert experiment.nets.generator == f'{prefix}Generator'


def test_default_cancels_drift_and_uses_every_embedded_image_once():
  config = resolved(ROOT / 'configs' / 'sgd_fashion_mnist_config.py')
  experiment = config.experiment_kwargs.config
  assert experiment.dataset == 'fashion_mnist_10k'
  assert non_zero(experiment.training.grad_regularizes) == both(
    'dd_coeffs_multiplier', other_dot_prod=-1.0
  )
  assert experiment.eval.num_eval_splits == 5
  assert experiment.eval.num_inception_images == 2000
  assert config.best_model_eval_metric == 'FID'
  assert not config.best_model_eval_metric_higher_is_better


# Configs written for the published code.


def published(name, *args):
  return resolved(ROOT / 'tests' / 'data' / f'published_{name}.py', *args)


def comparable(config):
  """The experiment's settings; no momentum and momentum 0 are the same."""
  settings = config.experiment_kwargs.config.to_dict()
  for optimizer in settings['optimizers'].values():
    if optimizer['kwargs'] == {'momentum': 0.0}:
      optimizer['kwargs'] = {}
    optimizer['scheduler_kwargs'] = optimizer['scheduler_kwargs'] or {}
  return settings


def test_published_cifar_config_means_the_same_as_the_shipped_one(caplog):
  config = published('cifar_config')
  own = resolved(ROOT / 'configs' / 'sgd_cifar_config.py')
  assert comparable(config) == comparable(own)
  assert config.max_chunk_steps == own.max_chunk_steps
  assert config.best_model_eval_metric == 'IS_mean'
  assert config.checkpoint_dir == '/tmp/a_run'
  assert caplog.messages == []


def test_published_runge_kutta_config_with_a_penalty_as_a_list():
  config = published('cifar_config', 'ode_gan')
  own = comparable(resolved(ROOT / 'configs' / 'ode_gan_cifar_config.py'))
  settings = comparable(config)
  assert list(settings['penalties']['discriminator']) == [
    'wgan_gradient_penalty_loss',
    10.0,
  ]
  settings['penalties']['discriminator'] = None
  assert settings == own


def test_published_mnist_config(caplog):
  with caplog.at_level(logging.WARNING):
    config = published('mnist_config')
  training = config.experiment_kwargs.config.training
  for kind, first in (
    ('dd_coeffs_multiplier', 1.0),
    ('explicit_non_dd_coeffs', 2.0),
  ):
    terms = training.grad_regularizes[kind].to_dict()
    assert terms == {
      'disc': {
        'self_norm': first,
        'other_dot_prod': first + 0.125,
        'other_norm': first + 0.25,
      },
      'gen': {
        'self_norm': first + 0.375,
        'other_dot_prod': first + 0.5,
        'other_norm': first + 0.625,
      },
    }
  assert training.alternating_player_order == 'disc_first'
  assert training.runge_kutta_order == 4
  assert 'num_eval_samples' not in config.experiment_kwargs.config
  assert config.experiment_kwargs.config.eval.num_eval_splits == 5
  assert len(caplog.messages) == 3
  for name in ('num_eval_samples', 'rk_disc_regularizer_weight_coeff'):
    assert any(f'{name} has no effect' in line for line in caplog.messages)


def test_published_mnist_config_without_regularisers_is_the_shipped_one():
  config = load(ROOT / 'tests' / 'data' / 'published_mnist_config.py').unlock()
  training = config.experiment_kwargs.config.training
  for terms in training.grad_regularizes.values():
    terms.update(dict.fromkeys(terms, 0.0))
  training.rk_disc_regularizer_weight_coeff = 0.0
  own = resolved(ROOT / 'configs' / 'sgd_mnist_config.py')
  assert comparable(base_config.resolve(config)) == comparable(own)


def test_resolving_twice_changes_nothing():
  once = resolved(ROOT / 'configs' / 'sgd_cifar_config.py')
  settings = once.experiment_kwargs.config.to_dict()
  twice = base_config.resolve(once)
  assert twice.experiment_kwargs.config.to_dict() == settings


def test_configs_do_not_share_their_defaults():
  first = base_config.get_base_config().experiment_kwargs.config
  first.training.grad_regularizes.dd_coeffs_multiplier.disc.self_norm = 5.0
  first.optimizers.discriminator.kwargs.b1 = 0.5
  second = base_config.get_base_config().experiment_kwargs.config
  assert non_zero(second.training.grad_regularizes) == {}
  assert second.optimizers.discriminator.kwargs.to_dict() == {}
  assert second.optimizers.generator.kwargs.to_dict() == {}


# Regularisers by name.


@pytest.mark.parametrize(
  ('grad_regularizes', 'expected'),
  [
    (base_config.no_regularizers(), {}),
    (
      base_config.cancel_interaction_terms(),
      both('dd_coeffs_multiplier', other_dot_prod=-1.0),
    ),
    (
      base_config.strengthen_self_terms(),
      both('dd_coeffs_multiplier', self_norm=1.0),
    ),
    (
      base_config.consensus(0.3),
      both('explicit_non_dd_coeffs', self_norm=0.3, other_norm=0.3),
    ),
    (
      base_config.sga(0.2),
      both('explicit_non_dd_coeffs', other_norm=0.1, other_dot_prod=-0.1),
    ),
    (
      base_config.combine(
        base_config.cancel_interaction_terms(),
        base_config.strengthen_self_terms(),
        base_config.consensus(0.25),
        base_config.sga(0.5),
      ),
      both('dd_coeffs_multiplier', other_dot_prod=-1.0, self_norm=1.0)
      | both(
        'explicit_non_dd_coeffs',
        self_norm=0.25,
        other_norm=0.5,
        other_dot_prod=-0.25,
      ),
    ),
  ],
)
def test_helpers_give_the_coefficients(grad_regularizes, expected):
  assert non_zero(grad_regularizes) == expected
  # All 18 are there, with the names that the update rules read.
  assert set(grad_regularizes) == set(settings.COEFFICIENTS)
  for players in grad_regularizes.values():
    assert tuple(players) == gan.GANTuple._fields
    for terms in players.values():
      assert set(terms) == set(drift_utils.PlayerRegularizationTerms._fields)


@pytest.mark.parametrize(
  'grad_regularizes',
  [base_config.consensus(1), base_config.combine(base_config.sga(1))],
)
def test_helpers_fit_a_config_and_its_overrides(grad_regularizes):
  config = base_config.get_base_config()
  training = config.experiment_kwargs.config.training
  training.grad_regularizes = grad_regularizes
  resolved_config = base_config.resolve(config.unlock())
  terms = resolved_config.experiment_kwargs.config.training.grad_regularizes
  # A whole number given for a coefficient may be overridden by a fraction.
  terms.explicit_non_dd_coeffs.disc.other_norm = 0.5
  assert terms.explicit_non_dd_coeffs.disc.other_norm == 0.5


# Fields that do not exist.


def with_settings(settings):
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.config = settings
  return config


@pytest.mark.parametrize(
  ('settings', 'field', 'hint'),
  [
    ({'datset': 'mnist'}, 'datset', 'dataset'),
    ({'colour': 1}, 'colour', None),
    ({'training': {'batchsize': 3}}, 'training.batchsize', 'batch_size'),
    (
      {'optimizers': {'generater': {}}},
      'optimizers.generater',
      'generator',
    ),
    (
      {'optimizers': {'generator': {'learning_rate': 1.0}}},
      'optimizers.generator.learning_rate',
      None,
    ),
    (
      {
        'training': {
          'grad_regularizes': {
            'dd_coeffs_multiplier': {'disc': {'self_nrom': 1.0}}
          }
        }
      },
      'training.grad_regularizes.dd_coeffs_multiplier.disc.self_nrom',
      'self_norm',
    ),
    (
      {'training': {'grad_regularizes': {'dd_coeff_multiplier': {}}}},
      'training.grad_regularizes.dd_coeff_multiplier',
      'dd_coeffs_multiplier',
    ),
    ({'eval': {'num_splits': 1}}, 'eval.num_splits', 'num_eval_splits'),
  ],
)
def test_unknown_field(settings, field, hint):
  with pytest.raises(errors.UserError) as caught:
    base_config.resolve(with_settings(settings))
  line = f'config.experiment_kwargs.config.{field} does not exist'
  assert str(caught.value).startswith(line)
  if hint:
    assert str(caught.value).endswith(f'; did you mean {hint}?')


def test_unknown_top_level_field():
  config = base_config.get_base_config().unlock()
  config.trainig_steps = 3
  with pytest.raises(
    errors.UserError, match='config.trainig_steps does not'
  ) as e:
    base_config.resolve(config)
  assert 'did you mean config.training_steps?' in str(e.value)


def test_unknown_field_beside_the_experiments_config():
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.dataset = 'mnist'
  with pytest.raises(errors.UserError, match='experiment_kwargs.dataset does'):
    base_config.resolve(config)


def test_free_fields_go_to_other_functions():
  settings = {
    'nets': {'gen_kwargs': {'channels': [8, 4]}},
    'optimizers': {'generator': {'name': 'adam', 'kwargs': {'eps': 1e-6}}},
  }
  experiment = base_config.resolve(
    with_settings(settings)
  ).experiment_kwargs.config
  assert list(experiment.nets.gen_kwargs.channels) == [8, 4]
  assert experiment.optimizers.generator.kwargs.eps == 1e-6
  assert experiment.optimizers.discriminator.kwargs.to_dict() == {}


@pytest.mark.parametrize(
  ('settings', 'field'),
  [
    ({'training': 3}, 'training'),
    ({'training': {'grad_regularizes': -1.0}}, 'training.grad_regularizes'),
    (
      {'training': {'grad_regularizes': {'dd_coeffs_multiplier': -1.0}}},
      'training.grad_regularizes.dd_coeffs_multiplier',
    ),
    (
      {
        'training': {
          'grad_regularizes': {'explicit_non_dd_coeffs': {'disc': None}}
        }
      },
      'training.grad_regularizes.explicit_non_dd_coeffs.disc',
    ),
    ({'optimizers': {'generator': 'sgd'}}, 'optimizers.generator'),
    ({'penalties': None}, 'penalties'),
  ],
)
def test_value_where_fields_belong(settings, field):
  with pytest.raises(errors.UserError) as caught:
    base_config.resolve(with_settings(settings))
  assert str(caught.value).startswith(
    f'config.experiment_kwargs.config.{field} must hold fields such as '
  )
