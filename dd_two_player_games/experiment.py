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

from collections.abc import Mapping
import functools
import math
import os
from typing import Any

from absl import logging
import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np

from dd_two_player_games import adjusted_grads
from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import evaluation_network
from dd_two_player_games import experiment_checks
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import metric_utils
from dd_two_player_games import model_utils
from dd_two_player_games import nets
from dd_two_player_games import optim
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import settings
from dd_two_player_games import term_recorder
from dd_two_player_games import tfgan_inception_utils
from differentiable_games import adjustments
from differentiable_games import rules
from differentiable_games import updates
from jaxline_harness import device_mesh
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import launch
from jaxline_harness import optimizers
from jaxline_harness import prng
from jaxline_harness import train_loop

_NUM_SHOWN = {'images': 64, 'points': 4096}
_NUM_POINTS_MEASURED = 10_000


class Experiment(train_loop.ChunkedExperiment):
  """Trains the two players of a GAN, and measures the generator."""

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
    self._dataset = data_utils.load_dataset(
      config.dataset, 'train', config.data_dir or None
    )
    self._processor = getattr(data_utils, config.data_processor)
    self._is_images = self._dataset.examples.ndim == 4
    experiment_checks.check_data(config, self._dataset)
    # Of the initial parameters, of the data's order, of latents, of evaluation.
    self._init_key, self._data_key, self._latents_key, self._eval_key = (
      jax.random.split(jax.random.PRNGKey(config.random_seed), 4)
    )
    self._gan = build_gan(config)
    self._players = build_players(config, self._gan)
    self._rule = build_update_rule(config, self._players)
    if config.training.on_nonfinite == 'back_off':
      self.max_back_offs = config.training.back_off_times
    self._check_networks()
    self._image_metrics: metric_utils.ImageMetrics | None = None

  def _check_networks(self) -> None:
    """Raises UserError if the networks do not suit the data, or each other."""
    wanted = self._dataset.examples.shape[1:]

    def check_shapes():
      train_state = self.initial_train_state()
      params, state = train_state.params, train_state.state
      samples, _ = self._gan.sample(
        params.gen, state.players.gen, self._eval_key, 2, {'is_training': True}
      )
      if samples.shape[1:] != wanted:
        raise ValueError(f'samples have shape {samples.shape[1:]}')
      outputs, *_ = self._gan.disc_forward(
        params.disc, state, samples, True, False
      )
      if outputs.size != samples.shape[0]:
        raise ValueError(
          f'the discriminator gives {outputs.shape[1:]} an example, not one '
          'number'
        )

    try:
      jax.eval_shape(jax.vmap(check_shapes, axis_name='i', axis_size=1))
    except Exception as error:  # Whatever a network makes of its arguments.
      logging.info('The networks do not work:', exc_info=True)
      raise errors.UserError(
        'config.experiment_kwargs.config.nets do not suit '
        f'{self._dataset.name}, of shape {wanted}: '
        f'{type(error).__name__}: {errors.one_line(error)}'
      ) from error
    experiment_checks.check_memory(self.abstract_train_state())

  # Training.

  def device_data(self) -> dict[str, np.ndarray]:
    # Keys are data, not constants, so that all seeds share compiled programs.
    return {
      'examples': self._dataset.examples,
      'data_key': np.asarray(self._data_key),
      'latents_key': np.asarray(self._latents_key),
    }

  def initial_train_state(self) -> optim.TrainState:
    example = self._processor.preprocess(self._dataset.examples[:2])
    # Batch norm averages over the axis 'i', which must exist.
    initial_params = jax.vmap(
      self._gan.initial_params, axis_name='i', axis_size=1, in_axes=(None, None)
    )
    params, state = jax.tree.map(
      lambda leaf: leaf[0],
      initial_params(prng.step_key(self._init_key), example),
    )
    return optim.TrainState(
      params=params,
      opt_state=self._rule.init(params),
      state=state,
      global_step=jnp.zeros((), jnp.int32),
    )

  def update(
    self, train_state: optim.TrainState, data: dict[str, jax.Array]
  ) -> tuple[optim.TrainState, dict[str, jax.Array]]:
    train_state, logs = self._rule.step(
      train_state, self._draws(train_state, data)
    )
    logs.update(singular_values(train_state.state.param_transforms.disc))
    train_state = train_state._replace(global_step=train_state.global_step + 1)
    return train_state, lax.pmean(logs, axis_name='i')

  def examine(
    self, train_state: optim.TrainState, data: dict[str, jax.Array]
  ) -> dict[str, jax.Array]:
    recorder = term_recorder.TermRecorder(self._players.grads_calculator)
    players = self._players._replace(grads_calculator=recorder)
    rule = build_update_rule(self._config, players)
    rule.step(train_state, self._draws(train_state, data))
    return recorder.is_finite

  def _draws(self, train_state, device_data):
    """Maps the number of a draw to it, for one step."""
    # Players may share a draw.
    return functools.cache(
      functools.partial(self._draw, device_data, train_state.global_step)
    )

  def _draw(self, device_data, global_step, k):
    """The k-th draw of a step: this device's examples, and its own key."""
    number = global_step * self._rule.num_draws + k
    device = lax.axis_index('i')
    batch = draws.draw_batch(
      device_data['examples'],
      device_data['data_key'],
      number,
      self._config.training.batch_size,
      device,
      lax.axis_size('i'),
    )
    rng = jax.random.fold_in(
      jax.random.fold_in(device_data['latents_key'], number), device
    )
    return self._processor.preprocess(batch), prng.step_key(rng)

  def write_samples(self, writer: Any, global_step: int) -> None:
    writer.write_png(
      f'samples/step_{global_step:08d}.png', self._picture(global_step)
    )

  # Evaluation.

  def evaluate(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, float]:
    del rng
    step = int(np.ravel(global_step)[0])
    metrics = self._metrics(writer)
    if writer is not None:
      self._write_evaluation(writer, step, metrics)
    return metrics

  def _metrics(self, writer) -> dict[str, float]:
    if not self._config.eval.run_image_metrics:
      return {}
    if not self._is_images:
      return self._point_metrics()
    if self._image_metrics is None:
      self._image_metrics = self._make_image_metrics()
    params_and_state = device_mesh.unreplicate(
      (self._rule.evaluated(self.train_state), self.train_state.state)
    )
    sampler = model_utils.Sampler(
      self._gan, *model_utils.put_on_local_devices(params_and_state)
    )

    def sample(k):
      keys = jax.random.fold_in(self._eval_key, k)
      keys = jax.random.split(keys, jax.local_device_count())
      samples = sampler.sample_batch(self._config.eval.batch_size, keys)
      return np.asarray(samples)

    return self._image_metrics.metrics(sample)

  def _make_image_metrics(self) -> metric_utils.ImageMetrics:
    evaluation = self._config.eval
    return metric_utils.ImageMetrics(
      make_classifier(self._config),
      self._dataset.examples,
      num_splits=evaluation.num_eval_splits,
      images_per_split=evaluation.num_inception_images,
      data_name=self._dataset.name,
      cache_dir=os.path.join(files.cache_folder(), 'image_statistics'),
    )

  def _point_metrics(self) -> dict[str, float]:
    samples = self._samples(_NUM_POINTS_MEASURED, self._eval_key)
    return data_utils.point_metrics(self._dataset.name, samples)

  def _write_evaluation(self, writer, step, metrics) -> None:
    measured_with = {'data': self._dataset.name}
    if self._image_metrics is not None:
      measured_with = self._image_metrics.measured_with
    writer.write_json(
      f'eval/metrics_{step:08d}.json',
      {'step': step, **metrics, 'measured_with': measured_with},
    )
    picture = self._picture(step, beside_data=True)
    writer.write_png(f'eval/samples_{step:08d}.png', picture)
    writer.write_images(step, {'samples_and_data': picture})

  # Pictures.

  def _samples(self, num_samples: int, key: jax.Array) -> np.ndarray:
    params, state = device_mesh.unreplicate(
      (self._rule.evaluated(self.train_state), self.train_state.state)
    )
    sampler = model_utils.Sampler(self._gan, params, state, pmap=False)
    return np.asarray(sampler.sample_batch(num_samples, key))

  def _picture(self, step: int, beside_data: bool = False) -> np.ndarray:
    """Samples of fixed latents, as a grid of images or a plot of points."""
    num = _NUM_SHOWN['images' if self._is_images else 'points']
    # The same latents at every step, so that pictures can be compared.
    samples = self._samples(num, self._eval_key)
    if not self._is_images:
      return data_utils.points_figure(
        samples, self._dataset.examples, f'Step {step}'
      )
    grid = data_utils.sample_grid(metric_utils.as_uint8(samples))
    if not beside_data:
      return grid
    side = math.isqrt(num)  # There may be fewer images than places.
    real = data_utils.sample_grid(self._dataset.examples[:num], side, side)
    gap = np.full((grid.shape[0], grid.shape[1] // 16, grid.shape[2]), 255)
    return np.concatenate([grid, gap.astype(np.uint8), real], axis=1)


def build_gan(config: config_dict.ConfigDict) -> gan.GAN:
  """The two players and their losses, by the config's names."""
  penalty = config.penalties.discriminator
  transformer = config.param_transformers.discriminator
  latent_optimisation = config.training.latent_optimisation
  return gan.GAN(
    players_hk=gan.GANTuple(
      disc=getattr(nets, config.nets.discriminator),
      gen=getattr(nets, config.nets.generator),
    ),
    losses=gan.GANTuple(
      disc=getattr(losses, config.losses.discriminator),
      gen=getattr(losses, config.losses.generator),
    ),
    penalties=gan.GANTuple(
      disc=penalty and gan.GANPenalty(getattr(losses, penalty[0]), penalty[1]),
      gen=None,
    ),
    player_param_transformers=gan.GANTuple(
      disc=transformer and getattr(nets, transformer), gen=None
    ),
    players_kwargs=gan.GANTuple(
      disc=config.nets.disc_kwargs.to_dict(),
      gen=config.nets.gen_kwargs.to_dict(),
    ),
    num_latents=config.training.num_latents,
    compute_dtype=config.training.compute_dtype,
    latent_optimisation=(
      gan.LatentOptimisation(**latent_optimisation)
      if latent_optimisation.alpha
      else None
    ),
  )


def build_players(
  config: config_dict.ConfigDict, model: gan.GAN
) -> optim.Players:
  """The players' gradients, optimisers and regularisers."""
  training = config.training
  player_optimizers, schedules = zip(
    *(
      optimizers.make_optimizer(
        **config.optimizers[player],
        updates_a_turn=settings.gradients_a_step(
          settings.update_rule(training)
        ),
      )
      for player in ('discriminator', 'generator')
    ),
    strict=True,
  )
  schedules = gan.GANTuple(*schedules)
  if training.adjustment == 'none' and not training.unrolled_steps:
    players = optim.Players(
      gan_grads_calculator.GANGradsCalculator(
        model, getattr(regularizer_estimates, training.estimator_fn)
      ),
      gan.GANTuple(*player_optimizers),
      regularizer_coefficients(config, schedules),
    )
  else:
    players = optim.Players(
      adjusted_grads.AdjustedGradsCalculator(
        model,
        training.adjustment,
        training.adjustment_kwargs.to_dict(),
        training.unrolled_steps,
      ),
      gan.GANTuple(*player_optimizers),
      functools.partial(_rates, schedules, _num_updates(training)),
    )
  # Also with 'stop': a run that backed off may go on with it.
  return players._replace(
    rate_scale=lambda train_state: jnp.power(
      jnp.float32(training.back_off_factor), train_state.back_offs
    )
  )


def build_update_rule(
  config: config_dict.ConfigDict, players: optim.Players
) -> optim.UpdateRule:
  """The rule by which the players move."""
  training = config.training
  rule = _base_rule(config, players)
  if training.lookahead_periods:
    return optim.lookahead(
      rule, training.lookahead_periods, training.lookahead_step_size
    )
  return rule


def _base_rule(config, players) -> optim.UpdateRule:
  training = config.training
  name = settings.update_rule(training)
  if name == 'simultaneous':
    return optim.simultaneous(players)
  if name == 'runge_kutta':
    optimizer = config.optimizers.discriminator
    step_size = optimizers.make_schedule(
      optimizer.lr, optimizer.scheduler, optimizer.scheduler_kwargs
    )
    after = _terms(training.grad_regularizes.rk_after_explicit_coeffs)
    tableau = training.runge_kutta_tableau
    order = updates.Tableau(*tableau) if tableau else training.runge_kutta_order
    return optim.runge_kutta(players, order, step_size, after)
  if name == 'alternating':
    order = drift_utils.PlayerOrder[training.alternating_player_order]
    return optim.alternating(players, order, _num_updates(training))
  return optim.of_games(players, getattr(rules, name))


def regularizer_coefficients(
  config: config_dict.ConfigDict, schedules: gan.GANTuple
):
  """Drift coefficients times their multipliers, plus explicit ones.

  With a schedule, the rates are those at the start of a step. Terms whose
  multiplier and explicit coefficient are both zero in the config
  stay Python zeros, for which nothing is computed.

  Args:
    config: the experiment's config.
    schedules: a GANTuple of learning rates as functions of a player's updates.

  Returns:
    A function from the global step, and a factor of both learning rates, to a
    GANTuple of PlayerRegularizationTerms.
  """
  training = config.training
  num_updates = _num_updates(training)
  multipliers = _terms(training.grad_regularizes.dd_coeffs_multiplier)
  explicit = _terms(training.grad_regularizes.explicit_non_dd_coeffs)
  drift_coeffs = {
    'published': drift_utils.get_dd_coeffs,
    'joint_flow': drift_utils.joint_flow_coeffs,
  }[training.drift_convention]

  def coefficient(multiplier, drift, extra):
    if adjustments.is_zero(multiplier):
      return extra
    return multiplier * drift + extra

  def coefficients(global_step, rate_scale=1.0):
    drift = drift_coeffs(
      drift_utils.PlayerOrder[training.alternating_player_order],
      settings.update_rule(training) == 'simultaneous',
      _rates(schedules, num_updates, global_step, rate_scale),
      num_updates,
    )
    return jax.tree.map(coefficient, multipliers, drift, explicit)

  return coefficients


def _rates(schedules, num_updates, global_step, rate_scale) -> gan.GANTuple:
  """Both players' learning rates at the start of a step."""
  return gan.GANTuple(
    *(
      rate_scale * schedule(global_step * n)
      for schedule, n in zip(schedules, num_updates, strict=True)
    )
  )


def make_classifier(
  config: config_dict.ConfigDict,
) -> metric_utils.Classifier:
  """What IS and FID are measured with, by `eval.classifier`."""
  if settings.classifier_name(config) == 'fashion_mnist':
    return evaluation_network.EvaluationNetwork()
  return tfgan_inception_utils.InceptionClassifier(config.eval.inception_path)


def singular_values(
  transform_state: Mapping[str, Mapping[str, jax.Array]] | None,
) -> dict[str, jax.Array]:
  """Each weight's tracked singular value, under 'sn_params_tree/…/sv'."""
  return {
    f'{module[module.find("sn_params_tree") :]}/sv': entries['sigma']
    for module, entries in (transform_state or {}).items()
  }


def _terms(players: config_dict.ConfigDict) -> gan.GANTuple:
  return gan.GANTuple(
    *(
      drift_utils.PlayerRegularizationTerms(**players[player])
      for player in gan.GANTuple._fields
    )
  )


def _num_updates(training: config_dict.ConfigDict) -> gan.GANTuple:
  return gan.GANTuple(
    disc=training.num_disc_updates, gen=training.num_gen_updates
  )


if __name__ == '__main__':
  launch.main(Experiment, base_config.SCHEMA)
