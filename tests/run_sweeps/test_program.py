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
"""Tests of `./run.sh sweep` with processes of the toy experiment."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from jaxline_harness import errors
from jaxline_harness import run_lock
from run_sweeps import processes
from run_sweeps import program
from tests.run_sweeps import sweep_files

ONE_AXIS = {'rate': {rate: {'rates.one.lr': rate} for rate in (0.1, 0.2)}}


def run(folder: pathlib.Path, *arguments: str, **changes) -> pathlib.Path:
  """Runs a sweep in this process; returns its folder."""
  out = folder / 'out'
  program.main(
    [sweep_files.write(folder, **changes), f'--out={out}', *arguments]
  )
  return out


def table(out: pathlib.Path) -> list[dict[str, str]]:
  with open(out / 'table.csv', newline='') as file:
    return list(csv.DictReader(file))


def without_seconds(out: pathlib.Path) -> list[dict[str, str]]:
  rows = table(out)
  for row in rows:
    assert float(row.pop('processor_seconds')) > 0
  return rows


def steps_made(out: pathlib.Path) -> dict[str, str]:
  return {
    str(path.parent.relative_to(out / 'cells')): path.read_text()
    for path in sorted(out.glob('cells/*/*/steps'))
  }


def test_a_sweep_leaves_tables_and_pictures_and_runs_once(tmp_path, capsys):
  out = run(tmp_path, axes=ONE_AXIS, seeds=[3])
  output = capsys.readouterr()
  assert '[2/2] rate 0.' in output.err
  assert '1 cells to go, about 00:0' in output.err
  assert '2 cells: 2 done.' in output.out
  assert without_seconds(out) == [
    {
      'rate': str(rate),
      'seed': '3',
      'status': 'done',
      'message': '',
      'score': str(rate + 3),
      'distance': str(-rate - 3),
      'step': '6',
      'folder': f'cells/{rate}/seed_3',
    }
    for rate in (0.1, 0.2)
  ]
  for name in ('summary.csv', 'best.csv', 'summary.md', 'score.png'):
    assert (out / name).stat().st_size > 0
  log = out / 'cells/0.1/seed_3/log.txt'
  assert '--jaxline_mode=train' in log.read_text().splitlines()[0]

  # More seeds are no change of those that were there.
  before = log.stat()
  run(tmp_path, axes=ONE_AXIS, seeds=[3, 1])
  assert len(steps_made(out)) == 4
  assert log.stat() == before

  # Other settings of cells that have run are told, before anything runs.
  with pytest.raises(errors.UserError) as error:
    run(tmp_path, axes=ONE_AXIS, seeds=[3], overrides={'name': 'fancy'})
  assert str(error.value).startswith(
    f'2 of the cells in {out} have run with other settings: rate 0.1, seed 3: '
    "experiment_kwargs.config.name was 'plain', now 'fancy'. Set them back"
  )


def test_what_failed_for_a_reason_is_told_and_not_run_again(tmp_path, capsys):
  # One diverges, one crashes, one is killed once.
  rates = {rate: {'rates.one.lr': rate} for rate in (2.0, 0.0, 0.5)}
  changes = {'axes': {'rate': rates}, 'seeds': [3]}
  out = run(tmp_path, **changes)
  output = capsys.readouterr()
  assert '3 cells: 1 diverged, 1 failed, 1 done.' in output.out
  assert 'rate 0.0, seed 3 failed: ZeroDivisionError: the rate' in output.out
  rows = table(out)
  assert [row['status'] for row in rows] == ['diverged', 'failed', 'done']
  assert [row['message'] for row in rows] == [
    *('step 3: not finite: loss', 'ZeroDivisionError: the rate is 0', '')
  ]
  assert [row['step'] for row in rows] == ['2', '', '6']
  made = {'2.0/seed_3': '1 2 ', '0.5/seed_3': '1 2 3 4 5 6 '}
  assert steps_made(out) == made

  logs = out / 'cells/2.0/seed_3/log.txt', out / 'cells/0.0/seed_3/log.txt'
  sizes = [log.stat().st_size for log in logs]
  run(tmp_path, **changes)
  assert [log.stat().st_size for log in logs] == sizes
  run(tmp_path, '--retry-failed', **changes)
  now = [log.stat().st_size for log in logs]
  assert now[0] == sizes[0]
  assert now[1] > sizes[1]


def test_a_dry_run_lists_cells_and_runs_none(tmp_path, capsys):
  out = run(tmp_path, '--dry-run', axes=ONE_AXIS)
  assert capsys.readouterr().out.splitlines() == [
    *(f'rate {r}, seed {s}: waiting' for r in (0.1, 0.2) for s in (0, 1)),
    f'4 cells, in {out}',
  ]
  assert not out.exists()


def test_a_second_sweep_in_the_same_folder_is_refused(tmp_path):
  out = tmp_path / 'out'
  with (
    run_lock.locked(str(out)),
    pytest.raises(errors.UserError) as error,
  ):
    run(tmp_path, axes=ONE_AXIS)
  assert str(error.value).startswith(
    f'another process runs a sweep in {out}: process {os.getpid()} on host'
  )
  assert str(error.value).endswith('; wait for it, or use another --out')


def test_a_record_that_cannot_be_read(tmp_path):
  folder = tmp_path / 'out/cells/0.1/seed_0'
  folder.mkdir(parents=True)
  (folder / 'cell.json').write_text('{')
  with pytest.raises(errors.UserError) as error:
    run(tmp_path, axes=ONE_AXIS)
  assert str(error.value).startswith(f'{folder}/cell.json cannot be read (')
  assert str(error.value).endswith('; remove it to run its cell again')


def start(folder: pathlib.Path) -> subprocess.Popen:
  command = [sys.executable, '-P', '-m', 'run_sweeps.program']
  command += [str(folder / 'toy.py'), f'--out={folder / "out"}', '--jobs=2']
  return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_steps(out: pathlib.Path, num: int) -> None:
  """Waits until two cells have made so many steps, or more."""
  deadline = time.monotonic() + 120
  while time.monotonic() < deadline:
    made = steps_made(out).values()
    if len([steps for steps in made if len(steps.split()) >= num]) >= 2:
      return
    time.sleep(0.02)
  raise AssertionError('the cells do not begin')


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_goes_on_after_a_signal(tmp_path, number):
  rates = {rate: {'rates.one.lr': rate} for rate in (0.1, 0.2, 0.3)}
  changes = {
    'axes': {'rate': rates},
    'seeds': [1],
    'overrides': {'seconds_a_step': 0.05, 'training_steps': 30},
  }
  sweep_files.write(tmp_path, **changes)
  process = start(tmp_path)
  out = tmp_path / 'out'
  wait_for_steps(out, 5)
  process.send_signal(number)
  _, told = process.communicate(timeout=120)
  if number == signal.SIGTERM:
    assert process.returncode == 143, told
    assert 'rate 0.1, seed 1: stopped' in told.splitlines()
    statuses = [row['status'] for row in table(out)]
    assert statuses == ['unfinished', 'unfinished', 'waiting']
  records = [json.load(open(path)) for path in out.glob('cells/*/*/cell.json')]
  assert [record['status'] for record in records] == ['unfinished'] * 2
  # At once: the processes may still be about to end.
  run(tmp_path, **changes)
  assert [row['status'] for row in table(out)] == ['done'] * 3
  for steps in steps_made(out).values():  # None is lost, none made again.
    assert steps.split() == [str(step) for step in range(1, 31)]
  assert [row['score'] for row in table(out)] == ['1.1', '1.2', '1.3']


def test_processes_have_a_core_each(monkeypatch):
  monkeypatch.setattr(processes, '_find_gpus', lambda: [])
  cores = sorted(os.sched_getaffinity(0))
  assert [slot.core for slot in processes.find_slots(None)] == cores
  found = processes.find_slots(len(cores) + 1)
  assert [slot.core for slot in found] == [*cores, cores[0]]


def test_processes_have_a_gpu_each(monkeypatch):
  monkeypatch.setattr(processes, '_find_gpus', lambda: ['0', '3'])
  first, second = processes.find_slots(None)
  assert (first.gpu, second.gpu) == ('0', '3')
  assert second.environment()['CUDA_VISIBLE_DEVICES'] == '3'
  assert 'XLA_PYTHON_CLIENT_PREALLOCATE' not in second.environment()
  third = processes.find_slots(3)[2]
  assert third.environment()['CUDA_VISIBLE_DEVICES'] == '0'
  assert third.environment()['XLA_PYTHON_CLIENT_PREALLOCATE'] == 'false'


def test_a_process_tells_how_it_has_ended(tmp_path):
  log = tmp_path / 'log.txt'
  log.write_text('error: of another process\n')
  slot = processes.find_slots(1)[0]
  script = (
    'import os, sys; print(os.sched_getaffinity(0)); '
    'print("error: step 3", file=sys.stderr); sys.exit(7)'
  )
  process = processes.Process([sys.executable, '-c', script], slot, str(log))
  while (ended := process.poll()) is None:
    time.sleep(0.01)
  assert ended.status == 7
  assert ended.stopped_by is None
  assert ended.last_line == 'error: step 3'
  assert ended.processor_seconds > 0
  if slot.core is not None:
    assert f'{{{slot.core}}}' in log.read_text()
