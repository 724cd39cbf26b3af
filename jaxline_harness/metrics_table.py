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
"""metrics.csv, which a run that was interrupted goes on with."""

from collections.abc import Iterable, Mapping
import csv
import io
import os
import time

from jaxline_harness import errors
from jaxline_harness import files


class MetricsTable:
  """metrics.csv: one row a logged step, in the order of steps.

  The columns are `step`, the metrics in the order of their first appearance and
  `seconds`, the time so far: in training over all starts of the run, in
  evaluation that of the one evaluation.
  """

  def __init__(self, path: str, last_step: int | None = None):
    """Reads what is there.

    Args:
      path: the file; it need not exist.
      last_step: the step that training goes on from; rows beyond it are cut
        off, since their steps are made again. None keeps all, and does not
        go on with their clock.
    """
    self._path = path
    self._columns = []
    self._rows = {}
    self._is_written = True
    self._read(last_step)
    self._start_time = time.monotonic()
    if last_step is not None and self._rows:
      self._start_time -= float(self._rows[max(self._rows)]['seconds'])

  def write(self, step: int, scalars: Mapping[str, str]) -> None:
    """Adds a row, or replaces the step's row.

    Args:
      step: the step.
      scalars: the metrics.

    Raises:
      OSError: if that fails; the row is then written with the next one.
    """
    appends = not self._rows or step > max(self._rows)
    new_columns = [name for name in scalars if name not in self._columns]
    self._columns.extend(new_columns)
    seconds = time.monotonic() - self._start_time
    self._rows[step] = {
      'step': str(step),
      **scalars,
      'seconds': f'{seconds:.3f}',
    }
    appends = appends and not new_columns and self._is_written
    self._is_written = False
    if appends and os.path.exists(self._path):
      files.append(self._path, self._as_csv([self._rows[step]], False))
    else:
      self._rewrite()
    self._is_written = True

  def _read(self, last_step: int | None) -> None:
    if not os.path.exists(self._path):
      return
    with open(self._path, encoding='utf-8', errors='replace', newline='') as f:
      reader = csv.DictReader(f)
      try:
        lines = list(reader)
      except csv.Error as error:
        raise errors.UserError(
          f'{self._path} is damaged ({error}): move it away'
        ) from error
    fixed = ('step', 'seconds')
    self._columns = [c for c in reader.fieldnames or () if c not in fixed]
    for line in lines:
      # A process that was killed may have left half a line.
      if None in line or None in line.values() or not _is_row(line):
        continue
      if last_step is None or int(line['step']) <= last_step:
        self._rows[int(line['step'])] = line
    if len(self._rows) != len(lines):
      self._rewrite()

  def _rewrite(self) -> None:
    self._rows = dict(sorted(self._rows.items()))
    files.write_atomically(self._path, self._as_csv(self._rows.values(), True))

  def _as_csv(self, rows: Iterable[Mapping[str, str]], header: bool) -> bytes:
    text = io.StringIO()
    columns = ['step', *self._columns, 'seconds']
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    if header:
      writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _is_row(line: Mapping[str, str]) -> bool:
  try:
    int(line['step'])
    float(line['seconds'])
  except (KeyError, ValueError):
    return False
  return True
