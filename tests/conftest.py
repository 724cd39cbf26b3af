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
needs the same one need not wait. But for the number of devices, a setting that
the environment already has stays as it is.
"""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEVICE_COUNT = 4
_DEVICE_COUNT_FLAG = '--xla_force_host_platform_device_count'


def _without_device_count(xla_flags: str) -> list[str]:
  return [
    flag
    for flag in xla_flags.split()
    if not flag.startswith(_DEVICE_COUNT_FLAG)
  ]


def _set_environment() -> None:
  """Sets what JAX and TensorFlow read when they are imported."""
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('MPLBACKEND', 'agg')
  os.environ['XDG_CACHE_HOME'] = str(ROOT / '.cache')
  os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR', str(ROOT / '.cache' / 'jax_tests')
  )
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  flags = _without_device_count(os.environ.get('XLA_FLAGS', ''))
  flags.append(f'{_DEVICE_COUNT_FLAG}={DEVICE_COUNT}')
  os.environ['XLA_FLAGS'] = ' '.join(flags)
  # Programs that tests start find the packages from any folder.
  paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
  os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))


_set_environment()


@pytest.fixture
def one_device_env() -> dict[str, str]:
  """An environment for subprocesses, in which the CPU is one device."""
  env = dict(os.environ)
  env['XLA_FLAGS'] = ' '.join(_without_device_count(env['XLA_FLAGS']))
  return env


@pytest.fixture(autouse=True, scope='module')
def _compiled_programs_are_dropped():
  """Frees the programs of each file.

  Each holds memory mappings, of which a process may have some 65,000: with the
  programs of all tests XLA's compiler crashes.
  """
  yield
  if 'jax' in sys.modules:
    sys.modules['jax'].clear_caches()
