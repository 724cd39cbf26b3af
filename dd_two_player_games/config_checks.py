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
"""Whether a full config makes sense: types, ranges, names, contradictions."""

from collections.abc import Iterable, Mapping
import inspect
import numbers
from types import ModuleType
from typing import Any

from absl import logging
import haiku as hk
import jax
from ml_collections import config_dict
import optax

from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import optim
from differentiable_games import updates
from jaxline_harness import errors

ESTIMATORS = (
  'biased_estimate_grad_fn',
  'biased_estimate_multiple_devices_grad_fn',
  'unbiased_estimate_fn_different_device_results',
  'unbiased_estimate_fn_lowest_variance',
  'unbiased_estimate_fn_shared_draws',
)
CLASSIFIERS = ('auto', 'inception', 'fashion_mnist')
# Whether more is better, of each metric that `evaluate` gives.
METRICS = {
  'IS_mean': True,
  'FID': False,
  'modes_covered': True,
  'high_quality_share': True,
}
_MIXTURE_METRICS = ('modes_covered', 'high_quality_share')
_PLAYERS = ('discriminator', 'generator')


def check(config: config_dict.ConfigDict) -> None:
  """Raises UserError, with one line, for the first thing that is wrong."""
  experiment = config.experiment_kwargs.config
  _check_top_level(config)
  _check_training(experiment.training)
  _check_evaluation(experiment.eval)
  for field in ('dataset', 'data_dir', 'data_processor'):
    _check_type(field, experiment[field], str)
  _check_integer('random_seed', experiment.random_seed, least=0)
  _check_name(
    'data_processor',
    experiment.data_processor,
    _instances(data_utils, data_utils.DataProcessor),
  )
  for player in _PLAYERS:
    _check_optimizer(f'optimizers.{player}', experiment.optimizers[player])
    _check_loss(experiment.losses[player], player)
    kwargs = 'disc_kwargs' if player == 'discriminator' else 'gen_kwargs'
    _check_net(
      f'nets.{player}', experiment.nets[player], experiment.nets[kwargs]
    )
  _check_discriminator_only(experiment)
  _warn_of_settings_without_effect(experiment.training)
  _warn_of_coefficients_not_derived(experiment)


def _check_top_level(config: config_dict.ConfigDict) -> None:
  metric = config.best_model_eval_metric
  experiment = config.experiment_kwargs.config
  if metric:
    _check_name('best_model_eval_metric', metric, METRICS, prefix='config')
    higher = config.best_model_eval_metric_higher_is_better
    if higher != METRICS[metric]:
      raise errors.UserError(
        f'config.best_model_eval_metric_higher_is_better is {higher}, but of '
        f'{metric} {"more" if METRICS[metric] else "less"} is better: the '
        'worst checkpoint would be kept'
      )
    is_mixture = experiment.dataset == data_utils.MIXTURE_NAME
    measured = [m for m in METRICS if (m in _MIXTURE_METRICS) == is_mixture]
    if metric not in measured:
      raise errors.UserError(
        f'config.best_model_eval_metric={metric} is not measured on '
        f'{experiment.dataset}; there is {" and ".join(measured)}'
      )
    if not experiment.eval.run_image_metrics:
      raise errors.UserError(
        f'config.best_model_eval_metric={metric} is not measured with '
        'eval.run_image_metrics=False'
      )
  if config.random_seed != base_config.get_base_config().random_seed:
    raise errors.UserError(
      'config.random_seed has no effect; set '
      'config.experiment_kwargs.config.random_seed'
    )


def _check_training(training: config_dict.ConfigDict) -> None:
  for field in ('simultaneous_updates', 'runge_kutta_updates'):
    _check_type(f'training.{field}', training[field], bool)
  for field in (
    'batch_size',
    'num_latents',
    'num_disc_updates',
    'num_gen_updates',
  ):
    _check_integer(f'training.{field}', training[field], least=1)
  _check_name(
    'training.alternating_player_order',
    training.alternating_player_order,
    drift_utils.PlayerOrder.__members__,
  )
  _check_name('training.estimator_fn', training.estimator_fn, ESTIMATORS)
  _check_name(
    'training.compute_dtype', training.compute_dtype, ('float32', 'bfloat16')
  )
  _check_name(
    'training.drift_convention',
    training.drift_convention,
    ('published', 'joint_flow'),
  )
  order = training.runge_kutta_order
  if (
    not _is_number(order, numbers.Integral) or order not in updates.RUNGE_KUTTA
  ):
    raise errors.UserError(
      f'training.runge_kutta_order is {order!r}, not one of '
      f'{", ".join(map(str, updates.RUNGE_KUTTA))}'
    )
  _check_update_rule(training)
  for kind in base_config.COEFFICIENTS:
    for player, terms in training.grad_regularizes[kind].items():
      for term, value in terms.items():
        field = f'training.grad_regularizes.{kind}.{player}.{term}'
        _check_number(field, value)
  after = training.grad_regularizes.rk_after_explicit_coeffs
  if not training.runge_kutta_updates and _any_non_zero(after):
    raise errors.UserError(
      'training.grad_regularizes.rk_after_explicit_coeffs has no effect '
      'without training.runge_kutta_updates'
    )


def _check_update_rule(training: config_dict.ConfigDict) -> None:
  if training.simultaneous_updates and training.runge_kutta_updates:
    raise errors.UserError(
      'training.simultaneous_updates and training.runge_kutta_updates are both '
      'True; choose one update rule'
    )
  rule = None
  if training.simultaneous_updates:
    rule = 'simultaneous updates make'
  elif training.runge_kutta_updates:
    rule = 'a Runge-Kutta step makes'
  for field in ('num_disc_updates', 'num_gen_updates'):
    if rule and training[field] != 1:
      raise errors.UserError(
        f'training.{field} is {training[field]}, but {rule} one update a player'
      )


def _check_evaluation(evaluation: config_dict.ConfigDict) -> None:
  _check_type('eval.run_image_metrics', evaluation.run_image_metrics, bool)
  _check_type('eval.inception_path', evaluation.inception_path, str)
  _check_name('eval.classifier', evaluation.classifier, CLASSIFIERS)
  _check_integer('eval.batch_size', evaluation.batch_size, least=1)
  _check_integer('eval.num_eval_splits', evaluation.num_eval_splits, least=1)
  _check_integer(
    'eval.num_inception_images', evaluation.num_inception_images, least=2
  )


def _check_optimizer(path: str, settings: config_dict.ConfigDict) -> None:
  _check_number(f'{path}.lr', settings.lr, above=0)
  if settings.clip is not None:
    _check_number(f'{path}.clip', settings.clip, above=0)
  _check_type(f'{path}.name', settings.name, str)
  _check_name(f'{path}.name', settings.name, ['momentum', *_optax_aliases()])
  if settings.scheduler:
    _check_name(
      f'{path}.scheduler', settings.scheduler, _optax_functions_of('init_value')
    )
  elif settings.scheduler_kwargs:
    raise errors.UserError(
      f'{_full(path)}.scheduler_kwargs has no effect without a scheduler'
    )

  def use(params):
    optimizer, schedule = optim.make_optimizer(**settings)
    return optimizer.init(params), schedule(0)

  try:  # Only shapes: no device is needed, nor awoken.
    jax.eval_shape(use, {'w': jax.ShapeDtypeStruct((), 'float32')})
  except Exception as error:  # Whatever optax makes of wrong arguments.
    raise errors.UserError(
      f'{_full(path)}: optax does not take these settings: {error!r}'
    ) from error


def _check_loss(name: Any, player: str) -> None:
  names = [n for n, value in vars(losses).items() if inspect.isfunction(value)]
  _check_name(f'losses.{player}', name, [n for n in names if player in n])


def _check_net(path: str, name: Any, kwargs: config_dict.ConfigDict) -> None:
  modules = [
    n
    for n, value in vars(nets).items()
    if inspect.isclass(value)
    and issubclass(value, hk.Module)
    and n not in ('NoOpTree', 'Conv2D', 'Conv2DTranspose')
  ]
  _check_name(path, name, modules)
  try:
    inspect.signature(getattr(nets, name)).bind(**kwargs)
  except TypeError as error:
    raise errors.UserError(
      f'{_full(path)}={name} does not take these arguments: {error}'
    ) from error


def _check_discriminator_only(experiment: config_dict.ConfigDict) -> None:
  for field in ('penalties', 'param_transformers'):
    if experiment[field].generator:
      raise errors.UserError(
        f'{_full(field)}.generator={experiment[field].generator!r} has no '
        'effect: set it to None'
      )
  transformer = experiment.param_transformers.discriminator
  if transformer is not None:
    _check_name(
      'param_transformers.discriminator',
      transformer,
      ('spectral_norm', 'no_op'),
    )
  penalty = experiment.penalties.discriminator
  if penalty is None:
    return
  if not isinstance(penalty, list | tuple) or len(penalty) != 2:
    raise errors.UserError(
      f'{_full("penalties.discriminator")} must be [name, coefficient] or '
      f'None, not {penalty!r}'
    )
  _check_name(
    'penalties.discriminator[0]', penalty[0], ['wgan_gradient_penalty_loss']
  )
  _check_number('penalties.discriminator[1]', penalty[1])


def _warn_of_settings_without_effect(
  training: config_dict.ConfigDict,
) -> None:
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  if any(terms.other_norm for terms in multipliers.values()):
    logging.warning(
      'dd_coeffs_multiplier.*.other_norm has no effect: no update rule has '
      'such a drift; explicit_non_dd_coeffs sets the coefficient itself'
    )
  if training.alternating_player_order != 'disc_first' and (
    training.simultaneous_updates
    or (training.runge_kutta_updates and not _any_non_zero(multipliers))
  ):
    logging.warning(
      'training.alternating_player_order has no effect: the players do not '
      'take turns'
    )


def _warn_of_coefficients_not_derived(
  experiment: config_dict.ConfigDict,
) -> None:
  training = experiment.training
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  if not _any_non_zero(multipliers):
    return
  if training.runge_kutta_updates:
    logging.warning(
      'training.grad_regularizes.dd_coeffs_multiplier is not zero, but '
      'Runge-Kutta has no drift of this form: the coefficients of alternating '
      'updates are used'
    )
  for player in _PLAYERS:
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


def _any_non_zero(players: Mapping[str, Mapping[str, float]]) -> bool:
  return any(value for terms in players.values() for value in terms.values())


# One field.


def _full(field: str) -> str:
  return f'config.experiment_kwargs.config.{field}'


def _check_type(field: str, value: Any, kind: type) -> None:
  if not isinstance(value, kind):
    raise errors.UserError(
      f'{_full(field)} must be a {kind.__name__}, not {value!r}'
    )


def _check_integer(field: str, value: Any, least: int) -> None:
  if not _is_number(value, numbers.Integral) or value < least:
    raise errors.UserError(
      f'{_full(field)} must be a whole number from {least} up, not {value!r}'
    )


def _check_number(field: str, value: Any, above: float | None = None) -> None:
  finite = _is_number(value, numbers.Real) and abs(value) < float('inf')
  if not finite or (above is not None and value <= above):
    bound = '' if above is None else f' above {above}'
    raise errors.UserError(
      f'{_full(field)} must be a finite number{bound}, not {value!r}'
    )


def _is_number(value: Any, kind: type) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)


def _check_name(
  field: str,
  value: Any,
  names: Iterable[str],
  prefix: str = 'config.experiment_kwargs.config',
) -> None:
  names = list(names)
  if value not in names:
    hint = errors.did_you_mean(str(value), names)
    if not hint:
      hint = f'; there is {", ".join(names[:12])}'
    raise errors.UserError(f'{prefix}.{field}: there is no {value!r}{hint}')


def _instances(module: ModuleType, kind: type) -> list[str]:
  return [n for n, v in vars(module).items() if isinstance(v, kind)]


def _optax_aliases() -> list[str]:
  """Optax's optimisers: they take a learning rate, and gradients alone."""
  return [
    name
    for name in _optax_functions_of('learning_rate')
    if not name.startswith(('scale_by_', '_')) and name != 'lbfgs'
  ]


def _optax_functions_of(argument: str) -> list[str]:
  """Optax's functions with this first argument."""
  return [
    name
    for name, value in vars(optax).items()
    if inspect.isfunction(value)
    and next(iter(inspect.signature(value).parameters), '') == argument
  ]
