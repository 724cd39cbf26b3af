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
"""Starts the processes of one training on this machine."""

import os
import pathlib
import socket
import subprocess
import time

import jax
import numpy as np
from orbax import checkpoint as ocp


def free_port() -> int:
  with socket.create_server(('', 0)) as server:
    return server.getsockname()[1]


def with_devices(count: int) -> dict[str, str]:
  """An environment in which the CPU shows so many devices."""
  flags = os.environ['XLA_FLAGS'].split()
  kept = [flag for flag in flags if 'device_count' not in flag]
  kept.append(f'--xla_force_host_platform_device_count={count}')
  return {**os.environ, 'XLA_FLAGS': ' '.join(kept)}


class Processes:
  """P processes of one training, with output in files of a folder."""

  def __init__(
    self,
    folder: pathlib.Path,
    command: list[str],
    num_processes: int,
    devices_each: int = 1,
    port: int | None = None,
    only: int | None = None,
    env: dict[str, str] | None = None,
  ):
    """Starts them.

    Args:
      folder: where they run, and what they print goes.
      command: what is the same for all.
      num_processes: P.
      devices_each: devices of each process.
      port: of process 0, by default any.
      only: starts this one alone.
      env: more variables of the environment.
    """
    self._folder = folder
    port = port or free_port()
    self._processes = []
    for i in range(num_processes) if only is None else [only]:
      with open(folder / f'{i}.out', 'w') as out, self._err(i, 'w') as err:
        self._processes.append(
          subprocess.Popen(
            [
              *command,
              f'--coordinator=127.0.0.1:{port}',
              f'--num_processes={num_processes}',
              f'--process_id={i}',
            ],
            cwd=folder,
            env=with_devices(devices_each) | (env or {}),
            stdout=out,
            stderr=err,
          )
        )

  def _err(self, i: int, mode: str = 'r'):
    return open(self._folder / f'{i}.err', mode)

  def stderr(self, i: int) -> str:
    with self._err(i) as f:
      return f.read()

  def stdout(self, i: int) -> str:
    """What the program wrote there, Gloo's greetings left out."""
    lines = (self._folder / f'{i}.out').read_text().splitlines()
    return '\n'.join(line for line in lines if not line.startswith('[Gloo]'))

  def wait_for(self, path: pathlib.Path, timeout: float = 240) -> None:
    """Waits for a file or folder that they make."""
    deadline = time.monotonic() + timeout
    while not path.exists():
      assert self._processes[0].poll() is None, self.stderr(0)
      assert time.monotonic() < deadline
      time.sleep(0.1)

  def signal(self, i: int, number: int) -> None:
    self._processes[i].send_signal(number)

  def wait_for_end(self, i: int, timeout: float) -> int:
    """Returns the exit status of one."""
    return self._processes[i].wait(timeout)

  def wait(self, timeout: float = 240) -> list[int]:
    """Returns the exit statuses of all."""
    deadline = time.monotonic() + timeout
    return [
      p.wait(max(0.1, deadline - time.monotonic())) for p in self._processes
    ]

  def __enter__(self) -> 'Processes':
    return self

  def __exit__(self, *unused_error) -> None:
    for process in self._processes:
      if process.poll() is None:
        process.kill()
        process.wait()


def state(folder, step):
  """A checkpoint's arrays by name."""
  path = folder / 'run' / 'checkpoints' / 'latest' / str(step) / 'state'
  tree = ocp.StandardCheckpointHandler().restore(path)
  return {
    jax.tree_util.keystr(key, simple=True, separator='/'): np.asarray(leaf)
    for key, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def train(folder, command, num_processes, devices_each, steps):
  """Trains in a folder, which a run may already be in."""
  folder.mkdir(exist_ok=True)
  command = [
    *command,
    f'--config.training_steps={steps}',
    '--config.save_initial_train_checkpoint=True',
  ]
  with Processes(folder, command, num_processes, devices_each) as group:
    statuses = group.wait(600)
    assert statuses == [0] * num_processes, group.stderr(0)
  return state(folder, steps)


def assert_equal_but_for_rounding(actual, wanted, start):
  """Compares what training changed.

  A sum over devices may go in any order. Each addition then errs by at most
  half an ulp, 6e-8, of the largest partial sum; steps and networks amplify it,
  so that 1e-5 of a leaf's largest entry is allowed. What training itself has
  changed is more than a thousand times as much. A bias before a batch
  normalisation has no gradient but such errors: it counts as one of 1e-3.
  """
  assert actual.keys() == wanted.keys()
  for name, leaf in wanted.items():
    size = np.abs(leaf).max(initial=1e-3)
    np.testing.assert_allclose(
      actual[name], leaf, rtol=0, atol=1e-5 * size, err_msg=name
    )
  moved = max(
    np.abs(leaf - start[name]).max(initial=0) / np.abs(leaf).max(initial=1e-9)
    for name, leaf in wanted.items()
    if leaf.dtype == np.float32
  )
  assert moved > 1e-2
