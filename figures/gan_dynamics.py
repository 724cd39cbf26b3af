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
"""The dynamics of a real GAN, plain against interaction terms cancelled.

  ./run.sh figures gan_dynamics [--size=small|quick]

Trains small networks on the mixture of 16 Gaussians as a zero-sum game, by SGD,
and measures drift and spectrum on the way. Writes `figures/gan_dynamics.png`,
`figures/gan_spectrum.png` and `docs/gan_dynamics.json`, and prints the last
figures.
"""

from typing import Any, NamedTuple

from matplotlib.figure import Figure
import numpy as np

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from figures import _gan_runs
from figures import _output
from figures import _style
from jaxline_harness import errors
from jaxline_harness import modes

COSTS = {'small': '5 minutes', 'quick': ''}


class Size(NamedTuple):
  """How much is trained."""

  num_steps: int
  num_looks: int
  seeds: tuple[int, ...]


SIZES = {
  'small': Size(num_steps=8000, num_looks=20, seeds=(0, 1, 2)),
  'quick': Size(num_steps=20, num_looks=2, seeds=(0,)),
}
RATE = 0.02
METHODS = {'plain': None, 'interaction cancelled': 'cancel_interaction_terms'}
COLOURS = {
  'plain': _style.METHODS['simultaneous'],
  'interaction cancelled': _style.METHODS['drift cancelled'],
}
_NUM_LEADING = 5
_NETWORK = {'depth': 4, 'hidden_size': 64}


def make_config(method: str, seed: int, every: int) -> Any:
  """The config of a run, `experiment_kwargs.config`."""
  config = base_config.get_base_config()
  settings = config.experiment_kwargs.config
  settings.random_seed = seed
  settings.dataset = 'mixture_of_gaussians'
  settings.data_processor = 'PointProcessor'
  settings.nets.discriminator = settings.nets.generator = 'SimpleMLP'
  settings.nets.disc_kwargs = {**_NETWORK, 'out_dim': 1}
  settings.nets.gen_kwargs = {**_NETWORK, 'out_dim': 2}
  settings.param_transformers.discriminator = None
  for player in ('discriminator', 'generator'):
    settings.optimizers[player].lr = RATE
  settings.training.simultaneous_updates = True
  if METHODS[method] is not None:
    terms = getattr(base_config, METHODS[method])()
    settings.training.grad_regularizes = terms
  settings.training.dynamics.every = every
  settings.training.dynamics.drift_every = 1
  settings.training.dynamics.spectrum_every = every
  return base_config.resolve(config).experiment_kwargs.config


def measure_run(method: str, seed: int, size: Size) -> dict[str, Any]:
  """What a run shows, a list a column; it ends where it diverges."""
  every = size.num_steps // size.num_looks
  made = experiment.Experiment('train', None, make_config(method, seed, every))
  measure = {o.series: o.measure for o in made.observations()}
  made.ensure_train_state()
  rows: list[dict[str, float]] = []
  for step in range(every, size.num_steps + 1, every):
    try:
      made.run_chunk(step)
    except errors.TrainingError:
      break
    metrics = made.evaluate(global_step=step, rng=None, writer=None)
    found = {
      **measure['dynamics'](step, None),
      **measure['spectrum'](step, None),
    }
    rows.append(
      {'step': step, **metrics, **{k: float(v) for k, v in found.items()}}
    )
  return {name: [row[name] for row in rows] for name in rows[0]}


def draw_dynamics(results: dict[str, dict[int, Any]]) -> Figure:
  """Drift of both methods over training, seeds as thin lines."""
  panels = {
    'e_flow': 'distance of a step from the flow\n(1: the length of the step)',
    'gen/other_dot_prod/drift': "generator's interaction drift,\nsize",
    'modes_covered': 'modes covered, of 16',
  }
  figure = _style.new_figure(
    3.9, 'Seeds are thin, their medians thick; players move at once by SGD'
  )
  for axes, (key, label) in zip(
    figure.subplots(1, len(panels)), panels.items(), strict=True
  ):
    for method, of_seeds in results.items():
      runs = [np.abs(run[key]) for run in of_seeds.values()]
      length = min(map(len, runs))
      steps = next(iter(of_seeds.values()))['step'][:length]
      for run in runs:
        axes.plot(steps, run[:length], color=COLOURS[method], lw=0.6, alpha=0.5)
      median = np.median([run[:length] for run in runs], axis=0)
      axes.plot(steps, median, color=COLOURS[method], lw=2, label=method)
    axes.set(title=label, xlabel='step')
    if key != 'modes_covered':
      axes.set_yscale('log')
  _style.place_legend(figure, figure.axes[0])
  return figure


def draw_spectrum(results: dict[str, dict[int, Any]]) -> Figure:
  """Leading eigenvalues of the Jacobian, the unstable half-plane shaded."""
  figure = _style.new_figure(3.9, 'Leading eigenvalues of the Jacobian')
  panels = figure.subplots(1, len(results), sharex=True, sharey=True)
  for axes, (method, of_seeds) in zip(panels, results.items(), strict=True):
    for run in of_seeds.values():
      for k in range(1, _NUM_LEADING + 1):
        points = axes.scatter(
          run[f'eigenvalue_{k}/real'],
          run[f'eigenvalue_{k}/imag'],
          s=12,
          c=run['step'],
          vmin=0,
          cmap='viridis',
          edgecolors='none',
        )
    axes.set_xscale('symlog', linthresh=1)
    axes.set_yscale('symlog', linthresh=1)
    axes.axvspan(-1e5, 0, color='#c0392b', alpha=0.08, lw=0)
    axes.set(title=method, xlabel='real part')
  runs = [run for of_seeds in results.values() for run in of_seeds.values()]
  low = min(min(run['smallest_real']) for run in runs)
  high = max(max(run['largest_real']) for run in runs)
  panels[0].set(ylabel='imaginary part', xlim=(1.5 * min(low, -1), 1.5 * high))
  panels[0].annotate(
    *('unstable', (0.02, 0.94)), xycoords='axes fraction', color='#c0392b'
  )
  figure.colorbar(points, ax=panels, label='step')
  return figure


def main() -> None:
  """Trains, writes both pictures, prints the last figures."""
  size_name = _output.choose_size(COSTS, __doc__)
  size = SIZES[size_name]
  modes.enable_compilation_cache()
  results = {
    method: {seed: measure_run(method, seed, size) for seed in size.seeds}
    for method in METHODS
  }
  _gan_runs.write('gan_dynamics', size_name, draw_dynamics(results), results)
  _output.write_picture('gan_spectrum', size_name, draw_spectrum(results))
  for method, of_seeds in results.items():
    for seed, run in of_seeds.items():
      shown = ('step', 'e_flow', 'gen/other_dot_prod/drift', 'modes_covered')
      print(method, seed, *(f'{name} {run[name][-1]:.3g}' for name in shown))


if __name__ == '__main__':
  main()
