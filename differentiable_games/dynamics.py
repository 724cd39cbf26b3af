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
r"""What a game does at a point, by products alone: also for large games.

Everything here can be compiled, and takes a game as one function of the
players' parameters that gives a tuple of all losses. In training that is the
game of one draw, averaged over devices (`Game.joint_losses_of`).

A player's three terms are those of discretisation drift, whether a method uses
them or not: `self_norm` :math:`J_{ii}\xi_i`, `other_dot_prod`
:math:`\sum_{j \ne i} J_{ij}\xi_j` (the interaction term) and `other_norm`
:math:`\sum_{j \ne i} J_{ji}^\top\xi_j`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from differentiable_games import adjustments
from differentiable_games import fields
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import jacobian
from differentiable_games import rules
from differentiable_games import tableaus

JointLosses = Callable[[Any], tuple[jax.Array, ...]]

# What halving a flow's parts may change, as a share of the distance from it.
_LITTLE = 0.01
_MAX_PARTS = 8
# How far ahead each stage of the rule of order 4 looks, and its weight.
_RUNGE_KUTTA = np.array(
  [(0, 1 / 6), (1 / 2, 1 / 3), (1 / 2, 1 / 3), (1, 1 / 6)]
)


class Terms(NamedTuple):
  """The three terms, one entry a player each; see the module."""

  self_norm: Sequence[Any]
  other_dot_prod: Sequence[Any]
  other_norm: Sequence[Any]


def gradient_and_terms(
  joint_losses: JointLosses, params: game.Params
) -> tuple[game.Params, Terms]:
  r"""The simultaneous gradient, and every player's three terms.

  Args:
    joint_losses: maps params to a tuple of n losses.
    params: n pytrees.

  Returns:
    :math:`\xi` in the structure of `params`, and the terms.
  """
  gradient, _, products = jacobian.single_products(
    lambda p: (joint_losses(p), None), params
  )
  players = range(len(params))
  nothing = optax.tree.zeros_like(params)

  def add_up(term_of):
    def own(i):
      terms = [products[term_of(i, j)] for j in players if j != i]
      return jax.tree.map(lambda *leaves: sum(leaves), nothing[i], *terms)

    return game.from_players(params, [own(i) for i in players])

  return game.from_players(params, gradient), Terms(
    game.from_players(params, [products[i, i, i] for i in players]),
    add_up(lambda i, j: (i, i, j)),
    add_up(lambda i, j: (i, j, j)),
  )


def describe_terms(
  gradient: game.Params,
  terms: Terms,
  names: Sequence[str],
  coefficients: Sequence[Sequence[Any]] | None = None,
) -> dict[str, jax.Array]:
  r"""What the terms are beside the gradient.

  Args:
    gradient: :math:`\xi`.
    terms: of `gradient_and_terms`.
    names: the players'.
    coefficients: of the terms in use, three a player in the order of `Terms`;
      None where a method is no sum of such terms.

  Returns:
    By name: a player's `gradient_norm` :math:`\|\xi_i\|`; of each term its
    `relative_norm` :math:`\|t\|/\|\xi_i\|`, its `cosine` with :math:`\xi_i`
    and, with coefficients, its `share` :math:`|c| \|t\|` of the norm of the
    direction :math:`\xi_i + \sum c t` that is followed. Of the game its
    `rotation` :math:`\|A\xi\|^2/(\|S\xi\|^2 + \|A\xi\|^2)` and `alignment`
    :math:`\cos(\xi, J^\top\xi)`. NaN where it is 0/0.
  """
  described: dict[str, jax.Array] = {}
  for i, name in enumerate(names):
    own = {term: blocks[i] for term, blocks in terms._asdict().items()}
    norm = optax.tree.norm(gradient[i])
    described[f'{name}/gradient_norm'] = norm
    for term, value in own.items():
      described[f'{name}/{term}/relative_norm'] = optax.tree.norm(value) / norm
      described[f'{name}/{term}/cosine'] = cosine(gradient[i], value)
    if coefficients is None:
      continue
    direction = gradient[i]
    for c, value in zip(coefficients[i], own.values(), strict=True):
      direction = optax.tree.add(direction, game.scale_tree(c, value))
    length = optax.tree.norm(direction)
    for c, (term, value) in zip(coefficients[i], own.items(), strict=True):
      share = jnp.abs(c) * optax.tree.norm(value) / length
      described[f'{name}/{term}/share'] = share
  add = optax.tree.add
  product = add(terms.self_norm, terms.other_dot_prod)
  transposed = add(terms.self_norm, terms.other_norm)
  symmetric = optax.tree.norm(add(product, transposed), squared=True)
  antisymmetric = optax.tree.norm(
    optax.tree.sub(product, transposed), squared=True
  )
  described['rotation'] = antisymmetric / (symmetric + antisymmetric)
  described['alignment'] = cosine(gradient, transposed)
  return described


def cosine(first: Any, second: Any) -> jax.Array:
  """Of the angle between two trees; NaN where one is zero."""
  return optax.tree.vdot(first, second) / (
    optax.tree.norm(first) * optax.tree.norm(second)
  )


class Step(NamedTuple):
  """A step of plain descent, to be compared with flows.

  Attributes:
    rule: moves from any point; without history.
    directions: maps joint losses and params to what the rule follows.
    learning_rates: one a player.
    num_updates: of each player in a step; None: one.
    modified: the (n, n) coefficients of rows and of columns of its modified
      flow, in the common time of all players; None where they are not known.
  """

  rule: rules.UpdateRule
  directions: Callable[[JointLosses, Any], Any]
  learning_rates: Sequence[Any]
  num_updates: Sequence[int] | None = None
  modified: tuple[jacobian.Matrix, jacobian.Matrix] | None = None


def describe_drift(
  joint_losses: JointLosses,
  params: game.Params,
  step: Step,
  terms: Terms,
  names: Sequence[str],
) -> dict[str, jax.Array]:
  r"""How far a step ends from the flow that it discretises.

  Points are counted from `params`, so that the rounding of a point beside large
  parameters is not taken for drift.

  Args:
    joint_losses: maps params to a tuple of n losses.
    params: where the step begins.
    step: the step :math:`\Delta`.
    terms: of `gradient_and_terms`.
    names: the players'.

  Returns:
    `e_flow` :math:`= \|\theta_1 - \varphi(\theta)\| / \|\theta_1 - \theta\|`
    with :math:`\varphi` the flow of :math:`n_i h_i \xi_i` over the step;
    `e_modified`, the same for the modified flow, if there is one; and
    `e_uncertainty`, what halving the solver's parts changed of the former: a
    hundredth at most, but where networks have kinks. For each
    player and its first two terms `drift`: :math:`c \|t\|` over the mean length
    of a direction in the step, with c the coefficients that explain the step's
    distance from the flow best, by least squares. It is the effect of a term on
    the path as measured: half a learning rate's worth where nothing is
    cancelled, near zero where it is.
  """

  def losses(way):
    return joint_losses(optax.tree.add(params, way))

  start = optax.tree.zeros_like(params)
  moved, _ = rules.move(
    step.rule,
    lambda way: step.directions(losses, way),
    *(start, step.rule.init(start)),
  )
  length = optax.tree.norm(moved)
  rates = flows.total_rates(step.learning_rates, step.num_updates)
  plain = flows.scaled_field(
    lambda way: game.joint_simultaneous_gradient(losses, way), rates
  )
  end, num_parts, change = _follow(plain, start, moved)
  off = optax.tree.sub(moved, end)
  described = {
    'e_flow': optax.tree.norm(off) / length,
    'e_uncertainty': change / length,
  }
  if step.modified is not None:
    rows, columns = step.modified
    modified = flows.scaled_field(
      lambda way: adjustments.joint_first_order(losses, way, rows, columns),
      rates,
    )
    end = _runge_kutta(modified, start, num_parts)
    rest = optax.tree.sub(moved, end)
    described['e_modified'] = optax.tree.norm(rest) / length
  for i, name in enumerate(names):
    own = [terms.self_norm[i], terms.other_dot_prod[i]]
    shares = _fit(own, game.scale_tree(-1 / rates[i], off[i]))
    norm = optax.tree.norm(moved[i]) / rates[i]
    for term, share in zip(Terms._fields, shares, strict=False):
      described[f'{name}/{term}/drift'] = share / norm
  return described


def _follow(
  field: fields.VectorField, start: Any, moved: Any
) -> tuple[Any, jax.Array, jax.Array]:
  """Flows over unit time, in twice as many parts until that changes little.

  Little is a hundredth of the distance from `moved`. Where the field has kinks,
  as networks with ReLUs do, it may take more parts than there are.

  Returns:
    The end, its number of parts, and how far half as many parts ended from it.
  """

  def distance(end, other):
    return optax.tree.norm(optax.tree.sub(end, other))

  def goes_on(carry):
    num_parts, end, before = carry
    change = distance(end, before)
    # Written so that NaN goes on.
    settled = change <= _LITTLE * distance(end, moved)
    return (num_parts < _MAX_PARTS) & ~settled

  def halve(carry):
    num_parts, end, _ = carry
    num_parts = jnp.maximum(1, 2 * num_parts)
    return num_parts, _runge_kutta(field, start, num_parts), end

  # At least twice, so that there is something to compare; the field is compiled
  # in the loop alone.
  nowhere = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), start)
  num_parts, end, before = jax.lax.while_loop(
    goes_on, halve, (jnp.int32(0), nowhere, nowhere)
  )
  return end, num_parts, distance(end, before)


def _runge_kutta(
  field: fields.VectorField, start: Any, num_parts: jax.Array
) -> Any:
  """Flows over unit time by Runge-Kutta 4; compiles the field but once."""
  part_size = 1 / num_parts

  def evaluate_stage(carry, constants):
    point, direction, total = carry
    ahead, weight = constants
    at = tableaus.descend(point, direction, ahead * part_size)
    direction = field(at)
    return (point, direction, tableaus.descend(total, direction, -weight)), None

  def flow_a_part(_, point):
    nothing = optax.tree.zeros_like(point)
    (*_, total), _ = jax.lax.scan(
      evaluate_stage, (point, nothing, nothing), jnp.asarray(_RUNGE_KUTTA)
    )
    return tableaus.descend(point, total, part_size)

  return jax.lax.fori_loop(0, num_parts, flow_a_part, start)


def _fit(terms: Sequence[Any], target: Any) -> list[jax.Array]:
  """What of a tree each term explains, by least squares: c times its norm."""
  norms = [optax.tree.norm(term) for term in terms]
  safe = [jnp.where(norm == 0, 1, norm) for norm in norms]
  units = [
    game.scale_tree(1 / norm, term)
    for norm, term in zip(safe, terms, strict=True)
  ]
  gram = jnp.stack(
    [jnp.stack([optax.tree.vdot(a, b) for b in units]) for a in units]
  )
  sides = jnp.stack([optax.tree.vdot(unit, target) for unit in units])
  # Terms that are zero, or the same, are no reason for a NaN.
  return list(jnp.linalg.pinv(gram, hermitian=True) @ sides)
