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

On the mixture the runs are those of figures/mixture.py, LOGAN's three times as
long. On Fashion-MNIST they are of configs/sgd_fashion_mnist_config.py:

  ./run.sh figures logan [--size=full|small|quick]

Writes `figures/logan.png` and `docs/logan.json`, and prints both comparisons.
"""

import pathlib
from typing import Any, NamedTuple

from matplotlib.figure import Figure
import numpy as np

from figures import _gan_runs
from figures import mixture
from figures._gan_runs import both_optimizers
from figures._gan_runs import setting

SGA, LOGAN = 'RMSProp, SGA', 'RMSProp, LOGAN'
# LOGAN's runs have so many times the steps of SGA's, to last as long.
LONGER = 3
NUM_IMAGES_KEPT = 16
METRICS = {
  'high_quality_share': 'high quality',
  'modes_covered': 'modes of 16',
  'FID': 'FID',
}


class FashionSize(NamedTuple):
  """How large the comparison on Fashion-MNIST is.

  Attributes:
    channels: of the layers of both networks.
    batch_size: of both players.
    num_images: that the FID is of.
    num_steps: of SGA; LOGAN has more.
  """

  channels: tuple[int, int]
  batch_size: int
  num_images: int
  num_steps: int


FASHION_SIZES = {
  'full': FashionSize((32, 16), 64, 2000, 8000),
  'small': FashionSize((16, 8), 32, 2000, 500),
  'quick': FashionSize((2, 2), 4, 40, 2),
}


def mixture_runs(
  size_name: str, folder: pathlib.Path = _gan_runs.FOLDER
) -> dict[str, _gan_runs.Run]:
  """Runs on the mixture, SGA's that of its own figure."""
  size = mixture.SIZES[size_name]
  parts = LONGER * (mixture.NUM_LOOKS - 1)
  logan = _gan_runs.run(
    folder,
    f'logan {size_name} {LOGAN}',
    mixture.CONFIG,
    [*mixture.overrides_of(size), *mixture.METHODS[LOGAN]],
    _gan_runs.looks(LONGER * size.num_steps, parts + 1),
    mixture.NUM_SAMPLES,
  )
  methods = {SGA: mixture.METHODS[SGA]}
  return {**mixture.make_runs(size_name, folder, methods), LOGAN: logan}


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
  """Runs on Fashion-MNIST, looked at after each half of SGA's steps."""
  size = FASHION_SIZES[size_name]
  return {
    name: _gan_runs.run(
      folder,
      f'logan fashion {size_name} {name}',
      'sgd_fashion_mnist',
      [*fashion_overrides(size), *mixture.METHODS[name]],
      _gan_runs.looks(longer * size.num_steps, 2 * longer + 1),
      NUM_IMAGES_KEPT,
    )
    for name, longer in ((SGA, 1), (LOGAN, LONGER))
  }


def at_equal_time(result: dict[str, Any], seconds: float) -> dict[str, Any]:
  """What a run had measured at its last look within this time."""
  k = int(np.searchsorted(result['seconds'], seconds, side='right')) - 1
  return {key: values[k] for key, values in result.items()}


def measure(run: _gan_runs.Run) -> dict[str, Any]:
  """Columns of what is measured, a row a look."""
  columns = {'steps': run.steps, 'seconds': run.seconds}
  columns |= {key: [m[key] for m in run.metrics] for key in run.metrics[0]}
  if 'modes_covered' in columns:  # By the rule of the mixture's figure.
    shares, modes = zip(*map(mixture.quality, run.samples), strict=True)
    columns |= {'high_quality_share': shares, 'modes_covered': modes}
  return columns


def draw(results: dict[str, dict[str, dict[str, Any]]]) -> Figure:
  """Draws each metric over steps, above, and over time, below."""
  shown = [
    (data, metric)
    for data, of_methods in results.items()
    for metric in next(iter(of_methods.values()))
    if metric in METRICS
  ]
  figure = Figure(figsize=(4 * len(shown), 5.6), dpi=120, layout='constrained')
  panels = figure.subplots(2, len(shown), sharey='col', squeeze=False)
  for column, (data, metric) in zip(panels.T, shown, strict=True):
    for axes, time in zip(column, ('steps', 'seconds'), strict=True):
      for name, result in results[data].items():
        axes.plot(result[time], result[metric], 'o-', ms=3, label=name)
      axes.set_xlabel(time)
      axes.spines[['top', 'right']].set_visible(False)
    column[0].set_title(f'{data}: {METRICS[metric]}')
  panels[0, 0].legend(frameon=False, fontsize=8)
  return figure


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
  """SGA at its end, LOGAN after as many steps and after as long."""
  lines = []
  for data, of_methods in results.items():
    sga, logan = of_methods.values()
    equal = logan['steps'].index(sga['steps'][-1])
    rows = {
      'SGA': {key: values[-1] for key, values in sga.items()},
      'LOGAN, equal steps': {key: v[equal] for key, v in logan.items()},
      'LOGAN, equal time': at_equal_time(logan, sga['seconds'][-1]),
    }
    metrics = [key for key in sga if key in METRICS]
    names = [data, 'steps', 'seconds', *(METRICS[key] for key in metrics)]
    lines += [f'| {" | ".join(names)} |', '|---' * len(names) + '|']
    for name, row in rows.items():
      cells = [f'{row[key]:.3g}' for key in metrics]
      lines.append(
        f'| {name} | {row["steps"]} | {row["seconds"]:.0f} | '
        f'{" | ".join(cells)} |'
      )
    lines.append('')
  return '\n'.join(lines)


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the tables."""
  size_name = _gan_runs.chosen_size(FASHION_SIZES, __doc__)
  results = {
    data: {name: measure(run) for name, run in runs.items()}
    for data, runs in (
      ('mixture', mixture_runs(size_name)),
      ('Fashion-MNIST', fashion_runs(size_name)),
    )
  }
  _gan_runs.write('logan', size_name, draw(results), results)
  print(table(results))


if __name__ == '__main__':
  main()
