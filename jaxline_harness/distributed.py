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

JAX's coordination service, which runs in process 0, does all of it: it waits
until all processes have come, keeps the values that they exchange, and counts
their heartbeats. What it sees of a death becomes one line and status 1 here.

`exchange` lets them agree on what the host decides: when to stop, what to
restore. Unlike a collective on the devices it compiles nothing and waits as
long as need be (those of Gloo, on CPUs, give up after 30 seconds).
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
from typing import Any, NoReturn

from jaxline_harness import clusters
from jaxline_harness import errors

_POLL_SECONDS = 0.5
# How long the last words of a process can be read.
_LINGER_SECONDS = 2
# How errors of XLA begin, of collectives that have lost a peer among them.
_STATUS = re.compile('[A-Z_]+: ')
# How long an error may turn out to be the consequence of another's death.
_GRACE_SECONDS = 2 * clusters.HEARTBEAT_SECONDS

_session: '_Session | None' = None  # Of which this process is a part.


@contextlib.contextmanager
def joined(
  cluster: clusters.Cluster | None, settings: Mapping[str, Any]
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
  global _session
  _session = session = _Session(cluster)
  try:
    session.compare(settings)
    yield
  except Exception as error:
    session.fail(error)
    raise
  finally:
    _session = None
  session.leave()


def exchange(value: Any) -> list[Any]:
  """Gives all processes everyone's value; waits for all.

  Args:
    value: JSON. All processes must call this the same number of times.

  Returns:
    The values in the order of the processes; only one for a process on its own.
  """
  return [value] if _session is None else _session.exchange(value)


def ask_first_process(question: Callable[[], Any]) -> Any:
  """Gives all processes what a function finds in the first one.

  Args:
    question: finds JSON. All processes must call this, as with `exchange`.

  Returns:
    What it found.

  Raises:
    errors.UserError: if it raised one.
  """
  if _session is None:
    return question()
  found, message = None, None
  if _session.is_first:
    try:
      found = question()
    except errors.UserError as error:
      message = str(error)
  found, message = exchange([found, message])[0]
  if message is not None:
    raise errors.UserError(message)
  return found


def is_active() -> bool:
  """Returns whether this process is one of a cluster's."""
  jax = sys.modules.get('jax')
  return jax is not None and jax.distributed.is_initialized()


def leave_at_once(status: int) -> NoReturn:
  """Exits without JAX's farewell, for which the others would be needed."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)  # pylint: disable=protected-access


class _Session:
  """This process among the others, from the meeting to the end."""

  def __init__(self, cluster: clusters.Cluster):
    """Waits for all processes, and begins to watch them."""
    from jax._src import distributed  # pylint: disable=g-import-not-at-top

    clusters.initialize_jax(cluster, self._end_without_service)
    state = distributed.global_state
    self._client: Any = state.client
    self._id: int = state.process_id
    self.is_first = self._id == 0
    self._ids = list(range(state.num_processes))
    self._names = [f'process {i}' for i in self._ids]
    self._round, self._patience_ms = 0, clusters.START_SECONDS * 1000
    self._ends = threading.Lock()  # Held for ever by who ends this process.
    self._has_left = threading.Event()
    self._watches: list[threading.Thread] = []

  def compare(self, settings: Mapping[str, Any]) -> None:
    """Raises UserError in all processes if one has other settings.

    Otherwise begins to watch the others.
    """
    settings = {**settings, '--num_processes': len(self._ids)}
    wanted = self.exchange(settings if self.is_first else None)[0]
    answers = self.exchange(
      [socket.gethostname(), _find_difference(wanted, settings)]
    )
    self._names = [
      f'process {i} of {len(answers)} ({host})'
      for i, (host, _) in enumerate(answers)
    ]
    for name, (_, difference) in zip(self._names, answers, strict=True):
      if difference:
        raise errors.UserError(
          f'{difference} in {name}: start all with the same config, versions '
          'and settings of JAX'
        )
    self._patience_ms = 1 << 30  # Who dies is noticed.
    for watch in (self._watch_failures, self._watch_deaths):
      thread = threading.Thread(target=watch, name=watch.__name__, daemon=True)
      thread.start()
      self._watches.append(thread)

  def exchange(self, value: Any) -> list[Any]:
    """See the function `exchange`."""
    self._round += 1
    one, all_of_them = f'value/{self._round}', f'values/{self._round}'
    if self._id > 0:
      self._client.key_value_set(f'{one}/{self._id}', json.dumps(value))
      return json.loads(self._wait_for(all_of_them))
    others = (self._wait_for(f'{one}/{i}') for i in self._ids[1:])
    values = [value, *map(json.loads, others)]
    self._client.key_value_set(all_of_them, json.dumps(values))
    # Who has sent a value of this round has read those of the last one.
    self._client.key_value_delete(one)
    self._client.key_value_delete(f'values/{self._round - 1}')
    return values

  def _wait_for(self, key: str) -> str:
    return self._client.blocking_key_value_get(key, self._patience_ms)

  def fail(self, error: Exception) -> None:
    """Tells the others that this process ends because of an error."""
    is_explained = isinstance(error, errors.UserError | errors.TrainingError)
    if not is_explained and _STATUS.match(str(error)):
      time.sleep(_GRACE_SECONDS)  # If it has lost a peer, a watch ends this.
    self._ends.acquire()
    reason = f'{self._names[self._id]} failed: {errors.one_line(error)}'
    with contextlib.suppress(RuntimeError):
      self._client.key_value_set(f'failure/{self._id}', reason)
    time.sleep(_LINGER_SECONDS)

  def leave(self) -> None:
    """Parts from the others when all have done their work."""
    import jax  # pylint: disable=g-import-not-at-top

    self.exchange(None)
    self._has_left.set()
    # Who has gone counts as dead for those who still watch. If one dies now,
    # nothing is lost.
    self._patience_ms = _GRACE_SECONDS * 1000
    with contextlib.suppress(RuntimeError):
      self.exchange(None)
    # JAX's client must not go while they use it. One that waits for the others
    # to ask who lives is answered when they have gone.
    for thread in self._watches:
      thread.join(_GRACE_SECONDS)
    if self.is_first:  # Whose end is an event for the others.
      deadline = time.monotonic() + _GRACE_SECONDS
      while len(self._live()) > 1 and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    jax.distributed.shutdown()

  def _live(self) -> set[int]:
    """Which processes live; waits for those whose hearts beat to ask, too."""
    return set(self._client.get_live_nodes(self._ids))

  def _watch_deaths(self) -> None:
    while not self._has_left.wait(_POLL_SECONDS):
      try:
        dead = set(self._ids) - self._live()
      except RuntimeError:
        dead = {0}
      if dead and not self._has_left.is_set():
        self._end(f'{self._names[min(dead)]} died or does not answer')

  def _watch_failures(self) -> None:
    while not self._has_left.wait(_POLL_SECONDS):
      with contextlib.suppress(RuntimeError):  # That is for the other watch.
        for _, reason in self._client.key_value_dir_get('failure'):
          self._end(reason)

  def _end_without_service(self, *unused_status: Any) -> None:
    self._end(f'{self._names[0]} died or does not answer')

  def _end(self, reason: str) -> NoReturn:
    self._ends.acquire()
    print(
      f'error: {reason}; all processes end, and go on from the newest '
      'checkpoint when started again',
      file=sys.stderr,
      flush=True,
    )
    if self.is_first:  # With it ends the service by which the others hear.
      time.sleep(_LINGER_SECONDS)
    leave_at_once(1)


def _find_difference(
  wanted: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
  """Says which setting is not as it is in process 0; '' if all are."""
  for name in sorted(wanted.keys() | settings.keys()):
    first, own = (json.dumps(all_.get(name)) for all_ in (wanted, settings))
    if first != own:
      return f'{name} is {first} in process 0 and {own}'
  return ''
