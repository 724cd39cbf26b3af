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
"""Every field of every shipped config, damaged in many ways.

Each damaged config is refused in one line that names the field, before any
device is asked, unless `LEGAL` says why the field is whole: then it must be
taken. Nothing else may come out.
"""

import copy
import fnmatch
import importlib
import math
import pathlib
import runpy

from ml_collections import config_dict
import pytest

from jaxline_harness import errors
from tests import marks

CONFIGS = {
  path.stem: path
  for path in sorted(
    (pathlib.Path(__file__).parents[1] / 'configs').glob('*_config.py')
  )
}
# One of each experiment; the others are slow.
QUICK = {
  'dd_two_player_games': 'sgd_fashion_mnist_config',
  'eigengame_unloaded': 'eigengame_synthetic_config',
  'principal_flow_instability_single_objective': 'dal_fashion_mnist_config',
}
# Of what the quick one has too, others are damaged in one way of so many.
ONE_IN = 10

# What is put in the place of every value, whatever that is.
VALUES = {
  'text': 'some text',
  'lines': 'some\ntext',
  'empty': '',
  'list': [1],
  'fields': {'a': 1},
  'no_fields': {},
  'none': None,
  'true': True,
  'false': False,
  'negative': -1,
  'zero': 0,
  'fraction': 0.3,
  'nan': math.nan,
  'inf': math.inf,
  'huge': 1e30,
  'huge_whole': 10**12,
  'many_digits': 10**5000,
  'function': math.sin,
}

# What is none of these damages but a config that may be meant: fields, what
# replaces them, and why. In all experiments, ...
LEGAL = (
  ('* *.*', 'absent', 'The default holds; published configs are short.'),
  (
    'experiment_kwargs *config *config.eval *.losses *.nets *.optimizers '
    '*.penalties *.param_transformers *.training *.grad_regularizes '
    '*.optimizers.discriminator *.optimizers.generator *_coeffs *_multiplier '
    '*.disc *.gen *kwargs *.latent_optimisation *.dynamics',
    'no_fields',
    'The defaults hold.',
  ),
  (
    'checkpoint_dir restore_path eval_specific_checkpoint_dir *.data_dir '
    '*.inception_path *.dataset',
    'text',
    'A path, which is looked for when it is needed.',
  ),
  ('best_model_eval_metric', 'empty', 'No best checkpoint is kept.'),
  (
    'best_* delete_* eval_initial_weights log_a* one_off_evaluate save_i* '
    '*_updates *.run_image_metrics *.conditional deterministic',
    'true false',
    'True and False are what there is.',
  ),
  (
    'log_tensors_interval log_train_data_interval *.scheduler_kwargs '
    '*optimizer*.kwargs *.penalties.discriminator '
    '*.param_transformers.discriminator',
    'none',
    'None turns it off, or stands for no arguments.',
  ),
  (
    'periodic_action_growth_ratios *.lookahead_periods *.channels',
    'list',
    'A list is what it takes.',
  ),
  ('training_steps', 'zero', 'Nothing is trained, the start is saved.'),
  (
    'save_checkpoint_interval',
    'zero',
    "jaxline's way to save at the end only.",
  ),
  (
    '*.lr *.clip *.weight_clip *.b1 *.b2 *.penalties.discriminator[[]1] '
    '*.alpha *.back_off_factor *.generator_average',
    'fraction',
    'A number like others.',
  ),
  (
    '*.b1 *.b2 *.depth *.alpha *.generator_average',
    'zero',
    'No average, no hidden layer, no move of latents.',
  ),
  (
    '*_norm *.other_dot_prod *.rk_disc_regularizer_weight_coeff',
    'negative zero fraction',
    'Coefficients have either sign, or none.',
  ),
)
# ... and in one.
LEGAL_IN = {
  'dd_two_player_games': (),
  'eigengame_unloaded': (
    (
      '*.optimizer *.synthetic *.stochastic_block_model',
      'no_fields',
      'The defaults hold.',
    ),
    ('*.nesterov *.average', 'false', 'True and False are what there is.'),
    (
      '*.momentum *.smallest_eigenvalue',
      'fraction',
      'A number like others.',
    ),
    ('*.exact_up_to_dim', 'zero', 'No truth: the data say whether that suits.'),
  ),
  'principal_flow_instability_single_objective': (
    ('*.dal *.net *.optimizer', 'no_fields', 'The defaults hold.'),
    ('*.layers *.hidden_sizes', 'list', 'A list is what it takes.'),
    ('*.drift', 'false', 'True and False are what there is.'),
    (
      '*.dal.power *.max_learning_rate *.optimizer.momentum',
      'fraction',
      'A number like others.',
    ),
    (
      '*.dal.power *.num_*_examples *.eval.num_examples *.training.*batch_size',
      'none',
      'Gradient descent, or all examples.',
    ),
    (
      '*.dal.power *.optimizer.momentum *.eval.num_eigenvalues',
      'zero',
      'Norms are measured; no momentum; no curvature is measured.',
    ),
  ),
}


def is_legal(package, name, label):
  return any(
    label in labels.split()
    and any(fnmatch.fnmatchcase(name, pattern) for pattern in names.split())
    for names, labels, _ in LEGAL + LEGAL_IN[package]
  )


def load(name):
  """What a config file makes, as dicts and lists, and its package."""
  module = runpy.run_path(str(CONFIGS[name]))
  program = module.get('EXPERIMENT', 'dd_two_player_games.experiment')
  return module['get_config']().to_dict(), program.removesuffix('.experiment')


def places(node, name=''):
  """Yields the dotted name, container and key of all that is in a config."""
  for key in list(node) if isinstance(node, dict) else range(len(node)):
    if isinstance(node, list):
      own_name = f'{name}[{key}]'
    else:
      own_name = f'{name}.{key}' if name else key
    yield own_name, node, key
    if isinstance(node[key], dict | list):
      yield from places(node[key], own_name)


def damages(config):
  """Damages a config in one place after the other; it is as before after each.

  Args:
    config: dicts and lists.

  Yields:
    The name of the damaged field, what was done to it, and the config.
  """
  for name, node, key in places(config):
    whole = node[key]
    for label, value in VALUES.items():
      if type(value) is not type(whole) or value != whole:
        node[key] = value
        yield name, label, config
    if isinstance(whole, str) and whole:
      node[key] = misspell(whole)
      yield name, 'misspelt', config
    if isinstance(node, dict):
      fields = dict(node)
      del node[key]
      yield name, 'absent', config
      node[misspell(key)] = whole
      yield name, 'renamed', config
      node.clear()
      node.update(fields)
    node[key] = whole


def misspell(word):
  """Drops a letter, or in a short word doubles the last."""
  if len(word) < 4:
    return word + word[-1]
  return word[: len(word) // 2] + word[len(word) // 2 + 1 :]


def refusal(config, package):
  """The line with which a config is refused; None if it is not."""
  base_config = importlib.import_module(f'{package}.base_config')
  try:
    base_config.resolve(config_dict.ConfigDict(config))
  except errors.UserError as error:
    return str(error)
  return None


def problem(package, name, label, line, whole):
  """What is wrong with the answer to a damaged config; None if nothing is."""
  if line is None:
    # A misspelt path may be another file's.
    legal = is_legal(package, name, label) or (
      label == 'misspelt' and is_legal(package, name, 'text')
    )
    return None if legal else 'taken'
  # A list's items are of one kind, which the list's own name tells.
  name, _, index = name.partition('[')
  expected = [name.rsplit('.', 1)[-1]]
  if label in ('absent', 'no_fields'):
    expected = ['config.']  # What is wrong may be another, without this one.
  if label == 'misspelt' and not index:
    expected.append(f'did you mean {whole}?')
  if label == 'renamed':
    expected.append('does not exist')
  if len(line) > 500 or not line.isprintable():
    return f'not one line: {line!r}'
  missing = [part for part in expected if part not in line]
  return f'{missing} is not in: {line}' if missing else None


def values_of(config):
  """A config's values, copied, by their dotted names."""
  return {
    place: node[key] for place, node, key in places(copy.deepcopy(config))
  }


def damages_worth_a_try(name):
  """Yields the damages of a config, few of them where the quick one's are."""
  whole, package = load(name)
  known = {}
  if name != QUICK[package]:
    known = values_of(load(QUICK[package])[0])
  values = values_of(whole)
  for number, damage in enumerate(damages(whole)):
    field, _, _ = damage
    is_known = field in known and repr(known[field]) == repr(values[field])
    if not is_known or number % ONE_IN == 0:
      yield damage
  assert values_of(whole) == values  # It is whole again.


@pytest.mark.parametrize('name', marks.slow_but(QUICK.values(), CONFIGS))
def test_damaged_config_is_refused_in_one_line(name):
  whole, package = load(name)
  assert refusal(whole, package) is None
  values = values_of(whole)
  tried, count, problems = set(), 0, []
  for field, label, config in damages_worth_a_try(name):
    tried.add(field)
    count += 1
    try:
      line = refusal(config, package)
    except Exception as error:
      found = f'{type(error).__name__}: {error}'
    else:
      found = problem(package, field, label, line, values[field])
    if found:
      problems.append(f'{field}, {label}: {found}')
  assert not problems, '\n'.join(problems)
  assert tried == values.keys()
  assert count > (15 if name in QUICK.values() else 1.5) * len(values)


def test_all_that_is_called_legal_is_taken():
  configs = [load(name) for name in CONFIGS]
  for only_in, entries in {None: LEGAL, **LEGAL_IN}.items():
    for names, labels, _ in entries:
      for pattern in names.split():
        assert any(
          fnmatch.fnmatchcase(name, pattern)
          and label in labels.split()
          and refusal(config, package) is None
          for whole, package in configs
          if only_in in (None, package)
          for name, label, config in damages(copy.deepcopy(whole))
        ), (only_in, pattern)
