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
"""jaxline's Checkpointer on Orbax.

```
<run>/checkpoints/latest/<step>/state/       one replica of the TrainState
<run>/checkpoints/nonfinite/<step>/state/    the same, around a step with NaN
<run>/checkpoints/best/<step>/state/         the same, of the best evaluations
<run>/checkpoints/best/<step>/metrics/       JSON: the metric's name and value
```

Every process reads and writes on its own (Orbax is told that there is only one
process): the state is the same on all of them, and jaxline lets only the first
one save. No pickle: loading a checkpoint runs no code.
"""

from collections.abc import Mapping
import functools
import json
import os
import types
from typing import Any

from absl import logging
from etils import epath
import jax
from ml_collections import config_dict
import numpy as np
from orbax import checkpoint as ocp

from jaxline_harness import errors

_CHECKPOINTS = 'checkpoints'
_STATE = 'state'  # The item of a checkpoint that holds the TrainState.
_METADATA = '_CHECKPOINT_METADATA'
_METRIC_NAME = 'best_model_eval_metric'
_METRIC_VALUE = 'best_eval_metric_value'
_MAX_DIFFERENCES = 6


class ExperimentState(types.SimpleNamespace):
  """What jaxline keeps of one series: `global_step`, `experiment_module`, ...

  Attributes:
    save_checkpoint: saves the series now; a no-op for a step already saved.
  """


class Checkpointer:
  """Saves and restores `train_loop.ChunkedExperiment`s for jaxline.

  Attributes:
    writer: handed to `write_samples` after each save of 'latest'; None for
      none.
  """

  def __init__(
    self, config: config_dict.ConfigDict, mode: str, writer: Any = None
  ):
    """Prepares to save and restore; touches no file.

    Args:
      config: jaxline's config with `checkpoint_dir`, `restore_path`,
        `eval_specific_checkpoint_dir` and `max_checkpoints_to_keep`.
      mode: 'train' or 'eval'.
      writer: see the attribute.
    """
    self._config = config
    self._mode = mode
    self.writer = writer
    self._states = {}
    self._managers = {}
    self._root = os.path.join(
      os.path.abspath(os.path.expanduser(config.checkpoint_dir)), _CHECKPOINTS
    )

  # jaxline's protocol.

  def get_experiment_state(self, ckpt_series: str) -> ExperimentState:
    """Returns the state of a series, always the same object."""
    if ckpt_series not in self._states:
      self._states[ckpt_series] = ExperimentState(
        save_checkpoint=functools.partial(self.save, ckpt_series)
      )
    return self._states[ckpt_series]

  def save(self, ckpt_series: str) -> None:
    """Saves a series at its state's step unless that step is saved already."""
    state = self.get_experiment_state(ckpt_series)
    step = int(state.global_step)
    folder = self._series_folder(ckpt_series)
    metrics = self._metrics(state) if ckpt_series == 'best' else None
    if step in steps_in(folder):
      if ckpt_series != 'best':
        return
      self._manager(ckpt_series).delete(step)  # The metric was measured anew.
    snapshot = state.experiment_module.snapshot_state()
    self._manager(ckpt_series).save(
      step,
      args=ocp.args.Composite(
        **{_STATE: ocp.args.StandardSave(snapshot['train_state'])}
      ),
      metrics=metrics,
      force=True,
    )
    logging.info('saved %s', os.path.join(folder, str(step)))
    if ckpt_series == 'latest' and self.writer is not None:
      state.experiment_module.write_samples(self.writer, step)

  def can_be_restored(self, ckpt_series: str) -> bool:
    """Returns whether there is a checkpoint of this series to restore."""
    return self.restore_path(ckpt_series) is not None

  def restore_path(self, ckpt_series: str) -> str | None:
    """Returns the folder of the checkpoint that `restore` would read, or None.

    Args:
      ckpt_series: 'latest' or 'best'. For 'latest' it is in eval mode the one
        that `config.restore_path` names, in train mode the run's own newest one
        and only where there is none the one that `config.restore_path` names.

    Raises:
      errors.UserError: if `config.restore_path` is needed and holds none.
    """
    if ckpt_series == 'best':
      return self._best_path()
    own = newest_step_folder(self._series_folder(ckpt_series))
    given = self._given_path()
    if given and (self._mode != 'train' or own is None):
      return find_checkpoint(given)
    return own

  def restore(self, ckpt_series: str) -> None:
    """Restores a series: the experiment's state, the step, the best metric.

    Args:
      ckpt_series: 'latest' or 'best'.

    Raises:
      errors.UserError: if there is no checkpoint, or it does not fit the
        networks and optimisers of the config.
    """
    path = self.restore_path(ckpt_series)
    if path is None:
      raise errors.UserError(self.missing_message())
    state = self.get_experiment_state(ckpt_series)
    module = state.experiment_module
    train_state = _read(path, module.abstract_train_state())
    module.restore_from_snapshot({'train_state': train_state})
    state.global_step = int(train_state.global_step)
    if ckpt_series == 'best':
      state.best_eval_metric_value = _read_metrics(path)[_METRIC_VALUE]

  def wait_for_checkpointing_to_finish(self) -> None:
    """Waits until all checkpoints are on disk."""
    for manager in self._managers.values():
      manager.wait_until_finished()

  # Beyond the protocol.

  def missing_message(self) -> str:
    """Returns where a checkpoint was looked for and what to do."""
    return (
      f'no checkpoint in {self._series_folder("latest")}: train first '
      '(--jaxline_mode=train), or name a checkpoint with '
      '--config.restore_path=DIR'
    )

  def own_step(self) -> int | None:
    """Returns the step of the newest checkpoint in the run's own folder."""
    steps = steps_in(self._series_folder('latest'))
    return steps[-1] if steps else None

  def step_to_restore(self) -> int | None:
    """Returns the step of the checkpoint that training would start from."""
    path = self.restore_path('latest')
    return None if path is None else int(os.path.basename(path))

  def describe_newest(self) -> str:
    """Returns what there is to go back to after a failure."""
    step = self.own_step()
    if step is None:
      return 'no checkpoint was saved before'
    folder = self._series_folder('latest')
    return f'the last good checkpoint is {os.path.join(folder, str(step))}'

  def save_for_inspection(self, states: Mapping[int, Any]) -> str:
    """Saves states that are not to be gone on from, as `nonfinite/<step>`.

    Args:
      states: by their steps.

    Returns:
      Where they are, in words.
    """
    folder = self._series_folder('nonfinite')
    if jax.process_index() == 0:
      for step, state in states.items():
        path = epath.Path(folder) / str(step) / _STATE
        handler = ocp.StandardCheckpointHandler()
        path.rmtree(missing_ok=True)
        path.mkdir(parents=True)
        handler.save(path, args=ocp.args.StandardSave(state))
        handler.finalize(path)
    return (
      f'the states before and after this step are in {folder} for inspection'
    )

  def is_own(self, path: str) -> bool:
    """Returns whether a checkpoint lies in this run's folder."""
    return os.path.realpath(path).startswith(
      os.path.realpath(self._root) + os.sep
    )

  def close(self) -> None:
    """Ends Orbax's threads."""
    for manager in self._managers.values():
      manager.close()

  def _given_path(self) -> str:
    path = self._config.get('restore_path')
    if not path and self._mode != 'train':
      path = self._config.get('eval_specific_checkpoint_dir')
    return path or ''

  def _series_folder(self, ckpt_series: str) -> str:
    return os.path.join(self._root, ckpt_series)

  def _manager(self, ckpt_series: str) -> ocp.CheckpointManager:
    """Returns the Orbax manager of a series, which makes its folder."""
    if ckpt_series not in self._managers:
      folder = self._series_folder(ckpt_series)
      os.makedirs(folder, exist_ok=True)
      me = jax.process_index()
      self._managers[ckpt_series] = ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(
          max_to_keep=self._config.max_checkpoints_to_keep,
          best_fn=self._score if ckpt_series == 'best' else None,
          create=False,
          cleanup_tmp_directories=True,
          enable_async_checkpointing=False,
          multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=me,
            active_processes={me},
            barrier_sync_key_prefix=f'{ckpt_series}_{me}',
          ),
        ),
      )
    return self._managers[ckpt_series]

  def _metrics(self, state: ExperimentState) -> dict[str, Any]:
    return {
      _METRIC_NAME: state.best_model_eval_metric,
      _METRIC_VALUE: float(state.best_eval_metric_value),
    }

  def _score(self, metrics: dict[str, Any]) -> float:
    """Higher is better; other metrics' checkpoints are the first to go."""
    if metrics[_METRIC_NAME] != self._config.best_model_eval_metric:
      return float('-inf')
    if self._config.best_model_eval_metric_higher_is_better:
      return metrics[_METRIC_VALUE]
    return -metrics[_METRIC_VALUE]

  def _best_path(self) -> str | None:
    """Returns the best checkpoint by the config's metric, or None."""
    folder = self._series_folder('best')
    paths = [os.path.join(folder, str(step)) for step in steps_in(folder)]
    scored = [(self._score(_read_metrics(path)), path) for path in paths]
    scored = [pair for pair in scored if pair[0] > float('-inf')]
    return max(scored)[1] if scored else None


def steps_in(folder: str) -> list[int]:
  """Returns the steps whose complete checkpoints lie in a series' folder."""
  if not os.path.isdir(folder):
    return []
  return sorted(
    int(name)
    for name in os.listdir(folder)
    if _is_step_folder(os.path.join(folder, name))
  )


def _is_step_folder(path: str) -> bool:
  # Orbax writes into `<step>.orbax-checkpoint-tmp...` and renames at the end.
  return os.path.basename(path).isdigit() and os.path.isdir(
    os.path.join(path, _STATE)
  )


def newest_step_folder(folder: str) -> str | None:
  """Returns the folder of a series' highest step, or None."""
  steps = steps_in(folder)
  return os.path.join(folder, str(steps[-1])) if steps else None


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
  path = os.path.abspath(os.path.expanduser(path))
  if _is_step_folder(path):
    return path
  candidates = [path] + [
    os.path.join(path, *parts)
    for parts in (['latest'], [_CHECKPOINTS, 'latest'])
  ]
  for folder in candidates:
    if steps_in(folder):
      if os.path.basename(folder) != 'best':
        return newest_step_folder(folder)
      saved = [os.path.join(folder, str(step)) for step in steps_in(folder)]
      return max(saved, key=_commit_time)
  raise errors.UserError(
    f'no checkpoint in {path} (looked there, in latest/ and in '
    'checkpoints/latest/): config.restore_path takes the folder of a run, of '
    'its checkpoints/latest or of one step'
  )


def _commit_time(path: str) -> int:
  with open(os.path.join(path, _METADATA), encoding='utf-8') as f:
    return json.load(f).get('commit_timestamp_nsecs') or 0


def _read_metrics(path: str) -> dict[str, Any]:
  with open(os.path.join(path, 'metrics', 'metrics'), encoding='utf-8') as f:
    return json.load(f)


def _read(path: str, abstract_state: Any) -> Any:
  """Reads the TrainState of a checkpoint as numpy arrays.

  Args:
    path: the folder of one step.
    abstract_state: shapes and types of the state that the config makes.

  Returns:
    The state.

  Raises:
    errors.UserError: if the two differ in structure, shapes or types. (Orbax
      itself would hand back arrays of other shapes without a word.)
  """
  folder = epath.Path(path) / _STATE
  handler = ocp.StandardCheckpointHandler()
  saved = _array_types(handler.metadata(folder).tree)
  wanted = _array_types(
    ocp.tree.serialize_tree(abstract_state, keep_empty_nodes=True)
  )
  if saved != wanted:
    raise errors.UserError(
      f"the checkpoint {path} does not fit this config's networks and "
      f'optimisers: {_describe_differences(saved, wanted)}'
    )
  # Arrays without memory: only their shapes and types are read.
  target = jax.tree.map(
    lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), abstract_state
  )
  return handler.restore(folder, args=ocp.args.StandardRestore(target))


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
