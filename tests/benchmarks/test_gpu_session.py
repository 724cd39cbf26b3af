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
import subprocess
import sys

import pytest

from benchmarks import train_step
from dd_two_player_games import base_config
from jaxline_harness import errors

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))  # As its scripts find each other.

import gpu_page  # noqa: E402
import gpu_session  # noqa: E402


def test_half_an_hour_is_enough():
  parts = gpu_session.list_parts(rehearse=False)
  assert sum(part.expected for part in parts) <= 1500
  assert all(part.expected < part.limit for part in parts)
  # What matters most fits ten minutes, whatever goes wrong.
  first = {part.name: part.limit for part in parts[:5]}
  assert {'eval_default', 'steps_cifar'} <= set(first)
  assert sum(first.values()) <= 600
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


@pytest.mark.parametrize('rehearse', [False, True])
def test_steps_can_be_timed(monkeypatch, rehearse):
  for part in gpu_session.list_parts(rehearse):
    script, *arguments = part.command.split()
    if script.endswith('train_step.py'):
      monkeypatch.setattr(sys, 'argv', [script, *arguments])
      parsed = train_step.parse_arguments()
      assert parsed.cases != ['mlp'] or rehearse
      assert len(parsed.variants) == 1 or not rehearse


def test_a_rehearsal_runs_the_same_parts_at_tiny_sizes():
  full, tiny = (gpu_session.list_parts(rehearse) for rehearse in (False, True))
  assert [part.name for part in tiny] == [part.name for part in full]
  for part, whole in zip(tiny, full, strict=True):
    assert part.environment == whole.environment
    assert not {'cifar', 'mnist'} & set(part.command.split())
    for word in part.command.split():
      name, _, steps = word.partition('=')
      assert name != '--config.training_steps' or int(steps) <= 32


def test_the_plan(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', ['x', '--plan', '--only', 'seeds_1'])
  gpu_session.main()
  _, part = capsys.readouterr().out.splitlines()
  assert part.split() == ['seeds_1', '30', 's', '50', 's', '0:30', '0:50']


def make_parts(tmp_path, **codes):
  """Programs as parts, by name."""
  for name, code in codes.items():
    (tmp_path / name).write_text(code)
  return [gpu_session.Part(name, 1, 60, str(tmp_path / name)) for name in codes]


def test_a_session_goes_on_where_it_was_cut_off(tmp_path, capsys):
  out, card = tmp_path / 'out', 'some card'
  fails = "print('no | memory'); raise SystemExit(int('%d'))"
  parts = make_parts(tmp_path, a=fails % 1, b='')
  assert not gpu_session.run_session(
    parts, out, card, gpu_session.begin(out, card)
  )
  told = capsys.readouterr().out.splitlines()
  assert [line.split()[:3] for line in told] == [
    ['a', 'status', '1,'],
    ['b', 'done,', told[1].split()[2]],
  ]
  assert told[0].endswith(': no | memory')
  assert r'| no \| memory |' in (out / 'figures.md').read_text()

  parts = make_parts(tmp_path, a='', b=fails % 1)
  assert gpu_session.run_session(parts, out, card, gpu_session.begin(out, card))
  told = capsys.readouterr().out.splitlines()
  assert told[0].split()[1] == 'done,'
  assert told[1].split() == ['b', 'done', 'before']
  known = gpu_session.begin(out, card)
  assert [known[name]['end'] for name in 'ab'] == ['done', 'done']
  with pytest.raises(errors.UserError, match='another card'):
    gpu_session.begin(out, 'another')


def test_no_part_begins_that_has_no_time_left(tmp_path, capsys):
  out, parts = tmp_path / 'out', make_parts(tmp_path, a='raise', b='')
  parts[0] = parts[0]._replace(expected=100)
  known = gpu_session.begin(out, 'card')
  assert not gpu_session.run_session(parts, out, 'card', known, seconds=90)
  assert set(gpu_session.begin(out, 'card')) == {'b'}
  assert 'not begun' in capsys.readouterr().out


def test_no_folder_of_others_is_taken(tmp_path):
  (tmp_path / 'mine').write_text('')
  with pytest.raises(errors.UserError, match='give a new folder'):
    gpu_session.begin(tmp_path, 'card')


def test_what_is_known_is_kept_when_it_is_stopped(tmp_path, monkeypatch):
  out, parts = tmp_path / 'out', make_parts(tmp_path, a='input()', b='')
  known = gpu_session.begin(out, 'card')

  class Stopped(subprocess.Popen):
    def wait(self, timeout=None):
      if timeout == parts[0].limit:
        raise KeyboardInterrupt
      return super().wait(timeout)

  monkeypatch.setattr(subprocess, 'Popen', Stopped)
  assert not gpu_session.run_session(parts, out, 'card', known)
  (left,) = gpu_session.begin(out, 'card').values()
  assert (left['part'], left['end']) == ('a', 'interrupted')


def test_the_page():
  def took(milliseconds):
    return {
      'step_seconds': milliseconds / 1000,
      'compile_seconds': 20.0,
      'peak_megabytes': 1234.5,
    }

  def make(card):
    time = {'date': '2026-11-26 12:00', 'end': 'done', 'seconds': 80.0}
    cancelled = {'case': 'cifar', 'variant': 'cancelled', 'project': took(5)}
    metrics = {'FID': '25.04', 'FID_floor': '1.1', 'step': '8000'}
    results = [
      {'part': 'train_default', 'steps_per_second': 500.0, **time},
      {'part': 'eval_default', 'metrics': metrics, **time},
      {
        'part': 'steps_cifar',
        'steps': [{**cancelled, 'textbook': took(10)}],
        **time,
      },
      {'part': 'steps_float32', 'steps': [cancelled], **time},
    ]
    code = {'versions': {'jax': '1.2'}, 'git_commit': None}
    about = {'card': card, 'date': '2026-11-26', 'machine': 'M', 'code': code}
    return gpu_page.make_page({'results': results, **about})

  page = make('NVIDIA H100 80GB HBM3')
  cells = '| cifar, cancelled | default | 5 | 10 | 2.0 | 2.7 | 20.0 | 1,234 |'
  assert cells in page
  assert '| cifar, cancelled | float32 | 5 | – | – | – | 20.0 | 1,234 |' in page
  trained = '| `sgd_fashion_mnist` | 500 | 2 | 0.046 | 80 | 8000 | 25.0 (1.1) |'
  assert trained in page
  assert 'rehearsal' not in page
  other = make(gpu_page.REHEARSAL)
  assert '| cifar, cancelled | default | 5 | 10 | 2.0 | 20.0 | 1,234 |' in other
  assert '**A rehearsal' in other


def run_part(tmp_path, code, limit=60):
  """Runs a program as a part; returns what is kept of it, and its log."""
  program = tmp_path / 'program.py'
  program.write_text(code)
  command = f'{program} {{folder}}'
  part = gpu_session.Part('eval_x', 1, limit, command, {'A': 'b'})
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
  assert line.startswith('error: JAX finds no GPU here')
  assert '--rehearse' in line
  assert not list(tmp_path.iterdir())
