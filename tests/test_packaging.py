# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Tests of run.sh without its installs, and of the source tree."""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests import partial_installation

ROOT = pathlib.Path(__file__).resolve().parents[1]

LIBRARIES = (
  'convolutions_as_products',
  'differentiable_games',
  'jaxline_harness',
)
EXPERIMENTS = (
  'dd_two_player_games',
  'eigengame_unloaded',
  'principal_flow_instability_single_objective',
)
# Run any experiment, by its command line.
RUNNERS = ('diffgames', 'run_sweeps')
ABOVE = (
  *('configs', 'sweeps', 'benchmarks', 'examples', 'figures', 'claims'),
  *('notebooks', 'tests'),
)
FORBIDDEN_IMPORTS = {
  'convolutions_as_products': {*ABOVE, *RUNNERS, *EXPERIMENTS, *LIBRARIES}
  - {'convolutions_as_products'},
  # The mathematics knows nothing of networks, files, flags or TensorFlow.
  'differentiable_games': {
    *ABOVE,
    *RUNNERS,
    *EXPERIMENTS,
    'absl',
    'convolutions_as_products',
    'haiku',
    'jaxline',
    'jaxline_harness',
    'ml_collections',
    'tensorflow',
  },
  'jaxline_harness': {*ABOVE, *RUNNERS, *EXPERIMENTS, *LIBRARIES}
  - {'jaxline_harness'},
  **{name: {*ABOVE, *RUNNERS, *EXPERIMENTS} - {name} for name in EXPERIMENTS},
  **{
    name: {*ABOVE, *RUNNERS, *EXPERIMENTS, *LIBRARIES}
    - {name, 'jaxline_harness'}
    for name in RUNNERS
  },
  'configs': {*ABOVE, *RUNNERS} - {'configs'},
  'examples': {*ABOVE, *RUNNERS} - {'configs', 'examples'},
  # An installation has no package of this name.
  'sweeps': {*ABOVE},
  'figures': {'claims', 'tests'},
  'claims': {'benchmarks', 'examples', 'tests'},
}

# Plays Python, pip and the command. It records each call in $STUB_LOG.
STUB_PYTHON = f"""#!/usr/bin/env bash
case "$1 ${{2:-}}" in
  '-c '* | '-P -m')
    [ "$1" = -P ] && [ "${{4:-}}" != --check ] || exec '{sys.executable}' "$@"
    echo "$PWD"
    echo "$$"
    echo "${{JAX_PLATFORMS:-}}"
    printf '%s\\n' "$@"
    exit "${{STUB_STATUS:-0}}"
    ;;
  '-m venv')
    echo 'venv' >> "$STUB_LOG"
    rm -rf "${{@: -1}}"
    mkdir -p "${{@: -1}}/bin"
    cp "$0" "${{@: -1}}/bin/python"
    ;;
  '-m pip')
    sleep "${{STUB_PIP_SECONDS:-0}}"
    echo "pip ${{@: -1}}" >> "$STUB_LOG"
    exit "${{STUB_PIP_STATUS:-0}}"
    ;;
esac
"""
# Plays uv: it makes and finds what STUB_PYTHON is a copy of.
STUB_UV = """#!/usr/bin/env bash
case "$1 $2" in
  'python find')
    command -v "$STUB_FOUND"
    ;;
  'venv '*)
    echo 'uv venv' >> "$STUB_LOG"
    mkdir -p "${@: -1}/bin"
    cp "$STUB_FOUND" "${@: -1}/bin/python"
    ;;
  'pip install')
    echo "uv pip ${@: -1}" >> "$STUB_LOG"
    exit "${STUB_UV_STATUS:-0}"
    ;;
esac
"""


class Checkout:
  """A copy of run.sh with two configs, where no program is the real one."""

  def __init__(self, folder: pathlib.Path):
    self.root = folder / 'a check out'
    self.log = folder / 'log'
    self.bin = folder / 'bin'
    (self.root / 'configs').mkdir(parents=True)
    for name in ('__init__', 'sgd_fashion_mnist_config', 'b_config'):
      (self.root / 'configs' / f'{name}.py').touch()
    for name in ('run.sh', 'requirements.txt'):
      shutil.copy(ROOT / name, self.root / name)
    for name in ('diffgames', 'jaxline_harness'):
      (self.root / name).symlink_to(ROOT / name)
    self.venv = self.root / 'dd_venv'
    self.bin.mkdir()
    self.add_program('python3', STUB_PYTHON)
    self.add_program('uv', '#!/bin/sh\nexit 1\n')  # As if there were none.
    self.add_program('nvidia-smi', '#!/bin/sh\nexit 9\n')
    self.log.touch()

  def add_program(self, name: str, text: str) -> None:
    path = self.bin / name
    path.write_text(text)
    path.chmod(0o755)

  def start(self, *args: str, cwd=None, **env: str) -> subprocess.Popen:
    base = {
      'PATH': f'{self.bin}:/usr/bin:/bin',
      'STUB_LOG': str(self.log),
    }
    return subprocess.Popen(
      [self.root / 'run.sh', *args],
      cwd=cwd or self.root,
      env=base | env,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(self, *args: str, cwd=None, **env: str):
    """Runs run.sh to its end. Returns (status, stdout lines, stderr lines)."""
    process = self.start(*args, cwd=cwd, **env)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.splitlines(), err.splitlines()

  def calls(self) -> list[str]:
    """The set-up's calls since the last time."""
    calls = self.log.read_text().splitlines()
    self.log.write_text('')
    return calls

  def change_requirements(self) -> None:
    with open(self.root / 'requirements.txt', 'a') as file:
      file.write('# Changed.\n')


@pytest.fixture
def checkout(tmp_path):
  return Checkout(tmp_path)


def test_no_command_prints_usage_as_an_error(checkout):
  status, out, err = checkout.run()
  assert status == 2
  assert out == []
  assert err[0] == 'Usage:'


@pytest.mark.parametrize('flag', ['-h', '--help'])
def test_help_prints_usage(checkout, flag):
  status, out, err = checkout.run(flag)
  assert status == 0
  assert out[0] == 'Usage:'
  assert err == []
  for command in ('train', 'eval', 'test', 'figures', 'sweep'):
    assert any(f'./run.sh {command}' in line for line in out)


@pytest.mark.parametrize(
  ('args', 'line'),
  [
    (['trian'], 'there is no verb "trian"; did you mean train?'),
    (
      ['train', 'nope'],
      'there is no config "nope"; give a path or one of: b, sgd_fashion_mnist',
    ),
  ],
)
def test_user_errors_are_one_line_and_install_nothing(checkout, args, line):
  assert checkout.run(*args) == (2, [], [f'error: {line}'])
  assert checkout.calls() == []


def test_unknown_jax_build_is_a_user_error(checkout):
  status, _, err = checkout.run('train', DD_JAX='gpu')
  assert status == 2
  assert err == ['run.sh: DD_JAX is "gpu"; it must be cpu, cuda or tpu.']
  assert checkout.calls() == []


def test_the_command_is_given_all_arguments(checkout, tmp_path):
  status, out, _ = checkout.run('train', 'b', '--config.a=1 2', cwd=tmp_path)
  assert status == 0
  assert out[0] == str(tmp_path)
  assert out[3:] == ['-P', '-m', 'diffgames', 'train', 'b', '--config.a=1 2']
  # Once all is there, nothing is asked before.
  _, out, _ = checkout.run('fly', cwd=tmp_path)
  assert out[3:] == ['-P', '-m', 'diffgames', 'fly']


@pytest.mark.parametrize('status', ['1', '2', '130', '143'])
def test_exit_status_passes_through(checkout, status):
  assert checkout.run('train', STUB_STATUS=status)[0] == int(status)


def test_the_command_takes_the_place_of_the_script(checkout):
  process = checkout.start('train')
  out, _ = process.communicate(timeout=60)
  # Signals reach the command: it has the script's process id.
  assert out.splitlines()[1] == str(process.pid)


def test_set_up_happens_once(checkout):
  _, _, err = checkout.run('train')
  assert err == ['Setting up dd_venv (once; takes a few minutes) ...']
  assert checkout.calls() == [
    'venv',
    f'pip {checkout.root}/requirements.txt',
  ]
  _, _, err = checkout.run('test')
  assert err == []
  assert checkout.calls() == []


def test_changed_requirements_are_installed(checkout):
  checkout.run('train')
  checkout.calls()
  checkout.change_requirements()
  _, _, err = checkout.run('train')
  assert err == ['Bringing dd_venv up to date ...']
  assert checkout.calls() == [f'pip {checkout.root}/requirements.txt']
  checkout.run('train')
  assert checkout.calls() == []


def test_failed_set_up_is_redone_from_the_start(checkout):
  status, out, err = checkout.run('train', STUB_PIP_STATUS='1')
  assert status == 1
  assert out == []
  assert err[-1].startswith('run.sh: setting up dd_venv failed')
  checkout.calls()
  assert checkout.run('train')[0] == 0
  assert checkout.calls()[0] == 'venv'


def test_failed_update_is_redone(checkout):
  checkout.run('train')
  checkout.change_requirements()
  assert checkout.run('train', STUB_PIP_STATUS='1')[0] == 1
  checkout.calls()
  assert checkout.run('train')[0] == 0
  assert checkout.calls()[0] == 'venv'


def test_two_first_uses_set_up_once(checkout):
  processes = [
    checkout.start('train', STUB_PIP_SECONDS='0.5') for _ in range(2)
  ]
  for process in processes:
    process.communicate(timeout=60)
    assert process.returncode == 0
  assert checkout.calls().count('venv') == 1


def test_without_python_one_line_says_what_to_install(checkout):
  # An interpreter that is too old, broken or without venv answers like this.
  for name in ('python3', 'python3.11', 'python3.12', 'python3.13'):
    checkout.add_program(name, '#!/bin/sh\nexit 1\n')
  status, _, err = checkout.run('train')
  assert status == 1
  assert len(err) == 1
  assert err[0].startswith('run.sh: no Python 3.11, 3.12 or 3.13')


@pytest.fixture
def with_uv(checkout):
  checkout.add_program('uv', STUB_UV)
  return {'STUB_FOUND': str(checkout.bin / 'python3')}


def test_uv_is_taken_where_there_is_one(checkout, with_uv):
  assert checkout.run('train', **with_uv)[0] == 0
  wanted = f'{checkout.root}/requirements.txt'
  assert checkout.calls() == ['uv venv', f'uv pip {wanted}']
  checkout.change_requirements()
  assert checkout.run('train', **with_uv)[0] == 0
  assert checkout.calls() == [f'uv pip {wanted}']
  # pip has its turn where uv fails.
  checkout.change_requirements()
  assert checkout.run('train', **with_uv, STUB_UV_STATUS='1')[0] == 0
  assert checkout.calls() == [f'uv pip {wanted}', f'pip {wanted}']


def test_uv_finds_a_python(checkout, with_uv):
  checkout.add_program('elsewhere', STUB_PYTHON)
  for name in ('python3', 'python3.11', 'python3.12', 'python3.13'):
    checkout.add_program(name, '#!/bin/sh\nexit 1\n')
  with_uv['STUB_FOUND'] = str(checkout.bin / 'elsewhere')
  assert checkout.run('train', **with_uv)[0] == 0
  assert checkout.calls()[0] == 'uv venv'


@pytest.mark.parametrize(
  ('build', 'package'), [('cuda', 'jax[cuda12]'), ('tpu', 'jax[tpu]')]
)
def test_jax_build_is_chosen(checkout, build, package):
  _, out, _ = checkout.run('train', DD_JAX=build)
  assert checkout.calls() == ['venv', f'pip {package}']
  assert out[2] == ''
  checkout.run('train', DD_JAX=build)
  assert checkout.calls() == []


def test_cuda_is_chosen_where_nvidia_smi_answers(checkout):
  checkout.add_program('nvidia-smi', '#!/bin/sh\nexit 0\n')
  checkout.run('train')
  assert checkout.calls() == ['venv', 'pip jax[cuda12]']


def test_cuda_is_added_to_a_cpu_environment(checkout):
  checkout.run('train')
  checkout.calls()
  checkout.run('train', DD_JAX='cuda')
  assert checkout.calls() == ['pip jax[cuda12]']


def test_cuda_environment_serves_the_cpu_too(checkout):
  checkout.run('train', DD_JAX='cuda')
  checkout.calls()
  assert checkout.run('train')[1][2] == ''
  assert checkout.run('train', DD_JAX='cpu')[1][2] == 'cpu'
  assert checkout.calls() == []
  checkout.change_requirements()
  checkout.run('train', DD_JAX='cpu')
  assert checkout.calls() == ['pip jax[cuda12]']


# The source tree.


def source_files() -> list[pathlib.Path]:
  """The project's Python and shell files."""
  files = [ROOT / 'setup.py', ROOT / 'run.sh', ROOT / '.ci' / 'run']
  for name in (*LIBRARIES, *EXPERIMENTS, *RUNNERS, *ABOVE):
    files += (ROOT / name).rglob('*.py')
  return files


LICENCE_HEADER = re.compile(
  r"""(#!.*\n)?# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2\.0 \(the "License"\);
# you may not use this file except in compliance with the License\.
# You may obtain a copy of the License at
#
#     https?://www\.apache\.org/licenses/LICENSE-2\.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied\.
# See the License for the specific language governing permissions and
# limitations under the License\.
"""
)


def test_source_files_have_the_licence_header():
  without = [
    str(path.relative_to(ROOT))
    for path in source_files()
    if not LICENCE_HEADER.match(path.read_text())
  ]
  assert without == []


def imported_names(source: str) -> set[str]:
  """The top-level modules that a file imports anywhere, also in functions."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add(node.module if node.level == 0 else '.')
  return {name.split('.')[0] or '.' for name in names}


def test_imported_names():
  source = 'import a.b as c\ndef f():\n  from d.e import f\n  from . import g\n'
  assert imported_names(source) == {'a', 'd', '.'}


@pytest.mark.parametrize('package', FORBIDDEN_IMPORTS)
def test_packages_import_only_what_lies_below_them(package):
  forbidden = FORBIDDEN_IMPORTS[package] | {'.', 'pickle', 'dill'}
  wrong = {
    str(path.relative_to(ROOT)): sorted(names)
    for path in (ROOT / package).rglob('*.py')
    if (names := imported_names(path.read_text()) & forbidden)
  }
  assert wrong == {}


# Distributions.


def run_setup(folder: pathlib.Path, *arguments: str) -> None:
  subprocess.run(
    [sys.executable, 'setup.py', '--quiet', *arguments],
    cwd=folder,
    check=True,
    capture_output=True,
    env=dict(os.environ),
  )


@pytest.fixture(scope='module')
def source_distribution(tmp_path_factory):
  """The source distribution of what is in the source tree, unpacked."""
  folder = tmp_path_factory.mktemp('sdist')
  shutil.copytree(
    ROOT,
    folder / 'tree',
    ignore=shutil.ignore_patterns(
      *('.git', '.cache', '.*_cache', '__pycache__', '*_venv', 'runs', 'build')
    ),
  )
  run_setup(folder / 'tree', 'sdist', '--formats=tar', f'--dist-dir={folder}')
  (archive,) = folder.glob('*.tar')
  with tarfile.open(archive) as tar:
    tar.extractall(folder, filter='data')
  return folder / archive.stem


@pytest.fixture(scope='module')
def installation(source_distribution, tmp_path_factory):
  """What the wheel of the source distribution installs."""
  folder = tmp_path_factory.mktemp('wheel')
  run_setup(source_distribution, 'bdist_wheel', f'--dist-dir={folder}')
  (wheel,) = folder.glob('*.whl')
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder / 'lib')
  return folder / 'lib'


def files_in(name: str) -> set[pathlib.Path]:
  return {
    path.relative_to(ROOT)
    for path in (ROOT / name).rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }


@pytest.mark.slow
def test_source_distribution_is_the_source_tree(source_distribution):
  files = {
    pathlib.Path(name)
    for name in ('run.sh', 'requirements.txt', 'README.md', 'LICENSE')
  }
  for name in (
    *(*LIBRARIES, *EXPERIMENTS, *RUNNERS, *ABOVE),
    *('docs', '.ci', '.github'),
  ):
    files |= files_in(name)
  missing = {str(f) for f in files if not (source_distribution / f).is_file()}
  assert missing == set()
  assert os.access(source_distribution / 'run.sh', os.X_OK)


@pytest.mark.slow
def test_installation_carries_the_packages_and_their_data(installation):
  files = set()
  for package in (*LIBRARIES, *EXPERIMENTS, *RUNNERS):
    assert (installation / package / 'py.typed').is_file()
    files |= files_in(package)
  for folder in ('configs', 'sweeps'):
    files |= {pathlib.Path('diffgames', path) for path in files_in(folder)}
  missing = {str(f) for f in files if not (installation / f).is_file()}
  assert missing == set()
  # Nothing takes a name that others may want.
  found = {path.name for path in installation.iterdir()}
  (metadata,) = (name for name in found if name.endswith('.dist-info'))
  assert found - {metadata} == {*LIBRARIES, *EXPERIMENTS, *RUNNERS}
  scripts = (installation / metadata / 'entry_points.txt').read_text()
  assert 'diffgames = diffgames.command:main' in scripts


@pytest.mark.slow
@pytest.mark.parametrize(
  ('arguments', 'status', 'line'),
  [
    (['--check', 'train', 'fashion_mnist'], 3, ''),
    (['train', 'mixture_of_gausians'], 2, 'did you mean mixture_of_gaussians?'),
    (['figures', 'drift'], 2, 'figures works in the source tree only'),
    (['--help'], 0, ''),
  ],
)
def test_an_installation_runs_in_any_folder(
  installation, tmp_path, arguments, status, line
):
  done = subprocess.run(
    [sys.executable, '-P', '-m', 'diffgames', *arguments],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(installation)},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == status, done.stderr
  assert line in done.stderr
  if status == 0:
    assert 'fashion_mnist_rules' in done.stdout


def test_versions_agree():
  """Of the package, of what is cited, and of the newest changes."""
  (version,) = re.findall(r"version='(.*)',", (ROOT / 'setup.py').read_text())
  citation = (ROOT / 'CITATION.cff').read_text()
  assert re.findall(r'^version: (.*)$', citation, re.MULTILINE) == [version]
  changes = (ROOT / 'CHANGELOG.md').read_text()
  assert re.findall(r'^## ([\d.]+)', changes, re.MULTILINE)[0] == version


def test_the_image_installs_what_there_is():
  image = (ROOT / 'Dockerfile').read_text()
  (extras,) = re.findall(r"'/src\[(.*)\]'", image)
  known = partial_installation.setup_constants()['EXTRAS_REQUIRE']
  assert set(extras.split(',')) <= set(known)
  for copied in re.findall(r'/src/([\w.]+)', image):
    assert (ROOT / copied).is_file()


def test_the_image_runs_as_a_user():
  image = (ROOT / 'Dockerfile').read_text()
  assert re.search(r'^FROM [\w./-]+:(?!latest)\S+$', image, re.MULTILINE)
  users = re.findall(r'^USER (.*)$', image, re.MULTILINE)
  assert users
  assert users[-1] not in ('root', '0')


@pytest.mark.parametrize(
  ('path', 'line'),
  [
    ('.github/workflows/ci.yml', '      - run: .ci/run'),
    ('.gitlab-ci.yml', '    - .ci/run'),
  ],
)
def test_hosts_run_the_checks(path, line):
  assert line in (ROOT / path).read_text().splitlines()
  assert os.access(ROOT / '.ci' / 'run', os.X_OK)


def test_commits_are_checked_as_by_ci():
  """Of lint, format and types; .ci/run has more checks."""
  hooks = (ROOT / '.pre-commit-config.yaml').read_text()
  entries = re.findall(r'entry: (dd_venv.*)', hooks)
  checks = (ROOT / '.ci' / 'run').read_text()
  assert entries == re.findall(r'^check \d+ (dd_venv.*?) \|\|', checks, re.M)
