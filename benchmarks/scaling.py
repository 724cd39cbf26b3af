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
"""How a training step scales: its speed, what it sends, and a projection.

  python benchmarks/scaling.py                 all four parts
  python benchmarks/scaling.py --parts bytes projection

**bytes.** All-reduces of a compiled step, counted in the optimised program of
two devices: the size of what each device puts in. The least that data-parallel
training can do is one gradient of each player.

**time.** Seconds a step on forced CPU devices, in one process or in several,
each process on its own share of the cores given. A device of XLA's CPU backend
is a set of threads: several devices on one machine share its cores and memory,
so that two cores can be at most twice as fast as one.

**programs.** What the program of a step moves and starts on one GPU, as it was
compiled for it, which need not be here:

  ./run.sh compile sgd_cifar --target=h100 --hlo=FILE
  python benchmarks/scaling.py --parts programs --programs cancelled=FILE

**projection.** Seconds a step on GPUs from what was counted and from the rates
of `Assumptions`. Nothing of it is measured.

The figures are written to `--output`; a part that is not asked for stays as it
is there.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(ROOT))

import report  # noqa: E402
import train_step  # noqa: E402

PARTS = ('bytes', 'time', 'programs', 'projection')
_BYTES = {'f32': 4, 'bf16': 2, 's32': 4, 'u32': 4, 'pred': 1}
_COLLECTIVE = re.compile(
  r' = (.*?) (?:all-reduce|all-gather|all-to-all|reduce-scatter|'
  r'collective-permute)(?:-start)?\('
)
# How long the steps timed at once should last.
_TURN_SECONDS = 2.0
_SHAPE = re.compile(r'\b(\w+)\[([\d,]*)\]')


# What a step sends.


def collective_bytes(program: str) -> list[int]:
  """Bytes that a device puts into each collective of an HLO program.

  Args:
    program: the text of the compiled program.
  """
  return [
    sum(
      _BYTES[dtype] * math.prod(int(n) for n in shape.split(',') if n)
      for dtype, shape in _SHAPE.findall(match[1])
    )
    for match in map(_COLLECTIVE.search, program.splitlines())
    if match
  ]


def _lowered(model: Any, num_devices: int):
  """The step of an experiment for so many devices; nothing is computed."""
  import jax

  from jaxline_harness import device_mesh

  mesh = device_mesh.make_mesh(jax.local_devices()[:num_devices])
  run = device_mesh.run_everywhere(model.update, mesh)
  return run.lower(model.abstract_train_state(), model.device_data())


def count(case: str, variant: str) -> dict[str, Any]:
  """What a step of a case sends and computes."""
  import jax

  from dd_two_player_games import experiment

  config = train_step.full_config(case, variant)
  model = experiment.Experiment('train', None, config)
  params = model.abstract_train_state().params
  sent = collective_bytes(_lowered(model, 2).compile().as_text())
  # Convolutions are counted in the form that accelerators are given.
  with config.unlocked():
    config.nets.convolutions = 'xla'
  model = experiment.Experiment('train', None, config)
  flops = _lowered(model, 1).cost_analysis()['flops']
  return {
    'case': case,
    'variant': variant,
    'sizes': sent,
    'least_bytes': sum(4 * leaf.size for leaf in jax.tree.leaves(params)),
    'batch_size': config.training.batch_size,
    'flops': flops,
  }


def bytes_table(results: list[dict[str, Any]]) -> str:
  """What `count` gave, as a Markdown table."""
  lines = [
    '| case | bytes a step | one gradient of each player | ratio '
    '| all-reduces | of them below 64 KiB |',
    '|---' * 6 + '|',
  ]
  for r in results:
    total, least = sum(r['sizes']), r['least_bytes']
    small = sum(size < 1 << 16 for size in r['sizes'])
    lines.append(
      f'| {r["case"]}, {r["variant"]} | {total:,} | {least:,} '
      f'| {total / least:.4f} | {len(r["sizes"])} | {small} |'
    )
  return '\n'.join(lines)


# How long a step takes.


class Layout(NamedTuple):
  """Where a step runs.

  Attributes:
    processes: how many.
    devices: of each process.
    cores: of the machine, shared out among the processes.
    batch_size: over all devices.
  """

  processes: int
  devices: int
  cores: int
  batch_size: int

  @property
  def all_devices(self) -> int:
    return self.processes * self.devices


def layouts(batch_size: int, cores: int) -> dict[str, list[Layout]]:
  """What is compared with one device on one core, which comes first.

  Args:
    batch_size: of four devices.
    cores: how many to use.

  Returns:
    For 'strong' the same batch on all, for 'weak' the same for each device.
  """
  places = [(1, 1, 1), (1, 1, cores)]
  places += [(1, 2, cores), (2, 1, cores), (1, 4, cores)]
  places += [(2, 2, cores), (4, 1, cores)]
  return {
    'strong': [Layout(*place, batch_size) for place in places],
    'weak': [
      Layout(*place, batch_size // 4 * place[0] * place[1]) for place in places
    ],
  }


def serve(case: str, variant: str, layout: Layout, process: int, port: int):
  """One process of a layout: reads numbers of steps, writes their seconds."""
  # Gloo writes to the standard output as well, from threads of its own.
  answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  share = layout.cores // layout.processes
  if share:  # Else each may use all, and the system shares them out.
    cores = sorted(os.sched_getaffinity(0))[process * share :][:share]
    os.sched_setaffinity(0, cores)
  os.environ['XLA_FLAGS'] = (
    f'--xla_force_host_platform_device_count={layout.devices}'
  )
  from jaxline_harness import clusters
  from jaxline_harness import distributed

  cluster = None
  if layout.processes > 1:
    cluster = clusters.Cluster(f'127.0.0.1:{port}', layout.processes, process)
  with distributed.joined(cluster, {}):
    config = train_step.full_config(case, variant)
    config.training.batch_size = layout.batch_size
    project = train_step.Project(config)
    project.run(1)
    print('ready', file=answers, flush=True)
    for line in sys.stdin:
      start = time.perf_counter()
      project.run(int(line))
      print(time.perf_counter() - start, file=answers, flush=True)


class Group:
  """The processes of a layout, ready to run steps."""

  def __init__(self, case: str, variant: str, layout: Layout):
    with socket.create_server(('', 0)) as server:
      port = server.getsockname()[1]
    self._processes = []
    for i in range(layout.processes):
      task = json.dumps([case, variant, layout, i, port])
      self._processes.append(
        subprocess.Popen(
          [sys.executable, __file__, '--serve', task],
          stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
          stderr=subprocess.DEVNULL,
          text=True,
        )
      )
    self._read()  # That they are ready.

  def seconds(self, steps: int) -> float:
    """How long so many steps take."""
    for process in self._processes:
      process.stdin.write(f'{steps}\n')
      process.stdin.flush()
    return max(map(float, self._read()))

  def __enter__(self) -> 'Group':
    return self

  def __exit__(self, *unused_error) -> None:
    for process in self._processes:
      process.stdin.close()
    for process in self._processes:
      process.wait()

  def _read(self) -> list[str]:
    return [self._answer(process) for process in self._processes]

  @staticmethod
  def _answer(process: subprocess.Popen) -> str:
    if line := process.stdout.readline():
      return line
    raise RuntimeError('a process ended')


def measure(
  case: str, variant: str, batch_size: int, cores: int, rounds: int
) -> list[dict[str, Any]]:
  """Seconds a step in all layouts, which take turns."""
  planned = [
    (scaling, layout)
    for scaling, of_kind in layouts(batch_size, cores).items()
    for layout in of_kind
  ]
  times: dict[Layout, list[float]] = {layout: [] for _, layout in planned}
  for k in range(rounds):
    for layout, so_far in times.items():  # What both kinds hold comes once.
      print(f'round {k + 1}: {layout} …', file=sys.stderr, flush=True)
      with Group(case, variant, layout) as group:
        steps = max(1, round(_TURN_SECONDS / group.seconds(1)))
        so_far += [group.seconds(steps) / steps for _ in range(3)]
  return [
    {
      'case': case,
      'variant': variant,
      'scaling': scaling,
      **layout._asdict(),
      'step_seconds': statistics.median(times[layout]),
      'step_seconds_range': [min(times[layout]), max(times[layout])],
    }
    for scaling, layout in planned
  ]


def time_table(results: list[dict[str, Any]]) -> str:
  """What `measure` gave, as a Markdown table."""
  lines = [
    '| scaling | processes × devices | cores | batch | step (ms) '
    '| examples/s | times one device on one core |',
    '|---' * 7 + '|',
  ]
  first: dict[str, float] = {}
  for r in results:
    rate = r['batch_size'] / r['step_seconds']
    low, high = (1e3 * seconds for seconds in r['step_seconds_range'])
    lines.append(
      f'| {r["scaling"]} | {r["processes"]} × {r["devices"]} | {r["cores"]} '
      f'| {r["batch_size"]} | {1e3 * r["step_seconds"]:.3g} '
      f'({low:.3g}–{high:.3g}) | {rate:,.0f} '
      f'| {rate / first.setdefault(r["scaling"], rate):.2f} |'
    )
  return '\n'.join(lines)


# What GPUs would take.


class Assumptions(NamedTuple):
  """Of nodes like NVIDIA's DGX H100; bandwidths as stated by their makers.

  Attributes:
    memory_gbytes: bandwidth of a GPU's memory, GB/s.
    kernel_us: of starting a kernel, in microseconds.
    node_gpus: GPUs of a node.
    node_gbytes: of NVLink, one way, GB/s a GPU.
    network_gbytes: of a node's network adapter of 400 Gb/s, GB/s a GPU.
    node_us: latency of a hop within a node, in microseconds.
    network_us: the same between nodes.
  """

  memory_gbytes: float = 3352.0
  kernel_us: float = 3.0
  node_gpus: int = 8
  node_gbytes: float = 450.0
  network_gbytes: float = 50.0
  node_us: float = 3.0
  network_us: float = 8.0


def all_reduce_seconds(size: int, gpus: int, given: Assumptions) -> float:
  """The better one of a ring and a pipelined tree, as NCCL chooses."""
  within = gpus <= given.node_gpus
  rate = 1e9 * (given.node_gbytes if within else given.network_gbytes)
  latency = 1e-6 * (given.node_us if within else given.network_us)
  ring = 2 * (gpus - 1) * (size / gpus / rate + latency)
  tree = 2 * math.log2(gpus) * latency + 2 * size / rate
  return min(ring, tree)


def read_program(variant: str, path: str) -> dict[str, Any]:
  """What a step of a program moves and starts, as compiled for one GPU.

  Args:
    variant: of the CIFAR networks.
    path: of what `./run.sh compile --hlo=FILE` kept.
  """
  from jaxline_harness import program_text

  program = program_text.Program(pathlib.Path(path).read_text())
  return {
    'case': 'cifar',
    'variant': variant,
    'bytes_moved': program.bytes_moved(),
    'kernels': sum(program.kernels().values()),
  }


def programs_table(programs: list[dict[str, Any]]) -> str:
  """What `read_program` gave, as a Markdown table."""
  lines = ['| case | moved a step (GB) | kernels |', '|---' * 3 + '|']
  for of in programs:
    lines.append(
      f'| {of["case"]}, {of["variant"]} | {of["bytes_moved"] / 1e9:.2f} '
      f'| {of["kernels"]} |'
    )
  return '\n'.join(lines)


def project(
  counted: list[dict[str, Any]],
  programs: list[dict[str, Any]],
  given: Assumptions,
) -> list[dict[str, Any]]:
  """Steps of the cases on 8 to 256 GPUs; no transfer overlaps with computing.

  What takes the time of a GPU is moving arrays, as the batch has it, and
  starting kernels: both are more than its operations at their peak rate.

  Args:
    counted: what `count` gave.
    programs: what `read_program` gave for the same cases.
    given: the assumptions.
  """
  compiled = {(of['case'], of['variant']): of for of in programs}
  results = []
  for of in counted:
    for scaling in ('weak', 'strong'):
      for gpus in (8, 16, 32, 64, 128, 256):
        each = of['batch_size']
        if scaling == 'strong':
          each = 8 * of['batch_size'] // gpus
        program = compiled[of['case'], of['variant']]
        computing = program['bytes_moved'] / of['batch_size'] * each
        computing /= 1e9 * given.memory_gbytes
        computing += 1e-6 * given.kernel_us * program['kernels']
        sending = sum(
          all_reduce_seconds(size, gpus, given) for size in of['sizes']
        )
        results.append(
          {
            'case': of['case'],
            'variant': of['variant'],
            'scaling': scaling,
            'gpus': gpus,
            'batch_size': each * gpus,
            'computing_seconds': computing,
            'sending_seconds': sending,
            'examples_per_second': each * gpus / (computing + sending),
          }
        )
  return results


def projection_table(results: list[dict[str, Any]]) -> str:
  """What `project` gave, as a Markdown table."""
  lines = [
    '| case | scaling | GPUs | batch | computing (ms) | sending (ms) '
    "| examples/s | of 8 GPUs' rate a GPU |",
    '|---' * 8 + '|',
  ]
  first: dict[tuple[str, ...], float] = {}
  for r in results:
    rate = r['examples_per_second'] / r['gpus']
    eight = first.setdefault((r['case'], r['variant'], r['scaling']), rate)
    lines.append(
      f'| {r["case"]}, {r["variant"]} | {r["scaling"]} | {r["gpus"]} '
      f'| {r["batch_size"]:,} | {1e3 * r["computing_seconds"]:.1f} '
      f'| {1e3 * r["sending_seconds"]:.1f} '
      f'| {r["examples_per_second"]:,.0f} | {100 * rate / eight:.0f} % |'
    )
  return '\n'.join(lines)


# The program.


def _in_a_process(function: Any, *arguments: Any) -> Any:
  """Calls a function where JAX shows two devices."""
  env = {'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
  spawn = multiprocessing.get_context('spawn')
  with (
    mock.patch.dict(os.environ, env),
    concurrent.futures.ProcessPoolExecutor(1, spawn) as pool,
  ):
    return pool.submit(function, *arguments).result()


def main() -> None:
  """Measures, prints the tables and writes the figures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--serve', help=argparse.SUPPRESS)
  parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
  parser.add_argument(
    '--programs', nargs='+', default=[], metavar='VARIANT=FILE'
  )
  parser.add_argument('--case', default='mnist', help='of the part time')
  parser.add_argument('--variant', default='plain', help='of the part time')
  parser.add_argument('--batch-size', type=int, default=64)
  parser.add_argument('--cores', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument(
    '--output', type=pathlib.Path, default=ROOT / 'docs' / 'scaling.json'
  )
  args = parser.parse_args()
  if args.serve:
    case, variant, layout, *rest = json.loads(args.serve)
    serve(case, variant, Layout(*layout), *rest)
    return
  start = time.monotonic()
  parts: dict[str, Any] = dict.fromkeys(PARTS, [])
  if args.output.exists():
    parts |= json.loads(args.output.read_text())['results'][0]
  if 'bytes' in args.parts:
    parts['bytes'] = [
      _in_a_process(count, case, variant)
      for case in ('mlp', 'mnist', 'cifar')
      for variant in ('plain', 'cancelled')
    ]
  if 'time' in args.parts:
    parts['time'] = measure(
      args.case, args.variant, args.batch_size, args.cores, args.rounds
    )
  if args.programs:
    parts['programs'] = [
      read_program(*given.split('=', 1)) for given in args.programs
    ]
  if 'projection' in args.parts:
    cifar = [r for r in parts['bytes'] if r['case'] == 'cifar']
    parts['projection'] = project(cifar, parts['programs'], Assumptions())
  report.write(args.output, start, [parts], assumptions=Assumptions()._asdict())
  tables = (bytes_table, time_table, programs_table, projection_table)
  for part, table in zip(PARTS, tables, strict=True):
    print(f'{part}\n\n{table(parts[part])}\n')


if __name__ == '__main__':
  main()
