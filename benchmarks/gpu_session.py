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
"""Half an hour on one GPU: what has to be measured there, in one command.

  python benchmarks/gpu_session.py --out runs/gpu_session

Each part is a command that one could type, and has a limit of time. The new
folder gets its log and what it leaves, and `session.json`, after each part, the
figures of all so far: one that fails or takes too long costs the others
nothing. `--rehearse` tries all of them on the CPU, at sizes that say nothing
about speed.
"""

import argparse
from collections.abc import Mapping
import csv
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(ROOT))

import report  # noqa: E402
import soak  # noqa: E402

from jaxline_harness import errors  # noqa: E402

_CARD = """
import jax
device = jax.devices()[0]
print(device.device_kind if device.platform == 'gpu' else '')
"""
_OWN = '--config.experiment_kwargs.config'
# The published networks for MNIST, on the images that come with the project.
_IMAGES = (
  f'{_OWN}.dataset=fashion_mnist_10k {_OWN}.eval.run_image_metrics=True '
  f'{_OWN}.eval.num_inception_images=2000 {_OWN}.eval.batch_size=250'
)
_DETERMINISTIC = {'XLA_FLAGS': '--xla_gpu_deterministic_ops=true'}
_FLOAT32 = {'JAX_DEFAULT_MATMUL_PRECISION': 'highest'}
_NO_GPU = 'JAX finds no GPU here; --rehearse tries the session on the CPU'


class Part(NamedTuple):
  """One measurement.

  Attributes:
    name: of its log, too.
    limit: seconds that it may take.
    command: without the Python that runs it; `{folder}` is the part's,
      an evaluation's that of its training.
    environment: what it changes.
  """

  name: str
  limit: int
  command: str
  environment: Mapping[str, str] = {}


def list_parts(rehearse: bool) -> list[Part]:
  """Returns what a session measures, the most wanted first.

  Args:
    rehearse: whether at the smallest sizes.
  """
  some = '--repeats 3 --cases cifar --variants plain cancelled'
  more = f'{some} cancelled-shared all rk4 plain-bfloat16 cancelled-bfloat16'
  more = more.replace('cifar', 'cifar mnist')
  default, mnist, num_steps = 'sgd_fashion_mnist', f'sgd_mnist {_IMAGES}', 8000
  if rehearse:
    some = more = '--repeats 1 --cases mlp --variants plain'
    default = mnist = 'mixture_of_gaussians'
    num_steps = 4
  steps = 'benchmarks/train_step.py --output {folder}/figures.json'
  folder = '--config.checkpoint_dir={folder}/run'
  steps_of = f'{folder} --config.training_steps='
  seeds = (
    f'-P -m run_sweeps.mapped_seeds dd_two_player_games.experiment {steps_of}'
    f'{num_steps // 2} --config=configs/mixture_of_gaussians_config.py '
    f'{_OWN}.mapped_seeds='
  )
  train, evaluate = '-P -m diffgames train', '-P -m diffgames eval'
  short = f'{train} {default} {steps_of}{num_steps // 4} --config.'
  parts = [
    Part('steps', 480, f'{steps} {more}'),
    Part('steps_float32', 150, f'{steps} {some}', _FLOAT32),
    Part('steps_deterministic', 150, f'{steps} {some}', _DETERMINISTIC),
    Part('train_default', 210, f'{train} {default} {steps_of}{num_steps}'),
    Part('eval_default', 60, f'{evaluate} {default} {folder}'),
    Part('train_mnist', 240, f'{train} {mnist} {steps_of}{2 * num_steps}'),
    Part('eval_mnist', 60, f'{evaluate} {mnist} {folder}'),
    Part('seeds_1', 90, f'{seeds}[0]'),
    Part('seeds_8', 90, f'{seeds}[0,1,2,3,4,5,6,7]'),
    Part('train_deterministic', 120, f'{short}deterministic=True'),
    Part('train_float32', 120, f'{short}matmul_precision=highest'),
  ]
  # A slow CPU is to be no failure.
  return [part._replace(limit=600) for part in parts] if rehearse else parts


def run_part(part: Part, out: pathlib.Path) -> dict[str, Any]:
  """Runs a part.

  Args:
    part: what to run.
    out: the session's folder.

  Returns:
    How it ended, and what it found.
  """
  folder = out / part.name.replace('eval', 'train')
  folder.mkdir(exist_ok=True)
  command = [x.format(folder=folder) for x in part.command.split()]
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), **part.environment}
  start = time.monotonic()
  with (out / f'{part.name}.log').open('w') as log:
    process = subprocess.Popen(
      [sys.executable, *command],
      cwd=ROOT,
      env=environment,
      stdout=log,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    try:
      status = process.wait(part.limit)
      end = f'status {status}' if status else 'done'
    except subprocess.TimeoutExpired:
      end = f'stopped after {part.limit} s'
    finally:
      if process.poll() is None:  # Also when the session itself is stopped.
        os.killpg(process.pid, signal.SIGKILL)  # With what it has started.
        process.wait()
  return {
    'part': part.name,
    'date': time.strftime('%Y-%m-%d %H:%M'),
    'command': ['python', *command],
    'environment': dict(part.environment),
    'end': end,
    'seconds': round(time.monotonic() - start, 1),
    **_read_figures(folder),
  }


def _read_figures(folder: pathlib.Path) -> dict[str, Any]:
  """What a part has left, also where it did not end well."""
  found: dict[str, Any] = {}
  if (figures := folder / 'figures.json').exists():
    found['steps'] = json.loads(figures.read_text())['results']
  if (table := folder / 'run' / 'train' / 'metrics.csv').exists():
    # The first chunks are short.
    if speeds := [row['steps_per_second'] for row in soak.speeds(table)][1:]:
      found['steps_per_second'] = statistics.median(speeds)
  if (table := folder / 'run' / 'eval' / 'metrics.csv').exists():
    with table.open(newline='') as f:
      found['metrics'] = list(csv.DictReader(f))[-1]
  return found


def main() -> None:
  """Runs the parts; the status is 1 if one did not end well."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--rehearse', action='store_true')
  parser.add_argument('--out', type=pathlib.Path, required=True)
  names = [part.name for part in list_parts(rehearse=False)]
  parser.add_argument('--only', nargs='+', choices=names, default=names)
  args = parser.parse_args()
  card = 'none: a rehearsal'
  if args.rehearse:
    os.environ['JAX_PLATFORMS'] = 'cpu'
  else:
    asked = [sys.executable, '-c', _CARD]  # A process that holds no memory.
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if not (card := done.stdout.strip()):
      errors.report(errors.UserError(_NO_GPU))
      sys.exit(2)
  start, out = time.monotonic(), args.out.resolve()
  try:
    out.mkdir(parents=True)
  except OSError as error:
    errors.report(errors.UserError(f'--out must be a new folder: {error}'))
    sys.exit(2)
  results: list[dict[str, Any]] = []
  for part in list_parts(args.rehearse):
    if part.name in args.only:
      print(f'{part.name}, {part.limit} s at most …', end=' ', flush=True)
      results.append(run_part(part, out))
      print(results[-1]['end'], flush=True)
      report.write(out / 'session.json', start, results, card=card)
  sys.exit(any(result['end'] != 'done' for result in results))


if __name__ == '__main__':
  main()
