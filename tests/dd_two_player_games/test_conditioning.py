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
"""Layers that take labels, against their formulas; batches that have some."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import conditioning
from dd_two_player_games import data_facts
from dd_two_player_games import labelled
from dd_two_player_games import nets
from dd_two_player_games import pictures
from differentiable_games import fields
from jaxline_harness import datasets
from jaxline_harness import errors

LABELS = np.array([2, 0, 2, 1, 0], np.int32)


def init_and_apply(function, *args, fill=None):
  """Parameters, from normals if so chosen, and what a function makes of them.

  Batch norm averages over the axis 'i', of one device here.
  """
  transformed = hk.without_apply_rng(hk.transform_with_state(function))

  def run(key):
    params, state = transformed.init(key, *args)
    if fill is not None:
      params = fill(params)
    outputs, state = transformed.apply(params, state, *args)
    return params, state, outputs

  mapped = jax.vmap(run, axis_name='i')
  results = jax.jit(mapped)(jax.random.PRNGKey(0)[None])
  return jax.tree.map(lambda leaf: np.asarray(leaf[0]), results)


def from_normals(params):
  leaves, structure = jax.tree.flatten(params)
  random = np.random.default_rng(5)
  values = [
    random.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves
  ]
  return jax.tree.unflatten(structure, values)


def test_conditional_batch_norm_is_its_formula():
  x = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)

  def norm(x, labels):
    return conditioning.normalise(x, True, False, labels, num_classes=3)

  params, _, outputs = init_and_apply(norm, x, LABELS, fill=from_normals)
  tables = params['conditional_batch_norm']
  assert tables['scale'].shape == tables['offset'].shape == (3, 4)
  mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
  expected = (x - mean) / np.sqrt(variance + 1e-5)
  for i, label in enumerate(LABELS):
    np.testing.assert_allclose(
      outputs[i],
      tables['scale'][label] * expected[i] + tables['offset'][label],
      rtol=1e-4,
      atol=1e-5,
    )


def test_conditional_batch_norm_begins_as_batch_norm():
  """And its statistics are renewed as the other's are."""
  x = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)

  def norm(num_classes):
    def apply(x):
      labels = jnp.asarray(LABELS) if num_classes else None
      return conditioning.normalise(x, True, False, labels, num_classes)

    _, state, outputs = init_and_apply(apply, x)
    return outputs, jax.tree.leaves(state)

  jax.tree.map(np.testing.assert_array_equal, norm(3), norm(0))


@pytest.mark.parametrize('num_outputs', [1, 2])
def test_the_projection_is_its_formula(num_outputs):
  features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)

  def score(features, labels):
    return conditioning.score(features, labels, 3, num_outputs)

  params, _, outputs = init_and_apply(
    score, features, LABELS, fill=from_normals
  )
  linear, table = params['linear'], params['embed']['embeddings']
  directions = table[LABELS].reshape(5, 4, num_outputs)
  for i in range(5):
    np.testing.assert_allclose(
      outputs[i],
      features[i] @ (linear['w'] + directions[i]) + linear['b'],
      rtol=1e-5,
      atol=1e-6,
    )


@pytest.mark.parametrize(
  ('network', 'shape', 'kwargs'),
  [
    (nets.DCGANGenerator, (5, 6), {'channels': (4, 2), 'output_size': 8}),
    (nets.DCGANDiscriminator, (5, 8, 8, 1), {'channels': (2, 4)}),
    (nets.SimpleMLP, (5, 2), {'hidden_size': 32}),
  ],
)
def test_networks_heed_labels_just_where_they_have_classes(
  network, shape, kwargs
):
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)

  def apply(labels, num_classes):
    make = lambda x: network(num_classes=num_classes, **kwargs)(
      x, labels=labels
    )
    return init_and_apply(make, x, fill=from_normals)

  *_, outputs = apply(LABELS, 3)
  *_, others = apply(np.where(LABELS == 2, 1, LABELS), 3)
  changes = np.abs(outputs - others).reshape(5, -1).max(axis=1) > 1e-6
  # Batch norm of what changes reaches all; the first layer's does not.
  assert changes[LABELS == 2].all()
  if network is not nets.DCGANGenerator:
    assert not changes[LABELS != 2].any()
  with pytest.raises(
    ValueError, match='no labels for a network of num_classes=3'
  ):
    apply(None, 3)
  with pytest.raises(ValueError, match='labels for a network of num_classes=0'):
    apply(LABELS, 0)


# Batches.


def test_halves_keep_examples_and_labels_together():
  batch = labelled.Labelled(np.arange(6.0), np.arange(6))
  first, second = fields.halve((batch, jax.random.PRNGKey(0)))
  np.testing.assert_array_equal(first[0].examples, first[0].labels)
  np.testing.assert_array_equal(second[0].labels, [3, 4, 5])
  np.testing.assert_array_equal(second[0].examples, second[0].labels)


def test_labels_are_drawn_as_frequent_as_in_the_data():
  counts = (0, 30, 10, 0, 60)
  labels = labelled.draw_labels(jax.random.PRNGKey(1), 20_000, counts)
  assert labels.dtype == np.int32
  found = np.bincount(labels, minlength=5) / 20_000
  # Four standard deviations.
  np.testing.assert_allclose(found, np.array(counts) / 100, atol=0.014)
  assert found[0] == found[3] == 0
  assert labelled.draw_labels(jax.random.PRNGKey(1), 5, ()) is None


@pytest.mark.parametrize(
  ('labels', 'num', 'num_classes', 'message'),
  [
    ([1], 1, 0, 'this model takes none'),
    ([3], 1, 3, 'labels: 3 is none of the 3 classes, 0 to 2'),
    ([0, -1], 2, 3, '-1 is none of the 3 classes'),
    ([0, 1], 3, 3, '2 labels for 3 samples'),
    ([0.5], 1, 3, 'must be a whole number, or a list of them'),
    ([[1]], 1, 3, 'must be a whole number'),
    ([], 0, 3, 'must be a whole number'),
    ('a', 1, 3, 'must be a whole number'),
  ],
)
def test_labels_that_are_none(labels, num, num_classes, message):
  with pytest.raises(errors.UserError, match=message):
    labelled.check_labels(labels, num, num_classes)


def test_one_label_is_that_of_all_samples():
  np.testing.assert_array_equal(labelled.check_labels(2, 3, 3), [2, 2, 2])
  np.testing.assert_array_equal(labelled.check_labels([2, 0], 2, 3), [2, 0])


def test_facts_of_labels_are_kept():
  data = labelled.Labelled(np.zeros((5, 8, 8, 1)), LABELS)
  facts = data_facts.facts_of(data)
  assert facts.class_counts == (2, 1, 2)
  assert data_facts.read_record('x', facts.to_record()) == facts
  assert facts.network_arguments(nets.SimpleMLP) == {'num_classes': 3}
  for counts in ([1, -1], ['a'], 'a', [1.5]):
    with pytest.raises(errors.UserError, match='records class_counts='):
      data_facts.read_record('x', {'shape': [2], 'class_counts': counts})


def test_a_picture_has_a_row_for_each_class():
  labels = np.array([3, 1, 3, 1, 1, 0], np.int32)
  images = np.broadcast_to(
    labels[:, None, None, None].astype(np.uint8), (6, 56, 4, 1)
  )
  dataset = datasets.Dataset(images, labels, 'name', 'source')
  counts = tuple(np.bincount(labels))
  asked = []

  def sample(num, labels):
    asked.append(labels)
    return np.zeros((num, 56, 4, 1), np.uint8)

  picture = pictures.draw_samples(sample, dataset, counts, beside_data=True)
  np.testing.assert_array_equal(asked[0], np.repeat([0, 1, 3], 8))
  found = pictures.find_examples(dataset, asked[0]).reshape(3, 8, -1)[..., 0]
  expected = np.full((3, 8), 255)
  expected[0, :1], expected[1, :3], expected[2, :2] = 0, 1, 3
  np.testing.assert_array_equal(found, expected)
  # Both have three rows, of eight places.
  assert picture.shape == (3 * 58 + 2, 2 * 50 + 50 // 16, 1)


def test_of_many_classes_a_picture_shows_some():
  labels = pictures.choose_labels([1] * 100)
  assert len(labels) == 80
  np.testing.assert_array_equal(labels[::8], np.arange(0, 100, 11))
