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
"""That every field is checked, and how wrong configs are refused."""

import math
import pathlib
import runpy
import subprocess
import sys

import pytest

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from jaxline_harness import errors
from jaxline_harness import memory
from tests import command_lines
from tests.dd_two_player_games import small_experiments

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'


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


SHIPPED = f'--config={CONFIGS / "sgd_fashion_mnist_config.py"}'
INNER = '--config.experiment_kwargs.config'
FIELD = INNER.removeprefix('--')


def test_no_device_is_asked_before_a_config_is_refused(
  tmp_path, one_device_env
):
  """Status 2 and one line, where JAX would fail if it looked for a device."""
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'dd_two_player_games.experiment', SHIPPED),
      f'{INNER}.training.batch_size=-1',
    ],
    cwd=tmp_path,
    env=one_device_env | {'JAX_PLATFORMS': 'nowhere'},
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert result.returncode == 2
  assert result.stdout == ''
  assert result.stderr == (
    f'error: {FIELD}.training.batch_size must be a whole number from 1 to '
    '1048576, not -1\n'
  )
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (
      [SHIPPED, f'{INNER}.optimizers.generator.lr=nan'],
      f'{FIELD}.optimizers.generator.lr must be a finite number above 0 up to '
      '1000000, not nan',
    ),
    (
      [SHIPPED, f'{INNER}.nets.generator=DCGANGenerater'],
      f"{FIELD}.nets.generator: there is no 'DCGANGenerater'; did you mean "
      'DCGANGenerator?',
    ),
    (
      [SHIPPED, f'{INNER}.nets.gen_kwargs.chanels=3'],
      f'{FIELD}.nets.gen_kwargs.chanels does not exist; did you mean channels?',
    ),
    (
      [SHIPPED, '--config.trainig_steps=3'],
      'config.trainig_steps does not exist; did you mean '
      'config.training_steps?',
    ),
    (
      ['--config=typed.py'],
      "--config: typed.py:5: TypeError: Could not override field 'random_seed'",
    ),
    (
      ['--config=new.py'],
      f'{FIELD}.training.grad_regularizes.explicit_non_dd_coeffs.disc.'
      'self_norm must be a finite number from -1000000 up to 1000000, not '
      '1e+30',
    ),
  ],
)
def test_command_lines_and_files(
  tmp_path, monkeypatch, capsys, arguments, expected
):
  monkeypatch.chdir(tmp_path)
  write_config(tmp_path / 'typed.py', 'experiment.random_seed = "seven"')
  write_config(
    tmp_path / 'new.py',
    'experiment.training.grad_regularizes = base_config.consensus(1e30)',
  )
  line = command_lines.error_line(
    capsys, experiment.Experiment, base_config.SCHEMA, *arguments
  )
  assert line.startswith(f'error: {expected}')
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
  config = runpy.run_path(str(CONFIGS / 'mixture_of_gaussians_config.py'))[
    'get_config'
  ]()
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


def test_samples_that_do_not_fit_into_memory(monkeypatch):
  config = small_experiments.images_config(eval={'batch_size': 2**20})
  monkeypatch.setattr(memory, 'of_device', lambda: 2**32)
  with pytest.raises(errors.UserError) as caught:
    experiment.Experiment('train', None, config)
  line = str(caught.value)
  assert 'eval.batch_size=1048576: making samples would take' in line
