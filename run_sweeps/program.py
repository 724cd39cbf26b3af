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
"""Runs an experiment over settings and seeds: `./run.sh sweep FILE`.

Leaves, in `runs/sweeps/<name>` or where `--out` says,

```
table.csv                a row a cell: axes, seed, status, metrics, …
summary.csv  best.csv    of each combination; of each level of the first axis
summary.md               both, as Markdown
<metric>.png             a heat map, or curves
cells/<levels>/seed_<k>  the run of a cell, its record cell.json, log.txt
final                    of a search: the same of each level at its best draw
```
"""

if __name__ == '__main__':  # As other programs begin.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Mapping, Sequence
import os
import sys

from jaxline_harness import errors
from jaxline_harness import programs
from jaxline_harness import run_lock
from jaxline_harness import settings
from jaxline_harness import shipped
from jaxline_harness import signals
from run_sweeps import declaration
from run_sweeps import finals
from run_sweeps import jobs
from run_sweeps import processes
from run_sweeps import progress
from run_sweeps import results as sweep_results
from run_sweeps import runner
from run_sweeps import summary

_JOBS = settings.whole(1, 10_000)


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs the sweep of a command, by default the program's own."""
  parser = programs.Parser(
    shipped.name_verb('sweep'),
    description='Runs a config over settings and seeds.',
  )
  parser.add_argument(
    'file', metavar='FILE', help='a path, or a name in sweeps/'
  )
  parser.add_argument(
    '--out', metavar='DIR', help='where to keep it; default runs/sweeps/NAME'
  )
  parser.add_argument(
    '--jobs',
    type=programs.whole(_JOBS),
    metavar='N',
    help='programs at once; by default one a GPU, or else one a core',
  )
  parser.add_argument(
    '--retry-failed',
    action='store_true',
    help='run cells again that have failed (those that diverged have not)',
  )
  parser.add_argument(
    '--dry-run', action='store_true', help='list the cells, run none'
  )
  given = parser.parse_args(arguments)
  path = shipped.find_file('sweeps', given.file)
  name = path.name.removesuffix('.py')
  out = given.out or os.path.join('runs', 'sweeps', name)
  plan = declaration.make_plan(declaration.load_sweep(path), name, out)
  if given.dry_run:
    _list_cells(plan)
    return
  results = run(plan, given.jobs, given.retry_failed)
  final_plan = finals.make_final_plan(plan, results)
  if final_plan is not None:
    run(final_plan, given.jobs, given.retry_failed)


def run(
  plan: declaration.Plan,
  num_jobs: int | None = None,
  retry_failed: bool = False,
) -> sweep_results.Results:
  """Runs what has not ended of a sweep.

  Args:
    plan: the sweep.
    num_jobs: programs at once; None for one a GPU, or else one a core.
    retry_failed: whether cells that have failed are run again.

  Returns:
    The results of all cells.

  Raises:
    SystemExit: a signal has asked to stop; all that ran is saved.
  """
  with signals.watch() as watcher:
    with run_lock.locked(plan.folder, 'runs a sweep', '--out'):
      results = _run(plan, num_jobs, retry_failed, watcher)
    _print_end(plan, results, watcher.stop_signal)
    if watcher.stop_signal is not None:
      sys.exit(128 + watcher.stop_signal)
  return results


def _list_cells(plan: declaration.Plan) -> None:
  results = sweep_results.read_results(plan)
  for cell in plan.cells:
    result = results[cell.folder]
    told = f' ({result.message})' if result.message else ''
    print(f'{cell.name}: {result.status}{told}')
  print(f'{len(plan.cells)} cells, in {plan.folder}')
  search = plan.sweep.search
  if search is not None and search.final_seeds:
    first = next(iter(plan.sweep.axes.values()))
    print(
      f'then {len(first)} levels at their best draws, with the seeds '
      f'{", ".join(map(str, search.final_seeds))}'
    )


def _run(
  plan: declaration.Plan,
  num_jobs: int | None,
  retry_failed: bool,
  watcher: signals.Watcher,
) -> Mapping[str, sweep_results.Result]:
  """Runs what has not ended; returns all results."""
  with errors.require_extra('plots', 'the picture of a sweep'):
    from run_sweeps import pictures  # pylint: disable=g-import-not-at-top
  results = sweep_results.read_results(plan)
  ended = {sweep_results.DONE, sweep_results.DIVERGED, sweep_results.FAILED}
  if retry_failed:
    ended.remove(sweep_results.FAILED)
  cells = [c for c in plan.cells if results[c.folder].status not in ended]
  slots = processes.find_slots(num_jobs)
  with progress.Display(len(plan.cells), len(cells), len(slots)) as display:

    def write_tables():
      summary.write(plan, sweep.results)

    sweep = runner.Runner(plan, results, slots, display, write_tables)
    sweep.run(jobs.make_jobs(plan, cells), watcher)
    write_tables()
  pictures.write(plan, summary.summarise(plan, sweep.results))
  return sweep.results


def _print_end(
  plan: declaration.Plan,
  results: Mapping[str, sweep_results.Result],
  stop_signal: int | None,
) -> None:
  statuses = [result.status for result in results.values()]
  told = ', '.join(
    f'{statuses.count(status)} {status}' for status in dict.fromkeys(statuses)
  )
  print(f'{len(statuses)} cells: {told}.')
  if stop_signal is not None:
    print('Stopped, saved. The same command goes on from there.')
  failed = [
    cell
    for cell in plan.cells
    if results[cell.folder].status == sweep_results.FAILED
  ]
  if failed:
    print(
      f'{failed[0].name} failed: {results[failed[0].folder].message}\n  see '
      f'{failed[0].group_folder}; --retry-failed runs such cells again'
    )
  print(f'Files of the sweep: {plan.folder}')
  for name in sorted(os.listdir(plan.folder)):
    if name.endswith(('.csv', '.md', '.png')):
      print(f'  {name}')


if __name__ == '__main__':
  programs.run(main)
