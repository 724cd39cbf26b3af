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

An experiment's module begins and ends with

```
if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

if __name__ == '__main__':
  launch.main(Experiment, base_config.SCHEMA)
```

and then takes `--config=FILE [--config.field=value ...]
[--jaxline_mode=train|eval|compile]`, and the flags of `distributed` where
several processes train together. Exit status: 0 done; 2 a bad config or input
(one line, no traceback); 1 failure, here or of another process; 130 after
Ctrl+C, 143 after SIGTERM and 129 after SIGHUP (a training is saved first).

Compiled programs are cached in `$XDG_CACHE_HOME/jaxline_harness` (by default
`~/.cache/jaxline_harness`). JAX's own `JAX_COMPILATION_CACHE_DIR` names another
folder, and `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.

Nothing here imports `jaxline.platform` or TensorFlow, and JAX
only when flags and config have been read, so that `--help` is quick.
"""

from collections.abc import Sequence
import inspect
import logging as python_logging
import os
import sys
import traceback
from typing import Any, NoReturn

from absl import flags as absl_flags
from absl import logging
from ml_collections import config_dict

from jaxline_harness import arithmetic
from jaxline_harness import clusters
from jaxline_harness import configs
from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import flags
from jaxline_harness import shipped
from jaxline_harness import signals
from jaxline_harness import startup

_EXIT_USER_ERROR = 2
_EXIT_FAILURE = 1
_VERBS = ('train', 'eval', 'compile')
_HELP_FLAGS = {'--help', '-help', '-h'}
_USAGE_OF_MODULE = """Usage: {program} --config=FILE [--config.FIELD=VALUE ...]

  --config=FILE            a config file: a Python file with get_config()
  --jaxline_mode=MODE      train (the default), eval: evaluate the newest
                           checkpoint once (with --all, every one that is
                           kept), or compile
"""
_USAGE_OF_VERBS = """Usage: {train} [CONFIG] [--config.FIELD=VALUE ...]
       {eval} [CONFIG] [--all] [--config.FIELD=VALUE ...]
       {compile} [CONFIG] --target=KIND:LAYOUT [--config.FIELD=VALUE ...]

  CONFIG                   a config file: a Python file with get_config(), or
                           the name of one that is shipped
  --all                    with eval: every checkpoint that is kept, not the
                           newest alone
"""
_HELP = """{usage}\
  --config.FIELD=VALUE     sets one of its fields, e.g.
                           --config.training_steps=100
  --target=KIND:LAYOUT     compiles the training program for a machine that need
                           not be here (cpu, h100:8, v5e:4x4), and says what it
                           needs; --hlo=FILE keeps the program,
                           --largest-batch looks for the largest that fits
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
  {config:<24} all settings, with what they are and may be
  --verbosity=0            more messages
  --helpfull               the flags of all libraries

Ctrl+C finishes the chunk of steps, saves and ends; Ctrl+\\ saves and goes on.
"""


def main(
  experiment_class: Any,
  schema: configs.Schema,
  argv: Sequence[str] | None = None,
) -> NoReturn:
  """Runs an experiment from the command line and exits.

  Args:
    experiment_class: a `train_loop.ChunkedExperiment`, or a function without
      arguments that imports and returns it.
    schema: the settings of its configs.
    argv: the command line, by default `sys.argv`.
  """
  argv = list(sys.argv if argv is None else argv)
  startup.guard_output()
  with signals.watch() as watcher:
    try:
      if _HELP_FLAGS & set(argv):
        _print_help(schema, argv)
      else:
        _run(experiment_class, schema, argv, watcher)
      status = 0 if watcher.stop_signal is None else 128 + watcher.stop_signal
    except errors.UserError as error:
      status = _report(error, _EXIT_USER_ERROR)
    except errors.TrainingError as error:
      status = _report(error, _EXIT_FAILURE)
    except Exception:
      if not distributed.is_active():
        raise
      traceback.print_exc()
      status = _EXIT_FAILURE
  if status in (_EXIT_USER_ERROR, _EXIT_FAILURE) and distributed.is_active():
    distributed.leave_at_once(status)
  sys.exit(status)


def _report(error: Exception, status: int) -> int:
  errors.report(error)
  return status


def _print_help(schema: configs.Schema, argv: list[str]) -> None:
  """Explains the command line, and the settings of a config that it names."""
  explained: list[str] = []
  # Settings are explained as of training: another mode may want more flags.
  others = ('--jaxline_mode', '--all', '--target', '--hlo', '--largest')
  argv = [
    argument
    for argument in argv
    if argument not in _HELP_FLAGS and not argument.startswith(others)
  ]
  if flags.take_config_flag(argv)[0]:
    config, *_ = flags.parse(argv, schema)
    explained = list(schema.explain(config))
  usage = _USAGE_OF_MODULE.format(program=os.path.basename(argv[0]))
  config_help = '--config=FILE --help'
  if shipped.is_verb():
    verbs = {verb: shipped.name_verb(verb) for verb in _VERBS}
    usage, config_help = _USAGE_OF_VERBS.format(**verbs), 'CONFIG --help'
  print(_HELP.format(usage=usage, config=config_help), *explained, sep='\n')


def _run(
  experiment_class: Any,
  schema: configs.Schema,
  argv: list[str],
  watcher: signals.Watcher,
) -> None:
  """Reads the flags and runs the mode."""
  logging.use_absl_handler()
  logging.get_absl_handler().setFormatter(
    python_logging.Formatter('%(levelname)s: %(message)s')
  )
  absl_flags.FLAGS.mark_as_parsed()  # Or absl warns that they are not.
  absl_flags.FLAGS.set_default('logtostderr', True)
  config, mode, cluster, compilation = flags.parse(argv, schema)
  arithmetic.choose(config)
  if compilation is not None:
    _compile(experiment_class, config, compilation)
    return
  from jaxline_harness import modes  # pylint: disable=g-import-not-at-top

  modes.enable_compilation_cache()
  settings = _describe(config, mode) if cluster else {}
  with distributed.joined(cluster, settings):
    experiment_class = _class_of(experiment_class)
    if mode == 'train':
      modes.run_training(experiment_class, config, schema, watcher)
    else:
      every = mode == 'eval_all'
      modes.run_evaluation(experiment_class, config, schema, every)


def _class_of(experiment_class: Any) -> Any:
  is_class = inspect.isclass(experiment_class)
  return experiment_class if is_class else experiment_class()


def _compile(
  experiment_class: Any,
  config: config_dict.ConfigDict,
  compilation: flags.Compilation,
) -> None:
  from jaxline_harness import compile_for  # pylint: disable=g-import-not-at-top

  compile_for.run(lambda: _class_of(experiment_class), config, compilation)


def _describe(config: config_dict.ConfigDict, mode: str) -> dict[str, Any]:
  """Returns what the processes of a training must have in common."""
  from jaxline_harness import run_directory  # pylint: disable=g-import-not-at-top

  code = run_directory.describe_code()
  return {
    '--jaxline_mode': mode,
    'the git commit': code['git_commit'],
    **{f'the version of {k}': v for k, v in code['versions'].items()},
    **run_directory.flatten(run_directory.to_plain({'config': config})),
    **clusters.list_numeric_settings(),
  }
