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
r"""Update rules of a game: players' optimisers, and a state from step to step.

A rule is a pair of pure functions, as in optax: `init` makes its state, `step`
takes parameters and state through one step. The state is a pytree that holds
all that the next step depends on. Each player has an optax optimiser, which
is given the player's direction as its gradient. The field that a rule follows
is a game's gradient, or one of `adjustments`: any rule goes with any field.

Two methods are rules of this module with an optimiser of optax:

- Optimistic descent and optimistic Adam: `simultaneous` with
  `optax.optimistic_gradient_descent` and `optax.optimistic_adam_v2` with
  `nesterov=False` (Daskalakis et al., "Training GANs with Optimism", 2018;
  Mertikopoulos et al., "Optimistic Mirror Descent in Saddle-Point Problems",
  2019).
- Negative momentum: `alternating` with `optax.sgd(learning_rate, momentum)`
  and a negative momentum (Gidel et al., "Negative Momentum for Improved Game
  Dynamics", 2019).
"""

from collections.abc import Callable, Sequence
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from differentiable_games import game
from differentiable_games import updates

Optimizers = Sequence[optax.GradientTransformation]


class UpdateRule(NamedTuple):
  """A discrete update rule.

  Attributes:
    num_draws: how often a step evaluates the field. The evaluations are
      numbered, as each may have its own draw of data.
    init: maps all players' parameters to the rule's state.
    step: maps (field, params, state) to the next params and state and the
      auxiliary outputs of the evaluations, in their order. The field is an
      `updates.StagedField`.
  """

  num_draws: int
  init: Callable[[Any], Any]
  step: Callable[
    [updates.StagedField, Any, Any], tuple[Any, Any, tuple[Any, ...]]
  ]


def every_draw(field: updates.Field) -> updates.StagedField:
  """The field as one that is the same in every evaluation."""
  return lambda params, draw: (field(params), None)


def simultaneous(optimizers: Optimizers) -> UpdateRule:
  """All players move at once, each by its optimiser."""

  def step(field, params, state):
    direction, aux = field(params, 0)
    params, state, _ = _apply(optimizers, direction, state, params)
    return params, state, (aux,)

  return UpdateRule(1, _init_of(optimizers), step)


def alternating(
  optimizers: Optimizers,
  order: Sequence[int],
  num_updates: Sequence[int] | None = None,
) -> UpdateRule:
  """Players move in turns, each seeing the earlier ones' moves.

  Args:
    optimizers: one a player.
    order: the players in the order of their turns.
    num_updates: updates of each player in its turn, each on a draw of its
      own; one if None.

  Returns:
    The rule.
  """
  turns = [
    player
    for player in order
    for _ in range(num_updates[player] if num_updates else 1)
  ]

  def step(field, params, state):
    auxiliary = []
    for draw, player in enumerate(turns):
      direction, aux = field(params, draw)
      update, own_state = optimizers[player].update(
        direction[player], state[player], params[player]
      )
      own = optax.apply_updates(params[player], update)
      params = game.replace_player(params, player, own)
      state = game.replace_player(state, player, own_state)
      auxiliary.append(aux)
    return params, state, tuple(auxiliary)

  return UpdateRule(len(turns), _init_of(optimizers), step)


def runge_kutta(
  optimizers: Optimizers, tableau: updates.Tableau, step_size: Any
) -> UpdateRule:
  """The optimisers are given the direction of a Runge-Kutta step.

  Args:
    optimizers: one a player; plain descent at the rate `step_size` makes the
      step the tableau's.
    tableau: the rule, for instance one of `updates.RUNGE_KUTTA`.
    step_size: the step that the inner stages take, for all players.

  Returns:
    The rule.

  References:
    Qin et al., "Training Generative Adversarial Networks by Solving Ordinary
    Differential Equations", 2020.
  """
  num_stages = len(tableau.weights)

  def step(field, params, state):
    auxiliary = []

    def stage_field(point, stage):
      direction, aux = field(point, stage)
      auxiliary.append(aux)
      return direction, None

    direction, _ = updates.runge_kutta_direction(
      stage_field, params, step_size, tableau
    )
    params, state, _ = _apply(optimizers, direction, state, params)
    return params, state, tuple(auxiliary)

  return UpdateRule(num_stages, _init_of(optimizers), step)


def extragradient(optimizers: Optimizers) -> UpdateRule:
  r"""Looks ahead, then steps from the start by what it saw there.

  .. math::
    \theta_{t+1/2} = \theta_t - h \xi(\theta_t), \quad
    \theta_{t+1} = \theta_t - h \xi(\theta_{t+1/2})

  for plain descent. The optimisers see both directions, one after the other:
  with Adam this is ExtraAdam. Their count, and with it a schedule, goes up by
  two a step.

  References:
    Korpelevich, "The extragradient method for finding saddle points", 1976.
    Gidel et al., "A Variational Inequality Perspective on Generative
    Adversarial Networks", 2019, algorithm 4.
  """

  def step(field, params, state):
    direction, first_aux = field(params, 0)
    ahead, state, _ = _apply(optimizers, direction, state, params)
    direction, second_aux = field(ahead, 1)
    params, state, _ = _apply(optimizers, direction, state, params)
    return params, state, (first_aux, second_aux)

  return UpdateRule(2, _init_of(optimizers), step)


class PastState(NamedTuple):
  """State of `extrapolation_from_the_past`.

  Attributes:
    optimizers: the optimisers' states.
    last_update: what the last step added to the parameters.
  """

  optimizers: Any
  last_update: Any


def extrapolation_from_the_past(optimizers: Optimizers) -> UpdateRule:
  r"""Looks ahead by the last step's update: one evaluation a step.

  .. math::
    \theta_{t+1/2} = \theta_t - h \xi(\theta_{t-1/2}), \quad
    \theta_{t+1} = \theta_t - h \xi(\theta_{t+1/2})

  for plain descent; the first step is simultaneous descent. With any optimiser
  :math:`\theta_{t+1/2}` adds its last update once more. The points
  :math:`\theta_{t+1/2}` are those of optimistic descent.

  References:
    Popov, "A modification of the Arrow-Hurwicz method for search of saddle
    points", 1980.
    Gidel et al., "A Variational Inequality Perspective on Generative
    Adversarial Networks", 2019, section 3.3.
  """
  init_optimizers = _init_of(optimizers)

  def init(params):
    return PastState(init_optimizers(params), optax.tree.zeros_like(params))

  def step(field, params, state):
    ahead = optax.apply_updates(params, state.last_update)
    direction, aux = field(ahead, 0)
    params, opt_state, update = _apply(
      optimizers, direction, state.optimizers, params
    )
    return params, PastState(opt_state, update), (aux,)

  return UpdateRule(1, init, step)


class LookaheadState(NamedTuple):
  """State of `lookahead`.

  Attributes:
    rule: the state of the rule that makes the fast steps.
    slow: a tuple of slow parameters, one a period.
    num_steps: fast steps since the slowest moved, an int32 scalar.
  """

  rule: Any
  slow: tuple[Any, ...]
  num_steps: jax.Array


def lookahead(
  rule: UpdateRule, periods: Sequence[int], slow_step_size: Any = 0.5
) -> UpdateRule:
  r"""Lookahead-minmax: slow parameters of all players follow the fast ones.

  After every k steps of the rule,
  :math:`\tilde\theta \leftarrow \tilde\theta + \alpha (\theta -
  \tilde\theta)`, and the rule goes on from there: :math:`\theta \leftarrow
  \tilde\theta`. Several periods are nested: slower parameters follow the slow
  ones, and all go on from them.

  Args:
    rule: makes the fast steps.
    periods: k of each level, in fast steps, the shortest first; each is a
      multiple of the one before.
    slow_step_size: :math:`\alpha`.

  Returns:
    The rule. Its parameters are the fast ones; the slow ones, which one
    evaluates, are in its state.

  Raises:
    ValueError: for other periods.

  References:
    Chavdarova et al., "Taming GANs with Lookahead-Minmax", 2021.
  """
  if not periods or any(
    after < 1 or after % before
    for before, after in itertools.pairwise([1, *periods])
  ):
    raise ValueError(
      f'periods {list(periods)} must be positive, each a multiple of the last.'
    )

  def init(params):
    slow = (params,) * len(periods)
    return LookaheadState(rule.init(params), slow, jnp.zeros((), jnp.int32))

  def step(field, params, state):
    params, rule_state, aux = rule.step(field, params, state.rule)
    num_steps = state.num_steps + 1
    slow = list(state.slow)
    for level, period in enumerate(periods):

      def choose(moved, kept, due=num_steps % period == 0):
        return jax.tree.map(lambda m, k: jnp.where(due, m, k), moved, kept)

      drawn = jax.tree.map(
        lambda s, p: s + slow_step_size * (p - s), slow[level], params
      )
      params = choose(drawn, params)
      for faster in range(level + 1):
        slow[faster] = choose(drawn, slow[faster])
    state = LookaheadState(rule_state, tuple(slow), num_steps % periods[-1])
    return params, state, aux

  return UpdateRule(rule.num_draws, init, step)


def trajectory(
  rule: UpdateRule, field: updates.Field, params: Any, num_steps: int
) -> Any:
  """The points of a rule's steps, as one device loop.

  Args:
    rule: the rule.
    field: the field, the same in every step.
    params: the start.
    num_steps: how many.

  Returns:
    Params with an axis of length `num_steps + 1` in front, the start first.
  """
  params = jax.tree.map(jnp.asarray, params)

  def step(carry, _):
    params, state = carry
    params, state, _ = rule.step(every_draw(field), params, state)
    return (params, state), params

  _, points = jax.lax.scan(step, (params, rule.init(params)), length=num_steps)
  return jax.tree.map(
    lambda start, rest: jnp.concatenate([start[None], rest]), params, points
  )


def _init_of(optimizers: Optimizers) -> Callable[[Any], Any]:
  """Makes the optimisers' states, in the container of the parameters."""

  def init(params):
    return game.from_players(
      params,
      [
        optimizer.init(own)
        for optimizer, own in zip(optimizers, params, strict=True)
      ],
    )

  return init


def _apply(
  optimizers: Optimizers, direction: Any, opt_state: Any, params: Any
) -> tuple[Any, Any, Any]:
  """All players' next parameters and optimiser states, and their updates."""
  results = [
    optimizer.update(*own)
    for optimizer, *own in zip(
      optimizers, direction, opt_state, params, strict=True
    )
  ]
  update, state = zip(*results, strict=True)
  update = game.from_players(params, update)
  return (
    optax.apply_updates(params, update),
    game.from_players(params, state),
    update,
  )
