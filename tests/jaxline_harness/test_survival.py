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
"""What a run survives, as a user sees it: damaged files and full disks."""

import errno
import os
import pathlib
import subprocess

from orbax import checkpoint as ocp
import pytest

from jaxline_harness import checkpointing
from jaxline_harness import errors
from tests.jaxline_harness import test_checkpointing
from tests.jaxline_harness import test_launch
from tests.jaxline_harness import toy_experiment

CONFIG = test_launch.CONFIG
TOY = test_launch.TOY
LATEST = pathlib.Path('runs', 'toy', 'checkpoints', 'latest')
toy = test_launch.toy


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def warnings_in(caplog):
  return [r.getMessage() for r in caplog.records if r.levelname == 'WARNING']


def files_below(folder):
  return {
    path: path.read_bytes() for path in folder.rglob('*') if path.is_file()
  }


# Damaged files.


@pytest.mark.slow
def test_damaged_checkpoint_costs_only_its_steps(toy, caplog):
  other = '--config.checkpoint_dir=other'
  longer = '--config.training_steps=30'
  assert toy(CONFIG, other, longer)[0] == 0
  assert toy(CONFIG)[0] == 0
  flip(LATEST / '20' / 'state' / 'manifest.ocdbt')
  status, out, err = toy(CONFIG, longer)
  assert status == 0, err
  assert 'Traceback' not in err
  found, moved = warnings_in(caplog)
  assert found.startswith('the checkpoint /')
  assert 'latest/20 is damaged (state/manifest.ocdbt is not what' in found
  assert moved.endswith('/checkpoints/damaged/latest/20')
  assert 'training from step 10 to 30' in err
  assert test_launch.state_bytes('runs/toy') == test_launch.state_bytes('other')
  table = 'train/metrics.csv'
  assert test_launch.rows(f'runs/toy/{table}') == test_launch.rows(
    f'other/{table}'
  )
  # What was set aside is not taken for a checkpoint of the run.
  caplog.clear()
  assert toy(CONFIG, longer)[0] == 0
  assert warnings_in(caplog) == []
  assert checkpointing.steps_in(LATEST) == [10, 20, 30]


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_none_is_whole(toy, mode):
  assert toy(CONFIG)[0] == 0
  for step in ('10', '20'):
    (LATEST / step / 'digests.json').unlink()
  before = files_below(pathlib.Path('runs'))
  line = test_launch.error_line(
    toy(CONFIG, f'--jaxline_mode={mode}', '--config.training_steps=30')
  )
  assert line.startswith('error: no whole checkpoint: ')
  assert 'latest/10: digests.json: No such file' in line
  after = files_below(pathlib.Path('runs'))
  assert after == before


def test_evaluation_takes_an_older_one(toy, caplog):
  assert toy(CONFIG)[0] == 0
  flip(LATEST / '20' / 'digests.json')
  status, out, err = toy(CONFIG, '--jaxline_mode=eval')
  assert status == 0, err
  assert 'Step 10' in out
  (line,) = warnings_in(caplog)
  assert 'latest/20 is damaged' in line
  assert checkpointing.steps_in(LATEST) == [10, 20]


def test_samples_that_a_killed_process_did_not_write(toy):
  assert toy(CONFIG)[0] == 0
  samples = pathlib.Path('runs/toy/samples/step_00000020.png')
  picture = samples.read_bytes()
  samples.unlink()
  assert toy(CONFIG)[0] == 0
  assert samples.read_bytes() == picture


def test_rows_are_there_before_their_checkpoint(toy, monkeypatch):
  """A process may be killed right after a save: its rows must be there."""
  steps = []
  save = checkpointing.Checkpointer.save

  def saved(self, series):
    save(self, series)
    rows = test_launch.rows('runs/toy/train/metrics.csv')
    steps.append(rows[-1]['step'])

  monkeypatch.setattr(checkpointing.Checkpointer, 'save', saved)
  assert toy(CONFIG)[0] == 0
  assert steps == ['10', '20', '20']  # jaxline saves once more at the end.


def test_every_step_can_be_logged(toy):
  status, _, err = toy(CONFIG, '--config.log_all_train_data=True')
  assert status == 0, err
  rows = test_launch.rows('runs/toy/train/metrics.csv')
  assert [int(row['step']) for row in rows] == list(range(1, 21))


# Full disks.


@pytest.fixture
def full_disk(monkeypatch):
  """Lets saves at the given steps fail when they are half done."""
  steps = set()
  save = ocp.Checkpointer.save

  def save_half(self, path, *arguments, **kwargs):
    save(self, path, *arguments, **kwargs)
    if any(f'/{step}.tmp' in str(path) for step in steps):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(ocp.Checkpointer, 'save', save_half)
  return steps


def last_line(err):
  assert 'Traceback' not in err
  return err.strip().splitlines()[-1]


def test_full_disk_stops_training(toy, full_disk):
  full_disk.add(20)
  status, _, err = toy(CONFIG, '--config.training_steps=30')
  assert status == 1
  line = last_line(err)
  assert line.startswith('error: cannot save /')
  assert 'latest/20: No space left on device; the last good' in line
  assert line.endswith('latest/10')
  assert sorted(os.listdir(LATEST)) == ['10']
  full_disk.clear()
  assert toy(CONFIG, '--config.training_steps=30')[0] == 0
  assert checkpointing.steps_in(LATEST) == [10, 20, 30]


def test_full_disk_is_passed_by(toy, full_disk, caplog):
  full_disk |= {20, 30, 40}
  status, out, err = toy(
    CONFIG, '--config.training_steps=50', '--config.on_save_error=go_on'
  )
  assert status == 0
  assert 'Trained to step 50' in out
  assert 'Traceback' not in err
  for step, line in zip((20, 30, 40), warnings_in(caplog), strict=True):
    assert f'latest/{step}: No space left on device; going on' in line
  assert sorted(os.listdir(LATEST)) == ['10', '50']


def test_full_disk_at_the_end_is_no_success(toy, full_disk):
  full_disk.add(20)
  status, out, err = toy(CONFIG, '--config.on_save_error=go_on')
  assert status == 1
  assert 'Trained' not in out
  assert 'latest/20: No space left on device; the last good' in last_line(err)


def test_bad_value_of_the_setting(toy):
  line = test_launch.error_line(toy(CONFIG, '--config.on_save_error=retry'))
  assert "config.on_save_error: there is no 'retry'; there is stop" in line


def test_full_disk_leaves_the_best(tmp_path, full_disk):
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path)
  test_checkpointing.save_best(config, 3, 1.0)
  full_disk.add(3)
  with pytest.raises(errors.TrainingError, match='best/3: No space left'):
    test_checkpointing.save_best(config, 3, 2.0)
  assert test_checkpointing.restored_best(config) == (3, 1.0)


def test_errors_of_the_experiment_are_not_taken_for_a_full_disk(tmp_path):
  config = toy_experiment.get_config()
  config.checkpoint_dir = str(tmp_path)
  config.on_save_error = 'go_on'
  checkpointer, state = test_checkpointing.make(config, 1)
  state.experiment_module.snapshot_state = lambda: 1 / 0
  with pytest.raises(ZeroDivisionError):
    checkpointer.save('latest')


@pytest.mark.slow
def test_files_that_the_system_refuses_to_write(tmp_path, one_device_env):
  """As above, but for real: the system limits the size of files."""

  def train(*arguments, blocks='unlimited'):
    result = subprocess.run(
      [
        *('sh', '-c', 'ulimit -f "$0" && exec "$@"', str(blocks)),
        *test_launch.toy_command(CONFIG, f'{TOY}size=300000', *arguments),
      ],
      cwd=tmp_path,
      env=one_device_env | {'JAX_ENABLE_COMPILATION_CACHE': 'false'},
      capture_output=True,
      text=True,
      timeout=120,
    )
    assert 'Traceback' not in result.stderr, result.stderr
    return result

  assert train('--config.training_steps=10').returncode == 0
  before = files_below(tmp_path / LATEST)
  result = train(blocks=500)
  assert result.returncode == 1
  assert 'latest/20: File too large; the last good' in last_line(result.stderr)
  assert files_below(tmp_path / LATEST) == before
  result = train(blocks=1)
  assert result.returncode == 2
  assert 'config.json (File too large)' in last_line(result.stderr)
  assert files_below(tmp_path / LATEST) == before
  assert train().returncode == 0
  assert checkpointing.steps_in(tmp_path / LATEST) == [10, 20]
