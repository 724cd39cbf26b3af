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
"""The command line of an experiment: flags, modes, errors.

An experiment's module ends with

```
if __name__ == '__main__':
  launch.main(Experiment, base_config.resolve)
```

and then takes `--config=FILE [--config.field=value ...]
[--jaxline_mode=train|eval]`, and the flags of `distributed` where several
processes train together. Exit status: 0 done; 2 a bad config or input (one
line, no traceback); 1 failure, here or of another process; 130 after Ctrl+C and
143 after SIGTERM (a training is saved first).

Compiled programs are cached in `$XDG_CACHE_HOME/jaxline_harness` (by default
`~/.cache/jaxline_harness`). JAX's own `JAX_COMPILATION_CACHE_DIR` names another
folder, and `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.

This is also the one place that mends what jaxline 0.0.8 calls and current JAX
no longer has. Nothing here imports `jaxline.platform` or TensorFlow, and JAX
only when flags and config have been read, so that `--help` is quick.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import difflib
import hashlib
import importlib.util
import inspect
import logging as python_logging
import os
import platform
import re
import sys
import traceback
from typing import Any, NoReturn

from absl import flags
from absl import logging
from ml_collections import config_dict
from ml_collections import config_flags

from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import fields

ResolveConfig = Callable[[config_dict.ConfigDict], config_dict.ConfigDict]

_EXIT_USER_ERROR = 2
_EXIT_FAILURE = 1
_MODES = ('train', 'eval')
_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]+)')
_HELP = """Usage: {program} --config=FILE [--config.FIELD=VALUE ...]

  --config=FILE            a config file: a Python file with get_config()
  --config.FIELD=VALUE     sets one of its fields, e.g.
                           --config.training_steps=100
  --jaxline_mode=MODE      train (the default) or eval: evaluate the newest
                           checkpoint once
  --config.checkpoint_dir=DIR
                           the run's folder (default: runs/<name of FILE>);
                           training goes on from the newest checkpoint there
  --config.restore_path=DIR
                           a checkpoint elsewhere, to evaluate or to start from
  --coordinator=HOST:PORT --num_processes=P --process_id=I
                           one of P processes that train together: the same
                           command on each host with I = 0, ..., P - 1, where
                           process 0 runs on HOST and uses PORT
  --coordinator=auto       the same, found by JAX: on SLURM (srun), Open MPI,
                           Kubernetes, Cloud TPU; docs/scaling.md says more
  --verbosity=0            more messages
  --helpfull               the flags of all libraries

Ctrl+C finishes the chunk of steps, saves and ends; Ctrl+\\ saves and goes on.
"""


# Configs.


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
        f'config.{name} does not exist{_suggestion(str(name), base.keys())}'
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


def _suggestion(name: str, names: Iterable[str]) -> str:
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


# The command line.


def main(
  experiment_class: Any,
  resolve_config: ResolveConfig,
  argv: Sequence[str] | None = None,
) -> NoReturn:
  """Runs an experiment from the command line and exits.

  Args:
    experiment_class: a `train_loop.ChunkedExperiment`, or a function without
      arguments that imports and returns it.
    resolve_config: called with the config after overrides; returns the full
      one. It may use `fill_top_level`. Of an empty config it makes the one with
      all defaults.
    argv: the command line, by default `sys.argv`.
  """
  argv = list(sys.argv if argv is None else argv)
  if {'--help', '-help', '-h'} & set(argv):
    print(_HELP.format(program=os.path.basename(argv[0])))
    sys.exit(0)
  try:
    status = _run(experiment_class, resolve_config, argv)
  except errors.UserError as error:
    status = _report(error, _EXIT_USER_ERROR)
  except errors.TrainingError as error:
    status = _report(error, _EXIT_FAILURE)
  except KeyboardInterrupt:
    status = 130
  except Exception:
    if not distributed.is_active():
      raise
    traceback.print_exc()
    status = _EXIT_FAILURE
  if status in (_EXIT_USER_ERROR, _EXIT_FAILURE) and distributed.is_active():
    distributed.leave_at_once(status)
  sys.exit(status)


def _report(error: Exception, status: int) -> int:
  print('error:', ' '.join(str(error).split()), file=sys.stderr)
  return status


def _run(
  experiment_class: Any, resolve_config: ResolveConfig, argv: list[str]
) -> int:
  """Reads the flags, runs the mode and returns the exit status."""
  # Imported here, before flags are parsed, since it defines some.
  from jaxline import utils  # pylint: disable=g-import-not-at-top

  from jaxline_harness import signals  # pylint: disable=g-import-not-at-top

  logging.use_absl_handler()
  logging.get_absl_handler().setFormatter(
    python_logging.Formatter('%(levelname)s: %(message)s')
  )
  config, mode, cluster = _parse(argv, resolve_config)
  _mend(utils)
  _enable_compilation_cache()
  with distributed.joined(cluster, _settings(config, mode)):
    if not inspect.isclass(experiment_class):
      experiment_class = experiment_class()
    with signals.watch() as watcher:
      if mode == 'train':
        _train(experiment_class, config, watcher)
      else:
        _evaluate(experiment_class, config)
  return 0 if watcher.stop_signal is None else 128 + watcher.stop_signal


def _settings(config: config_dict.ConfigDict, mode: str) -> dict[str, Any]:
  """Returns what the processes of a training must have in common."""
  import jax  # pylint: disable=g-import-not-at-top

  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top

  return {
    '--jaxline_mode': mode,
    'the version of JAX': jax.__version__,
    **{
      f'config.{name}': run_directory.to_plain(value)
      for name, value in _leaves(config)
    },
  }


def _parse(
  argv: list[str], resolve_config: ResolveConfig
) -> tuple[config_dict.ConfigDict, str, distributed.Cluster | None]:
  """Returns the resolved, locked config, the mode and the cluster."""
  spec, argv = _take_config_flag(argv)
  values = flags.FlagValues()
  values.append_flag_values(flags.FLAGS)
  mode = flags.DEFINE_enum(
    'jaxline_mode', 'train', _MODES, 'What to do.', flag_values=values
  )
  coordinator = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of process 0, or auto.', flag_values=values
  )
  num_processes, process_id = (
    flags.DEFINE_integer(name, None, help_text, flag_values=values)
    for name, help_text in (
      ('num_processes', 'How many processes train together.'),
      ('process_id', 'Which of them this is, from 0.'),
    )
  )
  if '--helpfull' in argv:
    print(values.get_help())
    sys.exit(0)
  if spec is None:
    _parse_flags(values, argv)
    raise errors.UserError('--config=FILE is needed; --help says more')
  config = _load_config(spec)
  overrides = [m[1] for m in map(_OVERRIDE.match, argv) if m]
  _check_overrides(overrides, config, resolve_config)
  with _clear_override_errors():
    config_flags.DEFINE_config_dict(
      'config',
      config,
      flag_values=values,
      sys_argv=argv,
      lock_config=False,
      accept_new_attributes=True,
    )
  _parse_flags(values, argv)
  flags.FLAGS.mark_as_parsed()  # jaxline asks its own flags there.
  config = fill_top_level(resolve_config(config))
  if not config.checkpoint_dir:
    name = os.path.basename(spec.split(':', 1)[0]).removesuffix('.py')
    with config.unlocked():
      config.checkpoint_dir = os.path.join('runs', name.removesuffix('_config'))
  config.lock()
  cluster = distributed.find_cluster(
    coordinator.value, num_processes.value, process_id.value
  )
  return config, mode.value, cluster


def _take_config_flag(argv: list[str]) -> tuple[str | None, list[str]]:
  """Returns the value of --config and the command line without it."""
  spec, rest = None, []
  arguments = iter(argv)
  for argument in arguments:
    if argument in ('--config', '-config'):
      spec = next(arguments, None)
    elif argument.startswith(('--config=', '-config=')):
      spec = argument.split('=', 1)[1]
    else:
      rest.append(argument)
  return spec or None, rest


def _parse_flags(values: flags.FlagValues, argv: list[str]) -> None:
  try:
    with _clear_override_errors():
      unused = values(argv)[1:]
  except flags.Error as error:
    raise errors.UserError(str(error)) from error
  if unused:
    raise errors.UserError(
      f'unexpected argument {unused[0]!r}; --help says what is expected'
    )


@contextlib.contextmanager
def _clear_override_errors() -> Iterator[None]:
  """Turns what ml_collections raises for a bad override into UserError."""
  try:
    yield
  except (
    flags.Error,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
  ) as error:
    message = error.args[0] if error.args else repr(error)
    raise errors.UserError(str(message)) from error


def _load_config(spec: str) -> config_dict.ConfigDict:
  """Runs a config file.

  Args:
    spec: `FILE`, or `FILE:ARGUMENT` to call `get_config(ARGUMENT)`.

  Returns:
    What its `get_config` returns, unlocked.

  Raises:
    errors.UserError: if there is no such file or it fails.
  """
  path, *arguments = spec.split(':', 1)
  if not os.path.isfile(path):
    raise errors.UserError(f'--config: there is no file {path}')
  module_spec = importlib.util.spec_from_file_location('config_file', path)
  if module_spec is None or module_spec.loader is None:
    raise errors.UserError(f'--config: {path} is not a Python file')
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
    config = module.get_config(*arguments)
  except errors.UserError:
    raise
  except Exception as error:  # The file is the user's; any error is.
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == os.path.abspath(path) or frame.filename == path
    ]
    where = f'{path}:{lines[-1]}' if lines else path
    raise errors.UserError(
      f'--config: {where}: {type(error).__name__}: {error}'
    ) from error
  if not isinstance(config, config_dict.ConfigDict):
    raise errors.UserError(
      f'--config: get_config() in {path} must return a ConfigDict, not '
      f'{type(config).__name__}'
    )
  _check_placeholders(config)
  return config.unlock()


def _check_placeholders(
  config: config_dict.ConfigDict, prefix: str = 'config'
) -> None:
  """Raises UserError for one that requires a value: flags cannot give it."""
  for name in config:
    try:
      value = config[name]
    except config_dict.RequiredValueError as error:
      raise errors.UserError(
        f'{prefix}.{name} is a required placeholder: give it a value in the '
        'file'
      ) from error
    if isinstance(value, config_dict.ConfigDict):
      _check_placeholders(value, f'{prefix}.{name}')


def _check_overrides(
  overrides: Sequence[str],
  config: config_dict.ConfigDict,
  resolve_config: ResolveConfig,
) -> None:
  """Checks that overridden fields exist in the full config.

  A config file may hold fewer fields than the full config (the published ones
  do); the missing parents of an override are added to it. What lies under a
  field `...kwargs` goes to other people's functions and may be anything.

  Args:
    overrides: dotted names.
    config: what the config file returned; empty parents are added.
    resolve_config: see `main`.

  Raises:
    errors.UserError: for a field that does not exist.
  """
  known = set(_names(config))
  if not all(_without_index(name) in known for name in overrides):
    # Of an empty config: this one may be right only with its overrides.
    full = fill_top_level(resolve_config(config_dict.ConfigDict()))
    known.update(_names(full))
  for name in map(_without_index, overrides):
    parents = name.split('.')[:-1]
    free = any(
      p.endswith('kwargs') for p in parents if p != 'experiment_kwargs'
    )
    if name not in known and not free:
      raise errors.UserError(
        f'config.{name} does not exist{_suggestion(name, known)}'
      )
    node = config
    for parent in parents:
      if node.get(parent) is None:
        node[parent] = config_dict.ConfigDict()
      node = node[parent]
      if not isinstance(node, config_dict.ConfigDict):
        break


def _without_index(name: str) -> str:
  return name.split('[', 1)[0]


def _names(config: config_dict.ConfigDict, prefix: str = '') -> Iterator[str]:
  """Yields the dotted names of all fields, parents too."""
  for name in config:
    yield f'{prefix}{name}'
    if isinstance(config[name], config_dict.ConfigDict):
      yield from _names(config[name], f'{prefix}{name}.')


def _leaves(
  config: config_dict.ConfigDict, prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  """Yields the dotted names and values of all fields that hold no others."""
  for name in config:
    if isinstance(config[name], config_dict.ConfigDict):
      yield from _leaves(config[name], f'{prefix}{name}.')
    else:
      yield prefix + name, config[name]


class _LiteralParser(flags.ArgumentParser):
  """Parses Python literals; other text is a string."""

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):
      return argument
    try:
      return ast.literal_eval(argument)
    except (SyntaxError, ValueError):
      return argument

  def flag_type(self) -> str:
    return 'literal'


# Fields that are None or a list in the config file can be overridden too.
for _type in (type(None), list):
  config_flags.register_flag_parser_for_type(_type, _LiteralParser())


# JAX.


def _mend(jaxline_utils: Any) -> None:
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


def cache_folder() -> str:
  """Returns where to keep what can be computed again; it may not exist."""
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return os.path.join(home, 'jaxline_harness')


def _enable_compilation_cache() -> None:
  """Caches compiled programs on disk unless the user has chosen otherwise."""
  import jax  # pylint: disable=g-import-not-at-top

  if jax.config.values.get('jax_compilation_cache_dir') is not None:
    return
  folder = os.path.join(cache_folder(), _machine())
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


# Modes.


def _train(
  experiment_class: Any, config: config_dict.ConfigDict, watcher: Any
) -> None:
  """Trains, from the newest checkpoint of the run's folder if there is one."""
  import jax  # pylint: disable=g-import-not-at-top

  from jaxline_harness import checkpointing  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_lock  # pylint: disable=g-import-not-at-top

  folder = config.checkpoint_dir
  checkpointer = checkpointing.Checkpointer(config, 'train')
  experiment_class = _checked(experiment_class, config)
  with contextlib.ExitStack() as stack:
    if jax.process_index() == 0:
      stack.enter_context(run_lock.locked(folder))
    step = checkpointer.step_to_restore()
    if jax.process_index() == 0:
      own = step is not None and checkpointer.own_step() is not None
      run_directory.prepare(config, own)
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
  print(f'Curves: {tensorboard} --logdir {folder}', flush=True)


def _evaluate(experiment_class: Any, config: config_dict.ConfigDict) -> None:
  """Evaluates one checkpoint and prints its metrics."""
  import jax  # pylint: disable=g-import-not-at-top
  from jaxline import train  # pylint: disable=g-import-not-at-top

  from jaxline_harness import checkpointing  # pylint: disable=g-import-not-at-top
  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top

  checkpointer = checkpointing.Checkpointer(config, 'eval')
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
