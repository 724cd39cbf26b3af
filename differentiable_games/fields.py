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
r"""The field that players follow: directions of one draw of data.

A field maps (params, memory, draws), one entry a player each, to an
`Evaluation`: the direction that each player *descends*, the memory that its
pass leaves, and logs. A player whose draw is None does not move: nothing is
computed for it.

Here are the fields of a `game.Game`:

- `FirstOrderField`: the gradient with rows and columns of the Jacobian added.
  Both factors of such a product are expectations, so an `Estimator` says which
  part of the draw each of them sees: a product of two expectations is estimated
  without bias only from independent samples.
- `AdjustedField`: any function of the losses of one draw that all players
  share, as for solvers. It may remember something from step to step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import optax

from differentiable_games import adjustments
from differentiable_games import game
from differentiable_games import jacobian

Draws = Sequence[game.Draw | None]
# Of players that have no memory and see all data: params to directions.
VectorField = Callable[[Any], Any]


class Evaluation(NamedTuple):
  """What a field gives; None for players that do not move.

  Attributes:
    directions: what each player descends.
    passes: what each player's loss leaves.
  """

  directions: Sequence[Any]
  passes: Sequence[game.Pass | None]


class Term(NamedTuple):
  """A part of a player's direction, by itself."""

  player: int
  name: str
  value: Any


class Field(Protocol):
  """See the module."""

  def __call__(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Evaluation:
    """Evaluates the field."""

  def terms(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Iterator[Term]:
    """Yields what the directions are made of, as computed one by one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Estimator:
  """How the two factors of a product are sampled from one draw.

  Attributes:
    split: maps a draw to those of the differentiated and of the stopped factor.
    average_stopped: whether the stopped factor is averaged over devices.
    shares_draws: whether the gradient, too, is the mean over the two draws, and
      players that move at once take the same draw. Most of what a step computes
      is then common to several of its parts.
  """

  split: Callable[[game.Draw], tuple[game.Draw, game.Draw]]
  average_stopped: bool
  shares_draws: bool = False

  def stop(self, tree: Any, axis_name: str | None) -> Any:
    """The stopped factor, averaged over devices if so chosen."""
    if self.average_stopped:
      tree = game.average_over_devices(tree, axis_name)
    return jax.lax.stop_gradient(tree)


def keep_whole(draw: game.Draw) -> tuple[game.Draw, game.Draw]:
  """Both factors on the same minibatch and key."""
  return draw, draw


def halve(draw: game.Draw) -> tuple[game.Draw, game.Draw]:
  """A minibatch's halves, each with a key of its own.

  Args:
    draw: a minibatch, examples along the first axis of each array, and a key.
  """
  batch, key = draw
  half = jax.tree.leaves(batch)[0].shape[0] // 2
  key1, key2 = jax.random.split(key, 2)
  return (
    (jax.tree.map(lambda x: x[:half], batch), key1),
    (jax.tree.map(lambda x: x[half:], batch), key2),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Products:
  """Weighted products with the Jacobian, estimated from a draw.

  Attributes:
    model: the game.
    rows: the coefficients c of `jacobian.weighted_products`.
    columns: its coefficients t.
    estimator: how the factors are sampled.
    axis_name: the mapped axis of the devices; None for one alone.
  """

  model: game.Game
  rows: jacobian.Matrix
  columns: jacobian.Matrix
  estimator: Estimator
  axis_name: str | None = None

  def any_of(self, players: Sequence[int]) -> bool:
    """Whether these players have a product at all."""
    return jacobian.has_terms(self.rows, self.columns, players)

  def estimate(
    self,
    params: Any,
    memory: game.Memory,
    draw: game.Draw,
    players: Sequence[int],
  ) -> tuple[list[Any], tuple[game.Pass, ...], dict[int, Any]]:
    """The products of some players, and what comes with them.

    Returns:
      All players' gradients, the mean of those of both parts of the draw; the
      Passes over the first part; the products by player. None is averaged over
      devices.
    """
    first, second = self.estimator.split(draw)

    def losses_of(part):
      return lambda p: self.model.joint_losses(p, memory, part)

    gradient, _ = game.joint_gradients(losses_of(second), params)
    num_players = len(params)
    units = adjustments.constant_matrix(num_players, 0.0, diagonal=1.0)
    stopped = [gradient(units[i], i) for i in range(num_players)]
    gradients, passes, products = jacobian.weighted_products(
      losses_of(first),
      params,
      self.rows,
      self.columns,
      players,
      [self.estimator.stop(own, self.axis_name) for own in stopped],
    )
    means = [
      jax.tree.map(lambda a, b: (a + b) / 2, *both)
      for both in zip(gradients, stopped, strict=True)
    ]
    return means, passes, products

  def terms(
    self, params: Any, memory: game.Memory, draw: game.Draw, player: int
  ) -> Iterator[Term]:
    """Yields a player's products one by one."""
    players = range(len(params))
    zeros = adjustments.constant_matrix(len(params), 0.0)
    for j in sorted(players, key=lambda j: j != player):
      for matrix, kind in (
        (self.rows, 'other_dot_prod'),
        (self.columns, 'other_norm'),
      ):
        if jacobian.is_zero(matrix[player][j]):
          continue
        alone = [list(row) for row in zeros]
        alone[player][j] = matrix[player][j]
        rows, columns = (
          alone if m is matrix else zeros for m in (self.rows, self.columns)
        )
        products = dataclasses.replace(self, rows=rows, columns=columns)
        _, _, values = products.estimate(params, memory, draw, [player])
        yield Term(player, self._term_name(kind, player, j), values[player])

  def _term_name(self, kind: str, player: int, other: int) -> str:
    """The published name of a term; it names the other of more than two."""
    names = self.model.names
    if player == other:
      kind = 'self_norm'
    elif len(names) > 2:
      kind = f'{kind} with {names[other]}'
    return f'{kind} term of {names[player]}'


def _moving(draws: Draws) -> list[int]:
  return [i for i, draw in enumerate(draws) if draw is not None]


@dataclasses.dataclass(frozen=True, eq=False)
class FirstOrderField:
  r"""Each player's gradient, with its products with the Jacobian.

  .. math::
    \xi_i + \sum_j c_{ij} J_{ij} \xi_j + \sum_j t_{ij} J_{ji}^\top \xi_j

  Attributes:
    products: the sums.
    align: whether they take the sign of `adjustments.alignment_sign`.
  """

  products: Products
  align: bool = False

  def __call__(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Evaluation:
    directions: list[Any] = [None] * len(params)
    passes: list[game.Pass | None] = [None] * len(params)
    moving = _moving(draws)
    if self.align:
      return self._aligned(params, memory, draws)
    if self.products.estimator.shares_draws and self.products.any_of(moving):
      gradients, all_passes, products = self.products.estimate(
        params, memory, draws[moving[0]], moving
      )
      for i in moving:
        directions[i], passes[i] = gradients[i], all_passes[i]
    else:
      products = {}
      for i in moving:
        directions[i], passes[i] = self._gradient(params, memory, draws[i], i)
        if self.products.any_of([i]):
          *_, product = self.products.estimate(params, memory, draws[i], [i])
          products |= product
    for i, product in products.items():
      directions[i] = optax.tree.add(directions[i], product)
    return Evaluation(
      game.average_over_devices(directions, self.products.axis_name), passes
    )

  def _gradient(self, params, memory, draw, player):
    loss = self.products.model.losses[player]

    def own_loss(own):
      return loss(game.replace_player(params, player, own), memory, draw)

    return jax.grad(own_loss, has_aux=True)(params[player])

  def _aligned(self, params, memory, draws):
    """One sign for all players, so that all is computed on one draw."""
    moving = _moving(draws)
    draw, everyone = draws[moving[0]], range(len(params))
    rows, columns = adjustments.consensus_matrices(len(params), 1.0)
    pull = dataclasses.replace(self.products, rows=rows, columns=columns)
    gradients, passes, products = self.products.estimate(
      params, memory, draw, everyone
    )
    *_, pulls = pull.estimate(params, memory, draw, everyone)
    gradients, products, pulls = game.average_over_devices(
      (gradients, products, pulls), self.products.axis_name
    )
    sign = adjustments.alignment_sign(
      gradients,
      [products[i] for i in everyone],
      [pulls[i] for i in everyone],
    )
    directions = [
      optax.tree.add_scale(gradients[i], sign, products[i])
      if i in moving
      else None
      for i in everyone
    ]
    return Evaluation(directions, _only(passes, moving))

  @property
  def shares_draws(self) -> bool:
    """Whether players that move at once are to be given the same draw."""
    return self.align or self.products.estimator.shares_draws

  def terms(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Iterator[Term]:
    """Yields each player's loss, its gradient, and its products."""
    for i in _moving(draws):
      gradient, own_pass = self._gradient(params, memory, draws[i], i)
      name = self.products.model.names[i]
      yield Term(i, f'{name}_loss', own_pass.logs)
      yield Term(i, f'gradient of {name}_loss', gradient)
      yield from self.products.terms(params, memory, draws[i], i)


@dataclasses.dataclass(frozen=True, eq=False)
class ProductsField:
  """A player's products alone, None where it has none; changes no memory.

  Attributes:
    products: the products.
  """

  products: Products

  def __call__(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Evaluation:
    directions: list[Any] = [None] * len(params)
    for i in _moving(draws):
      if self.products.any_of([i]):
        *_, product = self.products.estimate(params, memory, draws[i], [i])
        directions[i] = product[i]
    directions = game.average_over_devices(directions, self.products.axis_name)
    return Evaluation(directions, [None] * len(params))

  def terms(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Iterator[Term]:
    """Yields the products one by one."""
    for i in _moving(draws):
      yield from self.products.terms(params, memory, draws[i], i)


class Adjusted(NamedTuple):
  """What the function of an `AdjustedField` gives.

  Attributes:
    directions: one a player.
    logs: of how they were found.
    remembered: for the next step, one entry a player; () if nothing.
  """

  directions: Sequence[Any]
  logs: Mapping[str, jax.Array]
  remembered: Sequence[Any] = ()


class Remembered(NamedTuple):
  """A player's memory, and beside it what a field remembers of the player."""

  network: Any
  own: Any


def join_memory(memory: game.Memory, remembered: Sequence[Any]) -> game.Memory:
  """The players' memory, each entry a `Remembered`."""
  return game.from_players(memory, list(map(Remembered, memory, remembered)))


def split_memory(memory: game.Memory) -> tuple[game.Memory, game.Memory]:
  """The inverse of `join_memory`."""
  networks, remembered = zip(*memory, strict=True)
  return (
    game.from_players(memory, networks),
    game.from_players(memory, remembered),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class AdjustedField:
  """A function of the losses of one draw, averaged over devices.

  Where the function is not linear in the gradients that is biased, as in the
  sources of the methods.

  Attributes:
    model: the game.
    adjustment: maps a list of losses, params, and what it remembers (one entry
      a player, or None) to `Adjusted`.
    axis_name: the mapped axis of the devices; None for one alone.
    remembers: whether the players' memory is one of `Remembered`, as under
      `remembering.remember`.
    shares_draws: players that move at once take the same draw.
  """

  model: game.Game
  adjustment: Callable[[Sequence[game.Loss], Any, Any], Adjusted]
  axis_name: str | None = None
  remembers: bool = False
  shares_draws = True

  def __call__(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Evaluation:
    moving = _moving(draws)
    draw = draws[moving[0]]
    networks, remembered = memory, None
    if self.remembers:
      networks, remembered = split_memory(memory)
    losses = self.model.losses_of(networks, draw, self.axis_name)
    adjusted = self.adjustment(losses, params, remembered)
    _, passes = self.model.joint_losses(params, networks, draw)
    if self.remembers:
      passes = tuple(
        own._replace(memory=join_memory(own.memory, adjusted.remembered))
        for own in passes
      )
    logged = [
      own._replace(logs={**own.logs, **adjusted.logs}) for own in passes
    ]
    return Evaluation(_only(adjusted.directions, moving), _only(logged, moving))

  def terms(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Iterator[Term]:
    """Yields each player's loss and its direction."""
    directions, passes = self(params, memory, draws)
    for i, own_pass in enumerate(passes):
      if own_pass is None:
        continue
      name = self.model.names[i]
      yield Term(i, f'{name}_loss', own_pass.logs)
      yield Term(i, f'adjusted gradient of {name}', directions[i])


@dataclasses.dataclass(frozen=True, eq=False)
class EveryDraw:
  """A vector field as one that is the same for every draw, without memory.

  Attributes:
    vector_field: maps params to the players' directions.
  """

  vector_field: VectorField

  def __call__(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Evaluation:
    moving = _moving(draws)
    no_pass = game.Pass(memory, {})
    return Evaluation(
      _only(self.vector_field(params), moving),
      _only([no_pass] * len(params), moving),
    )

  def terms(
    self, params: Any, memory: game.Memory, draws: Draws
  ) -> Iterator[Term]:
    """Yields the directions."""
    directions = self(params, memory, draws).directions
    for i in _moving(draws):
      yield Term(i, f'direction of player {i}', directions[i])


def _only(values: Sequence[Any], players: Sequence[int]) -> list[Any]:
  return [value if i in players else None for i, value in enumerate(values)]
