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
"""Whether a full config makes sense: types, ranges, names, contradictions.

All this needs no device; what the data and the devices decide,
`experiment_checks` looks at.
"""

import inspect

from absl import logging
from ml_collections import config_dict

from dd_two_player_games import adjusted_grads
from dd_two_player_games import base_config
from dd_two_player_games import config_fields
from dd_two_player_games import data_utils
from dd_two_player_games import nets
from jaxline_harness import argument_checks
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import fields
from jaxline_harness import optimizers

_PREFIX = 'config.experiment_kwargs.config'
# Whether more is better, of each metric that `evaluate` gives.
METRICS = {
  'IS_mean': True,
  'FID': False,
  'modes_covered': True,
  'high_quality_share': True,
  'covariance_error': False,
}
_METRICS_OF_POINTS = {
  data_utils.MIXTURE_NAME: ['modes_covered', 'high_quality_share'],
  data_utils.GAUSSIAN_NAME: ['covariance_error'],
}

# Losses that cancel, but for what depends on the discriminator alone.
_ZERO_SUM = (
  ('discriminator_goodfellow_loss', 'generator_saturating_loss'),
  ('wasserstein_discriminator_loss', 'wasserstein_generator_loss'),
)


def check(config: config_dict.ConfigDict) -> None:
  """Raises UserError, with one line, for the first thing that is wrong."""
  experiment = config.experiment_kwargs.config
  fields.check_all(config_fields.FIELDS, experiment, _PREFIX)
  _check_discriminator_only(experiment)
  for player in config_fields.PLAYERS:
    optimizers.check(
      _full(f'optimizers.{player}'), experiment.optimizers[player]
    )
    argument_checks.check(
      _full(f'nets.{config_fields.KWARGS[player]}'),
      getattr(nets, experiment.nets[player]),
      experiment.nets[config_fields.KWARGS[player]].to_dict(),
      by_name=config_fields.NET_ARGUMENTS,
    )
  _check_update_rule(experiment.training)
  _check_adjustment(experiment)
  _check_number_of_draws(config.training_steps, experiment.training)
  if config.best_model_eval_metric:
    _check_best_metric(config, experiment)
  _check_effect(config)
  _warn_of_settings_without_effect(experiment.training)
  _warn_of_coefficients_not_derived(experiment)


def _full(field: str) -> str:
  return f'{_PREFIX}.{field}'


def _check_discriminator_only(experiment: config_dict.ConfigDict) -> None:
  for field in ('penalties', 'param_transformers'):
    value = experiment[field].generator
    if value is not None:
      raise errors.UserError(
        f'{_full(field)}.generator={fields.show(value)} has no effect: set it '
        'to None'
      )
  penalty = experiment.penalties.discriminator
  if penalty is None:
    return
  path = _full('penalties.discriminator')
  if not isinstance(penalty, list | tuple) or len(penalty) != 2:
    raise errors.UserError(
      f'{path} must be [name, coefficient] or None, not {fields.show(penalty)}'
    )
  config_fields.PENALTY.check(f'{path}[0]', penalty[0])
  argument_checks.NOT_NEGATIVE.check(f'{path}[1]', penalty[1])


def _check_update_rule(training: config_dict.ConfigDict) -> None:
  chosen = [
    name
    for name in ('simultaneous_updates', 'runge_kutta_updates', 'update_rule')
    if training[name]
  ]
  if len(chosen) > 1:
    first, second = (f'{name}={training[name]}' for name in chosen[:2])
    raise errors.UserError(
      f'{_full("training")}.{first} and .{second}: choose one update rule'
    )
  rule = base_config.update_rule(training)
  for field in ('num_disc_updates', 'num_gen_updates'):
    if rule != 'alternating' and training[field] != 1:
      raise errors.UserError(
        f'training.{field} is {training[field]}, but a step of {rule} makes '
        'one update a player'
      )
  no_drift = ('extragradient', 'extrapolation_from_the_past')
  if rule in no_drift and _any_drift(training):
    raise errors.UserError(
      f'{_full("training")}.grad_regularizes.dd_coeffs_multiplier is not zero, '
      f'but {rule} has no drift of this form'
    )


def _check_adjustment(experiment: config_dict.ConfigDict) -> None:
  training = experiment.training
  name, kwargs = training.adjustment, training.adjustment_kwargs
  adjustment = adjusted_grads.ADJUSTMENTS[name]
  parameters = list(inspect.signature(adjustment.function).parameters)
  path = _full('training.adjustment_kwargs')
  argument_checks.check(
    path,
    adjustment.function,
    kwargs.to_dict(),
    given=parameters[: 3 if adjustment.takes_rates else 2],
    by_name=config_fields.ADJUSTMENT_ARGUMENTS,
  )
  if kwargs.get('zero_sum'):
    pair = tuple(experiment.losses[p] for p in config_fields.PLAYERS)
    if (
      pair not in _ZERO_SUM
      or experiment.penalties.discriminator
      or training.unrolled_steps
    ):
      raise errors.UserError(
        f"{path}.zero_sum=True, but the players' losses do not cancel: that "
        'takes a saturating or Wasserstein pair of losses, no penalty and no '
        'unrolled steps'
      )
  if name == 'none' and not training.unrolled_steps:
    return
  what = f'training.adjustment={name}'
  if training.unrolled_steps:
    what = f'training.unrolled_steps={training.unrolled_steps}'
  for kind in base_config.COEFFICIENTS:
    for player, terms in training.grad_regularizes[kind].items():
      for term, value in terms.items():
        if value:
          raise errors.UserError(
            f'{_full("training")}.grad_regularizes.{kind}.{player}.{term} is '
            f'{value}, but does not go with {what}: set it to 0'
          )


def _check_number_of_draws(
  training_steps: int, training: config_dict.ConfigDict
) -> None:
  """Draws of data are numbered in int32, and so are optimisers' updates."""
  rule = base_config.update_rule(training)
  draws = training.num_disc_updates + training.num_gen_updates
  draws *= config_fields.UPDATE_RULES[rule]
  if rule == 'runge_kutta':
    tableau = training.runge_kutta_tableau
    draws *= len(tableau[0]) if tableau else training.runge_kutta_order
  if training_steps * draws > fields.MAX_INT32:
    raise errors.UserError(
      f'config.training_steps={training_steps} of {draws} draws each are more '
      f'draws than can be numbered, {fields.MAX_INT32}'
    )


def _check_best_metric(
  config: config_dict.ConfigDict, experiment: config_dict.ConfigDict
) -> None:
  configs.check_best_metric(config, METRICS)
  metric = config.best_model_eval_metric
  measured = _METRICS_OF_POINTS.get(experiment.dataset, ['IS_mean', 'FID'])
  if metric not in measured:
    is_made = experiment.dataset in data_utils.MADE
    others = [] if is_made else list(data_utils.MADE)
    hint = errors.did_you_mean(experiment.dataset, others)
    raise errors.UserError(
      f'config.best_model_eval_metric={metric} is not measured on '
      f'{_full("dataset")}={experiment.dataset}'
      f'{hint or "; there is " + " and ".join(measured)}'
    )
  if not experiment.eval.run_image_metrics:
    raise errors.UserError(
      f'config.best_model_eval_metric={metric} is not measured with '
      'eval.run_image_metrics=False'
    )


# Settings without effect.


def _check_effect(config: config_dict.ConfigDict) -> None:
  """Raises UserError for a field that was set and does nothing.

  What the published configs set is no error: it is said in a warning. Nor is
  what merely suits a choice that is switched off by one other field, such as
  the settings of an evaluation that is not made.
  """
  default = base_config.get_base_config()
  configs.refuse_seeds(config, _full('random_seed'))
  experiment = config.experiment_kwargs.config
  training = experiment.training
  is_made = experiment.dataset in data_utils.MADE
  rule = base_config.update_rule(training)
  takes_turns = rule == 'alternating' or (
    # Its drift terms are those of alternating updates.
    rule == 'runge_kutta' and _any_drift(training)
  )
  is_adjusted = training.adjustment != 'none' or training.unrolled_steps
  for name, has_effect, why in (
    ('data_dir', not is_made, f'{experiment.dataset} is made, not read'),
    ('eval.classifier', not is_made, 'points are not classified'),
    (
      'eval.inception_path',
      not is_made and classifier_name(experiment) == 'inception',
      'Inception is not used',
    ),
    (
      'training.alternating_player_order',
      takes_turns,
      'the players do not take turns',
    ),
    (
      'training.back_off_times',
      training.on_nonfinite == 'back_off',
      'training.on_nonfinite is stop',
    ),
    (
      'training.runge_kutta_order',
      rule == 'runge_kutta' and not training.runge_kutta_tableau,
      'training.runge_kutta_tableau replaces it'
      if training.runge_kutta_tableau
      else 'the update rule is another one',
    ),
    (
      'training.runge_kutta_tableau',
      rule == 'runge_kutta',
      'the update rule is another one',
    ),
    (
      'training.estimator_fn',
      not is_adjusted,
      'it is of grad_regularizes, which an adjustment replaces',
    ),
    (
      'training.lookahead_step_size',
      training.lookahead_periods,
      'training.lookahead_periods is empty',
    ),
    (
      'training.latent_optimisation.beta',
      training.latent_optimisation.alpha,
      'training.latent_optimisation.alpha is 0',
    ),
  ):
    value = fields.value(experiment, name)
    unset = fields.value(default.experiment_kwargs.config, name)
    if not has_effect and value != unset:
      raise errors.UserError(
        f'{_full(name)}={fields.show(value)} has no effect: {why}'
      )
  kind = 'training.grad_regularizes.rk_after_explicit_coeffs'
  for player, terms in fields.value(experiment, kind).items():
    for term, value in terms.items():
      if value and rule != 'runge_kutta':
        raise errors.UserError(
          f'{_full(kind)}.{player}.{term} has no effect without a '
          'Runge-Kutta rule'
        )


def classifier_name(experiment: config_dict.ConfigDict) -> str:
  """What `eval.classifier` means for these data."""
  if experiment.eval.classifier != 'auto':
    return experiment.eval.classifier
  is_fashion = experiment.dataset.startswith('fashion_mnist')
  return 'fashion_mnist' if is_fashion else 'inception'


def _warn_of_settings_without_effect(training: config_dict.ConfigDict) -> None:
  """Warns of what the published configs set, or a sweep over 0 leaves."""
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  if any(terms.other_norm for terms in multipliers.values()):
    logging.warning(
      'dd_coeffs_multiplier.*.other_norm has no effect: no update rule has '
      'such a drift; explicit_non_dd_coeffs sets the coefficient itself'
    )
  if training.drift_convention != 'published' and not _any_drift(training):
    logging.warning(
      'training.drift_convention has no effect: '
      'training.grad_regularizes.dd_coeffs_multiplier is zero'
    )


def _warn_of_coefficients_not_derived(
  experiment: config_dict.ConfigDict,
) -> None:
  training = experiment.training
  if not _any_drift(training):
    return
  if base_config.update_rule(training) == 'runge_kutta':
    logging.warning(
      'training.grad_regularizes.dd_coeffs_multiplier is not zero, but '
      'Runge-Kutta has no drift of this form: the coefficients of alternating '
      'updates are used'
    )
  for player in config_fields.PLAYERS:
    settings = experiment.optimizers[player]
    plain = settings.name == 'sgd' and not any((settings.kwargs or {}).values())
    if not plain or settings.clip:
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


def _any_drift(training: config_dict.ConfigDict) -> bool:
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  return any(
    value for terms in multipliers.values() for value in terms.values()
  )
