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
BLUES = ('#c6dbef', '#9ecae1', '#6baed6', '#3182bd', '#08519c', '#08204d')
REDS = ('#7f0000', '#d1495b', '#f28e2b', '#edae49')


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


def edge_of_stability(quick: bool) -> tuple[Figure, Any]:
  """λ₀ against 2/h, and the loss, of full-batch gradient descent."""
  num_steps, interval = (20, 10) if quick else (1000, 20)
  figure = Figure(figsize=(10.4, 4.2), dpi=140, layout='constrained')
  left, right = figure.subplots(1, 2)
  results = []
  colours = dict(zip(EDGE_RATES, BLUES[1:5], strict=True))
  for h in EDGE_RATES[-1:] if quick else EDGE_RATES:
    settings = FULL_BATCH | {
      'optimizer': {'lr': h},
      'eval': {'num_eigenvalues': 1, 'num_products': 20},
    }
    start, logs, end = train(settings, num_steps, interval)
    step = [0, *logs['step'].tolist()]
    curves = {
      name: [start[name], *logs[name].tolist()]
      for name in ('lambda_0', 'train_loss')
    }
    style = {'color': colours[h], 'label': f'h = {h}'}
    left.semilogy(step, curves['lambda_0'], **style)
    left.axhline(2 / h, color=colours[h], ls='--', lw=1)
    right.semilogy(step, curves['train_loss'], **style)
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
        'step': step,
        **curves,
      }
    )
  left.plot([], [], 'k--', lw=1, label='2/h')
  left.set(xlabel='step', ylabel='λ₀, largest eigenvalue of the Hessian')
  right.set(xlabel='step', ylabel='training loss')
  _finish(figure, [left, right], left, 5)
  return figure, results


# 4. Drift-adjusted learning rates.


def dal(quick: bool) -> tuple[Figure, Any]:
  """DAL-p against fixed learning rates, full batch and minibatches."""
  cases = {
    'full batch of 1,000': (FULL_BATCH, 20 if quick else 500),
    'minibatches of 64 out of 8,000': (MINIBATCH, 20 if quick else 1000),
  }
  fixed = {f'h = {h}': {'optimizer': {'lr': h}} for h in FIXED_RATES}
  adjusted = {f'DAL-{p:g}': {'dal': {'power': p}} for p in POWERS}
  methods = fixed | adjusted
  colours = dict(zip(methods, BLUES + REDS, strict=True))
  if quick:
    methods = {name: methods[name] for name in ('h = 0.5', 'DAL-1')}
  figure = Figure(figsize=(13.2, 7.6), dpi=140, layout='constrained')
  results: dict[str, Any] = {}
  for panels, (title, (settings, num_steps)) in zip(
    figure.subplots(2, 3), cases.items(), strict=True
  ):
    results[title] = {
      name: _draw_method(
        *(panels, name, colours[name], settings | method),
        *(num_steps, 1 if quick else 3),
      )
      for name, method in methods.items()
    }
    losses, rates, accuracies = panels
    losses.set(title=title, xlabel='step', ylabel='training loss')
    rates.set(xlabel='step', ylabel='learning rate')
    accuracies.set_ylabel('test accuracy of each seed')
    accuracies.tick_params('x', rotation=45)
  _finish(figure, figure.axes, figure.axes[0], 5)
  return figure, results


def _draw_method(panels, name, colour, settings, num_steps, num_seeds):
  """Trains with some seeds and draws medians; returns a row of the table."""
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
  losses, rates, accuracies = panels
  step = histories[0]['step']
  loss = np.median([logs['train_loss'] for logs in histories], axis=0)
  rate = np.median([logs['learning_rate'] for logs in histories], axis=0)
  losses.semilogy(step, loss, color=colour, label=name)
  rates.semilogy(step, rate, color=colour)
  spread = {
    key: [end[key] for end in ends]
    for key in ('train_loss', 'test_loss', 'test_accuracy', 'lambda_0')
  }
  accuracies.plot(
    num_seeds * [name], spread['test_accuracy'], 'o', color=colour
  )
  quantiles = np.quantile(rate, (0.1, 0.5, 0.9))
  return {'learning_rate_quantiles': quantiles.tolist()} | spread


def _finish(figure, panels, with_labels, ncols):
  """One legend for all panels, below them."""
  for axes in panels:
    axes.spines[['top', 'right']].set_visible(False)
  figure.legend(
    *with_labels.get_legend_handles_labels(),
    loc='outside lower center',
    ncols=ncols,
    frameon=False,
  )
