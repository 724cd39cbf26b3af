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
"""What a sweep is: a file that declares it, and the cells that it comes to.

A file in `sweeps/` names a `Sweep` SWEEP:

```
SWEEP = declaration.Sweep(
  config='mixture_of_gaussians',
  axes={
    'rule': {
      'simultaneous': {'training.update_rule': 'simultaneous'},
      'alternating': {'training.update_rule': 'alternating'},
    },
    'learning rate': {
      rate: {'optimizers.*.lr': rate} for rate in (0.01, 0.02, 0.05)
    },
  },
  seeds=range(5),
  metrics=['modes_covered'],
)
```
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import importlib
import importlib.util
import itertools
import os
import pathlib
import re
import traceback
from typing import Any

from ml_collections import config_dict

from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import flags
from jaxline_harness import run_directory
from jaxline_harness import settings
from jaxline_harness import shipped
from run_sweeps import mapped_names
from run_sweeps import random_search

Level = str | int | float
Overrides = Mapping[str, Any]
_OWN = ('experiment_kwargs', 'config')  # Where an experiment's settings lie.
_SEED = 'random_seed'


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Runs of one config over settings and seeds.

  Settings are named as in docs/settings.md, those of an experiment without
  `experiment_kwargs.config.`; `*` stands for every name in its place, as in
  `optimizers.*.lr`, and a value may be a dict of several.

  Attributes:
    config: a path, or a name in `configs/`, with or without `_config.py`.
    axes: by name, the settings of each of its levels.
    seeds: of the runs of each combination of levels.
    metrics: of the evaluation: names, or whether more is better by name.
    overrides: settings of all cells.
    diverged_as: by metric, what a run that diverged counts as in means. One
      that is not here leaves such runs out, and counts them beside.
    map_seeds: whether all seeds of a combination are trained as one program;
      with a search, all of its draws with one seed.
    search: how often values are drawn that are something to draw from.
  """

  config: str
  axes: Mapping[str, Mapping[Level, Overrides]]
  seeds: Iterable[int]
  metrics: Iterable[str] | Mapping[str, bool]
  overrides: Overrides = dataclasses.field(default_factory=dict)
  diverged_as: Mapping[str, float] = dataclasses.field(default_factory=dict)
  map_seeds: bool = False
  search: random_search.Search | None = None

  def __post_init__(self):
    # What can be looked at once only; levels as numpy has them.
    object.__setattr__(self, 'seeds', tuple(self.seeds))
    if not isinstance(self.metrics, str | Mapping):
      object.__setattr__(self, 'metrics', tuple(self.metrics))
    if isinstance(self.axes, Mapping):
      axes = {
        axis: _plain_levels(of_axis) for axis, of_axis in self.axes.items()
      }
      object.__setattr__(self, 'axes', axes)


def _plain_levels(levels: Any) -> Any:
  if not isinstance(levels, Mapping):
    return levels  # Which is told later.
  return {run_directory.to_plain(level): levels[level] for level in levels}


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of a sweep.

  Attributes:
    levels: by axis.
    seed: of the run.
    overrides: by the full names of settings, that of the seed left out.
    config: the full config.
    drawn: what a search has drawn, among `overrides`.
  """

  levels: Mapping[str, Level]
  seed: int
  overrides: Overrides
  config: config_dict.ConfigDict
  drawn: Overrides

  @property
  def name(self) -> str:
    return f'{name_levels(self.levels)}, seed {self.seed}'

  @property
  def folder(self) -> str:
    """The run's folder."""
    return self.config.checkpoint_dir

  @property
  def draw(self) -> int | None:
    """The number of the search's draw."""
    number = self.levels.get(random_search.AXIS)
    return None if number is None else int(number)

  @property
  def group_folder(self) -> str:
    """That of all seeds of these levels."""
    return os.path.dirname(self.folder)


@dataclasses.dataclass(frozen=True)
class Plan:
  """A sweep, checked.

  Attributes:
    sweep: what was declared.
    name: of its file.
    experiment: the module that runs it.
    config_path: of the config file.
    schema: of the config.
    more_is_better: by metric.
    cells: all runs, the seeds of the same levels together.
    folder: where all is kept.
  """

  sweep: Sweep
  name: str
  experiment: str
  config_path: str
  schema: configs.Schema
  more_is_better: Mapping[str, bool]
  cells: Sequence[Cell]
  folder: str

  @property
  def seed_setting(self) -> str:
    """The full name of what decides all keys."""
    own = _SEED in self.schema.experiment
    return '.'.join((*_OWN, _SEED)) if own else _SEED


def shorten(name: str) -> str:
  """A setting's name in a sweep's file."""
  return name.removeprefix('.'.join((*_OWN, '')))


def name_levels(levels: Mapping[str, Level]) -> str:
  """A combination of levels, for people."""
  return ', '.join(f'{axis} {level}' for axis, level in levels.items())


# Files.


def load_sweep(path: pathlib.Path) -> Sweep:
  """Runs a sweep's file.

  Args:
    path: the file.

  Returns:
    Its SWEEP.

  Raises:
    errors.UserError: if it fails, or names none.
  """
  spec = importlib.util.spec_from_file_location('sweep_file', path)
  if spec is None or spec.loader is None:
    raise errors.UserError(f'{path} is not a Python file')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except BaseException as error:  # The file is the user's; any error is.
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == str(path)
    ]
    where = f'{path}:{lines[-1]}' if lines else path
    raise errors.UserError(
      f'{where}: {type(error).__name__}: {error}'
    ) from error
  sweep = getattr(module, 'SWEEP', None)
  if not isinstance(sweep, Sweep):
    raise errors.UserError(
      f'{path}: SWEEP must be a run_sweeps.declaration.Sweep, not '
      f'{settings.show(sweep)}'
    )
  return sweep


def load_shipped(name: str) -> Sweep:
  """The sweep of this name that comes with the project, for one like it.

  Sweeps cannot import each other: an installation has no package of theirs.
  """
  return load_sweep(shipped.find_file('sweeps', name))


# Plans.


def make_plan(sweep: Sweep, name: str, folder: str) -> Plan:
  """Checks a sweep, and resolves the config of each of its cells.

  Args:
    sweep: what was declared.
    name: of its file.
    folder: where its runs are to be kept.

  Returns:
    The plan.

  Raises:
    errors.UserError: for the first thing that cannot be right.
  """
  _check_form(sweep)
  if sweep.search is not None:
    draws: dict[Level, Overrides] = {k: {} for k in range(sweep.search.runs)}
    axes = {**sweep.axes, random_search.AXIS: draws}
    sweep = dataclasses.replace(sweep, axes=axes)
  config_path = shipped.find_file('configs', sweep.config)
  experiment = shipped.find_experiment(config_path)
  base = importlib.import_module(f'{experiment.rpartition(".")[0]}.base_config')
  plan = Plan(
    sweep=sweep,
    name=name,
    experiment=experiment,
    config_path=str(config_path),
    schema=base.SCHEMA,
    more_is_better=_check_metrics(sweep, base.SCHEMA),
    cells=[],
    folder=os.path.abspath(os.path.expanduser(folder)),
  )
  return dataclasses.replace(plan, cells=list(_make_cells(plan)))


def _check_form(sweep: Sweep) -> None:
  """Raises UserError unless the parts of a sweep are of the right types."""
  for name in ('axes', 'overrides', 'diverged_as'):
    settings.mapping().check(f'SWEEP.{name}', getattr(sweep, name))
  for axis, levels in sweep.axes.items():
    if not isinstance(levels, Mapping) or not levels:
      raise errors.UserError(
        f'SWEEP.axes: {axis} must map levels to their settings, not be '
        f'{settings.show(levels)}'
      )
    for level, overrides in levels.items():
      settings.mapping().check(f'SWEEP.axes: {axis} {level}', overrides)
    _check_slugs(axis, levels)
  seeds = sweep.seeds
  settings.list_of(settings.SEED).check('SWEEP.seeds', seeds)
  if len(set(seeds)) < len(list(seeds)):
    raise errors.UserError(f'SWEEP.seeds has one twice: {settings.show(seeds)}')
  if sweep.search is not None:
    random_search.check(sweep.search, sweep.axes, seeds)


def _check_slugs(axis: str, levels: Iterable[Level]) -> None:
  by_slug: dict[str, Level] = {}
  for level in levels:
    other = by_slug.setdefault(_slug(level), level)
    if other is not level:
      raise errors.UserError(
        f'SWEEP.axes: {axis} has {settings.show(other)} and '
        f'{settings.show(level)}, whose folders would have one name'
      )


def _check_metrics(sweep: Sweep, schema: configs.Schema) -> dict[str, bool]:
  """Whether more is better, of each metric of a sweep."""
  known = schema.metrics or {}
  given = sweep.metrics
  if isinstance(given, str):
    raise errors.UserError('SWEEP.metrics must be a list of names')
  found: dict[str, bool] = {}
  for name in given:
    if isinstance(given, Mapping):
      settings.flag().check(f'SWEEP.metrics.{name}', given[name])
      found[name] = given[name]
      continue
    settings.one_of(known).check('SWEEP.metrics', name)
    found[name] = known[name]
  if not found:
    raise errors.UserError('SWEEP.metrics names none')
  for name, value in sweep.diverged_as.items():
    settings.one_of(found).check('SWEEP.diverged_as', name)
    settings.real().check(f'SWEEP.diverged_as.{name}', value)
  return found


def _slug(level: Level) -> str:
  return re.sub(r'[^\w.+-]+', '_', str(level)).strip('_') or '_'


def _make_cells(plan: Plan) -> Iterator[Cell]:
  """Yields all cells, seeds innermost."""
  base = expand_overrides(plan.schema, plan.sweep.overrides, 'SWEEP.overrides')
  axes = {
    axis: {
      level: expand_overrides(
        plan.schema, overrides, f'SWEEP.axes: {axis} {level}'
      )
      for level, overrides in levels.items()
    }
    for axis, levels in plan.sweep.axes.items()
  }
  _check_disjoint(axes)
  for chosen in itertools.product(*axes.values()):
    levels = dict(zip(axes, chosen, strict=True))
    overrides = dict(base)
    for axis, level in levels.items():
      overrides |= axes[axis][level]
    drawn = random_search.draw_all(overrides, plan.sweep.search, levels)
    overrides |= drawn
    folder = os.path.join(plan.folder, 'cells', *_name_folders(levels))
    for seed in plan.sweep.seeds:
      own = overrides | {
        plan.seed_setting: seed,
        'checkpoint_dir': os.path.join(folder, f'seed_{seed}'),
      }
      try:
        config = resolve(plan, own)
      except errors.UserError as error:
        where = f'{name_levels(levels)}, seed {seed}'
        raise errors.UserError(f'{where}: {error}') from error
      yield Cell(levels, seed, overrides, config, drawn)


def _name_folders(levels: Mapping[str, Level]) -> Iterator[str]:
  others = [v for k, v in levels.items() if k != random_search.AXIS]
  yield '_'.join(map(_slug, others)) or 'all'
  if random_search.AXIS in levels:
    yield mapped_names.name_draw(levels[random_search.AXIS])


def _check_disjoint(axes: Mapping[str, Mapping[Level, Overrides]]) -> None:
  """Raises UserError where two axes set the same setting."""
  owner: dict[str, str] = {}
  for axis, levels in axes.items():
    for name in {name for overrides in levels.values() for name in overrides}:
      if name in owner:
        raise errors.UserError(
          f'SWEEP.axes: {owner[name]} and {axis} both set {name}'
        )
      owner[name] = axis


def expand_overrides(
  schema: configs.Schema, overrides: Overrides, where: str
) -> dict[str, Any]:
  """Writes out the names of settings, each with one value.

  Args:
    schema: of the configs.
    overrides: values, or what to draw them from, by short or full names, with
      `*` and dicts perhaps.
    where: they are given, for the message.

  Returns:
    The values by full names.

  Raises:
    errors.UserError: for a name that is no setting.
  """
  full: dict[str, Any] = {}
  for name, value in random_search.flatten(overrides):
    keys = name.split('.')
    names = list(_match(schema.experiment, keys, _OWN))
    names = names or list(_match(schema.tree, keys, ()))
    if not names:
      known = [*_short_names(schema.experiment), *_short_names(schema.tree)]
      raise errors.UserError(
        f'{where}: there is no setting {settings.show(name)}'
        f'{errors.did_you_mean(name, known)}'
      )
    full |= dict.fromkeys(names, value)
  return full


def _short_names(tree: settings.Tree) -> Iterator[str]:
  return (name for name, _ in settings.leaves(tree))


def _match(
  part: Any, keys: Sequence[str], path: tuple[str, ...]
) -> Iterator[str]:
  """Yields the settings that a pattern names, or that hold what it names."""
  if isinstance(part, settings.Setting):
    if not keys or part.field.accepts({}):
      yield '.'.join([*path, *keys])
  elif keys:
    for name in part if keys[0] == '*' else [keys[0]]:
      if name in part:
        yield from _match(part[name], keys[1:], (*path, name))


# Commands.


def list_arguments(overrides: Overrides) -> list[str]:
  """The command-line arguments that set settings."""
  return [f'--config.{name}={value}' for name, value in overrides.items()]


def resolve(plan: Plan, overrides: Overrides) -> config_dict.ConfigDict:
  """The full config that a command with these overrides runs."""
  config = flags.load_config(plan.config_path)
  flags.override_fields(config, list_arguments(overrides), plan.schema)
  return plan.schema.resolve(config).lock()
