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
"""The files of one checkpoint: what they are, and how damage is noticed.

```
<step>/state/         one replica of the TrainState, by Orbax
<step>/metrics.json   the metric's name and value; in the series `best` only
<step>/digests.json   the SHA-256 of each file above
```

All of it is written to a folder `<step>.tmp` that is renamed at the end, so a
process killed at any moment leaves a whole checkpoint or none. What happens to
files later (a flipped bit, a copy cut short, a file deleted by hand) shows in
the digests before anything else reads them. (Orbax's CheckpointManager leaves
no place for that: files that it did not write are not part of its commit.)

No pickle: loading a checkpoint runs no code.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
from typing import Any

from absl import logging
from etils import epath
import jax
import numpy as np
from orbax import checkpoint as ocp

from jaxline_harness import errors
from jaxline_harness import files

_TEMPORARY = '.tmp'
_OLD = '.old.tmp'  # Is being deleted.
_REPLACED = '.replaced.tmp'  # Until the new one is in its place.
_STATE = 'state'
_METRICS = 'metrics.json'
_DIGESTS = 'digests.json'
_SAVE_TIME = 'save_time'
_MAX_DIFFERENCES = 6
_MAX_REASON = 200


class DamagedError(ValueError):
  """A checkpoint is not what was saved; the message says which file."""


def is_step_folder(path: str) -> bool:
  """Returns whether a checkpoint lies there, by its name and what is in it."""
  return os.path.basename(path).isdigit() and any(
    os.path.exists(os.path.join(path, name)) for name in (_STATE, _DIGESTS)
  )


def write(
  path: str, train_state: Any, metrics: Mapping[str, Any] | None = None
) -> None:
  """Writes a checkpoint, in the place of an older one of the same step.

  Args:
    path: the folder of the step.
    train_state: numpy arrays.
    metrics: what `read_metrics` is to return.

  Raises:
    Exception: of many kinds (Orbax's and TensorStore's own), if that fails.
      Then all is as before.
  """
  me = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me)
  )
  temporary = path + _TEMPORARY
  shutil.rmtree(temporary, ignore_errors=True)
  os.makedirs(temporary)
  try:
    with (
      _quiet_orbax(),
      ocp.Checkpointer(
        ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        multiprocessing_options=alone,
      ) as checkpointer,
    ):
      checkpointer.save(
        os.path.join(temporary, _STATE), args=ocp.args.StandardSave(train_state)
      )
    if metrics is not None:
      metrics = {**metrics, _SAVE_TIME: time.time()}
      _write_json(os.path.join(temporary, _METRICS), metrics)
    digests = {name: _digest(temporary, name) for name in _files(temporary)}
    _write_json(os.path.join(temporary, _DIGESTS), digests)
    if is_step_folder(path):
      os.rename(path, path + _REPLACED)
    os.rename(temporary, path)
    files.sync(os.path.dirname(path))
  except BaseException:
    shutil.rmtree(temporary, ignore_errors=True)  # Makes room on a full disk.
    _take_back(path)
    raise
  shutil.rmtree(path + _REPLACED, ignore_errors=True)


def remove(path: str) -> None:
  """Deletes a checkpoint; a process killed in it leaves no half of one."""
  os.rename(path, path + _OLD)
  shutil.rmtree(path + _OLD)


def remove_leftovers(folder: str) -> None:
  """Deletes what killed processes have left in the folder of a series.

  A checkpoint that was to be replaced, but was not yet, is put back.
  """
  for name in os.listdir(folder):
    if name.endswith(_REPLACED):
      _take_back(os.path.join(folder, name.removesuffix(_REPLACED)))
  for name in os.listdir(folder):
    if name.endswith(_TEMPORARY):
      shutil.rmtree(os.path.join(folder, name))


def _take_back(path: str) -> None:
  """Puts back the checkpoint that a new one was to replace."""
  if os.path.isdir(path + _REPLACED) and not os.path.exists(path):
    os.rename(path + _REPLACED, path)


def check(path: str) -> None:
  """Checks that a checkpoint is what was saved.

  Args:
    path: the folder of the step.

  Raises:
    DamagedError: if it is not.
    errors.UserError: if that cannot be told, for lack of permissions.
  """
  digests = _read_json(path, _DIGESTS)
  if not digests:
    raise DamagedError(f'{_DIGESTS} is empty')
  present = set(_files(path))  # Also so that no name leads out of the folder.
  for name, digest in digests.items():
    if name not in present:
      raise DamagedError(f'{name} is missing')
    _check_digest(path, name, digest)


def read(path: str, abstract_state: Any) -> Any:
  """Reads the TrainState of a checkpoint as numpy arrays.

  Args:
    path: the folder of the step.
    abstract_state: shapes and types of the state that the config makes.

  Returns:
    The state.

  Raises:
    errors.UserError: if the two differ in structure, shapes or types (Orbax
      itself would hand back arrays of other shapes without a word), or this
      version of Orbax cannot read it.
  """
  folder = epath.Path(path) / _STATE
  handler = ocp.StandardCheckpointHandler()
  wanted = _array_types(ocp.tree.serialize_tree(abstract_state, True))
  # Arrays without memory: only their shapes and types are read.
  target = jax.tree.map(
    lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), abstract_state
  )
  try:
    with _quiet_orbax():
      saved = _array_types(handler.metadata(folder).tree)
      if saved == wanted:
        return handler.restore(folder, args=ocp.args.StandardRestore(target))
  # What a file of any content makes Orbax raise is not documented.
  except Exception as error:
    raise errors.UserError(
      f'the checkpoint {path} cannot be read: {_in_words(error)}'
    ) from error
  raise errors.UserError(
    f"the checkpoint {path} does not fit this config's networks and "
    f'optimisers: {_describe_differences(saved, wanted)}'
  )


def read_metrics(path: str) -> dict[str, Any]:
  """Returns the metrics that were saved with a checkpoint.

  Raises:
    DamagedError: if that fails.
  """
  digests = _read_json(path, _DIGESTS)
  _check_digest(path, _METRICS, digests.get(_METRICS))
  return _read_json(path, _METRICS)


def save_time(path: str) -> float:
  """Returns when a checkpoint with metrics was saved, infinity if damaged."""
  try:
    return read_metrics(path)[_SAVE_TIME]
  except DamagedError:
    return float('inf')


def reason_of_failed_write(error: Exception) -> str:
  """Returns in a few words why a file could not be written."""
  # TensorStore has its own exceptions, with the system's code in their text.
  match = re.search(r"os_error_code='(\d+)'", str(error))
  code = int(match[1]) if match else getattr(error, 'errno', None)
  if code:
    return os.strerror(code)
  return _in_words(error)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
  """Keeps back what Orbax prints of errors that are handled here.

  With `--verbosity=0` and more it is shown.
  """
  if logging.get_verbosity() >= logging.INFO:
    yield
    return
  is_foreign = lambda record: f'{os.sep}orbax{os.sep}' not in record.pathname
  logger = logging.get_absl_logger()
  logger.addFilter(is_foreign)
  # The first of several errors closes the event loop that TensorStore's threads
  # then call, soon or later: so this hook stays.
  if not isinstance(sys.unraisablehook, _ShowUnraisable):
    sys.unraisablehook = _ShowUnraisable(sys.unraisablehook)
  try:
    yield
  finally:
    logger.removeFilter(is_foreign)


class _ShowUnraisable:
  """`sys.unraisablehook` without the calls of event loops that are closed."""

  def __init__(self, show: Callable[[Any], Any]):
    self._show = show

  def __call__(self, unraisable: Any) -> None:
    if str(unraisable.exc_value) != 'Event loop is closed':
      self._show(unraisable)


def _in_words(error: Exception) -> str:
  return ' '.join(f'{type(error).__name__}: {error}'.split())[:_MAX_REASON]


def _files(folder: str) -> Iterator[str]:
  """Yields the names of all files below a folder, from there."""
  for parent, _, names in os.walk(folder):
    for name in names:
      yield os.path.relpath(os.path.join(parent, name), folder)


def _digest(folder: str, name: str) -> str:
  with _opening(folder, name) as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def _check_digest(folder: str, name: str, digest: str | None) -> None:
  if _digest(folder, name) != digest:
    raise DamagedError(f'{name} is not what was saved')


def _read_json(path: str, name: str) -> dict[str, Any]:
  with _opening(path, name) as f:
    text = f.read()
  try:
    return dict(json.loads(text))
  except (ValueError, TypeError, RecursionError) as error:
    raise DamagedError(f'{name}: {error}') from error


@contextlib.contextmanager
def _opening(path: str, name: str) -> Iterator[Any]:
  """Opens a file of a checkpoint; errors become those of `check`."""
  try:
    with open(os.path.join(path, name), 'rb') as f:
      yield f
  except PermissionError as error:  # That is no damage.
    raise errors.UserError(
      f'{error.filename}: no permission to read it'
    ) from error
  except OSError as error:
    raise DamagedError(f'{name}: {error.strerror}') from error


def _write_json(path: str, value: Any) -> None:
  files.write_atomically(path, json.dumps(value, indent=2) + '\n')


def _array_types(tree: Any) -> dict[str, str]:
  """Maps the path of each array to its type and shape, as text."""
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): (
      f'{np.dtype(leaf.dtype)}{list(leaf.shape)}'
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _describe_differences(saved: dict[str, str], wanted: dict[str, str]) -> str:
  differences = [
    f'{name}: {saved.get(name, "absent")} in the checkpoint, '
    f'{wanted.get(name, "absent")} by the config'
    for name in sorted(saved.keys() | wanted.keys())
    if saved.get(name) != wanted.get(name)
  ]
  shown = '; '.join(differences[:_MAX_DIFFERENCES])
  rest = len(differences) - _MAX_DIFFERENCES
  return shown + (f'; and {rest} more' if rest > 0 else '')
