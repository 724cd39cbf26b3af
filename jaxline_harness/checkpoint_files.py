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
<step>/origin.json    the step, the config that it was saved with, and what the
                      model has to know of its data
<step>/metrics.json   the metric's name and value; in the series `best` only
<step>/digests.json   the SHA-256 of each file above
```

All of it is written to a folder `<step>.tmp`, read back and renamed, so a
process killed at any moment leaves a whole checkpoint or none. What happens to
files later (a flipped bit, a copy cut short, a file deleted, a folder renamed)
shows before anything else reads them. Orbax's CheckpointManager leaves no place
for that: it writes files of its own after its handlers' last call, replaces no
step, and deletes old ones before anyone has read the new.

No pickle: loading a checkpoint runs no code.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import errno
import functools
import hashlib
import json
import logging as python_logging
import math
import os
import re
import shutil
import sys
import tempfile
import time
from typing import Any, NamedTuple

from absl import logging
from etils import epath
import jax
import numpy as np
from orbax import checkpoint as ocp
import tensorstore

from jaxline_harness import errors
from jaxline_harness import files

_TEMPORARY = '.tmp'
_OLD = '.old.tmp'  # Is being deleted.
_REPLACED = '.replaced.tmp'  # Until the new one is in its place.
_STATE = 'state'
_ORIGIN = 'origin.json'
_METRICS = 'metrics.json'
_DIGESTS = 'digests.json'
_MAX_STEP = 2**31 - 1
_MAX_DIFFERENCES = 6
_MAX_REASON = 200
_MAX_JSON_BYTES = 1 << 26
_SPARE_BYTES = 1 << 16  # More than all files beside the arrays take.


class DamagedError(ValueError):
  """A checkpoint is not what was saved; the message says which file."""

  def __init__(self, message: str):
    super().__init__(errors.one_line(message, _MAX_REASON))


class Metric(NamedTuple):
  """What a checkpoint of the series `best` is chosen by."""

  best_model_eval_metric: str
  best_eval_metric_value: float
  save_time: float


def is_step_folder(path: str) -> bool:
  """Returns whether a checkpoint lies there, by its name and what is in it."""
  name = os.path.basename(path)
  return (
    re.fullmatch('0|[1-9][0-9]{0,9}', name) is not None
    and int(name) <= _MAX_STEP
    and any(os.path.exists(os.path.join(path, n)) for n in (_STATE, _DIGESTS))
  )


def write(
  path: str,
  train_state: Any,
  config: Mapping[str, Any] | None = None,
  metric: Metric | None = None,
  data: Mapping[str, Any] | None = None,
) -> None:
  """Writes a checkpoint, in the place of an older one of the same step.

  Args:
    path: the folder of the step.
    train_state: numpy arrays.
    config: what `read_config` is to return.
    metric: what `read_metric` is to return.
    data: what `read_data` is to return, if there is a config.

  Raises:
    Exception: of many kinds (Orbax's and TensorStore's own), if that fails.
      Then all is as before.
  """
  temporary = path + _TEMPORARY
  shutil.rmtree(temporary, ignore_errors=True)
  os.makedirs(temporary)
  try:
    _check_space(temporary, train_state)
    with _open_orbax(temporary) as (orbax, folder):
      orbax.save(folder / _STATE, args=ocp.args.StandardSave(train_state))
    if config is not None:
      origin = {'step': int(os.path.basename(path)), 'config': config}
      if data:
        origin['data'] = data
      _write_json(temporary, _ORIGIN, origin)
    if metric is not None:
      _write_json(temporary, _METRICS, metric._asdict())
    digests = {name: _digest(temporary, name) for name in _files(temporary)}
    _write_json(temporary, _DIGESTS, digests)
    _check_equal(_read_state(temporary, train_state), train_state)
    if is_step_folder(path):
      os.rename(path, path + _REPLACED)
    os.rename(temporary, path)
    files.sync(os.path.dirname(path))
  except BaseException:
    _remove_tree(temporary)  # Makes room on a full disk.
    _take_back(path)
    raise
  shutil.rmtree(path + _REPLACED, ignore_errors=True)


def try_out(folder: str) -> None:
  """Writes a small checkpoint in a folder, reads it, and deletes it again.

  Raises:
    Exception: see `write`.
  """
  path = os.path.join(folder, 'trial')
  shutil.rmtree(path, ignore_errors=True)
  write(path, {'x': np.zeros(1)})
  shutil.rmtree(path)


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
      shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _take_back(path: str) -> None:
  """Puts back the checkpoint that a new one was to replace."""
  if os.path.isdir(path + _REPLACED) and not os.path.exists(path):
    os.rename(path + _REPLACED, path)


def _remove_tree(path: str) -> None:
  """Deletes what a failed save has left, where its threads may still write."""
  for _ in range(20):
    shutil.rmtree(path, ignore_errors=True)
    time.sleep(0.05)
    if not os.path.exists(path):
      return


def check(path: str) -> None:
  """Checks that a checkpoint is what was saved, and where it was.

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
  if _ORIGIN in digests:
    step = _read_json(path, _ORIGIN).get('step')
    if str(step) != os.path.basename(path):
      raise DamagedError(f'it was saved as step {step}, and the folder renamed')
  if _METRICS in digests:
    read_metric(path)


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
  wanted = _array_types(ocp.tree.serialize_tree(abstract_state, True))
  try:
    with _open_orbax(path) as (orbax, folder):
      saved = _array_types(orbax.handler.metadata(folder / _STATE).tree)
    if saved == wanted:
      return _read_state(path, abstract_state)
  # What a file of any content makes Orbax raise is not documented.
  except Exception as error:
    raise errors.UserError(
      f'the checkpoint {path} cannot be read: {_describe(error)}'
    ) from error
  raise errors.UserError(
    f"the checkpoint {path} does not fit this config's networks and "
    f'optimisers: {_describe_differences(saved, wanted)}'
  )


def read_config(path: str) -> dict[str, Any] | None:
  """Returns the config that a checkpoint was saved with, None if it is old."""
  return _read_origin(path).get('config')


def read_data(path: str) -> dict[str, Any] | None:
  """Returns what a checkpoint says of its data, None if it is old."""
  return _read_origin(path).get('data')


def _read_origin(path: str) -> dict[str, Any]:
  if not os.path.exists(os.path.join(path, _ORIGIN)):
    return {}
  return _read_json(path, _ORIGIN)


def read_metric(path: str) -> Metric:
  """Returns the metric that was saved with a checkpoint.

  Raises:
    DamagedError: if that fails.
  """
  digests = _read_json(path, _DIGESTS)
  _check_digest(path, _METRICS, digests.get(_METRICS))
  try:
    name, value, save_time = metric = Metric(**_read_json(path, _METRICS))
  except TypeError:
    raise DamagedError(f'{_METRICS} has other fields') from None
  numbers = [x for x in (value, save_time) if type(x) in (int, float)]
  if (
    not isinstance(name, str)
    or len(numbers) < 2
    or any(map(math.isnan, numbers))
  ):
    raise DamagedError(f'{_METRICS} holds no metric: {metric}')
  return metric


def reason_of_failed_write(error: Exception) -> str:
  """Returns in a few words why a file could not be written."""
  # TensorStore has its own exceptions, with the system's code in their text.
  match = re.search(r"os_error_code='(\d+)'", str(error))
  code = int(match[1]) if match else getattr(error, 'errno', None)
  return os.strerror(code) if code else _describe(error)


# Orbax.


@contextlib.contextmanager
def _open_orbax(path: str) -> Iterator[tuple[ocp.Checkpointer, epath.Path]]:
  """Yields Orbax for this process alone, and a path of a folder for it.

  Orbax looks for files by patterns, in which [ and * have a meaning, and
  TensorStore takes only Unicode: the path may be that of a link.
  """
  _silence_orbax()
  me = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me)
  )
  handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
  store: Any = tensorstore.KvStore.Spec
  with (
    ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer,
    contextlib.ExitStack() as stack,
  ):
    stack.callback(setattr, store, 'to_json', vars(store)['to_json'])
    store.to_json = _describe_store
    if not re.fullmatch(r'[\w/.,=@ +-]*', path):
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      link = os.path.join(folder, 'checkpoint')
      os.symlink(os.path.abspath(path), link)
      path = link
    yield checkpointer, epath.Path(path)


def _describe_store(spec: tensorstore.KvStore.Spec) -> dict[str, str]:
  """The JSON of a folder, of which TensorStore's own `to_json` frees nothing.

  Orbax calls it for each array: with TensorStore 0.1.86 a GAN's process grows
  by some 40 KiB at each save, for ever.
  """
  return {'driver': 'file', 'path': spec.path}


def _read_state(path: str, like: Any) -> Any:
  """Reads numpy arrays of the structure, shapes and types of others."""
  # Arrays without memory: only their shapes and types are read.
  target = jax.tree.map(
    lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), like
  )
  with _open_orbax(path) as (orbax, folder):
    return orbax.restore(folder / _STATE, args=ocp.args.StandardRestore(target))


def _silence_orbax() -> None:
  """Keeps back what Orbax prints of errors that are handled here.

  With `--verbosity=0` and more it is shown. The threads of a failed save go on
  after it, so this is for good.
  """
  for logger in (
    logging.get_absl_logger(),
    python_logging.getLogger('asyncio'),
  ):
    logger.addFilter(_is_to_be_shown)
  if getattr(sys.unraisablehook, 'func', None) is not _show_unraisable:
    sys.unraisablehook = functools.partial(_show_unraisable, sys.unraisablehook)


def _is_to_be_shown(record: python_logging.LogRecord) -> bool:
  package = f'{os.sep}orbax{os.sep}'
  return logging.get_verbosity() >= logging.INFO or not (
    package in record.pathname or package in record.getMessage()
  )


def _show_unraisable(show: Callable[[Any], Any], unraisable: Any) -> None:
  # The first of several errors closes the loop that TensorStore then calls.
  if str(unraisable.exc_value) != 'Event loop is closed':
    show(unraisable)


def _check_space(folder: str, train_state: Any) -> None:
  """Raises OSError on a full disk: a failure within Orbax lasts longer."""
  arrays = map(np.asarray, jax.tree.leaves(train_state))
  needed = sum(array.nbytes for array in arrays) + _SPARE_BYTES
  disk = os.statvfs(folder)
  if disk.f_bfree * disk.f_frsize < needed:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)


def _check_equal(found: Any, expected: Any) -> None:
  equal = jax.tree.map(
    lambda x, y: np.asarray(x).tobytes() == np.asarray(y).tobytes(),
    *(found, expected),
  )
  if not all(jax.tree.leaves(equal)):
    raise ValueError('what was written reads differently')


# Files.


def _files(folder: str) -> Iterator[str]:
  """Yields the names of all files below a folder, from there."""
  for parent, _, names in os.walk(folder):
    for name in names:
      yield os.path.relpath(os.path.join(parent, name), folder)


def _digest(folder: str, name: str) -> str:
  with _open_file(folder, name) as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def _check_digest(folder: str, name: str, digest: str | None) -> None:
  if _digest(folder, name) != digest:
    raise DamagedError(f'{name} is not what was saved')


def _read_json(path: str, name: str) -> dict[str, Any]:
  with _open_file(path, name) as f:
    text = f.read(_MAX_JSON_BYTES)
  try:
    return dict(json.loads(text))
  except (ValueError, TypeError, RecursionError) as error:
    raise DamagedError(f'{name} cannot be read: {error}') from error


@contextlib.contextmanager
def _open_file(path: str, name: str) -> Iterator[Any]:
  """Opens a file of a checkpoint; errors become those of `check`."""
  try:
    with files.open_regular(os.path.join(path, name)) as f:
      yield f
  except PermissionError as error:  # That is no damage.
    raise errors.UserError(
      f'{error.filename}: no permission to read it'
    ) from error
  except OSError as error:
    raise DamagedError(f'{name}: {error.strerror}') from error


def _write_json(folder: str, name: str, value: Any) -> None:
  path = os.path.join(folder, name)
  files.write_atomically(path, json.dumps(value, indent=2) + '\n')


def _describe(error: Exception) -> str:
  return errors.one_line(f'{type(error).__name__}: {error}', _MAX_REASON)


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
