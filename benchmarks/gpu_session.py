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

Each part is a command that one could type, and has a limit of time: one that
fails or takes too long costs the others nothing. The most wanted come first,
those of the first ten minutes above all.

After each part the folder has `figures.md`, a page for people, and
`session.json`, all figures so far, beside the parts' logs and what they leave.
The same command goes on where a session was cut off: parts that are done are
not run again. `--plan` lists the parts, `--rehearse` tries them on the CPU, at
sizes that say nothing about speed.
"""

import argparse
from collections.abc import Mapping, Sequence
import contextlib
import csv
import itertools
import json
import math
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

import gpu_page  # noqa: E402
import report  # noqa: E402
import soak  # noqa: E402

from jaxline_harness import errors  # noqa: E402
from jaxline_harness import run_directory  # noqa: E402

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
_NO_GPU = (
  'JAX finds no GPU here (see docs/installing.md); --rehearse tries the '
  'session on the CPU'
)
_DONE, _INTERRUPTED = 'done', 'interrupted'
# What a training has to save its state once it is to stop.
_GRACE_SECONDS = 15


class Part(NamedTuple):
  """One measurement.

  Attributes:
    name: of its log, too.
    expected: seconds that it should take on an H100, see docs/machines.md.
    limit: seconds that it may take.
    command: without the Python that runs it; `{folder}` is the part's,
      an evaluation's that of its training.
    environment: what it changes.
  """

  name: str
  expected: int
  limit: float
  command: str
  environment: Mapping[str, str] = {}


class _Commands:
  """Commands in their sizes, the smallest for a rehearsal."""

  def __init__(self, rehearse: bool):
    self._rehearse = rehearse
    self._run = '--config.checkpoint_dir={folder}/run'
    if rehearse:
      self._run += ' --config.log_train_data_interval=1'

  def train(self, config: str, steps: int) -> str:
    return f'-P -m diffgames train {config} {self._of_run(steps)}'

  def evaluate(self, config: str) -> str:
    return f'-P -m diffgames eval {config} {self._run}'

  def map_seeds(self, config: str, steps: int, count: int) -> str:
    seeds = ','.join(map(str, range(count)))
    return (
      '-P -m run_sweeps.mapped_seeds dd_two_player_games.experiment '
      f'--config=configs/{config}_config.py {self._of_run(steps)} '
      f'{_OWN}.mapped_seeds=[{seeds}]'
    )

  def time_steps(self, case: str, *variants: str, beside: bool = False) -> str:
    """Times steps, beside the textbook's perhaps."""
    timed = 'mlp' if self._rehearse else case
    chosen = variants[:1] if self._rehearse else variants
    return (
      'benchmarks/train_step.py --output {folder}/figures.json '
      f'--repeats {1 if self._rehearse else 3} --cases {timed} '
      f'--variants {" ".join(chosen)}'
      f'{"" if beside else " --without-textbook"}'
    )

  def _of_run(self, steps: int) -> str:
    steps = steps // 500 if self._rehearse else steps
    return f'{self._run} --config.training_steps={steps}'


def list_parts(rehearse: bool) -> list[Part]:
  """Returns what a session measures, the most wanted first.

  Args:
    rehearse: whether at the smallest sizes.
  """
  commands = _Commands(rehearse)
  train, evaluate = commands.train, commands.evaluate
  time_steps, both = commands.time_steps, ('plain', 'cancelled')
  default, networks = 'sgd_fashion_mnist', f'sgd_mnist {_IMAGES}'
  points, cifar = 'mixture_of_gaussians', time_steps('cifar', *both)
  bfloat16 = time_steps('cifar', *(f'{variant}-bfloat16' for variant in both))
  more = time_steps('cifar', 'cancelled-shared', 'rk4', 'all')
  short = train(default, 2000)
  parts = [
    Part('train_default', 70, 110, train(default, 8000)),
    Part('eval_default', 35, 60, evaluate(default)),
    Part('steps_cifar', 240, 290, time_steps('cifar', *both, beside=True)),
    Part('seeds_1', 30, 50, train(points, 4000)),
    Part('seeds_8', 65, 90, commands.map_seeds(points, 4000, 8)),
    # Ten minutes are over here at most.
    Part('steps_bfloat16', 135, 180, bfloat16),
    Part('steps_float32', 135, 180, cifar, _FLOAT32),
    Part('train_mnist', 95, 140, train(networks, 16_000)),
    Part('eval_mnist', 35, 60, evaluate(networks)),
    Part('steps_mnist', 180, 240, time_steps('mnist', *both, beside=True)),
    Part('steps_more', 250, 330, more),
    Part('steps_deterministic', 135, 180, cifar, _DETERMINISTIC),
    Part('train_float32', 45, 75, f'{short} --config.matmul_precision=highest'),
    Part('train_deterministic', 45, 75, f'{short} --config.deterministic=True'),
  ]
  # A slow CPU is to be no failure.
  return [part._replace(limit=600) for part in parts] if rehearse else parts


def describe_plan(parts: Sequence[Part]) -> str:
  """Says in lines when each part should end, and when it does at most."""
  lines = ['part                 expected  limit   ends at   at most']
  ends = itertools.accumulate(part.expected for part in parts)
  limits = itertools.accumulate(part.limit for part in parts)
  for part, end, last in zip(parts, ends, limits, strict=True):
    lines.append(
      f'{part.name:<20} {part.expected:>6} s {part.limit:>4.0f} s'
      f'{_clock(end):>10}{_clock(last):>10}'
    )
  return '\n'.join(lines)


def _clock(seconds: float) -> str:
  seconds = round(seconds)
  return f'{seconds // 60}:{seconds % 60:02}'


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
  start, log_file = time.monotonic(), out / f'{part.name}.log'
  with log_file.open('w') as log:
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
      end = f'status {status}' if status else _DONE
    except subprocess.TimeoutExpired:
      end = f'stopped after {part.limit:.0f} s'
    except KeyboardInterrupt:
      end = _INTERRUPTED
    finally:
      _stop(process)
  failure = {'said': _last_line(log_file)} if end.startswith('status') else {}
  return {
    'part': part.name,
    'date': time.strftime('%Y-%m-%d %H:%M'),
    'command': ['python', *command],
    'environment': dict(part.environment),
    'end': end,
    'seconds': round(time.monotonic() - start, 1),
    **failure,
    **_read_figures(folder),
  }


def _stop(process: subprocess.Popen) -> None:
  """Ends a process with what it has started; a training saves its state."""
  for how in (signal.SIGTERM, signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, how)
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(_GRACE_SECONDS)


def _last_line(path: pathlib.Path) -> str:
  """The last line that says anything: an error's message, most often."""
  lines = path.read_text(errors='replace').splitlines()
  last = next((line for line in reversed(lines) if line.strip()), '')
  return errors.one_line(last, 200)


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


def _find_card() -> str:
  """The GPU's name, asked for by a process that then holds no memory there.

  Raises:
    UserError: there is none.
  """
  asked = [sys.executable, '-c', _CARD]
  done = subprocess.run(asked, capture_output=True, text=True, check=False)
  if not (card := done.stdout.strip()):
    raise errors.UserError(_NO_GPU)
  return card


def begin(out: pathlib.Path, card: str) -> dict[str, dict[str, Any]]:
  """Makes a session's folder, or reads what an earlier one left there.

  Args:
    out: the folder.
    card: what is measured.

  Returns:
    The results so far, by part.

  Raises:
    UserError: it is not a session's, or one of another card.
  """
  try:
    out.mkdir(parents=True, exist_ok=True)
    session = out / 'session.json'
    if not session.exists() and any(out.iterdir()):
      raise errors.UserError(
        f'--out={out} holds something else: give a new folder'
      )
    before = json.loads(session.read_text()) if session.exists() else {}
  except (OSError, ValueError) as error:
    if isinstance(error, errors.UserError):
      raise
    raise errors.UserError(f'--out={out} cannot be used: {error}') from error
  if before and before['card'] != card:
    raise errors.UserError(
      f'--out={out} was begun with another card ({before["card"]}): give a new '
      'folder'
    )
  return {result['part']: result for result in before.get('results', [])}


def run_session(
  parts: Sequence[Part],
  out: pathlib.Path,
  card: str,
  results: dict[str, dict[str, Any]],
  seconds: float = math.inf,
) -> bool:
  """Runs the parts that are not done yet, and writes what comes out.

  Args:
    parts: what to run.
    out: the session's folder.
    card: what is measured.
    results: those so far, by part.
    seconds: that there are. No part begins that should take longer than is
      left, and none goes on beyond.

  Returns:
    Whether all parts are done.
  """
  start, code = time.monotonic(), run_directory.describe_code()

  def write() -> None:
    path, known = out / 'session.json', list(results.values())
    report.write(path, start, known, card=card, code=code)
    page = gpu_page.make_page(json.loads(path.read_text()))
    (out / 'figures.md').write_text(page)

  write()  # Whatever happens, this is a session's folder.
  for part in parts:
    print(f'{part.name:<20}', end=' ', flush=True)
    if results.get(part.name, {}).get('end') == _DONE:
      print('done before')
      continue
    left = seconds - (time.monotonic() - start) - _GRACE_SECONDS
    if part.expected > left:
      print(f'not begun, {max(left, 0):.0f} s are left')
      continue
    limit = min(part.limit, left)
    result = results[part.name] = run_part(part._replace(limit=limit), out)
    print(gpu_page.describe_outcome(result), flush=True)
    write()
    if result['end'] == _INTERRUPTED:
      return False
  return all(results.get(p.name, {}).get('end') == _DONE for p in parts)


def main() -> None:
  """Runs the parts; the status is 1 if one did not end well."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument(
    '--rehearse', action='store_true', help='on the CPU, at tiny sizes'
  )
  parser.add_argument(
    '--plan', action='store_true', help='list the parts and their times only'
  )
  parser.add_argument(
    '--out',
    type=pathlib.Path,
    default=ROOT / 'runs' / 'gpu_session',
    help='a new folder, or one of a session that is to go on',
  )
  parser.add_argument(
    '--minutes', type=float, default=30, help='that there are on a GPU'
  )
  names = [part.name for part in list_parts(rehearse=False)]
  parser.add_argument('--only', nargs='+', choices=names, default=names)
  args = parser.parse_args()
  seconds = math.inf if args.rehearse else 60 * args.minutes
  parts = [p for p in list_parts(args.rehearse) if p.name in args.only]
  if args.plan:
    print(describe_plan(parts))
    return
  if args.rehearse:
    os.environ['JAX_PLATFORMS'] = 'cpu'
  try:
    card = gpu_page.REHEARSAL if args.rehearse else _find_card()
    out = args.out.resolve()
    results = begin(out, card)
    # As Ctrl+C: what is known is written, and no part goes on alone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_done = run_session(parts, out, card, results, seconds)
  except errors.UserError as error:
    errors.report(error)
    sys.exit(2)
  except KeyboardInterrupt:  # Between two parts.
    sys.exit(130)
  print(f'Figures: {out / "figures.md"}')
  sys.exit(not is_done)


if __name__ == '__main__':
  main()
