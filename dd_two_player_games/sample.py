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

import argparse
from collections.abc import Sequence
import io
import os
from typing import Any

from absl import logging
import numpy as np
from PIL import Image

from dd_two_player_games import data_utils
from dd_two_player_games import trained_run
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import memory
from jaxline_harness import programs
from jaxline_harness import settings
from jaxline_harness import shipped

_NUM_SAMPLES, _NUM_EACH, _NUM_BETWEEN = 64, 8, 8
# Who names such a file means no folder.
_OTHER_FILES = ('.npy', '.png', '.jpg', '.jpeg', '.gif', '.zip')


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes the samples that a command, by default the program's, asks for."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells of every file.
  given = _make_parser().parse_args(arguments)
  out = _prepare_out(given.out)
  run = trained_run.load(given.run, given.step, given.trust_code)
  is_archive = out.endswith('.npz')
  if not is_archive and not run.is_image:
    raise errors.UserError('points are not drawn: give --out=FILE.npz')
  samples, labels, columns = _make_samples(run, given)
  try:
    if is_archive:
      _write_archive(out, samples, labels)
    else:
      write_pngs(out, samples, columns)
  except OSError as error:
    raise errors.UserError(
      f'--out: cannot write {out} ({error.strerror or error})'
    ) from error
  print(f'{len(samples)} samples of step {run.step}: {out}')


def _make_samples(
  run: trained_run.TrainedRun, given: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray | None, int | None]:
  """Samples, their labels if they have any, and the columns of their grid."""
  num, columns = given.num or _NUM_SAMPLES, None
  if given.labels is None:
    labels = run.draw_labels(num, given.seed)
  else:
    columns = given.num or _NUM_EACH
    num = columns * len(given.labels)
    memory.check_host(f'{num} samples', num)
    labels = np.repeat(given.labels, columns)
  if not given.interpolate:
    return run.sample(num, given.seed, labels=labels), labels, columns
  samples = run.interpolate(num, _NUM_BETWEEN, given.seed, labels)
  if labels is not None:
    labels = np.repeat(labels, _NUM_BETWEEN)
  return samples, labels, _NUM_BETWEEN


def _make_parser() -> programs.Parser:
  parser = programs.Parser(
    shipped.name_verb('sample'), description='Makes samples of a trained run.'
  )
  parser.add_argument('run', metavar='RUN', help="the run's folder")
  parser.add_argument(
    '--num',
    type=programs.whole(settings.whole(1)),
    help='samples (64), with --labels of each (8), with --interpolate ways',
  )
  parser.add_argument(
    '--labels',
    metavar='LABEL,…',
    type=_parse_labels,
    help='classes, of a run that has them: a row of the grid each; without, '
    'they are as frequent as in the data',
  )
  parser.add_argument(
    '--out',
    metavar='PATH',
    default='samples.npz',
    help='an .npz file, or a folder for a PNG each and a grid (samples.npz)',
  )
  parser.add_argument(
    '--step', default='latest', help='latest (the default), best, or one kept'
  )
  parser.add_argument(
    '--seed',
    type=programs.whole(settings.SEED),
    default=0,
    help='of the latents (0)',
  )
  parser.add_argument(
    '--interpolate',
    action='store_true',
    help='eight samples on each way between two latents',
  )
  parser.add_argument(
    '--trust_code',
    action='store_true',
    help='run what the run names outside this project: docs/extending.md',
  )
  return parser


def _parse_labels(text: str) -> list[int]:
  return [int(word) for word in text.split(',')]


_parse_labels.__name__ = 'list of labels'  # Of the message where it fails.


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


def _write_archive(
  path: str, samples: np.ndarray, labels: np.ndarray | None
) -> None:
  archive = io.BytesIO()
  arrays: dict[str, Any] = {'samples': samples}
  if labels is not None:
    arrays['labels'] = labels
  np.savez(archive, **arrays)
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


if __name__ == '__main__':
  programs.run(main)
