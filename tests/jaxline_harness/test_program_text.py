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
"""What is read of a compiled program's text."""

import jax
import jax.numpy as jnp
import pytest

from jaxline_harness import program_text

TEXT = """\
HloModule jit_f, input_output_alias={ {0}: (0, {}, may-alias), \
{1}: (2, {}, may-alias) }, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%take (p0: f32[100,4], p1: s32[]) -> f32[1,4] {
  %p0 = f32[100,4]{1,0:T(8,128)} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = f32[1,4]{1,0} dynamic-slice(%p0, %p1, %zero), \
dynamic_slice_sizes={1,4}
}

%put (q0: f32[100,4], q1: f32[1,4], q2: s32[]) -> f32[100,4] {
  %q0 = f32[100,4]{1,0} parameter(0)
  %q1 = f32[1,4]{1,0} parameter(1)
  %q2 = s32[] parameter(2)
  ROOT %update = f32[100,4]{1,0} dynamic-update-slice(%q0, %q1, %q2, %q2)
}

%inner_body (i0: f32[4]) -> f32[4] {
  %i0 = f32[4]{0} parameter(0)
  ROOT %sent = f32[4]{0} all-reduce(%i0), to_apply=%sum
}

%inner_condition (j0: f32[4]) -> pred[] {
  %j0 = f32[4]{0} parameter(0)
  ROOT %true = pred[] constant(true)
}

%body (s: (f32[100,4], s32[])) -> (f32[100,4], s32[]) {
  %s = (f32[100,4]{1,0}, s32[]) parameter(0)
  %data = f32[100,4]{1,0} get-tuple-element(%s), index=0
  %n = s32[] get-tuple-element(%s), index=1
  %row = f32[1,4]{1,0} fusion(%data, %n), kind=kLoop, calls=%take
  %near = f32[1,4]{1,0:T(1,128)S(1)} copy(%row)
  %flat = f32[4]{0} bitcast(%near)
  %loop = f32[4]{0} while(%flat), condition=%inner_condition, \
body=%inner_body, backend_config={"known_trip_count":{"n":"3"}}
  %start = bf16[2,3]{1,0} all-gather-start(%half), dimensions={0}
  %gathered = bf16[2,3]{1,0} all-gather-done(%start)
  %half = bf16[1,3]{1,0} custom-call(%loop), \
custom_call_target="__cudnn$convForward"
  %told = s32[] custom-call(%half), \
custom_call_target="xla_ffi_python_cpu_callback"
  %more = s32[] add(%n, %told)
  %new = f32[100,4]{1,0} fusion(%data, %row, %n), kind=kLoop, calls=%put
  ROOT %next = (f32[100,4]{1,0}, /*index=1*/s32[]) tuple(%new, %more)
}

%condition (t: (f32[100,4], s32[])) -> pred[] {
  %t = (f32[100,4]{1,0}, s32[]) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (x: f32[100,4], y: s32[], z: s32[]) -> (f32[100,4], s32[]) {
  %x = f32[100,4]{1,0} parameter(0)
  %y = s32[] parameter(1)
  %z = s32[] parameter(2)
  %whole = f32[100,4]{1,0} copy(%x)
  %both = (f32[100,4]{1,0}, s32[]) tuple(%whole, %y)
  ROOT %end = (f32[100,4]{1,0}, s32[]) while(%both), condition=%condition, \
body=%body
}
"""
ROW, NUMBER = 4 * 4, 4


@pytest.fixture
def program():
  return program_text.Program(TEXT)


def test_arguments_whose_memory_is_used_again(program):
  assert program.aliased_parameters() == {0, 2}


def test_collectives_of_a_step(program):
  """The loop within the step makes three turns."""
  assert program.collectives() == [
    program_text.Collective('all-reduce', 3, ROW),
    program_text.Collective('all-gather', 1, 2 * 3),
  ]


def test_what_waits_for_the_host(program):
  assert program.host_transfers() == ['xla_ffi_python_cpu_callback']


def test_kernels_of_a_step(program):
  """Neither what is outside the step, nor sums of single numbers."""
  assert program.kernels() == {
    'fusion': 2,
    'copy': 1,
    '__cudnn$convForward': 1,
    'xla_ffi_python_cpu_callback': 1,
  }


@pytest.mark.parametrize(('on_chip', 'near'), [(None, ROW), (1, 0)])
def test_bytes_that_a_step_moves(on_chip, near):
  """Of what is sliced the slice; on TPUs, only what is in main memory."""
  program = program_text.Program(TEXT, on_chip)
  taken = 2 * ROW + NUMBER
  copied = ROW + near
  convolved = ROW + 2 * 3
  told = 2 * 3 + NUMBER
  counted = 3 * NUMBER
  updated = 2 * ROW + NUMBER
  assert program.bytes_moved() == (
    taken + copied + convolved + told + counted + updated
  )


# From CIFAR's step on a TPU v5e: a weight is put out of the chip and taken back
# in slices; a batch of images is taken from all.
TPU_TEXT = """\
HloModule jit__run_steps

%take (p0: u8[50000,32,32,3], p1: s32[1024]) -> u8[32,32,32,3] {
  %p0 = u8[50000,32,32,3]{2,1,3,0:T(8,128)(4,1)} parameter(0)
  %p1 = s32[1024]{0:T(1024)S(1)} parameter(1)
  ROOT %images = u8[32,32,32,3]{2,1,3,0:T(8,128)(4,1)S(1)} gather(%p0, %p1)
}

ENTRY %main (data: u8[50000,32,32,3]) -> f32[32,8192] {
  %data = u8[50000,32,32,3]{2,1,3,0:T(8,128)(4,1)} parameter(0)
  %numbers = s32[1024]{0:T(1024)S(1)} parameter(1)
  %weight = f32[128,8192]{1,0:T(8,128)S(1)} parameter(2)
  %batch = u8[32,32,32,3]{2,1,3,0:T(8,128)(4,1)S(1)} \
fusion(%data, %numbers), kind=kLoop, calls=%take
  %copy-start = (f32[128,8192]{1,0:T(8,128)}, \
f32[128,8192]{1,0:T(8,128)S(1)}, u32[]{:S(2)}) copy-start(%weight)
  %copy-done = f32[128,8192]{1,0:T(8,128)} copy-done(%copy-start)
  %slice-start = ((f32[128,8192]{1,0:T(8,128)}), \
f32[32,8192]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%copy-done), \
slice={[0:32], [0:8192]}
  ROOT %slice-done = f32[32,8192]{1,0:T(8,128)S(1)} slice-done(%slice-start)
}
"""


def test_bytes_that_a_tpu_moves():
  """Of what it takes slices of it reads these, also beside other work."""
  batch = 32 * 32 * 32 * 3
  put_out, taken_back = 4 * 128 * 8192, 4 * 32 * 8192
  program = program_text.Program(TPU_TEXT, on_chip_space=1)
  assert program.bytes_moved() == batch + put_out + taken_back


# One convolution of 2 images, 3 to 5 channels, as XLA may write it and its
# gradients. Along each dimension 4 times 4 taps meet all but 2 inputs.
IMAGES, KERNEL, RESULT = 'f32[2,8,8,3]', 'f32[5,4,4,3]', 'f32[2,4,4,5]'
OF_CONVOLUTION = 2 * (2 * 3 * 5) * 14**2
WINDOW = 'window={size=4x4 stride=2x2 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f'
CUDNN = WINDOW + ', custom_call_target="__cudnn$conv%s"'


@pytest.mark.parametrize(
  ('opcode', 'operands', 'result', 'rest', 'flops'),
  [
    ('convolution', [IMAGES, KERNEL], RESULT, WINDOW, OF_CONVOLUTION),
    (
      *('custom-call', [IMAGES, KERNEL], f'({RESULT}, u8[0])'),
      *(CUDNN % 'Forward', OF_CONVOLUTION),
    ),
    (
      *('custom-call', [RESULT, KERNEL], f'({IMAGES}, u8[0])'),
      *(CUDNN % 'BackwardInput', OF_CONVOLUTION),
    ),
    (
      *('custom-call', [IMAGES, RESULT], f'({KERNEL}, u8[0])'),
      *(CUDNN % 'BackwardFilter', OF_CONVOLUTION),
    ),
    (
      *('convolution', [RESULT, KERNEL], IMAGES),
      'window={size=4x4 pad=2_2x2_2 lhs_dilate=2x2}, '
      'dim_labels=b01f_i01o->b01f',
      OF_CONVOLUTION,
    ),
    (
      *('convolution', [IMAGES, RESULT], KERNEL),
      'window={size=4x4 pad=1_1x1_1 rhs_dilate=2x2}, '
      'dim_labels=f01b_i01o->f01b',
      OF_CONVOLUTION,
    ),
    (
      *('convolution', ['f32[6,3]', 'f32[3,5]'], 'f32[6,5]'),
      *('dim_labels=bf_io->bf', 2 * 6 * 3 * 5),
    ),
    (
      *('dot', ['f32[7,3,6]', 'f32[7,5,3]'], 'f32[7,6,5]'),
      'lhs_batch_dims={0}, lhs_contracting_dims={1}, rhs_batch_dims={0}, '
      'rhs_contracting_dims={2}',
      2 * 7 * 6 * 3 * 5,
    ),
    (
      *('custom-call', ['f32[6,3]', 'f32[3,5]'], '(f32[6,5], s8[4096])'),
      'custom_call_target="__cublas$gemm", backend_config={'
      '"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],'
      '"rhs_contracting_dimensions":["0"]}}',
      2 * 6 * 3 * 5,
    ),
    ('custom-call', ['f32[6]'], 'f32[6]', 'custom_call_target="Sort"', 0),
    ('add', ['f32[6]', 'f32[6]'], 'f32[6]', '', 0),
  ],
)
def test_operations(opcode, operands, result, rest, flops):
  """Within a fusion, as most are."""
  names = [f'%a{i}' for i in range(len(operands))]
  arguments = '\n'.join(
    f'  {name} = {kind} parameter({i})'
    for i, (name, kind) in enumerate(zip(names, operands, strict=True))
  )
  text = f"""HloModule m

%inner (a: f32[]) -> f32[] {{
{arguments}
  ROOT %made = {result} {opcode}({', '.join(names)}), {rest}
}}

ENTRY %main (x: f32[]) -> f32[] {{
  %x = f32[] parameter(0)
  ROOT %all = {result} fusion(%x), kind=kOutput, calls=%inner
}}
"""
  assert program_text.Program(text).flops() == flops


@pytest.mark.parametrize(
  ('text', 'size'),
  [
    ('f32[2,3]{1,0}', 24),
    ('(bf16[4]{0}, s32[], /*index=2*/pred[5]{0})', 17),
    ('c64[3]', 24),
    ('s4[3]{0}', 2),
    ('f8e4m3fn[7]', 7),
    ('token[]', 0),
  ],
)
def test_bytes_of_arrays(text, size):
  assert program_text.count_bytes(text) == size


def test_a_loop_that_jax_compiles():
  """The step is the body of the loop; it reads and writes x once.

  XLA drops one of its three products, and computes the other two as one.
  """

  def update(_, x):
    dropped = x @ jnp.cos(x)
    return jnp.where(False, dropped, (jnp.sin(x) @ x + jnp.sin(x) @ x) / 2)

  def train(x, last):
    return jax.lax.fori_loop(0, last, update, x)

  shape = jax.ShapeDtypeStruct((32, 32), jnp.float32)
  run = jax.jit(train, donate_argnums=0)
  compiled = run.lower(shape, jax.ShapeDtypeStruct((), jnp.int32)).compile()
  program = program_text.Program(compiled.as_text())
  assert program.aliased_parameters() == {0}
  assert not program.collectives()
  assert not program.host_transfers()
  assert program.flops() == 2 * 32**3
  matrix = 4 * 32 * 32
  # sin reads x and writes, the product reads both and writes; a copy at most.
  assert 5 * matrix <= program.bytes_moved() <= 7 * matrix + 100
