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

import codecs
from collections.abc import Iterator, Sequence
import csv
import itertools
import math
import pathlib
import re
from typing import Any, NamedTuple
import warnings

from absl import logging
import numpy as np
from scipy import sparse
from scipy.cluster import vq

from jaxline_harness import errors
from jaxline_harness import memory

# At the start of a line, or after a space.
_COMMENT = re.compile(r'(^|\s)[#%].*')
_WHOLE_NUMBER = re.compile(r'[+-]?[0-9]{1,18}(\.0*)?')
# Of columns, in small letters and digits alone.
_HEADER_NAMES = frozenset(
  kind + suffix
  for kind in ('source', 'target', 'src', 'dst', 'from', 'to')
  for suffix in ('', 'id', 'node', 'nodeid')
)
_NO_NAMES = frozenset(('', 'nan', 'NaN'))
_STARTS = 16


class Graph(NamedTuple):
  """An undirected graph.

  Attributes:
    num_nodes: n.
    edges: two different nodes each, int32 `(E, 2)`.
    weights: positive, float64 `(E,)`.
    names: what the nodes are called where they come from, whole numbers or
      texts, `(n,)`; None: as they are numbered.
  """

  num_nodes: int
  edges: np.ndarray
  weights: np.ndarray
  names: list[int] | list[str] | None = None

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
    path: of a text file, each line two nodes and perhaps a weight, between them
      commas, semicolons, tabs or spaces. What follows a # or % is a comment;
      the first line may be a header. Nodes are whatever names occur. Numbered
      they are in ascending order if all are whole numbers, else in that of
      their texts. An edge from a node to itself is left out, since it does not
      change the Laplacian; but its node is one, if need be without an edge.

  Returns:
    The graph.

  Raises:
    UserError: it is no such file.
  """
  texts: dict[str, int] = {}
  ends, weights = [], []
  try:
    # Up to 30 bytes for one of the file, as measured: where no node is twice.
    memory.check_host(f'{path}: its edges', 30 * path.stat().st_size)
    for line, fields in _skip_header(_split_lines(path)):
      ends += [texts.setdefault(name, len(texts)) for name in fields[:2]]
      weights.append(_parse_number(fields[2]) if len(fields) == 3 else 1.0)
      if weights[-1] is None or not 0 < weights[-1] < math.inf:
        raise errors.UserError(
          f'{path}, line {line}: the weight {fields[2]!r} must be a positive '
          'number.'
        )
  except (OSError, UnicodeError, csv.Error) as error:
    raise errors.UserError(f'{path}: no edge list ({error}).') from None
  names, places = _order(list(texts))
  edges = places[np.reshape(ends, (-1, 2)).astype(np.int32)]
  proper = edges[:, 0] != edges[:, 1]
  if not proper.any():
    raise errors.UserError(
      f'{path}: no edge; a line must be two nodes and perhaps a weight.'
    )
  graph = Graph(len(names), edges[proper], np.array(weights)[proper], names)
  _report_isolated_nodes(graph, path)
  return graph


def _split_lines(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
  """The number of each line that says something, and its fields."""
  with path.open('rb') as file:
    is_wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
  separator = None
  widths: tuple[int, ...] = (2, 3)
  with path.open(encoding='utf-16' if is_wide else 'utf-8-sig') as file:
    for number, line in enumerate(file, start=1):
      line = _COMMENT.sub('', line).strip()
      if not line:
        continue
      if separator is None:
        separator = next((mark for mark in ',;\t' if mark in line), '')
      fields = line.split()
      if separator and separator in line:
        (fields,) = csv.reader([line], delimiter=separator)
        fields = [field.strip() for field in fields]
      if len(fields) not in widths or not _NO_NAMES.isdisjoint(fields[:2]):
        raise errors.UserError(
          f'{path}, line {number}: each line must be two nodes and perhaps a '
          'weight, all lines alike.'
        )
      widths = (len(fields),)
      yield number, fields


def _skip_header(
  rows: Iterator[tuple[int, list[str]]],
) -> Iterator[tuple[int, list[str]]]:
  """All rows but a first one that names columns and not nodes."""
  head = list(itertools.islice(rows, 2))
  if head and _is_header(*(fields for _, fields in head)):
    logging.warning('Line %d, %s, is taken as a header.', *head[0])
    head = head[1:]
  return itertools.chain(head, rows)


def _is_header(first: list[str], second: Sequence[str] = ()) -> bool:
  are_numbers = [_parse_number(field) is not None for field in first]
  letters = [re.sub(r'[^a-z0-9]', '', name.lower()) for name in first[:2]]
  return (
    not any(are_numbers)
    and (len(first) == 3 or _HEADER_NAMES.issuperset(letters))
  ) or (
    not any(are_numbers[:2])
    and len(second) > 0
    and all(map(_WHOLE_NUMBER.fullmatch, second[:2]))
  )


def _parse_number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None


def _order(texts: list[str]) -> tuple[list[Any], np.ndarray]:
  """Nodes in order, and the place of each text among them."""
  names: list[Any] = texts
  if all(map(_WHOLE_NUMBER.fullmatch, texts)):
    names = [int(text.split('.')[0]) for text in texts]
  ordered = sorted(set(names))
  places = {name: place for place, name in enumerate(ordered)}
  return ordered, np.array([places[name] for name in names], np.int32)


def _report_isolated_nodes(graph: Graph, path: pathlib.Path) -> None:
  isolated = np.flatnonzero(graph.degrees() == 0)
  if isolated.size:
    first = int(isolated[0])
    logging.warning(
      '%s: %d of %d nodes have no edge to another, the first %r. Each is a '
      'cluster of its own, with an eigenvector of its own.',
      path,
      isolated.size,
      graph.num_nodes,
      graph.names[first] if graph.names else first,
    )


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
