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
"""A sweep of real, tiny GANs: killed and taken up again, and mapped."""

import csv
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from jaxline_harness import shipped

FILE = shipped.ROOT / 'sweeps' / 'quick_mixture.py'
RUN = [sys.executable, '-P', '-m', 'run_sweeps.program']

pytestmark = pytest.mark.slow


def read_table(out: pathlib.Path) -> list[dict[str, str]]:
  with open(out / 'table.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  for row in rows:
    assert float(row.pop('processor_seconds')) > 0
  return rows


def has_checkpoint(out: pathlib.Path) -> bool:
  return any(out.glob('cells/*/*/checkpoints/latest/[0-9]*/'))


def test_killed_in_the_middle_it_ends_the_same_and_mapped_alike(
  tmp_path, one_device_env
):
  whole, killed, mapped = (tmp_path / name for name in ('a', 'b', 'c'))

  def run(out, file=FILE):
    command = [*RUN, str(file), f'--out={out}']
    subprocess.run(command, check=True, env=one_device_env, timeout=1200)
    return read_table(out)

  process = subprocess.Popen(
    [*RUN, str(FILE), f'--out={killed}'], env=one_device_env
  )
  deadline = time.monotonic() + 600
  while not has_checkpoint(killed):
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  process.wait()

  expected = run(whole)
  assert run(killed) == expected
  statuses = [row['status'] for row in expected]
  assert statuses == ['done', 'done', 'diverged', 'diverged']
  assert [row['step'] for row in expected] == ['60', '60', '2', '2']

  text = FILE.read_text()
  assert 'seeds=range(2),' in text
  file = tmp_path / 'quick_mixture.py'
  file.write_text(
    text.replace('seeds=range(2),', 'seeds=range(2), map_seeds=True,')
  )
  found = run(mapped, file)
  for row, row_alone in zip(found, expected, strict=True):
    assert row['status'] == row_alone['status']
    assert row['step'] == row_alone['step']
    if row['status'] == 'done':
      # Of 10,000 samples some may lie on the other side of a bound.
      for name in ('modes_covered', 'high_quality_share'):
        assert float(row[name]) == pytest.approx(
          float(row_alone[name]), abs=1e-2
        )
    # Each seed has left a run as any other.
    folder = mapped / row['folder']
    assert (folder / 'config.json').is_file()
    assert (folder / 'checkpoints' / 'latest' / row['step']).is_dir()
