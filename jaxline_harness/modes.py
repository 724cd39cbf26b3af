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
"""What an experiment is run for: training and evaluation.

This is also the one place that mends what jaxline 0.0.8 calls and current JAX
no longer has.
"""

from collections.abc import Iterator
import contextlib
import hashlib
import os
import platform
import sys
from typing import Any

from absl import logging
from ml_collections import config_dict

from jaxline_harness import configs
from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import files


def mend_jaxline(jaxline_utils: Any) -> None:
  """Replaces what jaxline 0.0.8 calls and current JAX no longer has."""
  import jax  # pylint: disable=g-import-not-at-top

  from jaxline_harness import train_loop  # pylint: disable=g-import-not-at-top

  jaxline_utils.bcast_local_devices = train_loop.replicate
  jaxline_utils.rendezvous = lambda: distributed.exchange(None)
  # It prints a traceback for every error, also those that are one line here.
  jaxline_utils.log_activity = _log_activity
  if not hasattr(jax, 'tree_map'):
    # For jaxline's in-memory checkpointer.
    jax.tree_map = jax.tree.map  # type: ignore[attr-defined]


@contextlib.contextmanager
def _log_activity(activity_name: str) -> Iterator[None]:
  logging.info('%s ...', activity_name)
  yield
  logging.info('%s done', activity_name)


def enable_compilation_cache() -> None:
  """Caches compiled programs on disk unless the user has chosen otherwise."""
  import jax  # pylint: disable=g-import-not-at-top

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


def run_training(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  schema: configs.Schema,
  watcher: Any,
) -> None:
  """Trains, from the newest checkpoint of the run's folder if there is one."""
  import jax  # pylint: disable=g-import-not-at-top

  from jaxline_harness import checkpointing  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_lock  # pylint: disable=g-import-not-at-top

  folder = config.checkpoint_dir
  checkpointer = checkpointing.Checkpointer(config, 'train', schema=schema)
  experiment_class = _checked(experiment_class, config)
  with contextlib.ExitStack() as stack:
    if jax.process_index() == 0:
      stack.enter_context(run_lock.locked(folder))
    step = checkpointer.step_to_restore()
    if jax.process_index() == 0:
      own = step is not None and checkpointer.own_step() is not None
      run_directory.prepare(config, own, schema)
      checkpointer.check_folder()
      if own and config.delete_existing_local_checkpoints:
        # A debugging aid in the published configs, where it is always on: it
        # would make every second start of a run its end.
        logging.warning(
          'config.delete_existing_local_checkpoints has no effect: training '
          'goes on from %s; delete that folder to start anew',
          folder,
        )
    try:
      while not _train_to_the_end(experiment_class, config, checkpointer, step):
        experiment_class = _again(checkpointer)
        step = checkpointer.step_to_restore()
    except errors.TrainingError as error:
      raise errors.TrainingError(
        f'{error}; {checkpointer.describe_newest()}'
      ) from error
    step = checkpointer.get_experiment_state('latest').global_step
  if jax.process_index() == 0:
    _print_end_of_training(config, step, watcher.stop_signal is not None)


def _train_to_the_end(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  checkpointer: Any,
  step: int | None,
) -> bool:
  """Trains from the checkpoint of a step; False if it is to be done again."""
  import jax  # pylint: disable=g-import-not-at-top
  from jaxline import train  # pylint: disable=g-import-not-at-top

  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top

  with contextlib.ExitStack() as stack:
    writer = None
    if jax.process_index() == 0:
      writer = run_directory.Writer(
        config.checkpoint_dir, 'train', step or 0, config.on_save_error
      )
      stack.callback(writer.close)
    checkpointer.writer = writer
    try:
      train.train(
        experiment_class,
        config,
        checkpointer,
        writer=None,
        periodic_actions=_row_actions(config, writer),
      )
    except errors.NonFiniteError as error:
      message = f'{error}; {checkpointer.save_for_inspection(error.states)}'
      distributed.exchange(None)  # The first process writes: it is not ended.
      state = checkpointer.get_experiment_state('latest')
      if not state.experiment_module.back_off():
        raise errors.TrainingError(message) from error
      logging.warning(
        '%s; goes back to step %d with a smaller learning rate',
        message,
        checkpointer.own_step() or step or 0,
      )
      return False
  if checkpointer.save_error is not None:
    raise errors.TrainingError(checkpointer.save_error)
  return True


def _again(checkpointer: Any) -> Any:
  """Returns a maker of experiments that gives the one that there is."""
  experiment = checkpointer.get_experiment_state('latest').experiment_module
  return lambda mode, init_rng, **kwargs: experiment


def _row_actions(config: config_dict.ConfigDict, writer: Any) -> tuple:
  """Returns jaxline's action that writes metrics, to come before its others.

  jaxline's own one comes after the one that saves, and runs in a thread. A
  process killed between the two leaves a checkpoint without its row, and no
  restart makes that step again.

  Args:
    config: jaxline's config.
    writer: a `run_directory.Writer`, or None for no action.
  """
  from jaxline import utils  # pylint: disable=g-import-not-at-top

  if writer is None:
    return ()
  interval = config.log_train_data_interval
  interval_type = config.logging_interval_type or config.interval_type
  if config.log_all_train_data and interval is not None:
    interval, interval_type = 1, 'steps'
  return (
    utils.PeriodicAction(
      writer.write_scalars,
      interval_type=interval_type,
      interval=interval,
      run_async=False,
      logging_growth_ratios=config.periodic_action_growth_ratios,
      end_step_to_action=config.training_steps,
    ),
  )


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
  sys.stdout.flush()


def run_evaluation(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  schema: configs.Schema,
) -> None:
  """Evaluates one checkpoint and prints its metrics."""
  import jax  # pylint: disable=g-import-not-at-top
  from jaxline import train  # pylint: disable=g-import-not-at-top

  from jaxline_harness import checkpointing  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top

  checkpointer = checkpointing.Checkpointer(config, 'eval', schema=schema)
  path = checkpointer.choose()
  if path is None and not config.eval_initial_weights:
    raise errors.UserError(checkpointer.missing_message())
  with config.unlocked():
    config.one_off_evaluate = True
    if path is None or not checkpointer.is_own(path):
      config.best_model_eval_metric = ''  # Another run's best is not ours.
  writer = None
  if jax.process_index() == 0:
    writer = run_directory.Writer(
      config.checkpoint_dir, 'eval', on_error=config.on_save_error
    )
  train.evaluate(
    _with_initial_state(_checked(experiment_class, config), path is None),
    config,
    checkpointer,
    writer,
    'eval',
  )
  if writer is not None:
    writer.close()
    _print_metrics(path, *writer.last_scalars)


def _checked(experiment_class: Any, config: config_dict.ConfigDict) -> Any:
  """Returns a maker of experiments that suit the whole config."""

  def make(mode, init_rng, **kwargs):
    experiment = experiment_class(mode, init_rng=init_rng, **kwargs)
    experiment.check_config(config)
    return experiment

  return make


def _with_initial_state(experiment_class: Any, needed: bool) -> Any:
  """Returns a maker of experiments that have a state if nothing restores it."""

  def make(mode, init_rng, **kwargs):
    experiment = experiment_class(mode, init_rng=init_rng, **kwargs)
    if needed:
      experiment.ensure_train_state()
    return experiment

  return make


def _print_metrics(path: str | None, step: int, scalars: Any) -> None:
  print(f'Step {step} ({path or "initial weights"})')
  width = max(map(len, scalars), default=0)
  for name in sorted(scalars):
    print(f'  {name:<{width}}  {float(scalars[name]):.6g}')
  sys.stdout.flush()
