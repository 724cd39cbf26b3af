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
"""Optimisers and learning rate schedules by name, as configs have them.

Settings are `name`, `lr`, `clip`, `kwargs`, `scheduler` and
`scheduler_kwargs`. To check them no device is needed, nor awoken.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import optax

from jaxline_harness import errors
from jaxline_harness import outside
from jaxline_harness import settings
from jaxline_harness.settings import Setting


def _functions_of(argument: str) -> Iterable[str]:
  """Optax's functions with this first argument."""
  return (
    name
    for name, value in vars(optax).items()
    if inspect.isfunction(value)
    and next(iter(inspect.signature(value).parameters), '') == argument
  )


# `momentum`, and those of optax that take a learning rate and gradients alone.
OPTIMIZERS = (
  'momentum',
  *(
    name
    for name in _functions_of('learning_rate')
    if not name.startswith(('scale_by_', '_')) and name != 'lbfgs'
  ),
)
SCHEDULES = tuple(_functions_of('init_value'))


def make_optimizer(
  name: str,
  lr: float,
  clip: float | None = None,
  kwargs: Mapping[str, Any] | None = None,
  scheduler: str | None = None,
  scheduler_kwargs: Mapping[str, Any] | None = None,
  updates_a_turn: int = 1,
  weight_clip: float | None = None,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """An optimiser, and its learning rate as a function of its player's turns.

  Args:
    name: `momentum` (a trace of gradients, then the learning rate), any optax
      alias, or the name of a function from outside.
    lr: learning rate, or the schedule's first value.
    clip: bound on the size of each element of an update, None for no bound.
    kwargs: further arguments of the optimiser.
    scheduler: name of an optax schedule that takes `init_value`, None for a
      constant rate.
    scheduler_kwargs: its further arguments.
    updates_a_turn: of the optimiser, all of them at one learning rate.
    weight_clip: bound on the size of each parameter, None for no bound.

  Returns:
    An optax optimiser and an optax schedule.
  """
  schedule = make_schedule(lr, scheduler, scheduler_kwargs)
  # A constant stays a number: no step count is kept for it.
  rate: float | optax.Schedule = lr
  if scheduler:
    rate = lambda count: schedule(count // updates_a_turn)
  kwargs = dict(kwargs or {})
  if name == 'sgd' and kwargs.get('momentum') == 0:
    del kwargs['momentum']  # Else optax would keep a trace of no effect.
  function = _KIND.find(name)
  if 'key' in inspect.signature(function).parameters:
    optimizer = _with_raw_keys(
      function(learning_rate=rate, **{'key': 0} | kwargs)
    )
  else:
    optimizer = function(learning_rate=rate, **kwargs)
  if clip:
    optimizer = optax.chain(optimizer, optax.clip(clip))
  if weight_clip:
    optimizer = optax.chain(optimizer, keep_params_within(weight_clip))
  return optimizer, schedule


def keep_params_within(bound: float) -> optax.GradientTransformation:
  """Cuts updates so that no parameter is larger than `bound` after them."""

  def update(updates, state, params):
    moved = optax.tree.clip(optax.tree.add(params, updates), -bound, bound)
    return optax.tree.sub(moved, params), state

  return optax.GradientTransformation(optax.init_empty_state, update)


def scale_updates(
  optimizer: optax.GradientTransformation, scale: Any
) -> optax.GradientTransformation:
  """An optimiser whose updates are scaled.

  Where a gradient is not finite its update is NaN, whatever the optimiser
  makes of it: it must not be trained on unseen.
  """

  def update(grads, opt_state, params=None):
    updates, opt_state = optimizer.update(grads, opt_state, params)
    scaled = jax.tree.map(lambda u, g: scale * u + 0 * g, updates, grads)
    return scaled, opt_state

  return optax.GradientTransformation(optimizer.init, update)


def momentum(
  learning_rate: float | optax.Schedule, momentum: float, nesterov: bool = False
) -> optax.GradientTransformation:
  """A trace of gradients, then the learning rate."""
  return optax.chain(
    optax.trace(momentum, nesterov), optax.scale_by_learning_rate(learning_rate)
  )


def _with_raw_keys(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Keeps keys as the numbers in them, like all else that a run saves."""

  def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)

  def strip(state):
    return jax.tree.map(
      lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, state
    )

  def update(updates, state, params=None):
    kinds = jax.eval_shape(optimizer.init, updates)
    state = jax.tree.map(
      lambda kind, leaf: (
        jax.random.wrap_key_data(leaf) if is_key(kind) else leaf
      ),
      kinds,
      state,
    )
    updates, state = optimizer.update(updates, state, params)
    return updates, strip(state)

  return optax.GradientTransformation(
    lambda params: strip(optimizer.init(params)), update
  )


def _check_factory(found: Any) -> Callable[..., Any]:
  """Checks what a name from outside leads to."""
  if not callable(found) or (
    'learning_rate' not in inspect.signature(found).parameters
  ):
    raise TypeError(
      'an optimiser is made by a function with an argument learning_rate, and '
      f'this is {settings.show(found)}'
    )
  return found


_KIND = outside.Kind(
  {
    name: momentum if name == 'momentum' else getattr(optax, name)
    for name in OPTIMIZERS
  },
  _check_factory,
)


def make_schedule(
  lr: float, scheduler: str | None, kwargs: Mapping[str, Any] | None = None
) -> optax.Schedule:
  """An optax schedule by name, a constant one for None."""
  if not scheduler:
    return optax.constant_schedule(lr)
  kwargs = dict(kwargs or {})
  if 'boundaries_and_scales' in kwargs:
    # Configs may hold the boundaries as strings.
    kwargs['boundaries_and_scales'] = {
      int(step): scale
      for step, scale in dict(kwargs['boundaries_and_scales']).items()
    }
  return getattr(optax, scheduler)(init_value=lr, **kwargs)


# As settings.

# Negative momentum has its uses in games.
_MOMENTUM = settings.real(above=-1, below=1)
_SHARE = settings.real(0, below=1)
_STEPS = settings.whole(1, settings.MAX_INT32)
_STEPS_OR_NONE_YET = settings.whole(0, settings.MAX_INT32)
# Whether 0 will do, the schedule says.
_RATE = dataclasses.replace(
  settings.POSITIVE, accepts=settings.NOT_NEGATIVE.accepts
)
_MASK = settings.Field(
  'True, False, None or a function',
  lambda value: value is None or isinstance(value, bool) or callable(value),
)
_BOUNDARIES = settings.Field(
  'a mapping of steps to scales that are not negative',
  lambda value: (
    hasattr(value, 'items')
    and all(
      _STEPS.accepts(int(step) if str(step).isdecimal() else step)
      and settings.NOT_NEGATIVE.accepts(scale)
      for step, scale in value.items()
    )
  ),
)
_ARGUMENTS = {
  name: field
  for names, field in (
    ('b1 momentum', _MOMENTUM),
    ('b2 b3 decay', _SHARE),
    ('end_value eps eps_root eta weight_decay', settings.NOT_NEGATIVE),
    ('initial_accumulator_value', settings.NOT_NEGATIVE),
    ('decay_rate peak_value', settings.POSITIVE),
    ('decay_steps transition_steps', _STEPS),
    ('decay_offset transition_begin warmup_steps', _STEPS_OR_NONE_YET),
    ('boundaries_and_scales', _BOUNDARIES),
    ('key seed', settings.SEED),
    ('mask trust_ratio_mask weight_decay_mask', _MASK),
  )
  for name in names.split()
}


def arguments_of(name: str) -> set[str]:
  """The names of an optimiser's arguments."""
  return set(inspect.signature(_KIND.find(name)).parameters)


def declare_schedule(lr: float) -> dict[str, settings.Setting]:
  """Declares the settings of a learning rate."""
  return {
    'lr': Setting(
      lr,
      "Learning rate, or a schedule's first, which 0 may be if it rises.",
      _RATE,
    ),
    'scheduler': Setting(
      None,
      'An optax schedule that starts from `lr`.',
      settings.one_of(SCHEDULES),
    ),
    'scheduler_kwargs': Setting(
      {}, "The schedule's arguments.", settings.mapping().or_none()
    ),
  }


def declare(
  lr: float, kwargs: Mapping[str, Any] | None = None
) -> dict[str, settings.Setting]:
  """Declares the settings of an optimiser, by default gradient descent."""
  return {
    'name': Setting('sgd', 'momentum, or an optax alias.', _KIND.field()),
    'kwargs': Setting(
      dict(kwargs or {}), 'Its arguments.', settings.mapping().or_none()
    ),
    **declare_schedule(lr),
  }


def check(path: str, config: config_dict.ConfigDict) -> None:
  """Checks arguments by name, type and range, and tries the optimiser.

  Args:
    path: the settings' own.
    config: what was declared by `declare`, each by itself known to be right.

  Raises:
    UserError: for the first thing that is wrong.
  """
  kwargs = config.kwargs.to_dict() if config.kwargs else {}
  function = _KIND.find(config.name)
  settings.check_arguments(
    f'{path}.kwargs', function, kwargs, ['learning_rate'], _ARGUMENTS
  )
  trace = inspect.signature(function).parameters.get('momentum')
  if trace and kwargs.get('nesterov'):
    if not kwargs.get('momentum', trace.default):
      raise errors.UserError(
        f'{path}.kwargs.nesterov has no effect without momentum'
      )
  check_schedule(path, config)

  def use(params):
    optimizer, _ = make_optimizer(**config)
    if not isinstance(optimizer, optax.GradientTransformation):
      raise TypeError(
        f'{config.name} makes no optax.GradientTransformation, but '
        f'{settings.show(optimizer)}'
      )
    return optimizer.update(params, optimizer.init(params), params)

  shape = (2, 2)
  results = _try_out(path, use, {'w': jax.ShapeDtypeStruct(shape, 'float32')})
  for leaf in jax.tree.leaves(results):
    if leaf.shape == shape and not jnp.issubdtype(leaf.dtype, jnp.floating):
      raise errors.UserError(
        f'{path}.kwargs: {config.name} would keep {leaf.dtype} numbers of each '
        'parameter; they must be floating-point ones'
      )


def check_schedule(path: str, config: config_dict.ConfigDict) -> None:
  """Checks a schedule's arguments, and tries it; as `check` does."""
  arguments = (
    config.scheduler_kwargs.to_dict() if config.scheduler_kwargs else {}
  )
  if not config.scheduler and arguments:
    raise errors.UserError(
      f'{path}.scheduler_kwargs has no effect without a scheduler'
    )
  rises = arguments.get('peak_value') or arguments.get('end_value')
  if not (config.scheduler and rises):
    settings.POSITIVE.check(f'{path}.lr', config.lr)
  if config.scheduler:
    settings.check_arguments(
      f'{path}.scheduler_kwargs',
      getattr(optax, config.scheduler),
      arguments,
      ['init_value'],
      _ARGUMENTS,
    )
  _try_out(
    path,
    lambda step: make_schedule(config.lr, config.scheduler, arguments)(step),
    jax.ShapeDtypeStruct((), 'int32'),
  )


def _try_out(path: str, function: Callable[..., Any], argument: Any) -> Any:
  """Traces a function of these settings; raises UserError if it fails."""
  try:
    return jax.eval_shape(function, argument)
  except Exception as error:  # Whatever optax makes of wrong arguments.
    raise errors.UserError(
      f'{path}: optax does not take these settings: {outside.describe(error)}'
    ) from error
