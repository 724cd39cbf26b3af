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
"""Where a run's checkpoints lie, which is wanted, and which are kept.

```
<run>/checkpoints/latest/<step>/     see checkpoint_files.py
<run>/checkpoints/best/<step>/       the same, of the best evaluations
<run>/checkpoints/nonfinite/<step>/  the same, around a step with NaN
<run>/checkpoints/damaged/<series>/  what was found damaged; never deleted
```

Every process reads and writes on its own (Orbax is told that there is only one
process): the state is the same on all of them, and only the first one saves.
"""

from collections.abc import Mapping
import functools
import os
import time
import types
from typing import Any

from absl import logging
import jax
from ml_collections import config_dict

from jaxline_harness import checkpoint_files
from jaxline_harness import configs
from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import memory
from jaxline_harness import run_directory

_CHECKPOINTS = 'checkpoints'


class ExperimentState(types.SimpleNamespace):
  """What there is to save of a series: `experiment_module`, `global_step`.

  In the series 'best' also `best_model_eval_metric` (its name) and
  `best_eval_metric_value`.

  Attributes:
    save_checkpoint: saves the series now; a no-op for a step already saved.
  """


class Checkpointer:
  """Saves and restores `train_loop.ChunkedExperiment`s.

  Attributes:
    writer: synced before each checkpoint of 'latest' and handed to
      `write_samples` after it; None for none.
    save_error: why the last save failed, None if it did not.
  """

  def __init__(
    self,
    config: config_dict.ConfigDict,
    mode: str,
    writer: Any = None,
    schema: configs.Schema | None = None,
  ):
    """Prepares to save and restore; touches no file.

    Args:
      config: a full config.
      mode: 'train' or 'eval'.
      writer: see the attribute.
      schema: tells which settings change a step. None lets a training go on
        from checkpoints of other configs.
    """
    self._config = config
    self._mode = mode
    self._schema = schema
    self.writer = writer
    self.save_error: str | None = None
    self._states: dict[str, ExperimentState] = {}
    self._root = os.path.join(
      os.path.abspath(config.checkpoint_dir), _CHECKPOINTS
    )
    # By the folder of each checkpoint that was checked: what is wrong, or None.
    self._damage: dict[str, str | None] = {}
    self._reported: set[str] = set()
    self._chosen: list[str | None] = []  # At most one: see `choose`.

  def get_experiment_state(self, ckpt_series: str) -> ExperimentState:
    """Returns the state of a series, always the same object."""
    if ckpt_series not in self._states:
      self._states[ckpt_series] = ExperimentState(
        save_checkpoint=functools.partial(self.save, ckpt_series)
      )
    return self._states[ckpt_series]

  # Saving.

  def check_folder(self) -> None:
    """Checks, before training, that checkpoints can be kept in its folder.

    Raises:
      errors.UserError: if a small one cannot be written there and read.
    """
    try:
      checkpoint_files.try_out(self._root)
    except Exception as error:  # See `save`.
      reason = checkpoint_files.reason_of_failed_write(error)
      raise errors.UserError(
        f'config.checkpoint_dir: cannot keep checkpoints in {self._root} '
        f'({reason})'
      ) from error

  def save(self, ckpt_series: str) -> None:
    """Saves a series at its state's step unless that step is saved already.

    Args:
      ckpt_series: 'latest' or 'best'.

    Raises:
      errors.TrainingError: if the state holds a NaN, or if it cannot be written
        and `config.on_save_error` is 'stop'. Older checkpoints stay.
    """
    state = self.get_experiment_state(ckpt_series)
    path = self._folder(ckpt_series, str(int(state.global_step)))
    is_latest = ckpt_series == 'latest'
    if is_latest and checkpoint_files.is_step_folder(path):
      if self._why_damaged(path) is None:
        return
    snapshot = state.experiment_module.snapshot_state()
    if is_latest and self.writer is not None:
      self.writer.sync()  # No checkpoint outlasts the rows before it.
    try:
      self._write(ckpt_series, path, snapshot['train_state'])
    # What a full disk makes Orbax and TensorStore raise is not documented.
    except Exception as error:
      reason = checkpoint_files.reason_of_failed_write(error)
      self.save_error = f'cannot save {path}: {reason}'
      if self._config.on_save_error == 'stop':
        raise errors.TrainingError(self.save_error) from error
      logging.warning('%s; going on until the next save', self.save_error)
      return
    self.save_error = None
    self._chosen.clear()
    logging.info('saved %s', path)
    if is_latest and self.writer is not None:
      state.experiment_module.write_samples(self.writer, state.global_step)
    memory.release_freed()

  def _write(self, ckpt_series: str, path: str, train_state: Any) -> None:
    """Writes one checkpoint, then deletes those that are too many."""
    folder = self._folder(ckpt_series)
    os.makedirs(folder, exist_ok=True)
    checkpoint_files.remove_leftovers(folder)
    self._set_damaged_aside(ckpt_series)
    state = self.get_experiment_state(ckpt_series)
    metric = None
    if ckpt_series == 'best':
      metric = checkpoint_files.Metric(
        state.best_model_eval_metric,
        float(state.best_eval_metric_value),
        time.time(),
      )
    config = run_directory.to_plain(self._config)
    data = state.experiment_module.describe_data()
    checkpoint_files.write(path, train_state, config, metric, data)
    self._damage[path] = None
    paths = _newest_first(folder)
    if ckpt_series == 'best':
      paths.sort(key=self._score, reverse=True)
    for old in paths[self._config.max_checkpoints_to_keep :]:
      checkpoint_files.remove(old)
      del self._damage[old]

  def save_for_inspection(self, states: Mapping[int, Any]) -> str:
    """Saves states that are not to be gone on from, as `nonfinite/<step>`.

    Args:
      states: by their steps.

    Returns:
      Where they are, in words.
    """
    folder = self._folder('nonfinite')
    try:
      for step, state in states.items():
        if jax.process_index() == 0:
          checkpoint_files.write(os.path.join(folder, str(step)), state)
    except Exception as error:  # Whatever; what went wrong before matters more.
      reason = checkpoint_files.reason_of_failed_write(error)
      return f'the states around this step cannot be saved: {reason}'
    return (
      f'the states before and after this step are in {folder} for inspection'
    )

  # Restoring.

  def choose(self) -> str | None:
    """Chooses what the next `restore('latest')` reads: the same for all.

    With several processes all of them must call this. Each would choose by
    itself what it can read; here the first one does it for all.

    Returns:
      The checkpoint's folder, or None if there is none.

    Raises:
      errors.UserError: see `restore_path`.
    """
    self._chosen.clear()
    path = distributed.ask_first_process(lambda: self.restore_path('latest'))
    self._chosen.append(path)
    return path

  def kept(self) -> list[str]:
    """Returns the folders of the run's checkpoints, by step: the same for all.

    Damaged ones are passed over, with a warning.

    Raises:
      errors.UserError: if there are only damaged ones.
    """
    return distributed.ask_first_process(self._find_kept)

  def _find_kept(self) -> list[str]:
    found: dict[int, str] = {}
    damaged: dict[str, str] = {}
    for path in (
      *_newest_first(self._folder('best')),
      *_newest_first(self._folder('latest')),
    ):
      reason = self._why_damaged(path)
      if reason is None:
        found[int(os.path.basename(path))] = path
      else:
        damaged[path] = reason
    if damaged and not found:
      raise _only_damaged(damaged)
    self._warn_of_damaged(damaged)
    return [found[step] for step in sorted(found)]

  def step_to_restore(self) -> int | None:
    """Returns the step of what `choose` chooses; all processes must call it."""
    path = self.choose()
    return None if path is None else int(os.path.basename(path))

  def wait_for_checkpointing_to_finish(self) -> None:
    """Does nothing: `save` returns when the checkpoint is on disk."""

  def can_be_restored(self, ckpt_series: str) -> bool:
    """Whether `restore_path` is there: what jaxline's own loop asks."""
    return self.restore_path(ckpt_series) is not None

  def restore_path(self, ckpt_series: str) -> str | None:
    """Returns the folder of the wanted checkpoint of a series, or None.

    Damaged ones are passed over, with a warning.

    Args:
      ckpt_series: 'latest' or 'best'. For 'latest' it is in eval mode the one
        that `config.restore_path` names, in train mode the run's own newest one
        and only where there is none the one that `config.restore_path` names.

    Raises:
      errors.UserError: if there are only damaged ones, or `config.restore_path`
        is needed and holds none.
    """
    if ckpt_series == 'latest' and self._chosen:
      return self._chosen[0]
    candidates = self._candidates(ckpt_series)
    damaged = {}
    for path in candidates:
      reason = self._why_damaged(path)
      if reason is None:
        self._warn_of_damaged(damaged)
        return path
      damaged[path] = reason
    if not candidates:
      return None
    if not any(map(os.path.isdir, candidates)):
      # A training elsewhere has deleted them, and made newer ones, meanwhile.
      return self.restore_path(ckpt_series)
    raise _only_damaged(damaged)

  def _warn_of_damaged(self, damaged: Mapping[str, str]) -> None:
    """Warns, once, of checkpoints that are passed over."""
    for path in damaged.keys() - self._reported:
      logging.warning(
        'the checkpoint %s is damaged (%s): passed over', path, damaged[path]
      )
    self._reported |= damaged.keys()

  def restore(self, ckpt_series: str, path: str | None = None) -> None:
    """Restores a series: the experiment's state, and the step.

    Args:
      ckpt_series: 'latest' or 'best'.
      path: the folder of the checkpoint; None: `restore_path`.

    Raises:
      errors.UserError: if there is no checkpoint, or it does not fit the
        networks and optimisers of the config, or is another run's although it
        lies in this run's folder.
    """
    path = path or self.restore_path(ckpt_series)
    if path is None:
      raise errors.UserError(self.missing_message())
    state = self.get_experiment_state(ckpt_series)
    module = state.experiment_module
    train_state = checkpoint_files.read(path, module.abstract_train_state())
    state.global_step = int(train_state.global_step)
    self._check_origin(path, state.global_step)
    module.restore_from_snapshot({'train_state': train_state})
    self._chosen.clear()
    if ckpt_series == 'latest' and self.writer is not None:
      # Again: the process that saved it may have been killed before it did so.
      module.write_samples(self.writer, state.global_step)

  def missing_message(self) -> str:
    """Returns where a checkpoint was looked for and what to do."""
    return (
      f'no checkpoint in {self._folder("latest")}: train first '
      '(--jaxline_mode=train), or name a checkpoint with '
      '--config.restore_path=DIR'
    )

  def own_step(self) -> int | None:
    """Returns the newest step in the run's own folder not known as damaged."""
    for path in _newest_first(self._folder('latest')):
      if self._damage.get(path) is None:
        return int(os.path.basename(path))
    return None

  def describe_newest(self) -> str:
    """Returns what there is to go back to after a failure."""
    step = self.own_step()
    if step is None:
      return 'no checkpoint was saved before'
    return f'the last good checkpoint is {self._folder("latest", str(step))}'

  def is_own(self, path: str) -> bool:
    """Returns whether a checkpoint lies in this run's folder."""
    root = os.path.realpath(self._root)
    return os.path.realpath(path).startswith(root + os.sep)

  def _folder(self, *parts: str) -> str:
    return os.path.join(self._root, *parts)

  def _candidates(self, ckpt_series: str) -> list[str]:
    """Returns the folders of a series' checkpoints, the wanted one first."""
    own = _newest_first(self._folder(ckpt_series))
    if ckpt_series == 'best':
      # Those with damaged metrics come first, to be noticed.
      scores = {path: self._score(path) for path in own}
      wanted = [path for path in own if scores[path] > float('-inf')]
      return sorted(wanted, key=scores.__getitem__, reverse=True)
    if self._mode == 'train' and own:
      return own
    given = self._config.restore_path
    if not given and self._mode != 'train':
      given = self._config.eval_specific_checkpoint_dir
    return _find_checkpoints(given) if given else own

  def _score(self, path: str) -> float:
    """Higher is better; infinite if damaged, -infinite if of another metric."""
    metric = _read_metric(path)
    if metric is None:
      return float('inf')
    if metric.best_model_eval_metric != self._config.best_model_eval_metric:
      return float('-inf')
    higher = self._config.best_model_eval_metric_higher_is_better
    return (1 if higher else -1) * metric.best_eval_metric_value

  # Damage.

  def _why_damaged(self, path: str) -> str | None:
    """Returns what is wrong with a checkpoint, None if it is whole."""
    if path not in self._damage:
      try:
        checkpoint_files.check(path)
        self._damage[path] = None
      except checkpoint_files.DamagedError as error:
        self._damage[path] = str(error)
    return self._damage[path]

  def _set_damaged_aside(self, ckpt_series: str) -> None:
    """Moves a series' damaged checkpoints away, so that none is ever deleted.

    Only who writes a series may do this: training, under the lock of the run,
    that of 'latest', and evaluation that of 'best'.
    """
    folder = self._folder('damaged', ckpt_series)
    for path in _newest_first(self._folder(ckpt_series)):
      if self._why_damaged(path) is not None:
        os.makedirs(folder, exist_ok=True)
        target = files.unused_path(os.path.join(folder, os.path.basename(path)))
        os.rename(path, target)
        logging.warning('moved the damaged checkpoint %s to %s', path, target)

  def _check_origin(self, path: str, step: int) -> None:
    """Raises UserError unless a checkpoint belongs where it is."""
    if str(step) != os.path.basename(path):
      raise errors.UserError(
        f'the checkpoint {path} holds the state of step {step}: move it away'
      )
    config = checkpoint_files.read_config(path)
    if config is None or self._schema is None:
      return
    try:
      changes = run_directory.describe_changes(
        config, self._config, self._schema
      )
    except TypeError as error:
      raise errors.UserError(
        f'the checkpoint {path} cannot be read: its config is none ({error})'
      ) from error
    message = f'the checkpoint {path} was saved with another config: {changes}'
    if changes and self._mode == 'train' and self.is_own(path):
      raise errors.UserError(f'{message}. Set it back, or move it away')
    if changes:
      logging.warning('%s', message)


def _only_damaged(damaged: Mapping[str, str]) -> errors.UserError:
  reasons = '; '.join(f'{path}: {why}' for path, why in damaged.items())
  return errors.UserError(
    f'no whole checkpoint: {reasons}. Nothing was deleted. Put back a copy, or '
    'move what is damaged away'
  )


def steps_in(folder: str) -> list[int]:
  """Returns the steps whose checkpoints lie in a series' folder."""
  names = os.listdir(folder) if os.path.isdir(folder) else []
  return sorted(
    int(name)
    for name in names
    if checkpoint_files.is_step_folder(os.path.join(folder, name))
  )


def _newest_first(folder: str) -> list[str]:
  return [os.path.join(folder, str(step)) for step in steps_in(folder)[::-1]]


def find_checkpoint(path: str) -> str:
  """Finds the checkpoint that a user means by a path.

  Args:
    path: a run's folder, a folder of checkpoints (`checkpoints/latest`,
      `checkpoints/best`) or that of a single step.

  Returns:
    The folder of one step: the newest by step, in a folder `best` the one saved
    last, which is the best.

  Raises:
    errors.UserError: if there is none.
  """
  return _find_checkpoints(path)[0]


def _find_checkpoints(path: str) -> list[str]:
  """Returns what `find_checkpoint` chooses from, its choice first."""
  path = os.path.abspath(os.path.expanduser(path))
  if checkpoint_files.is_step_folder(path):
    return [path]
  for parts in ([], ['latest'], [_CHECKPOINTS, 'latest']):
    folder = os.path.join(path, *parts)
    if found := _newest_first(folder):
      if os.path.basename(folder) == 'best':
        metrics = {path: _read_metric(path) for path in found}
        # Those with damaged metrics come first, to be noticed.
        found.sort(
          key=lambda path: getattr(metrics[path], 'save_time', float('inf')),
          reverse=True,
        )
      return found
  raise errors.UserError(
    f'no checkpoint in {path} (looked there, in latest/ and in '
    'checkpoints/latest/): config.restore_path takes the folder of a run, of '
    'its checkpoints/latest or of one step'
  )


def _read_metric(path: str) -> checkpoint_files.Metric | None:
  try:
    return checkpoint_files.read_metric(path)
  except checkpoint_files.DamagedError:
    return None
