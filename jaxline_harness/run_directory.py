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
config.json                 the resolved config, the defaults that it changes,
                            versions, git commit, devices
checkpoints/                see checkpointing.py
train/  eval/               metrics.csv; event files of TensorBoard's
samples/  eval/metrics_*    pictures and figures that the experiment writes
```
"""

from collections.abc import Iterator, Mapping
import contextlib
import io
import json
import math
import os
import platform
import subprocess
from typing import Any

from absl import logging
from ml_collections import config_dict
import numpy as np

from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import loggers
from jaxline_harness import metrics_table
from jaxline_harness import outside
from jaxline_harness import settings

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


# The config of a run.


def prepare(
  config: config_dict.ConfigDict, has_checkpoint: bool, schema: configs.Schema
) -> None:
  """Makes a run's folder and its config.json, before training.

  Args:
    config: the resolved config; `checkpoint_dir` names the folder.
    has_checkpoint: whether the folder holds a checkpoint to go on from. Then
      the config must agree with config.json in all that changes a step.
    schema: tells what does.

  Raises:
    errors.UserError: if it does not, or the folder cannot be written.
  """
  folder = config.checkpoint_dir
  path = os.path.join(folder, CONFIG_FILE)
  if has_checkpoint:
    _check_unchanged(path, config, schema)
  files.make_folder(folder)
  outside.trust(to_plain(config))
  try:
    files.write_atomically(path, _to_json(describe_run(config, schema)))
  except OSError as error:
    raise errors.UserError(f'cannot write {path} ({error.strerror})') from error


def describe_run(
  config: config_dict.ConfigDict, schema: configs.Schema
) -> dict[str, Any]:
  """Returns what config.json holds: all that one needs to repeat a run."""
  import jax  # pylint: disable=g-import-not-at-top

  devices = [f'{d.platform} {d.device_kind}' for d in jax.devices()]
  plain = to_plain(config)
  digests = outside.digests_in(plain)
  return {
    'config': plain,
    'changed_defaults': _list_changed_defaults(config, schema),
    **describe_code(),
    'devices': devices,
    'platform': platform.platform(),
    **({'files_named': digests} if digests else {}),
  }


def _list_changed_defaults(
  config: config_dict.ConfigDict, schema: configs.Schema
) -> dict[str, Any]:
  """Returns the default of each setting that is otherwise, by its name."""
  plain = to_plain(config)
  return {
    name: default
    for name, setting in settings.leaves(schema.tree)
    if (default := to_plain(setting.default)) != settings.value(plain, name)
  }


def describe_code() -> dict[str, Any]:
  """Returns the versions of the libraries, and this code's git commit."""
  return {'versions': _versions(), 'git_commit': _git_commit()}


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


def describe_changes(
  old: Any, config: config_dict.ConfigDict, schema: configs.Schema
) -> str:
  """Names the settings that change a step and differ, with both values.

  Args:
    old: what `to_plain` made of the config of before.
    config: the config.
    schema: tells what changes a step.

  Returns:
    The differences, or '' if there are none.
  """
  # What has been declared since then is at its default.
  old = settings.add_defaults(schema.tree, old)
  settings.make_paths_absolute(schema.tree, old)
  before, after = flatten(to_plain(old)), flatten(to_plain(config))

  def show(fields: Mapping[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else '(absent)'

  def changes_a_step(name: str) -> bool:
    setting = settings.find(schema.tree, name)
    return setting is None or not setting.changes_no_step

  return '; '.join(
    f'{name} was {show(before, name)}, now {show(after, name)}'
    for name in sorted(before.keys() | after.keys())
    if show(before, name) != show(after, name) and changes_a_step(name)
  )


def _check_unchanged(
  path: str, config: config_dict.ConfigDict, schema: configs.Schema
) -> None:
  """Raises UserError unless config.json describes the same training."""
  try:
    with files.open_regular(path) as f:
      old = json.load(f)
    changes = describe_changes(old['config'], config, schema)
    _warn_of_changed_files(old.get('files_named', {}), config)
  except FileNotFoundError:
    logging.warning('%s is missing: the config is not checked against it', path)
    return
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise errors.UserError(
      f'{path} cannot be read ({error}); remove it to go on without the check'
    ) from error
  if changes:
    raise errors.UserError(
      f'{os.path.dirname(path)} holds a run with another config: {changes}. '
      'Set it back, or start a new run with --config.checkpoint_dir=DIR'
    )


def _warn_of_changed_files(
  old: Mapping[str, str], config: config_dict.ConfigDict
) -> None:
  """Warns of files that the config names and that are not what they were."""
  for name, digest in outside.digests_in(to_plain(config)).items():
    if old.get(name, digest) != digest:
      logging.warning('%s is not as it was when this run began', name)


def flatten(tree: Any, prefix: str = '') -> dict[str, Any]:
  """Maps the dotted name of each leaf to its value; an empty dict is a leaf."""
  if not isinstance(tree, dict) or not tree:
    return {prefix: tree}
  flat = {}
  for key, value in tree.items():
    flat.update(flatten(value, f'{prefix}.{key}' if prefix else key))
  return flat


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


def _to_json(obj: Any) -> str:
  return json.dumps(to_plain(obj), indent=2) + '\n'


class Writer:
  """Writes a run's figures and pictures; jaxline's Writer and more.

  Attributes:
    run_dir: the run's folder.
  """

  def __init__(
    self,
    run_dir: str,
    mode: str,
    restored_step: int | None = None,
    on_error: str = 'stop',
    run_loggers: loggers.Loggers | None = None,
  ):
    """Opens `<run_dir>/<mode>/`.

    Args:
      run_dir: the run's folder.
      mode: 'train' or 'eval'.
      restored_step: the step that training goes on from. Rows and events beyond
        it are dropped, since their steps are made again.
      on_error: what a file that cannot be written, on a full disk say, leads
        to: 'stop' raises TrainingError, 'go_on' warns.
      run_loggers: get the same; by default those of a run that names none.

    Raises:
      errors.UserError: if the folder cannot be used.
    """
    self.run_dir = os.path.abspath(run_dir)
    self._series = mode
    self._restored_step = restored_step
    self._on_error = on_error
    self._loggers = run_loggers or loggers.Loggers(
      loggers.DEFAULT, self.run_dir, restored_step=restored_step
    )
    self._folder = os.path.join(self.run_dir, mode)
    self._table_path = os.path.join(self._folder, METRICS_FILE)
    files.make_folder(self._folder)
    try:
      self._table = metrics_table.MetricsTable(self._table_path, restored_step)
    except OSError as error:
      raise errors.UserError(
        f'cannot use {self._table_path} ({error.strerror})'
      ) from error

  @classmethod
  def of_config(
    cls,
    config: config_dict.ConfigDict,
    mode: str,
    restored_step: int | None = None,
  ) -> 'Writer':
    """Opens the folder of a full config, and starts the loggers it names."""
    run_dir = config.checkpoint_dir
    run_loggers = loggers.Loggers(
      config.loggers, run_dir, to_plain(config), restored_step
    )
    return cls(run_dir, mode, restored_step, config.on_save_error, run_loggers)

  def of_series(self, series: str) -> 'Writer':
    """Returns a writer of another series, to the same loggers."""
    return Writer(
      self.run_dir, series, self._restored_step, self._on_error, self._loggers
    )

  def close(self) -> None:
    """Ends the loggers, those of all series."""
    self._loggers.close()

  def write_scalars(self, global_step: int, scalars: Mapping[str, Any]) -> None:
    """Writes scalars to metrics.csv and the loggers.

    Args:
      global_step: the step.
      scalars: numbers, or arrays of size 1.
    """
    step = int(global_step)
    values = {k: np.asarray(v).reshape(())[()] for k, v in scalars.items()}
    with self._handle_errors(self._table_path):
      # str of a numpy scalar has just the digits of its type.
      self._table.write(step, {k: str(v) for k, v in values.items()})
    with self._handle_errors(self._folder):
      self._loggers.write_scalars(
        self._series, step, {k: float(v) for k, v in values.items()}
      )

  def sync(self) -> None:
    """Makes the rows so far outlast a loss of power."""
    if os.path.exists(self._table_path):
      files.sync(self._table_path)

  def write_images(
    self, global_step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """Writes images to the loggers.

    Args:
      global_step: the step.
      images: uint8 arrays `[n, height, width, channels]` or `[height, width,
        channels]`, with 1 or 3 channels.
    """
    checked = {k: _check_image(k, v, dims=(3, 4)) for k, v in images.items()}
    with self._handle_errors(self._folder):
      self._loggers.write_images(self._series, int(global_step), checked)

  def write_samples(self, global_step: int, image: np.ndarray) -> None:
    """Writes a picture of samples, as a file and to the loggers.

    Args:
      global_step: the step.
      image: as `write_png` takes it, with 1 or 3 channels.
    """
    self.write_png(f'samples/step_{global_step:08d}.png', image)
    with_channels = image[..., None] if image.ndim == 2 else image
    self.write_images(global_step, {'samples': with_channels})

  def write_png(self, relative_path: str, image: np.ndarray) -> None:
    """Writes a PNG file.

    Args:
      relative_path: where, from the run's folder.
      image: uint8 array `[height, width]` or `[height, width, channels]`, with
        1, 3 or 4 channels.
    """
    from PIL import Image  # pylint: disable=g-import-not-at-top

    image = _check_image(relative_path, image, dims=(2, 3))
    if image.ndim == 3 and image.shape[-1] == 1:
      image = image[..., 0]
    png = io.BytesIO()
    Image.fromarray(image).save(png, format='PNG')
    self._write_file(relative_path, png.getvalue())

  def write_json(self, relative_path: str, obj: Any) -> None:
    """Writes a JSON file, from the run's folder; numpy values are welcome."""
    self._write_file(relative_path, _to_json(obj))

  def _write_file(self, relative_path: str, content: str | bytes) -> None:
    path = os.path.join(self.run_dir, relative_path)
    with self._handle_errors(path):
      os.makedirs(os.path.dirname(path), exist_ok=True)
      files.write_atomically(path, content)

  @contextlib.contextmanager
  def _handle_errors(self, path: str) -> Iterator[None]:
    """Treats an OSError as `on_error` says."""
    try:
      yield
    except OSError as error:
      message = f'cannot write {path}: {error.strerror or error}'
      if self._on_error == 'stop':
        raise errors.TrainingError(message) from error
      logging.warning('%s; going on', message)


def _check_image(name: str, image: Any, dims: tuple[int, ...]) -> np.ndarray:
  image = np.asarray(image)
  if image.dtype != np.uint8 or image.ndim not in dims:
    raise ValueError(
      f'image {name}: expected uint8 with {dims} dimensions, got '
      f'{image.dtype}{list(image.shape)}'
    )
  return image
