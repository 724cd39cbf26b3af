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
"""The figure of ways to play, on GANs of the mixture of 16 Gaussians.

Every method is configs/mixture_comparison_config.py with some overrides:

  ./run.sh figures mixture [--size=full|small|quick]

`full` has the config's own sizes and takes hours on a CPU. Writes the densities
of the samples over training, beside that of the data, to `figures/mixture.png`,
all figures to `docs/mixture.json`, and prints the last ones. Competitive
descent, whose steps cost a hundred others, is left out: it has a sweep of its
own, `fair_mixture_competitive`.
"""

from typing import Any, NamedTuple

from matplotlib.figure import Figure
import numpy as np
from scipy import ndimage

from dd_two_player_games import data_utils
from figures import _gan_runs
from figures import _output
from figures import _style
from figures._gan_runs import both_optimizers
from figures._gan_runs import setting

COSTS = {'full': 'hours', 'small': '20 minutes', 'quick': ''}

CONFIG = 'mixture_comparison'
NUM_SAMPLES = 10_000
NUM_LOOKS = 6  # The start, and after each fifth of the steps.
# A sample within 3 standard deviations of a mode is of high quality and reaches
# it. A mode is covered if 2 % of the samples lie within 10, a fifth of the way
# to the next one: of the data 6.25 % do, and 1 % of what is spread evenly over
# the modes' square.
NEAR, MIN_SHARE = 10.0, 0.02
# A run has diverged where a loss is not finite or beyond this.
MOST = 1e6
# Densities are drawn on [-2, 2]², smoothed with this deviation.
_EXTENT, _BINS, _BANDWIDTH = 2.0, 160, 0.06


class Size(NamedTuple):
  """How large a comparison is.

  Attributes:
    depth: hidden layers of both players.
    width: of these layers.
    batch_size: of both players.
    learning_rate: of the adaptive optimisers but AdaGrad.
    num_steps: of each run.
  """

  depth: int
  width: int
  batch_size: int
  learning_rate: float
  num_steps: int


SIZES = {
  'full': Size(6, 384, 256, 1e-4, 10_000),
  'small': Size(6, 128, 128, 4e-4, 10_000),
  'quick': Size(1, 8, 16, 4e-4, 10),
}

# At 0.05 both players soon leave the range of numbers.
_SGD = both_optimizers(name='sgd', lr=0.01)
_ADAM = both_optimizers(name='adam', kwargs__b1=0.5)
_CANCEL = 'training__grad_regularizes__dd_coeffs_multiplier__{}__other_dot_prod'

# SGA and consensus of one draw of both players, as in their sources.
_WHOLE_DRAW = 'biased_estimate_fn_shared_draws'

_COMPETITIVE = 'SGD, competitive'

# Overrides of the config, whose optimiser is RMSProp.
METHODS = {
  'SGD': _SGD,
  'SGD, drift cancelled': [
    *_SGD,
    *setting(**{_CANCEL.format(player): -1.0 for player in ('disc', 'gen')}),
  ],
  _COMPETITIVE: [*_SGD, *setting(training__adjustment='competitive')],
  'AdaGrad': both_optimizers(name='adagrad', lr=0.01),
  'RMSProp': [],
  'RMSProp, SGA': setting(
    training__adjustment='sga',
    training__adjustment_kwargs__lam=1.0,
    training__adjustment_kwargs__align=True,
    training__estimator_fn=_WHOLE_DRAW,
  ),
  'RMSProp, consensus': setting(
    training__adjustment='consensus',
    training__adjustment_kwargs__gamma=10.0,
    training__estimator_fn=_WHOLE_DRAW,
  ),
  'RMSProp, lookahead': setting(training__lookahead_periods='[5]'),
  'RMSProp, LOGAN': setting(
    training__latent_optimisation__alpha=0.9,
    training__latent_optimisation__beta=0.1,
  ),
  'Adam': _ADAM,
  'Adam, optimistic': both_optimizers(
    name='optimistic_adam_v2', kwargs__b1=0.5, kwargs__nesterov=False
  ),
  'Adam, extragradient': [
    *_ADAM,
    *setting(
      training__simultaneous_updates=False,
      training__update_rule='extragradient',
    ),
  ],
}


def overrides_of(size: Size) -> list[str]:
  """The config at another size."""
  return [
    *setting(
      nets__disc_kwargs__depth=size.depth,
      nets__disc_kwargs__hidden_size=size.width,
      nets__gen_kwargs__depth=size.depth,
      nets__gen_kwargs__hidden_size=size.width,
      training__batch_size=size.batch_size,
    ),
    *both_optimizers(lr=size.learning_rate),
  ]


def quality(samples: np.ndarray) -> tuple[float, int, int]:
  """The share of samples of high quality, modes reached and modes covered."""
  share, reached = data_utils.high_quality_share_and_modes(samples)
  _, covered = data_utils.high_quality_share_and_modes(
    samples, num_stds=NEAR, min_share=MIN_SHARE
  )
  return share, reached, covered


def diverged_from(run: _gan_runs.Run) -> int | None:
  """The number of the first look at which a run had diverged, if it has."""
  for look, losses in enumerate(run.losses):
    if not np.max(np.abs(losses)) <= MOST:  # Also where one is NaN.
      return look
  return len(run.steps) if run.failure else None


def measure(run: _gan_runs.Run) -> dict[str, Any]:
  """All that is measured of a run, at each step where it was looked at."""
  shares, reached, covered = zip(*map(quality, run.samples), strict=True)
  disc_losses, gen_losses = zip(*run.losses, strict=True)
  return {
    'steps': run.steps,
    'disc_loss': disc_losses,
    'gen_loss': gen_losses,
    'modes_reached': reached,
    'modes_covered': covered,
    'high_quality_share': shares,
    'milliseconds_a_step': run.milliseconds_a_step,
    'failure': run.failure,
    'diverged': diverged_from(run) is not None,
  }


def density(samples: np.ndarray) -> np.ndarray:
  """A kernel density estimate on the grid of the pictures.

  The kernel is the same for all, so that samples which have collapsed to a
  point, or to a line, can be drawn too. Samples outside the grid are left out.
  """
  edges = np.linspace(-_EXTENT, _EXTENT, _BINS + 1)
  counts, _, _ = np.histogram2d(*samples.T, bins=(edges, edges))
  sigma = _BANDWIDTH / (edges[1] - edges[0])
  return ndimage.gaussian_filter(counts / len(samples), sigma, mode='constant')


def draw(runs: dict[str, _gan_runs.Run], title: str) -> Figure:
  """Draws a row of densities a run; white points are the modes."""
  num_looks = max(len(run.steps) for run in runs.values())
  figure = _style.new_figure(1.25 * len(runs) + 0.5, title)
  panels = figure.subplots(len(runs), num_looks + 1, squeeze=False)
  data = data_utils.mixture_of_gaussians(20_000, 0).examples
  most = density(data).max()  # As dark as a mode of the data.
  for row, (name, run) in zip(panels, runs.items(), strict=True):
    for axes in row:
      axes.set(xticks=[], yticks=[])
    _draw_row(row[:-1], name, run, most)
    _draw_density(row[-1], data, most, 'data')
  return figure


def _draw_row(row, name, run, most):
  """Draws what a run's samples were at each look, or that it had diverged."""
  num_shown = diverged_from(run)
  for axes in [] if num_shown is None else row[num_shown:]:
    axes.text(
      *(0.5, 0.5, 'diverged'),
      transform=axes.transAxes,
      ha='center',
      va='center',
      color='#b3261e',
    )
  looks = zip(row[:num_shown], run.steps, run.samples, strict=False)
  for axes, step, samples in looks:
    _draw_density(axes, samples, most, f'step {step:,}')
  told = 'diverged'
  if num_shown is None:
    _, reached, covered = quality(run.samples[-1])
    told = f'reached {reached}, covered {covered}'
  row[0].set_ylabel(
    f'{name.replace(", ", chr(10))}\n{told}',
    rotation=0,
    ha='right',
    va='center',
  )


def _draw_density(axes, samples, most, title):
  axes.imshow(
    density(samples).T ** 0.5,
    cmap='viridis',
    origin='lower',
    vmax=most**0.5,
    extent=(-_EXTENT, _EXTENT) * 2,
  )
  axes.plot(*data_utils.mixture_means().T, 'w.', ms=1, alpha=0.5)
  axes.set_title(title, pad=2)


def table(results: dict[str, dict[str, Any]]) -> str:
  """The last figures of each method, as Markdown."""
  lines = [
    '| method | discriminator loss | generator loss | modes reached | covered '
    '| high quality | ms a step |',
    '|---|---|---|---|---|---|---|',
  ]
  for name, of_run in results.items():
    end = {k: v[-1] for k, v in of_run.items() if isinstance(v, list | tuple)}
    lines.append(
      f'| {name}{" (diverged)" if of_run["diverged"] else ""} '
      f'| {end["disc_loss"]:.4g} | {end["gen_loss"]:.4g} '
      f'| {end["modes_reached"]} | {end["modes_covered"]} '
      f'| {end["high_quality_share"]:.1%} '
      f'| {of_run["milliseconds_a_step"]:.0f} |'
    )
  return '\n'.join(lines)


def make_runs(
  size_name: str, folder=_gan_runs.FOLDER, methods=METHODS
) -> dict[str, _gan_runs.Run]:
  """The runs of these methods at a size."""
  size = SIZES[size_name]
  return {
    name: _gan_runs.run(
      folder,
      f'mixture {size_name} {name}',
      CONFIG,
      [*overrides_of(size), *overrides],
      _gan_runs.looks(size.num_steps, NUM_LOOKS),
      NUM_SAMPLES,
    )
    for name, overrides in methods.items()
  }


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the table."""
  size_name = _output.choose_size(COSTS, __doc__)
  methods = {k: v for k, v in METHODS.items() if k != _COMPETITIVE}
  runs = make_runs(size_name, methods=methods)
  results = {name: measure(run) for name, run in runs.items()}
  size = SIZES[size_name]
  title = f'Samples by step: width {size.width}, batch {size.batch_size}'
  _gan_runs.write('mixture', size_name, draw(runs, title), results)
  print(table(results))


if __name__ == '__main__':
  main()
