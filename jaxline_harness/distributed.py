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
"""Several processes as one training: they meet, watch each other and part.

Process 0 listens at the coordinator's address until all others have connected.
It compares what they were started with, chooses a port for
`jax.distributed.initialize` and tells everybody. The connections stay open: the
operating system closes those of a process that dies, so that the others notice
within a second, and those to a host that no longer answers after half a minute.
JAX's own service would notice, too, but only by missed heartbeats, and then
aborts; it remains as the last resort, for a process that neither works nor
ends.

`exchange` lets them agree on what the host decides: when to stop, what to
restore. Unlike a collective on the devices it compiles nothing and waits as
long as need be (those of Gloo, on CPUs, give up after 30 seconds).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any, NamedTuple, NoReturn

from jaxline_harness import errors

AUTO = 'auto'  # The --coordinator that lets JAX find out.

# For all processes to arrive: hosts of a cluster start at different times.
START_SECONDS = 300
# JAX's, for a process that neither works nor ends.
HEARTBEAT_SECONDS = 60
# A host that does not answer counts as dead after 10 + 4 × 5 seconds.
# The last one, in milliseconds, is for what was sent and not received: nothing
# else is asked while such data wait.
_KEEPALIVE = (
  ('KEEPIDLE', 10),
  ('KEEPINTVL', 5),
  ('KEEPCNT', 4),
  ('USER_TIMEOUT', 30_000),
)
_RETRY_SECONDS = 0.5
_HELLO_SECONDS = 10
# How long an error may turn out to be the consequence of another's death.
_GRACE_SECONDS = 3
# How long process 0 outlives its last words: its end is an event for JAX.
_LINGER_SECONDS = 1
_MAX_LINE = 1 << 20


class Cluster(NamedTuple):
  """The processes of one training, as one of them sees them.

  Attributes:
    host: where process 0 runs.
    port: where it listens.
    num_processes: how many there are.
    process_id: which one this is.
    local_device_ids: the host's devices that this process uses; None for all.
  """

  host: str
  port: int
  num_processes: int
  process_id: int
  local_device_ids: Sequence[int] | None = None

  def name(self, process_id: int, host: str) -> str:
    """How messages call a process."""
    return f'process {process_id} of {self.num_processes} ({host})'


def find_cluster(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Cluster | None:
  """Returns the cluster that the command line means, None for none.

  Args:
    coordinator: HOST:PORT or 'auto'.
    num_processes: not with 'auto'.
    process_id: not with 'auto'.

  Raises:
    errors.UserError: if they do not go together or are out of range, or JAX
      does not find what 'auto' asks for.
  """
  numbers = {'--num_processes': num_processes, '--process_id': process_id}
  missing = [name for name, value in numbers.items() if value is None]
  if coordinator is None:
    if len(missing) < len(numbers):
      raise errors.UserError(
        '--num_processes and --process_id need --coordinator=HOST:PORT'
      )
    return None
  if coordinator == AUTO:
    if len(missing) < len(numbers):
      raise errors.UserError(
        '--coordinator=auto finds out --num_processes and --process_id: leave '
        'them out, or give --coordinator=HOST:PORT'
      )
    return _detect()
  if missing:
    raise errors.UserError(f'--coordinator needs {" and ".join(missing)}')
  if num_processes < 1:
    raise errors.UserError(
      f'--num_processes must be at least 1, not {num_processes}'
    )
  if not 0 <= process_id < num_processes:
    raise errors.UserError(
      f'--process_id must be from 0 to {num_processes - 1}, not {process_id}'
    )
  return Cluster(*_split_address(coordinator), num_processes, process_id)


def _split_address(address: str) -> tuple[str, int]:
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
    raise errors.UserError(
      f'--coordinator must be HOST:PORT of process 0, or auto, not {address!r}'
    )
  return host.removeprefix('[').removesuffix(']'), int(port)  # [IPv6]


def _detect() -> Cluster:
  """Asks JAX, which offers no other way than to initialise at once."""
  from jax._src import clusters  # pylint: disable=g-import-not-at-top

  detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
  try:
    address, num_processes, process_id, device_ids = detect(
      coordinator_address=None,
      num_processes=None,
      process_id=None,
      local_device_ids=None,
      cluster_detection_method=None,
      initialization_timeout=START_SECONDS,
    )
  except Exception as error:  # Whatever Kubernetes or a metadata server says.
    raise errors.UserError(f'--coordinator=auto: {error}') from error
  if address is None:
    raise errors.UserError(
      '--coordinator=auto: JAX finds no SLURM step (srun), Open MPI, '
      'Kubernetes job or Cloud TPU here; give --coordinator=HOST:PORT '
      '--num_processes=P --process_id=I, or nothing for a single process'
    )
  host, port = _split_address(address)
  return Cluster(host, port, num_processes, process_id, device_ids)


_group: '_Group | None' = None  # Of which this process is one.


@contextlib.contextmanager
def joined(
  cluster: Cluster | None, settings: Mapping[str, Any]
) -> Iterator[None]:
  """Makes this process one of a cluster's while the context lasts.

  Must be entered before JAX looks for devices. If another process dies or
  fails, this one prints one line that says which, and exits with status 1.

  Args:
    cluster: the cluster; None for a process on its own.
    settings: what all processes must have been started with, by name; JSON.

  Yields:
    Nothing.

  Raises:
    errors.UserError: if the processes do not meet, or differ in `settings`.
  """
  if cluster is None:
    yield
    return
  global _group
  group, jax_port = _meet(cluster, settings)
  _group = group
  try:
    _initialize_jax(cluster, jax_port)
    yield
  except Exception as error:
    if not isinstance(error, errors.UserError | errors.TrainingError):
      # It may be a collective that lost a peer; then the watch ends this.
      time.sleep(_GRACE_SECONDS)
    group.fail(error)
    raise
  finally:
    _group = None
  group.leave()


def exchange(value: Any) -> list[Any]:
  """Gives all processes everyone's value; waits for all.

  Args:
    value: JSON. All processes must call this the same number of times.

  Returns:
    The values in the order of the processes; only one for a process on its own.
  """
  return [value] if _group is None else _group.exchange(value)


def is_active() -> bool:
  """Returns whether this process is one of a cluster's."""
  jax = sys.modules.get('jax')
  return jax is not None and jax.distributed.is_initialized()


def leave_at_once(status: int) -> NoReturn:
  """Exits without JAX's exit barrier, which would wait for the others."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)  # pylint: disable=protected-access


def _initialize_jax(cluster: Cluster, port: int) -> None:
  import jax  # pylint: disable=g-import-not-at-top

  # It takes SIGTERM for itself; `signals` and `train_loop` do what it is for.
  jax.config.update('jax_enable_preemption_service', False)
  host = f'[{cluster.host}]' if ':' in cluster.host else cluster.host
  jax.distributed.initialize(
    f'{host}:{port}',
    cluster.num_processes,
    cluster.process_id,
    cluster.local_device_ids,
    cluster_detection_method='deactivate',
    initialization_timeout=START_SECONDS,
    heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
  )


# Connections.


class _Line:
  """A connection that carries JSON objects, one a line."""

  def __init__(self, connection: socket.socket):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
      if hasattr(socket, f'TCP_{name}'):
        option = getattr(socket, f'TCP_{name}')
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    self._connection = connection
    self._file = connection.makefile('rb')

  def send(self, message: Mapping[str, Any]) -> None:
    """Sends a message; one that nobody can receive any more is dropped."""
    with contextlib.suppress(OSError):
      self._connection.sendall(json.dumps(message).encode() + b'\n')

  def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
    """Returns the next message, or None if none will come (in time)."""
    self._connection.settimeout(timeout)
    try:
      message = json.loads(self._file.readline(_MAX_LINE))
    except (OSError, ValueError):
      return None
    return message if isinstance(message, dict) else None

  def close(self) -> None:
    self._file.close()
    self._connection.close()


class _Group:
  """The lines to the other processes, each watched by a thread."""

  def __init__(self, cluster: Cluster, lines: Mapping[str, _Line]):
    """Begins to watch.

    Args:
      cluster: the cluster.
      lines: maps names of processes to the lines to them: in process 0 all
        others, in their order; in the others only process 0.
    """
    self._is_first = cluster.process_id == 0
    self._me = cluster.name(cluster.process_id, socket.gethostname())
    self._lines = lines
    self._values = {name: queue.SimpleQueue() for name in lines}
    self._ends = threading.Lock()  # Held for ever by who ends this process.
    for name, line in lines.items():
      threading.Thread(
        target=self._watch, args=(name, line), name=name, daemon=True
      ).start()

  def exchange(self, value: Any) -> list[Any]:
    """See the function `exchange`."""
    if not self._is_first:
      self._send_all({'value': value})
      (values,) = self._values.values()
      return values.get()
    everyone = [value, *(values.get() for values in self._values.values())]
    self._send_all({'value': everyone})
    return everyone

  def fail(self, error: Exception) -> None:
    """Tells the others that this process ends because of an error."""
    self._ends.acquire()
    self._tell(f'{self._me} failed: {errors.one_line(error)}')

  def leave(self) -> None:
    """Tells the others that this process has done its work."""
    self._ends.acquire()
    self._send_all({'left': True})

  def _watch(self, name: str, line: _Line) -> None:
    while message := line.receive():
      if 'failed' in message:
        self._end(message['failed'])
      if 'left' in message:
        return
      self._values[name].put(message['value'])
    self._end(f'{name} died')

  def _end(self, reason: str) -> None:
    self._ends.acquire()
    print(
      f'error: {reason}; all processes end, and go on from the newest '
      'checkpoint when started again',
      file=sys.stderr,
      flush=True,
    )
    self._tell(reason)
    leave_at_once(1)

  def _tell(self, reason: str) -> None:
    self._send_all({'failed': reason})
    if self._is_first:
      time.sleep(_LINGER_SECONDS)

  def _send_all(self, message: Mapping[str, Any]) -> None:
    for line in self._lines.values():
      line.send(message)


# The meeting.


class _Hello(NamedTuple):
  """What a process says of itself to process 0."""

  process_id: int
  num_processes: int
  host: str
  settings: dict[str, Any]


def _read_hello(line: _Line) -> _Hello | None:
  """Returns what a process says first; None if it is not one of ours."""
  message = line.receive(_HELLO_SECONDS) or {}
  hello = _Hello(*(message.get(field) for field in _Hello._fields))
  return hello if all(map(isinstance, hello, (int, int, str, dict))) else None


def _meet(cluster: Cluster, settings: Mapping[str, Any]) -> tuple[_Group, int]:
  """Waits for all processes; returns the group and a port for JAX."""
  deadline = time.monotonic() + START_SECONDS
  if cluster.process_id == 0:
    lines = _gather(cluster, settings, deadline)
    port = _free_port()
    for line in lines.values():
      line.send({'start': port})
  else:
    line = _connect(cluster, deadline)
    hello = _Hello(
      cluster.process_id,
      cluster.num_processes,
      socket.gethostname(),
      dict(settings),
    )
    line.send(hello._asdict())
    answer = line.receive(max(1.0, deadline - time.monotonic())) or {}
    if 'start' not in answer:
      where = f'process 0 at {cluster.host}:{cluster.port}'
      raise errors.UserError(
        answer.get('refused', f'{where} ended before the others had come')
      )
    lines, port = {cluster.name(0, cluster.host): line}, answer['start']
  return _Group(cluster, lines), port


def _connect(cluster: Cluster, deadline: float) -> _Line:
  while True:
    try:
      return _Line(
        socket.create_connection((cluster.host, cluster.port), _HELLO_SECONDS)
      )
    except OSError as error:
      if time.monotonic() > deadline:
        raise errors.UserError(
          f'--coordinator: no process 0 at {cluster.host}:{cluster.port} '
          f'within {START_SECONDS} seconds ({error})'
        ) from error
    time.sleep(_RETRY_SECONDS)


def _gather(
  cluster: Cluster, settings: Mapping[str, Any], deadline: float
) -> dict[str, _Line]:
  """Waits for processes 1, 2, ... to connect to process 0."""
  members: dict[int, tuple[str, _Line]] = {}
  with _listen(cluster.port) as server:
    while len(members) < cluster.num_processes - 1:
      server.settimeout(max(0.0, deadline - time.monotonic()))
      try:
        line = _Line(server.accept()[0])
      except (TimeoutError, BlockingIOError) as error:
        missing = set(range(1, cluster.num_processes)) - members.keys()
        reason = (
          f'of {cluster.num_processes} processes these did not come within '
          f'{START_SECONDS} seconds: {", ".join(map(str, sorted(missing)))}'
        )
        _refuse((line for _, line in members.values()), reason, error)
      hello = _read_hello(line)
      if hello is None:
        line.close()
        continue
      difference = _difference(cluster, settings, hello)
      if difference:
        lines = [line for _, line in members.values()]
        _refuse([*lines, line], difference)
      i = hello.process_id
      if i in members:  # It was started again, or twice.
        earlier = members[i][1]
        earlier.send({'refused': f'another process came as --process_id={i}'})
        earlier.close()
      members[i] = hello.host, line
  return {
    cluster.name(i, host): line for i, (host, line) in sorted(members.items())
  }


def _refuse(
  lines: Iterable[_Line], reason: str, cause: Exception | None = None
) -> NoReturn:
  for line in lines:
    line.send({'refused': reason})
  raise errors.UserError(reason) from cause


def _difference(
  cluster: Cluster, settings: Mapping[str, Any], hello: _Hello
) -> str:
  """Says why a process does not belong to process 0; '' if it does."""
  who = f'process {hello.process_id} ({hello.host})'
  if hello.num_processes != cluster.num_processes:
    return (
      f'--num_processes is {cluster.num_processes} in process 0 and '
      f'{hello.num_processes} in {who}'
    )
  if not 0 < hello.process_id < cluster.num_processes:
    return f'another process came as --process_id={hello.process_id}'
  for name in sorted(settings.keys() | hello.settings.keys()):
    own, other = (
      json.dumps(values.get(name)) for values in (settings, hello.settings)
    )
    if own != other:
      return (
        f'{name} is {own} in process 0 and {other} in {who}: start all with '
        'the same config and versions'
      )
  return ''


def _listen(port: int) -> socket.socket:
  """Listens at a port of all of this host's addresses."""
  try:
    if socket.has_dualstack_ipv6():
      return socket.create_server(
        ('', port), family=socket.AF_INET6, dualstack_ipv6=True
      )
    return socket.create_server(('', port))
  except OSError as error:
    raise errors.UserError(
      f'--coordinator: process 0 cannot listen at port {port} of this host '
      f'({error.strerror})'
    ) from error


def _free_port() -> int:
  with socket.create_server(('', 0)) as server:
    return server.getsockname()[1]
