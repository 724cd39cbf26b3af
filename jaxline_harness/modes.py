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
"""What an experiment is run for: training and evaluation."""

from collections.abc import Mapping, Sequence
import contextlib
import hashlib
import os
import platform
import shlex
import sys
from typing import Any

from absl import logging
import jax
from ml_collections import config_dict
import numpy as np

from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import configs
from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import loggers
from jaxline_harness import periodic
from jaxline_harness import prng
from jaxline_harness import run_directory
from jaxline_harness import run_lock
from jaxline_harness import signals
from jaxline_harness import train_loop


def enable_compilation_cache() -> None:
  """Caches compiled programs on disk unless the user has chosen otherwise."""
  if jax.config.values.get('jax_compilation_cache_dir') is not None:
    return
  folder = os.path.join(files.cache_folder(), _machine())
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError:
    return  # Compiling anew does no harm.
  if os.access(folder, os.W_OK):
    jax.config.update('jax_compilation_cache_dir', folder)


def _machine() -> str:
  """Names the CPU's kind: programs for another CPU may not run on this one."""
  text = platform.machine()
  with contextlib.suppress(OSError), open('/proc/cpuinfo') as f:
    text += next((line for line in f if line.startswith('flags')), '')
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_experiment(
  experiment_class: Any, mode: str, config: config_dict.ConfigDict
) -> train_loop.ChunkedExperiment:
  """Makes an experiment as jaxline does; it suits the whole config.

  Args:
    experiment_class: a `train_loop.ChunkedExperiment`.
    mode: 'train' or 'eval'.
    config: a full config.

  Raises:
    errors.UserError: if the data or the devices do not suit it.
  """
  rng = prng.raw_key(config.random_seed)
  if mode == 'train' and not config.legacy_random_seed_behavior:
    rng = prng.split_seed(config.random_seed, 2)[1]
  experiment = experiment_class(mode, init_rng=rng, **config.experiment_kwargs)
  experiment.check_config(config)
  return experiment


def run_training(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  schema: configs.Schema,
  watcher: signals.Watcher,
) -> None:
  """Trains, from the newest checkpoint of the run's folder if there is one.

  Args:
    experiment_class: a `train_loop.ChunkedExperiment`.
    config: a full config.
    schema: its settings.
    watcher: of signals.

  Raises:
    errors.UserError: if the config, the data and the folder do not go together.
    errors.TrainingError: if training cannot go on.
  """
  is_first = jax.process_index() == 0
  if is_first:
    loggers.check_installed(config.loggers)
  checkpointer = checkpointing.Checkpointer(config, 'train', schema=schema)
  state = checkpointer.get_experiment_state('latest')
  state.experiment_module = make_experiment(experiment_class, 'train', config)
  with contextlib.ExitStack() as stack:
    if is_first:
      stack.enter_context(run_lock.locked(config.checkpoint_dir))
      stack.callback(_close_writer, checkpointer)
    step = checkpointer.step_to_restore()
    if is_first:
      own = step is not None and checkpointer.own_step() is not None
      _prepare_folder(config, schema, checkpointer, own)
    try:
      while not _train_from(step, config, checkpointer):
        step = checkpointer.step_to_restore()
    except errors.TrainingError as error:
      raise errors.TrainingError(
        f'{error}; {checkpointer.describe_newest()}'
      ) from error
  if is_first:
    stopped = watcher.stop_signal is not None
    _print_end_of_training(config, state.global_step, stopped)
    if experiment_class.report_command:
      folder = shlex.quote(config.checkpoint_dir)
      print(f'Report: {experiment_class.report_command} {folder}')


def _prepare_folder(
  config: config_dict.ConfigDict,
  schema: configs.Schema,
  checkpointer: checkpointing.Checkpointer,
  has_checkpoint: bool,
) -> None:
  run_directory.prepare(config, has_checkpoint, schema)
  checkpointer.check_folder()
  if has_checkpoint and config.delete_existing_local_checkpoints:
    # A debugging aid in the published configs, where it is always on: it would
    # make every second start of a run its end.
    logging.warning(
      'config.delete_existing_local_checkpoints has no effect: training goes '
      'on from %s; delete that folder to start anew',
      config.checkpoint_dir,
    )


def _train_from(
  step: int | None, config: config_dict.ConfigDict, checkpointer: Any
) -> bool:
  """Trains from the checkpoint of a step; False if it is to be done again."""
  state = checkpointer.get_experiment_state('latest')
  experiment = state.experiment_module
  state.global_step = 0
  is_first = jax.process_index() == 0
  _close_writer(checkpointer)
  if is_first:
    checkpointer.writer = run_directory.Writer.of_config(
      config, 'train', step or 0
    )
  if step is not None:
    checkpointer.restore('latest')
  elif is_first and config.save_initial_train_checkpoint:
    checkpointer.save('latest')
  try:
    observers = _make_observers(config, checkpointer)
    actions = _make_actions(config, checkpointer, observers)
    train_loop.run_loop(experiment, config, state, actions)
  except errors.NonFiniteError as error:
    message = f'{error}; {checkpointer.save_for_inspection(error.states)}'
    distributed.exchange(None)  # The first process writes: it is not ended.
    if not experiment.back_off():
      raise errors.TrainingError(message) from error
    logging.warning(
      '%s; goes back to step %d with a smaller learning rate',
      message,
      checkpointer.own_step() or step or 0,
    )
    return False
  if is_first:
    checkpointer.save('latest')
  distributed.exchange(None)  # None ends before the first one has saved.
  if checkpointer.save_error is not None:
    raise errors.TrainingError(checkpointer.save_error)
  return True


def _close_writer(checkpointer: checkpointing.Checkpointer) -> None:
  if checkpointer.writer is not None:
    checkpointer.writer.close()
  checkpointer.writer = None


def _make_observers(
  config: config_dict.ConfigDict, checkpointer: Any
) -> list[periodic.PeriodicAction]:
  """Returns what measures, and writes, an experiment's observations."""
  experiment = checkpointer.get_experiment_state('latest').experiment_module
  return [
    _make_observer(observation, config, checkpointer)
    for observation in experiment.observations()
    if observation.every
  ]


def _make_observer(
  observation: periodic.Observation,
  config: config_dict.ConfigDict,
  checkpointer: Any,
) -> periodic.PeriodicAction:
  series, every, measure = observation
  writer = checkpointer.writer and checkpointer.writer.of_series(series)

  def observe(step, logs):
    del logs
    scalars = measure(step, writer)
    if writer is None:
      return
    writer.write_scalars(step, scalars)
    if series == 'eval' and config.best_model_eval_metric:
      _save_if_best(config, checkpointer, scalars)

  return periodic.PeriodicAction(
    observe, every, last_step=config.training_steps
  )


def _make_actions(
  config: config_dict.ConfigDict,
  checkpointer: Any,
  observers: Sequence[periodic.PeriodicAction],
) -> Sequence[periodic.PeriodicAction]:
  """Returns what to do between chunks: rows, lines of the log, checkpoints.

  Rows come before the checkpoint: a process may be killed between the two, and
  no restart makes a step again that has been saved.

  Args:
    config: a full config.
    checkpointer: its `writer` is None in processes that write nothing.
    observers: what else there is to measure.
  """
  unit = config.logging_interval_type or config.interval_type
  growth_ratios = config.periodic_action_growth_ratios
  log = periodic.PeriodicAction(
    lambda step, logs: logging.info('step %d: %s', step, _to_floats(logs)),
    config.log_tensors_interval,
    unit,
    growth_ratios,
  )
  if checkpointer.writer is None:
    return [*observers, log]
  interval = config.log_train_data_interval
  log_all = config.log_all_train_data and interval is not None
  write_row = periodic.PeriodicAction(
    checkpointer.writer.write_scalars,
    1 if log_all else interval,
    'steps' if log_all else unit,
    growth_ratios,
    last_step=config.training_steps,
  )
  save = periodic.PeriodicAction(
    lambda *_: checkpointer.save('latest'),
    config.save_checkpoint_interval,
    config.checkpoint_interval_type or config.interval_type,
    growth_ratios,
  )
  return [write_row, *observers, log, save]


def _to_floats(logs: Mapping[str, Any]) -> dict[str, float]:
  return {name: float(value) for name, value in logs.items()}


def _print_end_of_training(
  config: config_dict.ConfigDict, step: int, stopped: bool
) -> None:
  folder = config.checkpoint_dir
  if stopped and step < config.training_steps:
    print(
      f'Stopped at step {step}, saved. The same command goes on from there.'
    )
  else:
    print(f'Trained to step {step}.')
  print(f'Files of the run: {folder}')
  for name in (
    'config.json',
    f'checkpoints/latest/{step}',
    'train/metrics.csv',
    f'samples/step_{step:08d}.png',
  ):
    if os.path.exists(os.path.join(folder, name)):
      print(f'  {name}')
  tensorboard = os.path.join(os.path.dirname(sys.executable), 'tensorboard')
  if os.path.exists(tensorboard):
    print(f'Curves: {tensorboard} --logdir {folder}')


def run_evaluation(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  schema: configs.Schema,
  every: bool = False,
) -> None:
  """Evaluates one checkpoint, or all, and prints the metrics.

  Args:
    experiment_class: a `train_loop.ChunkedExperiment`.
    config: a full config.
    schema: its settings.
    every: whether every checkpoint that the run keeps.

  Raises:
    errors.UserError: if there is nothing to evaluate, or what the best is
      chosen by is not measured.
  """
  if jax.process_index() == 0:
    loggers.check_installed(config.loggers)
  checkpointer = checkpointing.Checkpointer(config, 'eval', schema=schema)
  paths: Sequence[str | None]
  if every:
    paths = _choose_all(config, checkpointer)
  else:
    paths = [checkpointer.choose()]
  if paths == [None] and not config.eval_initial_weights:
    raise errors.UserError(checkpointer.missing_message())
  experiment = make_experiment(experiment_class, 'eval', config)
  state = checkpointer.get_experiment_state('latest')
  state.experiment_module, state.global_step = experiment, 0
  writer = None
  with contextlib.ExitStack() as stack:
    if jax.process_index() == 0:
      writer = run_directory.Writer.of_config(config, 'eval')
      stack.callback(writer.close)
    for path in paths:
      _evaluate(path, config, checkpointer, writer)


def _choose_all(
  config: config_dict.ConfigDict, checkpointer: checkpointing.Checkpointer
) -> Sequence[str | None]:
  """Returns the checkpoints of the run itself; [None] if there are none."""
  for name in ('restore_path', 'eval_specific_checkpoint_dir'):
    if config[name]:
      logging.warning(
        'config.%s has no effect with --all, which evaluates what %s keeps',
        *(name, config.checkpoint_dir),
      )
  return checkpointer.kept() or [None]


def _evaluate(
  path: str | None,
  config: config_dict.ConfigDict,
  checkpointer: checkpointing.Checkpointer,
  writer: run_directory.Writer | None,
) -> None:
  """Evaluates one checkpoint, or the initial state where there is none."""
  state = checkpointer.get_experiment_state('latest')
  if path is not None:
    checkpointer.restore('latest', path)
  else:
    state.experiment_module.ensure_train_state()
  scalars = state.experiment_module.evaluate(
    global_step=np.asarray([state.global_step]),
    rng=jax.random.PRNGKey(config.random_seed),
    writer=writer,
  )
  if writer is None:
    return
  writer.write_scalars(state.global_step, scalars)
  # Another run's best is not ours.
  if config.best_model_eval_metric and path and checkpointer.is_own(path):
    _save_if_best(config, checkpointer, scalars)
  _print_metrics(path, state.global_step, scalars)


def _save_if_best(
  config: config_dict.ConfigDict, checkpointer: Any, scalars: Mapping[str, Any]
) -> None:
  """Keeps the evaluated checkpoint if none before had a better metric."""
  name = config.best_model_eval_metric
  if name not in scalars:
    raise errors.UserError(
      f'config.best_model_eval_metric={name} is not measured; there is '
      f'{", ".join(sorted(scalars))}'
    )
  sign = 1 if config.best_model_eval_metric_higher_is_better else -1
  before = sign * float('-inf')
  path = checkpointer.restore_path('best')
  if path is not None:
    before = checkpoint_files.read_metric(path).best_eval_metric_value
  if sign * scalars[name] > sign * before:  # NaN is not.
    latest = checkpointer.get_experiment_state('latest')
    best = checkpointer.get_experiment_state('best')
    best.experiment_module = latest.experiment_module
    best.global_step = latest.global_step
    best.best_model_eval_metric = name
    best.best_eval_metric_value = scalars[name]
    best.experiment_module.on_new_best_model(best)
    checkpointer.save('best')


def _print_metrics(path: str | None, step: int, scalars: Any) -> None:
  print(f'Step {step} ({path or "initial weights"})')
  width = max(map(len, scalars), default=0)
  for name in sorted(scalars):
    print(f'  {name:<{width}}  {float(scalars[name]):.6g}')
