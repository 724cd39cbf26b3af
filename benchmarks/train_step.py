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
"""Times a training step against a textbook implementation of the same step.

  python benchmarks/train_step.py --cases mlp mnist cifar

Each case runs in two processes at a time, project and textbook
(`benchmarks/textbook.py`), which take turns in timing a few steps; so the
machine's moods meet both. Processes, because peak memory is one's own. The
project runs as in training, in chunks on the device; the textbook's step is
dispatched one by one. Compile time is that of the first step, less a step.
Memory is the most that a GPU gave, or on a CPU the process held.

What fails is said and left out; the status is 1 then.
"""

import argparse
from collections.abc import Sequence
import contextlib
import itertools
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(ROOT))

SHARED = 'unbiased_estimate_fn_shared_draws'
CASES = ('mlp', 'mnist', 'cifar')
_PLAIN = ('plain', 'cancelled', 'all')
_USUAL_VARIANTS = (*_PLAIN, 'cancelled-shared', 'all-shared', 'rk4')
# On a CPU the last ones only show that they run.
VARIANTS = (*_USUAL_VARIANTS, *(f'{variant}-bfloat16' for variant in _PLAIN))
# Seconds that the steps timed at once should last.
_TURN_SECONDS = 1.0


def full_config(case: str, variant: str):
  """The config of a case.

  Args:
    case: mlp, mnist or cifar.
    variant: plain, cancelled, all or rk4; `-shared` after it takes the
      estimator with shared draws, `-bfloat16` that arithmetic.
  """
  import numpy as np

  from dd_two_player_games import base_config

  config = base_config.get_base_config()
  settings = config.experiment_kwargs.config
  training = settings.training
  settings.losses.generator = 'generator_saturating_loss'
  if case == 'mlp':
    settings.dataset = 'mixture_of_gaussians'
    settings.data_processor = 'PointProcessor'
    settings.nets.discriminator = settings.nets.generator = 'SimpleMLP'
    settings.nets.gen_kwargs = {'out_dim': 2}
    settings.param_transformers.discriminator = None
  elif case == 'mnist':
    settings.nets.discriminator = 'MnistDiscriminator'
    settings.nets.generator = 'MnistGenerator'
    training.batch_size = 64
  else:
    # How long a step takes does not depend on what the images show.
    path = os.path.join(tempfile.gettempdir(), 'train_step_images.npz')
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (2000, 32, 32, 3), np.uint8))
    settings.dataset = path
    settings.nets.discriminator = 'CifarDiscriminator'
    settings.nets.generator = 'CifarGenerator'
    settings.param_transformers.discriminator = 'spectral_norm'
    settings.optimizers.generator.lr = 5e-3
  terms, _, option = variant.partition('-')
  if option == 'shared':
    training.estimator_fn = SHARED
  elif option == 'bfloat16':
    training.compute_dtype = option
  training.simultaneous_updates = terms != 'rk4'
  training.runge_kutta_updates = terms == 'rk4'
  cancelled = base_config.cancel_interaction_terms()
  if terms == 'cancelled':
    training.grad_regularizes = cancelled
  elif terms == 'all':
    training.grad_regularizes = base_config.combine(
      cancelled, base_config.strengthen_self_terms(), base_config.sga(0.01)
    )
  return base_config.resolve(config).experiment_kwargs.config


class Project:
  """Steps of `dd_two_player_games`."""

  def __init__(self, config):
    import jax

    from dd_two_player_games import experiment

    self._experiment = experiment.Experiment(
      'train', jax.random.PRNGKey(0), config
    )
    self._experiment.ensure_train_state()
    self._steps_done = 0

  def run(self, steps: int) -> None:
    self._steps_done += steps
    self._experiment.run_chunk(self._steps_done)


class Textbook:
  """Steps of `benchmarks/textbook.py`."""

  def __init__(self, config):
    import jax
    import textbook

    from dd_two_player_games import data_utils

    examples = data_utils.load_dataset(config.dataset, 'train', None).examples
    self._model = textbook.Textbook(config)
    num = self._model.num_draws
    self._batches = textbook.host_batches(
      examples, num, config.training.batch_size, seed=0
    )
    key = jax.random.PRNGKey(0)
    self._state = self._model.init(key, next(self._batches)[0])
    self._keys = jax.jit(
      lambda step: list(jax.random.split(jax.random.fold_in(key, step), num))
    )
    self._keys(0)
    self._steps_done = 0

  def run(self, steps: int) -> None:
    import jax

    for _ in range(steps):
      keys = self._keys(self._steps_done)
      self._state = self._model.step(self._state, next(self._batches), keys)
      self._steps_done += 1
    jax.block_until_ready(self._state)


def serve(implementation: str, case: str, variant: str) -> None:
  """Reads numbers of steps, writes their seconds, and at last the memory."""
  model = {'project': Project, 'textbook': Textbook}[implementation](
    full_config(case, variant)
  )
  print('ready', flush=True)
  for line in sys.stdin:
    start = time.perf_counter()
    model.run(int(line))
    print(time.perf_counter() - start, flush=True)
  print(_peak_bytes() / 2**20, flush=True)


def _peak_bytes() -> int:
  """The most memory of the device, or on a CPU of this process."""
  import jax

  if statistics := jax.devices()[0].memory_stats():
    return statistics['peak_bytes_in_use']
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Process:
  """A process that times one implementation of a case."""

  def __init__(self, *args: str):
    env = {
      **os.environ,
      # Compile times are to be those without a cache.
      'JAX_ENABLE_COMPILATION_CACHE': 'false',
      # Else the first process takes most of a GPU's memory from the others.
      'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
    }
    self._process = subprocess.Popen(
      [sys.executable, __file__, '--serve', *args],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=env,
    )
    self._args = args
    self._read()

  def seconds(self, steps: int) -> float:
    """How long so many steps take."""
    self._process.stdin.write(f'{steps}\n')
    self._process.stdin.flush()
    return float(self._read())

  def peak_megabytes(self) -> float:
    """Ends the process; the most memory that it held."""
    self._process.stdin.close()
    peak = float(self._read())
    self._process.wait()
    return peak

  def stop(self) -> None:
    """Ends the process, so that it holds no memory of a device."""
    self._process.kill()
    self._process.wait()

  def _read(self) -> str:
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(f'{" ".join(self._args)}: the process ended')
    return line


def measure(
  case: str, variant: str, repeats: int, names: Sequence[str]
) -> dict[str, Any]:
  """Times one case and variant.

  Args:
    case: see `full_config`.
    variant: see `full_config`.
    repeats: how often.
    names: of the implementations; the textbook has no variants with a dash.

  Returns:
    Their figures.

  Raises:
    RuntimeError: if a process ends; on standard error it has said why.
  """
  import numpy as np

  processes, first = {}, {}
  with contextlib.ExitStack() as stack:
    for name in names:  # One after the other: compiling takes both cores.
      processes[name] = Process(name, case, variant)
      stack.callback(processes[name].stop)
      first[name] = processes[name].seconds(1)
    single = {name: process.seconds(1) for name, process in processes.items()}
    steps = {name: max(1, int(_TURN_SECONDS / single[name])) for name in names}
    # Where a turn is a single step, the one above was the first turn.
    times = {name: [single[name]] * (steps[name] == 1) for name in names}
    while any(len(times[name]) < repeats for name in names):
      for name, process in processes.items():
        times[name].append(process.seconds(steps[name]) / steps[name])
    peaks = {
      name: process.peak_megabytes() for name, process in processes.items()
    }
  result = {'case': case, 'variant': variant, 'date': time.strftime('%Y-%m-%d')}
  for name in names:
    median = float(np.median(times[name]))
    result[name] = {
      'step_seconds': median,
      'step_seconds_range': [min(times[name]), max(times[name])],
      'compile_seconds': first[name] - median,
      'peak_megabytes': peaks[name],
    }
  return result


def table(results: list[dict[str, Any]]) -> str:
  """The results as a Markdown table."""
  plain = {
    r['case']: r['project']['step_seconds']
    for r in results
    if r['variant'] == 'plain'
  }
  lines = [
    '| case | step (ms) | textbook (ms) | ratio | steps of plain '
    '| compile (s) | textbook | peak (MB) | textbook |',
    '|---' * 9 + '|',
  ]
  for r in results:
    project, textbook = r['project'], r.get('textbook')

    def pair(key, form, project=project, textbook=textbook):
      return [form % project[key], form % textbook[key] if textbook else '–']

    def milliseconds(of):
      median, low, high = (
        f'{1e3 * x:,.0f}' if x >= 1 else f'{1e3 * x:.3g}'
        for x in (of['step_seconds'], *of['step_seconds_range'])
      )
      return f'{median} ({low}–{high})'

    seconds = project['step_seconds']
    cells = [
      f'{r["case"]}, {r["variant"]}',
      milliseconds(project),
      milliseconds(textbook) if textbook else '–',
      f'{textbook["step_seconds"] / seconds:.1f}' if textbook else '–',
      f'{seconds / plain[r["case"]]:.2f}' if r['case'] in plain else '–',
      *pair('compile_seconds', '%.1f'),
      *pair('peak_megabytes', '%.0f'),
    ]
    lines.append('| ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines)


def parse_arguments() -> argparse.Namespace:
  """Reads the command line."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--serve', nargs=3, help=argparse.SUPPRESS)
  parser.add_argument('--cases', nargs='+', choices=CASES, default=CASES)
  parser.add_argument(
    '--variants', nargs='+', choices=VARIANTS, default=_USUAL_VARIANTS
  )
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument(
    '--without-textbook', action='store_true', help='time the project alone'
  )
  parser.add_argument(
    '--output', type=pathlib.Path, default=ROOT / 'docs' / 'train_step.json'
  )
  return parser.parse_args()


def main() -> None:
  """Measures, prints the table and writes the figures."""
  args = parse_arguments()
  if args.serve:
    serve(*args.serve)
    return

  # This process needs a device's name only, and leaves its memory to others.
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  import jax

  figures = {
    'device': str(jax.devices()[0].device_kind),
    'cores': os.cpu_count(),
    'machine': platform.machine(),
    'jax': jax.__version__,
  }
  measured, failed = {}, []
  if args.output.exists():  # Cases that are not measured anew are kept.
    before = json.loads(args.output.read_text())
    if all(before.get(key) == value for key, value in figures.items()):
      measured = {(r['case'], r['variant']): r for r in before['results']}
  for case in args.cases:
    for variant in args.variants:
      print(f'{case}, {variant} …', file=sys.stderr, flush=True)
      with_textbook = not args.without_textbook and '-' not in variant
      names = ['project', *['textbook'] * with_textbook]
      try:
        result = measure(case, variant, args.repeats, names)
      except (RuntimeError, OSError) as error:  # A pipe may break, too.
        print(f'{case}, {variant}: {error}', file=sys.stderr, flush=True)
        failed.append(f'{case} {variant}')
        continue
      measured[case, variant] = result
      order = itertools.product(CASES, VARIANTS)
      figures['results'] = [measured[key] for key in order if key in measured]
      args.output.write_text(json.dumps(figures, indent=1) + '\n')
  print(table(figures.get('results', [])), flush=True)
  if failed:
    sys.exit(f'not measured, see above: {", ".join(failed)}')


if __name__ == '__main__':
  main()
