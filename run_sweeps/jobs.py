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
"""Cells as commands: those that a user would type, train and then eval."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import re
import signal
import sys
from typing import Any

from jaxline_harness import errors
from run_sweeps import declaration
from run_sweeps import mapped_names
from run_sweeps import processes
from run_sweeps import results as sweep_results

LOG = 'log.txt'
# A program that somebody kills is started again, from its last checkpoint, but
# not for ever: the system may kill it for want of memory.
_MOST_KILLS = 3
_DIVERGED = re.compile(r'error: (step (\d+): .*)')


@dataclasses.dataclass
class Job:
  """Cells that one program runs.

  Attributes:
    cells: one, or those of the seeds or draws that are trained together.
    folder: the run's.
    commands: to train and to evaluate.
    next_command: the number of the one that is to run, or runs.
    num_kills: how often it was killed.
    processor_seconds: of processes that have ended, by all cells together.
  """

  cells: Sequence[declaration.Cell]
  folder: str
  commands: Sequence[Sequence[str]]
  next_command: int = 0
  num_kills: int = 0
  processor_seconds: float = 0.0

  @property
  def is_mapped(self) -> bool:
    return len(self.cells) > 1

  @property
  def log_path(self) -> str:
    return os.path.join(self.folder, LOG)


def make_jobs(
  plan: declaration.Plan, cells: Sequence[declaration.Cell]
) -> list[Job]:
  """The jobs of some of a plan's cells.

  Args:
    plan: the sweep.
    cells: that are to run.

  Returns:
    Jobs, such that the first seeds of all combinations come first: what is
    there of an interrupted sweep covers all of it.
  """
  if plan.sweep.map_seeds:
    groups: dict[Any, list[declaration.Cell]] = {}
    for cell in cells:
      groups.setdefault(_program_of(cell), []).append(cell)
    return [
      _make_job(plan, _find_begun(plan, group) or group)
      for group in groups.values()
    ]
  order = {seed: k for k, seed in enumerate(plan.sweep.seeds)}
  ordered = sorted(cells, key=lambda cell: order[cell.seed])
  return [_make_job(plan, [cell]) for cell in ordered]


def _program_of(cell: declaration.Cell) -> tuple[Any, ...]:
  """The same for cells that are trained together."""
  if cell.draw is None:
    return (cell.group_folder,)
  return os.path.dirname(cell.group_folder), cell.seed


def _find_begun(
  plan: declaration.Plan, cells: Sequence[declaration.Cell]
) -> list[declaration.Cell]:
  """The cells that a program trains which has begun with these, if any has."""
  wanted = {cell.folder for cell in cells}
  same = [c for c in plan.cells if _program_of(c) == _program_of(cells[0])]
  for first in range(len(same)):
    for last in range(len(same), first, -1):
      tried = same[first:last]
      has_all = wanted <= {cell.folder for cell in tried}
      if has_all and os.path.isdir(_mapped_folder(tried)):
        return tried
  return []


def _mapped_folder(cells: Sequence[declaration.Cell]) -> str:
  folder, *seed = _program_of(cells[0])
  name = 'draws' if seed else 'seeds'
  numbers = sorted(c.seed if c.draw is None else c.draw for c in cells)
  starts = [k for k in numbers if k - 1 not in numbers]
  ends = [k for k in numbers if k + 1 not in numbers]
  ranges = [f'{a}-{b}' for a, b in zip(starts, ends, strict=True)]
  parts = [*(f'seed_{s}' for s in seed), name, *ranges]
  return os.path.join(folder, '_'.join(parts))


def _make_job(plan: declaration.Plan, cells: Sequence[declaration.Cell]) -> Job:
  first = cells[0]
  overrides = dict(first.overrides)
  if len(cells) == 1:
    program = [plan.experiment]
    folder = first.folder
    overrides[plan.seed_setting] = first.seed
  else:
    seeds = [cell.seed for cell in cells]
    program = [mapped_names.MODULE, plan.experiment]
    folder = _mapped_folder(cells)
    overrides[mapped_names.SETTING] = seeds
    if first.draw is not None:
      overrides[mapped_names.DRAWS_SETTING] = [
        {'number': cell.draw, 'values': sweep_results.describe_drawn(cell)}
        for cell in cells
      ]
    overrides['best_model_eval_metric'] = ''  # There is one a seed.
  overrides['checkpoint_dir'] = folder
  arguments = [
    f'--config={plan.config_path}',
    *declaration.list_arguments(overrides),
  ]
  commands = [
    [sys.executable, '-P', '-m', *program, f'--jaxline_mode={mode}', *arguments]
    for mode in ('train', 'eval')
  ]
  return Job(cells, folder, commands)


def go_on(
  job: Job, ended: processes.Ended, metrics: Sequence[str]
) -> Mapping[str, sweep_results.Result] | None:
  """Takes note of how a job's process has ended.

  Args:
    job: it is changed.
    ended: how.
    metrics: that are wanted.

  Returns:
    Results by the cells' folders; None where the job has another process to
    run.
  """
  job.processor_seconds += ended.processor_seconds
  if ended.stopped_by is not None:
    job.num_kills += 1
    if job.num_kills < _MOST_KILLS:
      return None
    name = processes.describe_signal(ended.stopped_by)
    what = f'ended by {name} {job.num_kills} times'
    if ended.stopped_by == signal.SIGKILL:
      what += '; is there too little memory?'
    return give_all(job, sweep_results.FAILED, what)
  if ended.status != 0:
    diverged = _DIVERGED.fullmatch(ended.last_line)
    if diverged and job.next_command == 0:
      message, step = diverged[1].partition('; ')[0], int(diverged[2])
      return give_all(job, sweep_results.DIVERGED, message, step - 1)
    return give_all(job, sweep_results.FAILED, ended.last_line)
  job.next_command += 1
  if job.next_command < len(job.commands) and not _is_measured(job, metrics):
    return None
  try:
    return {cell.folder: _read_result(job, cell, metrics) for cell in job.cells}
  except (errors.UserError, ValueError) as error:
    return give_all(job, sweep_results.FAILED, errors.one_line(error))


def _is_measured(job: Job, metrics: Sequence[str]) -> bool:
  """Whether training itself has evaluated its last step."""
  try:
    step, found = sweep_results.read_metrics(job.folder, metrics)
  except (errors.UserError, ValueError):
    return False
  last = job.cells[0].config.training_steps
  return step == last and len(found) == len(metrics)


def share_seconds(job: Job) -> float:
  """A cell's share of a job's processor seconds."""
  return job.processor_seconds / len(job.cells)


def give_all(
  job: Job, status: str, message: str = '', step: int | None = None
) -> dict[str, sweep_results.Result]:
  """The same result for all cells of a job."""
  if message:
    message = errors.one_line(message.removeprefix('error: '), 500)
  seconds = share_seconds(job)
  result = sweep_results.Result(status, message, step, {}, seconds)
  return {cell.folder: result for cell in job.cells}


def _read_result(
  job: Job, cell: declaration.Cell, metrics: Sequence[str]
) -> sweep_results.Result:
  suffix = ''
  if job.is_mapped:
    suffix = mapped_names.suffix(cell.seed, cell.draw)
  step, found = sweep_results.read_metrics(
    job.folder, [*metrics, mapped_names.DIVERGED_AT], suffix
  )
  seconds = share_seconds(job)
  if mapped_names.DIVERGED_AT in found:
    step = int(found[mapped_names.DIVERGED_AT])
    return sweep_results.Result(
      sweep_results.DIVERGED,
      f'step {step}: not finite',
      step - 1,
      processor_seconds=seconds,
    )
  missing = [name for name in metrics if name not in found]
  if missing:
    raise errors.UserError(f'the evaluation gives no {", ".join(missing)}')
  return sweep_results.Result(
    sweep_results.DONE, '', step, found, processor_seconds=seconds
  )
