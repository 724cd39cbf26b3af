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
"""The figure of LOGAN and SGA, at equal steps and at equal time.

On the mixture the runs are those of figures/mixture.py, on Fashion-MNIST they
are of configs/sgd_fashion_mnist_config.py:

  ./run.sh figures logan [--size=full|small|quick] [--data mixture fashion]

Writes `figures/logan.png` and `docs/logan.json`, and prints both comparisons.
"""

import pathlib
from typing import Any, NamedTuple

from matplotlib.figure import Figure
import numpy as np

from figures import _gan_runs
from figures import _output
from figures import _style
from figures import mixture
from figures._gan_runs import both_optimizers
from figures._gan_runs import setting

COSTS = {'full': 'hours', 'small': '12 minutes', 'quick': ''}

SGA, LOGAN = 'RMSProp, SGA', 'RMSProp, LOGAN'
NUM_IMAGES_KEPT, NUM_LOOKS_AT_IMAGES = 16, 6
METRICS = {
  'high_quality_share': 'high quality',
  'modes_reached': 'modes reached',
  'modes_covered': 'modes covered',
  'FID': 'FID',
}
_LABELS = METRICS | {
  'high_quality_share': 'share of high quality',
  'modes_covered': 'modes covered, of 16',
  'FID': 'FID, less is better',
}
_TITLES = {'mixture': 'Mixture', 'fashion': 'Fashion-MNIST'}
_TIMES = {'steps': 'step', 'seconds': 'processor time, seconds'}


class FashionSize(NamedTuple):
  """How large the comparison on Fashion-MNIST is.

  Attributes:
    channels: of the layers of both networks.
    batch_size: of both players.
    num_images: that the FID is of.
    num_steps: of each run.
  """

  channels: tuple[int, int]
  batch_size: int
  num_images: int
  num_steps: int


FASHION_SIZES = {
  'full': FashionSize((32, 16), 64, 2000, 8000),
  'small': FashionSize((16, 8), 32, 2000, 4000),
  'quick': FashionSize((2, 2), 4, 40, 2),
}


def mixture_runs(
  size_name: str, folder: pathlib.Path = _gan_runs.FOLDER
) -> dict[str, _gan_runs.Run]:
  """Runs on the mixture."""
  methods = {name: mixture.METHODS[name] for name in (SGA, LOGAN)}
  return mixture.make_runs(size_name, folder, methods)


def fashion_overrides(size: FashionSize) -> list[str]:
  """The config without its own way to play, at another size."""
  cancelled = 'training__grad_regularizes__dd_coeffs_multiplier'
  return [
    *setting(
      nets__disc_kwargs__channels=size.channels[::-1],
      nets__gen_kwargs__channels=size.channels,
      training__batch_size=size.batch_size,
      eval__num_eval_splits=1,
      eval__num_inception_images=size.num_images,
      **{f'{cancelled}__{p}__other_dot_prod': 0.0 for p in ('disc', 'gen')},
    ),
    *both_optimizers(name='rmsprop', lr=2e-4),
  ]


def fashion_runs(
  size_name: str, folder: pathlib.Path = _gan_runs.FOLDER
) -> dict[str, _gan_runs.Run]:
  """Runs on Fashion-MNIST."""
  size = FASHION_SIZES[size_name]
  return {
    name: _gan_runs.run(
      folder,
      f'logan fashion {size_name} {name}',
      'sgd_fashion_mnist',
      [*fashion_overrides(size), *mixture.METHODS[name]],
      _gan_runs.looks(size.num_steps, NUM_LOOKS_AT_IMAGES),
      NUM_IMAGES_KEPT,
    )
    for name in (SGA, LOGAN)
  }


DATA = {'mixture': mixture_runs, 'fashion': fashion_runs}


def at_equal_time(result: dict[str, Any], seconds: float) -> dict[str, Any]:
  """What a run had measured at its last look within this time."""
  k = int(np.searchsorted(result['seconds'], seconds, side='right')) - 1
  return {key: values[k] for key, values in result.items()}


def measure(run: _gan_runs.Run) -> dict[str, Any]:
  """Columns of what is measured, a row a look."""
  columns = {'steps': run.steps, 'seconds': run.seconds}
  columns |= {key: [m[key] for m in run.metrics] for key in run.metrics[0]}
  if 'modes_covered' in columns:  # By the rule of the mixture's figure.
    shares, reached, covered = zip(
      *map(mixture.quality, run.samples), strict=True
    )
    columns |= {
      'high_quality_share': shares,
      'modes_reached': reached,
      'modes_covered': covered,
    }
  return columns


def draw(results: dict[str, dict[str, dict[str, Any]]]) -> Figure:
  """Draws each metric over steps, above, and over time, below."""
  shown = [
    (data, metric)
    for data, of_methods in results.items()
    for metric in ('high_quality_share', 'modes_covered', 'FID')
    if metric in next(iter(of_methods.values()))
  ]
  figure = _style.new_figure(
    5.6, 'After as many steps, above, and as much time; titles: at the end'
  )
  panels = figure.subplots(2, len(shown), sharey='col', squeeze=False)
  for column, (data, metric) in zip(panels.T, shown, strict=True):
    for axes, (time, label) in zip(column, _TIMES.items(), strict=True):
      for name, result in results[data].items():
        axes.plot(
          *(result[time], result[metric], 'o-'),
          color=_style.METHODS[name.rpartition(', ')[2]],
          ms=3,
          label=name,
        )
      axes.set(xlabel=label, ylabel=_LABELS[metric])
    ends = ', '.join(
      f'{name.rpartition(", ")[2]} {_format(metric, result[metric][-1])}'
      for name, result in results[data].items()
    )
    column[0].set_title(f'{_TITLES.get(data, data)}:\n{ends}')
  _style.place_legend(figure, panels[0, 0])
  return figure


def _format(metric, value):
  return f'{value:.0%}' if metric == 'high_quality_share' else f'{value:.0f}'


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
  """Both methods after all steps, and when the faster one had made them."""
  lines = []
  for data, of_methods in results.items():
    seconds = min(result['seconds'][-1] for result in of_methods.values())
    metrics = [k for k in METRICS if k in next(iter(of_methods.values()))]
    names = [data, 'steps', 'seconds', *(METRICS[key] for key in metrics)]
    lines += [f'| {" | ".join(names)} |', '|---' * len(names) + '|']
    for equal, limit in (('steps', np.inf), ('time', seconds)):
      for name, result in of_methods.items():
        row = at_equal_time(result, limit)
        cells = [f'{row[key]:.3g}' for key in metrics]
        lines.append(
          f'| {name}, equal {equal} | {row["steps"]} | {row["seconds"]:.0f} | '
          f'{" | ".join(cells)} |'
        )
    lines.append('')
  return '\n'.join(lines)


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the tables."""
  parser = _output.size_parser(COSTS, __doc__)
  parser.add_argument('--data', nargs='+', choices=DATA, default=list(DATA))
  arguments = parser.parse_args()
  results = {
    data: {
      name: measure(run) for name, run in DATA[data](arguments.size).items()
    }
    for data in arguments.data
  }
  _gan_runs.write('logan', arguments.size, draw(results), results)
  print(table(results))


if __name__ == '__main__':
  main()
