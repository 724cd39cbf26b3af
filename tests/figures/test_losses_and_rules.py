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
"""Tests of the figure of losses and rules."""

import jax
from matplotlib.backends import backend_agg
import numpy as np
import pytest

from dd_two_player_games import data_utils
from dd_two_player_games import experiment
from dd_two_player_games import losses as gan_losses
from dd_two_player_games import training
from figures import _gan_runs
from figures import losses_and_rules
from figures import mixture
from jaxline_harness import errors

QUICK = losses_and_rules.SIZES['quick']


def _settings(loss, rule):
  overrides = losses_and_rules.overrides_of(QUICK, loss, rule)
  config = _gan_runs.load_config(mixture.CONFIG, overrides)
  return config.experiment_kwargs.config


def test_cells_are_what_they_say():
  """Every loss and every rule, of which the configs are all different."""
  by_rule = {
    rule: _settings('saturating', rule) for rule in losses_and_rules.RULES
  }
  rules = {
    name: training.update_rule(config.training)
    for name, config in by_rule.items()
  }
  assert rules == {
    'simultaneous': 'simultaneous',
    'drift cancelled': 'simultaneous',
    'alternating': 'alternating',
    'Runge-Kutta 4': 'runge_kutta',
    'SGA': 'simultaneous',
    'extragradient': 'extragradient',
  }
  assert by_rule['SGA'].training.adjustment == 'sga'
  by_loss = {
    loss: _settings(loss, 'simultaneous') for loss in losses_and_rules.LOSSES
  }
  texts = {c.to_json() for c in (*by_rule.values(), *by_loss.values())}
  assert len(texts) == len(by_rule) + len(by_loss) - 1
  zero_sum = {
    name
    for name, config in by_loss.items()
    if gan_losses.are_zero_sum(
      *(
        getattr(gan_losses, config.losses[player])
        for player in ('discriminator', 'generator')
      )
    )
  }
  assert not zero_sum & {'non-saturating', 'hinge', 'least squares'}
  assert zero_sum >= {name for name in by_loss if name.startswith('f-GAN')}
  # Runge-Kutta's stages step both players by one rate.
  for config in by_rule.values():
    for optimizer in config.optimizers.values():
      assert (optimizer.name, optimizer.lr) == ('sgd', 0.05)


@pytest.mark.slow
def test_a_cell_trains_what_single_runs_train():
  config = _settings('non-saturating', 'simultaneous')
  num_steps = 3
  largest, samples = losses_and_rules.train(config, num_steps, 2, 2)
  assert largest.shape == (2, 2)
  assert samples.shape == (2, 2, mixture.NUM_SAMPLES, 2)
  alone = config.copy_and_resolve_references()
  alone.random_seed = 1
  for player in ('discriminator', 'generator'):
    alone.optimizers[player].lr *= losses_and_rules.RATE_FACTOR
  made = experiment.Experiment('train', None, alone)
  state, data = made.initial_train_state(), made.device_data()
  update = jax.jit(
    jax.vmap(made.update, axis_name='i', axis_size=1, in_axes=None)
  )
  biggest = 0.0
  for _ in range(num_steps):
    state, logs = jax.tree.map(lambda leaf: leaf[0], update(state, data))
    found = (abs(float(v)) for k, v in logs.items() if k.endswith('loss'))
    biggest = max(biggest, *found)
  expected, _ = training.build_gan(alone).sample(
    state.params.gen,
    state.state.players.gen,
    jax.random.key(0),
    mixture.NUM_SAMPLES,
    {'is_training': False},
  )
  # float32 sums in another order.
  np.testing.assert_allclose(samples[1, 1], expected, rtol=1e-4, atol=1e-5)
  assert largest[1, 1] == pytest.approx(biggest, rel=1e-4)
  assert not np.allclose(samples[0, 1], expected, atol=1e-4)
  assert not np.allclose(samples[1, 0], expected, atol=1e-4)


def test_what_has_diverged_covers_nothing():
  points = data_utils.mixture_of_gaussians(5000, seed=0).examples
  broken = np.where(np.arange(5000)[:, None] == 7, np.nan, points)
  samples = np.stack([[points, broken], [points, points]])
  largest = np.array([[1.0, 1.0], [2e6, np.nan]])
  cell = losses_and_rules.measure([0.05, 0.02], largest, samples, 1.0)
  assert cell.diverged == [[False, True], [True, True]]
  assert cell.covered == [[16, 0], [0, 0]]
  assert cell.quality[0][0] == pytest.approx(0.99, abs=0.01)
  assert cell.quality[1] == [0, 0]
  assert losses_and_rules.summarise(cell) == {
    'modes covered, best rate': 8,
    'high quality, best rate': pytest.approx(0.495, abs=0.01),
    'modes covered, median of all': 0,
    'diverged, of all': 0.75,
  }


def test_the_best_rate_has_most_modes_then_the_best_samples():
  cell = losses_and_rules.Cell(
    [0.05, 0.02, 0.008],
    [[1, 9], [8, 2], [3, 3]],
    [[0.2, 0.2], [0.1, 0.5], [1.0, 1.0]],
    [[False, False]] * 3,
    1.0,
  )
  assert cell.best == 1


@pytest.mark.slow
def test_a_cell_is_kept_and_drawn(tmp_path, monkeypatch):
  path = tmp_path / 'cells.json'
  names = ('hinge', 'simultaneous')
  cell = losses_and_rules.make_cell(QUICK, *names, path)
  assert np.shape(cell.covered) == (2, 2)
  monkeypatch.setattr(losses_and_rules, 'train', None)  # Not again.
  assert losses_and_rules.make_cell(QUICK, *names, path) == cell
  with pytest.raises(errors.UserError, match='of other settings: remove it'):
    losses_and_rules.make_cell(QUICK._replace(num_steps=3), *names, path)
  cells = {'hinge': {'simultaneous': cell}}
  row = losses_and_rules.table(cells).splitlines()[-1]
  assert row.startswith(f'| hinge | {np.mean(cell.covered[cell.best]):.1f}, ')
  assert row.endswith(', 0% | – | – | – | – | – |')
  canvas = backend_agg.FigureCanvasAgg(losses_and_rules.draw(cells, 'quick'))
  canvas.draw()
  assert np.asarray(canvas.buffer_rgba())[..., :3].std() > 0
