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
"""Where a run's metrics, pictures and config go, by name.

The tables (`metrics.csv`, see `metrics_table`) are the run's own record, which
reports and sweeps read: every run writes them. A logger gets the same beside
them, and one that fails ends no run: a warning, and training goes on without.
To add one is a file with a class like `Logger`, and its line in `_CLASSES`.
"""

from collections.abc import Mapping, Sequence
import contextlib
import importlib
import os
from typing import Any, Protocol

from absl import logging
import numpy as np

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import settings

_TABLES = 'csv'
_TENSORBOARD = 'tensorboard'
# The module and the class of each logger. A name that setup.py has an extra of
# is also that of the library that it needs.
_CLASSES = {
  _TENSORBOARD: ('jaxline_harness.event_file', 'TensorBoard'),
  'wandb': ('jaxline_harness.wandb_logger', 'WandB'),
  'mlflow': ('jaxline_harness.mlflow_logger', 'MLflow'),
}
DEFAULT = (_TENSORBOARD, _TABLES)
_NAMES = (_TABLES, *_CLASSES)


class Logger(Protocol):
  """What takes a run's metrics and pictures; made anew at each start.

  Its constructor is called with the run's folder, its config as plain dicts and
  lists (or None), and the step that training goes on from (None: evaluation).
  """

  def write_scalars(
    self, series: str, step: int, scalars: Mapping[str, float]
  ) -> None:
    """Takes the scalars of a step; `series` is 'train', 'eval' and so on."""

  def write_images(
    self, series: str, step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """Takes uint8 images `[height, width, channels]`, or batches of them."""

  def close(self) -> None:
    """Ends it; nothing is written after that."""


def field() -> settings.Field:
  """The setting `loggers`."""
  name = settings.one_of(_NAMES)

  def look_up(path, value):
    for k, item in enumerate(value):
      name.check(f'{path}[{k}]', item)

  return settings.Field(
    f'a list of {name.wanted}',
    lambda value: isinstance(value, list | tuple),
    look_up=look_up,
  )


def check_installed(names: Sequence[str]) -> None:
  """Raises UserError for a logger whose library is not installed."""
  for name in names:
    if name in (_TABLES, _TENSORBOARD):
      continue
    with errors.require_extra(name, f'{name!r} in config.loggers'):
      importlib.import_module(name)


def kept_id(run_dir: str, service: str) -> str | None:
  """Returns what a service knows a run by; None if it does not yet."""
  with (
    contextlib.suppress(FileNotFoundError),
    open(_id_path(run_dir, service)) as f,
  ):
    return f.read().strip()
  return None


def keep_id(run_dir: str, service: str, own: str) -> None:
  """Keeps what a service knows a run by, for when the run goes on."""
  files.write_atomically(_id_path(run_dir, service), f'{own}\n')


def _id_path(run_dir: str, service: str) -> str:
  return os.path.join(run_dir, f'{service}_run_id')


class Loggers:
  """The loggers of a run, as one; one that fails is left out from then on."""

  def __init__(
    self,
    names: Sequence[str],
    run_dir: str,
    config: Mapping[str, Any] | None = None,
    restored_step: int | None = None,
  ):
    """Starts them.

    Args:
      names: `config.loggers`.
      run_dir: the run's folder.
      config: the whole config, as `run_directory.to_plain` makes it.
      restored_step: the step that training goes on from.
    """
    self._loggers: dict[str, Logger] = {}
    for name in dict.fromkeys(names):
      if name == _TABLES:
        continue
      module, logger_class = _CLASSES[name]
      try:
        logger = getattr(importlib.import_module(module), logger_class)
        self._loggers[name] = logger(run_dir, config, restored_step)
      except Exception as error:  # The library is not ours.
        _warn(name, error)

  def write_scalars(
    self, series: str, step: int, scalars: Mapping[str, float]
  ) -> None:
    """Hands on the scalars of a step; raises OSError for a full disk."""
    self._call('write_scalars', series, step, scalars)

  def write_images(
    self, series: str, step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """Hands on images; raises OSError for a full disk."""
    self._call('write_images', series, step, images)

  def close(self) -> None:
    """Ends all."""
    self._call('close')
    self._loggers.clear()

  def _call(self, method: str, *arguments: Any) -> None:
    of_disk = None
    for name, logger in tuple(self._loggers.items()):
      try:
        getattr(logger, method)(*arguments)
      except Exception as error:
        if name == _TENSORBOARD and isinstance(error, OSError):
          of_disk = error  # A file of the run's: config.on_save_error decides.
          continue
        _warn(name, error)
        del self._loggers[name]
    if of_disk is not None:
      raise of_disk


def _warn(name: str, error: Exception) -> None:
  logging.warning(
    'config.loggers: %s failed (%s: %s); the run goes on without it',
    *(name, type(error).__name__, errors.one_line(error, 300)),
  )
