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
"""The classification experiment in process, on images of a few pixels.

The session has four devices. What has been trained once is shared.
"""

import functools
import json

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate

from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import run_directory
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import dal
from principal_flow_instability_single_objective import diagnostics
from principal_flow_instability_single_objective import experiment
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import nets

NUM_TRAIN = 32
DAL = {'power': 0.5}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  """The path of an .npz of 40 images with three classes."""
  random = np.random.default_rng(0)
  labels = random.integers(3, size=40).astype(np.int32)
  images = 60 * labels[:, None, None, None] + random.integers(
    100, size=(40, 4, 4, 1)
  )
  path = tmp_path_factory.mktemp('data') / 'images.npz'
  np.savez(path, images=images.astype(np.uint8), labels=labels)
  return str(path)


@pytest.fixture(scope='module')
def config_of(dataset):
  """A function from settings to the experiment's full config."""

  def make(training=None, **settings):
    config = base_config.get_base_config().unlock()
    config.experiment_kwargs.config = {
      'dataset': dataset,
      'num_test_examples': 40 - NUM_TRAIN,
      'net': {'name': 'MLP', 'kwargs': {'hidden_sizes': [5]}},
      'optimizer': {'lr': 0.2},
      'training': training or {},
      'eval': {'num_eigenvalues': 2, 'num_products': 12, 'batch_size': 5},
    } | settings
    return base_config.resolve(config).experiment_kwargs.config

  return make


def make(config):
  return experiment.Experiment('train', None, config)


def train(config, last_step, chunk=None):
  """(state, logs) after training in chunks of this length."""
  made = make(config)
  made.ensure_train_state()
  step = 0
  while step < last_step:
    step = min(last_step, step + (chunk or last_step))
    logs = made.run_chunk(step)
  return made.snapshot_state()['train_state'], logs


def assert_equal(tree1, tree2):
  jax.tree.map(np.testing.assert_array_equal, tree1, tree2)


def assert_close(tree1, tree2, rtol=2e-5, atol=1e-6):
  # The same sums in float32, in another order.
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol),
    tree1,
    tree2,
  )


def loss_on(examples):
  """The loss written out anew, from parameters, which may be complex."""
  images = examples['images'].reshape(len(examples['labels']), -1) / 127.5 - 1

  def loss(params):
    layers = [params['mlp/~/mlp/~/linear_0'], params['mlp/~/mlp/~/linear_1']]
    hidden = jnp.tanh(images @ layers[0]['w'] + layers[0]['b'])
    logits = hidden @ layers[1]['w'] + layers[1]['b']
    rows = jnp.arange(len(logits))
    return jnp.mean(
      jnp.log(jnp.sum(jnp.exp(logits), -1)) - logits[rows, examples['labels']]
    )

  return loss


# Training.


def test_full_batch_descent_is_the_plain_loop(config_of):
  """On four devices, against gradients of the loss written out anew."""
  config = config_of(optimizer={'lr': 0.2, 'momentum': 0.5})
  state, logs = train(config, 4)
  made = make(config)
  loss = loss_on(made._train)
  params = made.initial_train_state().params
  trace = jax.tree.map(jnp.zeros_like, params)
  for _ in range(4):
    value, grads = jax.value_and_grad(loss)(params)
    trace = jax.tree.map(lambda t, g: 0.5 * t + g, trace, grads)
    params = jax.tree.map(lambda p, t: p - 0.2 * t, params, trace)
  assert_close(state.params, params)
  np.testing.assert_allclose(logs['train_loss'], value, rtol=1e-5)
  np.testing.assert_allclose(logs['learning_rate'], 0.2)
  np.testing.assert_allclose(
    logs['gradient_norm'], optax.tree.norm(grads), rtol=1e-5
  )


@pytest.fixture(scope='module')
def trained_with_dal(config_of):
  return train(config_of({'batch_size': 16}, dal=DAL), 5)


@pytest.mark.slow
@pytest.mark.optimised
def test_restarts_and_chunks_change_no_bit(config_of, trained_with_dal):
  config = config_of({'batch_size': 16}, dal=DAL)
  first = make(config)
  first.ensure_train_state()
  first.run_chunk(2)
  second = make(config)
  second.restore_from_snapshot(first.snapshot_state())
  second.run_chunk(3)
  logs = second.run_chunk(5)
  assert_equal(second.snapshot_state()['train_state'], trained_with_dal[0])
  assert_equal(logs, trained_with_dal[1])


@pytest.mark.optimised
def test_dal_logs_its_learning_rate(trained_with_dal):
  state, logs = trained_with_dal
  ratio = logs['hessian_gradient_norm'] / logs['gradient_norm']
  np.testing.assert_allclose(logs['hessian_gradient_ratio'], ratio, rtol=1e-5)
  np.testing.assert_allclose(
    logs['learning_rate'], min(5.0, 2 / ratio**0.5), rtol=1e-5
  )
  assert dal.state_of(state.opt_state).num_updates == 5


def test_power_zero_is_descent(config_of):
  """The Hessian products that are measured change parameters in no way."""
  training = {'batch_size': 16}
  plain, _ = train(config_of(training), 4)
  measured, logs = train(config_of(training, dal={'power': 0.0}), 4)
  assert_close(plain.params, measured.params, rtol=1e-6)
  np.testing.assert_allclose(logs['learning_rate'], 0.2)
  assert logs['hessian_gradient_ratio'] > 0


@pytest.mark.parametrize(
  ('training', 'settings', 'rtol'),
  [
    ({'microbatch_size': 4}, {'batch': 'full'}, 2e-5),
    *(
      pytest.param(*case, marks=pytest.mark.slow)
      for case in (
        ({'microbatch_size': 2}, {}, 2e-5),
        ({}, {'batch': 'full'}, 2e-5),
        ({}, {'product': 'finite_differences'}, 2e-2),
        ({}, {'product': 'finite_differences', 'batch': 'full'}, 2e-2),
      )
    ),
  ],
)
def test_ways_to_a_full_batch_agree(config_of, training, settings, rtol):
  _, expected = train(config_of(dal=DAL), 3)
  _, logs = train(config_of(training, dal=DAL | settings), 3)
  assert logs.keys() == expected.keys()
  assert_close(logs, expected, rtol=rtol)


@pytest.mark.parametrize(
  ('product', 'training', 'is_shared'),
  [
    ('exact', {}, True),
    ('exact', {'batch_size': NUM_TRAIN}, True),
    ('exact', {'batch_size': 16}, False),
    ('finite_differences', {}, True),
  ],
)
def test_the_gradient_of_a_full_batch_is_shared(
  config_of, product, training, is_shared
):
  """A step with the full batch's Hessian takes no more matrix products."""

  def number_of_products(batch):
    settings = DAL | {'product': product, 'batch': batch}
    made = make(config_of(training, dal=settings))
    step = jax.vmap(
      made.update, in_axes=None, axis_name='i', axis_size=jax.device_count()
    )
    program = jax.make_jaxpr(step)(
      made.initial_train_state(), made.device_data()
    )
    return str(program).count('dot_general')

  assert (number_of_products('full') == number_of_products('same')) == is_shared


def test_hessian_of_the_full_batch_with_gradients_of_minibatches(config_of):
  """The first step's ‖H g‖, where g is of 16 examples and H of all 32."""
  config = config_of({'batch_size': 16}, dal=DAL | {'batch': 'full'})
  made = make(config)
  made.ensure_train_state()
  logs = made.run_chunk(1)
  params = made.initial_train_state().params
  batches = {
    name: experiment.draws.draw_batch(x, made._data_key, 0, 16)
    for name, x in made._train.items()
  }
  grads = jax.grad(loss_on(batches))(params)
  product = hessian.product(loss_on(made._train), params, grads)
  np.testing.assert_allclose(
    logs['hessian_gradient_norm'], optax.tree.norm(product), rtol=1e-4
  )


def test_schedule_sets_the_learning_rate(config_of):
  optimizer = {
    'lr': 0.2,
    'scheduler': 'exponential_decay',
    'scheduler_kwargs': {'transition_steps': 1, 'decay_rate': 0.5},
  }
  _, logs = train(config_of(optimizer=optimizer), 3)
  np.testing.assert_allclose(logs['learning_rate'], 0.05, rtol=1e-6)


# Measurements.


def test_measured_curvature_is_that_of_the_dense_hessian(config_of):
  made = make(config_of())
  made.ensure_train_state()
  logs = made.run_chunk(20)
  params = device_mesh.unreplicate(made.train_state.params)
  loss = loss_on(made._train)
  matrix = np.asarray(hessian.dense(loss, params), np.float64)
  eigenvalues = np.linalg.eigvalsh(matrix)[::-1]
  for i in range(2):
    np.testing.assert_allclose(
      logs[f'lambda_{i}'], eigenvalues[i], rtol=1e-3, atol=1e-3
    )
    z = 0.2 * eigenvalues[i]
    np.testing.assert_allclose(
      logs[f'stability_{i}'], np.log(abs(1 - z)) / z, rtol=1e-2
    )
  np.testing.assert_allclose(logs['edge_of_stability'], 10, rtol=1e-6)
  test = loss_on(made._test)(params)
  np.testing.assert_allclose(logs['test_loss'], test, rtol=1e-5)
  assert logs['test_accuracy'] * 8 == round(logs['test_accuracy'] * 8)
  assert 'lambda_0' not in made.run_chunk(21)


def distances_after_a_step(loss, params, h, num_pairs):
  """Of a step to the ends of flows by SciPy, from the dense Hessian.

  Args:
    loss: complex-differentiable.
    params: a vector in float64.
    h: the learning rate.
    num_pairs: the principal flow's, the IGR flow along all others.
  """
  gradient = jax.jit(jax.grad(loss, holomorphic=True))
  hessian_at = jax.jit(jax.hessian(loss, holomorphic=True))
  start = params.astype(complex)
  values, vectors = np.linalg.eigh(np.asarray(hessian_at(start)).real)
  values, vectors = values[-num_pairs:], vectors[:, -num_pairs:]
  factor = np.log(1 - h * values + 0j) / (h * values)

  def gradient_flow(_, x):
    return -np.asarray(gradient(x))

  def igr_flow(_, x):
    g = np.asarray(gradient(x))
    return -g - h / 2 * hessian_at(x) @ g

  def principal_flow(t, x):
    along = vectors.T @ np.asarray(gradient(x))
    beyond_igr = factor + 1 + h * values / 2
    return igr_flow(t, x) + vectors @ (beyond_igr * along)

  step = start - h * gradient(start)
  return {
    f'drift_{flow.__name__}': np.linalg.norm(
      step
      - integrate.solve_ivp(
        flow, (0, h), start, 'DOP853', rtol=1e-8, atol=1e-10
      ).y[:, -1]
    )
    for flow in (gradient_flow, igr_flow, principal_flow)
  } | {'step_length': np.linalg.norm(step - start)}


@pytest.mark.slow
def test_drift_is_that_of_the_dense_hessian_in_float64(config_of):
  """At hλ₀ = 2.4, where the principal flow is complex."""
  h = 1.2
  evaluation = {'num_eigenvalues': 2, 'num_products': 30, 'drift': True}
  made = make(config_of(optimizer={'lr': h}, eval=evaluation))
  made.ensure_train_state()
  metrics = made.evaluate(global_step=0, rng=None, writer=None)
  params = device_mesh.unreplicate(made.train_state.params)
  with jax.enable_x64(True):
    flat, unravel = ravel_pytree(
      jax.tree.map(lambda x: np.asarray(x, np.complex128), params)
    )
    loss = loss_on(made._train)
    expected = distances_after_a_step(
      lambda x: loss(unravel(x)), np.asarray(flat).real, h, 2
    )
  np.testing.assert_allclose(h * metrics['lambda_0'], 2.43, atol=0.01)
  assert min(expected.values()) > 0.1 * expected['step_length']
  for name, distance in expected.items():
    np.testing.assert_allclose(
      metrics[name],
      distance,
      rtol=0,
      atol=diagnostics.RESOLUTION * expected['step_length'],
    )


def test_the_edge_of_stability_with_momentum(config_of):
  """No coefficients of the principal flow, which is that of plain descent."""
  made = make(config_of(optimizer={'lr': 0.2, 'momentum': 0.5}))
  made.ensure_train_state()
  metrics = made.evaluate(global_step=0, rng=None, writer=None)
  np.testing.assert_allclose(metrics['edge_of_stability'], 15, rtol=1e-6)
  assert 'lambda_1' in metrics
  assert not {'stability_0', 'speed_0'} & metrics.keys()


def test_measuring_does_not_change_training(config_of):
  made = make(config_of())
  made.ensure_train_state()
  made.run_chunk(2)
  made.evaluate(global_step=2, rng=None, writer=None)
  made.run_chunk(4)
  state, _ = train(config_of(), 4)
  assert_equal(made.snapshot_state()['train_state'], state)


def test_evaluation_writes_its_metrics(config_of, tmp_path):
  made = make(config_of())
  made.ensure_train_state()
  writer = run_directory.Writer(str(tmp_path), 'eval')
  metrics = made.evaluate(global_step=np.array([0]), rng=None, writer=writer)
  written = json.loads((tmp_path / 'eval/metrics_00000000.json').read_text())
  assert written == {'step': 0, **metrics}
  assert {'test_accuracy', 'train_loss', 'lambda_0'} < metrics.keys()
  params = made.initial_train_state().params
  np.testing.assert_allclose(
    metrics['train_loss'], loss_on(made._train)(params), rtol=1e-5
  )


# Networks.


def test_network_as_written_is_the_one_applied():
  """A convolution against XLA's."""
  x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
  net = experiment.hk.without_apply_rng(
    experiment.hk.transform(
      lambda x: nets._Conv3x3(4, experiment.hk.initializers.RandomNormal())(x)
    )
  )
  params = net.init(jax.random.key(0), x)
  (layer,) = params.values()
  expected = jax.lax.conv_general_dilated(
    x,
    layer['w'].reshape(3, 3, 3, 4),
    (1, 1),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  assert_close(net.apply(params, x), expected)


def test_pooling_takes_means():
  x = jnp.arange(15.0).reshape(1, 3, 5, 1)
  np.testing.assert_array_equal(nets._mean_pool(x)[0, :, :, 0], [[3, 5]])


def test_cross_entropy_is_optax_and_analytic():
  random = np.random.default_rng(0)
  logits = jnp.asarray(random.normal(size=(4, 3)), jnp.float32)
  labels = jnp.array([0, 2, 1, 1])
  expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  loss = lambda x: nets.cross_entropy(x, labels)
  np.testing.assert_allclose(loss(logits), expected.mean(), rtol=1e-6)
  step = 1e-2j * jnp.ones((4, 3)).at[:, 0].set(2)
  gradient = jax.grad(loss)(logits)
  np.testing.assert_allclose(
    loss(logits + step) - loss(logits), (gradient * step).sum(), atol=1e-4
  )


def test_images_are_not_pooled_away(config_of):
  layers = [2, 'pool', 'pool', 'pool']
  config = config_of(net={'name': 'ConvNet', 'kwargs': {'layers': layers}})
  message = "nothing of images of 4 × 4 pixels; .* may have 'pool' 2 times"
  with pytest.raises(errors.UserError, match=message):
    make(config)


def test_conv_net_is_trained(config_of):
  net = {'name': 'ConvNet', 'kwargs': {'layers': [2, 'pool', 3, 'pool']}}
  made = make(config_of(net=net, optimizer={'lr': 0.05}))
  made.ensure_train_state()
  before = made.run_chunk(1)['train_loss']
  assert made.run_chunk(20)['train_loss'] < before


# What cannot be.


@pytest.mark.parametrize(
  ('training', 'settings', 'message'),
  [
    ({'batch_size': 18}, {}, 'batch_size=18 is not divisible by the number'),
    ({'batch_size': 36}, {}, 'more than the 32 training examples'),
    ({'microbatch_size': 3}, {}, '8 examples a device, which'),
    ({}, {'num_train_examples': 30}, 'num_train_examples=30 is not divisible'),
    ({}, {'num_train_examples': 33}, 'has 40 training examples: too few'),
    ({}, {'num_test_examples': None}, 'no split'),
  ],
)
def test_unsuitable_batches_are_errors(config_of, training, settings, message):
  config = config_of(training, **settings)
  with pytest.raises(errors.UserError, match=message):
    make(config)


def test_data_without_labels_is_an_error(config_of, tmp_path):
  path = tmp_path / 'unlabelled.npz'
  np.savez(path, images=np.zeros((40, 4, 4, 1), np.uint8))
  with pytest.raises(errors.UserError, match='has no labels to learn'):
    make(config_of(dataset=str(path)))
