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
"""Configs: the fields that every one has, filling in, and their checks."""

from collections.abc import Callable, Iterable, Mapping
import difflib
from typing import Any

from ml_collections import config_dict

from jaxline_harness import errors
from jaxline_harness import fields


def get_base_config() -> config_dict.ConfigDict:
  """Returns the top-level fields that every config has, with their defaults.

  They are jaxline's own and the harness's.
  """
  from jaxline import base_config  # pylint: disable=g-import-not-at-top

  config = base_config.get_base_config()
  # The run's folder; empty means runs/<name of the config file>.
  config.checkpoint_dir = ''
  # A checkpoint to evaluate, or to start training from: the folder of a run, of
  # its checkpoints/latest or of one step.
  config.restore_path = ''
  # The same, for evaluation only; the name in published configs.
  config.eval_specific_checkpoint_dir = ''
  # In published configs. Has no effect: see `_train`.
  config.delete_existing_local_checkpoints = False
  # The most steps between two looks of the host at the device.
  config.max_chunk_steps = 1000
  # When a checkpoint or a figure cannot be written (a full disk): 'stop' ends
  # with one line, 'go_on' warns and tries again with the next one.
  config.on_save_error = 'stop'
  return config


def fill_top_level(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  """Adds absent top-level fields with their defaults, and checks them all.

  Args:
    config: a config; it is changed.

  Returns:
    The same config.

  Raises:
    errors.UserError: if it has a top-level field that does not exist, or one
      with which jaxline could not run.
  """
  base = get_base_config()
  for name in config:
    if name not in base:
      raise errors.UserError(
        f'config.{name} does not exist{suggestion(str(name), base.keys())}'
      )
  with config.unlocked():
    for name in base:
      if name not in config:
        config[name] = base[name]
  _check_values(config)
  return config


def refuse_seeds(config: config_dict.ConfigDict, field: str) -> None:
  """Refuses jaxline's own settings of keys, where none come from them.

  Args:
    config: a full config.
    field: where all keys of the experiment come from.

  Raises:
    errors.UserError: if one of them is not at its default.
  """
  base = get_base_config()
  for name in (
    'random_seed',
    'random_mode_train',
    'random_mode_eval',
    'legacy_random_seed_behavior',
  ):
    if config[name] != base[name]:
      raise errors.UserError(
        f'config.{name}={config[name]!r} has no effect: all keys come from '
        f'{field}'
      )


def check_best_metric(
  config: config_dict.ConfigDict, metrics: Mapping[str, bool]
) -> None:
  """Checks what the best checkpoint is chosen by, if one is.

  Args:
    config: a full config.
    metrics: whether more is better, of each metric that `evaluate` gives.

  Raises:
    errors.UserError: if it is none of these, or the worst would be kept.
  """
  metric = config.best_model_eval_metric
  if not metric:
    return
  fields.one_of(metrics).check('config.best_model_eval_metric', metric)
  higher = config.best_model_eval_metric_higher_is_better
  if higher != metrics[metric]:
    raise errors.UserError(
      f'config.best_model_eval_metric_higher_is_better is {higher}, but of '
      f'{metric} {"more" if metrics[metric] else "less"} is better: the '
      'worst checkpoint would be kept'
    )


def fill_in(
  config: config_dict.ConfigDict,
  defaults: config_dict.ConfigDict,
  prepare: Callable[[dict[str, Any]], None] = lambda given: None,
) -> None:
  """Fills in the top level as `fill_top_level` does, and `experiment_kwargs`.

  Args:
    config: a config; it is changed.
    defaults: a full one.
    prepare: changes what was given of `experiment_kwargs`, before.

  Raises:
    errors.UserError: for an unknown field, or a value in the place of fields.
  """
  fill_top_level(config)
  with config.unlocked():
    given = config_dict.ConfigDict(config.experiment_kwargs).to_dict()
    prepare(given)
    full = fields.merge(
      defaults.experiment_kwargs.to_dict(), given, 'config.experiment_kwargs'
    )
    config.experiment_kwargs = config_dict.ConfigDict(full, convert_dict=True)


def suggestion(name: str, names: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the nearest name, or ''."""
  names = list(names)
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
  if not near:  # Perhaps the right field without what leads to it.
    last = name.rsplit('.', 1)[-1]
    near = [n for n in names if n.rsplit('.', 1)[-1] == last]
  if not near:
    lasts = {n.rsplit('.', 1)[-1]: n for n in names}
    near = [
      lasts[n] for n in difflib.get_close_matches(last, lasts, n=1, cutoff=0.75)
    ]
  return f'; did you mean config.{near[0]}?' if near else ''


def _fields() -> dict[str, fields.Field]:
  """Returns what the top-level fields may hold."""
  from jaxline import utils  # pylint: disable=g-import-not-at-top

  steps_or_seconds = fields.one_of(('steps', 'secs'))
  # Seconds or steps; an interval that no run reaches is a slip.
  interval = fields.real(above=0, most=fields.MAX_INT32)
  random_mode = fields.one_of(mode.value for mode in utils.DistributedRNGMode)
  return {
    'training_steps': fields.whole(0, fields.MAX_INT32),
    'max_chunk_steps': fields.whole(1, fields.MAX_INT32),
    'on_save_error': fields.one_of(('stop', 'go_on')),
    'interval_type': steps_or_seconds,
    'logging_interval_type': steps_or_seconds.or_none(),
    'checkpoint_interval_type': steps_or_seconds.or_none(),
    # jaxline turns these off by None, and saving by 0.
    'log_tensors_interval': interval.or_none(),
    'log_train_data_interval': interval.or_none(),
    'save_checkpoint_interval': fields.real(0, fields.MAX_INT32),
    # Times powers of ten: others would never be met.
    'periodic_action_growth_ratios': fields.list_of(
      fields.real(1, 10)
    ).or_none(),
    'max_checkpoints_to_keep': fields.whole(1, fields.MAX_INT32),
    'random_seed': fields.SEED,
    'random_mode_train': random_mode,
    'random_mode_eval': random_mode,
    'best_model_eval_metric': fields.text(),
    'checkpoint_dir': fields.text(),
    'restore_path': fields.text(),
    'eval_specific_checkpoint_dir': fields.text(),
    'experiment_kwargs': fields.mapping(),
  } | dict.fromkeys(
    (
      'best_checkpoint_all_hosts',
      'best_model_eval_metric_higher_is_better',
      'delete_existing_local_checkpoints',
      'eval_initial_weights',
      'legacy_random_seed_behavior',
      'log_all_hosts',
      'log_all_train_data',
      'log_async',
      'one_off_evaluate',
      'save_initial_train_checkpoint',
      'train_checkpoint_all_hosts',
    ),
    fields.flag(),
  )


def _check_values(config: config_dict.ConfigDict) -> None:
  """Raises UserError if jaxline could not run with these top-level values."""
  from jaxline import base_config  # pylint: disable=g-import-not-at-top

  for name, field in _fields().items():
    field.check(f'config.{name}', config[name])
  try:
    base_config.check_constraints(config)
  except ValueError as error:
    raise errors.UserError(str(error)) from error
  logging_type = config.logging_interval_type or config.interval_type
  checkpoint_type = config.checkpoint_interval_type or config.interval_type
  for name, interval_type in (
    ('log_tensors_interval', logging_type),
    ('log_train_data_interval', logging_type),
    ('save_checkpoint_interval', checkpoint_type),
  ):
    interval = config[name]
    if interval_type == 'steps' and interval and interval != int(interval):
      raise errors.UserError(
        f'config.{name} counts steps and must be whole, not {interval!r}'
      )
  if config.periodic_action_growth_ratios is not None and 'secs' in (
    config.interval_type,
    logging_type,
    checkpoint_type,
  ):
    raise errors.UserError(
      "config.periodic_action_growth_ratios needs config.interval_type='steps'"
    )
  if config.log_all_hosts:
    raise errors.UserError(
      'config.log_all_hosts has no effect: process 0 logs what is averaged '
      'over all; set it to False'
    )
  for name in ('train_checkpoint_all_hosts', 'best_checkpoint_all_hosts'):
    if config[name]:
      raise errors.UserError(
        f'config.{name} must be False: process 0 saves the state that all have'
      )
