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
"""Verdicts: what recorded results say about a claim, never set by hand."""

from collections.abc import Sequence
import dataclasses
import pathlib

from claims import declaration
from claims import readings
from claims import tables
from jaxline_harness import errors

LEAST_SEEDS = 5


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came out of a claim.

  Attributes:
    verdict: one of those of `readings`.
    reason: why it counts as not run, where there are results.
    size: of the results; '' where there are none.
    table: the results.
    found: the readings of each rule.
  """

  verdict: str
  reason: str = ''
  size: str = ''
  table: tables.Table | None = None
  found: Sequence[Sequence[readings.Reading]] = ()

  @property
  def all_readings(self) -> list[readings.Reading]:
    return [reading for of_rule in self.found for reading in of_rule]


def judge(claim: declaration.Claim, table: tables.Table) -> Outcome:
  """The verdict of a claim's rules on a table.

  Args:
    claim: the claim.
    table: all its results.

  Returns:
    The outcome.
  """
  missing = table.count_missing()
  if missing:
    reason = f'{missing} of {len(table.rows)} runs have not ended, or failed'
    return Outcome(readings.NOT_RUN, reason, table=table)
  if table.num_seeds < LEAST_SEEDS:
    reason = f'{table.num_seeds} of {LEAST_SEEDS} seeds'
    return Outcome(readings.NOT_RUN, reason, table=table)
  found = [rule.read(table) for rule in claim.rules]
  verdict = readings.require_all(
    readings.require_agreement(reading.verdict for reading in of_rule)
    for of_rule in found
  )
  return Outcome(verdict, table=table, found=found)


def find_outcome(
  claim: declaration.Claim, folder: pathlib.Path = declaration.RESULTS
) -> Outcome:
  """The verdict on the largest size whose results are recorded.

  Args:
    claim: the claim.
    folder: of recorded results.

  Returns:
    The outcome, `not run` where nothing is recorded.
  """
  for size in reversed(declaration.SIZES[1:]):
    if claim.source.minutes(size) is None:
      continue
    path = make_path(claim.source, size, folder)
    if is_recorded(claim.source, size, folder):
      outcome = judge(claim, tables.read(path))
      return dataclasses.replace(outcome, size=size)
  return Outcome(readings.NOT_RUN)


def make_path(
  source: declaration.Sweeps | declaration.Measurement,
  size: str,
  folder: pathlib.Path = declaration.RESULTS,
) -> pathlib.Path:
  """Where the results of a source are recorded."""
  return folder / f'{source.table_name(size)}.csv'


def is_recorded(
  source: declaration.Sweeps | declaration.Measurement,
  size: str,
  folder: pathlib.Path = declaration.RESULTS,
) -> bool:
  """Whether the results of a source are there.

  Args:
    source: of a claim.
    size: `small` or `full`.
    folder: of recorded results.

  Raises:
    errors.UserError: if they are those of other cells than are declared now.
  """
  path = make_path(source, size, folder)
  if not path.is_file():
    return False
  found = tables.read(path).cells()
  if isinstance(source, declaration.Measurement):
    found = [((), seed) for _, seed in found]
  if set(found) != set(declaration.list_cells(source, size)):
    raise errors.UserError(
      f'{path} holds other runs than are declared; remove it to run them anew'
    )
  return True
