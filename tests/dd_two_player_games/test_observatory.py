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
"""Tests for what a run shows of its dynamics, and of itself, as it trains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import gan
from dd_two_player_games import observatory
from dd_two_player_games import training
from differentiable_games import diagnostics
from differentiable_games import dynamics
from jaxline_harness import errors
from tests.dd_two_player_games import small_experiments

SIMULTANEOUS = small_experiments.SIMULTANEOUS
NO_TRANSFORM = {'discriminator': None, 'generator': None}
OBSERVED = {'dynamics': {'every': 2, 'drift_every': 1, 'spectrum_every': 2}}


def made_after_two_steps(settings=None, **kwargs):
  config = small_experiments.points_config(
    SIMULTANEOUS | OBSERVED | (settings or {}),
    param_transformers=NO_TRANSFORM,
    **kwargs,
  )
  made = small_experiments.make(config)
  small_experiments.train(made, 2)
  return made


@pytest.fixture(scope='module')
def plain():
  return made_after_two_steps()


def _replaced(params, i, own):
  return gan.GANTuple(*(own if j == i else params[j] for j in range(2)))


def observe(made):
  measure = {series: f for series, _, f in made.observations()}
  return {k: float(v) for k, v in measure['dynamics'](2, None).items()}


def whole_game(made):
  """The mean loss of all devices' draws, and the parameters."""
  state = made.snapshot_state()['train_state']
  model = training.build_gan(made._config).as_game()
  memory = gan.memory_of(state.state)

  @functools.partial(jax.vmap, axis_name='i', axis_size=jax.device_count())
  def draw_everywhere():
    return made._draws(state, made.device_data())(0)

  draws = draw_everywhere()

  def losses(params):
    each = jax.vmap(lambda draw: model.joint_losses(params, memory, draw)[0])
    return jax.tree.map(jnp.mean, each(draws))

  return losses, state.params


@pytest.mark.slow
def test_it_is_the_game_of_one_draw_of_all_devices(plain):
  observed = observe(plain)
  losses, params = whole_game(plain)
  described = jax.jit(
    lambda p: dynamics.describe_terms(
      *dynamics.gradient_and_terms(losses, p),
      ('disc', 'gen'),
      [(0.0, 0.0, 0.0)] * 2,
    )
  )(params)
  for name, value in described.items():
    # The same sums in single precision, in another order.
    np.testing.assert_allclose(
      observed[name], value, rtol=2e-3, atol=1e-5, err_msg=name
    )
  assert 0 < observed['sample_spread'] < 10


@pytest.mark.slow
def test_updates_are_those_of_the_next_step(plain):
  observed = observe(plain)
  before = plain.snapshot_state()['train_state'].params
  _, after = plain.look_ahead()
  again = plain.snapshot_state()['train_state'].params
  jax.tree.map(np.testing.assert_array_equal, before, again)
  for name in ('disc', 'gen'):
    moved = jax.tree.map(
      np.subtract, getattr(after.params, name), getattr(before, name)
    )
    squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(moved))
    assert observed[f'{name}/update_norm'] == pytest.approx(squares**0.5)


@pytest.mark.slow
def test_cancelled_training_shows_no_interaction():
  # Linear players: part of a ReLU network's curvature lies in its kinks, which
  # no product sees.
  nets = {
    'discriminator': 'SimpleMLP',
    'disc_kwargs': {'depth': 0},
    'generator': 'SimpleMLP',
    'gen_kwargs': {'depth': 0, 'out_dim': 2},
  }
  drifts = observe(made_after_two_steps(nets=nets))
  cancelled = observe(made_after_two_steps(small_experiments.CANCEL, nets=nets))
  for player in ('disc', 'gen'):
    name = f'{player}/other_dot_prod/drift'
    assert abs(cancelled[name]) < 0.2 * abs(drifts[name])
  assert cancelled['gen/other_dot_prod/share'] > 0
  assert drifts['gen/other_dot_prod/share'] == 0
  assert drifts['e_modified'] < 0.2 * drifts['e_flow']


@pytest.mark.slow
def test_spectrum_is_that_of_the_dense_jacobian(plain):
  measure = {series: f for series, _, f in plain.observations()}
  found = measure['spectrum'](2, None)
  joint, params = whole_game(plain)
  losses = [lambda p, i=i: joint(p)[i] for i in range(2)]
  exact = diagnostics.spectrum(losses, params)
  leading = exact[np.argmax(np.abs(exact))]
  assert found['eigenvalue_1/real'] == pytest.approx(leading.real, rel=1e-2)
  assert found['largest_real'] == pytest.approx(exact.real.max(), rel=1e-2)
  assert found['smallest_real'] == pytest.approx(exact.real.min(), rel=0.1)
  # The way from the initial parameters, and the gradient at its end.
  initial = jax.device_get(plain.initial_train_state().params)
  way = jax.tree.map(np.subtract, params, initial)
  gradient = [
    jax.grad(lambda own, i=i: losses[i](_replaced(params, i, own)))(params[i])
    for i in range(2)
  ]
  cosine = dynamics.cosine(gan.GANTuple(*gradient), way)
  assert found['path_cosine/1.0'] == pytest.approx(float(cosine), abs=1e-3)
  assert found['path_cosine/0.0'] < 0  # Descent began against the gradient.


@pytest.mark.parametrize(
  ('optimizer', 'settings', 'has_step', 'has_modified'),
  [
    ({}, {}, True, True),
    ({}, {'simultaneous_updates': False}, True, True),
    ({}, {'adjustment': 'consensus'}, True, False),
    ({}, {'update_rule': 'extragradient'}, True, False),
    ({}, {'update_rule': 'runge_kutta'}, True, False),
    ({}, {'update_rule': 'extrapolation_from_the_past'}, False, False),
    ({}, {'lookahead_periods': [5]}, False, True),
    ({'name': 'adam'}, {}, False, True),
    ({'name': 'sgd', 'kwargs': {'momentum': 0.5}}, {}, False, True),
    ({'clip': 0.1}, {}, False, True),
  ],
)
def test_what_has_no_flow_has_no_distance(
  optimizer, settings, has_step, has_modified
):
  if 'adjustment' in settings:
    settings = settings | {'adjustment_kwargs': {'gamma': 1.0}}
  rule = {} if 'update_rule' in settings else SIMULTANEOUS
  config = small_experiments.points_config(rule | settings, optimizer)
  assert observatory.has_plain_step(config) == has_step
  assert observatory.has_modified_flow(config.training) == has_modified


def test_stages_at_two_rates_have_no_flow():
  config = small_experiments.points_config({'update_rule': 'runge_kutta'})
  assert observatory.has_plain_step(config)
  config.optimizers.generator.lr = 0.04
  assert not observatory.has_plain_step(config)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('settings', 'present'),
  [
    (
      {'adjustment': 'competitive'},
      {'e_flow': True, 'e_modified': False, 'disc/self_norm/share': False},
    ),
    (
      {'update_rule': 'extragradient', 'simultaneous_updates': False},
      {'e_flow': True, 'e_modified': False, 'disc/self_norm/share': True},
    ),
    (
      {'unrolled_steps': 1},
      {'e_flow': False, 'disc/self_norm/share': False},
    ),
  ],
)
def test_what_is_not_known_is_absent(settings, present):
  observed = observe(made_after_two_steps(settings))
  assert {name: name in observed for name in present} == present
  assert all(map(np.isfinite, observed.values()))


# Divergence.


def _warnings(caplog):
  return [r.message for r in caplog.records if r.levelname == 'WARNING']


def test_a_loss_beyond_any_sense_is_told_once(plain, caplog):
  for _ in range(2):
    plain.measure({'disc_loss': np.float32(1e28), 'disc/sv': np.float32(1e9)})
  (line,) = [m for m in _warnings(caplog) if 'diverged' in m]
  assert 'step 2: training has diverged: disc_loss is 1e+28' in line


def test_divergence_ends_a_run_that_says_so():
  made = made_after_two_steps({'on_divergence': 'stop'})
  made.measure({'disc_loss': np.float32(1e3)})
  with pytest.raises(errors.TrainingError, match='step 2: .*gen_loss is -1e'):
    made.measure({'disc_loss': np.float32(0), 'gen_loss': np.float32(-1e7)})


def test_lost_modes_and_constant_samples_are_divergence(plain, monkeypatch):
  monkeypatch.setitem(plain._config.training, 'on_divergence', 'stop')
  modes = iter([3.0, 16.0, 8.0, 7.0])
  monkeypatch.setattr(
    plain, 'evaluate', lambda **_: {'modes_covered': next(modes)}
  )
  for _ in range(3):
    plain._evaluate_in_training(2, None)
  with pytest.raises(errors.TrainingError, match='7 modes are left of 16'):
    plain._evaluate_in_training(2, None)
  monkeypatch.setattr(
    plain, 'run_on_devices', lambda *_: {'sample_spread': np.float32(1e-5)}
  )
  with pytest.raises(errors.TrainingError, match='one and the same sample'):
    plain._observe(2, None)
