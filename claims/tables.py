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
"""Tables of results: a row a run, as sweeps leave them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import csv
import dataclasses
import itertools
import pathlib
from typing import Any

from jaxline_harness import errors
from run_sweeps import results as sweep_results

Levels = tuple[str, ...]  # One an axis.
Cell = tuple[Levels, str]  # Levels and a seed, as they are written.
_ENDED = (sweep_results.DONE, sweep_results.DIVERGED)
_SEED, _STATUS = 'seed', 'status'


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of text, in the order in which they were written.

  Attributes:
    axes: the first columns, up to the seed.
    rows: by column.
  """

  axes: Sequence[str]
  rows: Sequence[Mapping[str, str]]

  def cells(self) -> list[Cell]:
    """Of all rows."""
    return [(self._levels(row), row[_SEED]) for row in self.rows]

  def count_missing(self) -> int:
    """How many rows have neither finished nor diverged."""
    return sum(row[_STATUS] not in _ENDED for row in self.rows)

  @property
  def minutes(self) -> float:
    """Of a processor, all runs together."""
    return sum(float(row['processor_seconds']) for row in self.rows) / 60

  @property
  def num_seeds(self) -> int:
    return len({row[_SEED] for row in self.rows})

  def values(
    self,
    metric: str,
    where: Mapping[str, str],
    diverged_as: float | None = None,
  ) -> dict[Levels, dict[str, float]]:
    """A metric by levels and seed.

    Args:
      metric: a column.
      where: levels of some of the axes, to which rows are restricted. `SGA`
        stands also for `SGA, 0.1`.
      diverged_as: what a run that diverged counts as.

    Returns:
      By the levels of all axes, of each seed its value.

    Raises:
      errors.UserError: there are no such rows, or one has no value.
    """
    found: dict[Levels, dict[str, float]] = {}
    for row in self._rows_where(where):
      value = row.get(metric)
      if row[_STATUS] == sweep_results.DIVERGED and diverged_as is not None:
        number = diverged_as
      elif value:
        number = float(value)
      else:
        raise errors.UserError(f'a result has no {metric}: {dict(row)}')
      found.setdefault(self._levels(row), {})[row[_SEED]] = number
    if not found:
      raise errors.UserError(f'no result has {dict(where)}')
    return found

  def _rows_where(
    self, where: Mapping[str, str]
  ) -> Iterator[Mapping[str, str]]:
    for row in self.rows:
      if all(_belongs(row[axis], level) for axis, level in where.items()):
        yield row

  def _levels(self, row: Mapping[str, str]) -> Levels:
    return tuple(row[axis] for axis in self.axes)


def _belongs(level: str, wanted: str) -> bool:
  """Whether a level is the one wanted, or that with a coefficient."""
  return level == wanted or level.startswith(f'{wanted}, ')


def list_cells(
  axes: Mapping[str, Iterable[Any]], seeds: Iterable[int]
) -> list[Cell]:
  """The cells of a sweep's declaration, as a table names them."""
  return [
    (tuple(map(str, levels)), str(seed))
    for levels in itertools.product(*axes.values())
    for seed in seeds
  ]


def read(path: pathlib.Path) -> Table:
  """Reads a table.

  Args:
    path: of a CSV file, whose columns up to `seed` are axes.

  Raises:
    errors.UserError: if there is none, or it is not one.
  """
  try:
    with open(path, newline='') as file:
      reader = csv.DictReader(file)
      rows = list(reader)
      columns = list(reader.fieldnames or ())
  except (OSError, ValueError, csv.Error) as error:
    raise errors.UserError(
      f'{path} cannot be read ({errors.one_line(error, 200)})'
    ) from error
  if _SEED not in columns or _STATUS not in columns:
    raise errors.UserError(f'{path} has no columns seed and status')
  return Table(columns[: columns.index(_SEED)], rows)


def write_measured(
  path: pathlib.Path,
  axes: Sequence[str],
  rows: Sequence[Mapping[str, Any]],
) -> None:
  """Writes what was measured, as a sweep's table.

  Args:
    path: the file.
    axes: the columns that are levels.
    rows: with the seed, all axes, all metrics and the processor seconds.
  """
  done = {_STATUS: sweep_results.DONE}
  known = (*axes, _SEED, 'processor_seconds')
  metrics = [name for name in rows[0] if name not in known]
  columns = [*axes, _SEED, _STATUS, *metrics, 'processor_seconds']
  written = [
    {name: _write_value(value) for name, value in {**row, **done}.items()}
    for row in rows
  ]
  path.parent.mkdir(parents=True, exist_ok=True)
  sweep_results.write_csv(str(path), columns, written)


def _write_value(value: Any) -> str:
  return f'{float(value):.6g}' if hasattr(value, '__float__') else str(value)
