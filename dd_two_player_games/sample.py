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

from collections.abc import Sequence
import os
import sys

from absl import app
from absl import flags
from absl import logging
import numpy as np
from PIL import Image

from dd_two_player_games import data_utils
from dd_two_player_games import trained_run
from jaxline_harness import errors
from jaxline_harness import files

_NUM = flags.DEFINE_integer('num', 64, 'Samples, or ways with --interpolate.')
_OUT = flags.DEFINE_string(
  'out', 'samples.npz', 'An .npz file, or a folder for a PNG each and a grid.'
)
_STEP = flags.DEFINE_string(
  'step', 'latest', 'latest, best, or a step that is kept.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the latents.')
_INTERPOLATE = flags.DEFINE_bool(
  'interpolate', False, 'Eight samples on each way between two latents.'
)
_NUM_BETWEEN = 8


def main(argv: Sequence[str]) -> None:
  """Writes the samples that the flags ask for."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells of every file.
  if len(argv) != 2:
    raise errors.UserError('name one run: ./run.sh sample runs/NAME')
  if _NUM.value < 1:
    raise errors.UserError(f'--num={_NUM.value} must be at least 1')
  run = trained_run.load(argv[1], _STEP.value)
  if _INTERPOLATE.value:
    samples = run.interpolate(_NUM.value, _NUM_BETWEEN, _SEED.value)
  else:
    samples = run.sample(_NUM.value, _SEED.value)
  out = os.path.abspath(os.path.expanduser(_OUT.value))
  if out.endswith('.npz'):
    files.make_folder(os.path.dirname(out))
    np.savez(out, samples=samples)
  else:
    write_pngs(out, samples)
  print(f'{len(samples)} samples of step {run.step}: {out}')


def write_pngs(folder: str, images: np.ndarray) -> None:
  """Writes images, and a grid of all.

  Args:
    folder: is made.
    images: uint8 (N, height, width, channels).

  Raises:
    errors.UserError: if they are no images, or the folder cannot be made.
  """
  if images.ndim != 4:
    raise errors.UserError('points are not drawn: give --out=FILE.npz')
  files.make_folder(folder)
  grid = data_utils.sample_grid(
    images, cols=_NUM_BETWEEN if _INTERPOLATE.value else None
  )
  named = [(f'{k:06d}', image) for k, image in enumerate(images)]
  for name, image in [('grid', grid), *named]:
    picture = Image.fromarray(
      image.squeeze(-1) if image.shape[-1] == 1 else image
    )
    picture.save(os.path.join(folder, f'{name}.png'))


def _run(argv: Sequence[str]) -> None:
  try:
    main(argv)
  except errors.UserError as error:
    print(f'error: {errors.one_line(error)}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  app.run(_run)
