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
"""The GAN experiment in process: update rules, devices, evaluation.

The session has four devices. Each chunk of steps compiles a program, so that
networks are tiny and what has been trained once is shared. What must be equal
to the last bit is in test_restarts.py, compiled as its users' programs are.
"""

import functools
import json

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
from PIL import Image
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import experiment
from dd_two_player_games import gan
from dd_two_player_games import model_utils
from dd_two_player_games import training
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import optimizers
from jaxline_harness import run_directory
from tests.dd_two_player_games import small_experiments

DEVICES = 4
TURNS = {'simultaneous_updates': False}
SIMULTANEOUS = small_experiments.SIMULTANEOUS
NO_TRANSFORM = {'discriminator': None, 'generator': None}
CANCEL = small_experiments.CANCEL


runge_kutta = small_experiments.runge_kutta


_made = {}


@pytest.fixture(autouse=True, scope='module')
def _experiments_are_dropped():
  yield
  _made.clear()


def at_its_start(config):
  """The experiment of a config, compiled for the first test that asks."""
  name = config.to_json()
  if name not in _made:
    made = small_experiments.make(config)
    made.ensure_train_state()
    _made[name] = made, made.snapshot_state()
  made, start = _made[name]
  made.restore_from_snapshot(start)
  return made


def trained_points(steps, training=None, optimizer=None, **settings):
  """(state, logs) after so many steps, without singular values: they cost."""
  config = small_experiments.points_config(
    training, optimizer, param_transformers=NO_TRANSFORM, **settings
  )
  made = at_its_start(config)
  logs = small_experiments.train(made, steps)
  return made.snapshot_state()['train_state'], logs


def assert_equal(tree1, tree2):
  jax.tree.map(np.testing.assert_array_equal, tree1, tree2)


def assert_close(tree1, tree2, rtol=2e-5, atol=1e-6):
  # The same sums in float32, but compiled into other programs.
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    tree1,
    tree2,
  )


def differs(tree1, tree2):
  """Whether each leaf changed by more than rounding."""
  return all(
    np.abs(a - b).max() > 1e-5
    for a, b in zip(jax.tree.leaves(tree1), jax.tree.leaves(tree2), strict=True)
  )


# Update rules.

RULES = small_experiments.RULES
# Of each kind one: what rules do is tested without networks, too.
TRAINED_RULES = (
  'simultaneous',
  'gen_first',
  'several_updates',
  'runge_kutta_4',
)
DRAWS = {
  'simultaneous': 2,
  'disc_first': 2,
  'gen_first': 2,
  'several_updates': 5,
  'runge_kutta_1': 2,
  'runge_kutta_2': 4,
  'runge_kutta_4': 8,
}


def _not_finite(training, change=None, **settings):
  """The line with which a training of five steps ends."""
  config = small_experiments.points_config(training, **settings)
  config.unlock()
  if change:
    change(config)
  with pytest.raises(errors.NonFiniteError) as error:
    small_experiments.train(small_experiments.make(config), 5)
  return str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('training', 'kind', 'line'),
  [
    (
      SIMULTANEOUS,
      'explicit_non_dd_coeffs',
      'step 1: not finite: other_norm term of gen, params/gen/',
    ),
    (
      SIMULTANEOUS | {'estimator_fn': 'unbiased_estimate_fn_shared_draws'},
      'explicit_non_dd_coeffs',
      'step 1: not finite: other_norm term of gen, params/gen/',
    ),
    # What the second update meets is NaN already.
    (
      {'num_gen_updates': 2},
      'explicit_non_dd_coeffs',
      'step 1: not finite: other_norm term of gen, gen_loss (2), gradient of '
      'gen_loss (2), other_norm term of gen (2), ',
    ),
    (
      runge_kutta(2),
      'rk_after_explicit_coeffs',
      'step 1: not finite: other_norm term of gen (after), params/gen/',
    ),
  ],
)
def test_term_that_is_not_finite_is_named(training, kind, line):
  def change(config):
    terms = config.training.grad_regularizes[kind]
    terms.gen.other_norm = float('inf')

  found = _not_finite(training, change, param_transformers=NO_TRANSFORM)
  assert found.startswith(line)


@pytest.mark.slow
def test_loss_that_is_not_finite_is_named():
  def change(config):
    config.optimizers.discriminator.lr = 1e30

  line = _not_finite(SIMULTANEOUS, change)
  assert line.startswith(
    'step 2: not finite: disc_loss, gen_loss, gradient of gen_loss, params/'
  )


@pytest.mark.slow
def test_back_off_makes_all_learning_rates_smaller():
  """The drift's coefficients and a Runge-Kutta rule's inner steps, too.

  They stay smaller when the run goes on with 'stop'.
  """
  for settings, on_nonfinite, max_back_offs in (
    (SIMULTANEOUS | CANCEL, 'back_off', 3),
    (runge_kutta(2), 'stop', 0),
  ):
    backing_off = settings | {
      'on_nonfinite': on_nonfinite,
      'back_off_factor': 0.25,
    }
    made = small_experiments.make(
      small_experiments.points_config(
        backing_off, param_transformers=NO_TRANSFORM
      )
    )
    assert made.max_back_offs == max_back_offs
    made.ensure_train_state()
    start = made.snapshot_state()['train_state']
    small_experiments.train(made, 3)
    plain = made.snapshot_state()['train_state']
    made.restore_from_snapshot(
      {'train_state': start._replace(back_offs=np.int32(2))}
    )
    small_experiments.train(made, 3)
    end = made.snapshot_state()['train_state']
    expected, _ = trained_points(3, settings, {'lr': 0.05 / 16})
    assert_close(end.params, expected.params)
    assert differs(end.params, plain.params)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('name', TRAINED_RULES)
def test_update_rule(name):
  made = small_experiments.make(small_experiments.points_config(RULES[name]))
  made.ensure_train_state()
  before = made.snapshot_state()['train_state']
  logs = small_experiments.train(made, 5)
  after = made.snapshot_state()['train_state']
  assert int(after.global_step) == 5
  assert differs(before.params, after.params)
  for leaf in jax.tree.leaves((after, logs)):
    assert np.isfinite(leaf).all()
  assert {'disc_loss', 'gen_loss'} < logs.keys()
  # The saturating loss is minus the discriminator's on samples; at the start
  # the discriminator's loss is about 2 log 2.
  assert logs['gen_loss'] < 0
  assert abs(logs['disc_loss'] - 2 * np.log(2)) < 1
  singular = [key for key in logs if key.endswith('/sv')]
  assert len(singular) == 2  # One a weight matrix: biases have none.
  assert all(key.startswith('sn_params_tree/') for key in singular)


@pytest.mark.parametrize('name', RULES)
def test_draws_of_a_step(name):
  config = small_experiments.points_config(RULES[name])
  trainer = training.Trainer(config, training.build_gan(config))
  assert trainer.num_draws == DRAWS[name]


@pytest.fixture(scope='module')
def plain_simultaneous():
  return trained_points(3, SIMULTANEOUS)


@pytest.fixture(scope='module')
def plain_disc_first():
  return trained_points(1, TURNS)


@pytest.mark.slow
def test_runge_kutta_1_is_gradient_descent(plain_simultaneous):
  state, logs = trained_points(3, runge_kutta(1))
  assert_close(state, plain_simultaneous[0])
  assert_close(logs, plain_simultaneous[1])


@pytest.mark.slow
def test_runge_kutta_orders_differ(plain_simultaneous):
  state, _ = trained_points(3, runge_kutta(4))
  assert differs(state.params, plain_simultaneous[0].params)


@pytest.mark.slow
def test_first_player_moves_as_if_at_once(plain_disc_first):
  """And the second one does not: it sees what the first has become."""
  at_once, _ = trained_points(1, SIMULTANEOUS)
  in_turns, _ = plain_disc_first
  assert_close(in_turns.params.disc, at_once.params.disc)
  assert differs(in_turns.params.gen, at_once.params.gen)


@pytest.mark.slow
def test_second_player_moves_first_when_asked(plain_disc_first):
  state, _ = trained_points(1, {'alternating_player_order': 'gen_first'})
  assert differs(state.params.gen, plain_disc_first[0].params.gen)
  assert differs(state.params.disc, plain_disc_first[0].params.disc)


@pytest.mark.slow
def test_regularisers_after_runge_kutta_are_those_inside_at_order_1():
  """Both at the first stage's params and draw."""
  inside = base_config.combine(base_config.consensus(0.3))
  after = runge_kutta(1, self_norm=0.3, other_norm=0.3)
  state_after, _ = trained_points(3, after)
  state_inside, _ = trained_points(
    3, runge_kutta(1) | {'grad_regularizes': inside}
  )
  plain, _ = trained_points(3, runge_kutta(1))
  assert_close(state_after, state_inside)
  assert differs(state_after.params.disc, plain.params.disc)


@pytest.mark.slow
def test_explicit_coefficients_are_multiples_of_the_drift():
  """Simultaneous: a multiplier of 1 is an explicit coefficient of lr / 2."""
  multiplied, _ = trained_points(
    3,
    SIMULTANEOUS | {'grad_regularizes': base_config.strengthen_self_terms()},
  )
  explicit = base_config.no_regularizers()
  for terms in explicit['explicit_non_dd_coeffs'].values():
    terms['self_norm'] = 0.025
  given, _ = trained_points(3, SIMULTANEOUS | {'grad_regularizes': explicit})
  assert_close(multiplied, given)


@pytest.mark.slow
def test_each_player_updates_as_often_as_asked():
  state, _ = trained_points(
    4,
    {'num_disc_updates': 2, 'num_gen_updates': 3},
    {'name': 'adam'},
  )
  counts = [
    [
      int(leaf)
      for leaf in jax.tree.leaves(player)
      if leaf.dtype == np.int32 and leaf.ndim == 0
    ]
    for player in state.opt_state
  ]
  assert set(counts[0]) == {8}
  assert set(counts[1]) == {12}


@pytest.mark.slow
def test_schedule_counts_a_players_updates():
  """A rate that becomes 0 after four updates: two steps of two updates."""
  optimizer = {
    'scheduler': 'piecewise_constant_schedule',
    'scheduler_kwargs': {'boundaries_and_scales': {'4': 0.0}},
  }
  made = small_experiments.make(
    small_experiments.points_config(
      {'num_disc_updates': 2, 'num_gen_updates': 2}, optimizer
    )
  )
  states = []
  for step in (1, 2, 5):
    small_experiments.train(made, step)
    states.append(made.snapshot_state()['train_state'].params)
  assert differs(states[0], states[1])
  jax.tree.map(np.testing.assert_array_equal, states[1], states[2])


# The regularisers' coefficients.


def coefficients(config, step):
  schedules = gan.GANTuple(
    *(
      optimizers.make_optimizer(**config.optimizers[player])[1]
      for player in ('discriminator', 'generator')
    )
  )
  rates = training.learning_rates(config.training, schedules, step)
  return training.regularizer_coefficients(config.training, rates)


def terms(self_norm, other_dot_prod, other_norm):
  return drift_utils.PlayerRegularizationTerms(
    self_norm=self_norm, other_dot_prod=other_dot_prod, other_norm=other_norm
  )


def unequal_rates(training, **settings):
  config = small_experiments.points_config(training)
  config.optimizers.discriminator.lr = 0.1
  config.optimizers.generator.lr = 0.3
  with config.unlocked():
    for optimizer in config.optimizers.values():
      optimizer.update(settings)
  return config


REGULARIZERS = {
  'dd_coeffs_multiplier': {
    'disc': {'self_norm': 2.0, 'other_dot_prod': -1.0, 'other_norm': 0.0},
    'gen': {'self_norm': 0.0, 'other_dot_prod': 1.0, 'other_norm': 1.0},
  },
  'explicit_non_dd_coeffs': {
    'disc': {'self_norm': 0.0, 'other_dot_prod': 0.5, 'other_norm': 0.25},
    'gen': {'self_norm': 0.0, 'other_dot_prod': 0.0, 'other_norm': 4.0},
  },
}


@pytest.mark.parametrize(
  ('training', 'disc', 'gen'),
  [
    # Multiplier times lr / 2, plus the explicit coefficient.
    (SIMULTANEOUS, (0.1, 0.45, 0.25), (0.0, 0.15, 4.0)),
    # The second player's drift: -(lr_s / 2) (2 lr_f / lr_s - 1).
    ({}, (0.1, 0.45, 0.25), (0.0, 0.05, 4.0)),
    (
      {'alternating_player_order': 'gen_first'},
      (0.1, 0.75, 0.25),
      (0.0, 0.15, 4.0),
    ),
    # n_d = 2, n_g = 3: of the disc 2 lr / (2 n), half its lr.
    (
      {'num_disc_updates': 2, 'num_gen_updates': 3},
      (0.05, 0.45, 0.25),
      (0.0, 0.05, 4.0),
    ),
    # Common time: half of what the other moves in a step.
    (
      SIMULTANEOUS | {'drift_convention': 'joint_flow'},
      (0.1, 0.35, 0.25),
      (0.0, 0.05, 4.0),
    ),
    (
      {
        'num_disc_updates': 2,
        'num_gen_updates': 3,
        'drift_convention': 'joint_flow',
      },
      (0.1, 0.05, 0.25),
      (0.0, -0.1, 4.0),
    ),
  ],
)
def test_coefficients(training, disc, gen):
  config = unequal_rates(training | {'grad_regularizes': REGULARIZERS})
  found = coefficients(config, jnp.zeros((), jnp.int32))
  assert_close(found, gan.GANTuple(terms(*disc), terms(*gen)))


def test_terms_of_no_weight_stay_python_zeros():
  config = unequal_rates(
    SIMULTANEOUS | {'grad_regularizes': base_config.consensus(0.5)}
  )
  found = jax.eval_shape(
    lambda step: jnp.zeros(
      [
        isinstance(value, float) and value == 0.0
        for value in jax.tree.leaves(coefficients(config, step))
      ].count(True)
    ),
    jnp.zeros((), jnp.int32),
  )
  assert found.shape == (2,)  # Of the interaction term, of both players.


def test_coefficients_follow_a_schedule():
  config = unequal_rates(
    {
      'num_disc_updates': 2,
      'grad_regularizes': base_config.cancel_interaction_terms(),
    },
    scheduler='piecewise_constant_schedule',
    scheduler_kwargs={'boundaries_and_scales': {'10': 0.5}},
  )
  found = functools.partial(coefficients, config)
  # The discriminator reaches its tenth update at step 5, the generator later.
  for step, (lr_disc, lr_gen) in {
    0: (0.1, 0.3),
    6: (0.05, 0.3),
    11: (0.05, 0.15),
  }.items():
    values = found(jnp.asarray(step, jnp.int32))
    np.testing.assert_allclose(
      values.disc.other_dot_prod, -lr_disc / 2, rtol=1e-6
    )
    np.testing.assert_allclose(
      values.gen.other_dot_prod, lr_disc - lr_gen / 2, rtol=1e-6
    )


@pytest.mark.slow
def test_seed_decides_everything():
  one, _ = trained_points(2, SIMULTANEOUS)
  _made.clear()
  again, _ = trained_points(2, SIMULTANEOUS)
  other, _ = trained_points(2, SIMULTANEOUS, random_seed=1)
  jax.tree.map(np.testing.assert_array_equal, one, again)
  weights = [leaf for leaf in jax.tree.leaves(one.params) if leaf.ndim == 2]
  others = [leaf for leaf in jax.tree.leaves(other.params) if leaf.ndim == 2]
  assert differs(weights, others)


# Devices.


@pytest.fixture(scope='module')
def images_experiment():
  """The DCGAN after a few steps."""
  made = small_experiments.make(small_experiments.images_config())
  small_experiments.train(made, 3)
  return made


@pytest.mark.slow
def test_devices_keep_equal_states(images_experiment):
  """Also batch norm's statistics, and spectral norm's vectors."""
  state = images_experiment.train_state
  small_experiments.assert_devices_agree(state)
  assert any('batch_norm' in module for module in state.state.players.gen)
  assert state.state.param_transforms.disc


@pytest.mark.slow
def test_devices_keep_equal_params_when_their_regularisers_differ():
  training = SIMULTANEOUS | CANCEL | {'estimator_fn': 'biased_estimate_grad_fn'}
  made = small_experiments.make(small_experiments.points_config(training))
  small_experiments.train(made, 3)
  small_experiments.assert_devices_agree(made.train_state)


def draw_of(made, arrays, step, k):
  """Draw k of a step, as its rule asks for it."""
  state = made.abstract_train_state()._replace(global_step=step)
  return made._draws(state, arrays)(k)


@pytest.mark.parametrize(
  ('config', 'step', 'k'),
  [
    (small_experiments.points_config(SIMULTANEOUS), 5, 1),
    (small_experiments.images_config(), 1700, 0),
  ],
)
def test_devices_share_the_batch_of_one(config, step, k):
  made = small_experiments.make(config)
  arrays = made.device_data()
  replicated = model_utils.put_on_local_devices(arrays)
  batches, keys = jax.pmap(
    lambda a: draw_of(made, a, jnp.asarray(step, jnp.int32), k), axis_name='i'
  )(replicated)
  number = 2 * step + k  # Two draws a step.
  rows = draws.draw_indices(
    arrays['data_key'],
    number,
    config.training.batch_size,
    len(arrays['examples']),
  )
  expected = arrays['examples'][np.asarray(rows)].astype(np.float32)
  if expected.ndim == 4:
    expected = expected / 127.5 - 1
  batches = np.asarray(batches)
  assert batches.shape[:2] == (DEVICES, config.training.batch_size // DEVICES)
  np.testing.assert_allclose(
    batches.reshape(expected.shape), expected, rtol=1e-6, atol=1e-6
  )
  # But each has latents of its own.
  assert (
    len({tuple(key) for key in np.asarray(jax.random.key_data(keys))})
    == DEVICES
  )


def test_draws_of_a_step_are_different_ones():
  made = small_experiments.make(small_experiments.points_config(SIMULTANEOUS))
  replicated = model_utils.put_on_local_devices(made.device_data())
  draw = jax.pmap(
    lambda a, step, k: draw_of(made, a, step, k),
    axis_name='i',
    in_axes=(0, None, None),
  )
  seen = set()
  for step in (0, 1):
    for k in (0, 1):
      batch, key = draw(replicated, np.int32(step), np.int32(k))
      key = np.asarray(jax.random.key_data(key))
      seen.add((np.asarray(batch).tobytes(), key.tobytes()))
  assert len({batch for batch, _ in seen}) == 4
  assert len({key for _, key in seen}) == 4


# What devices and data do not allow.


def error_of(config):
  with pytest.raises(errors.UserError) as caught:
    small_experiments.make(config)
  return str(caught.value)


def test_batch_that_devices_cannot_share():
  message = error_of(small_experiments.points_config({'batch_size': 18}))
  assert message == (
    'config.experiment_kwargs.config.training.batch_size=18 is not divisible '
    'by the number of devices, 4'
  )


def test_batch_larger_than_the_data(tmp_path):
  path = tmp_path / 'few.npz'
  np.savez(path, images=np.zeros((8, 28, 28), np.uint8))
  message = error_of(
    small_experiments.images_config(
      dataset=str(path), training={'batch_size': 12}
    )
  )
  assert 'batch_size=12 is more than the 8 examples of few.npz' in message


@pytest.mark.parametrize(
  'estimator',
  [
    'unbiased_estimate_fn_lowest_variance',
    'unbiased_estimate_fn_different_device_results',
  ],
)
def test_unbiased_estimates_need_two_examples_a_device(estimator):
  few = {'batch_size': DEVICES, 'estimator_fn': estimator}
  message = error_of(small_experiments.points_config(few | CANCEL))
  assert 'batch_size=4 leaves 1 example a device' in message
  small_experiments.make(
    small_experiments.points_config(few)
  )  # Nothing to estimate.
  biased = {'estimator_fn': 'biased_estimate_grad_fn'}
  small_experiments.make(small_experiments.points_config(few | CANCEL | biased))


MMD = {
  'discriminator': 'mmd_linear_discriminator_loss',
  'generator': 'mmd_linear_generator_loss',
}


def test_losses_that_need_several_outputs():
  config = small_experiments.points_config(losses=MMD)
  assert error_of(config).endswith(
    'the discriminator gives (1,) an example, but losses.discriminator='
    'mmd_linear_discriminator_loss takes several numbers: set num_outputs in '
    'nets.disc_kwargs, for SimpleMLP out_dim'
  )
  config = small_experiments.points_config()
  config.nets.disc_kwargs.out_dim = 3
  assert error_of(config).endswith(
    'the discriminator gives (3,) an example, not one number, which is what '
    'losses.discriminator=discriminator_goodfellow_loss takes'
  )


def test_losses_that_need_two_examples_a_device():
  training = {'batch_size': DEVICES}
  message = error_of(small_experiments.points_config(training, losses=MMD))
  assert message.endswith(
    'leaves 1 example a device, but losses.discriminator='
    'mmd_linear_discriminator_loss takes 2 at least'
  )
  training = {'batch_size': 3 * DEVICES} | CANCEL
  message = error_of(small_experiments.points_config(training, losses=MMD))
  assert 'leaves 3 examples a device' in message
  assert message.endswith('2 at least in each half of the unbiased estimators')


def test_processor_of_other_data():
  message = error_of(
    small_experiments.points_config(data_processor='ImageProcessor')
  )
  assert message.endswith(
    'does not suit mixture_of_gaussians; set PointProcessor'
  )


@pytest.mark.parametrize(
  ('nets', 'reason'),
  [
    ({'discriminator': 'CifarDiscriminator'}, 'samples have shape (32, 32, 3)'),
    ({'discriminator': 'DCGANGenerator'}, 'not one number'),
    ({'gen_kwargs': {'output_size': 32}}, 'samples have shape (32, 32, 1)'),
    ({'gen_kwargs': {'output_size': 30}}, 'samples have shape (30, 30, 1)'),
  ],
)
def test_networks_of_other_data(nets, reason):
  config = small_experiments.images_config()
  with config.unlocked():
    for name, value in nets.items():
      config.nets[name] = (
        config_dict.ConfigDict(value) if isinstance(value, dict) else value
      )
    if 'discriminator' in nets:
      config.nets.disc_kwargs = config_dict.ConfigDict()
    if nets.get('discriminator') == 'CifarDiscriminator':
      config.nets.generator = 'CifarGenerator'
      config.nets.gen_kwargs = config_dict.ConfigDict()
  message = error_of(config)
  assert message.startswith('config.experiment_kwargs.config.nets do not suit')
  assert reason in message


def test_picture_of_few_images_beside_samples(tmp_path):
  path = tmp_path / 'few.npz'
  np.savez(path, images=np.full((9, 28, 28), 255, np.uint8))
  made = small_experiments.make(
    small_experiments.images_config(
      dataset=str(path), eval={'run_image_metrics': False}
    )
  )
  made.ensure_train_state()
  writer = run_directory.Writer(str(tmp_path), 'eval')
  made.evaluate(global_step=0, rng=None, writer=writer)
  assert (tmp_path / 'eval/samples_00000000.png').exists()
  assert (tmp_path / 'eval/metrics_00000000.json').exists()


def test_data_set_that_does_not_exist():
  message = error_of(
    small_experiments.points_config(dataset='mixture_of_gausians')
  )
  assert 'mixture_of_gaussians' in message


@pytest.mark.slow
def test_custom_images_train(tmp_path):
  path = tmp_path / 'mine.npz'
  images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
  np.savez(path, images=images)
  config = small_experiments.images_config(
    dataset='mine.npz',
    data_dir=str(tmp_path),
    param_transformers=NO_TRANSFORM,
    training={'batch_size': 8, 'num_latents': 4} | SIMULTANEOUS,
    nets={
      'discriminator': 'DCGANDiscriminator',
      'disc_kwargs': {'channels': [4]},
      'generator': 'DCGANGenerator',
      'gen_kwargs': {'channels': [4], 'output_size': 8},
    },
  )
  made = small_experiments.make(config)
  made.ensure_train_state()
  before = made.snapshot_state()['train_state'].params.disc
  logs = small_experiments.train(made, 1)
  assert np.isfinite(logs['disc_loss'])
  assert differs(before, made.snapshot_state()['train_state'].params.disc)


@pytest.mark.slow
def test_transform_and_penalty_are_optional():
  config = small_experiments.points_config(
    SIMULTANEOUS,
    param_transformers=NO_TRANSFORM,
    penalties={
      'discriminator': ['wgan_gradient_penalty_loss', 10.0],
      'generator': None,
    },
  )
  made = small_experiments.make(config)
  logs = small_experiments.train(made, 1)
  assert logs.keys() == {'disc_loss', 'gen_loss'}
  _, plain = trained_points(1, SIMULTANEOUS)
  # The penalty of a nearly flat discriminator is about its coefficient.
  assert logs['disc_loss'] > plain['disc_loss'] + 1


# Evaluation.


def set_generator(made, weight, bias):
  """Makes an MLP generator give `bias` (plus what comes through `weight`)."""

  def fill(path, leaf):
    name = jax.tree_util.keystr(path)
    if "'b'" in name and leaf.shape[-1] == 2:
      return jnp.broadcast_to(jnp.asarray(bias, leaf.dtype), leaf.shape)
    return jnp.full_like(leaf, weight)

  made.ensure_train_state()
  params = made.train_state.params
  gen = jax.tree_util.tree_map_with_path(fill, params.gen)
  made.train_state = made.train_state._replace(params=params._replace(gen=gen))


@pytest.mark.parametrize(
  ('bias', 'share', 'modes'),
  [((0.5, -1.5), 1.0, 1.0), ((0.5, -1.43), 0.0, 0.0)],
)
def test_evaluation_of_the_mixture(tmp_path, bias, share, modes):
  made = small_experiments.make(small_experiments.points_config(), 'eval')
  set_generator(made, 0.0, bias)
  writer = run_directory.Writer(str(tmp_path), 'eval')
  metrics = made.evaluate(
    global_step=np.array([7] * DEVICES), rng=None, writer=writer
  )
  assert metrics == {'high_quality_share': share, 'modes_covered': modes}
  written = json.loads((tmp_path / 'eval/metrics_00000007.json').read_text())
  assert written.pop('measured_with') == {'data': 'mixture_of_gaussians'}
  assert written == {'step': 7, **metrics}
  with Image.open(tmp_path / 'eval/samples_00000007.png') as picture:
    assert picture.mode == 'RGB'


def test_metrics_can_be_left_out(tmp_path):
  made = small_experiments.make(
    small_experiments.points_config(eval={'run_image_metrics': False}), 'eval'
  )
  made.ensure_train_state()
  assert made.evaluate(global_step=0, rng=None, writer=None) == {}
  assert list(tmp_path.iterdir()) == []


def test_evaluation_of_images(tmp_path, images_experiment):
  made = small_experiments.make(small_experiments.images_config(), 'eval')
  made.restore_from_snapshot(images_experiment.snapshot_state())
  writer = run_directory.Writer(str(tmp_path), 'eval')
  metrics = made.evaluate(
    global_step=np.array([3] * DEVICES), rng=None, writer=writer
  )
  again = made.evaluate(global_step=3, rng=None, writer=None)
  assert metrics.keys() == (
    small_experiments.IMAGE_METRICS | small_experiments.OTHER_METRICS
  )
  assert 1 <= metrics['IS_mean'] <= 10
  assert metrics['FID'] > 0
  # From the same latents; the samples are new ones in each split.
  assert again == metrics
  assert metrics['FID_std'] > 0
  written = json.loads((tmp_path / 'eval/metrics_00000003.json').read_text())
  measured_with = written.pop('measured_with')
  assert written == {'step': 3, **metrics}
  assert measured_with['data'] == 'fashion_mnist_10k'
  assert measured_with['num_splits'] == 2
  assert measured_with['images_per_split'] == 40
  assert measured_with['activations_per_split'] == 40
  assert 'fashion' in measured_with['classifier'].lower()
  # 64 samples beside as many real images, each twice as large as it is.
  with Image.open(tmp_path / 'eval/samples_00000003.png') as picture:
    side = 8 * (2 * 28 + 2) + 2
    assert picture.size == (2 * side + side // 16, side)
    pixels = np.asarray(picture)
  real = data_utils.load_dataset('fashion_mnist_10k').examples[:64]
  np.testing.assert_array_equal(
    pixels[:, -side:].reshape(side, side),
    data_utils.sample_grid(real).reshape(side, side),
  )


def test_samples_are_of_the_same_latents_at_each_step(
  tmp_path, images_experiment
):
  writer = run_directory.Writer(str(tmp_path), 'train')
  for step in (3, 4):
    images_experiment.write_samples(writer, step)
  pictures = [
    (tmp_path / f'samples/step_{step:08d}.png').read_bytes() for step in (3, 4)
  ]
  assert pictures[0] == pictures[1]


def test_more_images_than_there_are_is_warned_about(caplog):
  made = small_experiments.make(small_experiments.images_config(), 'eval')
  config = small_experiments.images_config(
    eval={'num_eval_splits': 6, 'num_inception_images': 2000}
  )
  made._make_image_metrics()
  assert not caplog.messages
  small_experiments.make(config, 'eval')._make_image_metrics()
  assert any('real images repeat' in line for line in caplog.messages)


@pytest.mark.parametrize(
  ('dataset', 'chosen', 'expected'),
  [
    ('fashion_mnist_10k', 'auto', 'EvaluationNetwork'),
    ('fashion_mnist', 'auto', 'EvaluationNetwork'),
    ('cifar10', 'auto', 'InceptionClassifier'),
    ('fashion_mnist', 'inception', 'InceptionClassifier'),
    ('cifar10', 'fashion_mnist', 'EvaluationNetwork'),
  ],
)
def test_classifier(monkeypatch, dataset, chosen, expected):
  made = []
  module = experiment.tfgan_inception_utils
  settings = {'classifier': chosen}
  if expected == 'InceptionClassifier':
    settings['inception_path'] = '/a/b'
    monkeypatch.setattr(
      module, 'InceptionClassifier', lambda path: made.append(path) or 'it'
    )
  config = small_experiments.images_config(dataset=dataset, eval=settings)
  classifier = experiment.make_classifier(config)
  if expected == 'InceptionClassifier':
    assert classifier == 'it'
    assert made == ['/a/b']
  else:
    assert type(classifier).__name__ == expected


def test_classifier_of_a_file(monkeypatch):
  monkeypatch.setattr(
    experiment.inception, 'InceptionNetwork', lambda path: path
  )
  config = small_experiments.images_config(
    dataset='cifar10', eval={'inception_path': '/a/b.safetensors'}
  )
  assert experiment.make_classifier(config) == '/a/b.safetensors'
