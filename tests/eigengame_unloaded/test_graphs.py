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
"""Edge lists and spectral clustering."""

import numpy as np
import pytest

from eigengame_unloaded import graphs
from jaxline_harness import errors


def read(tmp_path, text):
  path = tmp_path / 'graph.edges'
  path.write_text(text)
  return graphs.read_edge_list(path)


def test_edge_list(tmp_path):
  graph = read(tmp_path, '# a comment\n0 3\n1 1\n3 2 # another\n')
  assert graph.num_nodes == 4
  # An edge from a node to itself does not change the Laplacian.
  np.testing.assert_array_equal(graph.edges, [[0, 3], [3, 2]])
  np.testing.assert_array_equal(graph.weights, [1, 1])
  np.testing.assert_array_equal(graph.degrees(), [1, 0, 1, 2])


def test_weighted_edge_list(tmp_path):
  graph = read(tmp_path, '0 1 0.5\n2 1 2\n')
  np.testing.assert_array_equal(graph.weights, [0.5, 2])
  np.testing.assert_array_equal(
    graph.laplacian().toarray(),
    [[0.5, -0.5, 0], [-0.5, 2.5, -2], [0, -2, 2]],
  )


def test_edges_given_twice_count_twice(tmp_path):
  graph = read(tmp_path, '0 1\n1 0\n')
  np.testing.assert_array_equal(graph.laplacian().toarray(), [[2, -2], [-2, 2]])


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'two nodes'),
    ('0\n1\n', 'two nodes'),
    ('0 1 2 3\n', 'two nodes'),
    ('0 nan\n', 'two nodes'),
    ('a b\n', 'no edge list'),
    ('0 1\n1 2 3\n', 'no edge list'),
    ('0 1.5\n', 'whole numbers'),
    ('0 -1\n', 'whole numbers'),
    ('0 1e12\n', 'above'),
    ('0 1 0\n', 'positive'),
    ('2 2\n', 'no edge'),
  ],
)
def test_what_is_no_edge_list_is_refused(tmp_path, text, message):
  with pytest.raises(errors.UserError, match=message):
    read(tmp_path, text)


def test_stochastic_block_model():
  graph = graphs.stochastic_block_model(3, 60, 0.5, 0.05, seed=1)
  assert graph.num_nodes == 180
  a, b = graph.edges.T
  assert (a < b).all()  # No loops, no edge twice.
  assert len(np.unique(graph.edges, axis=0)) == len(graph.edges)
  same = a // 60 == b // 60
  # Five standard deviations of a binomial.
  for found, pairs, p in (
    (same.sum(), 3 * 60 * 59 / 2, 0.5),
    ((~same).sum(), 3 * 60 * 60, 0.05),
  ):
    assert abs(found - pairs * p) < 5 * np.sqrt(pairs * p * (1 - p))
  again = graphs.stochastic_block_model(3, 60, 0.5, 0.05, seed=1)
  np.testing.assert_array_equal(again.edges, graph.edges)
  with pytest.raises(errors.UserError, match='no edges'):
    graphs.stochastic_block_model(2, 3, 0.0, 0.0, seed=0)


def test_clusters_of_exact_eigenvectors():
  graph = graphs.stochastic_block_model(3, 30, 0.6, 0.02, seed=0)
  _, vectors = np.linalg.eigh(graph.laplacian().toarray())
  labels = graphs.clusters(vectors.T[:3])
  blocks = labels.reshape(3, 30)
  assert (blocks == blocks[:, :1]).all()
  assert len(set(labels)) == 3
