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
"""What a training run shows of its dynamics, measured beside it.

All is of the game of one draw that both players share, the mean over devices;
the mathematics is `differentiable_games.dynamics`. Nothing here changes a run.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import optax

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import training
from differentiable_games import adjustments
from differentiable_games import dynamics
from differentiable_games import game

# Rules whose step begins anew each time, so that one can be made by itself.
_WITHOUT_HISTORY = (
  'simultaneous',
  'alternating',
  'runge_kutta',
  'extragradient',
)
# Real parts above minus this share of the largest modulus count as not
# negative: at most directions a network's loss is flat.
_FLAT = 1e-3
_NUM_LEADING = 5


class Observatory:
  """Measures the game of a config's players."""

  def __init__(
    self,
    config: config_dict.ConfigDict,
    model: gan.GAN,
    trainer: training.Trainer,
  ):
    """Initialises it.

    Args:
      config: the experiment's config.
      model: the GAN.
      trainer: makes the steps that are observed.
    """
    self._config = config
    self._model = model
    self._game = model.as_game()
    self._trainer = trainer

  def observe(
    self, train_state: training.TrainState, draw: Callable[[int], game.Draw]
  ) -> dict[str, jax.Array]:
    """Measures the state; on every device.

    Args:
      train_state: the state.
      draw: maps the number of a draw within the step to the draw.

    Returns:
      Scalars by name: those of `dynamics.describe_terms`, and `sample_spread`,
      the samples' deviation over the data's.
    """
    losses = self._losses(train_state, draw(0))
    gradient, terms = dynamics.gradient_and_terms(losses, train_state.params)
    coefficients = None
    if is_first_order(self._config.training):
      coefficients = self._coefficients(self._trainer.rates(train_state))
    return {
      **dynamics.describe_terms(
        gradient, terms, self._game.names, coefficients
      ),
      'sample_spread': self._sample_spread(train_state, draw(0)),
    }

  def observe_drift(
    self, train_state: training.TrainState, draw: Callable[[int], game.Draw]
  ) -> dict[str, jax.Array]:
    """Measures a step of plain descent from the state.

    Args:
      train_state: the state.
      draw: see `observe`.

    Returns:
      What `dynamics.describe_drift` gives.
    """
    losses = self._losses(train_state, draw(0))
    params = train_state.params
    _, terms = dynamics.gradient_and_terms(losses, params)
    step = self._plain_step(self._trainer.rates(train_state))
    return dynamics.describe_drift(
      losses, params, step, terms, self._game.names
    )

  def gradient(
    self, train_state: training.TrainState, draw: Callable[[int], game.Draw]
  ) -> gan.GANTuple:
    """The simultaneous gradient of a state; see `observe`."""
    losses = self._losses(train_state, draw(0))
    return _simultaneous_gradient(losses, train_state.params)

  def krylov_matrices(
    self, train_state: training.TrainState, draw: Callable[[int], game.Draw]
  ) -> dict[str, jax.Array]:
    """Arnoldi's matrices of the Jacobian, '', and of each player's Hessian.

    Args:
      train_state: the state.
      draw: see `observe`.

    Returns:
      What `describe_spectrum` takes. Each cost
      `training.dynamics.spectrum_products` products.
    """
    params = train_state.params
    losses = self._losses(train_state, draw(0))
    _, product = jax.linearize(
      lambda p: _simultaneous_gradient(losses, p), params
    )
    # Not the gradient: it may lie in a part of the space.
    start = optax.tree.random_like(jax.random.key(0), params)

    def krylov_matrix(shown):
      """Of the Jacobian's rows and columns of some players."""

      def show(tree):
        return jax.tree.map(
          lambda on, own: optax.tree.scale(on, own), shown, tree
        )

      matrix, _ = dynamics.krylov_basis(
        lambda v: show(product(show(v))),
        show(start),
        self._config.training.dynamics.spectrum_products,
      )
      return matrix

    # One after the other, by the same compiled loop.
    players = jnp.array([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
    found = lax.map(lambda shown: krylov_matrix(gan.GANTuple(*shown)), players)
    return dict(zip(('', *self._game.names), found, strict=True))

  def _losses(self, train_state, draw) -> dynamics.JointLosses:
    memory = gan.memory_of(train_state.state)
    return self._game.joint_losses_of(memory, draw, training.AXIS)

  def _coefficients(self, rates) -> gan.GANTuple:
    return training.regularizer_coefficients(self._config.training, rates)

  def _plain_step(self, rates) -> dynamics.Step:
    """A step on one draw, which leaves the networks' memory as it is."""
    config = self._config
    adjustment = training.ADJUSTMENTS[config.training.adjustment]
    kwargs = config.training.adjustment_kwargs.to_dict()
    rows, columns = drift_utils.matrices_of(self._coefficients(rates))

    def directions(joint_losses, params):
      if is_first_order(config.training):
        return dynamics.first_order_directions(
          joint_losses, params, rows, columns
        )
      losses = [lambda p, i=i: joint_losses(p)[i] for i in range(len(params))]
      arguments = (rates,) if adjustment.takes_rates else ()
      found = adjustment.function(losses, params, *arguments, **kwargs)
      return found[0] if adjustment.solves else found

    num_updates = training.num_updates(config.training)
    step = dynamics.Step(
      training.build_rule(
        *(config, [optax.sgd(rate) for rate in rates], True, rates.disc)
      ),
      directions,
      rates,
      num_updates,
    )
    if not has_modified_flow(config.training):
      return step
    takes_turns = training.update_rule(config.training) == 'alternating'
    order = drift_utils.PlayerOrder[config.training.alternating_player_order]
    drift = adjustments.common_time_drift(
      rates,
      num_updates if takes_turns else None,
      drift_utils.player_indices(order) if takes_turns else None,
    )
    total = [
      [a + b for a, b in zip(*both, strict=True)]
      for both in zip(drift, rows, strict=True)
    ]
    return step._replace(drift=total, columns=columns)

  def _sample_spread(self, train_state, draw) -> jax.Array:
    batch, key = draw
    samples, _ = self._model.sample(
      train_state.params.gen,
      train_state.state.players.gen,
      *(key, batch.shape[0], {'is_training': True}),
    )

    def variance(examples):
      return lax.pmean(jnp.var(examples, axis=0).mean(), training.AXIS)

    return jnp.sqrt(variance(samples) / variance(batch))


def _simultaneous_gradient(losses, params) -> gan.GANTuple:
  gradient, _ = game.joint_gradients(lambda p: (losses(p), None), params)
  return gan.GANTuple(gradient((1.0, 0.0), 0), gradient((0.0, 1.0), 1))


def is_first_order(settings: config_dict.ConfigDict) -> bool:
  """Whether players follow gradients with weighted terms, and no more."""
  return settings.adjustment == 'none' and not settings.unrolled_steps


def has_plain_step(config: config_dict.ConfigDict) -> bool:
  """Whether a step is one of descent, whose flow is known.

  Plain SGD, by a rule without history. Runge-Kutta's stages move both players
  at the discriminator's rate, so that the rates must be the same.

  Args:
    config: the experiment's config.
  """
  rule = training.update_rule(config.training)
  disc, gen = config.optimizers.discriminator, config.optimizers.generator
  if any(o.name != 'sgd' or o.clip or o.kwargs for o in (disc, gen)):
    return False
  if rule == 'runge_kutta' and (
    _rate_of(disc) != _rate_of(gen) or _adds_after(config.training)
  ):
    return False
  return (
    rule in _WITHOUT_HISTORY
    and not config.training.lookahead_periods
    and not config.training.unrolled_steps
  )


def has_modified_flow(settings: config_dict.ConfigDict) -> bool:
  """Whether a plain step's modified flow is known."""
  rule = training.update_rule(settings)
  return rule in ('simultaneous', 'alternating') and is_first_order(settings)


def _rate_of(optimizer: config_dict.ConfigDict) -> tuple[Any, ...]:
  kwargs = optimizer.scheduler_kwargs
  return optimizer.lr, optimizer.scheduler, kwargs and kwargs.to_dict()


def _adds_after(settings: config_dict.ConfigDict) -> bool:
  after = settings.grad_regularizes.rk_after_explicit_coeffs
  return any(any(terms.values()) for terms in after.values())


def describe_spectrum(matrices: Mapping[str, np.ndarray]) -> dict[str, float]:
  """What Arnoldi's matrices say of a point, on the host.

  Args:
    matrices: of `Observatory.krylov_matrices`.

  Returns:
    By name: parts of the Jacobian's leading eigenvalues (by modulus), its
    smallest and largest real part; the smallest and largest eigenvalue of each
    player's own Hessian; whether the point is `stable` (no real part below
    zero) and `locally_nash` (no eigenvalue of an own Hessian below zero), 1 or
    0: to within a thousandth of the largest, and of what the products found.
    NaN is never the good verdict.
  """
  values = dynamics.ritz_values(matrices['']).values
  described: dict[str, float] = {}
  for k in range(_NUM_LEADING):
    value = values[k] if k < len(values) else np.nan
    described[f'eigenvalue_{k + 1}/real'] = float(np.real(value))
    described[f'eigenvalue_{k + 1}/imag'] = float(np.imag(value))
  described['smallest_real'] = float(np.real(values).min())
  described['largest_real'] = float(np.real(values).max())
  described['stable'] = float(_is_not_negative(values))
  is_nash = True
  for name in filter(None, matrices):
    own = dynamics.ritz_values(matrices[name], symmetric=True).values
    described[f'{name}/hessian_smallest'] = float(own.min())
    described[f'{name}/hessian_largest'] = float(own.max())
    is_nash = is_nash and _is_not_negative(own)
  described['locally_nash'] = float(is_nash)
  return described


def _is_not_negative(values: np.ndarray) -> bool:
  return bool(np.real(values).min() >= -_FLAT * np.abs(values).max())
