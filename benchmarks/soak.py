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
"""Watches a long training: memory, open files, threads and speed (Linux).

  python benchmarks/soak.py --minutes 60

A training of the default config runs as a program of its own; every few seconds
its resident memory, file descriptors and threads are read, and its speed from
metrics.csv. At the end SIGTERM stops it. What counts is the time after warm-up,
its last tenth against its first:

- the median of the resident memory may grow by less than 1 %;
- the fewest file descriptors and threads seen may not grow (saving opens more
  for a moment);
- the median of the steps a second may not fall by more than 5 %, which a
  machine's moods make of the same speed.

The figures are written to `--output`, the curve beside them as a picture. The
exit status is 1 where one of these fails.
"""

import argparse
import csv
import itertools
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

# Run as a file, Python looks for modules in benchmarks/ alone.
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import report  # noqa: E402

_SAMPLE_SECONDS = 5.0
# More steps than any soak makes.
_STEPS = 1_000_000_000
_MEBIBYTE = 1 << 20

Sample = dict[str, float]


def sample(pid: int) -> Sample:
  """What a process holds at this moment."""
  status = dict(
    line.split(':', 1)
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines()
  )
  return {
    'resident_bytes': 1024 * int(status['VmRSS'].split()[0]),
    'threads': int(status['Threads']),
    'descriptors': len(os.listdir(f'/proc/{pid}/fd')),
  }


def watch(
  process: subprocess.Popen, seconds: float, period: float
) -> list[Sample]:
  """Samples a process for so long, or until it ends."""
  start, samples = time.monotonic(), []
  while process.poll() is None and time.monotonic() < start + seconds:
    elapsed = time.monotonic() - start
    samples.append({'seconds': elapsed, **sample(process.pid)})
    time.sleep(period)
  return samples


def speeds(table: pathlib.Path) -> list[Sample]:
  """Steps a second between the rows of a metrics.csv."""
  with table.open(newline='') as f:
    rows = [
      (int(row['step']), float(row['seconds'])) for row in csv.DictReader(f)
    ]
  return [
    {'seconds': end, 'steps_per_second': (last - first) / (end - begin)}
    for (first, begin), (last, end) in itertools.pairwise(rows)
    if end > begin
  ]


def compare(
  samples: list[Sample], warm_up: float, end: float
) -> dict[str, Any]:
  """The first and the last tenth of the time after warm-up.

  Args:
    samples: with `seconds` and further quantities.
    warm_up: seconds to leave out.
    end: seconds of the last sample.

  Returns:
    For each quantity the medians and the minima of both tenths.
  """
  tenth = (end - warm_up) / 10
  first = [s for s in samples if warm_up <= s['seconds'] <= warm_up + tenth]
  last = [s for s in samples if end - tenth <= s['seconds'] <= end]
  if not first or not last:
    raise SystemExit('too short: no samples in the first or the last tenth')
  return {
    name: {
      'median': [
        statistics.median(s[name] for s in part) for part in (first, last)
      ],
      'least': [min(s[name] for s in part) for part in (first, last)],
    }
    for name in first[0]
    if name != 'seconds'
  }


def verdicts(compared: dict[str, Any]) -> dict[str, Any]:
  """Which of the promises hold, and by how much."""

  def growth(name):
    first, last = compared[name]['median']
    return last / first - 1

  def more(name):
    first, last = compared[name]['least']
    return last - first

  memory, speed = growth('resident_bytes'), growth('steps_per_second')
  descriptors, threads = more('descriptors'), more('threads')
  return {
    'memory_growth': memory,
    'memory_holds': memory < 0.01,
    'more_descriptors': descriptors,
    'descriptors_hold': descriptors <= 0,
    'more_threads': threads,
    'threads_hold': threads <= 0,
    'speed_growth': speed,
    'speed_holds': speed > -0.05,
  }


def plot(
  path: pathlib.Path, samples: list[Sample], rates: list[Sample], warm_up: float
) -> None:
  """Draws memory and speed over time."""
  import matplotlib

  matplotlib.use('agg')
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(2, sharex=True, figsize=(6.4, 4), dpi=100)
  for axis, points, name, unit, label in (
    (axes[0], samples, 'resident_bytes', _MEBIBYTE, 'resident memory (MiB)'),
    (axes[1], rates, 'steps_per_second', 1, 'steps a second'),
  ):
    axis.plot(
      [p['seconds'] / 60 for p in points],
      [p[name] / unit for p in points],
      linewidth=0.8,
    )
    axis.axvline(warm_up / 60, color='grey', linewidth=0.8, linestyle=':')
    axis.set_ylim(bottom=0)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
  axes[1].set_xlabel('minutes (dotted: end of warm-up)')
  figure.tight_layout()
  figure.savefig(path)


def main() -> None:
  """Runs the training, prints the verdicts and writes the figures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--minutes', type=float, default=60)
  parser.add_argument(
    '--warm-up', type=float, help='minutes; by default a sixth of all'
  )
  parser.add_argument(
    '--config',
    type=pathlib.Path,
    default=ROOT / 'configs' / 'sgd_fashion_mnist_config.py',
  )
  parser.add_argument(
    '--output', type=pathlib.Path, default=ROOT / 'docs' / 'soak.json'
  )
  args = parser.parse_args()
  warm_up = 60 * (args.minutes / 6 if args.warm_up is None else args.warm_up)
  start = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    run = pathlib.Path(folder) / 'run'
    process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'dd_two_player_games.experiment'),
        f'--config={args.config}',
        f'--config.checkpoint_dir={run}',
        f'--config.training_steps={_STEPS}',
      ],
      cwd=ROOT,
    )
    try:
      samples = watch(process, 60 * args.minutes, _SAMPLE_SECONDS)
    finally:
      process.send_signal(signal.SIGTERM)
      status = process.wait()
    if status != 128 + signal.SIGTERM:
      raise SystemExit(f'the training ended with status {status}')
    # Both clocks start within the seconds that a program takes to start.
    rates = speeds(run / 'train' / 'metrics.csv')
    steps = max(
      int(p.name) for p in (run / 'checkpoints/latest').glob('[0-9]*')
    )
  end = samples[-1]['seconds']
  compared = compare(samples, warm_up, end)
  compared |= compare(rates, warm_up, rates[-1]['seconds'])
  results = verdicts(compared)
  report.write(
    args.output,
    start,
    [results],
    steps=steps,
    warm_up_seconds=warm_up,
    first_and_last_tenth=compared,
    samples=samples,
    speeds=rates,
  )
  plot(args.output.with_suffix('.png'), samples, rates, warm_up)
  for name, value in results.items():
    print(
      f'{name}: {value:.4g}' if isinstance(value, float) else f'{name}: {value}'
    )
  sys.exit(not all(v for name, v in results.items() if 'hold' in name))


if __name__ == '__main__':
  main()
