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
"""How a GAN trains: the state of a run, its draws, and one step of a config.

A step takes a `TrainState` along a field of `differentiable_games.fields` by a
rule of `differentiable_games.rules`. Both are made anew in each step, as
learning rates and coefficients may follow a schedule.
"""

from collections.abc import Callable
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from dd_two_player_games import data_facts
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import nets
from dd_two_player_games import parts
from dd_two_player_games import penalties
from dd_two_player_games import regularizer_estimates
from differentiable_games import averages
from differentiable_games import examine
from differentiable_games import fields
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import remembering
from differentiable_games import rules
from differentiable_games import tableaus
from differentiable_games import unrolling
from jaxline_harness import optimizers
from jaxline_harness import prng

AXIS = 'i'  # Of the devices.
# What is logged of solvers: the residual relative to the right-hand side, and
# how many iterations it took.
RESIDUAL = 'solver_residual'
ITERATIONS = 'solver_iterations'
_PLAYERS = ('discriminator', 'generator')


class TrainState(NamedTuple):
  """All that a step depends on and changes.

  Attributes:
    params: a GANTuple of parameters.
    opt_state: the update rule's state: a GANTuple of optimiser states, or more.
    state: the networks' states.
    global_step: number of steps done, an int32 scalar.
    back_offs: how often training went back and on with a smaller learning rate,
      an int32 scalar.
  """

  params: gan.GANTuple
  opt_state: Any
  state: gan.GANState
  global_step: jax.Array
  back_offs: Any = np.zeros((), np.int32)


class Trainer:
  """The steps that a config describes.

  Attributes:
    num_draws: draws of data that a step uses.
    init: maps both players' parameters to `TrainState.opt_state`.
    schedules: a GANTuple of learning rates as functions of a player's updates.
  """

  def __init__(self, config: config_dict.ConfigDict, model: gan.GAN):
    """Initialises the trainer.

    Args:
      config: the experiment's config.
      model: the GAN.
    """
    self._config = config
    self._gan = model
    self._model = model.as_game()
    idle = (optax.identity(),) * len(_PLAYERS)
    directions_a_turn = build_rule(config, idle).directions_a_turn
    made = [
      optimizers.make_optimizer(
        **config.optimizers[player], updates_a_turn=directions_a_turn
      )
      for player in _PLAYERS
    ]
    self._optimizers = [optimizer for optimizer, _ in made]
    self.schedules = gan.GANTuple(*(schedule for _, schedule in made))
    after = drift_utils.matrices_of(
      _terms(config.training.grad_regularizes.rk_after_explicit_coeffs)
    )
    estimator = getattr(regularizer_estimates, config.training.estimator_fn)
    self._after = fields.ProductsField(
      fields.Products(self._model, *after, estimator, AXIS)
    )
    rates = learning_rates(config.training, self.schedules, 0)
    self._shares_draws = self._field_at(rates).shares_draws
    self._rule = self._remembering(
      build_rule(config, self._optimizers, self._shares_draws)
    )
    self._evaluated_rule = self._averaged(self._rule)
    self.num_draws = self._evaluated_rule.num_draws
    self.init = self._evaluated_rule.init

  def initial_state(self, key: jax.Array, example: jax.Array) -> TrainState:
    """The state at step 0.

    Args:
      key: of the parameters.
      example: data of the right shape, (batch, …), as networks see it.
    """
    # Batch norm averages over the axis 'i', which must exist.
    initial_params = jax.vmap(
      self._gan.initial_params,
      axis_name=AXIS,
      axis_size=1,
      in_axes=(None, None),
    )
    params, state = jax.tree.map(
      lambda leaf: leaf[0], initial_params(prng.step_key(key), example)
    )
    bound = self._config.optimizers.discriminator.weight_clip
    if bound:  # From the start, for rules that come back to it.
      params = params._replace(disc=optax.tree.clip(params.disc, -bound, bound))
    return TrainState(
      params=params,
      opt_state=self.init(params),
      state=state,
      global_step=jnp.zeros((), jnp.int32),
    )

  def evaluated(self, train_state: TrainState) -> gan.GANTuple:
    """The parameters that are evaluated, of a state of any leading axes."""
    return self._evaluated_rule.evaluated(_carry_of(train_state))

  def last(self, train_state: TrainState) -> gan.GANTuple:
    """What `training.generator_average`, which is not 0, averages, as it is."""
    return averages.evaluate_last(self._rule, _carry_of(train_state))

  def step(
    self, train_state: TrainState, draw: Callable[[int], game.Draw]
  ) -> tuple[TrainState, rules.Logs]:
    """Makes one step; leaves `global_step` alone.

    Args:
      train_state: the state.
      draw: maps the number of a draw within the step to the draw.

    Returns:
      The next state, and this device's logs.
    """
    return self._move(train_state, draw, lambda field, **_: field)

  def examine(
    self, train_state: TrainState, draw: Callable[[int], game.Draw]
  ) -> dict[str, jax.Array]:
    """Says which terms of a step are finite: booleans in their order."""
    is_finite: dict[str, jax.Array] = {}
    self._move(
      train_state,
      draw,
      functools.partial(examine.ExaminedField, is_finite=is_finite),
    )
    return is_finite

  def _move(self, train_state, draw, look_at):
    """One step along fields that `look_at` hands on."""
    scale = self._rate_scale(train_state)
    rates = self.rates(train_state)
    rule = build_rule(
      self._config,
      [optimizers.scale_updates(each, scale) for each in self._optimizers],
      self._shares_draws,
      rates.disc,
      look_at(self._after, label='after'),
    )
    carry, logs = self._averaged(self._remembering(rule)).step(
      look_at(self._field_at(rates)),
      functools.cache(draw),  # Players may share a draw.
      _carry_of(train_state),
    )
    train_state = train_state._replace(
      params=carry.params,
      opt_state=carry.state,
      state=gan.state_of(carry.memory),
    )
    return train_state, logs

  def _remembering(self, rule: rules.UpdateRule) -> rules.UpdateRule:
    begin = parts.ADJUSTMENTS.find(self._config.training.adjustment).begin
    return remembering.remember(rule, begin) if begin else rule

  def _averaged(self, rule: rules.UpdateRule) -> rules.UpdateRule:
    decay = self._config.training.generator_average
    generator = gan.GANTuple._fields.index('gen')
    return averages.average(rule, decay, [generator]) if decay else rule

  def rates(self, train_state: TrainState) -> gan.GANTuple:
    """Both players' learning rates in the step from a state."""
    return learning_rates(
      self._config.training,
      self.schedules,
      train_state.global_step,
      self._rate_scale(train_state),
    )

  def _rate_scale(self, train_state):
    # Also with 'stop': a run that backed off may go on with it.
    factor = jnp.float32(self._config.training.back_off_factor)
    return jnp.power(factor, train_state.back_offs)

  def _field_at(self, rates) -> Any:
    training = self._config.training
    coefficients = regularizer_coefficients(training, rates)
    return build_field(
      training, self._model, coefficients, rates, remembers=True
    )


def build_field(
  training: config_dict.ConfigDict,
  model: game.Game,
  coefficients: gan.GANTuple,
  rates: gan.GANTuple,
  axis_name: str | None = AXIS,
  remembers: bool = False,
) -> fields.FirstOrderField | fields.AdjustedField:
  """The field that the players of a config follow.

  Args:
    training: the config's field of this name.
    model: the GAN's game.
    coefficients: a GANTuple of PlayerRegularizationTerms.
    rates: both players' learning rates.
    axis_name: the mapped axis of the devices; None for one alone.
    remembers: whether an adjustment with a memory has it; else every step is
      its first.

  Returns:
    The field.
  """
  estimator = getattr(regularizer_estimates, training.estimator_fn)
  if training.unrolled_steps:
    model = unrolling.unrolled_game(
      model,
      leader=1,
      follower=0,
      optimizer=optax.sgd(rates.disc),
      num_steps=training.unrolled_steps,
      axis_name=axis_name,
    )
    estimator = regularizer_estimates.biased_estimate_fn_shared_draws
  adjustment = parts.ADJUSTMENTS.find(training.adjustment)
  kwargs = training.adjustment_kwargs.to_dict()
  if adjustment.on_one_draw:
    remembers = remembers and adjustment.begin is not None

    def adjust(both, params, remembered):
      arguments = (rates,) if adjustment.takes_rates else ()
      memory = {'memory': remembered} if remembers else {}
      found = adjustment.function(both, params, *arguments, **kwargs, **memory)
      if not adjustment.solves:
        return fields.Adjusted(found, {})
      logs = {
        RESIDUAL: found.residual,
        ITERATIONS: jnp.float32(found.num_iterations),
      }
      return fields.Adjusted(found.direction, logs, found.memory)

    return fields.AdjustedField(model, adjust, axis_name, remembers)
  align = kwargs.pop('align', False)
  rows, columns = drift_utils.matrices_of(coefficients)
  if adjustment.matrices:
    rows, columns = adjustment.matrices(len(_PLAYERS), **kwargs)
  products = fields.Products(model, rows, columns, estimator, axis_name)
  return fields.FirstOrderField(products, align)


def solver_tolerance(training: config_dict.ConfigDict) -> float:
  """The residual at which the solver of a config's adjustment ends."""
  function = parts.ADJUSTMENTS.find(training.adjustment).function
  default = inspect.signature(function).parameters['tolerance'].default
  return training.adjustment_kwargs.get('tolerance', default)


def _carry_of(train_state: TrainState) -> rules.Carry:
  return rules.Carry(
    train_state.params,
    gan.memory_of(train_state.state),
    train_state.opt_state,
  )


def update_rule(training: config_dict.ConfigDict) -> str:
  """The update rule's name, by its field or by the published booleans."""
  if training.update_rule:
    return training.update_rule
  if training.simultaneous_updates:
    return 'simultaneous'
  return 'runge_kutta' if training.runge_kutta_updates else 'alternating'


def build_rule(
  config: config_dict.ConfigDict,
  players_optimizers: rules.Optimizers,
  share_draws: bool = False,
  step_size: Any = 0.0,
  after: fields.Field | None = None,
) -> rules.UpdateRule:
  """The rule by which the players of a config move.

  Args:
    config: the experiment's config.
    players_optimizers: the discriminator's and the generator's.
    share_draws: whether players that move at once share their draws.
    step_size: of the inner stages of a Runge-Kutta rule, for both players.
    after: added once to the direction of a Runge-Kutta rule.

  Returns:
    The rule.
  """
  training = config.training
  name = update_rule(training)
  if name == 'alternating':
    order = drift_utils.PlayerOrder[training.alternating_player_order]
    rule = rules.alternating(
      players_optimizers,
      drift_utils.player_indices(order),
      num_updates(training),
    )
  elif name == 'runge_kutta':
    tableau = tableaus.RUNGE_KUTTA[training.runge_kutta_order]
    if training.runge_kutta_tableau:
      tableau = tableaus.Tableau(*training.runge_kutta_tableau)
    rule = rules.runge_kutta(
      players_optimizers, tableau, step_size, share_draws, after
    )
  else:
    rule = parts.UPDATE_RULES.find(name)(players_optimizers, share_draws)
  if training.lookahead_periods:
    return rules.lookahead(
      rule, training.lookahead_periods, training.lookahead_step_size
    )
  return rule


def build_gan(
  config: config_dict.ConfigDict, facts: data_facts.DataFacts | None = None
) -> gan.GAN:
  """The two players and their losses, by the config's names.

  Args:
    config: the experiment's config.
    facts: of the data; None leaves networks to their own defaults.

  Returns:
    The GAN.
  """
  penalty = penalties.combine(
    [
      (parts.PENALTIES.find(name), coefficient)
      for name, coefficient in penalties.as_pairs(
        config.penalties.discriminator
      )
    ]
  )
  transformer = config.param_transformers.discriminator
  latent_optimisation = config.training.latent_optimisation
  players = gan.GANTuple(
    disc=parts.NETWORKS.find(config.nets.discriminator),
    gen=parts.NETWORKS.find(config.nets.generator),
  )
  of_data = [facts.network_arguments(own) if facts else {} for own in players]
  return gan.GAN(
    players_hk=players,
    losses=gan.GANTuple(
      disc=parts.DISC_LOSSES.find(config.losses.discriminator),
      gen=parts.GEN_LOSSES.find(config.losses.generator),
    ),
    penalties=gan.GANTuple(disc=penalty and gan.GANPenalty(*penalty), gen=None),
    player_param_transformers=gan.GANTuple(
      disc=transformer and getattr(nets, transformer), gen=None
    ),
    players_kwargs=gan.GANTuple(
      disc=of_data[0] | config.nets.disc_kwargs.to_dict(),
      gen=of_data[1] | config.nets.gen_kwargs.to_dict(),
    ),
    num_latents=config.training.num_latents,
    compute_dtype=config.training.compute_dtype,
    convolutions=config.nets.convolutions,
    anew=config.training.rematerialise,
    latent_optimisation=(
      None
      if jacobian.is_zero(latent_optimisation.alpha)
      else gan.LatentOptimisation(**latent_optimisation)
    ),
  )


def regularizer_coefficients(
  training: config_dict.ConfigDict, rates: gan.GANTuple
) -> gan.GANTuple:
  """Drift coefficients times their multipliers, plus explicit ones.

  Terms whose multiplier and explicit coefficient are both zero in the config
  stay Python zeros, for which nothing is computed.

  Args:
    training: the config's field of this name.
    rates: both players' learning rates.

  Returns:
    A GANTuple of PlayerRegularizationTerms.
  """
  drift_coeffs = {
    'published': drift_utils.get_dd_coeffs,
    'joint_flow': drift_utils.joint_flow_coeffs,
  }[training.drift_convention]
  drift = drift_coeffs(
    drift_utils.PlayerOrder[training.alternating_player_order],
    update_rule(training) == 'simultaneous',
    rates,
    num_updates(training),
  )

  def coefficient(multiplier, drift, explicit):
    if jacobian.is_zero(multiplier):
      return explicit
    return multiplier * drift + explicit

  return jax.tree.map(
    coefficient,
    _terms(training.grad_regularizes.dd_coeffs_multiplier),
    drift,
    _terms(training.grad_regularizes.explicit_non_dd_coeffs),
  )


def learning_rates(
  training: config_dict.ConfigDict,
  schedules: gan.GANTuple,
  global_step: Any,
  scale: Any = 1.0,
) -> gan.GANTuple:
  """Both players' scaled learning rates at the start of a step."""
  return gan.GANTuple(
    *(
      scale * schedule(global_step * n)
      for schedule, n in zip(schedules, num_updates(training), strict=True)
    )
  )


def _terms(players: config_dict.ConfigDict) -> gan.GANTuple:
  return gan.GANTuple(
    *(
      drift_utils.PlayerRegularizationTerms(**players[player])
      for player in gan.GANTuple._fields
    )
  )


def num_updates(training: config_dict.ConfigDict) -> gan.GANTuple:
  """Updates of each player in its turn."""
  return gan.GANTuple(
    disc=training.num_disc_updates, gen=training.num_gen_updates
  )
