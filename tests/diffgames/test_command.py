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
"""Tests of what each verb of the command runs, and of what it answers."""

import subprocess
import sys

import pytest

from diffgames import command
from diffgames import draw
from diffgames import pictures
from jaxline_harness import errors
from jaxline_harness import shipped
from tests import partial_installation


@pytest.fixture
def root(tmp_path, monkeypatch):
  """A source tree with two configs and two figures."""
  root = tmp_path / 'a check out'
  for name in (
    'run.sh',
    'configs/__init__.py',
    'configs/sgd_fashion_mnist_config.py',
    'configs/b_config.py',
    'figures/__init__.py',
    'figures/_helper.py',
  ):
    path = root / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
  for name in ('drift', 'flow'):
    (root / f'figures/{name}.py').write_text(
      f'"""The {name}.\n\nMore.\n"""\n\n'
      'import figures.not_there\n\n'
      "COSTS = {'small': '5 seconds', 'quick': ''}\n"
    )
  monkeypatch.setattr(shipped, 'ROOT', root)
  monkeypatch.setenv('DIFFGAMES_COMMAND', './run.sh')
  return root


def answer(monkeypatch, capsys, *arguments):
  """Runs a command to its end: (status, standard output, standard error)."""
  monkeypatch.setattr('sys.argv', ['diffgames', *arguments])
  status = 0
  try:
    command.main()
  except SystemExit as end:
    status = end.code
  output = capsys.readouterr()
  return status, output.out.splitlines(), output.err.splitlines()


@pytest.mark.usefixtures('root')
def test_usage(monkeypatch, capsys):
  status, out, err = answer(monkeypatch, capsys)
  assert (status, out, err[0]) == (2, [], 'Usage:')
  for flag in ('-h', '--help', 'help'):
    assert answer(monkeypatch, capsys, flag) == (0, err, [])
  for verb in command.VERBS:
    assert any(line.startswith(f'  ./run.sh {verb} ') for line in err)
  assert '  b sgd_fashion_mnist' in err


@pytest.mark.parametrize(
  ('args', 'line'),
  [
    (
      ['fly'],
      'there is no verb "fly"; give train, eval, compile, sample, report, '
      'sweep, reproduce, figures, test or docs',
    ),
    (['trian'], 'there is no verb "trian"; did you mean train?'),
    (
      ['train', 'nope'],
      'there is no config "nope"; give a path or one of: b, sgd_fashion_mnist',
    ),
    (
      ['train', ''],
      'there is no config ""; give a path or one of: b, sgd_fashion_mnist',
    ),
    (
      ['train', 'sgd_fashoin_mnist'],
      'there is no config "sgd_fashoin_mnist"; did you mean sgd_fashion_mnist?',
    ),
    (
      ['eval', '--config=b'],
      'give the config without --config=: ./run.sh eval CONFIG',
    ),
    (
      ['figures', 'drift', 'nope'],
      'there is no figure "nope"; give one of: drift, flow',
    ),
    (
      ['figures', 'drfit'],
      'there is no figure "drfit"; did you mean drift?',
    ),
    (
      ['figures', '--size=quick'],
      'flags belong to figures: name those that take them, as in ./run.sh '
      'figures drift --size=quick',
    ),
  ],
)
@pytest.mark.usefixtures('root')
def test_user_errors_are_one_line(monkeypatch, capsys, args, line):
  expected = (2, [], [f'error: {line}'])
  assert answer(monkeypatch, capsys, *args) == expected
  assert answer(monkeypatch, capsys, '--check', *args) == expected


@pytest.mark.usefixtures('root')
def test_a_check_runs_nothing(monkeypatch, capsys):
  status = answer(monkeypatch, capsys, '--check', 'train', 'b', '--x')
  assert status == (command.CAN_RUN, [], [])


def test_the_command_is_quick_and_needs_python_alone():
  done = subprocess.run(
    [sys.executable, '-P', '-X', 'importtime', '-m', 'diffgames', '--help'],
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 0
  assert done.stdout.startswith('Usage:')
  imported = {line.split('|')[-1].strip() for line in done.stderr.splitlines()}
  assert 'diffgames.command' in imported
  packages = {name.partition('.')[0] for name in imported}
  third_party = {'jax', 'absl', 'numpy', 'ml_collections', 'tensorflow'}
  assert not packages & third_party


# Training and evaluation.


@pytest.mark.parametrize(
  ('config', 'found'),
  [
    (None, 'sgd_fashion_mnist_config.py'),
    ('b', 'b_config.py'),
    ('b_config', 'b_config.py'),
    ('b_config.py', 'b_config.py'),
    ('configs/b_config.py', 'b_config.py'),
  ],
)
def test_config_is_found_from_any_folder(
  root, tmp_path, monkeypatch, config, found
):
  monkeypatch.chdir(tmp_path)
  args = ['train', config] if config else ['train']
  assert command.find_program([*args, '--config.a=1 2']) == command.Program(
    'dd_two_player_games.experiment',
    [
      f'--config={root}/configs/{found}',
      '--jaxline_mode=train',
      '--config.a=1 2',
    ],
  )


@pytest.mark.usefixtures('root')
def test_config_path_counts_from_the_current_folder(tmp_path, monkeypatch):
  folder = tmp_path / 'my configs'
  folder.mkdir()
  (folder / 'mine.py').touch()
  monkeypatch.chdir(tmp_path)
  program = command.find_program(['eval', 'my configs/mine.py'])
  assert f'--config={folder}/mine.py' in program.arguments
  assert '--jaxline_mode=eval' in program.arguments


@pytest.mark.parametrize(
  'line',
  ["EXPERIMENT = 'other.experiment'", 'EXPERIMENT="other.experiment" # x'],
)
def test_config_names_its_experiment(root, line):
  (root / 'configs/b_config.py').write_text(f'import x\n\n{line}\n')
  assert command.find_program(['train', 'b']).module == 'other.experiment'


def test_config_that_names_no_experiment(root):
  config = root / 'configs' / 'b_config.py'
  config.write_text("EXPERIMENT = 'http.server'\n")
  with pytest.raises(errors.UserError) as error:
    command.find_program(['train', 'b'])
  assert str(error.value) == (
    f'{config}: EXPERIMENT is "http.server"; it must be a module that is named '
    'experiment, such as dd_two_player_games.experiment'
  )


@pytest.mark.usefixtures('root')
def test_config_that_cannot_be_read():
  # Also by the superuser.
  with pytest.raises(errors.UserError, match='/mem cannot be read'):
    command.find_program(['train', '/proc/self/mem'])


# The other verbs.


@pytest.mark.parametrize(
  ('verb', 'module'),
  [
    ('sample', 'dd_two_player_games.sample'),
    ('report', 'dd_two_player_games.report'),
    ('sweep', 'run_sweeps.program'),
    ('reproduce', 'claims.program'),
  ],
)
def test_programs_are_given_all_arguments(verb, module):
  program = command.find_program([verb, 'my run', '--out=x'])
  assert program == command.Program(module, ['my run', '--out=x'])


@pytest.mark.parametrize(
  ('arguments', 'chosen'),
  [
    (['-k', 'a or b'], 'not slow'),
    (['--all', '-k', 'a or b'], ''),
    (['-k', 'a or b', '--all'], ''),
  ],
)
def test_tests_run_from_the_root(root, arguments, chosen):
  program = command.find_program(['test', *arguments])
  assert (program.module, program.folder) == ('pytest', root)
  assert program.arguments[:2] == ['-m', chosen]
  assert program.arguments[-2:] == ['-k', 'a or b']


def test_an_installation_has_neither_figures_nor_tests(root):
  (root / 'run.sh').unlink()
  for verb in ('figures', 'reproduce', 'test'):
    with pytest.raises(errors.UserError, match='works in the source tree only'):
      command.find_program([verb])


@pytest.mark.usefixtures('root')
def test_figures_are_listed_with_their_costs():
  listed = command.find_program(['figures'])
  assert listed.splitlines()[1:] == [
    *('', '  drift', '    The drift.', '    small: 5 seconds, quick'),
    *('', '  flow', '    The flow.', '    small: 5 seconds, quick'),
  ]
  helped = command.find_program(['figures', '--help'])
  assert helped.startswith('Usage: ./run.sh figures NAME')
  assert helped.endswith(listed)


@pytest.mark.parametrize('name', ['drift', 'mixture', 'samples'])
def test_shipped_figures_say_what_they_cost(name):
  title, costs = pictures.describe(name)
  assert title.endswith('.')
  assert {'small', 'quick'} <= set(costs)


@pytest.mark.usefixtures('root')
def test_figures_are_given_the_flags():
  arguments = ['flow', 'drift', '--size=a b', '-q']
  program = command.find_program(['figures', *arguments])
  assert program == command.Program('diffgames.draw', arguments)


def test_figures_are_drawn_in_turn(root, monkeypatch, capsys):
  for name in ('drift', 'flow'):
    (root / f'figures/{name}.py').write_text(
      'import sys\n'
      'from jaxline_harness import errors\n'
      f"print('{name}', __name__, sys.argv[1:])\n"
      "if '--fail' in sys.argv:\n"
      "  raise errors.UserError('no')\n"
    )
  for name in [n for n in sys.modules if n.partition('.')[0] == 'figures']:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.syspath_prepend(root)
  monkeypatch.setattr('sys.argv', ['draw', 'flow', 'drift', '--size=x', 'y'])
  draw.main()
  assert capsys.readouterr().out.splitlines() == [
    "flow __main__ ['--size=x', 'y']",
    "drift __main__ ['--size=x', 'y']",
  ]
  monkeypatch.setattr('sys.argv', ['draw', 'flow', 'drift', '--fail'])
  with pytest.raises(errors.UserError):
    draw.main()
  assert len(capsys.readouterr().out.splitlines()) == 1


# What is run.


@pytest.fixture
def started(monkeypatch):
  """Commands that took the place of this one: (command, its PYTHONPATH)."""
  calls = []
  monkeypatch.setattr(
    'os.execve',
    lambda path, argv, env: calls.append((argv, env.get('PYTHONPATH'))),
  )
  return calls


@pytest.mark.parametrize('before', ['', '/mine', None])
def test_a_program_finds_the_source_tree(
  root, monkeypatch, capsys, started, before
):
  monkeypatch.setenv('PYTHONPATH', str(root) if before is None else before)
  assert answer(monkeypatch, capsys, 'train', 'b') == (0, [], [])
  ((argv, path),) = started
  assert argv[:4] == [
    sys.executable,
    '-P',
    '-m',
    'dd_two_player_games.experiment',
  ]
  assert path == (f'{root}:/mine' if before else str(root))


def test_a_missing_extra_is_named(monkeypatch, capsys, started):
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  assert answer(monkeypatch, capsys, 'train') == (
    2,
    [],
    [
      'error: dd_two_player_games needs haiku, which comes with an extra: '
      "pip install 'differentiable_games[gan,plots]'"
    ],
  )
  assert started == []


def test_extras_are_those_of_the_packages():
  extras = partial_installation.setup_constants()['EXTRAS_REQUIRE']
  for names, _ in command._EXTRAS.values():
    assert set(names.split(',')) <= set(extras)
