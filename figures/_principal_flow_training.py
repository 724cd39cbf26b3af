# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The figures of docs/principal_flow.md that come from training networks."""

import types
from typing import Any

from matplotlib.figure import Figure
import numpy as np

from figures import _style
from jaxline_harness import periodic
from jaxline_harness import train_loop
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import experiment

# Of the embedded Fashion-MNIST: the last 2,000 images are for testing.
NET = {'name': 'MLP', 'kwargs': {'hidden_sizes': [32, 32]}}
FULL_BATCH = {'num_train_examples': 1000, 'net': NET}
MINIBATCH = {
  'num_train_examples': 8000,
  'net': NET,
  'training': {'batch_size': 64},
}
EDGE_RATES = (0.02, 0.05, 0.1, 0.2)
FIXED_RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
POWERS = (1.0, 0.75, 0.5, 0.25)
BLUES = ('#9ecae1', '#6baed6', '#3182bd', '#08519c')
POWER_COLOURS = {
  'DAL-1': '#3f007d',
  'DAL-0.75': '#8c2d9e',
  'DAL-0.5': '#d4509a',
  'DAL-0.25': '#f0a0b8',
}
FIXED_COLOUR, FIXED_BAND = '#5f6368', '#e4e6e9'


def train(
  settings: dict[str, Any], num_steps: int, interval: int
) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, float]]:
  """Trains with these settings of the experiment.

  Args:
    settings: over `base_config`.
    num_steps: how many.
    interval: steps between two measurements.

  Returns:
    What the experiment's evaluation gives at the start; each log by its name,
    and 'step', one number a measurement; and the evaluation at the end.
  """
  config = base_config.get_base_config().unlock()
  config.training_steps = num_steps
  config.experiment_kwargs.config = settings
  config.experiment_kwargs.config.eval.interval = interval
  config = base_config.resolve(config)
  rows: list[dict[str, Any]] = []
  record = periodic.PeriodicAction(
    lambda step, logs: rows.append({'step': step} | logs), interval
  )
  model = experiment.Experiment('train', None, config.experiment_kwargs.config)
  model.ensure_train_state()
  start = model.evaluate(global_step=0, rng=None, writer=None)
  state = types.SimpleNamespace(global_step=0)
  train_loop.run_loop(model, config, state, [record])
  history = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  end = model.evaluate(global_step=num_steps, rng=None, writer=None)
  return start, history, end


# 3. The edge of stability.


def measure_edge_of_stability(quick: bool) -> list[dict[str, Any]]:
  """λ₀ and the loss of full-batch gradient descent, a row a rate."""
  num_steps, interval = (20, 10) if quick else (1000, 20)
  results = []
  for h in EDGE_RATES[-1:] if quick else EDGE_RATES:
    settings = FULL_BATCH | {
      'optimizer': {'lr': h},
      'eval': {'num_eigenvalues': 1, 'num_products': 20},
    }
    start, logs, end = train(settings, num_steps, interval)
    halves = np.array_split(h * logs['lambda_0'], 2)
    results.append(
      {
        'learning_rate': h,
        'two_over_h': 2 / h,
        'largest_h_lambda_0_after_the_start': float(h * logs['lambda_0'].max()),
        'median_h_lambda_0_of_both_halves': [
          float(np.median(half)) for half in halves
        ],
        'last_lambda_0': end['lambda_0'],
        'last_train_loss': end['train_loss'],
        'test_accuracy': end['test_accuracy'],
        'step': [0, *logs['step'].tolist()],
        **{
          name: [start[name], *logs[name].tolist()]
          for name in ('lambda_0', 'train_loss')
        },
      }
    )
  return results


def draw_edge_of_stability(results: list[dict[str, Any]]) -> Figure:
  """Draws λ₀ against 2/h, and the loss."""
  figure = _style.new_figure(
    4.4, 'Full-batch gradient descent on 1,000 images, by learning rate h'
  )
  curvatures, losses = figure.subplots(1, 2)
  colours = dict(zip(EDGE_RATES, BLUES, strict=True))
  for row in results:
    h = row['learning_rate']
    style = {'color': colours[h], 'label': f'h = {h}'}
    curvatures.semilogy(row['step'], row['lambda_0'], **style)
    curvatures.axhline(row['two_over_h'], color=colours[h], ls='--', lw=1)
    losses.semilogy(row['step'], row['train_loss'], **style)
  curvatures.plot([], [], 'k--', lw=1, label='2/h')
  curvatures.set(
    title='λ₀ stays near 2/h until the loss is small',
    xlabel='step',
    ylabel='λ₀, largest eigenvalue of the Hessian',
  )
  losses.set(
    title='The loss falls, with spikes where h is large',
    xlabel='step',
    ylabel='training loss',
  )
  _style.place_legend(figure, curvatures)
  return figure


# 4. Drift-adjusted learning rates.


def measure_dal(quick: bool) -> dict[str, Any]:
  """DAL-p and fixed learning rates, full batch and minibatches."""
  cases = {
    'full batch of 1,000': (FULL_BATCH, 20 if quick else 500),
    'minibatches of 64 out of 8,000': (MINIBATCH, 20 if quick else 1000),
  }
  fixed = {f'h = {h}': {'optimizer': {'lr': h}} for h in FIXED_RATES}
  adjusted = {f'DAL-{p:g}': {'dal': {'power': p}} for p in POWERS}
  methods = fixed | adjusted
  if quick:
    methods = {name: methods[name] for name in ('h = 0.5', 'DAL-1')}
  return {
    title: {
      name: _measure_method(settings | method, num_steps, 1 if quick else 3)
      for name, method in methods.items()
    }
    for title, (settings, num_steps) in cases.items()
  }


def _measure_method(settings, num_steps, num_seeds):
  """Trains with some seeds: medians over them by step, and each one's end."""
  evaluation = {'num_eigenvalues': 1, 'num_products': 15, 'num_examples': 250}
  _, histories, ends = zip(
    *(
      train(
        settings | {'random_seed': seed, 'eval': evaluation},
        *(num_steps, max(num_steps // 30, 1)),
      )
      for seed in range(num_seeds)
    ),
    strict=True,
  )
  loss, rate = (
    np.median([logs[name] for logs in histories], axis=0)
    for name in ('train_loss', 'learning_rate')
  )
  return {
    'learning_rate_quantiles': np.quantile(rate, (0.1, 0.5, 0.9)).tolist(),
    **{
      name: [end[name] for end in ends]
      for name in ('train_loss', 'test_loss', 'test_accuracy', 'lambda_0')
    },
    'median': {
      'step': histories[0]['step'].tolist(),
      'train_loss': loss.tolist(),
      'learning_rate': rate.tolist(),
    },
  }


def draw_dal(results: dict[str, Any]) -> Figure:
  """Draws DAL-p over a band of all fixed rates, a row a case."""
  figure = _style.new_figure(
    6.8,
    'With full batches DAL-0.75 and DAL-0.5 end below all fixed rates, '
    'with minibatches above the best',
  )
  for panels, (title, rows) in zip(
    figure.subplots(2, 3), results.items(), strict=True
  ):
    losses, rates, accuracies = panels
    fixed = {name: row for name, row in rows.items() if name.startswith('h')}
    _draw_curves(losses, 'train_loss', rows, fixed)
    _draw_curves(rates, 'learning_rate', rows, fixed)
    _draw_accuracies(accuracies, rows, fixed)
    losses.set(title=title, xlabel='step', ylabel='training loss')
    rates.set(xlabel='step', ylabel='learning rate')
    accuracies.set(ylabel='test accuracy, a dot a seed')
  _style.place_legend(figure, losses, ncols=6)
  return figure


def _best_of(fixed):
  """The name of the fixed rate with the lowest loss at the end."""
  return min(fixed, key=lambda name: np.median(fixed[name]['train_loss']))


def _draw_curves(axes, quantity, rows, fixed):
  """Lines of DAL-p and of the best fixed rate, over a band of these."""
  curves = {name: row['median'][quantity] for name, row in rows.items()}
  step = next(iter(rows.values()))['median']['step']
  band = np.array([curves[name] for name in fixed])
  axes.fill_between(
    *(step, band.min(axis=0), band.max(axis=0)),
    color=FIXED_BAND,
    lw=0,
    label=f'fixed rates, {min(fixed)} to {max(fixed)}',
  )
  axes.semilogy(
    *(step, curves[_best_of(fixed)]),
    color=FIXED_COLOUR,
    label='the best',
  )
  for name, colour in POWER_COLOURS.items():
    if name in curves:
      axes.semilogy(step, curves[name], color=colour, label=name)


def _draw_accuracies(axes, rows, fixed):
  """Dots of DAL-p and of the best fixed rate, over a band of these."""
  every = np.concatenate([row['test_accuracy'] for row in fixed.values()])
  axes.axhspan(every.min(), every.max(), color=FIXED_BAND, lw=0)
  best = _best_of(fixed)
  for name, colour in ({best: FIXED_COLOUR} | POWER_COLOURS).items():
    if name in rows:
      accuracies = rows[name]['test_accuracy']
      label = f'the best,\n{name}' if name == best else name
      axes.plot(len(accuracies) * [label], accuracies, 'o', color=colour)
  axes.tick_params('x', rotation=30)
