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
"""Kills trainings and compares what they end with.

A small training is made once undisturbed. Then it is made again while it is
killed with SIGKILL at random moments, half of them within the writing of a
checkpoint, and started again until it ends. Parameters, optimiser state,
network state, the rows of metrics.csv (but for times) and the samples of both
must be equal, to the last bit.

  python benchmarks/crash_test.py --kills=50

A training that ends with kills left is followed by another one. The exit status
is 0 only if all are equal. The figures are written to `--output`.
"""

import argparse
import collections
import contextlib
import csv
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np
from orbax import checkpoint as ocp
import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXPERIMENT = '--config.experiment_kwargs.config'
_TIMES = ('seconds', 'steps_per_sec')
_STEPS_BETWEEN_SAVES = 4
_SMALL_MLP = [
  f'{EXPERIMENT}.nets.{kwargs}.hidden_size=32'
  for kwargs in ('disc_kwargs', 'gen_kwargs')
]
# Overrides by config file. Adam on points, and SGD on images with networks that
# have a state (spectral normalisation, batch statistics).
CASES = {
  'mixture_of_gaussians': ['--config.training_steps=100', *_SMALL_MLP],
  'sgd_fashion_mnist': [
    '--config.training_steps=100',
    f'{EXPERIMENT}.training.batch_size=4',
  ],
}


class Training:
  """One training in one folder, over all of its starts."""

  def __init__(self, case: str, folder: pathlib.Path):
    self.folder = folder
    self._log = folder.with_suffix('.log')
    self._series = folder / 'checkpoints' / 'latest'
    self._command = [
      *(sys.executable, '-m', 'dd_two_player_games.experiment'),
      f'--config=configs/{case}_config.py',
      f'--config.checkpoint_dir={folder}',
      f'--config.save_checkpoint_interval={_STEPS_BETWEEN_SAVES}',
      '--config.log_train_data_interval=3',
      '--config.interval_type=steps',
      *CASES[case],
    ]
    # The first starts compile, and are killed in that as well.
    cache = folder.with_suffix('.cache')
    self._env = os.environ | {
      'JAX_COMPILATION_CACHE_DIR': str(cache),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }

  def start(self) -> subprocess.Popen:
    with self._log.open('w') as log:
      return subprocess.Popen(
        self._command, cwd=ROOT, env=self._env, stdout=log, stderr=log
      )

  def finish(self) -> None:
    """Trains to the end, undisturbed."""
    if self.start().wait() or 'damaged' in self.log():
      raise RuntimeError(self.log())

  def unfinished(self) -> set[tuple[str, float]]:
    """Names and times of the folders of checkpoints that are not whole yet."""
    found = set()
    for path in self._series.glob('*.tmp'):
      try:
        found.add((path.name, path.stat().st_mtime))
      except FileNotFoundError:
        pass  # Renamed meanwhile.
    return found

  def log(self) -> str:
    return self._log.read_text()


def kill_once(
  training: Training, rng: random.Random, seconds: list[float]
) -> str | None:
  """Starts a training and kills it.

  Args:
    training: the training.
    rng: chooses the moment.
    seconds: how long a start may be left alone; one of them is drawn.

  Returns:
    Where it was, or None if it ended before the moment came.
  """
  before = training.unfinished()
  process = training.start()
  if rng.random() < 0.5:
    _wait_for_save(process, training, rng)
  else:
    _wait(process, rng.uniform(0, rng.choice(seconds)))
  process.kill()
  status = process.wait()
  log = training.log()
  if status == 0:
    return None
  if status != -signal.SIGKILL or 'Traceback' in log or 'damaged' in log:
    raise RuntimeError(f'exit status {status}: {log}')
  unfinished = {name for name, _ in training.unfinished() - before}
  if any(name.endswith('.old.tmp') for name in unfinished):
    return 'deletion of a checkpoint'
  if unfinished:
    return 'write of a checkpoint'
  is_training = 'training from step' in log
  return 'steps and logs' if is_training else 'start-up'


def _wait(process: subprocess.Popen, seconds: float) -> None:
  try:
    process.wait(seconds)
  except subprocess.TimeoutExpired:
    pass


def _wait_for_save(
  process: subprocess.Popen, training: Training, rng: random.Random
) -> None:
  """Waits for a moment within one of the next writes of a checkpoint."""
  seen = training.unfinished()
  saves = rng.randint(1, 4)
  while saves and process.poll() is None:
    new = training.unfinished() - seen
    saves -= bool(new)
    seen |= new
    time.sleep(0.0005)
  time.sleep(rng.choice([0, 0.003, 0.01, 0.03]) * rng.random())


def outcome(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what trainings are compared by."""
  steps = (int(path.name) for path in (folder / 'checkpoints/latest').iterdir())
  last = folder / 'checkpoints' / 'latest' / str(max(steps))
  state = ocp.StandardCheckpointer().restore(last / 'state')
  with (folder / 'train' / 'metrics.csv').open(newline='') as f:
    rows = [
      {k: v for k, v in row.items() if k not in _TIMES}
      for row in csv.DictReader(f)
    ]
  return {
    **{
      jax.tree_util.keystr(path, simple=True, separator='/'): (
        np.asarray(leaf).tobytes()
      )
      for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    },
    'metrics.csv': rows,
    **{path.name: path.read_bytes() for path in folder.glob('samples/*')},
  }


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
  """Returns the names of what is not equal."""
  names = sorted(found.keys() | expected.keys())
  return [name for name in names if found.get(name) != expected.get(name)]


def run_case(
  case: str, kills: int, rng: random.Random, folder: pathlib.Path
) -> dict[str, Any]:
  """Kills trainings of one case.

  Args:
    case: one of `CASES`.
    kills: how many times.
    rng: chooses the moments.
    folder: where the trainings lie.

  Returns:
    The figures.
  """
  reference = Training(case, folder / f'{case}_undisturbed')
  seconds = []
  for _ in range(2):  # The second start finds nothing to do.
    start = time.monotonic()
    reference.finish()
    seconds.append(time.monotonic() - start)
  expected = outcome(reference.folder)
  places: collections.Counter[str] = collections.Counter()
  trainings, different = [], []
  while places.total() < kills:
    training = Training(case, folder / f'{case}_{len(trainings)}')
    trainings.append(training)
    while places.total() < kills:
      place = kill_once(training, rng, seconds)
      if place is None:
        break
      places[place] += 1
      print(f'{case}: kill {places.total()} of {kills} in {place}', flush=True)
    training.finish()
    different += differences(outcome(training.folder), expected)
  return {
    'config': case,
    'overrides': CASES[case],
    'kills': dict(places.most_common()),
    'trainings': len(trainings),
    'arrays': sum(isinstance(value, bytes) for value in expected.values()),
    'rows': len(expected['metrics.csv']),
    'different': sorted(set(different)),
  }


def main() -> int:
  """Runs the test from the command line; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--kills', type=int, default=50)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--config', choices=sorted(CASES), help='only this one')
  parser.add_argument('--runs', type=pathlib.Path, help='where; else temporary')
  parser.add_argument(
    '--output', type=pathlib.Path, default=ROOT / 'docs' / 'crash_test.json'
  )
  arguments = parser.parse_args()
  start = time.monotonic()
  rng = random.Random(arguments.seed)
  cases = [arguments.config] if arguments.config else sorted(CASES)
  with contextlib.ExitStack() as stack:
    folder = arguments.runs or pathlib.Path(
      stack.enter_context(tempfile.TemporaryDirectory())
    )
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for number, case in enumerate(cases):
      kills = arguments.kills * (number + 1) // len(cases)
      kills -= arguments.kills * number // len(cases)
      results.append(run_case(case, kills, rng, folder))
  report.write(arguments.output, start, results)
  places = sum(
    (collections.Counter(result['kills']) for result in results),
    collections.Counter(),
  )
  different = [name for result in results for name in result['different']]
  where = ', '.join(f'{n} in {place}' for place, n in places.most_common())
  print(
    f'{places.total()} kills ({where}), '
    f'{sum(result["trainings"] for result in results)} trainings: '
    + (f'DIFFERENT: {", ".join(different)}' if different else 'all equal')
  )
  return 1 if different else 0


if __name__ == '__main__':
  sys.exit(main())
