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
"""Where minibatches come from, and the exact matrix that they estimate.

Which examples a draw takes is a pure function of seed, step and device, for
every source, so that restarts are exact.
"""

import abc
from collections.abc import Iterator
import os
import pathlib
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np

from eigengame_unloaded import graphs
from jaxline_harness import configs
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import memory
from jaxline_harness import prng

DECAYS = ('exponential', 'linear')
CENTRINGS = ('streaming', 'data', 'none')
SYNTHETIC = 'synthetic'
BLOCK_MODEL = 'stochastic_block_model'
_EDGE_LIST_SUFFIXES = ('.edges', '.edgelist', '.txt', '.csv', '.tsv')
# Of an exact pass over examples: 64 MiB of float64.
_BLOCK_VALUES = 1 << 23
# A matrix of so many bytes is read through before training, in a few seconds.
_READ_BEFORE = 1 << 32


class Source(abc.ABC):
  """A stream of minibatches, and the matrix M that they estimate.

  Attributes:
    dim: d.
    num_examples: None where there is no end to them.
    image_shape: (height, width, channels) where examples are images, or None.
  """

  dim: int
  num_examples: int | None = None
  image_shape: tuple[int, ...] | None = None

  @abc.abstractmethod
  def arrays(self) -> dict[str, np.ndarray]:
    """What `draw` needs on each device."""

  @abc.abstractmethod
  def draw(
    self,
    arrays: dict[str, jax.Array],
    draw: Any,
    batch_size: int,
    shard: Any,
    num_shards: int,
  ) -> Any:
    """A share of a minibatch; traced.

    Args:
      arrays: what `arrays` returned, on the device.
      draw: the number of the minibatch.
      batch_size: its size, over all shares.
      shard: which share.
      num_shards: of how many. All shares one after the other are the same
        minibatch for any number of them.

    Returns:
      Examples, float32 `(batch_size / num_shards, d)`, or what `images` of this
      source takes in their place.
    """

  def images(self, eigenvectors: jax.Array, batch: Any) -> jax.Array:
    """M vᵢ by the estimate that a minibatch gives, `(k, d)`; traced."""
    return eigenvectors @ batch.T @ batch / len(batch)

  @abc.abstractmethod
  def mean(self) -> np.ndarray:
    """The examples' exact mean, float64 `(d,)`."""

  @abc.abstractmethod
  def exact_images(
    self, eigenvectors: np.ndarray, mean: np.ndarray
  ) -> np.ndarray:
    """M vᵢ, exactly.

    Args:
      eigenvectors: float64 `(k, d)`.
      mean: what is subtracted from examples.

    Returns:
      float64 `(k, d)`.
    """


class GaussianSource(Source):
  """Fresh draws from a Gaussian of known covariance."""

  def __init__(
    self, dim: int, decay: str, smallest: float, seed: int, key: jax.Array
  ):
    """Chooses the covariance.

    Args:
      dim: d.
      decay: of the eigenvalues, one of `DECAYS`.
      smallest: the last eigenvalue; the first is 1.
      seed: of the eigenvectors.
      key: of the draws.
    """
    self.dim = dim
    spacing = np.geomspace if decay == 'exponential' else np.linspace
    self.eigenvalues = spacing(1.0, smallest, dim)
    random = np.random.default_rng(seed)
    self.eigenvectors = np.linalg.qr(random.standard_normal((dim, dim)))[0].T
    self._key = np.asarray(key)

  def arrays(self):
    root = np.sqrt(self.eigenvalues)[:, None] * self.eigenvectors
    return {'key': self._key, 'root': root.astype(np.float32)}

  def draw(self, arrays, draw, batch_size, shard, num_shards):
    # Each example has a key of its own: shares need not be the same for all
    # numbers of devices.
    key = prng.step_key(jax.random.fold_in(arrays['key'], draw))
    rows = draws.device_rows(jnp.arange(batch_size), shard, num_shards)
    normal = jax.vmap(
      lambda row: jax.random.normal(jax.random.fold_in(key, row), (self.dim,))
    )
    return normal(rows) @ arrays['root']

  def mean(self):
    return np.zeros(self.dim)

  def exact_images(self, eigenvectors, mean):
    scores = eigenvectors @ self.eigenvectors.T
    images = scores * self.eigenvalues @ self.eigenvectors
    return images + np.outer(eigenvectors @ mean, mean)


class _FiniteSource(Source):
  """Examples that can be passed over from the first to the last."""

  num_examples: int

  @abc.abstractmethod
  def read(self, start: int, stop: int) -> np.ndarray:
    """Some examples, in float64 `(stop - start, d)`."""

  def _blocks(self) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK_VALUES // self.dim)
    for start in range(0, self.num_examples, rows):
      yield self.read(start, min(start + rows, self.num_examples))

  def mean(self):
    total = sum(block.sum(axis=0) for block in self._blocks())
    return np.asarray(total) / self.num_examples

  def exact_images(self, eigenvectors, mean):
    images = np.zeros_like(eigenvectors, np.float64)
    for block in self._blocks():
      centred = block - mean
      images += eigenvectors @ centred.T @ centred
    return images / self.num_examples


class ArraySource(_FiniteSource):
  """Examples that lie in the devices' memory: images as [0, 1], or vectors."""

  def __init__(self, examples: np.ndarray, key: jax.Array):
    """Takes examples.

    Args:
      examples: bytes of images `(N, height, width, channels)`, or floats
        `(N, d)`.
      key: of the draws' order.
    """
    self.num_examples = len(examples)
    self.image_shape = examples.shape[1:] if examples.ndim == 4 else None
    self._examples = examples.reshape(len(examples), -1)
    self._scale = 1 / 255 if examples.dtype == np.uint8 else 1.0
    self.dim = self._examples.shape[1]
    self._key = np.asarray(key)

  def arrays(self):
    return {'key': self._key, 'examples': self._examples}

  def draw(self, arrays, draw, batch_size, shard, num_shards):
    batch = draws.draw_batch(
      arrays['examples'], arrays['key'], draw, batch_size, shard, num_shards
    )
    return batch.astype(jnp.float32) * self._scale

  def read(self, start, stop):
    return self._examples[start:stop].astype(np.float64) * self._scale


class StreamedSource(_FiniteSource):
  """A matrix on disk, larger than memory; each draw reads its own rows.

  The device computes which rows a draw takes, as for examples in memory, and
  the host fetches just those: a callback that is a pure function of the rows'
  numbers. So chunks, restarts and many devices are as exact as elsewhere, and
  nothing is kept between draws but the operating system's cache.
  """

  def __init__(self, path: pathlib.Path, key: jax.Array):
    """Opens a matrix.

    Args:
      path: of an `.npy` file, numbers `(N, ...)`.
      key: of the draws' order.

    Raises:
      UserError: it is no such file.
    """
    matrix = _open_npy(path)
    if matrix.ndim < 2 or not matrix.size:
      raise errors.UserError(
        f'{path}: examples must be the rows of a matrix; its shape is '
        f'{matrix.shape}.'
      )
    if not matrix.flags.c_contiguous:
      raise errors.UserError(
        f'{path} is stored column by column, so that an example is spread over '
        'the whole file; save np.ascontiguousarray of it.'
      )
    if len(matrix) > np.iinfo(np.int32).max:
      raise errors.UserError(f'{path}: more than 2³¹ - 1 rows.')
    self._matrix = matrix.reshape(len(matrix), -1)
    self.num_examples, self.dim = self._matrix.shape
    self._key = np.asarray(key)
    self._path = path
    if self._matrix.dtype.kind == 'f' and self._matrix.nbytes <= _READ_BEFORE:
      for _ in self._blocks():
        pass  # For its checks.

  def arrays(self):
    return {'key': self._key}

  def draw(self, arrays, draw, batch_size, shard, num_shards):
    indices = draws.device_rows(
      draws.draw_indices(arrays['key'], draw, batch_size, self.num_examples),
      shard,
      num_shards,
    )
    shape = jax.ShapeDtypeStruct((len(indices), self.dim), jnp.float32)
    return jax.pure_callback(self._fetch, shape, indices)

  def _fetch(self, indices):
    with np.errstate(over='ignore'):
      rows = self._matrix[np.asarray(indices)].astype(np.float32)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():  # Of a matrix that was not read through before.
      logging.error('%s', self._describe_bad_row(indices[bad.argmax()]))
    return rows

  def read(self, start, stop):
    rows = self._matrix[start:stop].astype(np.float64)
    with np.errstate(over='ignore'):
      bad = ~np.isfinite(rows.astype(np.float32)).all(axis=1)
    if bad.any():
      raise errors.UserError(self._describe_bad_row(start + bad.argmax()))
    return rows

  def _describe_bad_row(self, row):
    return (
      f'{self._path}: row {row} (the first is 0) holds a number that is not '
      'finite in float32.'
    )


class GraphSource(Source):
  """Edges, whose incidence rows give the graph's Laplacian L.

  The row of an edge (a, b) of weight w is √w (e_a - e_b), and the sum of
  their outer products is L. Clusters show in the eigenvectors of L's *smallest*
  eigenvalues, the largest of I - L / c, which is M. Here c is the largest sum
  of the degrees at an edge's ends, which bounds L's eigenvalues, and by which
  all is divided so that learning rates carry over between graphs.

  Attributes:
    nodes: their names, in the order of the eigenvectors' entries.
  """

  def __init__(self, graph: graphs.Graph, key: jax.Array):
    """Takes a graph.

    Args:
      graph: at least one edge.
      key: of the draws' order.
    """
    self._graph = graph
    self.nodes = graph.names or range(graph.num_nodes)
    self.dim = graph.num_nodes
    self.num_examples = len(graph.edges)
    self.bound = float(graph.degrees()[graph.edges].sum(axis=1).max())
    self._key = np.asarray(key)

  def arrays(self):
    return {
      'key': self._key,
      'edges': self._graph.edges,
      'weights': self._graph.weights.astype(np.float32),
    }

  def draw(self, arrays, draw, batch_size, shard, num_shards):
    return draws.draw_batch(
      (arrays['edges'], arrays['weights']),
      arrays['key'],
      draw,
      batch_size,
      shard,
      num_shards,
    )

  def images(self, eigenvectors, batch):
    # The rows have two entries each: products with them are made of gathers
    # and scatters.
    edges, weights = batch
    scale = len(self._graph.edges) / (len(edges) * self.bound)
    differences = eigenvectors[:, edges[:, 0]] - eigenvectors[:, edges[:, 1]]
    flows = scale * weights * differences
    images = eigenvectors.at[:, edges[:, 0]].add(-flows)
    return images.at[:, edges[:, 1]].add(flows)

  def mean(self):
    raise NotImplementedError('Edges are not centred.')

  def exact_images(self, eigenvectors, mean):
    del mean
    laplacian = self._graph.laplacian()
    return eigenvectors - (laplacian @ eigenvectors.T).T / self.bound


# By the config.


def load(config: config_dict.ConfigDict, key: jax.Array) -> Source:
  """The source that a config names.

  Args:
    config: the field `experiment_kwargs.config`.
    key: of the draws.

  Returns:
    The source.

  Raises:
    UserError: it does not exist, or is damaged.
  """
  name, seed = config.dataset, config.random_seed
  if name == SYNTHETIC:
    settings = config.synthetic
    # What is random, its orthonormal basis, and a copy of either in between.
    memory.check_host(
      f'{configs.PREFIX}.synthetic.dim={settings.dim}: the eigenvectors',
      4 * 8 * settings.dim**2,
    )
    return GaussianSource(
      settings.dim, settings.decay, settings.smallest_eigenvalue, seed, key
    )
  if name == BLOCK_MODEL:
    settings = config.stochastic_block_model
    num_nodes = settings.num_blocks * settings.block_size
    # Of each pair its nodes, their blocks, a probability and what is drawn.
    memory.check_host(
      f'{configs.PREFIX}.stochastic_block_model: the pairs of its {num_nodes} '
      'nodes',
      6 * 8 * num_nodes * (num_nodes - 1) // 2,
    )
    return GraphSource(
      graphs.stochastic_block_model(**settings, seed=seed), key
    )
  if is_graph(name):
    return GraphSource(graphs.read_edge_list(_find(name, config)), key)
  if name.endswith('.npy'):
    return StreamedSource(_find(name, config), key)
  dataset = datasets.load(
    name, 'train', config.data_dir or None, [SYNTHETIC, BLOCK_MODEL]
  )
  return ArraySource(dataset.examples, key)


def is_graph(dataset: str) -> bool:
  """Whether a data set of this name is a graph."""
  return dataset == BLOCK_MODEL or dataset.endswith(_EDGE_LIST_SUFFIXES)


def load_mean(path: str, dim: int) -> np.ndarray:
  """Reads a mean that is given, float64 `(dim,)`; else raises UserError."""
  mean = np.asarray(_open_npy(pathlib.Path(path).expanduser()), np.float64)
  if mean.shape != (dim,) or not np.isfinite(mean).all():
    raise errors.UserError(
      f'{path}: the mean must be {dim} finite numbers; its shape is '
      f'{mean.shape}.'
    )
  return mean


def _find(name: str, config: config_dict.ConfigDict) -> pathlib.Path:
  """A path as it is given, or from `data_dir`."""
  path = os.path.expanduser(name)
  # Unlike those of pathlib, these functions take names that are too long.
  if not os.path.exists(path) and config.data_dir:
    path = os.path.join(os.path.expanduser(config.data_dir), path)
  if not os.path.isfile(path):
    raise errors.UserError(f'{path}: no such file.')
  return pathlib.Path(path)


def _open_npy(path: pathlib.Path) -> np.ndarray:
  """Maps an array of numbers into memory."""
  try:
    # Object arrays hold pickles, which can run code: they are refused.
    array = np.load(path, mmap_mode='r', allow_pickle=False)
  except Exception as error:  # Also zipfile's, of what is an .npz.
    raise errors.UserError(
      f'{path}: no .npy file ({errors.one_line(error, 200)}).'
    ) from None
  if not isinstance(array, np.ndarray) or array.dtype.kind not in 'buif':
    raise errors.UserError(f'{path}: not an array of real numbers.')
  return array
