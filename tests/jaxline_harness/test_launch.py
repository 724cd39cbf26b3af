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
"""The command line: exit statuses, error lines, files, resuming."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

from jaxline import base_config
from ml_collections import config_dict
import numpy as np
import pytest

from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import launch
from jaxline_harness import train_loop
from tests.jaxline_harness import toy_experiment

FOLDER = pathlib.Path(__file__).parent
CONFIG = f'--config={FOLDER / "toy_config.py"}'
TOY = '--config.experiment_kwargs.config.'


def toy_command(*arguments):
  return [sys.executable, str(FOLDER / 'toy_experiment.py'), *arguments]


@pytest.fixture
def toy(tmp_path, monkeypatch, capsys):
  """Runs the toy experiment in this process: (status, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)

  def run(*arguments):
    with pytest.raises(SystemExit) as error:
      launch.main(
        lambda: toy_experiment.Experiment,
        toy_experiment.SCHEMA,
        ['toy_experiment.py', *arguments],
      )
    output = capsys.readouterr()
    return error.value.code, output.out, output.err

  return run


def error_line(result):
  """Checks that a run ended with status 2 and one line; returns the line."""
  status, out, err = result
  assert status == 2, err
  assert out == ''
  lines = err.strip().splitlines()
  assert len(lines) == 1, err
  assert lines[0].startswith('error: ')
  return lines[0]


def rows(path):
  with open(path, newline='') as f:
    return [
      {k: v for k, v in row.items() if k not in ('seconds', 'steps_per_sec')}
      for row in csv.DictReader(f)
    ]


def state_bytes(run_dir):
  """Returns the newest checkpoint's arrays, as bytes by name."""
  path = checkpointing.find_checkpoint(str(run_dir))
  experiment = toy_experiment.Experiment(
    'train', config=toy_experiment.get_config().experiment_kwargs.config
  )
  state = checkpoint_files.read(path, experiment.abstract_train_state())
  return {
    'w': state.params['w'].tobytes(),
    'momentum': state.momentum['w'].tobytes(),
    'step': int(state.global_step),
  }


def test_train_as_a_program(tmp_path, one_device_env):
  """The whole way as a user goes it, one device, JAX's cache unwritable."""
  one_device_env.pop('JAX_COMPILATION_CACHE_DIR', None)
  one_device_env['XDG_CACHE_HOME'] = '/proc/nowhere'

  def start(*arguments):
    return subprocess.run(
      toy_command(CONFIG, *arguments),
      cwd=tmp_path,
      env=one_device_env,
      capture_output=True,
      text=True,
      timeout=120,
    )

  result = start()
  assert result.returncode == 0, result.stderr
  assert 'Trained to step 20.' in result.stdout
  assert 'runs/toy' in result.stdout
  assert 'step 20/20' in result.stderr
  assert 'Traceback' not in result.stderr
  assert 'WARNING' not in result.stderr
  run = tmp_path / 'runs' / 'toy'
  for name in (
    'config.json',
    'checkpoints/latest/20',
    'checkpoints/latest/10',
    'samples/step_00000020.png',
    'train/metrics.csv',
  ):
    assert (run / name).exists(), name
  table = rows(run / 'train/metrics.csv')
  assert [row['step'] for row in table] == ['5', '10', '15', '20']
  assert [float(row['drawn']) for row in table] == [5, 10, 15, 20]

  result = start('--jaxline_mode=eval')
  assert result.returncode == 0, result.stderr
  assert 'Step 20' in result.stdout
  assert 'score' in result.stdout
  assert (run / 'checkpoints/best/20').exists()
  assert (run / 'eval/metrics_20.json').exists()
  assert [row['step'] for row in rows(run / 'eval/metrics.csv')] == ['20']


@pytest.mark.slow
@pytest.mark.optimised
def test_stop_and_resume_gives_the_same_files(toy, tmp_path):
  assert toy(CONFIG, '--config.training_steps=47')[0] == 0
  other = '--config.checkpoint_dir=other'
  assert toy(CONFIG, other, '--config.training_steps=23')[0] == 0
  # Further log lines of steps that a crash then makes be trained again.
  with open('other/train/metrics.csv', 'a') as f:
    f.write('25,25.0,9.0,9.0,99.0\n')
  assert (
    toy(
      CONFIG, other, '--config.training_steps=47', '--config.max_chunk_steps=3'
    )[0]
    == 0
  )
  assert state_bytes('other') == state_bytes('runs/toy')
  assert state_bytes('other')['step'] == 47
  expected = rows('runs/toy/train/metrics.csv')
  resumed = rows('other/train/metrics.csv')
  # The first part's end, step 23, was logged too.
  assert [row for row in resumed if row['step'] != '23'] == expected
  assert [int(row['step']) for row in resumed] == [
    5,
    10,
    15,
    20,
    23,
    25,
    30,
    35,
    40,
    45,
    47,
  ]


def test_finished_run_stays_as_it_is(toy):
  assert toy(CONFIG)[0] == 0
  before = rows('runs/toy/train/metrics.csv')
  status, out, _ = toy(CONFIG)
  assert status == 0
  assert 'Trained to step 20.' in out
  assert rows('runs/toy/train/metrics.csv') == before


def test_changed_config_is_refused(toy):
  assert toy(CONFIG)[0] == 0
  line = error_line(toy(CONFIG, f'{TOY}lr=0.5'))
  assert 'experiment_kwargs.config.lr was 0.01, now 0.5' in line
  # Evaluation and length are free.
  assert (
    toy(CONFIG, f'{TOY}eval.samples=8', '--config.training_steps=21')[0] == 0
  )


@pytest.mark.slow
def test_evaluation_keeps_the_best_and_leaves_other_runs_out(toy):
  assert toy(CONFIG)[0] == 0
  status, out, _ = toy(
    CONFIG,
    '--jaxline_mode=eval',
    '--config.restore_path=runs/toy',
    '--config.checkpoint_dir=elsewhere',
  )
  assert status == 0
  assert 'runs/toy/checkpoints/latest/20' in out
  assert not os.path.exists('elsewhere/checkpoints')
  assert toy(CONFIG, '--jaxline_mode=eval')[0] == 0
  assert checkpointing.steps_in('runs/toy/checkpoints/best') == [20]
  # The score falls as the toy is trained: step 20 stays the best.
  assert toy(CONFIG, '--config.training_steps=60')[0] == 0
  status, out, _ = toy(CONFIG, '--jaxline_mode=eval')
  assert 'Step 60' in out
  assert checkpointing.steps_in('runs/toy/checkpoints/best') == [20]
  with open('runs/toy/eval/metrics_60.json') as f:
    assert set(json.load(f)) == {'score', 'spread'}


def test_evaluation_of_initial_weights(toy):
  status, out, _ = toy(
    CONFIG, '--jaxline_mode=eval', '--config.eval_initial_weights'
  )
  assert status == 0
  assert 'Step 0 (initial weights)' in out
  # With --all, too, which heeds no other run's checkpoints.
  status, out, said = toy(
    CONFIG,
    '--jaxline_mode=eval',
    '--config.eval_initial_weights',
    '--all',
    '--config.restore_path=nowhere',
  )
  assert status == 0
  assert 'Step 0 (initial weights)' in out
  assert 'config.restore_path has no effect with --all' in said


def test_training_from_another_run(toy):
  assert toy(CONFIG)[0] == 0
  arguments = (
    CONFIG,
    '--config.checkpoint_dir=next',
    '--config.restore_path=runs/toy',
    f'{TOY}lr=0.02',
    '--config.training_steps=30',
  )
  assert toy(*arguments)[0] == 0
  assert [row['step'] for row in rows('next/train/metrics.csv')] == ['25', '30']
  line = error_line(
    toy(
      CONFIG,
      '--config.checkpoint_dir=third',
      '--config.restore_path=runs/toy',
      f'{TOY}size=4',
    )
  )
  assert 'params/w: float32[3] in the checkpoint, float32[4]' in line


def test_debugging_aid_does_not_delete_a_run(toy):
  arguments = (CONFIG, '--config.delete_existing_local_checkpoints=true')
  assert toy(*arguments)[0] == 0
  status, _, err = toy(*arguments, '--config.training_steps=25')
  assert status == 0
  assert 'from step 20 to 25' in err


def test_loss_that_is_not_finite(toy):
  status, _, err = toy(CONFIG, f'{TOY}nan_loss_at=15')
  assert status == 1
  assert 'Traceback' not in err
  last = err.strip().splitlines()[-1]
  assert last.startswith('error: step 15: not finite: toy_loss (nan); ')
  assert last.endswith('checkpoints/latest/10')
  assert checkpointing.steps_in('runs/toy/checkpoints/latest') == [10]
  steps = [row['step'] for row in rows('runs/toy/train/metrics.csv')]
  assert steps == ['5', '10']
  # The states around the step can be looked at, and the step made again.
  assert '/checkpoints/nonfinite for inspection' in last
  folder = 'runs/toy/checkpoints/nonfinite'
  assert checkpointing.steps_in(folder) == [14, 15]
  again = (
    f'--config.restore_path={folder}/14',
    '--config.checkpoint_dir=again',
  )
  status, _, err = toy(CONFIG, *again, f'{TOY}nan_loss_at=15')
  assert 'error: step 15: not finite: toy_loss (nan); ' in err
  assert status == 1


def test_back_off_goes_on_from_the_checkpoint(toy, caplog):
  arguments = (CONFIG, f'{TOY}nan_state_at=15', f'{TOY}max_back_offs=2')
  status, out, _ = toy(*arguments, f'{TOY}cured_by=2')
  assert status == 0
  assert 'Trained to step 20.' in out
  warnings = [line for line in caplog.messages if 'goes back' in line]
  assert len(warnings) == 2
  assert all('step 15: not finite: momentum' in line for line in warnings)
  assert 'goes back to step 10 with a smaller learning rate' in warnings[0]
  table = rows('runs/toy/train/metrics.csv')
  assert [row['step'] for row in table] == ['5', '10', '15', '20']
  # The same as a run that begins with the checkpoint and the smaller rate.
  config = toy_experiment.get_config().experiment_kwargs.config
  experiment = toy_experiment.Experiment('train', config=config)
  state = types.SimpleNamespace(global_step=0)
  for last_step, back_offs in ((10, 0), (20, 2)):
    experiment.ensure_train_state()
    start = experiment.snapshot_state()['train_state']
    experiment.restore_from_snapshot(
      {'train_state': start._replace(back_offs=np.int32(back_offs))}
    )
    length = {'training_steps': last_step, 'max_chunk_steps': 1000}
    train_loop.run_loop(experiment, config_dict.ConfigDict(length), state)
  end = experiment.snapshot_state()['train_state']
  assert state_bytes('runs/toy')['w'] == end.params['w'].tobytes()


def test_back_offs_come_to_an_end(toy, caplog):
  arguments = (CONFIG, f'{TOY}nan_state_at=15', f'{TOY}max_back_offs=2')
  status, _, err = toy(*arguments)
  assert status == 1
  assert sum('goes back' in line for line in caplog.messages) == 2
  last = err.strip().splitlines()[-1]
  assert last.startswith('error: step 15: not finite: momentum, params/w; ')


def test_back_off_before_the_first_checkpoint_starts_anew(toy, caplog):
  status, _, _ = toy(
    CONFIG,
    f'{TOY}nan_state_at=5',
    f'{TOY}max_back_offs=1',
    f'{TOY}cured_by=1',
  )
  assert status == 0
  assert 'goes back to step 0 with' in caplog.text


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ([], '--config=FILE is needed'),
    (['--config=nothing.py'], 'there is no file nothing.py'),
    ([CONFIG, 'extra'], "unexpected argument 'extra'"),
    ([CONFIG, '--jaxline_mod=eval'], 'Did you mean: jaxline_mode'),
    ([CONFIG, '--jaxline_mode=test'], 'one of <train|eval|compile>'),
    (
      [CONFIG, '--config.training_step=3'],
      'config.training_step does not exist; '
      'did you mean config.training_steps?',
    ),
    (
      [CONFIG, '--config.lr=3'],
      'did you mean config.experiment_kwargs.config.lr?',
    ),
    (
      [CONFIG, f'{TOY}sise=3'],
      'did you mean config.experiment_kwargs.config.size?',
    ),
    (
      [CONFIG, '--config.experiment_kwargs.confg.size=3'],
      'did you mean config.experiment_kwargs.config.size?',
    ),
    (
      [CONFIG, f'{TOY}lr=abc'],
      'config.lr must be a finite number from -1000000 up to 1000000, not '
      "'abc'",
    ),
    (
      [CONFIG, '--config.interval_type=step'],
      "config.interval_type: there is no 'step'; did you mean steps?",
    ),
    (
      [CONFIG, '--config.training_steps=-1'],
      'config.training_steps must be a whole number from 0 to 2147483647, '
      'not -1',
    ),
    (
      [CONFIG, '--config.log_tensors_interval=0'],
      'config.log_tensors_interval must be a finite number above 0 up to '
      '2147483647, or None, not 0',
    ),
    (
      [CONFIG, '--config.save_checkpoint_interval=0.5'],
      'save_checkpoint_interval counts steps and must be whole, not 0.5',
    ),
    (
      [CONFIG, '--config.log_all_hosts'],
      'config.log_all_hosts=True has no effect',
    ),
    (
      [CONFIG, '--config.train_checkpoint_all_hosts'],
      'config.train_checkpoint_all_hosts must be False',
    ),
    (
      [CONFIG, '--config.best_checkpoint_all_hosts'],
      'config.best_checkpoint_all_hosts must be False',
    ),
    (
      [CONFIG, '--config.periodic_action_growth_ratios=[1, 20]'],
      'config.periodic_action_growth_ratios must be a list, each item a finite '
      'number from 1 up to 10, or None, not [1, 20]',
    ),
    (
      [CONFIG, '--config.log_async=maybe'],
      "config.log_async must be True or False, not 'maybe'",
    ),
    ([CONFIG, '--'], "unexpected argument '--'"),
    ([CONFIG, '--flagfile=/dev/zero'], "unexpected argument '--flagfile="),
    (
      [CONFIG, '--config.log_tensors_interval=True'],
      'config.log_tensors_interval must be a finite number above 0 up to '
      '2147483647, or None, not True',
    ),
    ([CONFIG, 3000 * '-'], "unexpected argument '------"),
    ([CONFIG, f'{TOY}lr={100_000 * "-"}'], "not '-----"),
    ([CONFIG, f'{TOY}lr={100_000 * "("}'], "not '((((("),
    ([CONFIG, f'{TOY}lr={5000 * "9"}'], 'not inf'),
    ([CONFIG, f'{TOY}__class__=1'], 'config.__class__ does not exist'),
    (
      [CONFIG, f'{TOY}net_kwargs.__class__=1'],
      'net_kwargs.__class__ does not exist',
    ),
    (
      [CONFIG, f'{TOY}net_kwargs={{"__class__": 1}}'],
      'net_kwargs holds nothing that can be set so',
    ),
    (
      [CONFIG, f'{TOY}training.__class__.x=1'],
      'config.training.__class__.x do',
    ),
    ([CONFIG, f'{TOY}net_kwargs.a', '1', f'{TOY}lr.b=2'], 'lr.b does not exi'),
    ([CONFIG, f'{TOY}{10_000 * "a."}x=1'], '.a.a.a.a.a'),
    ([CONFIG, f'{TOY}sizes[5]=1'], 'sizes[5] holds nothing that can be set so'),
    ([CONFIG, f'{TOY}lr[0]=1'], 'lr[0] holds nothing that can be set so'),
    ([CONFIG, f'{TOY}lr'], "not ''"),
    ([CONFIG, '--config.=1'], 'config. does not exist'),
    (
      [CONFIG, '--jaxline_mode=eval'],
      'runs/toy/checkpoints/latest: train first',
    ),
    (
      [CONFIG, '--jaxline_mode=eval', '--config.restore_path=gone'],
      'gone (looked there, in latest/ and in checkpoints/latest/)',
    ),
    ([CONFIG, '--config.checkpoint_dir=/proc/x'], 'cannot write to /proc/x'),
  ],
)
def test_error_lines(toy, arguments, expected):
  assert expected in error_line(toy(*arguments))
  assert not os.path.exists('runs')


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('def get_config(:', 'SyntaxError'),
    ('def get_config():\n  return nothing', 'my_config.py:2: NameError'),
    ('x = 1', "no attribute 'get_config'"),
    ('def get_config():\n  return {}', 'must return a ConfigDict, not dict'),
    ('def get_config():\n  return get_config()', 'RecursionError: maximum'),
    ('def get_config():\n  raise GeneratorExit', 'my_config.py:2: Generator'),
    ('import sys\nsys.exit()', 'my_config.py:2: SystemExit'),
    (
      'from ml_collections import config_dict\n'
      'def get_config():\n'
      '  config = config_dict.ConfigDict()\n'
      '  for _ in range(5000):\n'
      '    config = config_dict.ConfigDict({"extra": config})\n'
      '  return config',
      'what my_config.py makes is nested too deeply',
    ),
    (
      'from tests.jaxline_harness import toy_experiment\n'
      'def get_config():\n'
      '  config = toy_experiment.get_config()\n'
      '  endless = []\n'
      '  endless.append(endless)\n'
      '  config.experiment_kwargs.config.extra = endless\n'
      '  return config',
      'what my_config.py makes is nested too deeply',
    ),
    (
      'from ml_collections import config_dict\n'
      'def get_config():\n'
      '  seed = config_dict.placeholder(int, required=True)\n'
      '  return config_dict.ConfigDict({"a": {"b": seed}})',
      'config.a.b is a required placeholder',
    ),
    (
      'from tests.jaxline_harness import toy_experiment\n'
      'def get_config():\n'
      '  config = toy_experiment.get_config()\n'
      '  config.save_checkpoints_interval = 3\n'
      '  return config',
      'did you mean config.save_checkpoint_interval?',
    ),
  ],
)
def test_bad_config_files(toy, text, expected):
  # An experiment's own resolver is not what is tested here.
  with open('my_config.py', 'w') as f:
    f.write(text)
  assert expected in error_line(toy('--config=my_config.py'))


def write_short_config(name='short_config.py'):
  """A config file with few fields, as the published ones are."""
  with open(name, 'w') as f:
    f.write(
      'from ml_collections import config_dict\n'
      'def get_config(seed="0"):\n'
      '  return config_dict.ConfigDict(dict(\n'
      '    training_steps=3, interval_type="steps",\n'
      '    save_checkpoint_interval=10,\n'
      '    log_tensors_interval=1, log_train_data_interval=1,\n'
      '    experiment_kwargs=dict(config=dict(lr=0.1, seed=int(seed)))))\n'
    )


def written_config(run_dir):
  with open(os.path.join(run_dir, 'config.json')) as f:
    return json.load(f)['config']


def test_fields_absent_from_the_file_can_be_overridden(toy):
  write_short_config()
  status, _, err = toy(
    '--config=short_config.py:7',
    '--config.max_checkpoints_to_keep=2',
    f'{TOY}eval.samples=9',
    f'{TOY}size=5',
    f'{TOY}net_kwargs.depth=3',
  )
  assert status == 0, err
  config = written_config('runs/short')
  assert config['max_checkpoints_to_keep'] == 2
  inner = config['experiment_kwargs']['config']
  assert inner['seed'] == 7
  assert inner['size'] == 5
  assert inner['eval'] == {'samples': 9}
  assert inner['net_kwargs'] == {'depth': 3}
  assert 'does not exist' in error_line(
    toy('--config', 'short_config.py', f'{TOY}evil.samples=9')
  )


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize(
  ('arguments', 'name', 'value'),
  [
    ([f'{TOY}extra=0.5'], 'extra', 0.5),
    ([f'{TOY}sizes=[3, 4]'], 'sizes', [3, 4]),
    ([f'{TOY}sizes[1]=7'], 'sizes', [1, 7]),
    ([f'{TOY}net_kwargs=None'], 'net_kwargs', None),
    ([f'{TOY}net_kwargs={{"a": 1}}'], 'net_kwargs', {'a': 1}),
    ([f'{TOY}net_kwargs.a.b=c'], 'net_kwargs', {'a': {'b': 'c'}}),
    ([f'{TOY}size', '5'], 'size', 5),
    ([f'{TOY}lr=1'], 'lr', 1.0),
    (
      ['--config.log_train_data_interval=None'],
      'log_train_data_interval',
      None,
    ),
    (
      ['--config.interval_type=secs', '--config.save_checkpoint_interval=0.5'],
      'save_checkpoint_interval',
      0.5,
    ),
    (['--config.log_all_train_data'], 'log_all_train_data', True),
    (['--config.log_async=False'], 'log_async', False),
    (['--config.log_async=false'], 'log_async', False),
    (['--noconfig.log_async'], 'log_async', False),
  ],
)
def test_what_can_be_overridden(toy, arguments, name, value):
  status, _, err = toy(CONFIG, *arguments, '--config.training_steps=1')
  assert status == 0, err
  config = written_config('runs/toy')
  config |= config['experiment_kwargs']['config']
  assert config[name] == value
  assert type(config[name]) is type(value)


def test_training_ends_with_the_command_of_a_report(toy, tmp_path, monkeypatch):
  arguments = (CONFIG, '--config.checkpoint_dir=my run')
  assert 'Report' not in toy(*arguments)[1]
  monkeypatch.setattr(toy_experiment.Experiment, 'report_command', 'tell of')
  _, out, _ = toy(*arguments)
  assert out.splitlines()[-1] == f"Report: tell of '{tmp_path}/my run'"


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('folder', ['~/r', './r', 'a/../r', '~/r/', 'r'])
def test_a_run_is_in_one_place(toy, tmp_path, monkeypatch, folder):
  monkeypatch.setenv('HOME', str(tmp_path))
  status, out, err = toy(CONFIG, f'--config.checkpoint_dir={folder}')
  assert status == 0, err
  assert f'Files of the run: {tmp_path}/r\n' in out
  assert os.listdir(tmp_path) == ['r']
  status, out, _ = toy(
    CONFIG,
    '--jaxline_mode=eval',
    f'--config.restore_path={folder}',
    f'--config.checkpoint_dir={folder}',
  )
  assert status == 0
  assert f'({tmp_path}/r/checkpoints/latest/20)' in out
  assert os.listdir(tmp_path) == ['r']


def resolve(given):
  return toy_experiment.SCHEMA.resolve(config_dict.ConfigDict(given))


def test_top_level_is_filled_in():
  config = resolve({'training_steps': 3})
  assert config.training_steps == 3
  assert config.max_chunk_steps == 1000
  assert set(config) == set(toy_experiment.get_config())
  with pytest.raises(errors.UserError, match='did you mean config.interval_t'):
    resolve({'intervaltype': 'secs'})


def test_top_level_fields_are_all_of_jaxline_and_some_more():
  fields = base_config.get_base_config()
  own = configs.Schema(experiment={}).get_base_config()
  assert set(fields) < set(own)
  # The harness counts in steps.
  others = {name for name in fields if own[name] != fields[name]}
  assert others == {
    'experiment_kwargs',
    'interval_type',
    'log_tensors_interval',
    'log_train_data_interval',
    'save_checkpoint_interval',
  }


@pytest.mark.parametrize(
  ('settings', 'line'),
  [
    (
      {'interval_type': 'steps', 'log_tensors_interval': 2.5},
      'config.log_tensors_interval counts steps and must be whole, not 2.5',
    ),
    (
      {'checkpoint_interval_type': 'steps', 'save_checkpoint_interval': 0.1},
      'config.save_checkpoint_interval counts steps and must be whole, not 0.1',
    ),
    (
      {'interval_type': 'secs', 'periodic_action_growth_ratios': [1, 2]},
      "config.periodic_action_growth_ratios needs config.interval_type='steps'",
    ),
  ],
)
def test_intervals(settings, line):
  with pytest.raises(errors.UserError) as caught:
    resolve(settings)
  assert str(caught.value) == line


def test_an_override_may_mend_the_file(toy):
  with open('my_config.py', 'w') as f:
    f.write(
      'from ml_collections import config_dict\n'
      'def get_config():\n'
      '  return config_dict.ConfigDict(dict(training_steps=-1))\n'
    )
  assert 'training_steps must be' in error_line(toy('--config=my_config.py'))
  arguments = ('--config.training_steps=2', '--config.interval_type=steps')
  assert toy('--config=my_config.py', *arguments)[0] == 0


def test_other_errors_keep_their_traceback(toy, monkeypatch):
  def fail(*unused_arguments):
    raise ZeroDivisionError

  monkeypatch.setattr(toy_experiment.Experiment, 'update', fail)
  with pytest.raises(ZeroDivisionError):
    launch.main(
      toy_experiment.Experiment, toy_experiment.SCHEMA, ['toy.py', CONFIG]
    )


def test_help_is_quick_and_needs_no_jax(one_device_env):
  code = (
    'import sys\n'
    'from jaxline_harness import launch\n'
    'try:\n'
    "  launch.main(None, None, ['program', '--help'])\n"
    'except SystemExit as error:\n'
    '  assert error.code == 0\n'
    "assert 'jax' not in sys.modules\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=one_device_env,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert result.returncode == 0, result.stderr
  assert '--config=FILE' in result.stdout


def test_help_of_a_config_explains_its_settings(toy):
  status, out, err = toy(CONFIG, f'{TOY}lr=0.5', '--help')
  assert status == 0, err
  assert '--config=FILE' in out
  line = '--config.experiment_kwargs.config.lr=0.5 (default: 0.01)\n'
  may_be = 'May be a finite number from -1000000 up to 1000000.\n'
  assert f'{line}    Learning rate. {may_be}' in out
  assert '\n--config.training_steps=20\n    Steps of training. May be' in out
  assert not os.path.exists('runs')
  assert 'sise does not' in error_line(toy(CONFIG, f'{TOY}sise=3', '--help'))


def test_help_of_a_verb_is_how_it_is_typed(toy, monkeypatch):
  monkeypatch.setenv('DIFFGAMES_COMMAND', './run.sh')
  status, out, err = toy(CONFIG, '--jaxline_mode=compile', '--help')
  assert status == 0, err
  assert out.startswith('Usage: ./run.sh train [CONFIG] [--config.FIELD=')
  assert '--config=FILE' not in out
  assert '\n  CONFIG --help            all settings' in out


class Training:
  """A training of the toy without end, in a process of its own."""

  def __init__(self, folder, env):
    self.run_dir = folder / 'runs' / 'toy'
    self._log = open(folder / 'log.txt', 'w+')  # noqa: SIM115
    self.process = subprocess.Popen(
      toy_command(
        CONFIG,
        '--config.training_steps=1000000000',
        '--config.max_chunk_steps=100',
        '--config.log_tensors_interval=100000',
        '--config.log_train_data_interval=100',
        '--config.save_checkpoint_interval=1000000',
      ),
      cwd=folder,
      env=env,
      stdout=self._log,
      stderr=self._log,
      # It would heed a `nohup` around the tests.
      preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )

  def wait_for(self, path):
    end = time.monotonic() + 90
    while not (self.run_dir / path).exists():
      assert self.process.poll() is None, self.log()
      assert time.monotonic() < end, self.log()
      time.sleep(0.05)

  def stop(self, *numbers):
    for number in numbers:
      self.process.send_signal(number)
      # Two that wait together would come in the order of their numbers.
      log, end = pathlib.Path(self._log.name), time.monotonic() + 10
      while 'stopping:' not in log.read_text() and time.monotonic() < end:
        time.sleep(0.001)
    return self.process.wait(timeout=60)

  def log(self):
    self._log.seek(0)
    return self._log.read()

  def close(self):
    if self.process.poll() is None:
      self.process.kill()
      self.process.wait()
    self._log.close()


@pytest.fixture
def training(tmp_path, one_device_env):
  training = Training(tmp_path, one_device_env)
  yield training
  training.close()


@pytest.mark.parametrize(
  ('numbers', 'status'),
  [
    ([signal.SIGINT], 130),
    ([signal.SIGTERM], 143),
    # A terminal that is closed sends more than one.
    pytest.param([signal.SIGHUP] * 3, 129, marks=pytest.mark.slow),
  ],
)
def test_signal_saves_and_ends(training, numbers, status):
  training.wait_for('train/metrics.csv')
  assert training.stop(*numbers) == status
  assert 'Traceback' not in training.log()
  (step,) = checkpointing.steps_in(training.run_dir / 'checkpoints/latest')
  assert f'Stopped at step {step}, saved' in training.log()


@pytest.mark.optimised
@pytest.mark.slow
def test_signal_changes_no_bit(training, tmp_path, one_device_env):
  training.wait_for('train/metrics.csv')
  assert training.stop(signal.SIGINT) == 130
  (step,) = checkpointing.steps_in(training.run_dir / 'checkpoints/latest')
  for folder in (training.run_dir, tmp_path / 'undisturbed'):
    subprocess.run(
      toy_command(
        CONFIG,
        f'--config.training_steps={step + 5}',
        f'--config.checkpoint_dir={folder}',
        '--config.save_checkpoint_interval=0',
      ),
      env=one_device_env,
      check=True,
    )
  assert state_bytes(training.run_dir) == state_bytes(tmp_path / 'undisturbed')


def test_sigquit_saves_and_a_second_training_is_refused(training, toy):
  training.wait_for('train/metrics.csv')
  training.process.send_signal(signal.SIGQUIT)
  training.wait_for('checkpoints/latest')
  assert training.process.poll() is None
  assert f'process {training.process.pid} on host' in error_line(
    toy(CONFIG, f'--config.checkpoint_dir={training.run_dir}')
  )
  # The first signal's save takes a while; the second does not wait for it.
  assert training.stop(signal.SIGINT, signal.SIGTERM) == 143
  assert 'exits without saving' in training.log()


def test_signal_before_training_exits_at_once(tmp_path, one_device_env):
  code = (
    'import os, signal, time\n'
    'from jaxline_harness import signals\n'
    'with signals.watch():\n'
    '  os.kill(os.getpid(), signal.SIGTERM)\n'
    '  time.sleep(30)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    env=one_device_env,
    capture_output=True,
    text=True,
    timeout=25,
  )
  assert result.returncode == 143
