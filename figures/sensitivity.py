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
"""The figure of how sensitive losses are to their hyper-parameters.

As in Lucic et al. 2018, "Are GANs created equal?", every loss gets a random
search of the same budget, and what counts is the spread:

  ./run.sh figures sensitivity [--size=full|small|quick] [--data NAME …]
    [--losses NAME …]

Runs are sweeps (docs/sweeps.md) in `runs/figures`; what has ended is not run
again. Writes `figures/sensitivity.png` and `docs/sensitivity.json`, and prints
the tables.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
import numpy as np

from figures import _gan_runs
from figures import _output
from figures import _style
from run_sweeps import declaration
from run_sweeps import pictures
from run_sweeps import program
from run_sweeps import random_search
from run_sweeps import results as sweep_results

COSTS = {
  'full': '8 hours (estimated)',
  'small': '10 minutes',
  'quick': '',
}

# What a run counts as that diverged: it covers nothing, and its FID is about
# that of a generator that has learnt nothing.
_DIVERGED = {'modes_covered': 0.0, 'high_quality_share': 0.0, 'FID': 400.0}
_NUM_MODES = 16
_DIVERGED_COLOUR = '#b3261e'
_WASSERSTEIN = 'Wasserstein, penalty'
# Among so many runs of a loss the best one is compared in the table.
_FEW = 5


class Size(NamedTuple):
  """How large a search is.

  Attributes:
    runs: of each loss.
    num_steps: of each run.
    batch_size: of both players.
    width: of both players: units of four layers, or the fewest channels of two.
  """

  runs: int
  num_steps: int
  batch_size: int
  width: int


SIZES = {
  'full': {
    'mixture': Size(100, 8000, 128, 128),
    'images': Size(40, 4000, 64, 16),
  },
  'small': {
    'mixture': Size(10, 2000, 64, 64),
    'images': Size(5, 300, 32, 8),
  },
  'quick': {'mixture': Size(2, 2, 8, 4), 'images': Size(2, 2, 8, 2)},
}


LOSSES = {
  name: {'losses.discriminator': pair[0], 'losses.generator': pair[1]}
  for name, pair in _gan_runs.LOSS_PAIRS.items()
  if name != 'least squares, zero-sum'
}
# Of the penalty's coefficient: on points, and on images.
_PENALTIES = {'mixture': (0.01, 10.0), 'images': (0.1, 100.0)}
_CONFIGS = {'mixture': 'mixture_of_gaussians', 'images': 'sgd_fashion_mnist'}
_METRICS = {
  'mixture': ('modes_covered', 'high_quality_share'),
  'images': ('FID',),
}


def _describe_networks(data: str, width: int) -> dict[str, Any]:
  if data == 'mixture':
    return {'nets.*.hidden_size': width}
  return {
    'nets.disc_kwargs.channels': [width, 2 * width],
    'nets.gen_kwargs.channels': [2 * width, width],
    'training.grad_regularizes.dd_coeffs_multiplier.*.other_dot_prod': 0.0,
    'eval.num_eval_splits': 1,
  }


def declare(
  data: str, size: Size, names: Sequence[str] = tuple(LOSSES)
) -> declaration.Sweep:
  """The search of some losses.

  Args:
    data: 'mixture' or 'images'.
    size: of the search.
    names: of the losses.

  Returns:
    The sweep.
  """
  losses: dict[str, dict[str, Any]] = {
    name: {**v} for name, v in LOSSES.items()
  }
  losses[_WASSERSTEIN]['penalties.discriminator'] = [
    'wgan_gradient_penalty_loss',
    random_search.log_uniform(*_PENALTIES[data]),
  ]
  return declaration.Sweep(
    config=_CONFIGS[data],
    overrides={
      'training_steps': size.num_steps,
      'penalties.discriminator': None,
      'param_transformers.discriminator': None,
      'training.batch_size': size.batch_size,
      'training.update_rule': 'alternating',
      'training.simultaneous_updates': False,
      'optimizers.*.name': 'adam',
      'optimizers.*.kwargs.b2': 0.999,
      'optimizers.*.kwargs.b1': random_search.uniform(0.0, 0.9),
      'optimizers.discriminator.lr': random_search.log_uniform(1e-4, 1e-2),
      'optimizers.generator.lr': random_search.log_uniform(1e-4, 1e-2),
      **_describe_networks(data, size.width),
    },
    axes={'loss': {name: losses[name] for name in names}},
    seeds=[0],
    metrics=_METRICS[data],
    diverged_as={name: _DIVERGED[name] for name in _METRICS[data]},
    map_seeds=True,
    search=random_search.Search(size.runs),
  )


# What came out.


def score(metrics: Mapping[str, float]) -> float:
  """What runs are compared by: the FID, or of the mixture modes and quality.

  Either alone is misleading: a cloud reaches all modes, and samples that are
  all the same may be of high quality.
  """
  if 'FID' in metrics:
    return metrics['FID']
  modes, quality = metrics['modes_covered'], metrics['high_quality_share']
  return modes / _NUM_MODES * quality


def list_runs(
  plan: declaration.Plan, results: sweep_results.Results
) -> dict[str, list[dict[str, Any]]]:
  """What was drawn and what came out of each run, by loss."""
  runs: dict[str, list[dict[str, Any]]] = {}
  for cell in plan.cells:
    result = results[cell.folder]
    has_diverged = result.status == sweep_results.DIVERGED
    metrics = plan.sweep.diverged_as if has_diverged else result.metrics
    if len(metrics) == len(plan.more_is_better):
      runs.setdefault(str(cell.levels['loss']), []).append(
        {
          'drawn': sweep_results.describe_drawn(cell),
          'diverged': has_diverged,
          'metrics': dict(metrics),
          'score': score(metrics),
        }
      )
  return runs


def best_of(
  scores: Sequence[float], k: int, more_is_better: bool
) -> tuple[float, float, float]:
  """The best of k runs out of those that there are, drawn without replacement.

  Args:
    scores: of all runs.
    k: how many are drawn.
    more_is_better: whether it is.

  Returns:
    The expectation, and the 5th and 95th percentiles.
  """
  ordered = sorted(scores, reverse=more_is_better)
  num = len(ordered)
  # The best is number i if the others are among those after it.
  chances = [
    math.comb(num - 1 - i, k - 1) / math.comb(num, k) for i in range(num)
  ]
  reached = np.cumsum(chances)
  low, high = (
    ordered[min(int(np.searchsorted(reached, share - 1e-9)), num - 1)]
    for share in (0.05, 0.95)
  )
  mean = float(np.dot(chances, ordered))
  return mean, min(low, high), max(low, high)


def draw(
  found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
  titles: Mapping[str, str],
) -> Figure:
  """Draws the spread of each loss, and the best of k runs, a row a data set.

  Args:
    found: `list_runs` of each data set.
    titles: of their rows.

  Returns:
    The figure.
  """
  figure = _style.new_figure(
    0.4 + 3.6 * len(found),
    'Scores of random draws of the rates by loss, with their quartiles',
  )
  rows = figure.subplots(len(found), 2, squeeze=False)
  for (spread, best), (data, runs) in zip(rows, found.items(), strict=True):
    label = 'FID, less is better'
    if data == 'mixture':
      label = 'share of modes × of high quality'
    _draw_spread(spread, runs)
    spread.set(xlabel=label, title=titles[data])
    _draw_best(best, data, runs)
    best.set(ylabel=label, title=_compare(data, runs))
  return figure


def _compare(data, runs):
  """How far draws are apart, and how far losses are."""
  scores = {
    loss: [r['score'] for r in of_loss] for loss, of_loss in runs.items()
  }
  choose = max if data == 'mixture' else min
  best = [choose(of_loss) for of_loss in scores.values()]
  apart = [np.ptp(of_loss) for of_loss in scores.values()]
  form = '.2f' if data == 'mixture' else '.0f'
  return (
    f"a loss's draws: up to {max(apart):{form}} apart;\n"
    f'the best ones of losses: {np.ptp(best):{form}}'
  )


def _draw_spread(axes, runs):
  """A box and a point a run; a cross for one that diverged."""
  for row, (loss, of_loss) in enumerate(runs.items()):
    pictures.draw_quartiles(axes, row, [run['score'] for run in of_loss])
    for has_diverged, marker, color in (
      (False, 'o', _style.LOSSES[loss]),
      (True, 'x', _DIVERGED_COLOUR),
    ):
      shown = [r['score'] for r in of_loss if r['diverged'] == has_diverged]
      axes.plot(shown, [row] * len(shown), marker, color=color, ms=4, alpha=0.7)
    num_diverged = sum(run['diverged'] for run in of_loss)
    if num_diverged:
      axes.text(
        1.0,
        row,
        f'{num_diverged} of {len(of_loss)}\ndiverged',
        transform=axes.get_yaxis_transform(),
        va='center',
        color=_DIVERGED_COLOUR,
      )
  axes.set_yticks(range(len(runs)), list(runs))
  for label, loss in zip(axes.get_yticklabels(), runs, strict=True):
    label.set_color(_style.LOSSES[loss])
  axes.set_ylim(len(runs) - 0.5, -0.5)


def _draw_best(axes, data, runs):
  for loss, of_loss in runs.items():
    scores = [run['score'] for run in of_loss]
    numbers = range(1, len(scores) + 1)
    means, lows, highs = zip(
      *(best_of(scores, k, data == 'mixture') for k in numbers), strict=True
    )
    colour = _style.LOSSES[loss]
    axes.plot(numbers, means, 'o-', ms=3, color=colour, label=loss)
    axes.fill_between(numbers, lows, highs, color=colour, alpha=0.07, lw=0)
  axes.xaxis.set_major_locator(MaxNLocator(integer=True))
  axes.set_xlabel('best of k draws: mean, and 5 % to 95 %')


def table(data: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
  """The spread of each loss as Markdown."""
  lines = [
    '| loss | runs | diverged | median | quartiles | best | best of '
    f'{_FEW}, expected |',
    '|---' * 7 + '|',
  ]
  for loss, of_loss in runs.items():
    scores = [run['score'] for run in of_loss]
    more = data == 'mixture'
    form = '.3f' if more else '.0f'
    low, median, high = (
      format(v, form) for v in np.percentile(scores, (25, 50, 75))
    )
    best = max(scores) if more else min(scores)
    few, *_ = best_of(scores, min(_FEW, len(scores)), more)
    lines.append(
      f'| {loss} | {len(scores)} | {sum(run["diverged"] for run in of_loss)} '
      f'| {median} | {low} to {high} | {best:{form}} | {few:{form}} |'
    )
  return '\n'.join(lines)


def main() -> None:
  """Makes the runs that are missing, writes the picture, prints the tables."""
  parser = _output.size_parser(COSTS, __doc__)
  parser.add_argument(
    '--data', nargs='+', choices=_CONFIGS, default=[*_CONFIGS]
  )
  parser.add_argument('--losses', nargs='+', choices=LOSSES, default=[*LOSSES])
  arguments = parser.parse_args()
  found, titles = {}, {}
  for data in arguments.data:
    size = SIZES[arguments.size][data]
    name = f'sensitivity_{data}_{arguments.size}'
    plan = declaration.make_plan(
      declare(data, size, arguments.losses), name, str(_gan_runs.FOLDER / name)
    )
    found[data] = list_runs(plan, program.run(plan))
    titles[data] = (
      f'{data}, width {size.width}:\n'
      f'{size.runs} draws a loss, {size.num_steps:,} steps'
    )
  _gan_runs.write('sensitivity', arguments.size, draw(found, titles), found)
  for data, runs in found.items():
    print(table(data, runs))


if __name__ == '__main__':
  main()
