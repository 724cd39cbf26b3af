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
"""Full-batch gradient descent of networks: λ₀ at each step, and DAL."""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import haiku as hk
import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax

from claims import declaration
from differentiable_games import spectra
from jaxline_harness import datasets
from jaxline_harness import draws
from principal_flow_instability_single_objective import batches
from principal_flow_instability_single_objective import dal
from principal_flow_instability_single_objective import hessian
from principal_flow_instability_single_objective import nets

# λ₀ at each step.

# hλ₀ begins between 0.6 and 1.2.
EDGE_RATES = (0.08, 0.11, 0.16)
_NUM_STEPS = 1200
_NUM_IMAGES = 500
# They go on from the last step's eigenvector: these few give four digits.
_NUM_PRODUCTS = 6


def _transform(make_net: Callable[[], Any]) -> hk.Transformed:
  return hk.without_apply_rng(hk.transform(lambda images: make_net()(images)))


_MLP = _transform(lambda: nets.MLP(10, (32, 32)))
_CONVOLUTIONAL = _transform(lambda: nets.ConvNet(10))


def measure_edge(seed: int) -> Iterator[declaration.Row]:
  """λ₀ and the loss at each of 1,200 steps of full-batch descent.

  Of an MLP 196-32-32-10 with tanh, on 500 images of 14 × 14 pixels.

  Yields:
    For each learning rate h, what `summarize_descent` says.
  """
  with jax.enable_x64(False):
    batch = _load_small_images(slice(_NUM_IMAGES))
    params = _MLP.init(jax.random.key(seed), batch['images'][:1])
    histories = {
      h: jax.device_get(_follow_small(params, batch, h)) for h in EDGE_RATES
    }
  for h, (losses, curvatures) in histories.items():
    summary = summarize_descent(losses, h * curvatures)
    yield {'learning rate': f'{h:g}', **summary}


def _load_small_images(chosen: slice) -> dict[str, jax.Array]:
  dataset = datasets.load('fashion_mnist_10k')
  assert dataset.labels is not None
  images = draws.scale_images(jnp.asarray(dataset.examples[chosen]))
  small = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
  return {
    'images': small[..., None],
    'labels': jnp.asarray(dataset.labels[chosen]),
  }


def _compute_loss(
  net: hk.Transformed, params: Any, batch: dict[str, jax.Array]
) -> tuple[jax.Array, dict[str, jax.Array]]:
  logits = net.apply(params, batch['images'])
  return nets.cross_entropy(logits, batch['labels']), {}


@jax.jit
def _follow_small(
  params: Any, batch: dict[str, jax.Array], h: Any
) -> tuple[jax.Array, jax.Array]:
  loss = functools.partial(_compute_loss, _MLP)
  return follow_curvature(loss, params, batch, h, _NUM_STEPS)


def follow_curvature(
  loss: batches.BatchLoss, params: Any, batch: Any, h: Any, num_steps: int
) -> tuple[jax.Array, jax.Array]:
  """The loss and the Hessian's largest eigenvalue before each step.

  Args:
    loss: of (parameters, batch), with something beside.
    params: where descent begins.
    batch: of all examples.
    h: the learning rate.
    num_steps: how many.

  Returns:
    Two arrays, (num_steps,).
  """
  flat, unravel = ravel_pytree(params)
  start = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)

  def step(carry, _):
    flat, vector = carry
    params = unravel(flat)
    (value, _), grads, product = batches.gradient_and_product(
      loss, params, batch
    )
    curvature, vector = _find_largest(product, unravel(vector))
    moved = flat - h * ravel_pytree(grads)[0]
    return (moved, vector), (value, curvature)

  return jax.lax.scan(step, (flat, start), None, length=num_steps)[1]


def _find_largest(product: Any, start: Any) -> tuple[jax.Array, jax.Array]:
  """The largest eigenvalue by Lanczos' method from a vector, and its vector."""
  hessenberg, basis = spectra.krylov_basis(product, start, _NUM_PRODUCTS)
  small = (hessenberg[:-1] + hessenberg[:-1].T) / 2
  values, vectors = jnp.linalg.eigh(small)
  return values[-1], vectors[:, -1] @ basis[:-1]


def summarize_descent(
  losses: np.ndarray, h_lambda: np.ndarray
) -> dict[str, float]:
  """What a run says of the edge of stability.

  Args:
    losses: before each step.
    h_lambda: hλ₀ there.

  Returns:
    hλ₀ `at_the_start`; its median from the first step at which it is above 2,
    0 where there is none (`from_the_edge_on`); and how much larger the share of
    steps that raise the loss is where hλ₀ > 2 than elsewhere, 0 where all steps
    are of one kind (`rises_more_often`).
  """
  is_above = h_lambda > 2
  rises = np.diff(losses) > 0
  above, below = rises[is_above[:-1]], rises[~is_above[:-1]]
  from_the_edge_on = h_lambda[is_above.argmax() :] if is_above.any() else 0.0
  more_often = above.mean() - below.mean() if len(above) and len(below) else 0.0
  return {
    'at_the_start': float(h_lambda[0]),
    'from_the_edge_on': float(np.median(from_the_edge_on)),
    'rises_more_often': float(more_often),
  }


# Drift-adjusted learning rates.

FIXED_RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_CONVOLUTIONAL_RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # Its λ₀ are smaller.
_NUM_DAL_STEPS = 500
_NUM_TEST_IMAGES = 2000
_UNIT_RATE = 0.05  # On which DAL does not depend, but for rounding.


def measure_dal(seed: int) -> Iterator[declaration.Row]:
  """Where 500 steps of full-batch descent end, with DAL and with fixed rates.

  Of the network and the images of `measure_edge`; 2,000 others are for testing.

  Yields:
    For each method, losses, test accuracy and λ₀.
  """
  yield from _compare_rates(_MLP, FIXED_RATES, seed)


def measure_convolutional_dal(seed: int) -> Iterator[declaration.Row]:
  """The same of two convolutions of 8 and 16 channels, each with a pooling."""
  yield from _compare_rates(_CONVOLUTIONAL, _CONVOLUTIONAL_RATES, seed)


def _compare_rates(
  net: hk.Transformed, rates: Sequence[float], seed: int
) -> Iterator[declaration.Row]:
  methods: dict[str, tuple[float | None, float]] = {
    f'DAL-{power:g}': (power, _UNIT_RATE) for power in (1.0, 0.5)
  }
  methods |= {f'fixed rate, {h:g}': (None, h) for h in rates}
  with jax.enable_x64(False):
    batch = _load_small_images(slice(_NUM_IMAGES))
    others = _load_small_images(slice(-_NUM_TEST_IMAGES, None))
    start = net.init(jax.random.key(seed), batch['images'][:1])
    found = {
      name: jax.device_get(
        _evaluate(net, _descend(net, start, batch, *method), batch, others)
      )
      for name, method in methods.items()
    }
  for name, metrics in found.items():
    yield {'method': name, **metrics}


@functools.partial(jax.jit, static_argnums=(0, 3))
def _descend(
  net: hk.Transformed,
  params: Any,
  batch: dict[str, jax.Array],
  power: float | None,
  rate: Any,
) -> Any:
  """The end of descent at DAL's learning rates, or without a power at one."""
  optimizer = optax.with_extra_args_support(optax.sgd(rate))
  if power is not None:
    optimizer = optax.chain(dal.scale_by_dal(power, rate), optimizer)

  loss = functools.partial(_compute_loss, net)

  def step(carry, _):
    params, state = carry
    _, grads, product = batches.gradient_and_product(loss, params, batch)
    updates, state = optimizer.update(
      grads, state, params, hessian_product=product
    )
    return (optax.apply_updates(params, updates), state), None

  carry = (params, optimizer.init(params))
  return jax.lax.scan(step, carry, None, length=_NUM_DAL_STEPS)[0][0]


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(
  net: hk.Transformed,
  params: Any,
  batch: dict[str, jax.Array],
  others: dict[str, jax.Array],
) -> dict[str, jax.Array]:
  loss = functools.partial(_compute_loss, net)
  (value, _), _, product = batches.gradient_and_product(loss, params, batch)
  pairs = hessian.top_eigenpairs(product, params, 1, 20, jax.random.key(0))
  guesses = net.apply(params, others['images']).argmax(axis=-1)
  return {
    'train_loss': value,
    'test_loss': loss(params, others)[0],
    'test_accuracy': jnp.mean(guesses == others['labels']),
    'lambda_0': pairs.values[0],
  }
