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
"""Runs what claims of papers need, and judges them: `./run.sh reproduce`.

Leaves the results as tables in docs/claims, a picture a claim in
figures/claims, and the verdicts in docs/claims.md. With `--size=quick` nothing
is left there: it shows that all is in place.
"""

if __name__ == '__main__':  # As other programs begin.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Sequence
import os
import pathlib
import shutil
import time

import jax

from claims import catalogue
from claims import declaration
from claims import page
from claims import readings
from claims import tables
from claims import verdicts
from jaxline_harness import errors
from jaxline_harness import programs
from jaxline_harness import settings
from jaxline_harness import shipped
from run_sweeps import declaration as sweep_declaration
from run_sweeps import program as sweep_program
from run_sweeps import results as sweep_results

_JOBS = settings.whole(1, 10_000)
_NUM_DEVICES = 4  # That measurements may spread over.

Source = declaration.Sweeps | declaration.Measurement


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs what the claims of a command need, by default the program's own."""
  parser = programs.Parser(
    shipped.name_verb('reproduce'),
    description='Tests claims of papers, and writes docs/claims.md.',
  )
  parser.add_argument(
    'claims', metavar='CLAIM', nargs='*', help='names; by default all'
  )
  parser.add_argument(
    '--size',
    choices=declaration.SIZES,
    default='small',
    help='quick decides nothing; full is the largest there is',
  )
  parser.add_argument(
    '--jobs',
    type=programs.whole(_JOBS),
    metavar='N',
    help='of sweeps: programs at once; by default one a GPU, or else a core',
  )
  parser.add_argument(
    '--dry-run', action='store_true', help='list the claims, run nothing'
  )
  given = parser.parse_args(arguments)
  chosen = catalogue.find_claims(given.claims)
  if given.dry_run:
    _list_claims(chosen, given.size)
    return
  for source in _order_by_cost(chosen, given.size):
    if given.size == 'quick':
      _try(source, given.jobs)
    elif not verdicts.is_recorded(source, given.size):
      _run(source, given.size, given.jobs)
      page.write()
  if given.size != 'quick':
    page.write()
    _show(chosen)
    print(page.PATH)


def _list_claims(chosen: Sequence[declaration.Claim], size: str) -> None:
  """Prints the claims in order of cost."""
  of_size = [c for c in chosen if c.source.minutes(size) is not None]
  for claim in sorted(of_size, key=lambda c: c.source.minutes(size) or 0):
    state = 'to run'
    if size != 'quick' and verdicts.is_recorded(claim.source, size):
      state = 'recorded'
    outcome = verdicts.find_outcome(claim)
    print(
      f'{claim.name}: {outcome.verdict}; {size}: {state}, '
      f'{claim.source.minutes(size):.3g} minutes of a core'
    )
  others = [claim.name for claim in chosen if claim not in of_size]
  if others:
    print(f'Not at the size {size}: {", ".join(others)}')


def _order_by_cost(
  chosen: Sequence[declaration.Claim], size: str
) -> list[Source]:
  """What claims need, each source once, those that take least first.

  Raises:
    errors.UserError: if none has this size.
  """
  by_name: dict[str, tuple[float, Source]] = {}
  for claim in chosen:
    minutes = claim.source.minutes(size)
    if minutes is not None:
      name = claim.source.table_name(size)
      by_name.setdefault(name, (minutes, claim.source))
  if not by_name:
    sizes = {
      other
      for claim in chosen
      for other in declaration.SIZES
      if claim.source.minutes(other) is not None
    }
    raise errors.UserError(
      f'none of these claims has the size {size}; give one of: '
      f'{", ".join(s for s in declaration.SIZES if s in sizes)}'
    )
  ordered = sorted(by_name.values(), key=lambda entry: entry[0])
  return [source for _, source in ordered]


def _run(source: Source, size: str, num_jobs: int | None) -> None:
  """Runs a source, and records what came out once all of it has ended."""
  path = verdicts.make_path(source, size)
  if isinstance(source, declaration.Measurement):
    rows = _measure(source, source.seeds)
    tables.write_measured(path, source.axes, rows)
    return
  plan = _run_sweep(source, size, num_jobs)
  name, table = plan.name, os.path.join(plan.folder, sweep_results.TABLE)
  missing = tables.read(pathlib.Path(table)).count_missing()
  if missing:
    print(f'{missing} runs of {name} have not ended: nothing is recorded')
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  shutil.copyfile(table, path)


def _try(source: Source, num_jobs: int | None) -> None:
  """Runs the quick size of a source."""
  if isinstance(source, declaration.Measurement):
    rows = _measure(source, source.seeds[:1])
    print(f'{source.name}: {len(rows)} rows')
    return
  _run_sweep(source, 'quick', num_jobs, 'quick')


def _run_sweep(
  source: declaration.Sweeps, size: str, num_jobs: int | None, *within: str
) -> sweep_declaration.Plan:
  """Runs what has not ended of a sweep, in a folder within runs/sweeps."""
  name = source.table_name(size)
  folder = os.path.join('runs', 'sweeps', *within, name)
  plan = sweep_declaration.make_plan(source.load(size), name, folder)
  sweep_program.run(plan, num_jobs)
  return plan


def _measure(
  source: declaration.Measurement, seeds: Sequence[int]
) -> list[declaration.Row]:
  """The rows of a measurement, in float64."""
  rows: list[declaration.Row] = []
  for seed in seeds:
    before = time.process_time()
    with jax.enable_x64(True):
      measured = list(source.measure(seed))
    seconds = (time.process_time() - before) / len(measured)
    rows += [
      {**row, 'seed': seed, 'processor_seconds': round(seconds, 2)}
      for row in measured
    ]
  return rows


def _show(chosen: Sequence[declaration.Claim]) -> None:
  """Writes pictures, and prints verdicts."""
  with errors.require_extra('plots', 'the picture of a claim'):
    from claims import pictures  # pylint: disable=g-import-not-at-top
  for claim in chosen:
    outcome = verdicts.find_outcome(claim)
    if outcome.verdict != readings.NOT_RUN:
      pictures.write(claim, outcome)
    print(f'{claim.name}: {outcome.verdict}')


if __name__ == '__main__':
  # Sweeps are programs of their own, on whatever there is.
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', _NUM_DEVICES)
  programs.run(main)
