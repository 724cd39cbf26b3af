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
import math
import pathlib
import runpy
import subprocess
import sys

from ml_collections import config_dict
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import config_fields
from dd_two_player_games import experiment
from jaxline_harness import errors

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(
  path.name.removesuffix('.py')
  for path in (ROOT / 'configs').glob('*_config.py')
  if 'dd_two_player_games' in path.read_text()
)
DEFAULT = 'sgd_fashion_mnist_config'

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
# replaces them, and why.
LEGAL = (
  ('* *.*', 'absent', 'The default holds; published configs are short.'),
  (
    'experiment_kwargs *config *config.eval *.losses *.nets *.optimizers '
    '*.penalties *.param_transformers *.training *.grad_regularizes '
    '*.optimizers.discriminator *.optimizers.generator *_coeffs *_multiplier '
    '*.disc *.gen *kwargs *.latent_optimisation',
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
    '*_updates *.run_image_metrics',
    'true false',
    'True and False are what there is.',
  ),
  (
    'log_tensors_interval log_train_data_interval *.scheduler_kwargs '
    '*optimizers.*.kwargs *.penalties.discriminator '
    '*.param_transformers.discriminator',
    'none',
    'None turns it off, or stands for no arguments.',
  ),
  (
    'periodic_action_growth_ratios *.lookahead_periods',
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
    '*.lr *.clip *.b1 *.b2 *.penalties.discriminator[[]1] *.alpha',
    'fraction',
    'A number like others.',
  ),
  (
    '*.b1 *.b2 *.depth *.penalties.discriminator[[]1] *.alpha',
    'zero',
    'No average, no hidden layer, no penalty, no move of latents.',
  ),
  (
    '*_norm *.other_dot_prod *.rk_disc_regularizer_weight_coeff',
    'negative zero fraction',
    'Coefficients have either sign, or none.',
  ),
)


def is_legal(name, label):
  return any(
    label in labels.split()
    and any(fnmatch.fnmatchcase(name, pattern) for pattern in names.split())
    for names, labels, _ in LEGAL
  )


def load(name):
  """What a config file makes, as dicts and lists."""
  return runpy.run_path(str(ROOT / 'configs' / f'{name}.py'))[
    'get_config'
  ]().to_dict()


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


def refusal(config):
  """The line with which a config is refused; None if it is not."""
  try:
    base_config.resolve(config_dict.ConfigDict(config))
  except errors.UserError as error:
    return str(error)
  return None


def problem(name, label, config, whole):
  """What is wrong with the answer to a damaged config; None if nothing is."""
  try:
    line = refusal(config)
  except Exception as error:
    return f'{type(error).__name__}: {error}'
  legal = is_legal(name, label)
  if line is None:
    return None if legal or is_path(name, label) else 'taken'
  expected = [name.rsplit('.', 1)[-1]]
  if label in ('absent', 'no_fields'):
    expected = ['config.']  # What is wrong may be another, without this one.
  if label == 'misspelt':
    expected.append(f'did you mean {whole}?')
  if label == 'renamed':
    expected.append('does not exist')
  if len(line) > 500 or not line.isprintable():
    return f'not one line: {line!r}'
  missing = [part for part in expected if part not in line]
  return f'{missing} is not in: {line}' if missing else None


def is_path(name, label):
  """Whether a misspelt name may be a file's."""
  return label == 'misspelt' and is_legal(name, 'text')


@pytest.mark.parametrize(
  'name',
  [
    name if name == DEFAULT else pytest.param(name, marks=pytest.mark.slow)
    for name in CONFIGS
  ],
)
def test_damaged_config_is_refused_in_one_line(name):
  whole = load(name)
  assert refusal(whole) is None
  values = {
    place: node[key] for place, node, key in places(copy.deepcopy(whole))
  }
  count, problems = 0, []
  for field, label, config in damages(whole):
    count += 1
    found = problem(field, label, config, values[field])
    if found:
      problems.append(f'{field}, {label}: {found}')
  assert not problems, '\n'.join(problems)
  assert refusal(whole) is None
  assert count > 1500


def test_all_that_is_called_legal_is_taken():
  configs = [load(name) for name in CONFIGS]
  for names, labels, _ in LEGAL:
    for pattern in names.split():
      assert any(
        fnmatch.fnmatchcase(name, pattern)
        and label in labels.split()
        and refusal(config) is None
        for whole in configs
        for name, label, config in damages(copy.deepcopy(whole))
      ), pattern


def test_every_field_is_checked():
  config = base_config.get_base_config().experiment_kwargs.config.to_dict()
  leaves = {
    name
    for name, node, key in places(config)
    if not isinstance(node[key], dict) or name.endswith('kwargs')
  }
  # These hold a list, or what only the discriminator can have.
  others = {f'penalties.{player}' for player in config_fields.PLAYERS}
  others.add('param_transformers.generator')
  assert set(config_fields.FIELDS) == leaves - others


# As a user meets it.


def write_config(path, *lines):
  path.write_text(
    '\n'.join(
      [
        'from dd_two_player_games import base_config',
        'def get_config():',
        '  config = base_config.get_base_config()',
        '  experiment = config.experiment_kwargs.config',
        *(f'  {line}' for line in lines),
        '  return config',
      ]
    )
  )


def test_command_lines_and_files(tmp_path, one_device_env):
  """Status 2 and one line, where JAX would fail if it looked for a device."""
  env = one_device_env | {'JAX_PLATFORMS': 'nowhere'}
  shipped = f'--config={ROOT / "configs" / f"{DEFAULT}.py"}'
  inner = '--config.experiment_kwargs.config'
  field = inner.removeprefix('--')
  write_config(tmp_path / 'typed.py', 'experiment.random_seed = "seven"')
  write_config(
    tmp_path / 'new.py',
    'experiment.training.grad_regularizes = base_config.consensus(1e30)',
  )
  commands = {
    (shipped, f'{inner}.training.batch_size=-1'): (
      f'{field}.training.batch_size must be a whole number from 1 to 1048576, '
      'not -1'
    ),
    (shipped, f'{inner}.optimizers.generator.lr=nan'): (
      f'{field}.optimizers.generator.lr must be a finite number above 0 up to '
      '1000000, not nan'
    ),
    (shipped, f'{inner}.nets.generator=DCGANGenerater'): (
      f"{field}.nets.generator: there is no 'DCGANGenerater'; did you mean "
      'DCGANGenerator?'
    ),
    (shipped, f'{inner}.nets.gen_kwargs.chanels=3'): (
      f'{field}.nets.gen_kwargs.chanels does not exist; did you mean channels?'
    ),
    (shipped, '--config.trainig_steps=3'): (
      'config.trainig_steps does not exist; did you mean config.training_steps?'
    ),
    ('--config=typed.py',): (
      "--config: typed.py:5: TypeError: Could not override field 'random_seed'"
    ),
    ('--config=new.py',): (
      f'{field}.training.grad_regularizes.explicit_non_dd_coeffs.disc.'
      'self_norm must be a finite number from -1000000 up to 1000000, not 1e+30'
    ),
  }
  processes = {
    arguments: subprocess.Popen(
      [sys.executable, '-m', 'dd_two_player_games.experiment', *arguments],
      cwd=tmp_path,
      env=env,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for arguments in commands
  }
  for arguments, process in processes.items():
    out, err = process.communicate(timeout=240)
    assert process.returncode == 2, (arguments, err)
    assert out == ''
    assert err.startswith(f'error: {commands[arguments]}'), err
    assert err.count('\n') == 1, err
  assert not (tmp_path / 'runs').exists()


# What only the networks themselves can tell.


@pytest.mark.parametrize(
  ('settings', 'reason'),
  [
    ({'nets.gen_kwargs.out_dim': 3}, 'samples have shape (3,)'),
    ({'nets.disc_kwargs.out_dim': 2}, 'the discriminator gives (2,) an exam'),
    ({'nets.disc_kwargs': {}, 'nets.discriminator': 'DCGANDiscriminator'}, ''),
    (
      {
        'nets.discriminator': 'ConvNet2D',
        'nets.disc_kwargs': {
          'output_channels': [1],
          'strides': [0],
          'kernel_shapes': [[3, 3]],
          'activation': math.sin,
        },
      },
      '',
    ),
    ({'nets.gen_kwargs.name': 'no name'}, 'no name'),
    (
      {'training.num_latents': 2**20, 'nets.gen_kwargs.hidden_size': 2**20},
      'GiB a device, but there are',
    ),
  ],
)
def test_networks_that_cannot_be(settings, reason):
  config = config_dict.ConfigDict(load('mixture_of_gaussians_config'))
  for name, value in settings.items():
    *parents, last = name.split('.')
    node = config.experiment_kwargs.config
    for parent in parents:
      node = node[parent]
    with node.ignore_type():
      node[last] = value
  base_config.resolve(config)
  with pytest.raises(errors.UserError) as caught:
    experiment.Experiment('train', None, config.experiment_kwargs.config)
  line = str(caught.value)
  assert line.startswith('config.experiment_kwargs.config.nets')
  assert reason in line
  assert line.isprintable()
