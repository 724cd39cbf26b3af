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
"""Reads the text of a compiled program: what a step runs, moves and sends.

XLA prints an optimised program as computations, one instruction a line. The
training program is a loop whose number of turns is not known, and its body is a
step.
"""

from collections.abc import Iterator, Mapping, Sequence
import math
import re
from typing import NamedTuple

_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+)\s.*\{$')
_INSTRUCTION = re.compile(
  r'^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$'
)
_NAME = re.compile(r'%([\w.\-]+)')
_CALLS = re.compile(
  r'\b(body|calls|to_apply|branch_computations|called_computations|'
  r'true_computation|false_computation)=(\{[^}]*\}|%[\w.\-]+)'
)
_ARRAY = re.compile(r'\b([a-z]+\d*\w*)\[([\d,<=]*)\](\{[^}]*\})?')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_ALIAS = re.compile(r'\{[\d, ]*\}: \((\d+), \{[\d, ]*\}')
_CONTRACTED = re.compile(
  r'(?:lhs_contracting_dims=\{|"lhs_contracting_dimensions":\[)([\d,"]*)'
)
_DIM_LABELS = re.compile(r'dim_labels=(\w+)_(\w+)->(\w+)')
_WINDOW = re.compile(r'window=\{([^}]*)\}')
_BITS = re.compile(r'\d+')
_SCALAR = re.compile(r'\w+\[\]')
_COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'all-to-all',
  'collective-broadcast',
  'collective-permute',
  'ragged-all-to-all',
  'reduce-scatter',
)
_WHOLE = ('call', 'conditional', 'while')
# Nothing is run or moved for these.
_FREE = (
  'add-dependency',
  'after-all',
  'bitcast',
  'constant',
  'get-tuple-element',
  'opt-barrier',
  'parameter',
  'partition-id',
  'replica-id',
  'tuple',
)
_MATTER_AS_SCALARS = (
  'copy',
  'custom-call',
  'dot',
  'fusion',
  'reduce',
)
_SLICES = ('dynamic-slice', 'gather', 'slice')
_TO_HOST = ('infeed', 'outfeed', 'send', 'recv')


class Instruction(NamedTuple):
  """A line of a program.

  Attributes:
    name: of its result.
    opcode: what it does.
    type: of its result: an array, or a tuple of them.
    operands: the names of its arguments.
    rest: what follows them.
    is_root: whether it is the computation's result.
  """

  name: str
  opcode: str
  type: str
  operands: Sequence[str]
  rest: str
  is_root: bool

  @property
  def callees(self) -> list[str]:
    return [n for _, what in _CALLS.findall(self.rest) for n in _of(what)]


class Collective(NamedTuple):
  """Something sent between devices: how often a step, and bytes a device."""

  kind: str
  times: int
  num_bytes: int


class Program:
  """A compiled program.

  Attributes:
    step: the instructions that a step runs, each with how often it does.
  """

  def __init__(self, text: str, on_chip_space: int | None = None):
    """Reads a program.

    Args:
      text: what `jax.stages.Compiled.as_text` gives.
      on_chip_space: the memory space that is not the device's main memory, as 1
        is on TPUs.
    """
    self._text = text
    self._on_chip = f'S({on_chip_space})'
    self._computations, entry = _parse(text)
    self._arrays = {
      instruction.name: instruction.type
      for computation in self._computations.values()
      for instruction in computation
    }
    loop = self._find_loop(entry)
    body = entry if loop is None else loop.callees[0]
    self.step = list(self._walk(body, 1))

  def _find_loop(self, computation: str) -> Instruction | None:
    for instruction in self._computations[computation]:
      if instruction.opcode == 'while' and not _TRIPS.search(instruction.rest):
        return instruction
      if instruction.opcode == 'call':
        for name in instruction.callees:
          if (found := self._find_loop(name)) is not None:
            return found
    return None

  def _walk(
    self, computation: str, times: int
  ) -> Iterator[tuple[Instruction, int]]:
    for instruction in self._computations[computation]:
      if instruction.opcode not in _WHOLE:
        yield instruction, times
        continue
      trips = _TRIPS.search(instruction.rest)
      for name in instruction.callees:
        yield from self._walk(name, times * int(trips[1] if trips else 1))

  def aliased_parameters(self) -> set[int]:
    """Returns the numbers of the arguments whose memory results are put in."""
    header = self._text.split('\n', 1)[0]
    _, found, aliases = header.partition('input_output_alias={')
    aliases = aliases.split('entry_computation_layout', 1)[0]
    return {int(n) for n in _ALIAS.findall(aliases)} if found else set()

  def collectives(self) -> list[Collective]:
    """Returns what a step sends, in the program's order."""
    found = []
    for instruction, times in self.step:
      inner = [instruction]
      if instruction.opcode == 'fusion':
        inner = self._computations[instruction.callees[0]]
      for sent in inner:
        if _is_collective(sent.opcode):
          kind = sent.opcode.removesuffix('-start')
          size = sum(count_bytes(self._arrays[x]) for x in sent.operands)
          found.append(Collective(kind, times, size))
    return found

  def host_transfers(self) -> list[str]:
    """Returns what in a step waits for the host, or sends to it."""
    found = []
    for instruction, _ in self.step:
      target = _TARGET.search(instruction.rest)
      if instruction.opcode in _TO_HOST:
        found.append(instruction.opcode)
      elif target and 'callback' in target[1]:
        found.append(target[1])
    return found

  def kernels(self) -> dict[str, int]:
    """Returns how many kernels of each kind a step starts.

    Sums of single numbers, which TPUs leave to a processor of their own, are
    none.
    """
    counts: dict[str, int] = {}
    for instruction, times in self.step:
      kind = instruction.opcode
      if kind in _FREE or kind.endswith('-done') or _is_collective(kind):
        continue
      if _SCALAR.match(instruction.type) and kind not in _MATTER_AS_SCALARS:
        continue
      if target := _TARGET.search(instruction.rest):
        kind = target[1]
      counts[kind] = counts.get(kind, 0) + times
    return counts

  def flops(self) -> int:
    """Returns the operations of a step's products and convolutions.

    A multiplication and an addition are two. What is done element by element
    is not counted, nor what meets a convolution's padding.
    """
    return sum(times * self._flops_of(of) for of, times in self.step)

  def _flops_of(self, of: Instruction) -> int:
    if of.opcode in ('convolution', 'custom-call', 'dot'):
      result = read_shape(of.type)
      operands = [read_shape(self._arrays[name]) for name in of.operands]
      if labels := _DIM_LABELS.search(of.rest):
        return _convolution_flops(of.rest, labels, [*operands[:2], result])
      if contracted := _CONTRACTED.search(of.rest):
        numbers = map(int, _BITS.findall(contracted[1]))
        return (
          2 * math.prod(result) * math.prod(operands[0][i] for i in numbers)
        )
    inner = (i for name in of.callees for i in self._computations[name])
    return sum(map(self._flops_of, inner))

  def bytes_moved(self) -> int:
    """Returns the bytes of main memory that a step's kernels read and write.

    Each kernel reads its arguments and writes its result; of what it takes a
    slice of it reads the slice. Caches may do better.
    """
    return sum(
      times * self._moved_by(instruction) for instruction, times in self.step
    )

  def _moved_by(self, of: Instruction) -> int:
    kind = of.opcode
    if kind in _FREE or _is_collective(kind.removesuffix('-done')):
      return 0
    if kind == 'fusion':
      inner = self._computations[of.callees[0]]
      return self._read_inside(of, inner) + self._written_inside(of, inner)
    read = sum(self._size(name) for name in of.operands)
    written = self._size(of.name)
    if kind.endswith('-start'):
      is_slice = kind.removesuffix('-start') in _SLICES
      return min(read, count_bytes(_result_of(of))) if is_slice else read
    if kind.endswith('-done'):
      return written
    if kind in _SLICES:
      return 2 * written
    if kind == 'dynamic-update-slice':
      return 2 * self._size(of.operands[1])
    return read + written

  def _read_inside(self, of: Instruction, inner: Sequence[Instruction]) -> int:
    """What a fusion reads of its arguments."""
    total = 0
    for parameter in inner:
      if parameter.opcode != 'parameter':
        continue
      argument = of.operands[int(parameter.rest.split(')', 1)[0])]
      whole = self._size(argument)
      users = [user for user in inner if parameter.name in user.operands]
      read = sum(_read_by(user, parameter.name, whole) for user in users)
      total += min(whole, read)
    return total

  def _written_inside(
    self, of: Instruction, inner: Sequence[Instruction]
  ) -> int:
    """What a fusion writes of its result."""
    root = next(instruction for instruction in inner if instruction.is_root)
    if root.opcode == 'dynamic-update-slice' and self._size(of.name):
      return count_bytes(self._arrays[root.operands[1]])
    return self._size(of.name)

  def _size(self, name: str) -> int:
    """Bytes in main memory."""
    return count_bytes(self._arrays[name], self._on_chip)


def _read_by(user: Instruction, argument: str, whole: int) -> int:
  """What an instruction reads of an argument that has so many bytes."""
  if user.operands[0] == argument:
    if user.opcode in _SLICES:
      return count_bytes(user.type)
    if user.opcode == 'dynamic-update-slice':
      return 0  # It is written into.
  return whole


def _is_collective(opcode: str) -> bool:
  return opcode.removesuffix('-start') in _COLLECTIVES


def _convolution_flops(
  rest: str, labels: re.Match[str], shapes: Sequence[tuple[int, ...]]
) -> int:
  """Returns the operations of a convolution, or of a gradient of one.

  Args:
    rest: what follows the operands.
    labels: of the dimensions of images, kernel and result.
    shapes: of the two operands and the result.
  """
  images, kernel, result = shapes
  # cuDNN's gradients have the window and the labels of the convolution.
  if '__cudnn$convBackwardFilter' in rest:
    kernel, result = result, kernel
  elif '__cudnn$convBackwardInput' in rest:
    images, result = result, images
  of_images, of_kernel, of_result = labels.groups()
  window = _WINDOW.search(rest)
  fields = dict(x.split('=') for x in window[1].split()) if window else {}
  split = {name: text.split('x') for name, text in fields.items()}
  total = 2 * result[of_result.index('b')]
  total *= kernel[of_kernel.index('i')] * kernel[of_kernel.index('o')]
  for i, taps in enumerate(split.get('size', ())):
    total *= _count_pairs(
      images[of_images.index(str(i))],
      int(taps),
      result[of_result.index(str(i))],
      {name: texts[i] for name, texts in split.items()},
    )
  return total


def _count_pairs(
  size: int, taps: int, results: int, window: Mapping[str, str]
) -> int:
  """Returns how often a tap meets an input, along one dimension."""
  step = int(window.get('stride', 1))
  before = int(window.get('pad', '0_0').split('_')[0])
  gap, apart = (int(window.get(f'{x}_dilate', 1)) for x in ('lhs', 'rhs'))
  met = (
    i * step + tap * apart - before
    for i in range(results)
    for tap in range(taps)
  )
  return sum(0 <= at <= (size - 1) * gap and at % gap == 0 for at in met)


def read_shape(type_text: str) -> tuple[int, ...]:
  """Returns the shape of an array, or of the first of a tuple of arrays."""
  found = _ARRAY.search(type_text)
  return tuple(map(int, _BITS.findall(found[2]))) if found else ()


def count_bytes(type_text: str, unless: str | None = None) -> int:
  """Returns the bytes of an array, or of a tuple of arrays.

  Args:
    type_text: as XLA prints it, such as `(f32[2,3]{1,0}, s32[])`.
    unless: arrays that have this in their layout do not count.
  """
  total = 0
  for kind, shape, layout in _ARRAY.findall(type_text):
    if kind == 'token' or (unless and unless in layout):
      continue
    bits = _BITS.search(kind)
    size = int(bits[0]) / 8 if bits else 1  # pred is a byte.
    shape = shape.replace('<=', '')
    total += math.ceil(size * math.prod(int(n) for n in shape.split(',') if n))
  return total


def _result_of(start: Instruction) -> str:
  """Returns the type of what is begun, as `((operands), result, context)` has.

  Args:
    start: begins what runs beside other instructions.
  """
  inner = start.type.removeprefix('((')
  found = _ARRAY.search(inner, _closing(inner))
  return found[0] if found else ''


def _of(names: str) -> list[str]:
  return _NAME.findall(names)


def _parse(text: str) -> tuple[Mapping[str, list[Instruction]], str]:
  """Returns all computations by name, and the name of the first to run."""
  computations: dict[str, list[Instruction]] = {}
  entry, current = '', []
  for line in text.splitlines():
    if header := _HEADER.match(line):
      current = computations.setdefault(header[2], [])
      entry = header[2] if header[1] else entry
    elif found := _INSTRUCTION.match(line):
      root, name, result, opcode, rest = found.groups()
      end = _closing(rest)
      operands = [] if opcode == 'constant' else _of(rest[:end])
      current.append(
        Instruction(name, opcode, result, operands, rest, bool(root))
      )
  return computations, entry


def _closing(text: str) -> int:
  """Where the parenthesis closes that is open as the text begins."""
  depth = 1
  for i, character in enumerate(text):
    depth += (character == '(') - (character == ')')
    if not depth:
      return i
  return len(text)
