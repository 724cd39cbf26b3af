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
"""Machines to compile for, which need not be here.

What is known of each kind of device, with its sources, lies in `targets/`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib.util
import math
import os
import pathlib
import re
import tomllib
from typing import Any

from jaxline_harness import errors

_FOLDER = pathlib.Path(__file__).parent / 'targets'
_LAYOUT = re.compile(r'\d{1,4}(x\d{1,4}){0,2}')
_MAX_DEVICES = 1024
_TPU_HOST = (2, 2, 1)  # Chips of a host, which a smaller slice has fewer of.
# What libtpu would else ask the metadata server of Google's cloud for; and that
# it need not wait for a process that has it, too.
_TPU_ENVIRONMENT = {
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_WORKER_ID': '0',
}


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of device.

  Attributes:
    description: what it is.
    platform: that JAX lowers for.
    memory_bytes: of a device.
    usable_share: of its memory.
    memory_bandwidth: bytes a second.
    link_bandwidth: bytes a second that a device sends to others.
    flops: operations a second of dense products, by type.
    sources: where these are stated.
    target_config: of a GPU, for XLA's compiler.
    topology_options: of a TPU, for libtpu.
  """

  description: str
  platform: str
  memory_bytes: int
  usable_share: float
  memory_bandwidth: float
  link_bandwidth: float
  flops: Mapping[str, float]
  sources: Sequence[str]
  target_config: str = ''
  topology_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Target:
  """Devices to compile for.

  Attributes:
    name: as it was given, such as 'h100:8'.
    shape: hosts and GPUs of each, or the chips along each axis of a torus.
    kind: of all devices; None for this machine's CPU.
  """

  name: str
  shape: tuple[int, ...]
  kind: Kind | None

  @property
  def num_devices(self) -> int:
    return math.prod(self.shape)

  @property
  def platform(self) -> str:
    return 'cpu' if self.kind is None else self.kind.platform


def list_kinds() -> list[str]:
  """Returns the names of all kinds of devices; cpu is this machine's."""
  return sorted(['cpu', *(path.stem for path in _FOLDER.glob('*.toml'))])


def read_target(text: str) -> Target:
  """Reads `KIND` or `KIND:LAYOUT`.

  Args:
    text: the layout is a number of devices, `HOSTSxGPUS`, or the chips along
      the axes of a TPU's torus, `4x4` or `2x2x4`; by default one device.

  Returns:
    The target.

  Raises:
    errors.UserError: for an unknown kind or layout.
  """
  name, _, layout = text.partition(':')
  kinds = list_kinds()
  if name not in kinds:
    raise errors.UserError(
      f'--target={text}: {name!r} is no kind of device'
      f'{errors.did_you_mean(name, kinds) or "."} There are '
      f'{", ".join(kinds)}; h100:8, h100:2x8 and v5e:4x4 are several'
    )
  if layout and not _LAYOUT.fullmatch(layout):
    raise errors.UserError(
      f'--target={text}: after the colon stands a number of devices, or '
      'numbers of them such as 2x8'
    )
  shape = tuple(int(n) for n in layout.split('x')) if layout else (1,)
  if not 1 <= math.prod(shape) <= _MAX_DEVICES:
    raise errors.UserError(
      f'--target={text}: that is not 1 to {_MAX_DEVICES} devices'
    )
  kind = None
  if name != 'cpu':
    fields = tomllib.loads((_FOLDER / f'{name}.toml').read_text())
    kind = Kind(**fields)
  return Target(text, shape, kind)


def describe_devices(target: Target) -> Sequence[Any]:
  """Returns devices that JAX can compile for.

  Args:
    target: which.

  Raises:
    errors.UserError: if the compiler for them is not installed, or does not
      know such a layout.
  """
  import jax  # pylint: disable=g-import-not-at-top

  if target.kind is None:
    return jax.devices()[: target.num_devices]
  make = {'cuda': _describe_gpus, 'tpu': _describe_tpus}[target.platform]
  try:
    return make(target, target.kind)
  except errors.UserError:
    raise
  except (RuntimeError, ValueError) as error:  # JaxRuntimeError is one.
    raise errors.UserError(
      f'--target={target.name}: {errors.one_line(error, 300)}'
    ) from error


def _describe_gpus(target: Target, kind: Kind) -> Sequence[Any]:
  from jax.experimental import topologies  # pylint: disable=g-import-not-at-top

  if importlib.util.find_spec('jax_cuda13_plugin') is None:
    with errors.require_extra('cuda12', f'--target={target.name}'):
      importlib.import_module('jax_cuda12_plugin')
  # The plugin looks for a driver, without which it compiles as well.
  os.environ.setdefault('JAX_SKIP_CUDA_CONSTRAINTS_CHECK', '1')
  *hosts, gpus = target.shape
  topology = topologies.get_topology_desc(
    platform='cuda',
    topology=f'{math.prod(hosts)}x1x{gpus}',
    target_config=kind.target_config,
  )
  return topology.devices


def _describe_tpus(target: Target, kind: Kind) -> Sequence[Any]:
  from jax.experimental import topologies  # pylint: disable=g-import-not-at-top

  with errors.require_extra('tpu', f'--target={target.name}'):
    importlib.import_module('libtpu')
  for name, value in _TPU_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  shape = (*target.shape, 1, 1)[:3]
  topology = topologies.get_topology_desc(
    platform='tpu',
    topology_name=f'{target.name.split(":")[0]}:{"x".join(map(str, shape))}',
    chips_per_host_bounds=tuple(map(min, shape, _TPU_HOST)),
    **kind.topology_options,
  )
  return topology.devices
