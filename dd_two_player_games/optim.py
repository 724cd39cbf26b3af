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
"""Optimisers of the players, and the update rules that a GAN trains by.

An update rule takes a `TrainState` through one step. What differs between the
rules is when each player moves and what it then sees; how a player's gradient
is made, and how its optimiser uses it, is common to all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from dd_two_player_games import adjusted_grads
from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import term_recorder
from differentiable_games import rules
from differentiable_games import updates

Logs = Mapping[str, jax.Array]
Draw = tuple[jax.Array, jax.Array]  # A minibatch and a key.


class TrainState(NamedTuple):
  """All that a step depends on and changes.

  Attributes:
    params: a GANTuple of parameters.
    opt_state: a GANTuple of optimiser states.
    state: the networks' states.
    global_step: number of steps done, an int32 scalar.
    back_offs: how often training went back and on with a smaller learning rate,
      an int32 scalar.
  """

  params: gan.GANTuple
  opt_state: gan.GANTuple
  state: gan.GANState
  global_step: jax.Array
  back_offs: Any = np.zeros((), np.int32)


def _unscaled(train_state: TrainState) -> float:
  del train_state
  return 1.0


def _fast(train_state: TrainState) -> gan.GANTuple:
  return train_state.params


class Players(NamedTuple):
  """What an update rule needs to know of the players.

  Attributes:
    grads_calculator: their gradients.
    optimizers: a GANTuple of optax optimisers.
    coeffs: maps the global step and the factor of the learning rates to the
      regularisers' coefficients.
    rate_scale: maps a TrainState to a factor of all learning rates.
  """

  grads_calculator: (
    gan_grads_calculator.GANGradsCalculator
    | adjusted_grads.AdjustedGradsCalculator
    | term_recorder.TermRecorder
  )
  optimizers: gan.GANTuple
  coeffs: Callable[[jax.Array, Any], gan.GANTuple]
  rate_scale: Callable[[TrainState], Any] = _unscaled

  def coeffs_at(self, train_state: TrainState) -> gan.GANTuple:
    """The regularisers' coefficients in a step."""
    return self.coeffs(train_state.global_step, self.rate_scale(train_state))

  def initial_opt_state(self, params: gan.GANTuple) -> gan.GANTuple:
    """The optimisers' states at the start."""
    return gan.GANTuple(
      *(
        optimizer.init(own)
        for optimizer, own in zip(self.optimizers, params, strict=True)
      )
    )

  def optimizer_at(
    self, player: str, train_state: TrainState
  ) -> optax.GradientTransformation:
    """A player's optimiser in a step.

    Where a gradient is not finite its update is NaN, whatever the optimiser
    makes of it: it must not be trained on unseen.
    """
    optimizer = getattr(self.optimizers, player)
    scale = self.rate_scale(train_state)

    def update(grads, opt_state, params=None):
      updates, opt_state = optimizer.update(grads, opt_state, params)
      scaled = jax.tree.map(lambda u, g: scale * u + 0 * g, updates, grads)
      return scaled, opt_state

    return optax.GradientTransformation(optimizer.init, update)

  def apply(
    self, player: str, train_state: TrainState, grads: Any
  ) -> TrainState:
    """Hands a player's gradient to its optimiser, and moves the player."""
    params = getattr(train_state.params, player)
    update, opt_state = self.optimizer_at(player, train_state).update(
      grads, getattr(train_state.opt_state, player), params
    )
    params = optax.apply_updates(params, update)
    return train_state._replace(
      params=train_state.params._replace(**{player: params}),
      opt_state=train_state.opt_state._replace(**{player: opt_state}),
    )

  def update(
    self, player: str, train_state: TrainState, draw: Draw
  ) -> tuple[TrainState, Logs]:
    """One player's update; the networks' state becomes its loss's."""
    grads_fn = {
      'disc': self.grads_calculator.disc_grads,
      'gen': self.grads_calculator.gen_grads,
    }[player]
    batch, rng = draw
    grads, aux = grads_fn(
      train_state.params,
      train_state.state,
      batch,
      rng,
      True,
      self.coeffs_at(train_state),
    )
    moved = self.apply(player, train_state, grads)
    return moved._replace(state=aux.state), aux.log_dict


class UpdateRule(NamedTuple):
  """One step of training.

  Attributes:
    num_draws: minibatches and keys that a step uses.
    init: maps both players' parameters to `TrainState.opt_state`.
    step: maps a TrainState, and a function from the number of a draw (0, …,
      num_draws - 1) to its minibatch and key, to the next TrainState and what
      is to be logged. It leaves `global_step` alone.
    evaluated: maps a TrainState to the parameters that are evaluated.
  """

  num_draws: int
  init: Callable[[gan.GANTuple], Any]
  step: Callable[
    [TrainState, Callable[[int], Draw]], tuple[TrainState, dict[str, jax.Array]]
  ]
  evaluated: Callable[[TrainState], gan.GANTuple] = _fast


def simultaneous(players: Players) -> UpdateRule:
  """Both players move at once, each on a draw of its own unless they share."""
  draws = _draws_of_players(players, 1)

  def step(train_state, draw):
    disc_batch, disc_rng = draw(draws.disc[0])
    gen_batch, gen_rng = draw(draws.gen[0])
    grads, aux = players.grads_calculator.both_player_grads(
      train_state.params,
      train_state.state,
      disc_batch,
      gen_batch,
      disc_rng,
      gen_rng,
      True,
      players.coeffs_at(train_state),
    )
    for player, player_grads in grads._asdict().items():
      train_state = players.apply(player, train_state, player_grads)
    train_state = train_state._replace(
      state=_own_states(aux.disc.state, aux.gen.state)
    )
    return train_state, {**aux.disc.log_dict, **aux.gen.log_dict}

  return UpdateRule(draws.gen[-1] + 1, players.initial_opt_state, step)


def alternating(
  players: Players,
  order: drift_utils.PlayerOrder,
  num_updates: gan.GANTuple,
) -> UpdateRule:
  """Players move in turns; the second sees the first's new params and state.

  Args:
    players: the players.
    order: who moves first.
    num_updates: updates of each player in its turn, each on a fresh draw.

  Returns:
    The rule.
  """
  turns = ['disc'] * num_updates.disc, ['gen'] * num_updates.gen
  if order == drift_utils.PlayerOrder.gen_first:
    turns = turns[::-1]
  sequence = [*turns[0], *turns[1]]

  def step(train_state, draw):
    logs: dict[str, jax.Array] = {}
    for k, player in enumerate(sequence):
      train_state, player_logs = players.update(player, train_state, draw(k))
      logs.update(player_logs)
    return train_state, logs

  return UpdateRule(len(sequence), players.initial_opt_state, step)


class RungeKutta:
  """Combines the gradients of a Runge-Kutta rule's stages."""

  def __init__(
    self,
    grad_fn: Callable[..., tuple[Any, Any]],
    runge_kutta_order: int | updates.Tableau,
    same_args_to_grad_calls: bool = False,
  ):
    """Initialises the rule.

    Args:
      grad_fn: maps (params, *args) to (gradients, aux). It averages over
        devices if that is needed.
      runge_kutta_order: 1, 2 or 4, or a tableau.
      same_args_to_grad_calls: whether all stages use the first one's
        arguments.

    Raises:
      ValueError: for another order.
    """
    if isinstance(runge_kutta_order, updates.Tableau):
      self.tableau = runge_kutta_order
    elif runge_kutta_order in updates.RUNGE_KUTTA:
      self.tableau = updates.RUNGE_KUTTA[runge_kutta_order]
    else:
      raise ValueError(
        f'runge_kutta_order {runge_kutta_order} is not one of '
        f'{sorted(updates.RUNGE_KUTTA)}.'
      )
    self.runge_kutta_order = runge_kutta_order
    self._grad_fn = grad_fn
    self._same_args = same_args_to_grad_calls

  def grad(self, params: Any, step_size: Any, *grad_fn_args) -> tuple[Any, Any]:
    """The combined gradient, and the first stage's aux.

    Args:
      params: where the step starts.
      step_size: of the inner stages.
      *grad_fn_args: for each argument of `grad_fn`, a sequence with one value
        a stage.
    """

    def field(stage_params, stage):
      index = 0 if self._same_args else stage
      return self._grad_fn(stage_params, *(arg[index] for arg in grad_fn_args))

    return updates.runge_kutta_direction(field, params, step_size, self.tableau)


def runge_kutta(
  players: Players,
  order: int | updates.Tableau,
  step_size: Callable[[jax.Array], jax.Array],
  after_coeffs: gan.GANTuple,
) -> UpdateRule:
  """A Runge-Kutta step of both players, "ODE-GAN".

  Each stage has its own draw for each player, unless they share: all the
  discriminator's come first, then the generator's. The combined gradients go
  to the optimisers. The networks' state and the logs are the first stage's.

  Args:
    players: the players; their coefficients are used inside each stage.
    order: 1, 2 or 4, or a tableau.
    step_size: of the inner stages, for both players: the discriminator's
      learning rate at a global step.
    after_coeffs: regularisers added once to the combined gradients, at the
      initial params with the first draws.

  Returns:
    The rule.

  References:
    Qin et al., "Training Generative Adversarial Networks by Solving Ordinary
    Differential Equations", 2020.
  """
  calculator = players.grads_calculator
  combined = RungeKutta(calculator.both_player_grads, order)
  num_stages = len(combined.tableau.weights)
  draws = _draws_of_players(players, num_stages)

  def step(train_state, draw):
    params, state = train_state.params, train_state.state
    disc_batches, disc_rngs = zip(*map(draw, draws.disc), strict=True)
    gen_batches, gen_rngs = zip(*map(draw, draws.gen), strict=True)
    coeffs = players.coeffs_at(train_state)
    grads, aux = combined.grad(
      params,
      step_size(train_state.global_step) * players.rate_scale(train_state),
      [state] * num_stages,
      disc_batches,
      gen_batches,
      disc_rngs,
      gen_rngs,
      [True] * num_stages,
      [coeffs] * num_stages,
    )
    first_draws = gan.GANTuple(
      disc=(disc_batches[0], disc_rngs[0]), gen=(gen_batches[0], gen_rngs[0])
    )
    for player, (batch, rng) in first_draws._asdict().items():
      player_grads = getattr(grads, player)
      after = calculator.regularisation_grads(
        player, params, state, batch, rng, True, getattr(after_coeffs, player)
      )
      if after is not None:
        after = jax.lax.pmean(after, axis_name='i')
        player_grads = optax.tree.add(player_grads, after)
      train_state = players.apply(player, train_state, player_grads)
    train_state = train_state._replace(
      state=_own_states(aux.disc.state, aux.gen.state)
    )
    return train_state, {**aux.disc.log_dict, **aux.gen.log_dict}

  return UpdateRule(draws.gen[-1] + 1, players.initial_opt_state, step)


def of_games(
  players: Players, make_rule: Callable[[rules.Optimizers], rules.UpdateRule]
) -> UpdateRule:
  """A rule of `differentiable_games.rules`, in which both players move at once.

  As in a Runge-Kutta step, each evaluation has its own draw for each player,
  unless they share; the networks' state and the logs are the first one's.

  Args:
    players: the players.
    make_rule: makes the rule of the players' optimisers.

  Returns:
    The rule.
  """
  rule = make_rule(players.optimizers)
  draws = _draws_of_players(players, rule.num_draws)

  def step(train_state, draw):
    coeffs = players.coeffs_at(train_state)

    def field(params, k):
      (disc_batch, disc_rng), (gen_batch, gen_rng) = (
        draw(of_player[k]) for of_player in draws
      )
      return players.grads_calculator.both_player_grads(
        params,
        train_state.state,
        disc_batch,
        gen_batch,
        disc_rng,
        gen_rng,
        True,
        coeffs,
      )

    optimizers = [players.optimizer_at(p, train_state) for p in draws._fields]
    params, opt_state, auxes = make_rule(optimizers).step(
      field, train_state.params, train_state.opt_state
    )
    aux = auxes[0]
    train_state = train_state._replace(
      params=params,
      opt_state=opt_state,
      state=_own_states(aux.disc.state, aux.gen.state),
    )
    return train_state, {**aux.disc.log_dict, **aux.gen.log_dict}

  return UpdateRule(draws.gen[-1] + 1, rule.init, step)


def lookahead(
  rule: UpdateRule, periods: Sequence[int], slow_step_size: float
) -> UpdateRule:
  """`differentiable_games.rules.lookahead` around any rule.

  The slowest parameters are evaluated. Networks' states stay the fast ones'.
  """

  def around(fast_step):
    fast_rule = rules.UpdateRule(rule.num_draws, rule.init, fast_step)
    return rules.lookahead(fast_rule, periods, slow_step_size)

  def step(train_state, draw):
    def fast_step(field, params, opt_state):
      del field  # The fast rule has its own.
      moved, logs = rule.step(
        train_state._replace(params=params, opt_state=opt_state), draw
      )
      return moved.params, moved.opt_state, (moved.state, logs)

    no_field: Any = None
    params, opt_state, (state, logs) = around(fast_step).step(
      no_field, train_state.params, train_state.opt_state
    )
    train_state = train_state._replace(
      params=params, opt_state=opt_state, state=state
    )
    return train_state, logs

  def slowest(train_state):
    return train_state.opt_state.slow[-1]

  return UpdateRule(rule.num_draws, around(None).init, step, slowest)


def _draws_of_players(players: Players, stages: int) -> gan.GANTuple:
  """The numbers of the draws that each player takes in its stages."""
  first_of_gen = 0 if players.grads_calculator.shares_draws else stages
  return gan.GANTuple(
    disc=range(stages), gen=range(first_of_gen, first_of_gen + stages)
  )


def _own_states(disc: gan.GANState, gen: gan.GANState) -> gan.GANState:
  return gan.GANState(
    players=gan.GANTuple(disc.players.disc, gen.players.gen),
    param_transforms=gan.GANTuple(
      disc.param_transforms.disc, gen.param_transforms.gen
    ),
  )
