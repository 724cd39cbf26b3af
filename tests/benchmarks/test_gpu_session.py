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
"""Half an hour on a GPU: its list, its limits and what it keeps."""

import functools
import importlib
import pathlib
import sys

import pytest

from dd_two_player_games import base_config

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))  # As its scripts find each other.

import gpu_session  # noqa: E402


def test_half_an_hour_is_enough():
  parts = gpu_session.list_parts(rehearse=False)
  assert sum(part.limit for part in parts) <= 1800
  names = [part.name for part in parts]
  assert len(set(names)) == len(names)
  # What is evaluated has been trained, by the same config and settings.
  commands = {part.name: set(part.command.split()) for part in parts}
  for name in names:
    if name.startswith('eval_'):
      trained = name.replace('eval', 'train')
      assert names.index(trained) < names.index(name)
      assert commands[name] - commands[trained] == {'eval'}


@pytest.mark.parametrize(
  'part', gpu_session.list_parts(False), ids=lambda part: part.name
)
def test_settings_exist(part):
  words = part.command.split()
  if words[2] == 'diffgames':
    module = importlib.import_module(f'configs.{words[4]}_config')
    config = base_config.resolve(module.get_config())
    for word in words[5:]:
      path = word.split('=')[0].removeprefix('--config.')
      functools.reduce(getattr, path.split('.'), config)


def test_a_rehearsal_runs_the_same_parts_at_tiny_sizes():
  full, tiny = (gpu_session.list_parts(rehearse) for rehearse in (False, True))
  assert [part.name for part in tiny] == [part.name for part in full]
  assert not any('mnist' in part.command for part in tiny)


def run_part(tmp_path, code, limit=60):
  """Runs a program as a part; returns what is kept of it, and its log."""
  program = tmp_path / 'program.py'
  program.write_text(code)
  part = gpu_session.Part('eval_x', limit, f'{program} {{folder}}', {'A': 'b'})
  return gpu_session.run_part(part, tmp_path)


def test_a_part_that_ends_well(tmp_path):
  run = tmp_path / 'train_x' / 'run'
  for mode, table in {
    'train': 'step,seconds\n1,9\n2,10\n12,11\n22,12\n',
    'eval': 'step,seconds,FID\n1,1,80.0\n22,2,9.5\n',
  }.items():
    (run / mode).mkdir(parents=True)
    (run / mode / 'metrics.csv').write_text(table)
  result = run_part(
    tmp_path,
    'import os, sys\n'
    "with open(sys.argv[1] + '/figures.json', 'w') as f:\n"
    """  f.write('{"results": ["%s"]}' % os.environ['A'])\n"""
    "print('told')\n",
  )
  assert result['end'] == 'done'
  assert result['steps'] == ['b']
  assert result['steps_per_second'] == 10.0
  assert result['metrics']['FID'] == '9.5'
  assert (tmp_path / 'eval_x.log').read_text() == 'told\n'


@pytest.mark.parametrize(
  ('code', 'limit', 'end'),
  [
    ('raise SystemExit(3)', 60, 'status 3'),
    ('import time; time.sleep(60)', 0, 'stopped after 0 s'),
  ],
)
def test_a_part_that_does_not(tmp_path, code, limit, end):
  result = run_part(tmp_path, code, limit)
  assert result['end'] == end
  assert not {'steps', 'metrics'} & set(result)


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(gpu_session, '_CARD', 'print()')
  monkeypatch.setattr(sys, 'argv', ['x', '--out', str(tmp_path / 'new')])
  with pytest.raises(SystemExit) as caught:
    gpu_session.main()
  assert caught.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: JAX finds no GPU here; --rehearse')
  assert not list(tmp_path.iterdir())
