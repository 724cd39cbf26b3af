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
"""Samples of a trained run: `./run.sh sample RUN`."""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Sequence
import io
import os
import sys
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging
import numpy as np
from PIL import Image

from dd_two_player_games import data_utils
from dd_two_player_games import trained_run
from jaxline_harness import errors
from jaxline_harness import files

_NUM = flags.DEFINE_integer(
  'num', 64, 'Samples, or ways with --interpolate.', lower_bound=1
)
_OUT = flags.DEFINE_string(
  'out', 'samples.npz', 'An .npz file, or a folder for a PNG each and a grid.'
)
_STEP = flags.DEFINE_string(
  'step', 'latest', 'latest, best, or a step that is kept.'
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Of the latents.', lower_bound=0, upper_bound=2**32 - 1
)
_INTERPOLATE = flags.DEFINE_bool(
  'interpolate', False, 'Eight samples on each way between two latents.'
)
_NUM_BETWEEN = 8
# Who names such a file means no folder.
_OTHER_FILES = ('.npy', '.png', '.jpg', '.jpeg', '.gif', '.zip')


def main(argv: Sequence[str]) -> None:
  """Writes the samples that the flags ask for."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells of every file.
  if len(argv) != 2:
    raise errors.UserError('name one run: ./run.sh sample runs/NAME')
  out = _prepare_out(_OUT.value)
  run = trained_run.load(argv[1], _STEP.value)
  is_archive = out.endswith('.npz')
  if not is_archive and not run.is_image:
    raise errors.UserError('points are not drawn: give --out=FILE.npz')
  if _INTERPOLATE.value:
    samples = run.interpolate(_NUM.value, _NUM_BETWEEN, _SEED.value)
  else:
    samples = run.sample(_NUM.value, _SEED.value)
  try:
    if is_archive:
      _write_archive(out, samples)
    else:
      write_pngs(out, samples, _NUM_BETWEEN if _INTERPOLATE.value else None)
  except OSError as error:
    raise errors.UserError(
      f'--out: cannot write {out} ({error.strerror or error})'
    ) from error
  print(f'{len(samples)} samples of step {run.step}: {out}')


def _prepare_out(given: str) -> str:
  """Makes the folder that samples go to, and the path absolute."""
  out = os.path.abspath(os.path.expanduser(given))
  is_archive = out.endswith('.npz')
  if (
    not given
    or out.lower().endswith(_OTHER_FILES)
    or (is_archive and os.path.isdir(out))
  ):
    raise errors.UserError(
      f'--out={given} must be an .npz file, or a folder for PNG files'
    )
  files.make_folder(os.path.dirname(out) if is_archive else out, '--out')
  return out


def _write_archive(path: str, samples: np.ndarray) -> None:
  archive = io.BytesIO()
  np.savez(archive, samples=samples)
  files.write_atomically(path, archive.getvalue())


def write_pngs(folder: str, images: np.ndarray, cols: int | None) -> None:
  """Writes images, and a grid of all.

  Args:
    folder: is there.
    images: uint8 (N, height, width, channels).
    cols: columns of the grid; None: it is about square.

  Raises:
    OSError: if they cannot be written.
  """
  grid = data_utils.sample_grid(images, cols=cols)
  named = [(f'{k:06d}', image) for k, image in enumerate(images)]
  for name, image in [('grid', grid), *named]:
    picture = Image.fromarray(
      image.squeeze(-1) if image.shape[-1] == 1 else image
    )
    picture.save(os.path.join(folder, f'{name}.png'))


def _parse_flags(argv: list[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _end(error)


def _run(argv: Sequence[str]) -> None:
  try:
    main(argv)
  except errors.UserError as error:
    _end(error)


def _end(error: Exception) -> NoReturn:
  print(f'error: {errors.one_line(error)}', file=sys.stderr)
  sys.exit(2)


if __name__ == '__main__':
  app.run(_run, flags_parser=_parse_flags)
