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
"""The figure of a 75-dimensional Gaussian: are all its directions learned?

Trains configs/gaussian_75_config.py with RMSProp and with the symplectic
gradient adjustment, and looks at the singular values of the samples'
covariance, all of which should be 1:

  ./run.sh figures gaussian [--size=full|small|quick]

Writes `figures/gaussian.png` and `docs/gaussian.json`, and prints the last
figures.
"""

from typing import Any, NamedTuple

from matplotlib.figure import Figure
import numpy as np

from dd_two_player_games import data_utils
from figures import _gan_runs
from figures import _output
from figures import _style
from figures._gan_runs import setting
from figures.mixture import METHODS

COSTS = {'full': '5 minutes', 'small': '2 minutes', 'quick': ''}

CONFIG = 'gaussian_75'
# The values of so many samples of the Gaussian itself are 0.84 to 1.18.
NUM_SAMPLES = 10_000
NUM_LOOKS = 5
COMPARED = ('RMSProp', 'RMSProp, SGA')
_COLOURED_AS = {'RMSProp': 'simultaneous', 'RMSProp, SGA': 'SGA'}


class Size(NamedTuple):
  """How large a comparison is: the width of all layers, and the steps."""

  width: int
  num_steps: int


SIZES = {
  'full': Size(200, 20_000),
  'small': Size(200, 5000),
  'quick': Size(8, 8),
}


def overrides_of(size: Size) -> list[str]:
  """The config at another size."""
  return setting(
    nets__disc_kwargs__hidden_size=size.width,
    nets__gen_kwargs__hidden_size=size.width,
  )


def make_runs(
  size_name: str, folder=_gan_runs.FOLDER, methods=COMPARED
) -> dict[str, _gan_runs.Run]:
  """The runs of these methods of the mixture's figure, at a size."""
  size = SIZES[size_name]
  return {
    name: _gan_runs.run(
      folder,
      f'gaussian {size_name} {name}',
      CONFIG,
      [*overrides_of(size), *METHODS[name]],
      _gan_runs.looks(size.num_steps, NUM_LOOKS),
      NUM_SAMPLES,
    )
    for name in methods
  }


def measure(run: _gan_runs.Run) -> dict[str, Any]:
  """Singular values and losses at each step where a run was looked at."""
  values = [data_utils.covariance_singular_values(s) for s in run.samples]
  return {
    'steps': run.steps,
    'losses': run.losses,
    'singular_values': [value.round(5).tolist() for value in values],
    'milliseconds_a_step': run.milliseconds_a_step,
    'failure': run.failure,
  }


def draw(results: dict[str, dict[str, Any]]) -> Figure:
  """Draws the singular values of each method, a curve a step."""
  figure = _style.new_figure(
    4.2,
    "Singular values of the samples' covariance "
    '(the darker, the later the step)',
  )
  panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
  data = data_utils.standard_gaussian(NUM_SAMPLES, 0).examples
  for axes, (name, result) in zip(panels, results.items(), strict=True):
    colour = _style.METHODS[_COLOURED_AS[name]]
    # The first look is at the generator as it was drawn.
    shown = list(zip(result['steps'], result['singular_values'], strict=True))
    for k, (step, values) in enumerate(shown[1:], start=1):
      axes.semilogy(
        values,
        color=colour,
        alpha=k / (len(shown) - 1),
        label=f'step {step:,}',
      )
    axes.semilogy(
      data_utils.covariance_singular_values(data),
      color='black',
      ls='--',
      label=f'{NUM_SAMPLES:,} samples of the data',
    )
    last = shown[-1][1]
    axes.set(
      title=f'{name}: at last from {min(last):.2g} to {max(last):.2g}',
      xlabel='number of the singular value, from the largest',
    )
    axes.legend()
  panels[0].set_ylabel('singular value, 1 is right')
  return figure


def table(results: dict[str, dict[str, Any]]) -> str:
  """The last figures of each method, as Markdown."""
  lines = [
    '| method | smallest | median | largest | discriminator loss | '
    'generator loss | ms a step |',
    '|---|---|---|---|---|---|---|',
  ]
  for name, result in results.items():
    values, losses = result['singular_values'][-1], result['losses'][-1]
    cells = [min(values), float(np.median(values)), max(values), *losses]
    lines.append(
      f'| {name}{" (stopped)" if result["failure"] else ""} | '
      + ' | '.join(f'{cell:.3f}' for cell in cells)
      + f' | {result["milliseconds_a_step"]:.0f} |'
    )
  return '\n'.join(lines)


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the table."""
  size_name = _output.choose_size(COSTS, __doc__)
  results = {name: measure(run) for name, run in make_runs(size_name).items()}
  _gan_runs.write('gaussian', size_name, draw(results), results)
  print(table(results))


if __name__ == '__main__':
  main()
