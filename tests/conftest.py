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
"""Settings of the whole test session, made before JAX is imported.

The tests run on the CPU, which shows four devices: take fewer with
`jax.local_devices()[:n]`. A program that a test starts gets the same settings;
with the fixture `one_device_env` it sees the CPU as its users do. Compiled
programs are kept in .cache, so that the next test, process or session that
needs the same one need not wait. But for XLA's flags, a setting that the
environment already has stays as it is.

Most of the time would go to optimising programs that run once, on a few
numbers, which hold however they are compiled. So programs are hardly optimised,
those that tests start too. With all tests (`./run.sh test --all`) tests with
the mark `optimised` are an exception, of bits that must be equal, say: their
programs are compiled as those of users.
"""

import collections
from collections.abc import Collection
from importlib import metadata
import os
import pathlib
import sys

from packaging import version
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEVICE_COUNT = 4
_DEVICE_COUNT_FLAG = 'xla_force_host_platform_device_count'
# XLA's flags for programs of users, and for those of tests, which take half as
# long to compile.
_OPTIMISE = {
  'xla_backend_optimization_level': 3,
  'xla_llvm_disable_expensive_passes': False,
  'xla_cpu_use_fusion_emitters': True,
  'xla_cpu_parallel_codegen_split_count': 32,
}
_HARDLY_OPTIMISE = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
  'xla_cpu_use_fusion_emitters': False,
  'xla_cpu_parallel_codegen_split_count': 1,
}
if version.parse(metadata.version('jaxlib')) >= version.parse('0.12'):
  # There is no other emitter; a flag that XLA does not know ends the process.
  del _OPTIMISE['xla_cpu_use_fusion_emitters']
  del _HARDLY_OPTIMISE['xla_cpu_use_fusion_emitters']


def _without(names: Collection[str], xla_flags: str) -> str:
  """The flags but for those with these names."""
  kept = [
    flag
    for flag in xla_flags.split()
    if flag.partition('=')[0].removeprefix('--') not in names
  ]
  return ' '.join(kept)


class _Optimiser:
  """Lets XLA optimise for a while, in this process and those it starts."""

  def __init__(self):
    self._patches: pytest.MonkeyPatch | None = None

  def begin(self) -> None:
    """Begins, where that has not been."""
    if self._patches is not None:
      return
    import jax
    from jax._src import compiler

    jax.devices()  # XLA reads its flags, once.
    hardly = compiler.get_compile_options

    def get_compile_options(*args, env_options_overrides=None, **kwargs):
      options = _OPTIMISE | dict(env_options_overrides or {})
      return hardly(*args, env_options_overrides=options, **kwargs)

    self._patches = pytest.MonkeyPatch()
    self._patches.setattr(compiler, 'get_compile_options', get_compile_options)
    flags = _without(_OPTIMISE, os.environ['XLA_FLAGS'])
    self._patches.setenv('XLA_FLAGS', flags)
    jax.clear_caches()  # Of what is hardly optimised.

  def end(self) -> None:
    """Ends, if that has begun."""
    if self._patches is not None:
      self._patches.undo()
      self._patches = None
      sys.modules['jax'].clear_caches()


_OPTIMISER = _Optimiser()


def _set_environment() -> None:
  """Sets what JAX and TensorFlow read when they are imported."""
  # Tests are started by ./run.sh, what they test is not.
  os.environ.pop('DIFFGAMES_COMMAND', None)
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('MPLBACKEND', 'agg')
  os.environ['XDG_CACHE_HOME'] = str(ROOT / '.cache')
  os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR', str(ROOT / '.cache' / 'jax_tests')
  )
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  # Which line of which file an operation is of: a tenth of the time to compile.
  os.environ.setdefault('JAX_TRACEBACK_IN_LOCATIONS_LIMIT', '0')
  flags = {_DEVICE_COUNT_FLAG: DEVICE_COUNT} | _HARDLY_OPTIMISE
  given = _without(flags, os.environ.get('XLA_FLAGS', ''))
  os.environ['XLA_FLAGS'] = ' '.join(
    [given, *(f'--{name}={value}' for name, value in flags.items())]
  )
  # Programs that tests start find the packages from any folder.
  paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
  os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))


_set_environment()


@pytest.hookimpl(tryfirst=True)  # Before slow tests are left out.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Makes all cases of a test slow but as many as it marks as quick."""
  seen: collections.Counter[tuple[str, str]] = collections.Counter()
  for item in items:
    marker = item.get_closest_marker('quick_cases')
    if marker is None:
      continue
    test = (str(item.path), item.name.partition('[')[0])
    seen[test] += 1
    if seen[test] > marker.args[0]:
      item.add_marker(pytest.mark.slow)


@pytest.fixture
def one_device_env() -> dict[str, str]:
  """An environment for subprocesses, in which the CPU is one device."""
  env = dict(os.environ)
  env['XLA_FLAGS'] = _without([_DEVICE_COUNT_FLAG], env['XLA_FLAGS'])
  return env


def _is_optimised(item: pytest.Item | None) -> bool:
  return (
    item is not None
    and item.config.option.markexpr != 'not slow'
    and item.get_closest_marker('optimised') is not None
  )


@pytest.hookimpl(tryfirst=True)  # Before fixtures, which may compile.
def pytest_runtest_setup(item: pytest.Item) -> None:
  """Compiles as users do for a test that asks for it."""
  if _is_optimised(item):
    _OPTIMISER.begin()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
  """Ends that after the last of such tests in turn."""
  if not _is_optimised(nextitem):
    _OPTIMISER.end()


@pytest.fixture(autouse=True, scope='module')
def _compiled_programs_are_dropped():
  """Frees a file's programs after it.

  Each holds memory mappings, of which a process may have some 65,000: with the
  programs of all tests XLA's compiler crashes.
  """
  yield
  if 'jax' in sys.modules:
    sys.modules['jax'].clear_caches()
