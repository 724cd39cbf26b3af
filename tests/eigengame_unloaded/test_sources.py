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
"""Minibatches and the exact matrices that they estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigengame_unloaded import base_config
from eigengame_unloaded import graphs
from eigengame_unloaded import sources
from jaxline_harness import errors

KEY = jax.random.PRNGKey(3)
RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.standard_normal((40, 5)).astype(np.float32)


def drawn(source, draw, batch_size, num_shards=1):
  """A minibatch, put together from its shares."""
  arrays = jax.tree.map(jnp.asarray, source.arrays())
  shares = [
    source.draw(arrays, draw, batch_size, shard, num_shards)
    for shard in range(num_shards)
  ]
  return jax.tree.map(lambda *parts: np.concatenate(parts), *shares)


@pytest.fixture
def npy(tmp_path):
  path = tmp_path / 'matrix.npy'
  np.save(path, MATRIX)
  return path


def all_sources(npy):
  graph = graphs.stochastic_block_model(2, 10, 0.5, 0.2, seed=0)
  return {
    'gaussian': sources.GaussianSource(5, 'linear', 0.1, 0, KEY),
    'array': sources.ArraySource(MATRIX, KEY),
    'streamed': sources.StreamedSource(npy, KEY),
    'graph': sources.GraphSource(graph, KEY),
  }


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gaussian', 'array', 'streamed', 'graph'])
def test_shares_make_up_the_same_minibatch(npy, name):
  source = all_sources(npy)[name]
  whole = drawn(source, 2, 8)
  for num_shards in (2, 4):
    jax.tree.map(
      # The Gaussian's product has another shape in each share.
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
      drawn(source, 2, 8, num_shards),
      whole,
    )
  other = drawn(source, 3, 8)
  assert not np.allclose(jax.tree.leaves(other)[0], jax.tree.leaves(whole)[0])


@pytest.mark.parametrize('name', ['array', 'streamed', 'graph'])
def test_minibatches_of_an_epoch_average_to_the_exact_images(npy, name):
  source = all_sources(npy)[name]
  eigenvectors = RANDOM.standard_normal((3, source.dim)).astype(np.float32)
  size = next(n for n in (8, 5, 7, 1) if source.num_examples % n == 0)
  images = [
    source.images(jnp.asarray(eigenvectors), drawn(source, i, size))
    for i in range(source.num_examples // size)
  ]
  np.testing.assert_allclose(
    np.mean(images, axis=0),
    source.exact_images(eigenvectors, np.zeros(source.dim)),
    rtol=1e-4,
    atol=1e-5,
  )


# The Gaussian.


def test_gaussian_has_the_chosen_spectrum():
  for decay, expected in (
    ('linear', [1.0, 0.505, 0.01]),
    ('exponential', [1.0, 0.1, 0.01]),
  ):
    source = sources.GaussianSource(3, decay, 0.01, 0, KEY)
    matrix = source.exact_images(np.eye(3), np.zeros(3))
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix)[::-1], expected)
    np.testing.assert_allclose(
      source.eigenvectors @ matrix,
      np.array(expected)[:, None] * source.eigenvectors,
      atol=1e-12,
    )


def test_gaussian_minibatches_have_its_covariance():
  source = sources.GaussianSource(4, 'linear', 0.1, 0, KEY)
  batch = drawn(source, 0, 100_000)
  covariance = batch.T @ batch / len(batch)
  # Standard errors are below 1/√100,000 · √2.
  np.testing.assert_allclose(
    covariance, source.exact_images(np.eye(4), np.zeros(4)), atol=0.02
  )
  np.testing.assert_allclose(batch.mean(axis=0), source.mean(), atol=0.015)


# Arrays, in memory and on disk.


def test_exact_images_are_of_the_centred_covariance(npy, monkeypatch):
  monkeypatch.setattr(sources, '_BLOCK_VALUES', 5 * 7)  # Blocks of 7 and 5.
  for source in (
    sources.ArraySource(MATRIX, KEY),
    sources.StreamedSource(npy, KEY),
  ):
    mean = source.mean()
    np.testing.assert_allclose(mean, MATRIX.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
      source.exact_images(np.eye(5), mean),
      np.cov(MATRIX.T.astype(np.float64), bias=True),
      rtol=1e-10,
    )


def test_images_of_bytes_become_numbers_up_to_one():
  images = RANDOM.integers(256, size=(6, 2, 3, 1), dtype=np.uint8)
  source = sources.ArraySource(images, KEY)
  assert (source.dim, source.image_shape) == (6, (2, 3, 1))
  batch = drawn(source, 0, 6)
  expected = images.reshape(6, 6) / 255
  np.testing.assert_allclose(
    np.sort(batch, axis=0), np.sort(expected, axis=0), rtol=1e-6
  )
  np.testing.assert_allclose(source.read(0, 6), expected)


def test_a_streamed_matrix_gives_the_draws_of_one_in_memory(npy):
  in_memory = sources.ArraySource(MATRIX, KEY)
  streamed = sources.StreamedSource(npy, KEY)
  for draw in (0, 1, 7):
    np.testing.assert_array_equal(
      drawn(streamed, draw, 8), drawn(in_memory, draw, 8)
    )


def test_a_streamed_matrix_stays_on_disk(npy):
  source = sources.StreamedSource(npy, KEY)
  assert isinstance(source._matrix, np.memmap)
  assert sum(array.nbytes for array in source.arrays().values()) < 100


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.float64, np.float16])
def test_a_streamed_matrix_may_hold_any_real_numbers(tmp_path, dtype):
  values = RANDOM.integers(100, size=(8, 3, 2)).astype(dtype)
  np.save(tmp_path / 'x.npy', values)
  source = sources.StreamedSource(tmp_path / 'x.npy', KEY)
  batch = drawn(source, 0, 8)
  assert batch.dtype == np.float32
  np.testing.assert_array_equal(
    np.sort(batch, axis=0), np.sort(values.reshape(8, 6), axis=0)
  )


@pytest.mark.parametrize(
  ('array', 'message'),
  [
    (np.zeros(5), 'the rows of a matrix'),
    (np.zeros((0, 5)), 'the rows of a matrix'),
    (np.asfortranarray(np.ones((4, 3))), 'column by column'),
    (np.ones((4, 3), complex), 'real numbers'),
    (np.array([[{}]]), r'no \.npy file'),
  ],
)
def test_what_is_no_matrix_is_refused(tmp_path, array, message):
  path = tmp_path / 'x.npy'
  np.save(path, array, allow_pickle=True)
  with pytest.raises(errors.UserError, match=message):
    sources.StreamedSource(path, KEY)


def test_a_damaged_file_is_refused(npy):
  npy.write_bytes(npy.read_bytes()[:200])
  with pytest.raises(errors.UserError, match=r'no \.npy file'):
    sources.StreamedSource(npy, KEY)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_are_named(
  tmp_path, value, monkeypatch, caplog
):
  matrix = np.ones((40, 3))
  matrix[17, 2] = value
  path = tmp_path / 'x.npy'
  np.save(path, matrix)
  monkeypatch.setattr(sources, '_BLOCK_VALUES', 30)
  with pytest.raises(errors.UserError, match=r'x\.npy: row 17 .* not finite'):
    sources.StreamedSource(path, KEY)
  # A larger one is not read through before.
  monkeypatch.setattr(sources, '_READ_BEFORE', 0)
  source = sources.StreamedSource(path, KEY)
  with pytest.raises(errors.UserError, match=r'x\.npy: row 17 .* not finite'):
    source.mean()
  drawn(source, 0, 40)
  assert 'x.npy: row 17 (the first is 0)' in caplog.text


def test_an_npz_by_the_name_of_an_npy(tmp_path):
  path = tmp_path / 'x.npy'
  for size in (None, 100):
    with path.open('wb') as file:
      np.savez(file, MATRIX)
      file.truncate(size)
    with pytest.raises(
      errors.UserError, match=r'x\.npy: (no \.npy|not an arr)'
    ):
      sources.StreamedSource(path, KEY)


def test_given_mean(tmp_path):
  path = tmp_path / 'mean.npy'
  np.save(path, np.arange(3))
  np.testing.assert_array_equal(sources.load_mean(str(path), 3), [0, 1, 2])
  with pytest.raises(errors.UserError, match=r'4 finite numbers.*\(3,\)'):
    sources.load_mean(str(path), 4)


# Graphs.


def test_incidence_rows_give_the_laplacian():
  graph = graphs.Graph(
    4,
    np.array([[0, 1], [1, 2], [2, 3], [3, 1]], np.int32),
    np.array([1.0, 2.0, 0.5, 3.0]),
  )
  incidence = np.zeros((4, 4))
  for row, (a, b), weight in zip(
    incidence, graph.edges, graph.weights, strict=True
  ):
    row[a], row[b] = np.sqrt(weight), -np.sqrt(weight)
  laplacian = incidence.T @ incidence
  np.testing.assert_allclose(graph.laplacian().toarray(), laplacian)
  source = sources.GraphSource(graph, KEY)
  # Degrees 1, 6, 2.5, 3.5: the edge (1, 3) has the most.
  assert source.bound == 9.5
  assert np.linalg.eigvalsh(laplacian).max() < source.bound
  exact = source.exact_images(np.eye(4), np.zeros(4))
  np.testing.assert_allclose(exact, np.eye(4) - laplacian / 9.5, atol=1e-12)
  batch = (graph.edges[1:3], graph.weights[1:3].astype(np.float32))
  rows = incidence[1:3]
  np.testing.assert_allclose(
    source.images(jnp.eye(4), batch),
    np.eye(4) - (4 / 2) * rows.T @ rows / 9.5,
    atol=1e-6,
  )


# By the config.


def config(**settings):
  full = base_config.get_base_config().experiment_kwargs.config
  full.update(settings)
  return full


def test_load_by_name(npy, tmp_path):
  edges = tmp_path / 'graph.edges'
  edges.write_text('0 1\n1 2\n')
  for dataset, kind, dim in (
    ('synthetic', sources.GaussianSource, 50),
    ('stochastic_block_model', sources.GraphSource, 400),
    (str(edges), sources.GraphSource, 3),
    (str(npy), sources.StreamedSource, 5),
    ('fashion_mnist_10k', sources.ArraySource, 784),
  ):
    source = sources.load(config(dataset=dataset), KEY)
    assert isinstance(source, kind)
    assert source.dim == dim
  source = sources.load(
    config(dataset='matrix.npy', data_dir=str(tmp_path)), KEY
  )
  assert source.num_examples == 40


def test_load_what_is_not_there(tmp_path):
  for dataset in ('nowhere.npy', 'nowhere.edges', 'n' * 5000 + '.npy'):
    for data_dir in ('', str(tmp_path), 'n' * 5000):
      with pytest.raises(errors.UserError, match=f'{dataset}: no such file'):
        sources.load(config(dataset=dataset, data_dir=data_dir), KEY)


def test_memory_is_not_asked_for_before_it_is_needed(tmp_path):
  """A matrix of 4 TB, most of it a hole in the file, opens and is drawn."""
  path = tmp_path / 'huge.npy'
  rows, columns = 1 << 30, 1024
  header = {
    'descr': '<f4',
    'fortran_order': False,
    'shape': (rows, columns),
  }
  with open(path, 'wb') as file:
    np.lib.format.write_array_header_1_0(file, header)
    try:
      file.truncate(file.tell() + 4 * rows * columns)
    except OSError:
      pytest.skip('this file system has no files of 4 TB')
  source = sources.StreamedSource(path, KEY)
  assert drawn(source, 0, 16).shape == (16, columns)
