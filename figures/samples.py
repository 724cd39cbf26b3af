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
"""The front page's picture: samples of a trained run below a row of its data.

  ./run.sh figures samples [--run=runs/fashion_mnist] [--seed=0] [--size=quick]

Trains and evaluates configs/fashion_mnist_config.py first where that folder
holds no run; `quick` trains it for a few steps. Writes `figures/samples.png`,
for another run or size one in `runs/figures/`.
"""

import json
import os
import pathlib
import subprocess
import sys

from matplotlib.figure import Figure
import numpy as np

from dd_two_player_games import data_utils
from dd_two_player_games import image_metrics
from dd_two_player_games import trained_run
from figures import _output
from jaxline_harness import datasets

COSTS = {
  'small': 'seconds, and 19 minutes where there is no run yet',
  'quick': '',
}

CONFIG = _output.ROOT / 'configs' / 'fashion_mnist_config.py'
DEFAULT_RUN = _output.ROOT / 'runs' / 'fashion_mnist'
# How the run is made, by size.
_MODES = {'small': ('train', 'eval'), 'quick': ('train',)}
_OVERRIDES = {'small': (), 'quick': ('--config.training_steps=4',)}
_COLUMNS, _ROWS = 10, 6
_GAP = 6  # Pixels between data and samples.


def make_run(folder: pathlib.Path, size: str) -> None:
  """Trains and evaluates the config, as `./run.sh train` and `eval` do."""
  for mode in _MODES[size]:
    command = [sys.executable, '-P', '-m', 'dd_two_player_games.experiment']
    flags = [
      f'--config={CONFIG}',
      f'--jaxline_mode={mode}',
      f'--config.checkpoint_dir={folder}',
      *_OVERRIDES[size],
    ]
    subprocess.run([*command, *flags], check=True)


def choose_images(
  run: trained_run.TrainedRun, dataset: datasets.Dataset, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Data and samples, a column a class where the run has labels.

  Args:
    run: a run of images.
    dataset: its data.
    seed: of the samples.

  Returns:
    uint8 images of one row, and of the rows below it.
  """
  real = dataset.examples[:_COLUMNS]
  labels = None
  if run.num_classes:
    columns = np.arange(_COLUMNS) % run.num_classes
    places = [np.flatnonzero(dataset.labels == label)[0] for label in columns]
    real, labels = dataset.examples[places], np.tile(columns, _ROWS)
  samples = run.sample(_COLUMNS * _ROWS, seed, labels=labels)
  return image_metrics.as_uint8(real), samples


def name_run(folder: pathlib.Path, step: int) -> str:
  """A title: of which run and step, and what was measured there."""
  path = folder / 'eval' / f'metrics_{step:08d}.json'
  title = f'{folder.name}, step {step:,}'
  if not path.exists():
    return title
  metrics = json.loads(path.read_text())
  floor = metrics.get('FID_floor')
  below = '' if floor is None else f' (the data: {floor:.1f})'
  return f'{title}: FID {metrics["FID"]:.1f}{below}'


def draw(real: np.ndarray, samples: np.ndarray, title: str) -> Figure:
  """Draws a row of data above the samples."""
  above = data_utils.sample_grid(real, cols=_COLUMNS)
  below = data_utils.sample_grid(samples, cols=_COLUMNS)
  gap = np.full((_GAP, *above.shape[1:]), 255, np.uint8)
  picture = np.concatenate([above, gap, below])
  height, width, channels = picture.shape
  figure = Figure(
    figsize=(6, 6 * height / width + 0.3), dpi=180, layout='constrained'
  )
  axes = figure.add_subplot()
  axes.imshow(
    picture[..., 0] if channels == 1 else picture,
    cmap='gray',
    vmin=0,
    vmax=255,
    interpolation='bilinear',  # Others make pixels of different sizes.
  )
  axes.set_title(title, fontsize=9)
  centres = [len(above) / 2, len(above) + _GAP + len(below) / 2]
  axes.set_yticks(centres, ['data', 'samples'], rotation=90, va='center')
  axes.set_xticks([])
  axes.tick_params(length=0, labelsize=9)
  axes.spines[:].set_visible(False)
  return figure


def main() -> None:
  """Draws a run."""
  parser = _output.size_parser(COSTS, __doc__)
  parser.add_argument('--run', type=pathlib.Path)
  parser.add_argument('--seed', type=int, default=0)
  arguments = parser.parse_args()
  size = arguments.size
  own = {'small': DEFAULT_RUN, 'quick': _output.FOLDER / 'samples'}[size]
  folder = arguments.run or own
  is_own = folder.resolve() == own
  if is_own and not (folder / 'checkpoints').exists():
    make_run(folder, size)
  run = trained_run.load(os.fspath(folder))
  dataset = data_utils.load_dataset(
    run.config.dataset, 'train', run.config.data_dir or None
  )
  images = choose_images(run, dataset, arguments.seed)
  figure = draw(*images, name_run(folder, run.step))
  _output.write_picture('samples', size if is_own else 'quick', figure)


if __name__ == '__main__':
  main()
