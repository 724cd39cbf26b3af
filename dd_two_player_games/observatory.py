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
the mathematics is that of `dynamics` and `spectra` in `differentiable_games`.
Nothing here changes a run.
"""

from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from ml_collections import config_dict
import optax

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import labelled
from dd_two_player_games import parts
from dd_two_player_games import training
from differentiable_games import adjustments
from differentiable_games import dynamics
from differentiable_games import game
from differentiable_games import spectra

# Rules whose step begins anew each time, so that one can be made by itself.
_WITHOUT_HISTORY = (
  'simultaneous',
  'alternating',
  'runge_kutta',
  'extragradient',
)


class Observatory:
  """Measures the game of a config's players.

  Attributes:
    names: the players'.
  """

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
    self.names = self._game.names
    self._trainer = trainer

  def observe(
    self, train_state: training.TrainState, draw: game.Draw
  ) -> dict[str, jax.Array]:
    """Measures a state; on every device.

    Args:
      train_state: the state.
      draw: this device's minibatch and key.

    Returns:
      Scalars by name: those of `dynamics.describe_terms`, and `sample_spread`,
      the samples' deviation over the data's.
    """
    gradient, terms = dynamics.gradient_and_terms(
      self._losses(train_state, draw), train_state.params
    )
    coefficients = None
    if is_first_order(self._config.training):
      coefficients = self._coefficients(self._trainer.rates(train_state))
    return {
      **dynamics.describe_terms(gradient, terms, self.names, coefficients),
      'sample_spread': self._sample_spread(train_state, draw),
    }

  def observe_drift(
    self, train_state: training.TrainState, draw: game.Draw
  ) -> dict[str, jax.Array]:
    """`dynamics.describe_drift` of a step of plain descent; see `observe`."""
    losses = self._losses(train_state, draw)
    _, terms = dynamics.gradient_and_terms(losses, train_state.params)
    step = self._plain_step(self._trainer.rates(train_state))
    return dynamics.describe_drift(
      losses, train_state.params, step, terms, self.names
    )

  def gradient(
    self, train_state: training.TrainState, draw: game.Draw
  ) -> gan.GANTuple:
    """The simultaneous gradient of a state; see `observe`."""
    return game.joint_simultaneous_gradient(
      self._losses(train_state, draw), train_state.params
    )

  def krylov_matrices(
    self, train_state: training.TrainState, draw: game.Draw
  ) -> jax.Array:
    """`spectra.krylov_matrices` of a state; see `observe`."""
    return spectra.krylov_matrices(
      self._losses(train_state, draw),
      train_state.params,
      self._config.training.dynamics.spectrum_products,
    )

  def _losses(self, train_state, draw) -> dynamics.JointLosses:
    memory = gan.memory_of(train_state.state)
    return self._game.joint_losses_of(memory, draw, training.AXIS)

  def _coefficients(self, rates) -> gan.GANTuple:
    return training.regularizer_coefficients(self._config.training, rates)

  def _plain_step(self, rates) -> dynamics.Step:
    """A step on one draw, which leaves the networks' memory as it is."""
    config = self._config
    adjustment = parts.ADJUSTMENTS.find(config.training.adjustment)
    kwargs = config.training.adjustment_kwargs.to_dict()
    rows, columns = drift_utils.matrices_of(self._coefficients(rates))

    def directions(joint_losses, params):
      if is_first_order(config.training):
        return adjustments.joint_first_order(
          joint_losses, params, rows, columns
        )
      losses = [lambda p, i=i: joint_losses(p)[i] for i in range(len(params))]
      arguments = (rates,) if adjustment.takes_rates else ()
      found = adjustment.function(losses, params, *arguments, **kwargs)
      return found.direction if adjustment.solves else found

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
    return step._replace(modified=(total, columns))

  def _sample_spread(self, train_state, draw) -> jax.Array:
    batch, key = draw
    examples = gan.examples_of(batch)
    samples, _ = self._model.sample(
      train_state.params.gen,
      train_state.state.players.gen,
      *(key, examples.shape[0]),
      {'is_training': True, **labelled.arguments_of(batch)},
    )

    def variance(examples):
      return lax.pmean(jnp.var(examples, axis=0).mean(), training.AXIS)

    return jnp.sqrt(variance(samples) / variance(examples))


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
    and not parts.ADJUSTMENTS.find(config.training.adjustment).sets_rates
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
