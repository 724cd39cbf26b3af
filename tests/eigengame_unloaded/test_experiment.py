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
"""The experiment in process: exactness, devices, centring, evaluation.

The session has four devices; tests that need fewer see the first ones only.
"""

import functools
import itertools
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
from PIL import Image
import pytest

from eigengame_unloaded import base_config
from eigengame_unloaded import eigengame
from eigengame_unloaded import experiment
from eigengame_unloaded import metrics
from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import memory
from jaxline_harness import run_directory

ROOT = pathlib.Path(__file__).parents[2]
SGD = {'lr': 0.1, 'kwargs': {}}


def make(training=None, optimizer=None, mode='train', **settings):
  """An experiment, by default of a small Gaussian."""
  config = base_config.get_base_config().unlock()
  if 'dataset' not in settings:
    settings['dataset'] = 'synthetic'
    settings['synthetic'] = {'dim': 8, 'smallest_eigenvalue': 0.01}
  config.experiment_kwargs.config = {
    'num_eigenvectors': 3,
    'optimizer': optimizer or SGD | {'kwargs': {'momentum': 0.5}},
    'training': {'batch_size': 16} | (training or {}),
  } | settings
  full = base_config.resolve(config).experiment_kwargs.config
  return experiment.Experiment(mode, None, full)


def train(made, last_step, chunk=None):
  """Trains to `last_step` in chunks of this length; the last chunk's logs."""
  made.ensure_train_state()
  step, logs = int(device_mesh.unreplicate(made.train_state).global_step), None
  while step < last_step:
    step = min(last_step, step + (chunk or last_step))
    logs = made.run_chunk(step)
  return logs


def state_of(made):
  return made.snapshot_state()['train_state']


def assert_equal(tree1, tree2):
  jax.tree.map(np.testing.assert_array_equal, tree1, tree2)


@pytest.fixture
def npy(tmp_path):
  path = tmp_path / 'matrix.npy'
  random = np.random.default_rng(0)
  np.save(path, 2 + random.standard_normal((40, 8)) * np.arange(8, 0, -1) / 8)
  return str(path)


@pytest.mark.parametrize(
  ('settings', 'line'),
  [
    (
      {'dataset': 'synthetic', 'synthetic': {'dim': 1_000_000}},
      r'synthetic\.dim=1000000: the eigenvectors would take 29802.3 GiB',
    ),
    (
      {
        'dataset': 'stochastic_block_model',
        'stochastic_block_model': {'block_size': 100_000},
        'centring': 'none',
      },
      'the pairs of its 400000 nodes would take 3576.3 GiB of memory',
    ),
    (
      {'dataset': 'synthetic', 'num_eigenvectors': 2**31 - 1},
      'num_eigenvectors=2147483647 is more than the dimension',
    ),
  ],
)
def test_what_does_not_fit_into_memory(settings, line):
  with pytest.raises(errors.UserError, match=line):
    make(**settings)


def test_edges_that_do_not_fit_into_memory(tmp_path, monkeypatch):
  path = tmp_path / 'far.edgelist'
  with path.open('w') as file:
    file.truncate(2**31)
  monkeypatch.setattr(memory, 'of_host', lambda: 2**33)
  with pytest.raises(
    errors.UserError, match='far.edgelist: its edges would take 60.0 GiB'
  ):
    make(dataset=str(path), centring='none')


# Exactness.


@pytest.mark.optimised
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize('source', ['synthetic', 'streamed', 'graph', 'noise'])
def test_chunks_and_restarts_change_no_bit(source, npy):
  settings = {
    'synthetic': {},
    'streamed': {'dataset': npy},
    'graph': {
      'dataset': 'stochastic_block_model',
      'stochastic_block_model': {'num_blocks': 2, 'block_size': 6},
      'centring': 'none',
      'training': {'batch_size': 4},
    },
    'noise': {'optimizer': {'name': 'noisy_sgd', 'lr': 0.1}},
  }[source]
  reference = make(**settings)
  train(reference, 7)
  chunked, resumed = make(**settings), make(**settings)
  train(chunked, 3, chunk=2)
  resumed.restore_from_snapshot(chunked.snapshot_state())
  for made in (chunked, resumed):
    train(made, 7, chunk=2)
    assert_equal(state_of(made), state_of(reference))


@pytest.mark.parametrize('method', ['mu_eigengame', 'oja'])
def test_a_step_is_the_methods(method):
  made = make(method=method, optimizer=SGD, centring='none')
  made.ensure_train_state()
  before = state_of(made).eigenvectors
  arrays = made.device_data()
  batch = np.asarray(made._source.draw(arrays, 0, 16, 0, 1))
  images = before @ batch.T @ batch / 16
  direction = eigengame.METHODS[method].direction(
    before, images, eigengame.player_weights(3)
  )
  expected = eigengame.METHODS[method].retract(before + 0.1 * direction)
  train(made, 1)
  np.testing.assert_allclose(
    state_of(made).eigenvectors, expected, rtol=1e-4, atol=1e-6
  )


def test_sums_are_means_times_the_batch_size():
  mean = make(optimizer=SGD | {'lr': 0.16})
  total = make({'average': False}, optimizer=SGD | {'lr': 0.01})
  train(mean, 5)
  train(total, 5)
  np.testing.assert_allclose(
    state_of(mean).eigenvectors, state_of(total).eigenvectors, atol=1e-5
  )


def test_seeds_differ():
  states = []
  for seed in (0, 1):
    made = make(random_seed=seed)
    made.ensure_train_state()
    states.append(state_of(made).eigenvectors)
  assert np.abs(states[0] - states[1]).max() > 0.1


# Devices.


@pytest.fixture(scope='module')
def trained_on_grid(tmp_path_factory):
  """Trains on some devices; the experiment and its last logs."""
  all_devices = jax.devices()
  path = tmp_path_factory.mktemp('data') / 'matrix.npy'
  np.save(path, np.random.default_rng(0).standard_normal((40, 8)))

  @functools.cache
  def trained(method, devices, player_groups):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(jax, 'devices', lambda: all_devices[:devices])
      patch.setattr(jax, 'device_count', lambda: devices)
      made = make(
        {'player_groups': player_groups},
        dataset=str(path),
        method=method,
        num_eigenvectors=5,  # Divisible by neither two nor four.
      )
      return made, train(made, 10)

  return trained


@pytest.mark.parametrize(
  ('method', 'devices', 'player_groups'),
  [
    # Whatever the grid: test_layout.py has the directions of them all.
    *(
      pytest.param('mu_eigengame', *grid, marks=pytest.mark.slow)
      for grid in ((2, 1), (2, 2), (4, 1), (4, 4))
    ),
    ('mu_eigengame', 4, 2),
    ('alpha_eigengame', 4, 2),
  ],
)
def test_devices_agree(trained_on_grid, method, devices, player_groups):
  one, logs_of_one = trained_on_grid(method, 1, 1)
  made, logs = trained_on_grid(method, devices, player_groups)
  # The same sums in another order.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
    (state_of(made), logs),
    (state_of(one), logs_of_one),
  )
  first, *others = (
    np.asarray(copy.data)
    for copy in made.train_state.eigenvectors.addressable_shards
  )
  assert len(others) == devices - 1
  for other in others:
    np.testing.assert_array_equal(other, first)


# Centring.


def test_streaming_mean_is_that_of_all_draws(npy):
  made = make(dataset=npy, training={'batch_size': 8})
  matrix = np.load(npy)
  train(made, 3)
  draws = [
    np.asarray(made._source.draw(made.device_data(), i, 8, 0, 1))
    for i in range(3)
  ]
  np.testing.assert_allclose(
    state_of(made).mean, np.concatenate(draws).mean(axis=0), rtol=1e-5
  )
  train(made, 5)  # One epoch.
  np.testing.assert_allclose(
    state_of(made).mean, matrix.mean(axis=0), rtol=1e-5
  )


def test_other_means_stay(npy, tmp_path):
  given = np.arange(8.0)
  np.save(tmp_path / 'mean.npy', given)
  exact = np.load(npy).mean(axis=0)
  for centring, mean in (
    ('data', exact),
    ('none', np.zeros(8)),
    (str(tmp_path / 'mean.npy'), given),
  ):
    made = make(dataset=npy, centring=centring)
    made.ensure_train_state()
    if mean is given:  # The same step as that of the others.
      train(made, 3)
    np.testing.assert_allclose(state_of(made).mean, mean, rtol=1e-6)
    centred = np.load(npy) - mean
    np.testing.assert_allclose(
      made.truth.eigenvalues,
      np.linalg.eigvalsh(centred.T @ centred / 40)[:-4:-1],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
  'centring',
  [
    'streaming',
    pytest.param('data', marks=pytest.mark.slow),
    pytest.param('none', marks=pytest.mark.slow),
  ],
)
def test_it_finds_the_eigenvectors_of_what_is_centred(npy, centring):
  made = make(
    dataset=npy,
    centring=centring,
    training={'batch_size': 40},
    optimizer=SGD | {'lr': 0.03, 'kwargs': {'momentum': 0.9}},
  )
  logs = train(made, 1500)
  assert logs['largest_angle'] < 1
  assert logs['streak'] == 3


# What it finds.


def test_finds_clusters():
  made = make(
    dataset='stochastic_block_model',
    stochastic_block_model={
      'num_blocks': 3,
      'block_size': 20,
      'within': 0.6,
      'between': 0.05,
    },
    centring='none',
    training={'batch_size': 32},
    optimizer=SGD | {'lr': 0.2},
  )
  logs = train(made, 2000)
  # Two of the three eigenvalues are nearly equal.
  assert logs['subspace_distance'] < 0.02
  blocks = experiment.graphs.clusters(made.eigenvectors()).reshape(3, 20)
  assert (blocks == blocks[:, :1]).all()
  assert len(np.unique(blocks)) == 3


def test_logs_are_measured_from_the_state():
  made = make()
  logs = train(made, 5)
  estimates = state_of(made).eigenvectors.astype(np.float64)
  source = made._source
  truth = metrics.Truth(source.eigenvalues, source.eigenvectors)
  angles = metrics.angles(estimates, truth)
  assert logs['largest_angle'] == pytest.approx(np.degrees(angles.max()))
  assert logs['streak'] == metrics.longest_streak(angles)
  assert logs['subspace_distance'] == pytest.approx(
    1
    - np.square(estimates_basis(estimates) @ truth.eigenvectors[:3].T).sum() / 3
  )
  covariance = truth.eigenvectors.T * truth.eigenvalues @ truth.eigenvectors
  quotients = np.diag(estimates @ covariance @ estimates.T)
  assert logs['rayleigh_error'] == pytest.approx(
    np.abs(quotients - truth.eigenvalues[:3]).max(), rel=1e-4
  )
  assert {'batch_utility', 'batch_rayleigh_quotients'} < logs.keys()


def estimates_basis(estimates):
  return np.linalg.qr(estimates.T)[0].T


# Evaluation.


def evaluated(made, folder, step):
  writer = run_directory.Writer(str(folder), 'eval')
  return made.evaluate(global_step=np.array([step]), rng=None, writer=writer)


def test_evaluation_without_the_truth_is_the_same_but_for_errors(npy, tmp_path):
  made = make(dataset=npy)
  train(made, 4)
  full = evaluated(made, tmp_path, 4)
  without = make(dataset=npy, eval={'exact_up_to_dim': 7})
  without.restore_from_snapshot(made.snapshot_state())
  assert without.truth is None
  assert without.measure({}) == {}
  less = evaluated(without, tmp_path / 'b', 4)
  assert less.keys() == {'utility', 'residual'}
  for name, value in less.items():
    assert value == pytest.approx(full[name], rel=1e-5)
  assert full['residual'] > 1e-3


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_the_best_checkpoint_is_chosen_by_what_is_measured(mode):
  config = base_config.get_base_config().unlock()
  exact, not_exact = (
    make(mode=mode, eval={'exact_up_to_dim': dim}) for dim in (8, 7)
  )
  for metric in base_config.SCHEMA.metrics:
    config.best_model_eval_metric = metric
    exact.check_config(config)
    if metric in ('residual', 'utility'):
      not_exact.check_config(config)
      continue
    with pytest.raises(errors.UserError, match=f'={metric} is not measured'):
      not_exact.check_config(config)
  assert not_exact.train_state is None  # Nothing was computed for it.
  config.best_model_eval_metric = ''
  not_exact.check_config(config)


def test_evaluation_writes_what_it_found(npy, tmp_path):
  made = make(dataset=npy)
  train(made, 4)
  result = evaluated(made, tmp_path, 4)
  written = json.loads((tmp_path / 'eval/metrics_00000004.json').read_text())
  assert written['step'] == 4
  for name, value in result.items():
    assert written[name] == pytest.approx(value)
  estimates = state_of(made).eigenvectors.astype(np.float64)
  covariance = np.cov(np.load(npy).T, bias=True)
  gram = estimates @ covariance @ estimates.T
  np.testing.assert_allclose(
    written['rayleigh_quotients'],
    np.diag(gram) / np.square(estimates).sum(axis=1),
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    written['eigenvalues'], np.linalg.eigvalsh(covariance)[:-4:-1]
  )
  assert sum(written['utilities']) == pytest.approx(written['utility'])
  assert not (tmp_path / 'eval/eigenvectors_00000004.png').exists()


def test_images_become_pictures(tmp_path):
  made = make(dataset='fashion_mnist_10k', eval={'exact_up_to_dim': 0})
  made.ensure_train_state()
  evaluated(made, tmp_path, 0)
  writer = run_directory.Writer(str(tmp_path), 'train')
  made.write_samples(writer, 0)
  for name in ('eval/eigenvectors_00000000', 'samples/step_00000000'):
    assert Image.open(tmp_path / f'{name}.png').size == (3 * 58, 64)


def test_graphs_become_clusters(tmp_path):
  made = make(
    dataset='stochastic_block_model',
    stochastic_block_model={'num_blocks': 3, 'block_size': 5, 'within': 1.0},
    centring='none',
    training={'batch_size': 4},
  )
  made.ensure_train_state()
  evaluated(made, tmp_path, 0)
  path = tmp_path / 'eval/clusters_00000000.json'
  labels = json.loads(path.read_text())
  assert set(labels) == {str(i) for i in range(15)}
  assert set(labels.values()) <= {0, 1, 2}


def test_clusters_are_written_under_the_names_of_nodes(tmp_path):
  # Two cliques that an edge connects.
  cliques = ['abcd', 'wxyz']
  edges = [pair for c in cliques for pair in itertools.combinations(c, 2)]
  path = tmp_path / 'graph.csv'
  path.write_text('\n'.join(f'{a},{b}' for a, b in [*edges, ('a', 'w')]))
  made = make(
    dataset=str(path),
    centring='none',
    num_eigenvectors=2,
    training={'batch_size': 8},
    optimizer=SGD | {'lr': 0.2},
  )
  train(made, 500)
  evaluated(made, tmp_path, 500)
  labels = json.loads((tmp_path / 'eval/clusters_00000500.json').read_text())
  assert list(labels) == list('abcdwxyz')
  found = [{labels[name] for name in clique} for clique in cliques]
  assert found in ([{0}, {1}], [{1}, {0}])


# What is refused.


@pytest.mark.parametrize(
  ('matrix', 'centring'),
  [
    (np.full((40, 8), 0.1), 'streaming'),
    (np.tile(np.arange(8) / 7, (40, 1)), 'data'),
    (np.zeros((40, 8)), 'none'),
  ],
)
def test_equal_examples_are_refused(tmp_path, matrix, centring):
  path = tmp_path / 'x.npy'
  np.save(path, matrix)
  with pytest.raises(errors.UserError, match='x.npy: all examples are equal'):
    make(dataset=str(path), centring=centring)


@pytest.mark.filterwarnings('error')
def test_equal_examples_get_no_good_verdict(tmp_path):
  path = tmp_path / 'x.npy'
  np.save(path, np.ones((40, 8)))
  made = make(dataset=str(path), centring='data', eval={'exact_up_to_dim': 0})
  made.ensure_train_state()
  assert np.isnan(evaluated(made, tmp_path, 0)['residual'])


def test_equal_examples_that_are_not_centred_have_an_eigenvector(tmp_path):
  path = tmp_path / 'x.npy'
  np.save(path, np.ones((40, 8)))
  made = make(dataset=str(path), centring='none')
  assert train(made, 300)['streak'] >= 1


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'num_eigenvectors': 9}, 'more than the dimension of synthetic, 8'),
    ({'training': {'batch_size': 6}}, 'not divisible by the number of groups'),
    ({'training': {'player_groups': 3}}, 'does not divide the number of dev'),
    ({'training': {'player_groups': 4}}, 'more than the 3 players'),
  ],
)
def test_sizes_that_do_not_suit_each_other(settings, message):
  with pytest.raises(errors.UserError, match=message):
    make(**settings)


def test_more_examples_than_there_are(npy):
  with pytest.raises(errors.UserError, match='more than the 40 examples'):
    make(dataset=npy, training={'batch_size': 44})


def test_divergence_is_an_error_of_one_line():
  made = make(method='sanger', optimizer=SGD | {'lr': 1e6})
  with pytest.raises(errors.TrainingError, match='step 3: not finite: params'):
    train(made, 20)


# The commands.


def start(config, folder, env, *arguments):
  return subprocess.run(
    [
      sys.executable,
      '-m',
      'eigengame_unloaded.experiment',
      f'--config={ROOT}/configs/{config}_config.py',
      f'--config.checkpoint_dir={folder}',
      *arguments,
    ],
    env=env,
    check=False,
    capture_output=True,
    text=True,
    timeout=500,
  )


def run(*arguments):
  result = start(*arguments)
  assert result.returncode == 0, result.stderr
  return result.stdout


@pytest.mark.slow
def test_commands_without_the_truth(one_device_env, tmp_path):
  command = [
    'eigengame_synthetic',
    tmp_path,
    one_device_env,
    '--config.training_steps=20',
    '--config.experiment_kwargs.config.eval.exact_up_to_dim=0',
  ]
  run(*command, '--config.best_model_eval_metric=')
  refused = start(*command, '--jaxline_mode=eval')
  assert refused.returncode == 2
  assert refused.stderr.startswith(
    'error: config.best_model_eval_metric=subspace_distance is not measured'
  )
  assert refused.stderr.count('\n') == 1
  advice = refused.stderr.strip().split('; set ')[1].split(' and ')
  settings = [f'--{setting}' for setting in advice]
  out = run(*command, *settings, '--jaxline_mode=eval')
  found = dict(line.split() for line in out.splitlines()[1:])
  assert set(found) == {'residual', 'utility'}
  assert (tmp_path / 'checkpoints' / 'best' / '20').is_dir()


@pytest.mark.slow
@pytest.mark.optimised  # 20,000 steps take more time than their compilation.
@pytest.mark.parametrize(
  ('config', 'num_eigenvectors'),
  [('eigengame_synthetic', 10), ('eigengame_fashion_mnist', 16)],
)
def test_configs_reach_their_targets(
  config, num_eigenvectors, one_device_env, tmp_path
):
  run(config, tmp_path, one_device_env)
  out = run(config, tmp_path, one_device_env, '--jaxline_mode=eval')
  found = dict(line.split() for line in out.splitlines()[1:])
  assert float(found['streak']) == num_eigenvectors
  assert float(found['largest_angle']) < 1
