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
"""Which processes there are, and how they start JAX together.

What jaxlib 0.10 lacks for that is mended here, and nowhere else.
"""

from collections.abc import Callable
import contextlib
import ctypes
import functools
import ipaddress
import os
import re
import socket
from typing import Any, NamedTuple

from jaxline_harness import errors

AUTO = 'auto'  # The --coordinator that lets JAX find out.

# For all processes to arrive: hosts of a cluster start at different times.
START_SECONDS = 300
# A process that sends none for so long counts as dead.
HEARTBEAT_SECONDS = 20
# Settings of JAX and XLA that change no number.
_HARMLESS = re.compile(
  'cache|dump|log|debug|explain|traceback|pprint|profile|pgle|guard|proxy|dir|'
  'address|timeout|visible_devices|num_cpu_devices|device_count|binary'
)
_NUMERIC_VARIABLES = ('LIBTPU_INIT_ARGS', 'NVIDIA_TF32_OVERRIDE')


class Cluster(NamedTuple):
  """The processes of one training, as the command line names them.

  Attributes:
    address: HOST:PORT of process 0, which listens there. None lets JAX find
      out all three.
    num_processes: how many there are.
    process_id: which one this is.
  """

  address: str | None
  num_processes: int | None
  process_id: int | None


def find_cluster(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Cluster | None:
  """Returns the cluster that the command line means, None for none.

  Args:
    coordinator: HOST:PORT or 'auto'.
    num_processes: not with 'auto'.
    process_id: not with 'auto'.

  Raises:
    errors.UserError: if they do not go together or are out of range.
  """
  numbers = {'--num_processes': num_processes, '--process_id': process_id}
  missing = [name for name, value in numbers.items() if value is None]
  if coordinator is None or coordinator == AUTO:
    if len(missing) < len(numbers):
      raise errors.UserError(
        '--num_processes and --process_id need --coordinator=HOST:PORT; leave '
        'them out with auto, which finds them out'
      )
    return Cluster(None, None, None) if coordinator else None
  if num_processes is None or process_id is None:
    raise errors.UserError(f'--coordinator needs {" and ".join(missing)}')
  if num_processes < 1:
    raise errors.UserError(
      f'--num_processes must be at least 1, not {num_processes}'
    )
  if not 0 <= process_id < num_processes:
    raise errors.UserError(
      f'--process_id must be from 0 to {num_processes - 1}, not {process_id}'
    )
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
    raise errors.UserError(
      f'--coordinator must be HOST:PORT of process 0, or auto, not '
      f'{coordinator!r}'
    )
  return Cluster(coordinator, num_processes, process_id)


def list_numeric_settings() -> dict[str, str]:
  """Returns the settings of JAX and XLA by which numbers may differ."""
  import jax  # pylint: disable=g-import-not-at-top

  names = (name for name in jax.config.values if not _HARMLESS.search(name))
  flags = os.environ.get('XLA_FLAGS', '').split()
  return {
    **{name.upper(): str(jax.config.values[name]) for name in names},
    **{name: os.environ.get(name, '') for name in _NUMERIC_VARIABLES},
    'XLA_FLAGS': ' '.join(sorted(f for f in flags if not _HARMLESS.search(f))),
  }


def initialize_jax(cluster: Cluster, on_loss: Callable[..., None]) -> None:
  """Waits for all processes; `on_loss` is called when process 0 is lost."""
  import jax  # pylint: disable=g-import-not-at-top
  from jax._src.lib import _jax  # pylint: disable=g-import-not-at-top
  from jax._src.lib import utils  # pylint: disable=g-import-not-at-top

  # It takes SIGTERM for itself; `signals` and `train_loop` do what it is for.
  jax.config.update('jax_enable_preemption_service', False)
  # Otherwise each process that loses another one aborts with a trace of C++.
  jax.config.update('jax_enable_recoverability', True)
  utils.absl_set_min_log_level(3)  # Nor does C++ speak of it.
  _end_by(on_loss)
  bind_address = _choose_bind_address(cluster)
  make_client = _jax.get_distributed_runtime_client
  _jax.get_distributed_runtime_client = functools.partial(
    make_client, missed_heartbeat_callback=on_loss
  )
  try:
    jax.distributed.initialize(
      cluster.address,
      cluster.num_processes,
      cluster.process_id,
      cluster_detection_method='deactivate' if cluster.address else None,
      coordinator_bind_address=bind_address,
      initialization_timeout=START_SECONDS,
      heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
  # Whatever Kubernetes, a metadata server or gRPC says.
  except Exception as error:
    raise errors.UserError(_explain(cluster, error)) from error
  finally:
    _jax.get_distributed_runtime_client = make_client


def _choose_bind_address(cluster: Cluster) -> str | None:
  """Where process 0 is to listen; None for all addresses of its host."""
  if cluster.address is None or cluster.process_id != 0:
    return None
  host, _, port = cluster.address.rpartition(':')
  host = host.removeprefix('[').removesuffix(']')  # [IPv6]
  is_local = host == 'localhost'
  with contextlib.suppress(ValueError):
    is_local = ipaddress.ip_address(host).is_loopback
  # gRPC itself would share the port with another training's process 0.
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  with socket.socket(family) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind((host if is_local else '', int(port)))
    except OSError as error:
      raise errors.UserError(
        f'--coordinator: process 0 cannot listen at port {port} of this host '
        f'({error.strerror})'
      ) from error
  return cluster.address if is_local else None


def _explain(cluster: Cluster, error: Exception) -> str:
  if cluster.address is None:
    return (
      f'--coordinator=auto: {errors.one_line(error)}; give --coordinator='
      'HOST:PORT --num_processes=P --process_id=I, or nothing for one process'
    )
  return (
    f'--coordinator: {cluster.num_processes} processes did not meet at '
    f'{cluster.address} within {START_SECONDS} seconds: start all with the '
    'same --num_processes, and each with its own --process_id below that'
  )


def _end_by(on_loss: Callable[..., None]) -> None:
  """Has C++ call a function where jaxlib would abort for a lost process 0.

  jaxlib can call no Python with a status: it throws `std::bad_cast` in a
  thread of its own, which ends the process.
  """
  try:
    library = ctypes.CDLL('libstdc++.so.6')
    set_terminate = library._ZSt13set_terminatePFvvE
    get_type = getattr(library, '__cxa_current_exception_type')
  except (OSError, AttributeError):
    return  # Then it aborts.
  get_type.restype = ctypes.c_void_p

  @ctypes.CFUNCTYPE(None)
  def on_terminate():
    # The name comes after the pointer to the virtual functions.
    name_address = get_type() + ctypes.sizeof(ctypes.c_void_p)
    if ctypes.c_char_p.from_address(name_address).value == b'St8bad_cast':
      on_loss()

  _callbacks.append(on_terminate)
  set_terminate(on_terminate)


_callbacks: list[Any] = []  # C++ has their addresses.
