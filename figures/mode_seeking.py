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
"""Each f-divergence's best Gaussian for a mixture of two, and a GAN's.

  ./run.sh figures mode_seeking [--size=small|quick]

The data are a mixture of two Gaussians on the line, near each other or far; the
model is one. What fits best depends on the divergence: some seek a mode, some
cover both. The exact minimisers, by quadrature, stand beside what GANs with the
losses of that divergence learn, a small network their discriminator. Writes
`figures/mode_seeking.png` and `docs/mode_seeking.json`, and prints the figures.
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy import optimize
from scipy import stats

from differentiable_games import divergences
from figures import _gan_runs
from figures import _many_gans
from figures import _output
from figures import _style

COSTS = {'small': 'minutes', 'quick': ''}


class Size(NamedTuple):
  """How much is trained."""

  num_steps: int
  num_looks: int
  num_seeds: int
  batch_size: int


SIZES = {
  'small': Size(num_steps=6000, num_looks=61, num_seeds=5, batch_size=128),
  'quick': Size(num_steps=20, num_looks=3, num_seeds=2, batch_size=16),
}
NAMES = tuple(divergences.DIVERGENCES)
GENERATORS = {'zero-sum': '', 'non-saturating': '_non_saturating'}
_HIGHEST = 0.85  # Higher densities are cut off.
# Of the two Gaussians.
WEIGHTS, DEVIATION = (0.65, 0.35), 0.5
MEANS = {'near': (-1.0, 1.5), 'far': (-1.6, 2.0)}
# Location and scale that generators start with.
STARTS = {'near': (-1.0, 1.0), 'far': (0.0, 1.0)}
LEARNING_RATES = (2e-3, 5e-4)
_NUM_DISC_UPDATES = 2
# The share of the looks, the last ones, that a run's result is the mean of.
_SETTLED = 0.2
_PLACES = np.linspace(-12, 12, 4001)
_SHOWN = np.linspace(-4, 4.5, 400)


def log_data(mixture: str, x: np.ndarray) -> np.ndarray:
  """The data's log density."""
  parts = [
    np.log(weight) + stats.norm.logpdf(x, mean, DEVIATION)
    for weight, mean in zip(WEIGHTS, MEANS[mixture], strict=True)
  ]
  return np.logaddexp(*parts)


def draw_data(mixture: str, key: jax.Array, batch_size: int) -> jax.Array:
  """A batch of the data."""
  part_key, key = jax.random.split(key)
  parts = jax.random.choice(
    part_key, 2, (batch_size, 1), p=jnp.asarray(WEIGHTS)
  )
  noise = jax.random.normal(key, (batch_size, 1))
  return jnp.asarray(MEANS[mixture])[parts] + DEVIATION * noise


def divergence(
  name: str, mixture: str, location: float, log_scale: float
) -> float:
  """The divergence of the data from a Gaussian, by quadrature.

  Where the Gaussian's density is nothing in float64 there are no data either,
  or the divergence is infinite.
  """
  log_q = stats.norm.logpdf(_PLACES, location, np.exp(log_scale))
  log_u = log_data(mixture, _PLACES) - log_q
  return float(np.trapezoid(_integrand(name, log_q, log_u), _PLACES))


def _integrand(name, log_q, log_u):
  """The density q f(u), without u where that would overflow."""
  q, p = np.exp(log_q), np.exp(log_q + log_u)
  if name == 'kl':
    return p * log_u
  if name == 'reverse_kl':
    return -q * log_u
  if name == 'pearson':
    return np.exp(log_q + 2 * log_u) - 2 * p + q
  if name == 'squared_hellinger':
    return np.square(np.sqrt(p) - np.sqrt(q))
  half = np.logaddexp(0, log_u) - np.log(2)
  return p * (log_u - half) - q * half


def minimise(name: str, mixture: str) -> list[tuple[float, float]]:
  """Locations and scales of the Gaussians that fit best locally.

  The best comes first. Searches start from each Gaussian of the data, and from
  both together.
  """
  starts = [(mean, np.log(DEVIATION)) for mean in MEANS[mixture]] + [(0.0, 0.5)]
  results = [
    optimize.minimize(
      lambda x: divergence(name, mixture, *x),
      start,
      method='Nelder-Mead',
      options={'xatol': 1e-7, 'fatol': 1e-12},
    )
    for start in starts
  ]
  found: list[tuple[float, float]] = []
  for result in sorted(results, key=lambda result: result.fun):
    location, scale = float(result.x[0]), float(np.exp(result.x[1]))
    if not any(np.allclose((location, scale), own, atol=1e-3) for own in found):
      found.append((location, scale))
  return found


def train(name: str, mixture: str, generator: str, size: Size) -> np.ndarray:
  """Locations and log scales of a GAN's generator, `(seeds, looks, 2)`."""
  settings = _many_gans.make_config(
    (
      f'f_gan_{name}_discriminator_loss',
      f'f_gan_{name}{GENERATORS[generator]}_generator_loss',
    ),
    LEARNING_RATES,
    num_disc_updates=_NUM_DISC_UPDATES,
    batch_size=size.batch_size,
  )

  location, scale = STARTS[mixture]

  def begin(params, _):
    start = {'location': [location], 'log_scale': [np.log(scale)]}
    return params._replace(
      gen={
        module: {
          name: jnp.asarray(start[name], leaf.dtype)
          for name, leaf in own.items()
        }
        for module, own in params.gen.items()
      }
    )

  def look(model, state, key):
    del model, key
    (gen,) = state.params.gen.values()
    return jnp.concatenate([gen['location'], gen['log_scale']])

  return _many_gans.train(
    settings,
    lambda key: draw_data(mixture, key, size.batch_size),
    np.arange(size.num_seeds),
    begin,
    look,
    size.num_steps,
    size.num_looks,
  )


def describe(name: str, mixture: str, size: Size) -> dict[str, Any]:
  """The exact minimiser of a divergence, and what GANs learn, by seed."""
  minimisers = minimise(name, mixture)
  described: dict[str, Any] = {
    'exact': {
      'location': [location for location, _ in minimisers],
      'scale': [scale for _, scale in minimisers],
      'divergence': [
        divergence(name, mixture, m, np.log(s)) for m, s in minimisers
      ],
    }
  }
  for generator in GENERATORS:
    print(f'{mixture}, {name}, {generator}', file=sys.stderr, flush=True)
    seen = train(name, mixture, generator, size)
    settled = seen[:, -max(1, int(_SETTLED * size.num_looks)) :].mean(axis=1)
    described[generator] = {
      'location': settled[:, 0].tolist(),
      'scale': np.exp(settled[:, 1]).tolist(),
      'divergence': [divergence(name, mixture, *own) for own in settled],
    }
  return described


def draw(results: dict[str, dict[str, dict[str, Any]]]) -> Figure:
  """A row a mixture, a panel a divergence: data, best Gaussian, and GANs'."""
  figure = _style.new_figure(
    0.8 + 2.3 * len(results),
    'Where modes are near, zero-sum GANs find the Gaussian that fits best '
    '(a line a seed)',
  )
  panels = figure.subplots(
    len(results), len(NAMES), squeeze=False, sharex=True, sharey=True
  )
  for row, (mixture, of_names) in zip(panels, results.items(), strict=True):
    for axes, (name, described) in zip(row, of_names.items(), strict=True):
      _draw_panel(axes, mixture, described)
      if mixture == next(iter(results)):
        axes.set_title(_style.DIVERGENCES[name])
    row[0].set_ylabel(f'{mixture} modes:\ndensity')
  for axes in panels[-1]:
    axes.set(xlabel='x', xticks=(-2, 0, 2, 4))
  _style.place_legend(figure, *panels[:, 1])
  return figure


def _draw_panel(axes: Any, mixture: str, described: dict[str, Any]) -> None:
  axes.fill_between(
    *(_SHOWN, np.exp(log_data(mixture, _SHOWN))),
    color='#d5d8dc',
    linewidth=0,
    label='data',
  )

  def draw_gaussians(fits, label, **style):
    for k, (m, s) in enumerate(
      zip(fits['location'], fits['scale'], strict=True)
    ):
      axes.plot(
        *(_SHOWN, stats.norm.pdf(_SHOWN, m, s)),
        label=None if k else label,
        **style,
      )

  highest = 0.0
  for generator in GENERATORS:
    draw_gaussians(
      *(described[generator], f'GANs, {generator}'),
      color=_style.LOSSES[generator],
      alpha=0.7,
    )
    highest = max(
      highest, stats.norm.pdf(0) / min(described[generator]['scale'])
    )
  exact = described['exact']
  best = {name: values[:1] for name, values in exact.items()}
  others = {name: values[1:] for name, values in exact.items()}
  draw_gaussians(best, 'exact minimiser', color='black', linestyle='--')
  draw_gaussians(
    others, 'local minima', color='black', linestyle=':', linewidth=1
  )
  axes.set_ylim(0, _HIGHEST)
  if highest > _HIGHEST:
    axes.text(4.5, 0.78, f'cut off:\nup to {highest:.1f}', ha='right', va='top')


def main() -> None:
  """Trains, draws and prints."""
  size_name = _output.choose_size(COSTS, __doc__)
  size = SIZES[size_name]
  results = {
    mixture: {name: describe(name, mixture, size) for name in NAMES}
    for mixture in MEANS
  }
  _gan_runs.write('mode_seeking', size_name, draw(results), results)
  for mixture, of_names in results.items():
    for name, described in of_names.items():
      for kind, own in described.items():
        numbers = ', '.join(
          f'{key} {" ".join(f"{value:.3f}" for value in values)}'
          for key, values in own.items()
        )
        print(f'{mixture}, {name}, {kind}: {numbers}')


if __name__ == '__main__':
  main()
