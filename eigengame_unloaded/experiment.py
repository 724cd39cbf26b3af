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
"""EigenGame as a jaxline experiment."""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from eigengame_unloaded import base_config
from eigengame_unloaded import eigengame
from eigengame_unloaded import graphs
from eigengame_unloaded import layout
from eigengame_unloaded import metrics
from eigengame_unloaded import optim
from eigengame_unloaded import pictures
from eigengame_unloaded import sources
from jaxline_harness import configs
from jaxline_harness import device_mesh
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import launch
from jaxline_harness import memory
from jaxline_harness import prng
from jaxline_harness import train_loop


class TrainState(NamedTuple):
  """All that a step depends on and changes.

  Attributes:
    eigenvectors: V, the players as rows, (k, d).
    mean: what is subtracted from examples, (d,).
    opt_state: the optimiser's state.
    global_step: number of steps done, an int32 scalar.
  """

  eigenvectors: jax.Array
  mean: jax.Array
  opt_state: optax.OptState
  global_step: jax.Array

  @property
  def params(self) -> jax.Array:
    """What the harness watches for NaN."""
    return self.eigenvectors


class Experiment(train_loop.ChunkedExperiment):
  """Finds eigenvectors by minibatches, and measures how well."""

  def __init__(
    self, mode: str, init_rng: jax.Array, config: config_dict.ConfigDict
  ):
    """Builds everything from a full config (`base_config.resolve`).

    Args:
      mode: 'train' or 'eval'.
      init_rng: not used; all keys come from `config.random_seed`.
      config: the field `experiment_kwargs.config`.

    Raises:
      UserError: if the data cannot be had, or sizes do not suit each other.
    """
    super().__init__(mode, init_rng)
    self._config = config
    self._init_key, data_key = prng.split_seed(config.random_seed, 2)
    self._source = sources.load(config, data_key)
    self._layout = make_layout(config)
    _check_sizes(config, self._source)
    self._method = eigengame.METHODS[config.method]
    self._optimizer = optim.make_optimizer(**config.optimizer)
    self._check_memory()
    self._check_matrix()

  def _check_memory(self) -> None:
    """Raises UserError if host or devices cannot hold what a run does."""
    dim = self._source.dim
    players = jax.ShapeDtypeStruct(
      (self._config.num_eigenvectors, dim), jnp.float32
    )
    opt_state = jax.eval_shape(self._optimizer.init, players)
    memory.check_devices(
      f'{configs.PREFIX}.num_eigenvectors={self._config.num_eigenvectors} of '
      f'dimension {dim}: players, optimiser and data',
      memory.size_of((players, opt_state, self._source.arrays())),
    )
    if self._is_exact:
      # M, its decomposition, and work of the same sizes.
      memory.check_host(
        f'{configs.PREFIX}.eval.exact_up_to_dim: all eigenvectors of dimension '
        f'{dim}',
        5 * 8 * dim**2,
      )

  def _check_matrix(self) -> None:
    """Raises UserError if M, where it can be computed, has no eigenvectors."""
    if self._exact_matrix is None:
      return
    variance = np.trace(self._exact_matrix)
    # Of equal examples float32 leaves no more than the rounding of their mean.
    rounding = np.finfo(np.float32).eps ** 2 * np.sum(self._exact_mean**2)
    if not variance > rounding:
      raise errors.UserError(
        f'{configs.PREFIX}.dataset={self._config.dataset}: all examples are '
        'equal to what is subtracted, so that there are no eigenvectors to find'
      )

  def check_config(self, config: config_dict.ConfigDict) -> None:
    metric = config.best_model_eval_metric
    if not metric or self._is_exact or metric in base_config.WITHOUT_TRUTH:
      return
    raise errors.UserError(
      f'config.best_model_eval_metric={metric} is not measured: d = '
      f'{self._source.dim} is above {configs.PREFIX}.eval.exact_up_to_dim='
      f'{self._config.eval.exact_up_to_dim}, so that there is no truth; set '
      'config.best_model_eval_metric=residual and '
      'config.best_model_eval_metric_higher_is_better=False'
    )

  # Training.

  def device_data(self) -> dict[str, np.ndarray]:
    return self._source.arrays()

  def initial_train_state(self) -> TrainState:
    shape = (self._config.num_eigenvectors, self._source.dim)
    eigenvectors = eigengame.orthonormalize(
      jax.random.normal(self._init_key, shape)
    )
    mean = np.zeros(self._source.dim)
    if self._config.centring != 'streaming':
      mean = self._exact_mean
    return TrainState(
      eigenvectors=eigenvectors,
      mean=jnp.asarray(mean, jnp.float32),
      opt_state=self._optimizer.init(eigenvectors),
      global_step=jnp.zeros((), jnp.int32),
    )

  def update(
    self, train_state: TrainState, data: dict[str, jax.Array]
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    players, batch_size = self._layout, self._config.training.batch_size
    eigenvectors, mean, opt_state, step = train_state
    batch = self._source.draw(
      data, step, batch_size, players.data_group(), players.data_groups
    )
    if self._config.centring == 'streaming':
      batch_mean = players.mean_over_data(batch.mean(axis=0))
      mean += (batch_mean - mean) / (step + 1)
    if self._config.centring != 'none':
      batch -= mean

    own = players.own(eigenvectors)
    weights = eigengame.player_weights(players.num_players)
    images = players.mean_over_data(self._source.images(own, batch))
    if not self._config.training.average:
      images *= batch_size
    directions = players.gather(
      self._method.direction(
        eigenvectors, images, players.own(weights), players.gather
      )
    )
    gram = players.gather(images @ eigenvectors.T)

    updates, opt_state = self._optimizer.update(
      directions, opt_state, eigenvectors
    )
    moved = self._method.retract(optax.apply_updates(eigenvectors, updates))
    logs = {
      'batch_utility': eigengame.utilities(gram, weights).sum(),
      'batch_rayleigh_quotients': jnp.trace(gram),
    }
    return TrainState(moved, mean, opt_state, step + 1), logs

  # Evaluation.

  @functools.cached_property
  def _exact_mean(self) -> np.ndarray:
    """The data's mean, or whatever the config has in its place."""
    centring = self._config.centring
    if centring == 'none':
      return np.zeros(self._source.dim)
    if centring in sources.CENTRINGS:
      return self._source.mean()
    return sources.load_mean(centring, self._source.dim)

  @property
  def _is_exact(self) -> bool:
    """Whether M is not too large to find the truth from."""
    return self._source.dim <= self._config.eval.exact_up_to_dim

  @functools.cached_property
  def _exact_matrix(self) -> np.ndarray | None:
    """M, where it is not too large."""
    if not self._is_exact:
      return None
    identity = np.eye(self._source.dim)
    return self._source.exact_images(identity, self._exact_mean)

  @functools.cached_property
  def truth(self) -> metrics.Truth | None:
    """The exact eigenvectors, where they are not too many numbers."""
    if self._exact_matrix is None:
      return None
    return metrics.exact(self._exact_matrix, self._config.num_eigenvectors)

  def eigenvectors(self) -> np.ndarray:
    """The players as rows, float64 `(k, d)`."""
    state = device_mesh.unreplicate(self.train_state)
    return state.eigenvectors.astype(np.float64)

  def measure(self, logs: Any) -> dict[str, float]:
    del logs
    eigenvectors = self.eigenvectors()
    if self.truth is None:
      return {}
    return self._errors(eigenvectors, eigenvectors @ self._exact_matrix)

  def _errors(self, eigenvectors, images) -> dict[str, float]:
    """How far players are from the truth, if that is known."""
    if self.truth is None:
      return {}
    angles = metrics.angles(eigenvectors, self.truth)
    quotients = metrics.rayleigh_quotients(eigenvectors, images)
    eigenvalues = self.truth.eigenvalues[: len(quotients)]
    with np.errstate(invalid='ignore'):
      error = np.abs(quotients - eigenvalues).max() / np.abs(eigenvalues[0])
    return {
      'streak': metrics.longest_streak(angles),
      'subspace_distance': metrics.subspace_distance(eigenvectors, self.truth),
      'largest_angle': np.degrees(angles.max()),
      'rayleigh_error': error,
    }

  def evaluate(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, float]:
    del rng
    step = int(np.ravel(global_step)[0])
    eigenvectors = self.eigenvectors()
    if self._exact_matrix is None:
      images = self._source.exact_images(eigenvectors, self._exact_mean)
    else:
      images = eigenvectors @ self._exact_matrix
    quotients = metrics.rayleigh_quotients(eigenvectors, images)
    utilities = np.asarray(
      eigengame.utilities(
        jnp.asarray(images @ eigenvectors.T),
        eigengame.player_weights(len(eigenvectors)),
      )
    )
    measured = self._errors(eigenvectors, images) | {
      'utility': utilities.sum(),
      'residual': metrics.residuals(eigenvectors, images).max(),
    }
    if writer is not None:
      details = {'rayleigh_quotients': quotients, 'utilities': utilities}
      if self.truth is not None:
        details |= {
          'eigenvalues': self.truth.eigenvalues,
          'angles': np.degrees(metrics.angles(eigenvectors, self.truth)),
        }
      self._write_evaluation(writer, step, eigenvectors, measured | details)
    return measured

  def _write_evaluation(self, writer, step, eigenvectors, measured) -> None:
    writer.write_json(
      f'eval/metrics_{step:08d}.json', {'step': step, **measured}
    )
    if isinstance(self._source, sources.GraphSource):
      nodes = self._source.nodes
      clusters = dict(zip(nodes, graphs.clusters(eigenvectors), strict=True))
      writer.write_json(f'eval/clusters_{step:08d}.json', clusters)
    picture = self._picture(eigenvectors)
    if picture is not None:
      writer.write_png(f'eval/eigenvectors_{step:08d}.png', picture)
      writer.write_images(step, {'eigenvectors_over_exact': picture})

  def write_samples(self, writer: Any, global_step: int) -> None:
    picture = self._picture(self.eigenvectors())
    if picture is not None:
      writer.write_samples(global_step, picture)

  def _picture(self, eigenvectors) -> np.ndarray | None:
    """The players as images, beside the exact eigenvectors."""
    if self._source.image_shape is None:
      return None
    exact = None
    if self.truth is not None:
      exact = self.truth.eigenvectors[: len(eigenvectors)]
    return pictures.eigenvector_grid(
      eigenvectors, exact, self._source.image_shape
    )


def make_layout(config: config_dict.ConfigDict) -> layout.Layout:
  """Players and data over all devices.

  Args:
    config: the field `experiment_kwargs.config`.

  Returns:
    The layout.

  Raises:
    UserError: the devices do not form such a grid.
  """
  devices, groups = jax.device_count(), config.training.player_groups
  field = f'{configs.PREFIX}.training.player_groups={groups}'
  if devices % groups:
    raise errors.UserError(
      f'{field} does not divide the number of devices, {devices}'
    )
  if groups > config.num_eigenvectors:
    raise errors.UserError(
      f'{field} is more than the {config.num_eigenvectors} players'
    )
  return layout.Layout(config.num_eigenvectors, groups, devices // groups)


def _check_sizes(
  config: config_dict.ConfigDict, source: sources.Source
) -> None:
  """Raises UserError where data, devices and the config disagree."""
  if config.num_eigenvectors > source.dim:
    raise errors.UserError(
      f'{configs.PREFIX}.num_eigenvectors={config.num_eigenvectors} is more '
      f'than the dimension of {config.dataset}, {source.dim}'
    )
  draws.check_batch_size(
    f'{configs.PREFIX}.training.batch_size',
    config.training.batch_size,
    source.num_examples,
    f'examples of {config.dataset}',
    num_shards=jax.device_count() // config.training.player_groups,
    shards='groups of devices that share a minibatch',
  )


if __name__ == '__main__':
  launch.main(Experiment, base_config.SCHEMA)
