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
"""What a GAN learns where data and samples hardly overlap.

  ./run.sh figures disjoint_supports [--size=small|quick]

The data are N(0, 1), the samples N(d, 1). As d grows the Jensen-Shannon
divergence is flat, log 2, and its gradient vanishes. A discriminator that is a
small network, some steps trained, is another divergence: its value and gradient
still tell how far away the data are, the more so if its slope is bounded by
spectral norm, and a GAN finds them. Writes
`figures/disjoint_supports.png` and `docs/disjoint_supports.json`, and prints
the figures.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
from scipy import stats

from differentiable_games import rules
from figures import _gan_runs
from figures import _many_gans
from figures import _output
from figures import _style

COSTS = {'small': 'minutes', 'quick': ''}


class Size(NamedTuple):
  """How much is trained.

  Attributes:
    disc_steps: of a discriminator alone, at which it is looked at.
    num_distances: at which that is done.
    num_steps: of a GAN.
    num_looks: at a GAN's generator.
    num_seeds: of all.
    batch_size: of all.
  """

  disc_steps: tuple[int, ...]
  num_distances: int
  num_steps: int
  num_looks: int
  num_seeds: int
  batch_size: int


SIZES = {
  'small': Size((20, 100, 500), 9, 3000, 61, 5, 128),
  'quick': Size((2, 4), 2, 4, 3, 2, 16),
}
# The generator's loss, and the transform of the discriminator's parameters.
GANS = {
  'zero-sum': ('generator_saturating_loss', None),
  'zero-sum, spectral norm': ('generator_saturating_loss', 'spectral_norm'),
  'non-saturating': ('generator_goodfellow_loss', None),
}
_BOUNDED = 'zero-sum, spectral norm'
START, FARTHEST = 10.0, 12.0
LEARNING_RATE = 5e-3
_NUM_MEASURED = 2048
_PLACES = np.linspace(-12, 24, 9001)


def exact_divergence(distance: float) -> tuple[float, float]:
  """The Jensen-Shannon divergence, and its derivative in the distance."""
  p, log_p = stats.norm.pdf(_PLACES), stats.norm.logpdf(_PLACES)
  q = stats.norm.pdf(_PLACES, distance)
  log_ratio = log_p - stats.norm.logpdf(_PLACES, distance)
  of_data = p * np.logaddexp(0, -log_ratio)
  of_samples = q * np.logaddexp(0, log_ratio)
  value = np.log(2) - np.trapezoid(of_data + of_samples, _PLACES) / 2
  slope = -np.trapezoid((_PLACES - distance) * of_samples, _PLACES) / 2
  return float(value), float(slope)


def discriminator_alone(
  optimizers: rules.Optimizers, share_draws: bool
) -> rules.UpdateRule:
  """The update rule in which the generator stays where it is."""
  del share_draws
  return rules.alternating(optimizers, order=(0,))


def draw_data(key: jax.Array, batch_size: int) -> jax.Array:
  """A batch of the data."""
  return jax.random.normal(key, (batch_size, 1))


def _train(
  size, loss, transformer, starts, num_steps, num_looks, look, **training
):
  """Trains GANs whose generators start at a distance, of all seeds."""
  settings = _many_gans.make_config(
    ('discriminator_goodfellow_loss', loss),
    (LEARNING_RATE, LEARNING_RATE),
    batch_size=size.batch_size,
    **training,
  )
  with settings.unlocked():
    settings.nets.gen_kwargs = {'scales': False}
    settings.param_transformers.discriminator = transformer
  members = np.repeat(np.asarray(starts, np.float32), size.num_seeds)

  def begin(params, start):
    moved = jax.tree.map(lambda leaf: jnp.full_like(leaf, start), params.gen)
    return params._replace(gen=moved)

  seen = _many_gans.train(
    settings,
    lambda key: draw_data(key, size.batch_size),
    members,
    begin,
    look,
    num_steps,
    num_looks,
  )
  return jax.tree.map(
    lambda leaf: leaf.reshape(len(starts), size.num_seeds, num_looks), seen
  )


def _location(gen_params: Any) -> jax.Array:
  (leaf,) = jax.tree.leaves(gen_params)
  return leaf[0]


def learn_divergences(size: Size, transformer: str | None) -> dict[str, Any]:
  """What discriminators learn of samples that stay at a distance.

  Args:
    size: how much is trained.
    transformer: of the discriminator's parameters.

  Returns:
    The distances; by steps of the discriminator the learned divergence, and the
    gradients of both generators' losses in the distance, by distance and seed.
  """
  distances = np.linspace(0, FARTHEST, size.num_distances)

  def look(model, state, key):
    data_key, key = jax.random.split(key)
    batch = draw_data(data_key, _NUM_MEASURED)
    args = (state.params, state.state, batch, key, False)
    losses, _ = model.both_losses(*args)
    return {
      'divergence': jnp.log(2.0) - losses.disc / 2,
      # The part that depends on samples is minus the zero-sum loss.
      'zero-sum': -_location(model.disc_loss_fn_gen_grads(*args)),
      'non-saturating': _location(model.gen_loss_fn_gen_grads(*args)),
    }

  every = size.disc_steps[0]
  last = size.disc_steps[-1]
  seen = _train(
    size,
    GANS['non-saturating'][0],
    transformer,
    distances,
    last,
    last // every + 1,
    look,
    update_rule=f'{__file__}:discriminator_alone',
  )
  return {
    'distance': distances.tolist(),
    'exact': [exact_divergence(distance) for distance in distances],
    'learned': {
      str(step): {
        name: values[..., step // every].tolist()
        for name, values in seen.items()
      }
      for step in size.disc_steps
    },
  }


def learn_locations(size: Size) -> dict[str, Any]:
  """Steps, and locations of GANs' generators by loss, seed and step."""

  def look(model, state, key):
    del model, key
    return _location(state.params.gen)

  looks = _gan_runs.looks(size.num_steps, size.num_looks)
  found = {
    name: _train(
      *(size, *of_gan, [START], size.num_steps, size.num_looks, look)
    )[0]
    for name, of_gan in GANS.items()
  }
  return {
    'step': looks,
    **{name: values.tolist() for name, values in found.items()},
  }


def draw(
  plain: dict[str, Any], bounded: dict[str, Any], locations: dict[str, Any]
) -> Figure:
  """Divergences, gradients, and GANs that learn.

  Args:
    plain: what `learn_divergences` gives.
    bounded: the same with spectral norm.
    locations: what `learn_locations` gives.
  """
  figure = _style.new_figure(
    4.6,
    'Data N(0, 1), samples N(d, 1). Lines are medians over seeds, bands all of '
    'them',
  )
  left, middle, right = figure.subplots(1, 3)
  _draw_divergences(left, plain, bounded)
  _draw_gradients(middle, plain, bounded)
  for name in GANS:
    values = np.array(locations[name]).T
    _band(right, locations['step'], values, _style.LOSSES[name], name)
  right.axhline(0, color='#aaaaaa', linewidth=0.8)
  right.set(
    title=f'Without it, zero-sum GANs\nfrom d = {START:g} hardly move',
    xlabel='step',
    ylabel='location d of the samples',
  )
  left.legend(handlelength=1.2, loc='lower right')
  _style.place_legend(figure, middle, ncols=4)
  return figure


def _draw_divergences(axes, plain, bounded):
  distances = plain['distance']
  axes.plot(
    *(distances, np.array(plain['exact'])[:, 0], 'k--'),
    label='the best one',
  )
  for k, (step, found) in enumerate(plain['learned'].items()):
    strength = (k + 1) / len(plain['learned'])
    _band(
      *(axes, distances, found['divergence'], '#6b7280'),
      *(f'{step} steps', strength),
    )
  step, found = list(bounded['learned'].items())[-1]
  _band(
    *(axes, distances, found['divergence'], _style.LOSSES[_BOUNDED]),
    f'{step} steps,\nspectral norm',
  )
  axes.set(
    title='The divergence is flat far away,\nas trained discriminators see',
    xlabel='distance d',
    ylabel='Jensen-Shannon divergence, nats',
  )


def _draw_gradients(axes, plain, bounded):
  distances, exact = plain['distance'], np.array(plain['exact'])
  axes.plot(
    *(distances[1:], 2 * exact[1:, 1], 'k--'),
    label='zero-sum, best discriminator',
  )
  step, last = list(plain['learned'].items())[-1]
  for name, slopes in (
    ('zero-sum', last['zero-sum']),
    (_BOUNDED, bounded['learned'][step]['zero-sum']),
    ('non-saturating', last['non-saturating']),
  ):
    _band(axes, distances, np.abs(slopes), _style.LOSSES[name], name)
  axes.set(
    yscale='log',
    ylim=(1e-8, 1e2),
    title='Without spectral norm the zero-\n'
    f'sum gradient vanishes ({step} steps)',
    xlabel='distance d',
    ylabel="|gradient| of the generator's loss",
  )


def _band(axes, x, values, colour, label, strength=1.0):
  """The median over the last axis, with the range of all."""
  values = np.asarray(values)
  axes.plot(
    x, np.median(values, axis=-1), color=colour, alpha=strength, label=label
  )
  axes.fill_between(
    *(x, values.min(axis=-1), values.max(axis=-1)),
    color=colour,
    alpha=0.2 * strength,
    linewidth=0,
  )


def main() -> None:
  """Trains, draws and prints."""
  size_name = _output.choose_size(COSTS, __doc__)
  size = SIZES[size_name]
  plain, bounded = (
    learn_divergences(size, transformer)
    for transformer in (None, 'spectral_norm')
  )
  locations = learn_locations(size)
  _gan_runs.write(
    'disjoint_supports',
    size_name,
    draw(plain, bounded, locations),
    {'plain': plain, 'spectral norm': bounded, 'locations': locations},
  )
  for kind, divergences in (('plain', plain), ('spectral norm', bounded)):
    for k, distance in enumerate(divergences['distance']):
      learned = ', '.join(
        f'{step} steps {np.median(found["divergence"][k]):.3f} '
        f'(slope {np.median(found["zero-sum"][k]) / 2:.2g})'
        for step, found in divergences['learned'].items()
      )
      value, slope = divergences['exact'][k]
      print(
        f'{kind}, d = {distance:g}: exact {value:.4f} (slope {slope:.2g}); '
        f'{learned}'
      )
  for name in GANS:
    ends = ' '.join(f'{seed[-1]:.3f}' for seed in locations[name])
    print(f'{name}: locations at last {ends}')


if __name__ == '__main__':
  main()
