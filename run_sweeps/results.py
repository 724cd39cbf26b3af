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
"""What came out of each cell: its record, and the table of all.

A cell's record, `cell.json` in its run's folder, is written before it runs and
after it has ended, so that a sweep goes on from what is there.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import dataclasses
import io
import json
import math
import os
from typing import Any

from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import metrics_table
from jaxline_harness import run_directory
from jaxline_harness import settings
from run_sweeps import declaration

RECORD = 'cell.json'
TABLE = 'table.csv'
WAITING = 'waiting'  # It has not begun.
UNFINISHED = 'unfinished'
DONE = 'done'
DIVERGED = 'diverged'
FAILED = 'failed'
_STATUSES = (UNFINISHED, DONE, DIVERGED, FAILED)


@dataclasses.dataclass(frozen=True)
class Result:
  """What came out of a cell.

  Attributes:
    status: one of the names above.
    message: why it diverged or failed.
    step: the last one that is finite.
    metrics: of the evaluation.
    processor_seconds: of its processes. A program that was killed together with
      the sweep is not counted.
  """

  status: str = WAITING
  message: str = ''
  step: int | None = None
  metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
  processor_seconds: float = 0.0


Results = Mapping[str, Result]  # By the cell's folder.


def add_seconds(result: Result, seconds: float) -> Result:
  """A result with the processor seconds of earlier processes."""
  total = result.processor_seconds + seconds
  return dataclasses.replace(result, processor_seconds=total)


def write_result(cell: declaration.Cell, result: Result) -> None:
  """Writes a cell's record, with the config that it belongs to."""
  files.make_folder(cell.folder, '--out')
  record = dataclasses.asdict(result) | {'config': _describe_config(cell)}
  files.write_atomically(
    os.path.join(cell.folder, RECORD), json.dumps(record, indent=2) + '\n'
  )


def read_results(plan: declaration.Plan) -> dict[str, Result]:
  """Reads the records of all cells.

  Args:
    plan: the sweep.

  Returns:
    Results by the cells' folders.

  Raises:
    errors.UserError: if a cell's settings are others than they were, or its
      record cannot be read.
  """
  found: dict[str, Result] = {}
  changed: list[str] = []
  for cell in plan.cells:
    path = os.path.join(cell.folder, RECORD)
    try:
      with files.open_regular(path) as f:
        record = json.load(f)
      before = record.pop('config')
      found[cell.folder] = Result(**record)
      settings.one_of(_STATUSES).check('its status', record['status'])
    except FileNotFoundError:
      found[cell.folder] = Result()
      continue
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
      raise errors.UserError(
        f'{path} cannot be read ({errors.one_line(error, 200)}); remove it to '
        'run its cell again'
      ) from error
    changes = _describe_changes(before, cell, plan)
    if changes:
      changed.append(f'{cell.name}: {changes}')
  if changed:
    raise errors.UserError(
      f'{len(changed)} of the cells in {plan.folder} have run with other '
      f'settings: {changed[0]}. Set them back, remove the folders of these '
      'cells, or start a new sweep with --out=DIR'
    )
  return found


def _describe_config(cell: declaration.Cell) -> Any:
  config = run_directory.to_plain(cell.config)
  del config['checkpoint_dir']  # The sweep's folder may be moved.
  return config


def _describe_changes(
  before: Any, cell: declaration.Cell, plan: declaration.Plan
) -> str:
  """Names the settings of a cell that are others than they were."""
  # What has been declared since then is at its default.
  before = settings.add_defaults(plan.schema.tree, before)
  del before['checkpoint_dir']
  old = run_directory.flatten(run_directory.to_plain(before))
  new = run_directory.flatten(_describe_config(cell))
  absent = '(absent)'
  return '; '.join(
    f'{name} was {settings.show(old.get(name, absent))}, now '
    f'{settings.show(new.get(name, absent))}'
    for name in sorted(old.keys() | new.keys())
    if old.get(name, absent) != new.get(name, absent)
  )


def read_metrics(
  folder: str, names: Iterable[str], suffix: str = ''
) -> tuple[int, dict[str, float]]:
  """Reads what an evaluation has measured last.

  Args:
    folder: the run's.
    names: of the metrics that are wanted.
    suffix: of their columns.

  Returns:
    The step, and those of the metrics that are there.

  Raises:
    errors.UserError: if there are no figures.
  """
  path = os.path.join(folder, 'eval', run_directory.METRICS_FILE)
  try:
    rows = metrics_table.read(path).rows
  except OSError as error:
    raise errors.UserError(
      f'{path} cannot be read ({error.strerror})'
    ) from error
  if not rows:
    raise errors.UserError(f'{path} has no rows')
  step = max(rows)
  row = rows[step]
  metrics = {}
  for name in names:
    text = row.get(name + suffix)
    if text:
      metrics[name] = float(text)
  return step, metrics


# The table.


def make_table(
  plan: declaration.Plan, results: Results
) -> tuple[list[str], list[dict[str, Any]]]:
  """Returns the columns and rows of the table: a row a cell."""
  metrics = list(plan.more_is_better)
  axes, drawn = list(plan.sweep.axes), list_drawn(plan)
  columns = [*axes, *drawn, 'seed', 'status', 'message', *metrics]
  columns += ['step', 'processor_seconds', 'folder']
  rows = []
  for cell in plan.cells:
    result = results[cell.folder]
    rows.append(
      {
        **cell.levels,
        **describe_drawn(cell),
        'seed': cell.seed,
        'status': result.status,
        'message': result.message,
        **{name: result.metrics.get(name, '') for name in metrics},
        'step': '' if result.step is None else result.step,
        'processor_seconds': f'{result.processor_seconds:.1f}',
        'folder': os.path.relpath(cell.folder, plan.folder),
      }
    )
  return columns, rows


def describe_drawn(cell: declaration.Cell) -> dict[str, Any]:
  """What a search has drawn, by the names of a sweep's file."""
  return {declaration.shorten(name): v for name, v in cell.drawn.items()}


def list_drawn(plan: declaration.Plan) -> list[str]:
  """The names of all settings that the search of a sweep draws."""
  names = (name for cell in plan.cells for name in describe_drawn(cell))
  return sorted(set(names))


def write_csv(
  path: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
  """Writes a table, all at once."""
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  files.write_atomically(path, text.getvalue())


def is_number(level: Any) -> bool:
  """Whether a level of an axis is a number, which a curve can have as x."""
  is_real = isinstance(level, int | float) and not isinstance(level, bool)
  return is_real and math.isfinite(level)
