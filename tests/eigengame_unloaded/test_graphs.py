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
  ('text', 'names', 'edges'),
  [
    ('1 2\n2 3\n', [1, 2, 3], [[0, 1], [1, 2]]),
    ('40 7\n7 1999999999\n', [7, 40, 1999999999], [[1, 0], [0, 2]]),
    ('-1 0\n10 9\n', [-1, 0, 9, 10], [[0, 1], [3, 2]]),
    ('1.0 01\n2.0 1\n', [1, 2], [[1, 0]]),
    ('carol al\nal bob\n', ['al', 'bob', 'carol'], [[2, 0], [0, 1]]),
    ('b 1\n1 10\n', ['1', '10', 'b'], [[2, 0], [0, 1]]),
    ('0 1.5\n', ['0', '1.5'], [[0, 1]]),
    (f'{"9" * 5000} a\n', ['9' * 5000, 'a'], [[0, 1]]),
    ('José Åsa\n', ['José', 'Åsa'], [[0, 1]]),
  ],
)
def test_nodes_are_the_names_that_occur(tmp_path, text, names, edges):
  graph = read(tmp_path, text)
  assert graph.names == names
  assert graph.num_nodes == len(names)
  np.testing.assert_array_equal(graph.edges, edges)


@pytest.mark.parametrize(
  'text',
  [
    '1,2\n2,3\n',
    '1, 2\r\n2 ,3\r\n',
    '1\t2\n2\t3\n',
    '1;2\n2;3\n',
    '"1","2"\n"2","3"\n',
    '\n% sym unweighted\n% 2 3 3\n1 2\n\n2 3 % last\n',
    '# a\n1 2\n2 3# no comment begins here\n'.replace('# no', ' # a'),
    'source,target\n1,2\n2,3\n',
    '# FromNodeId\tToNodeId\n1\t2\n2\t3\n',
    'FromNodeId\tToNodeId\n1\t2\n2\t3\n',
    'node1 node2\n1 2\n2 3\n',
    'Source;Target;Weight\n1;2;1\n2;3;1\n',
  ],
)
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_ways_to_write_an_edge_list(tmp_path, text, encoding):
  path = tmp_path / 'graph.csv'
  path.write_bytes(text.encode(encoding))
  graph = graphs.read_edge_list(path)
  assert graph.names == [1, 2, 3]
  np.testing.assert_array_equal(graph.edges, [[0, 1], [1, 2]])
  np.testing.assert_array_equal(graph.weights, [1, 1])


def test_names_with_spaces(tmp_path):
  graph = read(tmp_path, 'Source,Target\nAda L.,"Boole, G."\n')
  assert graph.names == ['Ada L.', 'Boole, G.']
  graph = read(tmp_path, 'Ada L.\tCharles B.\t0.5\n')
  assert graph.names == ['Ada L.', 'Charles B.']
  np.testing.assert_array_equal(graph.weights, [0.5])


def test_a_header_is_told_from_an_edge(tmp_path):
  assert read(tmp_path, 'a b\nb c\n').num_nodes == 3
  assert read(tmp_path, 'a b 2\nb c 1\n').num_nodes == 3
  assert read(tmp_path, 'node1 node2\nnode2 node3\n').num_nodes == 3
  assert read(tmp_path, 'a b weight\nb c 1\n').num_nodes == 2
  assert read(tmp_path, 'source target\nb c\n').num_nodes == 2


def test_how_nodes_are_called_changes_nothing(tmp_path):
  made = graphs.stochastic_block_model(2, 20, 0.5, 0.05, seed=0)
  for name in (
    lambda i: i + 1,
    lambda i: 10 * i + 3,
    lambda i: f'node {i:02}',
  ):
    text = ''.join(f'{name(a)},{name(b)}\n' for a, b in made.edges)
    graph = read(tmp_path, text)
    np.testing.assert_array_equal(graph.edges, made.edges)
    assert graph.names == [name(i) for i in range(40)]


def test_an_edge_to_itself_makes_a_node(tmp_path, caplog):
  graph = read(tmp_path, 'a b\nz z\n')
  assert graph.names == ['a', 'b', 'z']
  np.testing.assert_array_equal(graph.degrees(), [1, 1, 0])
  assert "1 of 3 nodes have no edge to another, the first 'z'" in caplog.text
  assert 'a cluster of its own' in caplog.text


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'two nodes'),
    ('# 1 2\n', 'two nodes'),
    ('0\n1\n', 'line 1: each line must be two nodes'),
    ('0 1 2 3\n', 'two nodes'),
    ('0 nan\n', 'two nodes'),
    ('0,1\n1,\n', 'line 2: each line must be two nodes'),
    ('0 1\n1 2 3\n', 'line 2: .* all lines alike'),
    ('0 1 0\n', "line 1: the weight '0' must be a positive"),
    ('0 1 2\n\n1 2 -1\n', "line 3: the weight '-1' must be a positive"),
    ('0 1 inf\n', 'must be a positive'),
    ('0 1 x\n', "the weight 'x' must be a positive"),
    ('2 2\n', 'no edge'),
  ],
)
def test_what_is_no_edge_list_is_refused(tmp_path, text, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    read(tmp_path, text)
  assert str(tmp_path / 'graph.edges') in str(caught.value)


@pytest.mark.parametrize('content', [b'\xff\xfe1', b'a \xe4\n'])
def test_what_is_no_text_is_refused(tmp_path, content):
  path = tmp_path / 'graph.edges'
  path.write_bytes(content)
  with pytest.raises(errors.UserError) as caught:
    graphs.read_edge_list(path)
  assert str(path) in str(caught.value)


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


@pytest.mark.parametrize('seed', range(8))
def test_clusters_of_exact_eigenvectors_in_any_basis(seed):
  # One start of k-means fails at several of these seeds.
  graph = graphs.stochastic_block_model(4, 50, 0.4, 0.02, seed)
  _, vectors = np.linalg.eigh(graph.laplacian().toarray())
  random = np.random.default_rng(seed)
  basis = np.linalg.qr(random.standard_normal((4, 4)))[0]
  labels = graphs.clusters(basis @ vectors.T[:4])
  blocks = labels.reshape(4, 50)
  assert (blocks == blocks[:, :1]).all()
  assert len(set(labels)) == 4
