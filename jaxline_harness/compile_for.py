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
"""Compiles the training program for a machine, and says what it will need.

Nothing is computed: the program is made from shapes alone. What is compiled is
what training runs, `train_loop.ChunkedExperiment.lower_chunk`.
"""

import collections
from collections.abc import Callable, Iterator
import dataclasses
import os
import time
from typing import Any

import jax
from ml_collections import config_dict

from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import flags
from jaxline_harness import machines
from jaxline_harness import memory
from jaxline_harness import modes
from jaxline_harness import program_text

_GIB, _MIB = 2**30, 2**20
_BATCH = 'training.batch_size'
_MOST_KINDS = 6


@dataclasses.dataclass(frozen=True)
class Needs:
  """What a compiled training program needs on each device.

  Attributes:
    compile_seconds: that XLA took.
    argument_bytes: of the state and the data.
    temporary_bytes: of all else at the peak.
    program: its text.
    text: the same, as XLA prints it.
    has_bfloat16: whether it computes with it.
  """

  compile_seconds: float
  argument_bytes: int
  temporary_bytes: int
  program: program_text.Program
  text: str
  has_bfloat16: bool

  @property
  def memory_bytes(self) -> int:
    return self.argument_bytes + self.temporary_bytes


def run(
  find_class: Callable[[], Any],
  config: config_dict.ConfigDict,
  asked: flags.Compilation,
) -> None:
  """Compiles what a config trains, and prints what it needs.

  Args:
    find_class: returns a `train_loop.ChunkedExperiment`.
    config: a full config.
    asked: what for.

  Raises:
    errors.UserError: if there is no such target, its compiler is not installed,
      or the config does not suit it.
    errors.TrainingError: if the program does not compile, or is too large.
  """
  target = machines.read_target(asked.target)
  if asked.hlo:
    files.make_folder(os.path.dirname(os.path.abspath(asked.hlo)), '--hlo')
  # As many devices as there, so that what is checked of them is checked.
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', target.num_devices)
  # What takes long is said, not kept.
  jax.config.update('jax_enable_compilation_cache', False)
  devices = machines.describe_devices(target)
  limit = _usable_memory(target)

  experiment_class = find_class()

  def compile_with(config):
    with memory.devices_have(limit if target.kind else None):
      experiment = modes.make_experiment(experiment_class, 'train', config)
      return compile_training(experiment, target, devices)

  needs = compile_with(config)
  print(*describe(needs, target, limit), sep='\n')
  if asked.hlo:
    files.write_atomically(asked.hlo, needs.text)
    print(f'program           {asked.hlo}')
  if needs.memory_bytes > limit:
    raise errors.TrainingError(
      f'{target.name}: the program needs {_show(needs.memory_bytes)} a device, '
      f'but there are {_show(limit)}'
    )
  if asked.largest_batch:
    print(find_largest_batch(compile_with, config, limit))


def _usable_memory(target: machines.Target) -> int:
  if target.kind is None:
    return memory.of_host() // target.num_devices
  return int(target.kind.usable_share * target.kind.memory_bytes)


def compile_training(
  experiment: Any, target: machines.Target, devices: Any
) -> Needs:
  """Compiles an experiment's training program for devices.

  Args:
    experiment: a `train_loop.ChunkedExperiment`.
    target: what the devices are.
    devices: need not be here.

  Returns:
    What it needs.

  Raises:
    errors.TrainingError: if it does not compile.
  """
  lowered = experiment.lower_chunk(device_mesh.make_mesh(devices))
  start = time.monotonic()
  try:
    compiled = lowered.compile()
  except RuntimeError as error:  # JaxRuntimeError is one.
    raise errors.TrainingError(
      f'{target.name}: it does not compile: {errors.one_line(error, 500)}'
    ) from error
  seconds = time.monotonic() - start
  sizes, text = compiled.memory_analysis(), compiled.as_text()
  own = sizes.temp_size_in_bytes + sizes.output_size_in_bytes
  return Needs(
    compile_seconds=seconds,
    argument_bytes=sizes.argument_size_in_bytes,
    temporary_bytes=own - sizes.alias_size_in_bytes,
    program=program_text.Program(text, 1 if target.platform == 'tpu' else None),
    text=text,
    has_bfloat16='bf16[' in lowered.as_text(dialect='hlo'),
  )


# What is printed.


def describe(
  needs: Needs, target: machines.Target, limit: int
) -> Iterator[str]:
  """Yields lines that say what a program needs of a target.

  Args:
    needs: of each device.
    target: the devices.
    limit: bytes of memory that a device has for it.
  """
  kind = target.kind
  what = kind.description if kind else "this machine's CPU"
  yield f'{target.name}: {target.num_devices} × {what}'
  yield f'compiles          in {needs.compile_seconds:.0f} s'
  yield (
    f'memory a device   {_show(needs.memory_bytes)} of {_show(limit)}: '
    f'{_show(needs.argument_bytes)} of state and data, '
    f'{_show(needs.temporary_bytes)} of temporaries and results'
  )
  flops = needs.program.flops()
  yield f'operations a step {flops:.4g} a device, of products and convolutions'
  yield f'memory traffic    {needs.program.bytes_moved():,} bytes a step'
  yield f'kernels a step    {_describe_kernels(needs.program.kernels())}'
  transfers = needs.program.host_transfers()
  yield f'host transfers    {", ".join(transfers) or "none"}'
  sent = needs.program.collectives()
  total = sum(c.times * c.num_bytes for c in sent)
  yield f'sent a step       {total:,} bytes, collectives: {len(sent)}'
  for collective in sent:
    often = f' {collective.times} times' if collective.times > 1 else ''
    yield f'  {collective.kind:<15} {collective.num_bytes:,} bytes{often}'
  if kind:
    floors = floor_seconds(needs, target.num_devices, kind)
    slowest = max(floors, key=lambda name: floors[name])
    each = ', '.join(f'{k} {1e3 * v:.3g}' for k, v in floors.items())
    yield (
      f'floor of a step   {1e3 * floors[slowest]:.3g} ms, of {slowest} ({each})'
    )


def floor_seconds(
  needs: Needs, num_devices: int, kind: machines.Kind
) -> dict[str, float]:
  """Returns the times that a step cannot beat at a device's stated rates.

  Args:
    needs: of each device.
    num_devices: that share a step.
    kind: of all devices.
  """
  rate = kind.flops['bfloat16' if needs.has_bfloat16 else 'float32']
  # Of what it puts in, a device sends at least all but its share: in a sum it
  # sends that twice.
  sent = sum(
    c.times * c.num_bytes * (2 if c.kind == 'all-reduce' else 1)
    for c in needs.program.collectives()
  )
  share = (num_devices - 1) / num_devices
  return {
    'computing': needs.program.flops() / rate,
    'memory': needs.program.bytes_moved() / kind.memory_bandwidth,
    'sending': sent * share / kind.link_bandwidth,
  }


def _describe_kernels(counts: dict[str, int]) -> str:
  common = collections.Counter(counts).most_common(_MOST_KINDS)
  rest = sum(counts.values()) - sum(n for _, n in common)
  listed = [f'{n} {name}' for name, n in common]
  return ', '.join(listed + ([f'{rest} others'] if rest else []))


def _show(num_bytes: int) -> str:
  size, unit = (_GIB, 'GiB') if num_bytes >= _GIB / 10 else (_MIB, 'MiB')
  return f'{num_bytes / size:.2f} {unit}'


# The largest batch.


def find_largest_batch(
  compile_with: Callable[[Any], Needs],
  config: config_dict.ConfigDict,
  limit: int,
) -> str:
  """Says which is the largest batch that fits.

  Args:
    compile_with: compiles for a config.
    config: its own batch fits; those that are tried are multiples of it.
    limit: bytes of memory that a device has.

  Returns:
    A line.

  Raises:
    errors.UserError: if the config has no size of a batch.
  """
  config = config.copy_and_resolve_references()
  training = config.experiment_kwargs.config.get('training', {})
  if 'batch_size' not in training:
    raise errors.UserError(f'--largest-batch: the config has no {_BATCH}')

  def problem(size: int) -> str:
    """Why a batch does not fit; '' if it does."""
    training.batch_size = size
    try:
      needs = compile_with(config)
    except (errors.UserError, errors.TrainingError) as error:
      return errors.one_line(error, 200)
    if needs.memory_bytes > limit:
      return f'needs {_show(needs.memory_bytes)} a device'
    return ''

  size, why = search_largest(problem, training.batch_size)
  return f'largest batch     {size:,}; a larger one: {why}'


def search_largest(
  problem: Callable[[int], str], start: int
) -> tuple[int, str]:
  """Finds the largest size without a problem, to an eighth of it.

  Args:
    problem: says what is wrong with a size; '' if nothing is.
    start: a size without a problem, of which all that are tried are multiples.

  Returns:
    The size, and what is wrong with a larger one.
  """
  good, why = 1, ''
  while not (why := problem(2 * good * start)):
    good *= 2
  bad, reason = 2 * good, why
  while bad - good > max(1, good // 8):
    middle = (good + bad) // 2
    if why := problem(middle * start):
      bad, reason = middle, why
    else:
      good = middle
  return good * start, reason
