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
"""The GANs' training program, for machines that are not here.

Lowering needs nothing; where the compilers are installed it is compiled.
"""

import importlib.util
import re

import jax
import pytest

from jaxline_harness import compile_for
from jaxline_harness import device_mesh
from jaxline_harness import machines
from jaxline_harness import program_text
from tests.dd_two_player_games import small_experiments

COMPILERS = {'h100:2': 'jax_cuda12_plugin', 'v5e:2x1': 'libtpu'}


@pytest.fixture(scope='module')
def images():
  """Spectral norm, batch norm, both players' interaction terms cancelled."""
  return small_experiments.make(small_experiments.images_config())


@pytest.mark.slow
@pytest.mark.optimised
def test_it_is_donated_and_stays_on_the_devices():
  cancelled = small_experiments.SIMULTANEOUS | small_experiments.CANCEL
  points = small_experiments.make(small_experiments.points_config(cancelled))
  mesh = device_mesh.make_mesh(jax.local_devices()[:2])
  compiled = points.lower_chunk(mesh).compile()
  program = program_text.Program(compiled.as_text())
  state = points.abstract_train_state()
  assert program.aliased_parameters() == set(range(len(jax.tree.leaves(state))))
  assert not program.host_transfers()
  # Of each player for the other's product, of all at last, and of the logs.
  assert len(program.collectives()) <= 4
  sent = sum(c.num_bytes for c in program.collectives())
  gradients = sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))
  # A regularised step sends two gradients of each player, and what it logs.
  assert 2 * gradients < sent < 3 * gradients


def test_seeds_share_the_program_of_the_initial_state():
  first, other = (
    small_experiments.make(small_experiments.points_config(random_seed=seed))
    for seed in (0, 1)
  )
  key, other_key = first.initial_arguments(), other.initial_arguments()
  assert (key[0] != other_key[0]).any()
  first, other = (
    jax.jit(made.initial_train_state).lower(*key).as_text()
    for made in (first, other)
  )
  assert first == other


@pytest.mark.parametrize(
  ('target', 'precision'), [('h100:2', 'highest'), ('v5e:2x1', None)]
)
def test_for_other_platforms(images, target, precision):
  """The CPU's convolutions and random numbers are not in it."""
  name, target = target, machines.read_target(target)
  mesh = device_mesh.make_mesh(jax.local_devices()[:2])
  with jax.default_matmul_precision(precision):
    text = images.lower_chunk(mesh, target.platform).as_text()
  assert 'stablehlo.convolution' in text
  assert 'stablehlo.all_reduce' in text
  # The CPU's numbers are drawn in one long function without a loop.
  assert 'threefry2x32' in text
  # Spectral norm's products are of float32 always, others where it is wanted.
  products = re.findall(r'stablehlo\.(?:convolution|dot_general).*', text)
  in_float32 = ['HIGHEST' in line for line in products]
  assert any(in_float32)
  assert all(in_float32) == (precision == 'highest')
  if importlib.util.find_spec(COMPILERS[name]) is None:
    return
  devices = machines.describe_devices(target)
  needs = compile_for.compile_training(images, target, devices)
  assert not needs.program.host_transfers()
  assert needs.memory_bytes < target.kind.memory_bytes
