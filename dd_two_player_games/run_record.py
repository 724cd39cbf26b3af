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
"""What the files of a run tell, read without JAX.

Files may be missing, damaged, or written at this moment: what cannot be read is
left out, and a note says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import datetime
import json
import os
import re
from typing import Any, NamedTuple

import numpy as np
from numpy import typing as npt

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import metrics_table
from jaxline_harness import run_directory

EXPERIMENT = 'experiment_kwargs.config.'
_SERIES = ('train', 'eval', 'dynamics', 'spectrum')
_MAX_JSON_BYTES = 1 << 26
_PNG = b'\x89PNG\r\n\x1a\n'
_EVENTS = re.compile(r'events\.out\.tfevents\.(\d+\.\d+)\.(.+\.\d+)')
_RULES_OF_ONE_GRADIENT = (
  'simultaneous',
  'alternating',
  'extrapolation_from_the_past',
)


class Table(NamedTuple):
  """A metrics.csv.

  Attributes:
    steps: in order.
    columns: all others by name, NaN where a cell is empty.
  """

  steps: np.ndarray
  columns: Mapping[str, np.ndarray]

  def last(self, name: str) -> tuple[int, float] | None:
    """The last step that has a value in a column, and the value."""
    rows = np.flatnonzero(~np.isnan(self.columns.get(name, np.array([]))))
    if not rows.size:
      return None
    return int(self.steps[rows[-1]]), float(self.columns[name][rows[-1]])

  def best(self, name: str, higher: bool) -> tuple[int, float] | None:
    """The same of the best value, the first of several."""
    values = self.columns.get(name, np.array([]))
    if np.isnan(values).all():
      return None
    row = int(np.nanargmax(values) if higher else np.nanargmin(values))
    return int(self.steps[row]), float(values[row])


@dataclasses.dataclass(frozen=True)
class Run:
  """What the files of a run tell.

  Attributes:
    folder: the run's.
    settings: values by dotted name; none where config.json cannot be read.
    changed: the default of each setting that is otherwise; None if not told.
    about: all else that config.json holds.
    tables: by series (train, eval, dynamics, spectrum), if there.
    notes: what could not be read.
  """

  folder: str
  settings: Mapping[str, Any]
  changed: Mapping[str, Any] | None
  about: Mapping[str, Any]
  tables: Mapping[str, Table]
  notes: list[str]

  def setting(self, name: str) -> Any:
    """What the experiment's config holds under a dotted name, or None."""
    return self.settings.get(EXPERIMENT + name)

  def last_step(self) -> int:
    """The last step that any file tells of."""
    return max(
      (int(t.steps[-1]) for t in self.tables.values() if t.steps.size),
      default=0,
    )

  def seconds_at(self, steps: npt.ArrayLike) -> np.ndarray | None:
    """When training came to steps; None if the files do not tell.

    Evaluations after training have a clock of their own.
    """
    train = self.tables.get('train')
    if train is None or 'seconds' not in train.columns:
      return None
    known = ~np.isnan(train.columns['seconds'])
    return np.interp(
      np.asarray(steps, float),
      np.concatenate([[0], train.steps[known]]),
      np.concatenate([[0], train.columns['seconds'][known]]),
    )

  def gradients_per_step(self) -> int | None:
    """Gradients that a step takes, of both players together, if simply told.

    Products of the Jacobian, as terms of `grad_regularizes` take, do not count.
    """
    num_updates = [
      self.setting(f'training.num_{player}_updates')
      for player in ('disc', 'gen')
    ]
    num_stages = self._num_stages()
    if (
      num_stages is None
      or not all(isinstance(number, int) for number in num_updates)
      or self.setting('training.adjustment') not in (None, 'none')
      or self.setting('training.unrolled_steps')
      or self.setting('training.latent_optimisation.alpha')
    ):
      return None
    return num_stages * sum(num_updates)

  def _num_stages(self) -> int | None:
    rule = self.setting('training.update_rule')
    tableau = self.setting('training.runge_kutta_tableau')
    if not rule and self.setting('training.simultaneous_updates'):
      rule = 'simultaneous'
    elif not rule:
      uses_tableau = self.setting('training.runge_kutta_updates')
      rule = 'runge_kutta' if uses_tableau else 'alternating'
    if rule in _RULES_OF_ONE_GRADIENT:
      return 1
    if rule == 'extragradient':
      return 2
    if rule != 'runge_kutta':
      return None
    if isinstance(tableau, list):
      weights = next(iter(tableau), None)
      return len(weights) if isinstance(weights, list) else None
    order = self.setting('training.runge_kutta_order')
    return order if isinstance(order, int) else None


def read_run(path: str) -> Run:
  """Reads a run.

  Args:
    path: its folder.

  Returns:
    What is there.

  Raises:
    errors.UserError: if that is no folder of a run.
  """
  folder = os.path.abspath(os.path.expanduser(path))
  notes: list[str] = []
  described = _read_json(folder, run_directory.CONFIG_FILE, notes)
  tables = {}
  for series in _SERIES:
    table = _read_table(folder, series, notes)
    if table is not None:
      tables[series] = table
  has_config = os.path.exists(os.path.join(folder, run_directory.CONFIG_FILE))
  if not has_config and not tables:
    raise errors.UserError(
      f'{folder} is no folder of a run: it has neither '
      f'{run_directory.CONFIG_FILE} nor a {run_directory.METRICS_FILE}'
    )
  config = described.pop('config', None)
  changed = described.pop('changed_defaults', None)
  return Run(
    folder,
    run_directory.flatten(config) if isinstance(config, dict) else {},
    changed if isinstance(changed, dict) else None,
    described,
    tables,
    notes,
  )


def _read_json(folder: str, name: str, notes: list[str]) -> dict[str, Any]:
  """Reads a JSON file; empty if it is missing, or no mapping."""
  try:
    with files.open_regular(os.path.join(folder, name)) as f:
      read = json.loads(f.read(_MAX_JSON_BYTES))
    run_directory.flatten(read)  # Nests no deeper than can be shown.
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, RecursionError) as error:
    notes.append(f'{name} cannot be read: {errors.one_line(error, 200)}')
    return {}
  if not isinstance(read, dict):
    notes.append(f'{name} holds no mapping of names to values')
    return {}
  return read


def _read_table(folder: str, series: str, notes: list[str]) -> Table | None:
  """Reads the rows whose cells are all numbers, or empty."""
  name = f'{series}/{run_directory.METRICS_FILE}'
  try:
    contents = metrics_table.read(os.path.join(folder, name))
  except FileNotFoundError:
    return None
  except OSError as error:
    notes.append(f'{name} cannot be read: {error.strerror}')
    return None
  columns = [column for column in contents.columns if column != 'step']
  rows = {}
  for step, row in contents.rows.items():
    try:
      rows[step] = [float(row[column] or 'nan') for column in columns]
    except ValueError:
      continue
  num_lost = contents.num_unread + len(contents.rows) - len(rows)
  if num_lost:
    notes.append(
      f'{name}: {num_lost} line{"s" * (num_lost > 1)} that cannot be read '
      'left out'
    )
  if not rows:
    return None
  steps = sorted(rows)
  values = np.array([rows[step] for step in steps])
  values = values.reshape(len(steps), len(columns))
  return Table(
    np.array(steps, float), dict(zip(columns, values.T, strict=True))
  )


# Pictures.


class Picture(NamedTuple):
  """A PNG of a step."""

  step: int
  path: str
  size: int


def find_pictures(run: Run, pattern: str) -> list[Picture]:
  """Finds pictures by step.

  Args:
    run: the run.
    pattern: a path in the run's folder, of which the file's name is a regular
      expression with the step as its group.

  Returns:
    Those that can be opened, by step.
  """
  folder = os.path.join(run.folder, os.path.dirname(pattern))
  pictures = []
  for name in _list_names(folder):
    match = re.fullmatch(os.path.basename(pattern), name)
    if match is None:
      continue
    path = os.path.join(folder, name)
    try:
      with files.open_regular(path) as f:
        is_png = f.read(len(_PNG)) == _PNG
        size = os.fstat(f.fileno()).st_size
    except OSError:
      is_png = False
    if is_png:
      pictures.append(Picture(int(match[1]), path, size))
    else:
      where = os.path.relpath(path, run.folder)
      run.notes.append(f'{where} is no PNG that can be read')
  return sorted(pictures)


def choose_evenly(
  pictures: Sequence[Picture],
  most: float,
  count_bytes: Callable[[Picture], float],
) -> list[Picture]:
  """The most pictures that so many bytes hold, spread evenly.

  Args:
    pictures: by step.
    most: bytes of all that are chosen.
    count_bytes: what a picture takes of them.

  Returns:
    Those chosen, by step: the last one if it is one, the first one too if there
    are more.
  """
  for num in range(len(pictures), 0, -1):
    places = np.linspace(len(pictures) - 1, 0, num).round().astype(int)[::-1]
    chosen = [pictures[k] for k in places]
    if sum(map(count_bytes, chosen)) <= most:
      return chosen
  return []


# What happened.


def tell_history(run: Run) -> Iterator[str]:
  """Yields what the files tell of a run's course, a sentence each."""
  yield _tell_length(run)
  starts = _find_starts(run)
  times = [_show_time(time) for time, _ in starts]
  if len(starts) == 1:
    yield f'All rows were written in one go, from {times[0]} on.'
  elif starts:
    how_often = 'once' if len(starts) == 2 else f'{len(starts) - 1} times'
    yield (
      f'Training was taken up again {how_often}; its parts wrote their first '
      f'rows at: {", ".join(times)}.'
    )
  num_back_offs = sum(
    process == before
    for (_, before), (_, process) in zip(starts, starts[1:], strict=False)
  )
  if num_back_offs:
    yield (
      f'Of these parts {num_back_offs} began in a process that had trained '
      'before: it went back to a checkpoint.'
    )
  yield from _tell_checkpoints(run)
  for series in _SERIES:
    for name in _list_names(os.path.join(run.folder, series)):
      if name.startswith(f'{run_directory.METRICS_FILE}.damaged'):
        yield (
          f'{series}/{name} is a table with lines that could not be read, as '
          'it was before they were dropped.'
        )


def _tell_length(run: Run) -> str:
  wanted = run.settings.get('training_steps')
  told = f'The last row is of step {run.last_step():,}'
  told += f' of {wanted:,}' if isinstance(wanted, int) else ''
  train = run.tables.get('train')
  seconds = train.last('seconds') if train else None
  return f'{told}, after {show_seconds(seconds[1])}.' if seconds else f'{told}.'


def _tell_checkpoints(run: Run) -> Iterator[str]:
  root = os.path.join(run.folder, 'checkpoints')
  latest = _steps_in(os.path.join(root, 'latest'))
  if latest:
    yield f'Checkpoints kept: {_show_steps(latest)}.'
  for step in _steps_in(os.path.join(root, 'best')):
    told = f'Kept as one of the best: step {step:,}'
    path = f'checkpoints/best/{step}/metrics.json'
    metric = _read_json(run.folder, path, run.notes)
    value = metric.get('best_eval_metric_value')
    if isinstance(value, int | float):
      told += f', {metric.get("best_model_eval_metric")} {value:.4g}'
    yield f'{told}.'
  nonfinite = _steps_in(os.path.join(root, 'nonfinite'))
  if nonfinite:
    yield (
      'A step gave a NaN or an infinity; the states around it are in '
      f'checkpoints/nonfinite: {_show_steps(nonfinite)}.'
    )
  for series in _list_names(os.path.join(root, 'damaged')):
    yield (
      f'Checkpoints found damaged lie in checkpoints/damaged/{series}: '
      f'{", ".join(_list_names(os.path.join(root, "damaged", series)))}.'
    )


def _find_starts(run: Run) -> list[tuple[float, str]]:
  """When TensorBoard's files were begun, and by which process of which host.

  Each start of training begins one at its first row, as does each return to a
  checkpoint.
  """
  matches = map(
    _EVENTS.fullmatch, _list_names(os.path.join(run.folder, 'train'))
  )
  return sorted((float(m[1]), m[2]) for m in matches if m is not None)


def measured_with(run: Run) -> str:
  """What the newest evaluation was measured with, in words; '' if not told."""
  names = [
    name
    for name in _list_names(os.path.join(run.folder, 'eval'))
    if re.fullmatch(r'metrics_\d+\.json', name)
  ]
  if not names:
    return ''
  newest = max(names, key=lambda name: int(re.sub(r'\D', '', name)))
  metrics = _read_json(run.folder, f'eval/{newest}', run.notes)
  told = metrics.get('measured_with')
  if not isinstance(told, dict):
    return ''
  return ', '.join(f'{name} {show(value)}' for name, value in told.items())


def _list_names(folder: str) -> list[str]:
  try:
    return sorted(os.listdir(folder))
  except OSError:
    return []


def _steps_in(folder: str) -> list[int]:
  return sorted(
    int(name) for name in _list_names(folder) if re.fullmatch(r'\d{1,10}', name)
  )


# Values for people.


def show(value: Any, limit: int = 200) -> str:
  """A value of a config, on one line and not too long."""
  if isinstance(value, float):
    return f'{value:.6g}'
  text = value if value and isinstance(value, str) else repr(value)
  return text if len(text) <= limit else f'{text[: limit - 3]}...'


def show_seconds(seconds: float) -> str:
  """A time in the units that fit it."""
  if seconds < 120:
    return f'{seconds:.3g} s'
  if seconds < 7200:
    return f'{seconds / 60:.3g} min'
  return f'{seconds / 3600:.3g} h'


def _show_time(timestamp: float) -> str:
  try:
    time = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
  except (OSError, OverflowError, ValueError):
    return '?'
  return f'{time:%Y-%m-%d %H:%M} UTC'


def _show_steps(steps: Sequence[int]) -> str:
  word = 'step' if len(steps) == 1 else 'steps'
  return f'{word} {", ".join(f"{step:,}" for step in steps)}'
