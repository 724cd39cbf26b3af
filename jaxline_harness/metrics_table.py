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

import codecs
from collections.abc import Mapping
import contextlib
import csv
import io
import math
import os
import re
import shutil
import time
from typing import NamedTuple

from absl import logging

from jaxline_harness import files

_COLUMNS = ('step', 'seconds')  # Of a file without rows.
_Rows = dict[int, Mapping[str, str]]  # By step.


class Contents(NamedTuple):
  """What a metrics.csv holds.

  Attributes:
    columns: their names, `step` among them.
    rows: cells by column, by step.
    num_unread: lines that are no row, or whose step comes again.
  """

  columns: list[str]
  rows: _Rows
  num_unread: int


class MetricsTable:
  """metrics.csv: one row a logged step, in the order of steps.

  The columns are `step`, the metrics in the order of their first appearance and
  `seconds`, the time so far: in training over all starts of the run, in
  evaluation that of the one evaluation.

  People open such files, also while they are written: columns may have been
  moved or added, and separators and encodings be those of a spreadsheet. Where
  anything cannot be read, the whole file is kept under another name.
  """

  def __init__(self, path: str, last_step: int | None = None):
    """Reads what is there.

    Args:
      path: the file; it need not exist.
      last_step: the step that training goes on from; rows beyond it are cut
        off, since their steps are made again. None keeps all, and does not
        go on with their clock.

    Raises:
      OSError: the file can be neither read nor written.
    """
    self._path = path
    self._columns = list(_COLUMNS)
    self._last_step = -1
    self._stamp: tuple[int, ...] | None = None
    self._unwritten: _Rows = {}
    self._start_time = time.monotonic()
    rows = self._read()
    if last_step is None:
      return
    kept = {step: row for step, row in rows.items() if step <= last_step}
    if len(kept) < len(rows):
      self._rewrite(kept)
    with contextlib.suppress(KeyError, ValueError):
      seconds = float(kept[self._last_step]['seconds'])
      self._start_time -= seconds if math.isfinite(seconds) else 0

  def write(self, step: int, scalars: Mapping[str, str]) -> None:
    """Adds a row, or replaces the step's row.

    Args:
      step: the step.
      scalars: the metrics.

    Raises:
      OSError: if that fails; the row is then written with the next one.
    """
    seconds = f'{time.monotonic() - self._start_time:.3f}'
    self._unwritten[step] = {'step': str(step), **scalars, 'seconds': seconds}
    if self._can_append():
      files.append(self._path, self._as_csv(self._unwritten, header=False))
      self._last_step = max(self._unwritten)
      self._stamp = _read_stamp(self._path)
    else:
      self._rewrite(self._read() | self._unwritten)
    self._unwritten = {}

  def _can_append(self) -> bool:
    """Whether the file is as it was left, and the rows come after its own."""
    names = {name for row in self._unwritten.values() for name in row}
    return (
      self._stamp is not None
      and self._stamp == _read_stamp(self._path)
      and min(self._unwritten) > self._last_step
      and names <= set(self._columns)
    )

  def _read(self) -> _Rows:
    """Reads all rows, and makes the file what this class would have written."""
    try:
      with files.open_regular(self._path) as f:
        content = f.read()
    except FileNotFoundError:
      return {}
    self._columns, rows, num_unread = _parse(_decode(content))
    if num_unread:
      kept = files.unused_path(f'{self._path}.damaged')
      shutil.copyfile(self._path, kept)
      logging.warning(
        '%s has lines that cannot be read (%d): kept as %s',
        *(self._path, num_unread, kept),
      )
    if content != self._as_csv(rows, header=True):
      self._rewrite(rows)
    else:
      self._last_step = max(rows, default=-1)
      self._stamp = _read_stamp(self._path)
    return rows

  def _rewrite(self, rows: _Rows) -> None:
    self._stamp = None  # In case that this fails.
    for name in (name for row in rows.values() for name in row):
      if name not in self._columns:
        # 'seconds' stays the last.
        self._columns.insert(len(self._columns) - 1, name)
    files.write_atomically(self._path, self._as_csv(rows, header=True))
    self._last_step = max(rows, default=-1)
    self._stamp = _read_stamp(self._path)

  def _as_csv(self, rows: _Rows, header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(
      text, self._columns, restval='', lineterminator='\n'
    )
    if header:
      writer.writeheader()
    writer.writerows(rows[step] for step in sorted(rows))
    return text.getvalue().encode()


def read(path: str) -> Contents:
  """Reads a metrics.csv, of which nothing is changed.

  Args:
    path: the file.

  Returns:
    What can be read of it.

  Raises:
    OSError: if nothing can.
  """
  with files.open_regular(path) as f:
    return _parse(_decode(f.read()))


def _parse(text: str) -> Contents:
  lines = [line for line in re.split('\r\n|\r|\n', text) if line.strip()]
  if not lines:
    return Contents(list(_COLUMNS), {}, 0)
  for separator in ',;\t':
    columns = _split_cells(lines[0], separator)
    if 'step' in columns and len(set(columns)) == len(columns):
      break
  else:
    return Contents(list(_COLUMNS), {}, len(lines))
  rows: _Rows = {}
  for line in lines[1:]:
    cells = _split_cells(line, separator)
    if len(cells) == len(columns):
      row = dict(zip(columns, cells, strict=True))
      step = _parse_step(row['step'])
      if step is not None:
        rows[step] = row | {'step': str(step)}
  return Contents(columns, rows, len(lines) - 1 - len(rows))


def _read_stamp(path: str) -> tuple[int, ...] | None:
  """What changes when someone else writes a file; None if it is not there."""
  try:
    status = os.stat(path)
  except FileNotFoundError:
    return None
  return status.st_ino, status.st_size, status.st_mtime_ns


def _decode(content: bytes) -> str:
  """Decodes what spreadsheets write: UTF-8 or UTF-16, with a mark or not."""
  if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    return content.decode('utf-16', errors='replace')
  if content[1:2] == b'\0':
    return content.decode('utf-16-le', errors='replace')
  return content.decode('utf-8-sig', errors='replace')


def _split_cells(line: str, separator: str) -> list[str]:
  """Returns a line's cells; none if it cannot be read."""
  try:
    (cells,) = csv.reader([line], delimiter=separator, strict=True)
  except csv.Error:
    return []
  if '\ufffd' in line:  # Of bytes that were no text.
    return []
  cells = [cell.strip() for cell in cells]
  if separator == ';':  # Where a comma is the decimal point.
    cells = [re.sub(r'^([+-]?\d+),(\d+)', r'\1.\2', cell) for cell in cells]
  return cells


def _parse_step(text: str) -> int | None:
  try:
    number = float(text)
  except ValueError:
    return None
  return int(number) if number.is_integer() else None
