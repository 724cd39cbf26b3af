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
"""Classification by gradient descent or DAL as a jaxline experiment."""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Iterator, Mapping
import functools
from typing import Any, NamedTuple

import haiku as hk
import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from convolutions_as_products import convolution
from jaxline_harness import datasets
from jaxline_harness import device_mesh
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import launch
from jaxline_harness import memory
from jaxline_harness import optimizers
from jaxline_harness import prng
from jaxline_harness import train_loop
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import batches
from principal_flow_instability_single_objective import dal
from principal_flow_instability_single_objective import diagnostics
from principal_flow_instability_single_objective import nets

Batch = dict[str, Any]  # 'images', uint8 (n, h, w, c), and 'labels' (n,).


class TrainState(NamedTuple):
  """All that a step depends on."""

  params: hk.Params
  opt_state: optax.OptState
  global_step: jax.Array


class Experiment(train_loop.ChunkedExperiment):
  """Trains a classifier, and measures curvature, stability and drift."""

  def __init__(
    self, mode: str, init_rng: jax.Array, config: config_dict.ConfigDict
  ):
    """Builds everything from a full config (`base_config.resolve`).

    Args:
      mode: 'train' or 'eval'.
      init_rng: not used; all keys come from `config.random_seed`.
      config: the field `experiment_kwargs.config`.

    Raises:
      UserError: if the data cannot be had, or batches do not suit the data or
        the devices.
    """
    super().__init__(mode, init_rng)
    self._config = config
    self._train, self._test = load_examples(config)
    _check_batches(config, len(self._train['labels']))
    self._init_key, self._data_key = prng.split_seed(config.random_seed, 2)
    num_classes = 1 + max(
      part['labels'].max() for part in (self._train, self._test)
    )
    self._net = _make_net(config.net, int(num_classes))
    self._optimizer, self._schedule = make_optimizer(config)
    memory.check_devices(
      f'{base_config.PREFIX}.net.kwargs: parameters, optimiser and data',
      memory.size_of((self.abstract_train_state(), self._train)),
    )
    self._sums_of_batch = jax.jit(self._sums)

  # Training.

  def device_data(self) -> dict[str, Any]:
    # The key is data, not a constant, so that all seeds share a program.
    return {'train': self._train, 'key': self._data_key}

  def initial_train_state(self) -> TrainState:
    params = self._net.init(
      self._init_key, draws.scale_images(self._train['images'][:1])
    )
    return TrainState(
      params, self._optimizer.init(params), jnp.zeros((), jnp.int32)
    )

  def update(
    self, train_state: TrainState, data: Mapping[str, Any]
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    params, opt_state, step = train_state
    (loss, logs), grads, product = self._gradients(
      params, data['train'], self._batch(data, step)
    )
    mean = functools.partial(lax.pmean, axis_name='i')
    grads = mean(grads)
    updates, opt_state = self._optimizer.update(
      grads, opt_state, params, hessian_product=lambda v: mean(product(v))
    )
    logs = mean({'train_loss': loss, 'train_accuracy': logs['accuracy']})
    logs['gradient_norm'] = optax.tree.norm(grads)
    logs['learning_rate'] = self._learning_rate(opt_state, step)
    if self._config.dal.power is not None:
      measured = dal.state_of(opt_state)
      logs['hessian_gradient_norm'] = measured.product_norm
      logs['hessian_gradient_ratio'] = measured.ratio
    params = optax.apply_updates(params, updates)
    return TrainState(params, opt_state, step + 1), logs

  def _batch(self, device_data: Mapping[str, Any], step: jax.Array) -> Batch:
    """This device's share of a step's batch."""
    device, num_devices = lax.axis_index('i'), lax.axis_size('i')
    size = self._config.training.batch_size
    if size is None:
      return jax.tree.map(
        lambda x: draws.device_rows(x, device, num_devices),
        device_data['train'],
      )
    return draws.draw_batch(
      device_data['train'],
      device_data['key'],
      step,
      size,
      device,
      num_devices,
    )

  def _gradients(self, params, examples, batch):
    """This device's part: (loss, logs), gradient, Hessian product.

    A function to multiply by the Hessian costs nothing unless it is called.
    """
    size = self._config.training.microbatch_size
    settings = self._config.dal
    is_exact = settings.product == 'exact'
    is_same = settings.batch == 'same' or self._config.training.batch_size in (
      None,
      len(examples['labels']),
    )
    if settings.power is not None and is_exact and is_same:
      return batches.gradient_and_product(self._loss, params, batch, size)
    value, grads = batches.gradient(self._loss, params, batch, size)
    if not is_same:
      batch = jax.tree.map(
        lambda x: draws.device_rows(x, lax.axis_index('i'), lax.axis_size('i')),
        examples,
      )
    if is_exact:
      return (
        value,
        grads,
        lambda v: batches.product(self._loss, params, v, batch, size),
      )

    def gradient(params):
      return batches.gradient(self._loss, params, batch, size)[1]

    at_params = grads if is_same else gradient(params)
    product = dal.finite_difference_product(gradient, params, at_params)
    return value, grads, product

  def _loss(self, params: hk.Params, batch: Batch):
    logits = self._net.apply(params, draws.scale_images(batch['images']))
    is_right = logits.real.argmax(-1) == batch['labels']
    loss = nets.cross_entropy(logits, batch['labels'])
    return loss, {'accuracy': is_right.astype(jnp.float32).mean()}

  def _learning_rate(self, opt_state: Any, step: Any) -> jax.Array:
    """What the gradient was multiplied by at the update of this step."""
    rate = jnp.asarray(self._schedule(step))
    if self._config.dal.power is None:
      return rate
    return (
      rate * dal.state_of(opt_state).learning_rate / self._config.optimizer.lr
    )

  # Measurements.

  def measure(self, logs: Any) -> dict[str, Any]:
    del logs
    state = device_mesh.unreplicate(self.train_state)
    if state.global_step % self._config.eval.interval:
      return {}
    return {**self._curvature(state), **self._accuracies('test', self._test)}

  def _curvature(self, state: TrainState) -> dict[str, np.ndarray]:
    """Curvature and drift at the learning rate of the last update."""
    if not self._config.eval.num_eigenvalues:
      return {}
    last_step = max(int(state.global_step) - 1, 0)
    h = self._learning_rate(state.opt_state, last_step)
    return jax.device_get(self._measure_curvature(state.params, h))

  @functools.cached_property
  def _measure_curvature(self):
    settings = self._config.eval
    examples = jax.tree.map(
      lambda x: jnp.asarray(x[: settings.num_examples]), self._train
    )

    @jax.jit
    def measure(params, h, examples):
      size = _divisor(
        len(examples['labels']), self._config.training.microbatch_size
      )
      logs, pairs = diagnostics.curvature(
        self._loss,
        params,
        examples,
        h,
        settings.num_eigenvalues,
        settings.num_products,
        size,
        self._config.optimizer.momentum,
      )
      if settings.drift:
        logs |= diagnostics.drift(self._loss, params, examples, h, pairs, size)
      return logs

    return lambda params, h: measure(params, h, examples)

  def _accuracies(self, name: str, examples: Batch) -> dict[str, float]:
    """Loss and accuracy on all of these examples."""
    params = device_mesh.unreplicate(self.train_state.params)
    sums = [
      self._sums_of_batch(params, part)
      for part in _parts(examples, self._config.eval.batch_size)
    ]
    loss, right = np.sum(jax.device_get(sums), axis=0) / len(examples['labels'])
    return {f'{name}_loss': float(loss), f'{name}_accuracy': float(right)}

  def _sums(self, params, batch):
    loss, logs = self._loss(params, batch)
    number = len(batch['labels'])
    return number * loss, number * logs['accuracy']

  def evaluate(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, float]:
    del rng
    step = int(np.ravel(global_step)[0])
    state = device_mesh.unreplicate(self.train_state)
    metrics = {
      **self._accuracies('train', self._train),
      **self._accuracies('test', self._test),
      **{k: float(v) for k, v in self._curvature(state).items()},
    }
    if writer is not None:
      writer.write_json(
        f'eval/metrics_{step:08d}.json', {'step': step, **metrics}
      )
    return metrics


# From a config.


def _make_net(
  config: config_dict.ConfigDict, num_classes: int
) -> hk.Transformed:
  def apply(images):
    with convolution.use_implementation(config.convolutions):
      return getattr(nets, config.name)(num_classes, **config.kwargs)(images)

  return hk.without_apply_rng(hk.transform(apply))


def load_examples(config: config_dict.ConfigDict) -> tuple[Batch, Batch]:
  """The training and the test examples.

  Args:
    config: the experiment's config.

  Returns:
    Images and labels of each.

  Raises:
    UserError: if there are no labels, or too few examples.
  """
  dataset = datasets.load(config.dataset, 'train', config.data_dir or None)
  held_out = config.num_test_examples
  num_left = len(dataset.examples) - (held_out or 0)
  num_train = config.num_train_examples or num_left
  if not 0 < num_train <= num_left:
    raise errors.UserError(
      f'{dataset.name} has {len(dataset.examples)} training examples: too few '
      f'for {base_config.PREFIX}.num_train_examples={num_train} and '
      f'num_test_examples={held_out}'
    )
  examples = _labelled(dataset)
  train = jax.tree.map(lambda x: x[:num_train], examples)
  if held_out is not None:
    return train, jax.tree.map(lambda x: x[-held_out:], examples)
  return train, _labelled(
    datasets.load(config.dataset, 'test', config.data_dir or None)
  )


def _labelled(dataset: datasets.Dataset) -> Batch:
  if dataset.labels is None:
    raise errors.UserError(
      f'{dataset.name} ({dataset.source}) has no labels to learn'
    )
  return {'images': dataset.examples, 'labels': dataset.labels}


def make_optimizer(
  config: config_dict.ConfigDict,
) -> tuple[optax.GradientTransformationExtraArgs, optax.Schedule]:
  """Gradient descent, with DAL before it if there is a power.

  Args:
    config: the experiment's config.

  Returns:
    The optimiser, and the learning rate by step that its last part takes.
  """
  settings = config.optimizer
  schedule = optimizers.make_schedule(
    settings.lr, settings.scheduler, settings.scheduler_kwargs
  )
  # Momentum 0 is none.
  parts = [optax.sgd(schedule, momentum=settings.momentum or None)]
  if config.dal.power is not None:
    scale = dal.scale_by_dal(
      power=config.dal.power,
      learning_rate=settings.lr,
      max_learning_rate=config.dal.max_learning_rate,
      start=config.dal.start,
      stop=config.dal.stop,
      schedule=schedule if settings.scheduler else None,
    )
    parts.insert(0, scale)
  return optax.with_extra_args_support(optax.chain(*parts)), schedule


def _check_batches(config: config_dict.ConfigDict, num_train: int) -> None:
  """Raises UserError where batches do not suit the data or the devices."""
  training, devices = config.training, jax.device_count()
  sizes = {'training.batch_size': training.batch_size}
  if training.batch_size is None or config.dal.batch == 'full':
    sizes['num_train_examples'] = num_train
  for name, size in sizes.items():
    if size is None:
      continue
    field = f'{base_config.PREFIX}.{name}'
    draws.check_batch_size(field, size, num_train, 'training examples')
    micro = training.microbatch_size
    if micro is not None and size // devices % min(micro, size // devices):
      raise errors.UserError(
        f'{field}={size} leaves {size // devices} examples a device, which '
        f'training.microbatch_size={micro} does not divide'
      )


# Of batches.


def _parts(examples: Batch, size: int) -> Iterator[Batch]:
  """Batches of a size, the last one perhaps smaller."""
  for start in range(0, len(examples['labels']), size):
    yield jax.tree.map(lambda x, i=start: x[i : i + size], examples)


def _divisor(number: int, largest: int | None) -> int:
  """The largest divisor of a number up to a limit."""
  sizes = range(1, min(number, largest or number) + 1)
  return max(size for size in sizes if number % size == 0)


if __name__ == '__main__':
  launch.main(Experiment, base_config.SCHEMA)
