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
"""The figure of which losses go with which rules of play, on the mixture.

Every loss is trained by every rule, with several seeds and learning rates:

  ./run.sh figures losses_and_rules [--size=full|small|quick] [--losses NAME …]

A cell's runs train together in one program, and are those of
configs/mixture_comparison_config.py with the cell's overrides. Cells are kept
in `runs/figures`; one that is there is not made again, so that an interrupted
figure goes on. Writes `figures/losses_and_rules.png` and
`docs/losses_and_rules.json`, and prints the table.
"""

import collections
import json
import math
import pathlib
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import config_dict
import numpy as np

from dd_two_player_games import experiment
from dd_two_player_games import training
from figures import _gan_runs
from figures import _output
from figures import _style
from figures import mixture
from figures._gan_runs import both_optimizers
from figures._gan_runs import setting
from jaxline_harness import errors
from jaxline_harness import files

COSTS = {
  'full': '7 hours (estimated)',
  'small': '100 minutes',
  'quick': '',
}

# The rates are LARGEST_RATE * RATE_FACTOR**k: a run that backed off k times.
LARGEST_RATE, RATE_FACTOR = 0.05, 0.4
_STEPS_A_CHUNK = 500


class Size(NamedTuple):
  """How large the comparison is.

  Attributes:
    width: of the four layers of both players.
    batch_size: of both players.
    num_steps: of each run.
    num_seeds: of each learning rate.
    num_rates: learning rates, the largest first.
  """

  width: int
  batch_size: int
  num_steps: int
  num_seeds: int
  num_rates: int

  @property
  def rates(self) -> list[float]:
    return [LARGEST_RATE * RATE_FACTOR**k for k in range(self.num_rates)]


SIZES = {
  'full': Size(64, 128, 8000, 5, 3),
  'small': Size(64, 64, 4000, 5, 3),
  'quick': Size(4, 8, 2, 2, 2),
}


# On this plane a penalty of 0.1 is Gulrajani's own.
_PENALTIES = {'Wasserstein, penalty': "['wgan_gradient_penalty_loss', 0.1]"}
_PAIRS = _gan_runs.LOSS_PAIRS | {
  f'f-GAN, {name.replace("_", " ")}': (
    f'f_gan_{name}_discriminator_loss',
    f'f_gan_{name}_generator_loss',
  )
  # That of Jensen and Shannon is the saturating game.
  for name in ('kl', 'reverse_kl', 'pearson', 'squared_hellinger')
}
LOSSES = {
  name: setting(losses__discriminator=pair[0], losses__generator=pair[1])
  + (
    setting(penalties__discriminator=_PENALTIES[name])
    if name in _PENALTIES
    else []
  )
  for name, pair in _PAIRS.items()
}
_CANCEL = 'training__grad_regularizes__dd_coeffs_multiplier__{}__other_dot_prod'
RULES = {
  'simultaneous': [],
  'drift cancelled': setting(
    **{_CANCEL.format(player): -1.0 for player in ('disc', 'gen')}
  ),
  'alternating': setting(
    training__simultaneous_updates=False, training__update_rule='alternating'
  ),
  'Runge-Kutta 4': setting(
    training__simultaneous_updates=False, training__update_rule='runge_kutta'
  ),
  'SGA': setting(
    training__adjustment='sga',
    training__adjustment_kwargs__lam=1.0,
    training__adjustment_kwargs__align=True,
  ),
  'extragradient': setting(
    training__simultaneous_updates=False,
    training__update_rule='extragradient',
  ),
}


class Cell(NamedTuple):
  """The runs of a loss and a rule, as lists of a row a rate, a column a seed.

  Attributes:
    rates: learning rates of both players.
    covered: modes covered.
    quality: the share of samples of high quality.
    diverged: whether each run has.
    seconds: of the processor, for all runs together, their compilation too.
  """

  rates: list[float]
  covered: list[list[int]]
  quality: list[list[float]]
  diverged: list[list[bool]]
  seconds: float

  @property
  def best(self) -> int:
    """The rate of most modes, and among these of the best samples."""
    means = zip(
      np.mean(self.covered, axis=1), np.mean(self.quality, axis=1), strict=True
    )
    return max(enumerate(means), key=lambda numbered: numbered[1])[0]


def overrides_of(size: Size, loss: str, rule: str) -> list[str]:
  """The config of a cell."""
  return [
    *setting(
      nets__disc_kwargs__depth=4,
      nets__disc_kwargs__hidden_size=size.width,
      nets__gen_kwargs__depth=4,
      nets__gen_kwargs__hidden_size=size.width,
      training__batch_size=size.batch_size,
      training__back_off_factor=RATE_FACTOR,
      # One draw for both players that move at once, in all rules alike.
      training__estimator_fn='unbiased_estimate_fn_shared_draws',
    ),
    *both_optimizers(name='sgd', lr=LARGEST_RATE),
    *LOSSES[loss],
    *RULES[rule],
  ]


def train(
  config: config_dict.ConfigDict, num_steps: int, num_seeds: int, num_rates: int
) -> tuple[np.ndarray, np.ndarray]:
  """Trains all seeds and rates in one program.

  Args:
    config: the experiment's config.
    num_steps: of each run.
    num_seeds: seeds 0, 1, …
    num_rates: rates, each the one before times `training.back_off_factor`.

  Returns:
    The largest absolute loss of each run, NaN if one was, (rates, seeds); and
    samples, (rates, seeds, N, 2).
  """
  made = []
  for seed in range(num_seeds):
    seeded = config.copy_and_resolve_references()
    seeded.random_seed = seed
    made.append(experiment.Experiment('train', None, seeded))
  trainer = made[0]  # Seeds differ in keys alone, which are data.
  states = _stack([one.initial_train_state() for one in made])
  keys = _stack([one.device_data() | {'examples': None} for one in made])
  examples = trainer.device_data()['examples']
  states, keys = jax.tree.map(
    lambda leaf: jnp.repeat(leaf[None], num_rates, axis=0), (states, keys)
  )
  back_offs = np.arange(num_rates, dtype=np.int32)[:, None]
  states = states._replace(
    back_offs=jnp.asarray(np.repeat(back_offs, num_seeds, axis=1))
  )

  def move(state, own):
    def step(state, _):
      state, logs = trainer.update(state, own | {'examples': examples})
      losses = jnp.stack([v for k, v in logs.items() if k.endswith('loss')])
      return state, jnp.max(jnp.abs(losses))

    state, largest = jax.lax.scan(step, state, None, length=chunk)
    return state, jnp.max(largest)

  # Of devices, seeds and rates.
  chunk = math.gcd(num_steps, _STEPS_A_CHUNK)
  move = jax.vmap(move, axis_name='i', axis_size=1, in_axes=None, out_axes=0)
  move = jax.jit(jax.vmap(jax.vmap(move)), donate_argnums=0)
  largest = []
  for _ in range(num_steps // chunk):
    states, most = jax.tree.map(lambda x: x[:, :, 0], move(states, keys))
    largest.append(np.asarray(most))
  return np.max(largest, axis=0), _sample(config, states)


def _sample(config, states):
  model = training.build_gan(config)

  @jax.jit
  def sample(params, networks):
    key = jax.random.key(0)
    return model.sample(
      params, networks, key, mixture.NUM_SAMPLES, {'is_training': False}
    )[0]

  each = jax.vmap(jax.vmap(sample))
  return np.asarray(each(states.params.gen, states.state.players.gen))


def _stack(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def measure(
  rates: list[float], largest: np.ndarray, samples: np.ndarray, seconds: float
) -> Cell:
  """What the runs of a cell came to.

  A run has diverged if in some step a loss is not finite or too large, or if a
  sample is not finite in the end. It covers no mode then.
  """
  finite = np.isfinite(samples).all(axis=(2, 3))
  diverged = ~((largest <= mixture.MOST) & finite)  # Also where it is NaN.
  quality, covered = np.zeros(diverged.shape), np.zeros(diverged.shape, int)
  for place in zip(*np.nonzero(~diverged), strict=True):
    quality[place], _, covered[place] = mixture.quality(samples[place])
  return Cell(
    rates, covered.tolist(), quality.tolist(), diverged.tolist(), seconds
  )


def make_cell(size: Size, loss: str, rule: str, path: pathlib.Path) -> Cell:
  """A cell; made, and kept in a file, unless it is there.

  Args:
    size: of its runs.
    loss: a name of `LOSSES`.
    rule: a name of `RULES`.
    path: of the file of all cells of a size.

  Returns:
    The cell.

  Raises:
    UserError: it is there, but of other settings.
  """
  overrides = overrides_of(size, loss, rule)
  config = _gan_runs.load_config(mixture.CONFIG, overrides)
  settings = config.experiment_kwargs.config
  made_of = [json.dumps(settings.to_dict(), sort_keys=True), *size]
  cells = json.loads(path.read_text()) if path.exists() else {}
  name = f'{loss}, {rule}'
  if name in cells:
    if cells[name].pop('made_of') != made_of:
      raise errors.UserError(f'{path}: {name} is of other settings: remove it.')
    return Cell(**cells[name])
  print(f'{name}: training', file=sys.stderr, flush=True)
  before = time.process_time()
  results = train(settings, size.num_steps, size.num_seeds, size.num_rates)
  cell = measure(size.rates, *results, time.process_time() - before)
  cells[name] = {'made_of': made_of, **cell._asdict()}
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write_atomically(str(path), json.dumps(cells))
  return cell


# The picture and the table.

_MOST_TOLD = 'modes covered, best rate'
_TITLES = {
  _MOST_TOLD: 'modes covered of 16, best rate',
  'high quality, best rate': 'samples of high quality, best rate',
  'modes covered, median of all': 'modes covered of 16, median of all runs',
  'diverged, of all': 'runs that diverged',
}


def summarise(cell: Cell) -> dict[str, float]:
  """The figures of a cell: of its best rate, and of all its runs."""
  return {
    _MOST_TOLD: float(np.mean(cell.covered[cell.best])),
    'high quality, best rate': float(np.mean(cell.quality[cell.best])),
    'modes covered, median of all': float(np.median(cell.covered)),
    'diverged, of all': float(np.mean(cell.diverged)),
  }


def draw(cells: dict[str, dict[str, Cell]], title: str) -> Figure:
  """Draws a heat map of each figure, a row a loss and a column a rule."""
  losses, rules = list(cells), list(RULES)
  summaries = {
    loss: {rule: summarise(cell) for rule, cell in of_loss.items()}
    for loss, of_loss in cells.items()
  }
  names = list(next(iter(next(iter(summaries.values())).values())))
  figure = _style.new_figure(
    1.8 + 0.7 * len(losses), f'{_find_winner(summaries)}\n{title}'
  )
  panels = figure.subplots(2, 2, sharex=True, sharey=True)
  for axes, name in zip(panels.flat, names, strict=True):
    is_count = name.startswith('modes')
    values = np.array(
      [
        [summaries[loss].get(rule, {}).get(name, np.nan) for rule in rules]
        for loss in losses
      ]
    )
    axes.imshow(
      values,
      cmap='Reds' if 'diverged' in name else 'viridis',
      vmin=0,
      vmax=16 if is_count else 1,
      aspect='auto',
    )
    for (row, column), value in np.ndenumerate(values):
      if not np.isnan(value):
        _write_value(axes, row, column, value, is_count, name)
    axes.set_title(_TITLES[name])
    axes.set_xticks(
      *(range(len(rules)), rules),
      rotation=30,
      rotation_mode='anchor',
      ha='right',
    )
    axes.set_yticks(range(len(losses)), map(_spell, losses))
    axes.tick_params(length=0)
  return figure


def _find_winner(summaries):
  """Which rule covers most modes at its best rate with how many losses."""
  firsts = collections.Counter()
  for of_loss in summaries.values():
    covered = {rule: found[_MOST_TOLD] for rule, found in of_loss.items()}
    best = max(covered.values())
    if best:
      firsts.update(rule for rule, value in covered.items() if value == best)
  if not firsts:
    return 'No run covers a mode'
  ((rule, count),) = firsts.most_common(1)
  return f'{rule} covers most modes with {count} of {len(summaries)} losses'


def _spell(loss):
  """A loss's name in the picture."""
  family, comma, name = loss.partition(', ')
  return family + comma + _style.DIVERGENCES.get(name.replace(' ', '_'), name)


def _write_value(axes, row, column, value, is_count, name):
  is_dark = (value / 16 if is_count else value) < 0.6
  if 'diverged' in name:
    is_dark = not is_dark
  axes.text(
    column,
    row,
    f'{value:.1f}' if is_count else f'{value:.0%}',
    ha='center',
    va='center',
    fontsize=9,
    color='white' if is_dark else 'black',
  )


def table(cells: dict[str, dict[str, Cell]]) -> str:
  """Modes covered and samples of high quality at the best rate, as Markdown."""
  lines = [f'| loss | {" | ".join(RULES)} |', '|---' * (len(RULES) + 1) + '|']
  for loss, of_loss in cells.items():
    row = []
    for rule in RULES:
      if rule not in of_loss:
        row.append('–')
        continue
      found = summarise(of_loss[rule])
      covered, quality, _, diverged = found.values()
      row.append(f'{covered:.1f}, {quality:.0%}, {diverged:.0%}')
    lines.append(f'| {loss} | {" | ".join(row)} |')
  return '\n'.join(lines)


def main() -> None:
  """Makes the cells that are missing, writes the picture, prints the table."""
  parser = _output.size_parser(COSTS, __doc__)
  parser.add_argument('--losses', nargs='+', choices=LOSSES, default=[*LOSSES])
  arguments = parser.parse_args()
  size = SIZES[arguments.size]
  path = _gan_runs.FOLDER / f'losses_and_rules_{arguments.size}.json'
  cells = {
    loss: {rule: make_cell(size, loss, rule, path) for rule in RULES}
    for loss in arguments.losses
  }
  rates = ', '.join(f'{rate:.2g}' for rate in size.rates)
  title = (
    f'Mixture, {size.num_seeds} seeds, SGD at {rates}, {size.num_steps:,} '
    f'steps, width {size.width}, batch {size.batch_size}'
  )
  results = {
    loss: {rule: cell._asdict() for rule, cell in of_loss.items()}
    for loss, of_loss in cells.items()
  }
  _gan_runs.write(
    'losses_and_rules', arguments.size, draw(cells, title), results
  )
  print(table(cells))


if __name__ == '__main__':
  main()
