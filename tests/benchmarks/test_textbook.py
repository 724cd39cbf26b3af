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
"""The baseline of the benchmarks does what the project does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import textbook
from dd_two_player_games import base_config
from dd_two_player_games import experiment
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import training

pytestmark = pytest.mark.slow
BATCH_SIZE = 8
# Of a leaf's largest entry. Both are float32, whose rounding of 6e-8 grows in
# minimal filtering, layer after layer and in second derivatives. Measured: at
# most 9e-6; without one of the terms, at least 1e-3.
TOLERANCE = 2e-5
# XLA's own convolutions, of which the baseline is made, are loops that run ten
# times as long where LLVM does not optimise at all.
SOMEWHAT_OPTIMISED = {'xla_backend_optimization_level': 1}
# Rates, and so drift, large enough to be seen in the first gradients.
LEARNING_RATE = 0.5
TERMS = base_config.combine(
  base_config.cancel_interaction_terms(),
  base_config.strengthen_self_terms(),
  base_config.sga(0.3),
)
# Else the discriminator's own term would hide the others.
TERMS['dd_coeffs_multiplier']['disc']['self_norm'] = 0.01


def _made(settings, **training):
  """The experiment, the baseline, and the same state for either."""
  config = base_config.get_base_config().unlock()
  optimizer = {'lr': LEARNING_RATE}
  config.experiment_kwargs.config = {
    'optimizers': {'discriminator': optimizer, 'generator': optimizer},
    'training': {'batch_size': BATCH_SIZE} | training,
  } | settings
  resolved = base_config.resolve(config).experiment_kwargs.config
  an_experiment = experiment.Experiment(
    'train', jax.random.PRNGKey(0), resolved
  )
  baseline = textbook.Textbook(resolved)
  train_state = jax.jit(an_experiment.initial_train_state)()
  batch, key = _draw(an_experiment, 0)
  shapes = jax.eval_shape(baseline.init, key, batch)
  empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
  state = train_state.state
  baseline_state = {
    'params': _like(shapes['params'], train_state.params),
    'state': {
      'disc': _like(shapes['state']['disc'], state.players.disc),
      'gen': _like(shapes['state']['gen'], state.players.gen),
      # The baseline has it even if it does not use it.
      'norm': _like(shapes['state']['norm'], state.param_transforms.disc)
      if state.param_transforms.disc
      else empty['state']['norm'],
    },
    'opt_state': empty['opt_state'],
  }
  return an_experiment, baseline, train_state, baseline_state


def _like(structure, tree):
  """The tree's values under other module names, which sort alike."""
  leaves = [np.array(leaf) for leaf in jax.tree.leaves(tree)]
  assert [leaf.shape for leaf in leaves] == [
    leaf.shape for leaf in jax.tree.leaves(structure)
  ]
  return jax.tree.unflatten(jax.tree.structure(structure), leaves)


def _draw(an_experiment, k):
  examples = an_experiment._dataset.examples[k * BATCH_SIZE :][:BATCH_SIZE]
  batch = np.asarray(an_experiment._processor.preprocess(examples))
  return batch, jax.random.fold_in(jax.random.PRNGKey(1), k)


def _on_one_device(function):
  """Compiled, with the mapped axis that averages over devices."""

  def mapped(*args):
    outputs = jax.vmap(lambda: function(*args), axis_name='i', axis_size=1)()
    return jax.tree.map(lambda leaf: leaf[0], outputs)

  return jax.jit(mapped)


def _error(actual, expected):
  """The largest one of a leaf, relative to its largest entry."""
  expected = [np.asarray(leaf) for leaf in jax.tree.leaves(expected)]
  actual = [np.asarray(leaf) for leaf in jax.tree.leaves(actual)]
  largest = max(np.abs(leaf).max() for leaf in expected)
  # What is zero but for rounding, such as the gradient of a bias that batch
  # norm takes away again, is measured against the other leaves.
  return max(
    np.abs(a - b).max() / max(np.abs(b).max(), 1e-2 * largest)
    for a, b in zip(actual, expected, strict=True)
  )


def _states(state):
  """In the baseline's order, without the transform's if it has none."""
  return [state.players.disc, state.players.gen, state.param_transforms.disc]


def _assert_states_agree(state, baseline_state):
  expected = [baseline_state['disc'], baseline_state['gen']]
  if state.param_transforms.disc:
    expected.append(baseline_state['norm'])
  leaves = jax.tree.leaves(_states(state))
  expected = jax.tree.leaves(expected)
  for a, b in zip(leaves, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def _assert_gradients_agree(settings):
  an_experiment, baseline, train_state, baseline_state = _made(
    settings, simultaneous_updates=True, grad_regularizes=TERMS
  )
  draw = _draw(an_experiment, 0)
  calculator = gan_grads_calculator.GANGradsCalculator(
    an_experiment._gan,
    regularizer_estimates.unbiased_estimate_fn_lowest_variance,
  )
  # Of one type, so that one program serves with each of them zero, too.
  config = an_experiment._config.training
  rates = training.learning_rates(config, an_experiment._trainer.schedules, 0)
  coeffs = training.regularizer_coefficients(config, rates)
  coeffs = jax.tree.map(jnp.float32, coeffs)
  args = train_state.params, train_state.state, *draw
  for player in gan.GANTuple._fields:
    expected, expected_state = jax.jit(
      functools.partial(baseline.player_grads, player),
      compiler_options=SOMEWHAT_OPTIMISED,
    )(baseline_state['params'], baseline_state['state'], *draw)
    grads_fn = getattr(calculator, f'{player}_grads')
    player_grads = _on_one_device(
      lambda *args, grads_fn=grads_fn: grads_fn(*args[:4], True, args[4])
    )
    grads, aux = player_grads(*args, coeffs)
    assert _error(grads, expected) < TOLERANCE
    _assert_states_agree(aux.state, expected_state)
    # Each term is seen: without it, there is no such agreement.
    for term, coeff in getattr(coeffs, player)._asdict().items():
      assert coeff != 0
      others = getattr(coeffs, player)._replace(**{term: jnp.float32(0)})
      without, _ = player_grads(*args, coeffs._replace(**{player: others}))
      assert _error(without, expected) > 10 * TOLERANCE


POINTS = {
  'dataset': 'mixture_of_gaussians',
  'data_processor': 'PointProcessor',
  'nets': {
    'discriminator': 'SimpleMLP',
    'disc_kwargs': {},
    'generator': 'SimpleMLP',
    'gen_kwargs': {'out_dim': 2},
  },
  'param_transformers': {'discriminator': None, 'generator': None},
}
SPECTRAL_NORM = {'discriminator': 'spectral_norm', 'generator': None}


@pytest.mark.parametrize(
  'generator_loss', ['generator_saturating_loss', 'generator_goodfellow_loss']
)
def test_gradients_of_points(generator_loss):
  players_losses = {
    'discriminator': 'discriminator_goodfellow_loss',
    'generator': generator_loss,
  }
  _assert_gradients_agree(POINTS | {'losses': players_losses})


def _leaky_softplus(x, negative_slope=0.01):
  return negative_slope * x + (1 - negative_slope) * jax.nn.softplus(x)


@pytest.fixture
def smooth_activations(monkeypatch):
  """Of both, without kinks.

  Of some million inputs a few lie within rounding of the kink, where either of
  two gradients is right: entries of those of CIFAR would differ by 2e-2.
  """
  monkeypatch.setattr(jax.nn, 'relu', jax.nn.softplus)
  monkeypatch.setattr(jax.nn, 'leaky_relu', _leaky_softplus)


@pytest.mark.usefixtures('smooth_activations')
def test_gradients_of_mnist():
  """Spectral norm."""
  nets = {'discriminator': 'MnistDiscriminator', 'generator': 'MnistGenerator'}
  _assert_gradients_agree(
    {
      'dataset': 'fashion_mnist_10k',
      'nets': nets,
      'param_transformers': SPECTRAL_NORM,
    }
  )


@pytest.mark.usefixtures('smooth_activations')
def test_gradients_of_cifar(tmp_path):
  """Batch norm and spectral norm."""
  path = tmp_path / 'images.npz'
  images = np.random.default_rng(0).integers(256, size=(64, 32, 32, 3))
  np.savez(path, images=images.astype(np.uint8))
  nets = {'discriminator': 'CifarDiscriminator', 'generator': 'CifarGenerator'}
  _assert_gradients_agree(
    {'dataset': str(path), 'nets': nets, 'param_transformers': SPECTRAL_NORM}
  )


@pytest.mark.parametrize(
  'rule',
  [
    {'simultaneous_updates': True},
    {'runge_kutta_updates': True, 'runge_kutta_order': 2},
    {'runge_kutta_updates': True, 'runge_kutta_order': 4},
  ],
)
def test_steps(rule):
  """Of the MLP, on the same draws; the regularisers inside the stages."""
  an_experiment, baseline, train_state, baseline_state = _made(
    POINTS, **rule, grad_regularizes=base_config.consensus(0.3)
  )
  num_draws = an_experiment._trainer.num_draws
  assert baseline.num_draws == num_draws
  draws = [_draw(an_experiment, k) for k in range(num_draws)]
  before = baseline_state['params']
  step = _on_one_device(
    lambda train_state, draws: an_experiment._trainer.step(
      train_state, lambda k: draws[k]
    )
  )
  moved, _ = step(train_state, draws)
  batches, keys = zip(*draws, strict=True)
  after = baseline.step(baseline_state, batches, keys)['params']
  updates, expected = (
    jax.tree.map(lambda a, b: a - b, _like(before, end), before)
    for end in (moved.params, after)
  )
  assert _error(updates, expected) < TOLERANCE
