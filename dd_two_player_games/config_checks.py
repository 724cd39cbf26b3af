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
"""What no single setting tells: contradictions, and settings of other people.

`check` needs no device; what data and devices decide `check_data` looks at.
"""

from collections.abc import Sequence
import inspect
import itertools
import math
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from ml_collections import config_dict
import optax

from dd_two_player_games import activation_metrics
from dd_two_player_games import data_utils
from dd_two_player_games import evaluation_network
from dd_two_player_games import foreign_networks
from dd_two_player_games import inception
from dd_two_player_games import losses
from dd_two_player_games import parts
from dd_two_player_games import penalties
from dd_two_player_games import settings as own
from dd_two_player_games import training as gan_training
from dd_two_player_games import utils
from jaxline_harness import configs
from jaxline_harness import datasets
from jaxline_harness import draws
from jaxline_harness import errors
from jaxline_harness import optimizers
from jaxline_harness import outside
from jaxline_harness import settings

_METRICS_OF_POINTS = {
  data_utils.MIXTURE_NAME: ['modes_covered', 'high_quality_share'],
  data_utils.GAUSSIAN_NAME: ['covariance_error'],
}
_RULE_FIELDS = ('simultaneous_updates', 'runge_kutta_updates', 'update_rule')
CONTRADICTIONS: Sequence[settings.Condition] = (
  *(
    (
      lambda c, a=a, b=b: c.training[a] and c.training[b],
      f'training.{a}={{training.{a}}} and .{b}={{training.{b}}}: choose one '
      'update rule',
    )
    for a, b in itertools.combinations(_RULE_FIELDS, 2)
  ),
  (
    lambda c: (
      c.training.runge_kutta_tableau and c.training.runge_kutta_order != 4
    ),
    'training.runge_kutta_order={training.runge_kutta_order} has no effect: '
    'training.runge_kutta_tableau replaces it',
  ),
)


def check(config: config_dict.ConfigDict) -> None:
  """Raises UserError, with one line, for the first thing that is wrong."""
  experiment = config.experiment_kwargs.config
  for player in own.PLAYERS:
    optimizers.check(
      f'{configs.PREFIX}.optimizers.{player}', experiment.optimizers[player]
    )
  for player, kwargs in zip(
    own.PLAYERS, ('disc_kwargs', 'gen_kwargs'), strict=True
  ):
    network = parts.NETWORKS.find(experiment.nets[player])
    settings.check_arguments(
      f'{configs.PREFIX}.nets.{kwargs}',
      network,
      experiment.nets[kwargs].to_dict(),
      given=['num_classes'],  # The data's.
      by_name=own.NET_ARGUMENTS,
    )
    is_foreign = isinstance(network, foreign_networks.ForeignNetwork)
    if is_foreign and experiment.training.compute_dtype != 'float32':
      logging.warning(
        'nets.%s is no Haiku module: it computes in types of its own, not by '
        'training.compute_dtype=%s',
        player,
        experiment.training.compute_dtype,
      )
  _check_conditional(experiment)
  _check_losses(experiment)
  _check_penalties(experiment.penalties.discriminator)
  _check_update_rule(experiment.training)
  _check_adjustment(experiment)
  _check_number_of_draws(config.training_steps, experiment)
  if config.best_model_eval_metric:
    _check_best_metric(config.best_model_eval_metric, experiment)
  if own.any_drift(experiment.training):
    _warn_of_drift(experiment)


def _check_losses(experiment: config_dict.ConfigDict) -> None:
  """What no discriminator could do: `check_outputs` looks at this one's."""
  disc_loss, gen_loss = _losses_of(experiment)
  disc, gen = losses.traits_of(disc_loss), losses.traits_of(gen_loss)
  path, names = f'{configs.PREFIX}.losses', experiment.losses
  if disc.several_outputs != gen.several_outputs:
    numbers = ('one output', 'several outputs')
    raise errors.UserError(
      f'{path}.discriminator={names.discriminator} takes '
      f'{numbers[disc.several_outputs]} an example, .generator='
      f'{names.generator} {numbers[gen.several_outputs]}: choose two that '
      'take the same'
    )
  if disc.several_outputs and experiment.training.latent_optimisation.alpha:
    raise errors.UserError(
      f'{configs.PREFIX}.training.latent_optimisation moves latents by the '
      "discriminator's output, but of losses.discriminator="
      f'{names.discriminator} there are several'
    )
  if disc.family != gen.family:
    logging.warning(
      'losses.discriminator=%s and losses.generator=%s are of different '
      'families: outputs of an f-GAN mean something to its own losses only',
      names.discriminator,
      names.generator,
    )


def _check_penalties(chosen: Any) -> None:
  names = [name for name, _ in penalties.as_pairs(chosen)]
  for name in names:
    if names.count(name) > 1:
      raise errors.UserError(
        f'{configs.PREFIX}.penalties.discriminator names {name} twice: add '
        'the coefficients'
      )


def _losses_of(experiment: config_dict.ConfigDict) -> list[losses.Loss]:
  return [
    kind.find(experiment.losses[player])
    for kind, player in zip(
      (parts.DISC_LOSSES, parts.GEN_LOSSES), own.PLAYERS, strict=True
    )
  ]


def check_outputs(
  experiment: config_dict.ConfigDict, shape: Sequence[int], num_examples: int
) -> None:
  """Raises ValueError where the losses do not take a discriminator's outputs.

  Args:
    experiment: the config.
    shape: of the outputs.
    num_examples: that they are of.
  """
  name = experiment.losses.discriminator
  several = losses.traits_of(_losses_of(experiment)[0]).several_outputs
  of_one = tuple(shape[1:])
  if several and not (len(of_one) == 1 and of_one[0] > 1):
    raise ValueError(
      f'the discriminator gives {of_one} an example, but losses.discriminator='
      f'{name} takes several numbers: set num_outputs in nets.disc_kwargs, '
      'for SimpleMLP out_dim'
    )
  if not several and math.prod(shape) != num_examples:
    raise ValueError(
      f'the discriminator gives {of_one} an example, not one number, which is '
      f'what losses.discriminator={name} takes'
    )


def _check_conditional(experiment: config_dict.ConfigDict) -> None:
  if not experiment.training.conditional:
    return
  for player in own.PLAYERS:
    name = experiment.nets[player]
    if (
      'num_classes'
      not in inspect.signature(parts.NETWORKS.find(name)).parameters
    ):
      raise errors.UserError(
        f'{configs.PREFIX}.training.conditional=True, but nets.{player}={name} '
        'takes no labels: it declares no argument num_classes'
      )


def _check_update_rule(training: config_dict.ConfigDict) -> None:
  path = f'{configs.PREFIX}.training'
  rule = gan_training.update_rule(training)
  for field in ('num_disc_updates', 'num_gen_updates'):
    if rule != 'alternating' and training[field] != 1:
      raise errors.UserError(
        f'{path}.{field} is {training[field]}, but a step of {rule} makes one '
        'update a player'
      )
  no_drift = ('extragradient', 'extrapolation_from_the_past')
  is_unknown = outside.is_outside(rule)
  if (rule in no_drift or is_unknown) and own.any_drift(training):
    raise errors.UserError(
      f'{path}.grad_regularizes.dd_coeffs_multiplier is not zero, but {rule} '
      f'has no drift {"that is known here" if is_unknown else "of this form"}'
    )


def _check_adjustment(experiment: config_dict.ConfigDict) -> None:
  training = experiment.training
  name, kwargs = training.adjustment, training.adjustment_kwargs
  adjustment = parts.ADJUSTMENTS.find(name)
  parameters = list(inspect.signature(adjustment.function).parameters)
  path = f'{configs.PREFIX}.training'
  settings.check_arguments(
    f'{path}.adjustment_kwargs',
    adjustment.function,
    kwargs.to_dict(),
    parameters[: 3 if adjustment.takes_rates else 2]
    + (['memory'] if adjustment.begin else []),
    own.ADJUSTMENT_ARGUMENTS,
  )
  cancels = losses.are_zero_sum(*_losses_of(experiment))
  cancels = cancels and all(
    parts.PENALTIES.find(name) in penalties.OF_DATA_ALONE
    for name, _ in penalties.as_pairs(experiment.penalties.discriminator)
  )
  if kwargs.get('zero_sum') and (training.unrolled_steps or not cancels):
    raise errors.UserError(
      f"{path}.adjustment_kwargs.zero_sum=True, but the players' losses do not "
      'cancel: that takes a zero-sum pair of losses, such as a saturating or '
      'Wasserstein one, no penalty but r1_penalty or dragan_penalty, and no '
      'unrolled steps'
    )
  if not own.is_adjusted(training):
    return
  what = f'training.adjustment={name}'
  if training.unrolled_steps:
    what = f'training.unrolled_steps={training.unrolled_steps}'
  coefficients = own.SETTINGS['training']['grad_regularizes']
  for term in sorted(name for name, _ in settings.leaves(coefficients)):
    value = settings.value(training.grad_regularizes, term)
    if value:
      raise errors.UserError(
        f'{path}.grad_regularizes.{term} is {value}, but does not go with '
        f'{what}: set it to 0'
      )


def _check_number_of_draws(
  training_steps: int, experiment: config_dict.ConfigDict
) -> None:
  """Draws of data are numbered in int32, and so are optimisers' updates."""
  idle = (optax.identity(), optax.identity())
  try:
    draws = gan_training.build_rule(experiment, idle).num_draws
  except Exception as error:  # Of a rule from outside: ours take these.
    raise errors.UserError(
      f'{configs.PREFIX}.training.update_rule='
      f'{experiment.training.update_rule}: {outside.describe(error)}'
    ) from error
  if training_steps * draws > settings.MAX_INT32:
    raise errors.UserError(
      f'config.training_steps={training_steps} of {draws} draws each are more '
      f'draws than can be numbered, {settings.MAX_INT32}'
    )


def _check_best_metric(metric: str, experiment: config_dict.ConfigDict) -> None:
  of_images = ['IS_mean', 'FID', *experiment.eval.other_metrics]
  if experiment.eval.classification_accuracy:
    of_images.append('classification_accuracy')
  measured = _METRICS_OF_POINTS.get(experiment.dataset, of_images)
  if metric not in measured:
    is_made = experiment.dataset in data_utils.MADE
    others = [] if is_made else list(data_utils.MADE)
    hint = errors.did_you_mean(experiment.dataset, others)
    if metric in activation_metrics.METRICS and not is_made:
      hint = '; add it to eval.other_metrics'
    if metric == 'classification_accuracy' and not is_made:
      hint = '; set eval.classification_accuracy'
    *first, last = measured
    there_is = f'{", ".join(first)} and {last}' if first else last
    raise errors.UserError(
      f'config.best_model_eval_metric={metric} is not measured on '
      f'{configs.PREFIX}.dataset={experiment.dataset}'
      f'{hint or f"; there is {there_is}"}'
    )
  if not experiment.eval.run_image_metrics:
    raise errors.UserError(
      f'config.best_model_eval_metric={metric} is not measured with '
      'eval.run_image_metrics=False'
    )


def _warn_of_drift(experiment: config_dict.ConfigDict) -> None:
  """Warns where drift coefficients are not derived for what is done."""
  training = experiment.training
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  if any(terms.other_norm for terms in multipliers.values()):
    logging.warning(
      'dd_coeffs_multiplier.*.other_norm has no effect: no update rule has '
      'such a drift; explicit_non_dd_coeffs sets the coefficient itself'
    )
  if gan_training.update_rule(training) == 'runge_kutta':
    logging.warning(
      'training.grad_regularizes.dd_coeffs_multiplier is not zero, but '
      'Runge-Kutta has no drift of this form: the coefficients of alternating '
      'updates are used'
    )
  for player in own.PLAYERS:
    optimizer = experiment.optimizers[player]
    is_sgd = optimizer.name == 'sgd'
    is_plain = is_sgd and not any((optimizer.kwargs or {}).values())
    if not is_plain or optimizer.clip or optimizer.get('weight_clip'):
      logging.warning(
        'optimizers.%s is not plain gradient descent: drift coefficients are '
        'not derived for it',
        player,
      )
  if training.drift_convention == 'published' and (
    training.num_disc_updates > 1 or training.num_gen_updates > 1
  ):
    logging.warning(
      'the published drift coefficients do not cancel the drift of several '
      "updates a turn; training.drift_convention='joint_flow' does"
    )


# What data and devices decide.


def check_data(
  config: config_dict.ConfigDict, dataset: datasets.Dataset
) -> None:
  """Raises UserError where the config does not suit devices or data."""
  field, size = 'training.batch_size', config.training.batch_size
  draws.check_batch_size(
    f'{configs.PREFIX}.{field}',
    size,
    len(dataset.examples),
    f'examples of {dataset.name}',
  )
  if config.training.conditional and dataset.labels is None:
    raise errors.UserError(
      f'{configs.PREFIX}.training.conditional=True, but {dataset.name} has no '
      'labels: an .npz needs an array labels, a folder of images a folder for '
      'each class'
    )
  is_images = dataset.examples.ndim == 4
  processor = 'ImageProcessor' if is_images else 'PointProcessor'
  if outside.is_outside(config.data_processor):
    _check_processor(config.data_processor, dataset)
  elif config.data_processor != processor:
    raise errors.UserError(
      f'{configs.PREFIX}.data_processor={config.data_processor} does not suit '
      f'{dataset.name}; set {processor}'
    )
  _check_share(config)
  if is_images and config.eval.run_image_metrics:
    _check_classifier(config, dataset)
  if not is_images:
    # Pictures at checkpoints need it; that would be late to find out.
    with errors.require_extra('plots', f'{dataset.name}: a picture of points'):
      import matplotlib  # noqa: F401, pylint: disable=g-import-not-at-top


def _check_share(config: config_dict.ConfigDict) -> None:
  """Raises UserError where a device has too few examples of a batch."""
  size = config.training.batch_size
  unbiased = config.training.estimator_fn.startswith('unbiased')
  coefficients = jax.tree.leaves(config.training.grad_regularizes.to_dict())
  splits = unbiased and utils.any_non_zero(coefficients)
  share = size // jax.device_count()
  leaves = (
    f'{configs.PREFIX}.training.batch_size={size} leaves {share} example'
    f'{"s" * (share != 1)} a device, but'
  )
  if splits and share < 2:
    raise errors.UserError(f'{leaves} the unbiased estimators split it in two')
  least = losses.traits_of(_losses_of(config)[0]).least_examples
  if share // (1 + splits) < least:
    halves = ' in each half of the unbiased estimators' if splits else ''
    raise errors.UserError(
      f'{leaves} losses.discriminator={config.losses.discriminator} takes '
      f'{least} at least{halves}'
    )


def _check_processor(name: str, dataset: datasets.Dataset) -> None:
  """Tries a data processor from outside on two examples."""
  examples = dataset.examples[:2]
  path = f'{configs.PREFIX}.data_processor={name}'
  try:
    made = jax.eval_shape(parts.PROCESSORS.find(name).preprocess, examples)
    shape, dtype = made.shape, made.dtype
  except Exception as error:  # Whatever other people's code does.
    raise errors.UserError(f'{path}: {outside.describe(error)}') from error
  if shape != examples.shape or not jnp.issubdtype(dtype, jnp.floating):
    raise errors.UserError(
      f'{path}: preprocess makes {dtype} {shape} of {examples.dtype} '
      f'{examples.shape}; it must make floating-point numbers of that shape'
    )


def _check_classifier(
  config: config_dict.ConfigDict, dataset: datasets.Dataset
) -> None:
  shape = dataset.examples.shape[1:]
  wanted = evaluation_network.IMAGE_SHAPE
  is_fashion = own.classifier_name(config) == 'fashion_mnist'
  if is_fashion and shape != wanted:
    raise errors.UserError(
      f'{configs.PREFIX}.eval.classifier=fashion_mnist takes images of shape '
      f'{wanted}, but those of {dataset.name} have {shape}'
    )
  path = config.eval.inception_path
  if not is_fashion and inception.is_file_of_weights(path):
    inception.read_weights(path)  # Not only when training comes to it.
