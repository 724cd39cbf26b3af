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
"""GAN training and evaluation as a jaxline experiment."""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Mapping
import copy
import math
import os
from typing import Any

from absl import logging
import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from dd_two_player_games import base_config
from dd_two_player_games import classification_accuracy
from dd_two_player_games import config_checks
from dd_two_player_games import data_facts
from dd_two_player_games import data_utils
from dd_two_player_games import evaluation_network
from dd_two_player_games import gan
from dd_two_player_games import image_metrics
from dd_two_player_games import inception
from dd_two_player_games import labelled
from dd_two_player_games import model_utils
from dd_two_player_games import network_checks
from dd_two_player_games import observatory
from dd_two_player_games import parts
from dd_two_player_games import pictures
from dd_two_player_games import settings
from dd_two_player_games import tfgan_inception_utils
from dd_two_player_games import training
from differentiable_games import dynamics
from differentiable_games import game
from differentiable_games import spectra
from jaxline_harness import device_mesh
from jaxline_harness import drawn_ahead
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import launch
from jaxline_harness import periodic
from jaxline_harness import prng
from jaxline_harness import shipped
from jaxline_harness import train_loop

_NUM_POINTS_MEASURED = 10_000
# No loss of a GAN that learns is so large.
_LARGEST_LOSS = 1e6
_ROUNDING = 1.01  # Of a solver's residual, over its tolerance.
# Of the samples' deviation, as a share of the data's.
_LEAST_SPREAD = 1e-3
_NUM_ON_PATH = 11


class Experiment(train_loop.ChunkedExperiment):
  """Trains the two players of a GAN, and measures the generator."""

  report_command = shipped.name_verb('report')

  def __init__(
    self, mode: str, init_rng: jax.Array, config: config_dict.ConfigDict
  ):
    """Builds everything from a full config (`base_config.resolve`).

    Args:
      mode: 'train' or 'eval'.
      init_rng: not used; all keys come from `config.random_seed`.
      config: the field `experiment_kwargs.config`.

    Raises:
      UserError: if the data cannot be had, or a batch does not suit the
        devices.
    """
    super().__init__(mode, init_rng)
    self._config = config
    on_host = config.data_on == 'host'
    self._dataset = data_utils.load_dataset(
      config.dataset, 'train', config.data_dir or None, on_host
    )
    self._processor = parts.PROCESSORS.find(config.data_processor)
    self._is_images = self._dataset.examples.ndim == 4
    config_checks.check_data(config, self._dataset)
    # Of the initial parameters, of the data's order, of latents, of evaluation.
    self._init_key, self._data_key, self._latents_key, self._eval_key = (
      prng.split_seed(config.random_seed, 4)
    )
    self._data = labelled.label(
      self._dataset.examples,
      self._dataset.labels if config.training.conditional else None,
    )
    self._facts = data_facts.facts_of(self._data)
    self._gan = training.build_gan(config, self._facts)
    self._trainer = training.Trainer(config, self._gan)
    self._observatory = observatory.Observatory(
      config, self._gan, self._trainer
    )
    self._examples = self._data
    if on_host:
      size, num_draws = config.training.batch_size, self._trainer.num_draws
      self._examples = drawn_ahead.Source(
        self._data, self._data_key, size, num_draws
      )
    if config.training.on_nonfinite == 'back_off':
      self.max_back_offs = config.training.back_off_times
    network_checks.check_shapes(
      *(config, self._gan, self._dataset.name, self._first_examples()),
      self.abstract_train_state,
    )
    network_checks.check_step(config, self.trace_chunk)
    data = drawn_ahead.shapes_of(self.device_data())
    network_checks.check_memory(
      config, self._gan, data, self._facts, self.abstract_train_state()
    )
    self._warned: set[str] = set()
    self._most_modes = 0.0
    self._initial_params: gan.GANTuple | None = None
    self._image_metrics: image_metrics.ImageMetrics | None = None
    self._accuracy: classification_accuracy.ClassificationAccuracy | None = None
    if config.eval.classification_accuracy and config.eval.run_image_metrics:
      self._accuracy = classification_accuracy.of_dataset(
        self._dataset, config, _cache_folder()
      )

  def with_numbers(self, config: config_dict.ConfigDict) -> 'Experiment':
    """Itself with other numbers in its config, which may be traced."""
    other = copy.copy(self)
    other._forget_programs()
    other._config = config
    other._gan = training.build_gan(config, self._facts)
    other._trainer = training.Trainer(config, other._gan)
    return other

  # Training.

  def device_data(self) -> dict[str, Any]:
    # Keys are data, not constants, so that all seeds share compiled programs.
    return {
      'examples': self._examples,
      'data_key': self._data_key,
      'latents_key': self._latents_key,
    }

  def describe_data(self) -> dict[str, Any]:
    return self._facts.to_record()

  def initial_arguments(self) -> tuple[np.ndarray]:
    return (self._init_key,)

  def initial_train_state(self, key: Any = None) -> training.TrainState:
    key = self._init_key if key is None else key
    return self._trainer.initial_state(key, self._first_examples())

  def _first_examples(self) -> labelled.Batch:
    """Two examples, as networks see them."""
    first = jax.tree.map(lambda x: x[:2], self._data)
    return labelled.map_examples(self._processor.preprocess, first)

  def update(
    self, train_state: training.TrainState, data: dict[str, jax.Array]
  ) -> tuple[training.TrainState, dict[str, jax.Array]]:
    train_state, logs = self._trainer.step(
      train_state, self._draws(train_state, data)
    )
    logs = {
      **logs,
      **singular_values(train_state.state.param_transforms.disc),
    }
    logs = {k: jnp.asarray(v, jnp.float32) for k, v in logs.items()}
    train_state = train_state._replace(global_step=train_state.global_step + 1)
    return train_state, game.average_over_devices(logs, 'i')

  def examine(
    self, train_state: training.TrainState, data: dict[str, jax.Array]
  ) -> dict[str, jax.Array]:
    return self._trainer.examine(train_state, self._draws(train_state, data))

  def _draws(self, train_state, data):
    """Maps the number of a draw within the step to a minibatch and a key."""
    size, num_draws = self._config.training.batch_size, self._trainer.num_draws
    step, examples = train_state.global_step, data['examples']

    def draw(k):
      batch = drawn_ahead.draw_batch(
        examples, data['data_key'], step, k, size, num_draws
      )
      number = step * num_draws + k  # Of the whole run.
      key = jax.random.fold_in(data['latents_key'], number)
      key = jax.random.fold_in(key, lax.axis_index('i'))
      batch = labelled.map_examples(self._processor.preprocess, batch)
      return batch, prng.step_key(key)

    return draw

  def measure(self, logs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measures nothing, but warns of what the logs show."""
    self._warn_of_solver(logs)
    for name, value in logs.items():
      if name.endswith('loss') and abs(value) > _LARGEST_LOSS:
        self._report_divergence(f'{name} is {value:.3g}')
    return {}

  def _warn_of_solver(self, logs: Mapping[str, np.ndarray]) -> None:
    """Warns, once, of a solver that misses its tolerance."""
    if 'solver' in self._warned or training.RESIDUAL not in logs:
      return
    tolerance = training.solver_tolerance(self._config.training)
    residual = logs[training.RESIDUAL]
    if residual <= _ROUNDING * tolerance:
      return
    self._warned.add('solver')
    logging.warning(
      "training.adjustment=%s: the solver's residual is %.2g after %d "
      'iterations, above its tolerance %.2g: the direction is not the '
      "method's. More adjustment_kwargs.max_iterations, or a smaller learning "
      'rate, bring it down; %s and %s log this',
      self._config.training.adjustment,
      residual,
      logs[training.ITERATIONS],
      tolerance,
      training.RESIDUAL,
      training.ITERATIONS,
    )

  def _report_divergence(self, sign: str) -> None:
    """Ends a run that has diverged, or warns of it once.

    Args:
      sign: by which it is seen.

    Raises:
      errors.TrainingError: if `training.on_divergence` is 'stop'.
    """
    step = int(device_mesh.unreplicate(self.train_state.global_step))
    message = f'step {step}: training has diverged: {sign}'
    if self._config.training.on_divergence == 'stop':
      raise errors.TrainingError(message)
    if 'divergence' not in self._warned:
      self._warned.add('divergence')
      logging.warning('%s (training.on_divergence=stop ends there)', message)

  def observations(self) -> list[periodic.Observation]:
    chosen = self._config.training.dynamics
    return [
      periodic.Observation('dynamics', chosen.every, self._observe),
      periodic.Observation(
        'spectrum', chosen.spectrum_every, self._observe_spectrum
      ),
      periodic.Observation(
        'eval', self._config.eval.every, self._evaluate_in_training
      ),
    ]

  def _observe(self, step: int, writer: Any) -> dict[str, Any]:
    del writer
    observed = self._observe_by('every', self._observatory.observe)
    if observed['sample_spread'] < _LEAST_SPREAD:
      self._report_divergence('the generator gives one and the same sample')
    if self._is_drift_due(step):
      observed |= self._observe_by(
        'drift_every', self._observatory.observe_drift
      )
    before, after = self.look_ahead()
    update = jax.tree.map(np.subtract, after.params, before.params)
    return observed | {
      f'{name}/update_norm': optax.tree.norm(own)
      for name, own in update._asdict().items()
    }

  def _observe_by(self, setting: str, method: Any, *train_state: Any) -> Any:
    """What a method of the observatory says of a state and its first draw."""
    return self.run_on_devices(
      f'training.dynamics.{setting}: {method.__name__}',
      lambda state, data: method(state, self._draws(state, data)(0)),
      *train_state,
    )

  def _is_drift_due(self, step: int) -> bool:
    chosen = self._config.training.dynamics
    if not chosen.drift_every or not observatory.has_plain_step(self._config):
      return False
    return step % (chosen.every * chosen.drift_every) == 0

  def _observe_spectrum(self, step: int, writer: Any) -> dict[str, float]:
    del step, writer
    matrices = self._observe_by(
      'spectrum_every', self._observatory.krylov_matrices
    )
    described = spectra.describe_spectrum(matrices, self._observatory.names)
    return described | self._path_cosines()

  def _path_cosines(self) -> dict[str, float]:
    """Of ξ and the way from the initial parameters to these, along that way."""
    if self._initial_params is None:
      self._initial_params = self.make_initial_state().params
    start = self._initial_params
    end = device_mesh.unreplicate(self.train_state.params)
    way = jax.tree.map(np.subtract, end, start)

    def gradient(share):
      params = jax.tree.map(lambda a, b: a + np.float32(share) * b, start, way)
      return self._observe_by(
        'spectrum_every',
        self._observatory.gradient,
        self.train_state._replace(params=device_mesh.replicate(params)),
      )

    return {
      f'path_cosine/{share:.1f}': float(dynamics.cosine(gradient(share), way))
      for share in np.linspace(0, 1, _NUM_ON_PATH)
    }

  def _evaluate_in_training(self, step: int, writer: Any) -> dict[str, float]:
    metrics = self.evaluate(
      global_step=np.asarray([step]), rng=None, writer=writer
    )
    modes = metrics.get('modes_covered', 0)
    self._most_modes = max(self._most_modes, modes)
    if modes < self._most_modes / 2:
      self._report_divergence(
        f'{modes:.0f} modes are left of {self._most_modes:.0f}'
      )
    return metrics

  def write_samples(self, writer: Any, global_step: int) -> None:
    writer.write_samples(global_step, self._picture(global_step))

  # Evaluation.

  def evaluate(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, float]:
    del rng
    step = int(np.ravel(global_step)[0])
    metrics = self._metrics()
    if writer is not None:
      self._write_evaluation(writer, step, metrics)
    return metrics

  def _metrics(self) -> dict[str, float]:
    if not self._config.eval.run_image_metrics:
      return {}
    metrics = self._measure_samples(self._trainer.evaluated)
    if self._config.training.generator_average:
      last = self._measure_samples(self._trainer.last)
      metrics |= {
        f'last/{name}': value
        for name, value in last.items()
        if not name.endswith('_floor')
      }
    return metrics

  def _measure_samples(self, evaluated: Any) -> dict[str, float]:
    """The metrics of what a method of the trainer makes of the state."""
    if not self._is_images:
      return self._point_metrics(evaluated)
    if self._image_metrics is None:
      self._image_metrics = self._make_image_metrics()
    params_and_state = device_mesh.unreplicate(
      (evaluated(self.train_state), self.train_state.state)
    )
    sampler = model_utils.Sampler(
      self._gan, *model_utils.put_on_local_devices(params_and_state)
    )

    def sample(k, labelled_too=False):
      key = jax.random.fold_in(self._eval_key, k)
      keys = jax.random.split(key, jax.local_device_count())
      shape = len(keys), self._config.eval.batch_size
      labels = self._label_samples(math.prod(shape), key)
      labels = jax.tree.map(lambda x: x.reshape(shape), labels)
      samples = np.asarray(sampler.sample_batch(shape[1], keys, **labels))
      return (samples, np.ravel(labels['labels'])) if labelled_too else samples

    metrics = self._image_metrics.metrics(sample)
    if self._accuracy is not None:
      metrics |= self._accuracy.metrics(lambda k: sample(k, labelled_too=True))
    return metrics

  def _label_samples(
    self, num_samples: int, key: jax.Array | None = None
  ) -> dict[str, jax.Array]:
    """Labels of samples by name, as frequent as in the data; none without."""
    key = self._eval_key if key is None else key
    labels = self._facts.draw_labels(key, num_samples)
    return {} if labels is None else {'labels': labels}

  def _make_image_metrics(self) -> image_metrics.ImageMetrics:
    evaluation = self._config.eval
    return image_metrics.ImageMetrics(
      make_classifier(self._config),
      self._dataset.examples,
      num_splits=evaluation.num_eval_splits,
      images_per_split=evaluation.num_inception_images,
      other_metrics=evaluation.other_metrics,
      num_activations=evaluation.num_activations,
      data_name=self._dataset.name,
      cache_dir=_cache_folder(),
    )

  def _point_metrics(self, evaluated: Any) -> dict[str, float]:
    samples = self._samples(_NUM_POINTS_MEASURED, self._eval_key, evaluated)
    name, examples = self._dataset.name, self._dataset.examples
    metrics = data_utils.point_metrics(name, samples)
    of_data = data_utils.point_metrics(name, examples[:_NUM_POINTS_MEASURED])
    if 'covariance_error' in metrics:
      metrics['covariance_error_floor'] = of_data['covariance_error']
    return metrics

  def _write_evaluation(self, writer, step, metrics) -> None:
    measured_with: dict[str, Any] = {'data': self._dataset.name}
    if self._image_metrics is not None:
      measured_with = self._image_metrics.measured_with
    if self._accuracy is not None:
      measured_with |= self._accuracy.measured_with
    writer.write_json(
      f'eval/metrics_{step:08d}.json',
      {'step': step, **metrics, 'measured_with': measured_with},
    )
    picture = self._picture(step, beside_data=True)
    writer.write_png(f'eval/samples_{step:08d}.png', picture)
    writer.write_images(step, {'samples_and_data': picture})

  # Pictures.

  def _samples(
    self,
    num_samples: int,
    key: jax.Array,
    evaluated: Any = None,
    labels: np.ndarray | None = None,
  ) -> np.ndarray:
    evaluated = evaluated or self._trainer.evaluated
    given: dict[str, Any] = {'labels': labels}
    if labels is None:
      given = self._label_samples(num_samples, key)
    params, state = device_mesh.unreplicate(
      (evaluated(self.train_state), self.train_state.state)
    )
    sampler = model_utils.Sampler(self._gan, params, state, pmap=False)
    return np.asarray(sampler.sample_batch(num_samples, key, **given))

  def _picture(self, step: int, beside_data: bool = False) -> np.ndarray:
    # The same latents at every step, so that pictures can be compared.
    return pictures.draw_samples(
      lambda num, labels: self._samples(num, self._eval_key, labels=labels),
      self._dataset,
      self._facts.class_counts,
      f'Step {step}',
      beside_data,
    )


def _cache_folder() -> str:
  return os.path.join(files.cache_folder(), 'image_statistics')


def make_classifier(
  config: config_dict.ConfigDict,
) -> image_metrics.Classifier:
  """What images are measured with, by `eval.classifier`."""
  if settings.classifier_name(config) == 'fashion_mnist':
    return evaluation_network.EvaluationNetwork()
  path = config.eval.inception_path
  if inception.is_file_of_weights(path):
    return inception.InceptionNetwork(path)
  return tfgan_inception_utils.InceptionClassifier(path)


def singular_values(
  transform_state: Mapping[str, Mapping[str, jax.Array]] | None,
) -> dict[str, jax.Array]:
  """Each weight's tracked singular value, under 'sn_params_tree/…/sv'."""
  return {
    f'{module[module.find("sn_params_tree") :]}/sv': entries['sigma']
    for module, entries in (transform_state or {}).items()
  }


if __name__ == '__main__':
  launch.main(Experiment, base_config.SCHEMA)
