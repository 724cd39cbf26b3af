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
"""Configs: defaults, the files in configs/, and what is refused."""

import importlib
import importlib.util
import pathlib
import re

import pytest

from jaxline_harness import errors
from principal_flow_instability_single_objective import base_config

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ('dal_fashion_mnist_config', 'dal_cifar_config')


def resolve(**settings):
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.config = settings
  return base_config.resolve(config).experiment_kwargs.config


def test_defaults_resolve_to_themselves():
  defaults = base_config.get_base_config().experiment_kwargs.config
  assert resolve().to_dict() == defaults.to_dict()


@pytest.mark.parametrize('name', CONFIGS)
def test_config_files_are_right(name):
  config = importlib.import_module(f'configs.{name}').get_config()
  given = config.experiment_kwargs.config.to_dict()
  assert base_config.resolve(config).experiment_kwargs.config.to_dict() == given


@pytest.mark.parametrize('name', CONFIGS)
def test_config_files_name_the_experiment_for_run_sh(name):
  text = (ROOT / 'configs' / f'{name}.py').read_text()
  (module,) = re.findall(r"^EXPERIMENT = '([a-z_.]*)'$", text, re.MULTILINE)
  assert importlib.util.find_spec(module) is not None


def test_no_step_needs_no_dal():
  config = base_config.get_base_config().unlock()
  config.training_steps = 0
  assert base_config.resolve(config).training_steps == 0


def test_the_word_none_is_none():
  assert resolve(dal={'power': 'None'}).dal.power is None


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'dall': {}}, 'dall does not exist; did you mean dal'),
    ({'dal': 1.0}, 'dal must hold fields such as batch, max_lear'),
    ({'dal': {'powr': 1.0}}, 'dal.powr does not exist; did you mean power'),
    ({'dal': {'power': -1}}, 'power must be a finite number from 0 up to'),
    ({'dal': {'start': 3}}, 'dal.start=3 has no effect: dal.power is None'),
    (
      {'dal': {'power': 0.0, 'start': 3}},
      'dal.start=3 has no effect: dal.power is 0.0',
    ),
    ({'dal': {'power': 1, 'start': 3, 'stop': 3}}, 'stop=3 is not after'),
    ({'dal': {'power': 1, 'start': 10**6}}, 'start=1000000 has no effect'),
    ({'dal': {'product': 'hvp'}}, "no 'hvp'; there is exact, finite_diff"),
    ({'optimizer': {'lr': float('nan')}}, 'lr must be a finite number above'),
    (
      {
        'dal': {'power': 0.5},
        'optimizer': {
          'lr': 0.0,
          'scheduler': 'linear_schedule',
          'scheduler_kwargs': {'end_value': 0.1, 'transition_steps': 3},
        },
      },
      'optimizer.lr=0 does not go with dal.power=0.5',
    ),
    ({'optimizer': {'momentum': 1.0}}, 'a finite number from 0 below 1'),
    ({'optimizer': {'scheduler': 'cosine'}}, "there is no 'cosine'"),
    (
      {'optimizer': {'scheduler': 'cosine_decay_schedule'}},
      'decay_steps is missing: cosine_decay_schedule needs it',
    ),
    (
      {'optimizer': {'scheduler_kwargs': {'decay_steps': 3}}},
      'no effect without a scheduler',
    ),
    ({'net': {'name': 'Mlp'}}, "net.name: there is no 'Mlp'"),
    (
      {'net': {'convolutions': 'xla'}},
      "net.convolutions='xla' has no effect: net.name is MLP",
    ),
    ({'net': {'kwargs': {'width': 3}}}, 'width does not exist'),
    ({'net': {'kwargs': {'hidden_sizes': [0]}}}, 'each item a whole number'),
    (
      {'net': {'name': 'ConvNet', 'kwargs': {'layers': [8, 'max']}}},
      "to 2147483647, or 'pool', not",
    ),
    ({'net': {'kwargs': {'activation': 'gelu'}}}, "there is no 'gelu'"),
    (
      {'net': {'kwargs': {'activation': 'relu'}}, 'eval': {'drift': True}},
      'has kinks',
    ),
    (
      {'optimizer': {'momentum': 0.9}, 'eval': {'drift': True}},
      'drift is of gradient descent without optimizer.momentum',
    ),
    ({'training': {'batch_size': 0}}, 'a whole number from 1 to'),
    (
      {'eval': {'num_eigenvalues': 40}},
      'num_products=30 cannot find 40 eigenvalues',
    ),
    (
      {'eval': {'num_eigenvalues': 0, 'num_products': 7}},
      'eval.num_products=7 has no effect: eval.num_eigenvalues is 0',
    ),
    (
      {'eval': {'num_eigenvalues': 0, 'num_examples': None}},
      'eval.num_examples=None has no effect: eval.num_eigenvalues is 0',
    ),
    (
      {'eval': {'num_eigenvalues': 0, 'drift': True}},
      'drift needs eval.num_eigenvalues above 0',
    ),
  ],
)
def test_mistakes_are_errors(settings, message):
  with pytest.raises(errors.UserError, match=message):
    resolve(**settings)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    (
      'best_model_eval_metric',
      'accuracy',
      'there is no .accuracy.; did you mean test_a',
    ),
    ('best_model_eval_metric', 'test_loss', 'the worst checkpoint'),
    ('random_seed', 7, 'config.random_seed=7 has no effect'),
    ('experiment_kwargs', {'conf': {}}, 'experiment_kwargs.conf does not'),
  ],
)
def test_mistakes_at_the_top_are_errors(field, value, message):
  config = base_config.get_base_config().unlock()
  config[field] = value
  with pytest.raises(errors.UserError, match=message):
    base_config.resolve(config)
