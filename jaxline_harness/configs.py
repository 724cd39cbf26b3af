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
"""Configs: the settings that every one has, filling in, and their checks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import difflib
import functools
import textwrap
from typing import Any

from ml_collections import config_dict

from jaxline_harness import errors
from jaxline_harness import loggers
from jaxline_harness import settings
from jaxline_harness.settings import Setting

# Where an experiment's own settings lie.
PREFIX = 'config.experiment_kwargs.config'

_STEPS = settings.whole(0, settings.MAX_INT32)
_SIZE = settings.whole(1, settings.MAX_INT32)
# Seconds or steps; an interval that no run reaches is a slip.
_INTERVAL = settings.real(above=0, most=settings.MAX_INT32).or_none()
_UNIT = settings.one_of(('steps', 'secs'))
_NOT_ALL_SAVE = settings.Field(
  'False: process 0 saves the state that all have', lambda value: value is False
)
_RANDOM_MODE = settings.one_of(
  f'{host}_host_{device}_device'
  for host in ('unique', 'same')
  for device in ('unique', 'same')
)
_KEYS = (
  lambda config: 'random_seed' not in config.experiment_kwargs.config,
  f'all keys come from {PREFIX}.random_seed',
)

# How long a run is, what it logs, saves and evaluates: no step changes.
_FREE: settings.Tree = {
  'training_steps': Setting(10_000, 'Steps of training.', _STEPS),
  'interval_type': Setting('steps', 'What all intervals count.', _UNIT),
  'log_tensors_interval': Setting(
    100.0, 'Between two lines of progress.', _INTERVAL
  ),
  'log_train_data_interval': Setting(
    100.0, 'Between two rows of metrics.', _INTERVAL
  ),
  'save_checkpoint_interval': Setting(
    1000.0,
    'Between two checkpoints; 0: at the end only.',
    settings.real(0, settings.MAX_INT32),
  ),
  'logging_interval_type': Setting(
    None, 'What the log_ intervals count; None: the same.', _UNIT
  ),
  'checkpoint_interval_type': Setting(
    None, 'What those of checkpoints count; None: the same.', _UNIT
  ),
  'periodic_action_growth_ratios': Setting(
    None,
    'Rows of metrics at these times powers of ten, too.',
    settings.list_of(settings.real(1, 10)),  # Others would never be met.
  ),
  'max_chunk_steps': Setting(
    1000, 'The most steps between two looks of the host at the device.', _SIZE
  ),
  'log_async': Setting(True, 'Of jaxline; has no effect here.'),
  'log_all_hosts': Setting(
    False,
    'Of jaxline.',
    only_if=(lambda _: False, 'process 0 logs what is averaged over all'),
  ),
  'log_all_train_data': Setting(False, 'A row of metrics at every step.'),
  'loggers': Setting(
    loggers.DEFAULT,
    'What gets metrics, pictures and the config. The tables (csv) are the '
    "run's own record: every run writes them, named or not.",
    loggers.field(),
  ),
  'max_checkpoints_to_keep': Setting(5, 'So many of the newest.', _SIZE),
  'save_initial_train_checkpoint': Setting(
    False, 'Saves before the first step, too.'
  ),
  'on_save_error': Setting(
    'stop',
    'When a file cannot be written (a full disk): end with one line, or warn '
    'and try again with the next one.',
    settings.one_of(('stop', 'go_on')),
  ),
  'train_checkpoint_all_hosts': Setting(False, 'Of jaxline.', _NOT_ALL_SAVE),
  'best_checkpoint_all_hosts': Setting(False, 'Of jaxline.', _NOT_ALL_SAVE),
  'delete_existing_local_checkpoints': Setting(
    False, 'In published configs; has no effect, but for a warning.'
  ),
  'checkpoint_dir': Setting(
    '', "The run's folder; empty: runs/<config>.", settings.path()
  ),
  'restore_path': Setting(
    '',
    'A checkpoint to evaluate, or to start from: the folder of a run, of its '
    'checkpoints/latest or of one step.',
    settings.path(),
  ),
  'eval_specific_checkpoint_dir': Setting(
    '', 'The same, to evaluate only.', settings.path()
  ),
  'eval_initial_weights': Setting(
    False, 'Evaluates them where there is no checkpoint.'
  ),
  'one_off_evaluate': Setting(False, 'Of jaxline; is always so here.'),
  'best_model_eval_metric': Setting(
    '', 'Metric of evaluations that the best checkpoint is kept by.'
  ),
  'best_model_eval_metric_higher_is_better': Setting(
    True, 'Whether more of it is better.'
  ),
}
TOP_LEVEL: settings.Tree = {
  **settings.change_no_step(_FREE),
  'random_seed': Setting(42, 'Of all keys.', settings.SEED, _KEYS),
  'random_mode_train': Setting(
    'unique_host_unique_device',
    'Which devices train with the same keys.',
    _RANDOM_MODE,
    _KEYS,
  ),
  'random_mode_eval': Setting(
    'same_host_same_device',
    'Which devices evaluate with the same keys.',
    _RANDOM_MODE,
    _KEYS,
    changes_no_step=True,
  ),
  'matmul_precision': Setting(
    None,
    'Of products of float32 matrices and convolutions on GPUs and TPUs. '
    'highest: float32; None: what JAX does, TF32 on GPUs and bfloat16 on TPUs '
    'unless JAX_DEFAULT_MATMUL_PRECISION says otherwise; high: between the '
    'two.',
    settings.one_of(('default', 'high', 'highest')).or_none(),
  ),
  'deterministic': Setting(
    False,
    'Whether a GPU takes only operations that give the same bits each time, '
    'which may be slower; CPUs and TPUs have no others.',
  ),
  'legacy_random_seed_behavior': Setting(
    False, 'Uses the seed unsplit.', only_if=_KEYS
  ),
}


@dataclasses.dataclass(frozen=True)
class Schema:
  """All settings of an experiment's configs.

  Attributes:
    experiment: those of `experiment_kwargs.config`.
    defaults: of the other ones, where they are not as declared here.
    metrics: whether more is better, of each metric that `evaluate` gives; None
      if that is not known.
    translate: changes, in place, what was given for `experiment_kwargs`.
    contradictions: tests of `experiment_kwargs.config`, and what is wrong where
      they are true.
    check: raises UserError for all else that no single setting tells.
  """

  experiment: settings.Tree
  defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  metrics: Mapping[str, bool] | None = None
  translate: Callable[[dict[str, Any]], None] = lambda given: None
  contradictions: Sequence[settings.Condition] = ()
  check: Callable[[config_dict.ConfigDict], None] = lambda config: None

  @functools.cached_property
  def tree(self) -> settings.Tree:
    """All settings."""
    changed = {
      name: dataclasses.replace(TOP_LEVEL[name], default=default)
      for name, default in self.defaults.items()
    }
    own = {'experiment_kwargs': {'config': self.experiment}}
    return {**TOP_LEVEL, **changed, **own}

  def get_base_config(self) -> config_dict.ConfigDict:
    """Returns a config with all defaults."""
    return config_dict.ConfigDict(settings.add_defaults(self.tree, {}))

  def resolve(self, config: config_dict.ConfigDict) -> config_dict.ConfigDict:
    """Fills in defaults and checks every setting.

    Args:
      config: what a config file made, overrides applied; it is changed.

    Returns:
      The same config, full.

    Raises:
      errors.UserError: for an unknown field, or a value that cannot be right.
    """
    for name in config:
      if name not in self.tree:
        raise errors.UserError(
          f'config.{name} does not exist{suggestion(str(name), self.tree)}'
        )
    path = 'config.experiment_kwargs'
    own = config.get('experiment_kwargs', config_dict.ConfigDict())
    settings.mapping().check(path, own)
    own = config_dict.ConfigDict(own).to_dict()
    self.translate(own)
    settings.check_names(self.tree['experiment_kwargs'], own, path)
    given = {name: config[name] for name in config} | {'experiment_kwargs': own}
    with config.unlocked():
      for name, value in settings.add_defaults(self.tree, given).items():
        config[name] = value
    settings.check(self.tree, config, 'config')
    _check_intervals(config)
    if config.best_model_eval_metric and self.metrics is not None:
      _check_best_metric(config, self.metrics)
    experiment = config.experiment_kwargs.config
    for is_wrong, what in self.contradictions:
      if is_wrong(experiment):
        raise errors.UserError(f'{PREFIX}.{what.format(**experiment)}')
    self.check(config)
    settings.check_effect(TOP_LEVEL, config, 'config')
    settings.check_effect(self.experiment, experiment, PREFIX)
    with config.unlocked():
      settings.make_paths_absolute(self.tree, config)
    return config

  def explain(self, config: config_dict.ConfigDict) -> Iterator[str]:
    """Yields lines about every setting, and what it is in a full config."""
    for name, setting in settings.leaves(self.tree):
      value = settings.value(config, name)
      default = ''
      if value != setting.default:
        default = f' (default: {settings.show(setting.default)})'
      yield f'--config.{name}={settings.show(value)}{default}'
      line = f'    {setting.doc} May be {setting.field.wanted}.'
      yield textwrap.fill(line, 80, subsequent_indent='    ')


def _check_best_metric(
  config: config_dict.ConfigDict, metrics: Mapping[str, bool]
) -> None:
  """Checks what the best checkpoint is chosen by."""
  metric = config.best_model_eval_metric
  settings.one_of(metrics).check('config.best_model_eval_metric', metric)
  higher = config.best_model_eval_metric_higher_is_better
  if higher != metrics[metric]:
    raise errors.UserError(
      f'config.best_model_eval_metric_higher_is_better is {higher}, but of '
      f'{metric} {"more" if metrics[metric] else "less"} is better: the '
      'worst checkpoint would be kept'
    )


def _check_intervals(config: config_dict.ConfigDict) -> None:
  units = {
    'log_tensors_interval': config.logging_interval_type,
    'log_train_data_interval': config.logging_interval_type,
    'save_checkpoint_interval': config.checkpoint_interval_type,
  }
  for name, unit in units.items():
    in_steps = (unit or config.interval_type) == 'steps'
    if in_steps and config[name] and config[name] != int(config[name]):
      raise errors.UserError(
        f'config.{name} counts steps and must be whole, not {config[name]!r}'
      )
  in_seconds = 'secs' in (config.interval_type, *units.values())
  if in_seconds and config.periodic_action_growth_ratios is not None:
    raise errors.UserError(
      "config.periodic_action_growth_ratios needs config.interval_type='steps'"
    )


def suggestion(name: str, names: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the nearest name, or ''."""
  names = list(names)
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
  if not near:  # Perhaps the right field without what leads to it.
    by_last = {n.rsplit('.', 1)[-1]: n for n in reversed(names)}
    last = name.rsplit('.', 1)[-1]
    lasts = difflib.get_close_matches(last, by_last, n=1, cutoff=0.75)
    near = [by_last[n] for n in lasts]
  return f'; did you mean config.{near[0]}?' if near else ''
