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
"""The figure of learning rates: optimistic Adam and SGA on the mixture.

Each method of figures/mixture.py with other learning rates:

  ./run.sh figures learning_rates [--size=full|small|quick]

Writes `figures/learning_rates.png` and `docs/learning_rates.json`, and prints
the last figures.
"""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
import numpy as np

from figures import _gan_runs
from figures import _output
from figures import _style
from figures import mixture
from figures._gan_runs import both_optimizers

COSTS = {'full': 'hours', 'small': '10 minutes', 'quick': ''}

COMPARED = ('Adam, optimistic', 'RMSProp, SGA')
RATES = (1e-5, 5e-5, 7.5e-5, 1e-4, 1.5e-4, 5e-4, 1e-3)
SIZES = {
  'full': mixture.SIZES['full'],
  'small': mixture.SIZES['small']._replace(num_steps=2500),
  'quick': mixture.SIZES['quick'],
}


def make_runs(
  size_name: str, folder=_gan_runs.FOLDER, methods=COMPARED, rates=RATES
) -> dict[str, dict[float, _gan_runs.Run]]:
  """The runs of these methods of the mixture's figure with these rates."""
  size = SIZES[size_name]
  return {
    name: {
      rate: _gan_runs.run(
        folder,
        f'learning rates {size_name} {name} {rate:g}',
        mixture.CONFIG,
        [
          *mixture.overrides_of(size),
          *mixture.METHODS[name],
          *both_optimizers(lr=rate),
        ],
        _gan_runs.looks(size.num_steps, 2),
        mixture.NUM_SAMPLES,
      )
      for rate in rates
    }
    for name in methods
  }


def draw(results: dict[str, dict[float, dict[str, Any]]]) -> Figure:
  """Draws what is measured at the end over the learning rate."""
  labels = {
    'disc_loss': 'discriminator loss',
    'gen_loss': 'generator loss',
    'modes_reached': 'modes reached',
    'high_quality_share': 'high quality',
  }
  equilibrium = {'disc_loss': 2 * np.log(2), 'gen_loss': np.log(2)}
  figure = _style.new_figure(
    5.2, 'After the last step, by learning rate (dotted: at the equilibrium)'
  )
  panels = figure.subplots(2, len(labels) // 2).ravel()
  for axes, (key, label) in zip(panels, labels.items(), strict=True):
    for name, of_rates in results.items():
      (line,) = axes.semilogx(
        list(of_rates),
        [np.nan if r['diverged'] else r[key][-1] for r in of_rates.values()],
        'o-',
        color=_style.METHODS.get(name.rpartition(', ')[2]),
        label=name,
      )
      _mark_diverged(axes, of_rates, line.get_color())
    if key in equilibrium:
      axes.axhline(equilibrium[key], color='#555', ls=':', lw=1)
    axes.set(title=label, xlabel='learning rate')
  panels[2].set_title('modes reached, of 16')
  panels[2].yaxis.set_major_locator(MaxNLocator(integer=True))
  panels[3].set_title('share of samples of high quality')
  _style.place_legend(figure, panels[0])
  return figure


def _mark_diverged(axes, of_rates, color):
  """Crosses along the lower edge, at the rates where a run diverged."""
  diverged = [rate for rate, r in of_rates.items() if r['diverged']]
  for rate in diverged:
    axes.text(
      *(rate, 0.03, '×\ndiverged'),
      transform=axes.get_xaxis_transform(),
      ha='center',
      fontsize=7,
      color=color,
    )
  if len(diverged) == len(of_rates):  # Texts alone would give no range.
    axes.set_xlim(min(diverged) / 2, max(diverged) * 2)


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the table."""
  size_name = _output.choose_size(COSTS, __doc__)
  results = {
    name: {rate: mixture.measure(run) for rate, run in of_rates.items()}
    for name, of_rates in make_runs(size_name).items()
  }
  _gan_runs.write('learning_rates', size_name, draw(results), results)
  for name, of_rates in results.items():
    print(mixture.table({f'{name}, {r:g}': v for r, v in of_rates.items()}))


if __name__ == '__main__':
  main()
