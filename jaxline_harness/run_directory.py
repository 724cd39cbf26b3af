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
"""A run's folder: where its files lie and who writes them.

```
config.json                 the resolved config, versions, git commit, devices
checkpoints/                see checkpointing.py
train/  eval/               TensorBoard event files; metrics.csv
samples/  eval/metrics_*    pictures and figures that the experiment writes
```
"""

from collections.abc import Iterator, Mapping
import contextlib
import csv
import io
import json
import math
import os
import platform
import subprocess
import tempfile
import threading
import time
from typing import Any

from absl import logging
from ml_collections import config_dict
import numpy as np

from jaxline_harness import errors

CONFIG_FILE = 'config.json'
METRICS_FILE = 'metrics.csv'
_LIBRARIES = (
  'jax',
  'jaxlib',
  'jaxline',
  'dm-haiku',
  'optax',
  'orbax-checkpoint',
  'ml_collections',
  'numpy',
  'tensorflow',
)
# Top-level fields that may change when a run goes on: length, logging, saving,
# evaluation, and how the work is split up. None of them changes a step.
_FREE_FIELDS = frozenset(
  (
    'training_steps',
    'interval_type',
    'logging_interval_type',
    'checkpoint_interval_type',
    'periodic_action_growth_ratios',
    'log_tensors_interval',
    'log_train_data_interval',
    'log_async',
    'log_all_hosts',
    'log_all_train_data',
    'save_checkpoint_interval',
    'save_initial_train_checkpoint',
    'max_checkpoints_to_keep',
    'train_checkpoint_all_hosts',
    'best_checkpoint_all_hosts',
    'delete_existing_local_checkpoints',
    'checkpoint_dir',
    'restore_path',
    'eval_specific_checkpoint_dir',
    'eval_initial_weights',
    'one_off_evaluate',
    'random_mode_eval',
    'best_model_eval_metric',
    'best_model_eval_metric_higher_is_better',
    'max_chunk_steps',
  )
)


# The config of a run.


def prepare(config: config_dict.ConfigDict, has_checkpoint: bool) -> None:
  """Makes a run's folder and its config.json, before training.

  Args:
    config: the resolved config; `checkpoint_dir` names the folder.
    has_checkpoint: whether the folder holds a checkpoint to go on from. Then
      the config must agree with config.json in all that changes a step.

  Raises:
    errors.UserError: if it does not, or the folder cannot be written.
  """
  folder = config.checkpoint_dir
  path = os.path.join(folder, CONFIG_FILE)
  if has_checkpoint:
    _check_unchanged(path, config)
  _make_folder(folder)
  write_atomically(path, _to_json(describe_run(config)))


def describe_run(config: config_dict.ConfigDict) -> dict[str, Any]:
  """Returns what config.json holds: all that one needs to repeat a run."""
  import jax  # pylint: disable=g-import-not-at-top

  devices = [f'{d.platform} {d.device_kind}' for d in jax.devices()]
  return {
    'config': to_plain(config),
    'versions': _versions(),
    'git_commit': _git_commit(),
    'devices': devices,
    'platform': platform.platform(),
  }


def to_plain(value: Any) -> Any:
  """Turns a config into what JSON can hold, the same for equal configs.

  Args:
    value: a ConfigDict or anything in one.

  Returns:
    Dicts, lists, strings, finite numbers, booleans and None. Functions and
    classes become their qualified names, numbers that are not finite strings.
  """
  if isinstance(value, config_dict.FieldReference):
    return to_plain(value.get())
  if isinstance(value, config_dict.ConfigDict | Mapping):
    return {str(k): to_plain(value[k]) for k in sorted(value, key=str)}
  if isinstance(value, set | frozenset):
    return sorted((to_plain(v) for v in value), key=repr)
  if isinstance(value, list | tuple):
    return [to_plain(v) for v in value]
  if isinstance(value, np.ndarray | np.generic):
    return to_plain(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return str(value)
  if value is None or isinstance(value, str | bool | int | float):
    return value
  if hasattr(value, '__qualname__'):
    return f'{value.__module__}.{value.__qualname__}'
  return repr(value)


def _check_unchanged(path: str, config: config_dict.ConfigDict) -> None:
  """Raises UserError unless config.json describes the same training."""
  try:
    with open(path, encoding='utf-8') as f:
      old = json.load(f)['config']
  except FileNotFoundError:
    logging.warning('%s is missing: the config is not checked against it', path)
    return
  except (OSError, ValueError, KeyError) as error:
    raise errors.UserError(
      f'{path} cannot be read ({error}); remove it to go on without the check'
    ) from error
  before, after = dict(_flatten(old)), dict(_flatten(to_plain(config)))
  names = sorted(
    name
    for name in before.keys() | after.keys()
    if not _may_change(name)
    and before.get(name, _ABSENT) != after.get(name, _ABSENT)
  )
  if names:
    changes = '; '.join(
      f'{name} was {_show(before, name)}, now {_show(after, name)}'
      for name in names
    )
    raise errors.UserError(
      f'{os.path.dirname(path)} holds a run with another config: {changes}. '
      'Set it back, or start a new run with --config.checkpoint_dir=DIR'
    )


_ABSENT = object()


def _show(fields: Mapping[str, Any], name: str) -> str:
  return json.dumps(fields[name]) if name in fields else '(absent)'


def _may_change(name: str) -> bool:
  parts = name.split('.')
  return parts[0] in _FREE_FIELDS or 'eval' in parts[:-1]


def _flatten(tree: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Yields (dotted name, value) for each leaf; an empty dict is a leaf."""
  if not isinstance(tree, dict) or not tree:
    yield prefix, tree
    return
  for key, value in tree.items():
    yield from _flatten(value, f'{prefix}.{key}' if prefix else key)


def _versions() -> dict[str, str]:
  from importlib import metadata  # pylint: disable=g-import-not-at-top

  versions = {'python': platform.python_version()}
  for name in _LIBRARIES:
    with contextlib.suppress(metadata.PackageNotFoundError):
      versions[name] = metadata.version(name)
  return versions


def _git_commit() -> str | None:
  """Returns the commit of this code, `-dirty` if changed, None without git."""
  folder, name = os.path.split(os.path.abspath(__file__))

  def git(*arguments: str) -> str:
    return subprocess.run(
      ['git', '-C', folder, *arguments],
      check=True,
      capture_output=True,
      text=True,
      timeout=10,
    ).stdout.strip()

  try:
    git('ls-files', '--error-unmatch', name)  # Not some other repository's.
    changed = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('-dirty' if changed else '')
  except (OSError, subprocess.SubprocessError):
    return None


# Files.


def write_atomically(path: str, text: str) -> None:
  """Writes a file so that a reader sees the old text or the new, never half."""
  folder = os.path.dirname(os.path.abspath(path))
  handle, temporary = tempfile.mkstemp(dir=folder, suffix='.tmp')
  try:
    with os.fdopen(handle, 'w', encoding='utf-8', newline='') as f:
      f.write(text)
      f.flush()
      os.fsync(f.fileno())
    os.chmod(temporary, 0o666 & ~_umask())  # mkstemp lets only the owner read.
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


def _make_folder(folder: str) -> None:
  """Makes a folder and checks that it can be written, or raises UserError."""
  try:
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise errors.UserError(
      f'config.checkpoint_dir: cannot write to {folder} ({error.strerror})'
    ) from error


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask


def _to_json(obj: Any) -> str:
  return json.dumps(to_plain(obj), indent=2) + '\n'


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
  """Keeps a second training out of a run's folder.

  The lock goes with the process, however it ends. On file systems without locks
  there is none.

  Args:
    folder: the run's folder; made if need be.

  Yields:
    Nothing.

  Raises:
    errors.UserError: if another process trains there, or the folder cannot be
      written.
  """
  import fcntl  # pylint: disable=g-import-not-at-top

  _make_folder(folder)
  with open(os.path.join(folder, '.lock'), 'a') as lock_file:
    try:
      fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.UserError(
        f'another process trains in {folder}: wait for it, or use another '
        '--config.checkpoint_dir'
      ) from error
    except OSError:
      pass
    yield


class MetricsTable:
  """metrics.csv: one row a logged step, in the order of steps.

  The columns are `step`, the metrics in the order of their first appearance and
  `seconds`, the time so far: in training over all starts of the run, in
  evaluation that of the one evaluation.
  """

  def __init__(self, path: str, last_step: int | None = None):
    """Reads what is there.

    Args:
      path: the file; it need not exist.
      last_step: the step that training goes on from; rows beyond it are cut
        off, since their steps are made again. None keeps all, and does not
        go on with their clock.
    """
    self._path = path
    self._columns = []
    self._rows = {}
    self._read(last_step)
    self._start_time = time.monotonic()
    if last_step is not None and self._rows:
      self._start_time -= float(self._rows[max(self._rows)]['seconds'])

  def write(self, step: int, scalars: Mapping[str, str]) -> None:
    """Adds a row, or replaces the step's row."""
    appends = not self._rows or step > max(self._rows)
    new_columns = [name for name in scalars if name not in self._columns]
    self._columns.extend(new_columns)
    seconds = time.monotonic() - self._start_time
    self._rows[step] = {
      'step': str(step),
      **scalars,
      'seconds': f'{seconds:.3f}',
    }
    if appends and not new_columns and os.path.exists(self._path):
      with open(self._path, 'a', encoding='utf-8', newline='') as f:
        self._writer(f).writerow(self._rows[step])
    else:
      self._rewrite()

  def _read(self, last_step: int | None) -> None:
    if not os.path.exists(self._path):
      return
    with open(self._path, encoding='utf-8', newline='') as f:
      reader = csv.DictReader(f)
      lines = list(reader)
    fixed = ('step', 'seconds')
    self._columns = [c for c in reader.fieldnames or () if c not in fixed]
    for line in lines:
      # A process that was killed may have left half a line.
      if None in line or None in line.values() or not _is_row(line):
        continue
      if last_step is None or int(line['step']) <= last_step:
        self._rows[int(line['step'])] = line
    if len(self._rows) != len(lines):
      self._rewrite()

  def _rewrite(self) -> None:
    text = io.StringIO()
    writer = self._writer(text)
    writer.writeheader()
    self._rows = dict(sorted(self._rows.items()))
    writer.writerows(self._rows.values())
    write_atomically(self._path, text.getvalue())

  def _writer(self, f: Any) -> csv.DictWriter:
    columns = ['step', *self._columns, 'seconds']
    return csv.DictWriter(f, columns, restval='', lineterminator='\n')


def _is_row(line: Mapping[str, str]) -> bool:
  try:
    int(line['step'])
    float(line['seconds'])
  except (KeyError, ValueError):
    return False
  return True


class Writer:
  """Writes a run's figures and pictures; jaxline's Writer and more.

  Any thread may call it (jaxline writes scalars from one of its own).

  Attributes:
    run_dir: the run's folder.
    last_scalars: (step, scalars) of the last `write_scalars`, or None.
  """

  def __init__(self, run_dir: str, mode: str, restored_step: int | None = None):
    """Opens `<run_dir>/<mode>/`.

    Args:
      run_dir: the run's folder.
      mode: 'train' or 'eval'.
      restored_step: the step that training goes on from. Rows and events beyond
        it are dropped, since their steps are made again.
    """
    from tensorboardX import SummaryWriter  # pylint: disable=g-import-not-at-top

    self.run_dir = os.path.abspath(run_dir)
    self.last_scalars: tuple[int, dict[str, Any]] | None = None
    self._lock = threading.RLock()
    folder = os.path.join(self.run_dir, mode)
    _make_folder(folder)
    self._table = MetricsTable(
      os.path.join(folder, METRICS_FILE), restored_step
    )
    purge_step = None if restored_step is None else restored_step + 1
    self._events = SummaryWriter(folder, purge_step=purge_step)

  def write_scalars(self, global_step: int, scalars: Mapping[str, Any]) -> None:
    """Writes scalars to TensorBoard and metrics.csv.

    Args:
      global_step: the step.
      scalars: numbers, or arrays of size 1.
    """
    step = int(global_step)
    values = {k: np.asarray(v).reshape(())[()] for k, v in scalars.items()}
    with self._lock:
      self.last_scalars = (step, values)
      for name, value in values.items():
        self._events.add_scalar(name, float(value), step)
      # str of a numpy scalar has just the digits of its type.
      self._table.write(step, {k: str(v) for k, v in values.items()})
      self._events.flush()

  def write_images(
    self, global_step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """Writes images to TensorBoard.

    Args:
      global_step: the step.
      images: uint8 arrays `[n, height, width, channels]` or `[height, width,
        channels]`, with 1 or 3 channels.
    """
    with self._lock:
      for name, image in images.items():
        image = _checked_image(name, image, dims=(3, 4))
        add = self._events.add_images
        if image.ndim == 3:
          add = self._events.add_image
        layout = 'HWC' if image.ndim == 3 else 'NHWC'
        add(name, image, int(global_step), dataformats=layout)
      self._events.flush()

  def write_png(self, relative_path: str, image: np.ndarray) -> None:
    """Writes a PNG file.

    Args:
      relative_path: where, from the run's folder.
      image: uint8 array `[height, width]` or `[height, width, channels]`, with
        1, 3 or 4 channels.
    """
    from PIL import Image  # pylint: disable=g-import-not-at-top

    image = _checked_image(relative_path, image, dims=(2, 3))
    if image.ndim == 3 and image.shape[-1] == 1:
      image = image[..., 0]
    path = self._path(relative_path)
    temporary = f'{path}.tmp'
    Image.fromarray(image).save(temporary, format='PNG')
    os.replace(temporary, path)

  def write_json(self, relative_path: str, obj: Any) -> None:
    """Writes a JSON file, from the run's folder; numpy values are welcome."""
    write_atomically(self._path(relative_path), _to_json(obj))

  def flush(self) -> None:
    """Hands everything to the operating system."""
    with self._lock:
      self._events.flush()

  def close(self) -> None:
    """Ends the TensorBoard file; nothing may be written after it."""
    with self._lock:
      self._events.close()

  def _path(self, relative_path: str) -> str:
    path = os.path.join(self.run_dir, relative_path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def _checked_image(name: str, image: Any, dims: tuple[int, ...]) -> np.ndarray:
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim not in dims:
    raise ValueError(
      f'image {name}: expected uint8 with {dims} dimensions, got '
      f'{image.dtype}{list(image.shape)}'
    )
  return image
