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
"""Configs of GAN experiments.

A file in `configs/` starts from `get_base_config()` and changes what it needs.
`resolve` turns any config, also one written for the published code, into a
full one, or says in one line what is wrong with it.
"""

from collections.abc import Mapping
from typing import Any

from absl import logging

from dd_two_player_games import config_checks
from dd_two_player_games import metric_names
from dd_two_player_games import settings as own
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import settings

# Names in the published MNIST config.
_FLAT_TERMS = {
  'disc_reg_disc_norm': ('disc', 'self_norm'),
  'disc_reg_gen_dot_prod': ('disc', 'other_dot_prod'),
  'disc_reg_gen_norm': ('disc', 'other_norm'),
  'gen_reg_gen_norm': ('gen', 'self_norm'),
  'gen_reg_disc_dot_prod': ('gen', 'other_dot_prod'),
  'gen_reg_disc_norm': ('gen', 'other_norm'),
}


def _translate_published(experiment_kwargs: dict[str, Any]) -> None:
  """Renames, in place, what published configs call otherwise."""
  given = _fields(experiment_kwargs, 'config')
  if 'num_eval_samples' in given:
    del given['num_eval_samples']
    logging.warning(
      'num_eval_samples has no effect, as in the published code: see '
      'eval.num_inception_images'
    )
  grad_regularizes = _fields(_fields(given, 'training'), 'grad_regularizes')
  for kind in grad_regularizes:
    coefficients = _fields(grad_regularizes, kind)
    for flat, (player, term) in _FLAT_TERMS.items():
      if flat not in coefficients:
        continue
      terms = coefficients.setdefault(player, {})
      if not isinstance(terms, dict) or term in terms:
        raise errors.UserError(
          'config.experiment_kwargs.config.training.grad_regularizes.'
          f'{kind}: {flat} and {player} are both given; they mean the same'
        )
      terms[term] = coefficients.pop(flat)


def _fields(parent: dict[str, Any], name: str) -> dict[str, Any]:
  """The fields under a name; none where it is absent or, wrongly, a value."""
  child = parent.get(name)
  return child if isinstance(child, dict) else {}


SCHEMA = configs.Schema(
  experiment=own.SETTINGS,
  defaults={'training_steps': 100_000},
  metrics=metric_names.MORE_IS_BETTER,
  translate=_translate_published,
  contradictions=config_checks.CONTRADICTIONS,
  check=config_checks.check,
)
get_base_config = SCHEMA.get_base_config
resolve = SCHEMA.resolve


# Regularisers by name, for `training.grad_regularizes`.


def no_regularizers() -> dict[str, Any]:
  """Plain gradients: every coefficient zero."""
  return _grad_regularizes('dd_coeffs_multiplier')


def cancel_interaction_terms() -> dict[str, Any]:
  """Cancels the drift that comes from the other player, for both players."""
  return _grad_regularizes('dd_coeffs_multiplier', other_dot_prod=-1.0)


def strengthen_self_terms() -> dict[str, Any]:
  """Doubles the drift of each player's own gradient norm."""
  return _grad_regularizes('dd_coeffs_multiplier', self_norm=1.0)


def consensus(lam: float) -> dict[str, Any]:
  """Consensus optimisation: both players also descend λ(‖ξ_d‖² + ‖ξ_g‖²)/2."""
  return _grad_regularizes(
    'explicit_non_dd_coeffs', self_norm=lam, other_norm=lam
  )


def sga(lam: float) -> dict[str, Any]:
  """Symplectic gradient adjustment: both players add λ(Jᵀξ - Jξ)/2.

  The players' own Hessians are symmetric, so that only the mixed terms are
  left. In a zero-sum game the two are equal, and this is `other_norm` = λ.
  """
  return _grad_regularizes(
    'explicit_non_dd_coeffs', other_norm=lam / 2, other_dot_prod=-lam / 2
  )


def combine(*regularizers: Mapping[str, Any]) -> dict[str, Any]:
  """The sum of several `grad_regularizes`, coefficient by coefficient."""
  return {
    kind: {
      player: {
        term: sum(r[kind][player][term] for r in regularizers)
        for term in own.TERMS
      }
      for player in ('disc', 'gen')
    }
    for kind in own.COEFFICIENTS
  }


def _grad_regularizes(kind: str, **terms: float) -> dict[str, Any]:
  """These terms for both players, and 0 for all others."""
  of_player = {term: float(value) for term, value in terms.items()}
  return settings.add_defaults(
    own.SETTINGS['training']['grad_regularizes'],
    {kind: {'disc': of_player, 'gen': of_player}},
  )
