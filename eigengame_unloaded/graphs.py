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
"""Graphs as edge lists: where they come from, and what their clusters are."""

import pathlib
from typing import NamedTuple
import warnings

import numpy as np
from scipy import sparse
from scipy.cluster import vq

from jaxline_harness import errors
from jaxline_harness import memory

# Of k-means.
_STARTS = 16


class Graph(NamedTuple):
  """An undirected graph.

  Attributes:
    num_nodes: n.
    edges: two different nodes each, int32 `(E, 2)`.
    weights: positive, float64 `(E,)`.
  """

  num_nodes: int
  edges: np.ndarray
  weights: np.ndarray

  def degrees(self) -> np.ndarray:
    """The sum of the weights at each node, `(n,)`."""
    return np.bincount(
      self.edges.ravel(), np.repeat(self.weights, 2), self.num_nodes
    )

  def laplacian(self) -> sparse.csr_array:
    """The diagonal of degrees minus the adjacency matrix, `(n, n)`."""
    row, column = self.edges.T
    shape = (self.num_nodes, self.num_nodes)
    adjacency = sparse.coo_array((self.weights, (row, column)), shape).tocsr()
    return sparse.diags_array(self.degrees()).tocsr() - adjacency - adjacency.T


def read_edge_list(path: pathlib.Path) -> Graph:
  """Reads a graph.

  Args:
    path: of a text file, each line two nodes, numbered from 0, and perhaps a
      weight. What follows a # is a comment. Edges from a node to itself are
      left out; they do not change the Laplacian.

  Returns:
    The graph.

  Raises:
    UserError: it is no such file.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # That it is empty is said below.
      table = np.loadtxt(path, ndmin=2)
  except (OSError, ValueError) as error:
    raise errors.UserError(f'{path}: no edge list ({error}).') from None
  if table.shape[1] not in (2, 3) or not np.isfinite(table).all():
    raise errors.UserError(
      f'{path}: each line must be two nodes and perhaps a weight.'
    )
  nodes = table[:, :2]
  if (nodes != np.floor(nodes)).any() or (nodes < 0).any():
    raise errors.UserError(f'{path}: nodes must be whole numbers from 0 up.')
  if nodes.max() >= np.iinfo(np.int32).max:
    raise errors.UserError(f'{path}: a node has a number above 2³¹ - 2.')
  weights = table[:, 2] if table.shape[1] == 3 else np.ones(len(table))
  if (weights <= 0).any():
    raise errors.UserError(f'{path}: weights must be positive.')
  proper = nodes[:, 0] != nodes[:, 1]
  if not proper.any():
    raise errors.UserError(f'{path}: no edge between two nodes.')
  num_nodes = int(nodes.max()) + 1
  memory.check_host(f'{path}: the degrees of {num_nodes} nodes', 24 * num_nodes)
  return Graph(num_nodes, nodes[proper].astype(np.int32), weights[proper])


def stochastic_block_model(
  num_blocks: int, block_size: int, within: float, between: float, seed: int
) -> Graph:
  """A random graph of equal blocks, node i in block i // block_size.

  Args:
    num_blocks: how many blocks.
    block_size: nodes in each.
    within: probability of an edge between two nodes of a block.
    between: probability of an edge between nodes of two blocks.
    seed: the graph is the same for the same seed.

  Returns:
    The graph, all weights 1.

  Raises:
    UserError: it has no edges.
  """
  num_nodes = num_blocks * block_size
  a, b = np.triu_indices(num_nodes, 1)
  probability = np.where(a // block_size == b // block_size, within, between)
  chosen = np.random.default_rng(seed).random(len(a)) < probability
  if not chosen.any():
    raise errors.UserError('this stochastic block model has no edges.')
  edges = np.stack([a[chosen], b[chosen]], axis=1).astype(np.int32)
  return Graph(num_nodes, edges, np.ones(len(edges)))


def clusters(eigenvectors: np.ndarray) -> np.ndarray:
  """Spectral clustering: k-means of the nodes' coordinates.

  The best of several starts: one alone may end where two clusters are one.

  Args:
    eigenvectors: of the Laplacian's k smallest eigenvalues, `(k, n)`.

  Returns:
    Each node's cluster, from 0 to k - 1, `(n,)`.
  """
  coordinates = np.asarray(eigenvectors, np.float64).T
  random = np.random.default_rng(0)

  def start():
    means, labels = vq.kmeans2(
      coordinates, len(eigenvectors), iter=100, minit='++', rng=random
    )
    return np.sum((coordinates - means[labels]) ** 2), labels

  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of clusters without nodes.
    return min((start() for _ in range(_STARTS)), key=lambda found: found[0])[1]
