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
"""Tests for what is refused of samples, before anything is compiled."""

import json
import os

import numpy as np
import pytest

from dd_two_player_games import sample
from dd_two_player_games import trained_run
from eigengame_unloaded import base_config as eigengame_config
from jaxline_harness import errors
from jaxline_harness import programs
from jaxline_harness import run_directory


@pytest.fixture
def no_run(monkeypatch, tmp_path):
  """A command that must not come to load a run."""

  def load(*arguments):
    raise AssertionError(f'loads {arguments}')

  monkeypatch.setattr(trained_run, 'load', load)
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
  ('out', 'said'),
  [
    ('', '--out= must be an .npz file, or a folder'),
    ('a.png', '--out=a.png must be an .npz file, or a folder'),
    ('A.NPY', '--out=A.NPY must be'),
    ('folder.npz', '--out=folder.npz must be'),
    ('file', '--out: cannot write to .*file .File exists'),
    ('file/x.npz', '--out: cannot write to .*file '),
    ('/proc/samples', '--out: cannot write to /proc/samples'),
  ],
)
def test_places_that_take_no_samples(no_run, out, said):
  os.mkdir('folder.npz')
  open('file', 'w').close()
  with pytest.raises(errors.UserError, match=said):
    sample.main(['run', f'--out={out}'])


@pytest.mark.parametrize(
  'flag', ['--num=abc', '--num=0', '--seed=-1', f'--seed={2**64}', '--nun=3']
)
def test_flags_that_cannot_be_right_are_one_line(capsys, flag):
  with pytest.raises(SystemExit) as end:
    programs.run(lambda: sample.main(['run', flag]))
  assert end.value.code == 2
  assert capsys.readouterr().err.count('\n') == 1


def test_other_runs_are_refused_in_one_line(tmp_path):
  config = run_directory.to_plain(eigengame_config.get_base_config())
  path = tmp_path / 'config.json'
  for content in ({'config': config}, {'config': []}, [1], 3):
    path.write_text(json.dumps(content))
    with pytest.raises(
      errors.UserError, match='is no run of a GAN|cannot be read'
    ):
      trained_run._read_config(str(tmp_path), str(tmp_path / '4'), False)
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(errors.UserError, match='Not a regular file'):
    trained_run._read_config(str(tmp_path), str(tmp_path / '4'), False)


def test_ways_between_latents_of_one_line_stay_finite():
  starts = np.array([[1.0], [1.0], [2.0]], np.float32)
  stops = np.array([[3.0], [-1.0], [2.0]], np.float32)
  ways = trained_run.interpolate_latents(starts, stops, 3)
  np.testing.assert_allclose(ways[..., 0], [[1, 2, 3], [1, 0, -1], [2, 2, 2]])


def test_ways_between_latents_keep_their_length():
  starts, stops = np.eye(4)[None, 0], np.eye(4)[None, 1]
  ways = trained_run.interpolate_latents(starts, stops, 5)
  np.testing.assert_allclose(np.linalg.norm(ways, axis=-1), 1, rtol=1e-12)
