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
r"""Discrete update rules: how players step along a field.

A rule is a few pure functions, as in optax: `init` makes its state, `step`
takes a `Carry` through one step. The state is a pytree that holds all that the
next step depends on. Each player has an optax optimiser, which is given the
player's direction as its gradient. Any rule goes with any of `fields`.

A rule numbers its draws of data 0, 1, …; says whose memory goes on; and asks a
field for the directions that it needs. Where players move at once each has a
draw of its own at each evaluation, all of the first player's before the
second's, unless they share their draws.

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

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from differentiable_games import fields
from differentiable_games import game
from differentiable_games import tableaus

Optimizers = Sequence[optax.GradientTransformation]
Logs = Mapping[str, jax.Array]


class Carry(NamedTuple):
  """What a step changes.

  Attributes:
    params: all players' parameters.
    memory: all players' memory, one entry a player.
    state: the rule's.
  """

  params: Any
  memory: Any
  state: Any


def _params(carry: Carry) -> Any:
  return carry.params


class UpdateRule(NamedTuple):
  """A discrete update rule.

  Attributes:
    num_draws: draws of data that a step uses.
    init: maps all players' parameters to the rule's state.
    step: maps a field, a function from the number of a draw (0, …, num_draws -
      1) to the draw, and a Carry to the next Carry and what is to be logged.
    evaluated: maps a Carry to the parameters that one evaluates.
    directions_a_turn: how many directions a turn hands to an optimiser: what
      its count of updates, and with it a schedule, goes up by.
  """

  num_draws: int
  init: Callable[[Any], Any]
  step: Callable[
    [fields.Field, Callable[[int], game.Draw], Carry], tuple[Carry, Logs]
  ]
  evaluated: Callable[[Carry], Any] = _params
  directions_a_turn: int = 1


class _AtOnce:
  """How players that all move at once evaluate a field."""

  def __init__(self, num_players: int, num_evaluations: int, share_draws: bool):
    stride = 0 if share_draws else num_evaluations
    self._first_draws = [i * stride for i in range(num_players)]
    self.num_draws = self._first_draws[-1] + num_evaluations

  def draws(self, draw, evaluation: int) -> list[game.Draw]:
    """The players' draws of an evaluation, by its number within the step."""
    return [draw(first + evaluation) for first in self._first_draws]

  def evaluate(self, field, draw, params, memory, evaluation: int):
    """The directions; each player's own memory, together; the logs."""
    directions, passes = field(params, memory, self.draws(draw, evaluation))
    own = [own_pass.memory[i] for i, own_pass in enumerate(passes)]
    logs = dict(
      itertools.chain(*(own_pass.logs.items() for own_pass in passes))
    )
    return directions, game.from_players(memory, own), logs


def simultaneous(
  optimizers: Optimizers, share_draws: bool = False
) -> UpdateRule:
  """All players move at once, each by its optimiser."""
  at_once = _AtOnce(len(optimizers), 1, share_draws)

  def step(field, draw, carry):
    directions, memory, logs = at_once.evaluate(
      field, draw, carry.params, carry.memory, 0
    )
    params, state, _ = _apply(optimizers, directions, carry.state, carry.params)
    return Carry(params, memory, state), logs

  return UpdateRule(at_once.num_draws, _init_of(optimizers), step)


def alternating(
  optimizers: Optimizers,
  order: Sequence[int],
  num_updates: Sequence[int] | None = None,
) -> UpdateRule:
  """Players move in turns, each seeing the earlier ones' moves and memory.

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

  def step(field, draw, carry):
    logs: dict[str, jax.Array] = {}
    for k, player in enumerate(turns):
      draws: list[Any] = [None] * len(optimizers)
      draws[player] = draw(k)
      directions, passes = field(carry.params, carry.memory, draws)
      own, own_state, _ = _apply_one(
        optimizers[player],
        directions[player],
        carry.state[player],
        carry.params[player],
      )
      carry = Carry(
        game.replace_player(carry.params, player, own),
        passes[player].memory,
        game.replace_player(carry.state, player, own_state),
      )
      logs |= passes[player].logs
    return carry, logs

  return UpdateRule(len(turns), _init_of(optimizers), step)


def runge_kutta(
  optimizers: Optimizers,
  tableau: tableaus.Tableau,
  step_size: Any,
  share_draws: bool = False,
  after: fields.Field | None = None,
) -> UpdateRule:
  """The optimisers are given the direction of a Runge-Kutta step, "ODE-GAN".

  Memory and logs are those of the first stage.

  Args:
    optimizers: one a player; plain descent at the rate `step_size` makes the
      step the tableau's.
    tableau: the rule, for instance one of `tableaus.RUNGE_KUTTA`.
    step_size: the step that the inner stages take, for all players.
    share_draws: whether the players share their draws.
    after: a field whose directions, at the initial params with the first draws,
      are added once to those of the step; None for a player adds nothing.

  Returns:
    The rule.

  References:
    Qin et al., "Training Generative Adversarial Networks by Solving Ordinary
    Differential Equations", 2020.
  """
  num_stages = len(tableau.weights)
  at_once = _AtOnce(len(optimizers), num_stages, share_draws)

  def step(field, draw, carry):
    def stage_field(point, stage):
      directions, *rest = at_once.evaluate(
        field, draw, point, carry.memory, stage
      )
      return game.from_players(carry.params, directions), rest

    directions, (memory, logs) = tableaus.runge_kutta_direction(
      stage_field, carry.params, step_size, tableau
    )
    if after is not None:
      extra, _ = after(carry.params, carry.memory, at_once.draws(draw, 0))
      directions = [
        own if more is None else optax.tree.add(own, more)
        for own, more in zip(directions, extra, strict=True)
      ]
    params, state, _ = _apply(optimizers, directions, carry.state, carry.params)
    return Carry(params, memory, state), logs

  return UpdateRule(at_once.num_draws, _init_of(optimizers), step)


def extragradient(
  optimizers: Optimizers, share_draws: bool = False
) -> UpdateRule:
  r"""Looks ahead, then steps from the start by what it saw there.

  .. math::
    \theta_{t+1/2} = \theta_t - h \xi(\theta_t), \quad
    \theta_{t+1} = \theta_t - h \xi(\theta_{t+1/2})

  for plain descent. The optimisers see both directions, one after the other:
  with Adam this is ExtraAdam. Memory and logs are those of the first.

  References:
    Korpelevich, "The extragradient method for finding saddle points", 1976.
    Gidel et al., "A Variational Inequality Perspective on Generative
    Adversarial Networks", 2019, algorithm 4.
  """
  at_once = _AtOnce(len(optimizers), 2, share_draws)

  def step(field, draw, carry):
    params, state = carry.params, carry.state
    directions, memory, logs = at_once.evaluate(
      field, draw, params, carry.memory, 0
    )
    ahead, state, _ = _apply(optimizers, directions, state, params)
    directions, *_ = at_once.evaluate(field, draw, ahead, carry.memory, 1)
    params, state, _ = _apply(optimizers, directions, state, params)
    return Carry(params, memory, state), logs

  return UpdateRule(
    at_once.num_draws, _init_of(optimizers), step, directions_a_turn=2
  )


class PastState(NamedTuple):
  """State of `extrapolation_from_the_past`.

  Attributes:
    optimizers: the optimisers' states.
    last_update: what the last step added to the parameters.
  """

  optimizers: Any
  last_update: Any


def extrapolation_from_the_past(
  optimizers: Optimizers, share_draws: bool = False
) -> UpdateRule:
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
  at_once = _AtOnce(len(optimizers), 1, share_draws)
  init_optimizers = _init_of(optimizers)

  def init(params):
    return PastState(init_optimizers(params), optax.tree.zeros_like(params))

  def step(field, draw, carry):
    ahead = optax.apply_updates(carry.params, carry.state.last_update)
    directions, memory, logs = at_once.evaluate(
      field, draw, ahead, carry.memory, 0
    )
    params, state, update = _apply(
      optimizers, directions, carry.state.optimizers, carry.params
    )
    return Carry(params, memory, PastState(state, update)), logs

  return UpdateRule(at_once.num_draws, init, step)


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

  def step(field, draw, carry):
    fast, logs = rule.step(field, draw, carry._replace(state=carry.state.rule))
    num_steps = carry.state.num_steps + 1
    params, slow = _pull_slow(
      fast.params, carry.state.slow, num_steps, periods, slow_step_size
    )
    state = LookaheadState(fast.state, slow, num_steps % periods[-1])
    return fast._replace(params=params, state=state), logs

  def slowest(carry):
    return carry.state.slow[-1]

  return UpdateRule(rule.num_draws, init, step, slowest, rule.directions_a_turn)


def _pull_slow(params, slow, num_steps, periods, slow_step_size):
  """The fast and the slow parameters of `lookahead` after a fast step."""
  slow = list(slow)
  for level, period in enumerate(periods):

    def choose(moved, kept, due=num_steps % period == 0):
      return jax.tree.map(lambda m, k: jnp.where(due, m, k), moved, kept)

    drawn = jax.tree.map(
      lambda s, p: jnp.asarray(s + slow_step_size * (p - s), s.dtype),
      slow[level],
      params,
    )
    params = choose(drawn, params)
    for faster in range(level + 1):
      slow[faster] = choose(drawn, slow[faster])
  return params, tuple(slow)


def move(
  rule: UpdateRule, vector_field: fields.VectorField, params: Any, state: Any
) -> tuple[Any, Any]:
  """One step of players without memory along a field that sees all data.

  Args:
    rule: the rule.
    vector_field: maps params to the players' directions.
    params: all players' parameters.
    state: the rule's, at first `rule.init(params)`.

  Returns:
    The next params and state.
  """
  memory = game.from_players(params, [None] * len(params))
  carry, _ = rule.step(
    fields.EveryDraw(vector_field),
    lambda number: number,
    Carry(params, memory, state),
  )
  return carry.params, carry.state


def trajectory(
  rule: UpdateRule,
  vector_field: fields.VectorField,
  params: Any,
  num_steps: int,
) -> Any:
  """The points of a rule's steps, as one device loop.

  Args:
    rule: the rule.
    vector_field: maps params to the players' directions.
    params: the start.
    num_steps: how many.

  Returns:
    Params with an axis of length `num_steps + 1` in front, the start first.
  """
  params = jax.tree.map(jnp.asarray, params)

  def step(carry, _):
    params, state = move(rule, vector_field, *carry)
    return (params, state), params

  _, points = jax.lax.scan(step, (params, rule.init(params)), length=num_steps)
  return jax.tree.map(
    lambda start, rest: jnp.concatenate([start[None], rest]), params, points
  )


def _init_of(optimizers: Optimizers) -> Callable[[Any], Any]:
  """Makes the optimisers' states, in the container of the parameters."""

  def init(params):
    game.check_num_players(optimizers, params, 'optimisers')
    return game.from_players(
      params,
      [
        optimizer.init(own)
        for optimizer, own in zip(optimizers, params, strict=True)
      ],
    )

  return init


def _apply_one(optimizer, direction, state, params) -> tuple[Any, Any, Any]:
  """A player's next parameters and optimiser state, and its update."""
  update, state = optimizer.update(direction, state, params)
  # A rate of another type than the parameters' would change theirs.
  update = jax.tree.map(
    lambda u, p: jnp.asarray(u, jnp.result_type(p)), update, params
  )
  return optax.apply_updates(params, update), state, update


def _apply(
  optimizers: Optimizers, directions: Any, states: Any, params: Any
) -> tuple[Any, Any, Any]:
  """All players' next parameters and optimiser states, and their updates."""
  results = [
    _apply_one(*own)
    for own in zip(optimizers, directions, states, params, strict=True)
  ]
  moved, states, updates = zip(*results, strict=True)
  return (
    game.from_players(params, moved),
    game.from_players(params, states),
    game.from_players(params, updates),
  )
