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
"""Products with the game Jacobian against closed forms, in float64."""

import collections

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import pytest

from differentiable_games import game
from differentiable_games import jacobian
from tests.differentiable_games import sine_game

TOLERANCE = 1e-9
Pair = collections.namedtuple('Pair', ['disc', 'gen'])


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _case(name):
  """A game, its params (dicts) and a direction."""
  rng = np.random.default_rng(1)

  def player(*shapes):
    return {
      f'layer_{i}': {
        'b': rng.normal(size=shape[-1:]),
        'w': rng.normal(size=shape),
      }
      for i, shape in enumerate(shapes)
    }

  if name == 'two_players':
    make = lambda: (player((2, 3)), player((2,), (1, 2)))
  elif name == 'named_tuple':
    make = lambda: Pair(disc=player((2, 1)), gen=player((3,)))
  else:
    make = lambda: (player((2,)), player((1, 3)), player((1, 1)))
  params = make()
  sizes = [ravel_pytree(own)[0].size for own in params]
  return sine_game.make(sizes, seed=2), params, make()


def _flat(tree):
  return np.asarray(ravel_pytree(tree)[0])


@pytest.mark.parametrize(
  'name', ['two_players', 'named_tuple', 'three_players']
)
def test_products(name):
  sines, params, direction = _case(name)
  losses = sines.losses
  products = {
    'J v': jacobian.jacobian_product,
    'Jt v': jacobian.transposed_jacobian_product,
    'S v': jacobian.symmetric_product,
    'A v': jacobian.antisymmetric_product,
  }

  @jax.jit
  def everything(params, direction):
    out = {k: fn(losses, params, direction) for k, fn in products.items()}
    rows = [
      jacobian.row_product(losses, params, i, direction)
      for i in range(len(params))
    ]
    gradient = game.simultaneous_gradient(losses, params)
    return out, rows, gradient, jacobian.dense_jacobian(losses, params)

  out, rows, gradient, dense = everything(params, direction)
  z, v = _flat(params), _flat(direction)
  j = sines.jacobian(z)
  assert dense.dtype == jnp.float64
  np.testing.assert_allclose(dense, j, atol=TOLERANCE)
  np.testing.assert_allclose(_flat(gradient), sines.gradient(z), atol=TOLERANCE)
  expected = {
    'J v': j @ v,
    'Jt v': j.T @ v,
    'S v': (j + j.T) @ v / 2,
    'A v': (j - j.T) @ v / 2,
  }
  for key, value in expected.items():
    assert jax.tree.structure(out[key]) == jax.tree.structure(params)
    assert isinstance(out[key], type(params))
    np.testing.assert_allclose(_flat(out[key]), value, atol=TOLERANCE)
  np.testing.assert_allclose(_flat(rows), j @ v, atol=TOLERANCE)


def test_gradient_and_product_of_any_loss_and_blocks():
  """Also of another player's loss, as a column of the transpose needs."""
  sines, params, direction = _case('three_players')
  z, v = _flat(params), _flat(direction)
  blocks = {(0, 1, 2): direction}
  blocks[(1,)] = (None, direction[1], None)
  blocks[(0, 2)] = (direction[0], None, direction[2])

  @jax.jit
  def everything(params):
    return {
      (loss, player, moving): jacobian.gradient_and_product(
        sines.losses[loss], params, player, blocks[moving]
      )
      for loss, player in ((0, 0), (2, 1))
      for moving in blocks
    }

  for (loss, player, moving), (gradient, product) in everything(params).items():
    m, angles = sines.frequencies[loss], sines._angles(loss, z)
    hessian = (m.T * (-sines.amplitudes[loss] * np.sin(angles))) @ m
    full_gradient = m.T @ (sines.amplitudes[loss] * np.cos(angles))
    moved = np.zeros_like(v)
    for i in moving:
      moved[sines.own(i)] = v[sines.own(i)]
    own = sines.own(player)
    np.testing.assert_allclose(
      _flat(gradient), full_gradient[own], atol=TOLERANCE
    )
    np.testing.assert_allclose(
      _flat(product), (hessian @ moved)[own], atol=TOLERANCE
    )


def test_linearized_row():
  sines, params, direction = _case('three_players')
  z, v = _flat(params), _flat(direction)
  for row, columns in ((0, (2, 1)), (1, (1,)), (2, (0, 1, 2))):
    product = jacobian.linearized_row(sines.losses, params, row, columns)(
      *(direction[j] for j in columns)
    )
    expected = sum(
      sines.jacobian(z)[sines.own(row), sines.own(j)] @ v[sines.own(j)]
      for j in columns
    )
    np.testing.assert_allclose(_flat(product), expected, atol=TOLERANCE)


def test_mean_over_devices():
  """Gradients and products of devices' losses are those of the mean loss."""
  num_devices = 4
  games = [sine_game.make((2, 3), seed=seed) for seed in range(num_devices)]
  params = (np.array([0.3, -1.0]), np.array([0.5, 2.0, -0.2]))
  arrays = [
    np.stack([getattr(sines, name) for sines in games])
    for name in ('amplitudes', 'frequencies', 'phases')
  ]

  def everything(losses, params):
    gradient = game.simultaneous_gradient(losses, params)
    unrolled_twice = jax.grad(
      lambda p: losses[1](jax.tree.map(lambda a, g: a - 0.1 * g, p, gradient))
    )(params)
    return (
      gradient,
      jacobian.jacobian_product(losses, params, gradient),
      jacobian.transposed_jacobian_product(losses, params, gradient),
      unrolled_twice,
    )

  def on_device(amplitudes, frequencies, phases):
    own = sine_game.SineGame(amplitudes, frequencies, phases, (2, 3))
    losses = [game.mean_over_devices(loss, 'i') for loss in own.losses]
    return everything(losses, params)

  def mean_of(i):
    return lambda p: sum(sines.losses[i](p) for sines in games) / num_devices

  expected = everything([mean_of(0), mean_of(1)], params)
  found = jax.pmap(on_device, axis_name='i')(*arrays)
  for device in range(num_devices):
    own = jax.tree.map(lambda leaf, k=device: leaf[k], found)
    np.testing.assert_allclose(_flat(own), _flat(expected), atol=TOLERANCE)


def test_no_direction_is_an_error():
  sines, params, _ = _case('named_tuple')
  with pytest.raises(ValueError, match='no block'):
    jacobian.gradient_and_product(sines.losses[0], params, 0, (None, None))


def test_a_none_block_costs_nothing():
  """The player that stands still is a constant of the derivative."""

  def loss(params):
    x, y = params
    return x * jnp.sin(y)

  def count(direction):
    jaxpr = jax.make_jaxpr(
      lambda params: jacobian.gradient_and_product(loss, params, 0, direction)
    )((1.0, 2.0))
    return str(jaxpr).count('cos')

  # The gradient is sin(y): only a moving y needs its derivative.
  assert count((1.0, None)) < count((1.0, 1.0))


def test_simultaneous_gradient_keeps_the_container():
  pair = Pair(disc=jnp.array(3.0), gen=jnp.array(2.0))
  losses = (lambda p: p.disc**2 * p.gen, lambda p: p.disc * p.gen**3)
  gradient = game.simultaneous_gradient(losses, pair)
  assert isinstance(gradient, Pair)
  assert gradient == Pair(disc=12.0, gen=36.0)


@pytest.mark.parametrize('number', [1, 3])
def test_simultaneous_gradient_needs_a_loss_a_player(number):
  with pytest.raises(ValueError, match=f'{number} losses for 2 players'):
    game.simultaneous_gradient([lambda p: p[0] * p[1]] * number, (1.0, 2.0))
