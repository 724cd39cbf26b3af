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

from collections.abc import Iterator
import types
from typing import Any

import haiku as hk
import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from claims import declaration
from differentiable_games import spectra
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import periodic
from jaxline_harness import train_loop
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import batches
from principal_flow_instability_single_objective import experiment
from principal_flow_instability_single_objective import nets

# λ₀ at each step.

# hλ₀ begins between 0.6 and 1.2.
EDGE_RATES = (0.08, 0.11, 0.16)
_NUM_STEPS = 1200
_NUM_IMAGES = 500
# They go on from the last step's eigenvector: these few give four digits.
_NUM_PRODUCTS = 6
_NET: hk.Transformed = hk.without_apply_rng(
  hk.transform(lambda images: nets.MLP(10, (32, 32))(images))
)


def measure_edge(seed: int) -> Iterator[declaration.Row]:
  """λ₀ and the loss at each of 1,200 steps of full-batch descent.

  Of an MLP 196-32-32-10 with tanh, on 500 images of 14 × 14 pixels.

  Yields:
    For each learning rate h, what `summarize_descent` says.
  """
  with jax.enable_x64(False):
    batch = _load_small_images()
    params = _NET.init(jax.random.key(seed), batch['images'][:1])
    histories = {
      h: jax.device_get(_follow_small(params, batch, h)) for h in EDGE_RATES
    }
  for h, (losses, curvatures) in histories.items():
    summary = summarize_descent(losses, h * curvatures)
    yield {'learning rate': f'{h:g}', **summary}


def _load_small_images() -> dict[str, jax.Array]:
  dataset = datasets.load('fashion_mnist_10k')
  assert dataset.labels is not None
  images = draws.scale_images(jnp.asarray(dataset.examples[:_NUM_IMAGES]))
  shape = (_NUM_IMAGES, 14, 2, 14, 2)
  return {
    'images': images.reshape(shape).mean(axis=(2, 4))[..., None],
    'labels': jnp.asarray(dataset.labels[:_NUM_IMAGES]),
  }


@jax.jit
def _follow_small(
  params: Any, batch: dict[str, jax.Array], h: Any
) -> tuple[jax.Array, jax.Array]:
  def loss(params, batch):
    logits = _NET.apply(params, batch['images'])
    return nets.cross_entropy(logits, batch['labels']), {}

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

# Of the embedded Fashion-MNIST: the last 2,000 images are for testing.
NET = {'name': 'MLP', 'kwargs': {'hidden_sizes': [32, 32]}}
FULL_BATCH = {'num_train_examples': 1000, 'net': NET}
FIXED_RATES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
EVALUATION = {'num_eigenvalues': 1, 'num_products': 15, 'num_examples': 250}


def measure_dal(seed: int) -> Iterator[declaration.Row]:
  """Where 500 steps of full-batch descent end, with DAL and with fixed rates.

  Of an MLP 784-32-32-10 with tanh, on 1,000 images.

  Yields:
    For each method, losses, test accuracy and λ₀.
  """
  methods = {f'DAL-{p:g}': {'dal': {'power': p}} for p in (1.0, 0.5)}
  methods |= {
    f'fixed rate, {h:g}': {'optimizer': {'lr': h}} for h in FIXED_RATES
  }
  for name, method in methods.items():
    own = {**FULL_BATCH, **method, 'random_seed': seed, 'eval': EVALUATION}
    with jax.enable_x64(False):
      *_, end = train(own, 500, 500)
    metrics = ('train_loss', 'test_loss', 'test_accuracy', 'lambda_0')
    yield {'method': name, **{metric: end[metric] for metric in metrics}}


def train(
  settings: dict[str, Any], num_steps: int, interval: int
) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, float]]:
  """Trains with these settings of the experiment.

  Args:
    settings: over `base_config`.
    num_steps: how many.
    interval: steps between two measurements.

  Returns:
    What the experiment's evaluation gives at the start; each log by its name,
    and 'step', one number a measurement; and the evaluation at the end.
  """
  config = base_config.get_base_config().unlock()
  config.training_steps = num_steps
  config.experiment_kwargs.config = settings
  config.experiment_kwargs.config.eval.interval = interval
  config = base_config.resolve(config)
  rows: list[dict[str, Any]] = []
  record = periodic.PeriodicAction(
    lambda step, logs: rows.append({'step': step} | logs), interval
  )
  model = experiment.Experiment(
    *('train', jax.random.key(0), config.experiment_kwargs.config)
  )
  model.ensure_train_state()
  start = model.evaluate(global_step=0, rng=None, writer=None)
  state = types.SimpleNamespace(global_step=0)
  train_loop.run_loop(model, config, state, [record])
  history = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  end = model.evaluate(global_step=num_steps, rng=None, writer=None)
  return start, history, end
