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
"""Every setting of a GAN experiment, its default, and one line on it.

A file in `configs/` starts from `get_base_config()` and changes what it needs.
`resolve` turns any config, also one written for the published code, into a
full one, or says in one line what is wrong with it.
"""

from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import config_dict

from jaxline_harness import configs
from jaxline_harness import errors

TERMS = ('self_norm', 'other_norm', 'other_dot_prod')
COEFFICIENTS = (
  'dd_coeffs_multiplier',
  'explicit_non_dd_coeffs',
  'rk_after_explicit_coeffs',
)

# Names in the published MNIST config.
_FLAT_TERMS = {
  'disc_reg_disc_norm': ('disc', 'self_norm'),
  'disc_reg_gen_dot_prod': ('disc', 'other_dot_prod'),
  'disc_reg_gen_norm': ('disc', 'other_norm'),
  'gen_reg_gen_norm': ('gen', 'self_norm'),
  'gen_reg_disc_dot_prod': ('gen', 'other_dot_prod'),
  'gen_reg_disc_norm': ('gen', 'other_norm'),
}


def get_base_config() -> config_dict.ConfigDict:
  """Returns all settings with their defaults: the published ones."""
  config = configs.get_base_config()
  config.interval_type = 'steps'
  config.training_steps = 100_000
  config.log_tensors_interval = 100
  config.log_train_data_interval = 100
  config.save_checkpoint_interval = 1000
  config.experiment_kwargs = config_dict.ConfigDict(
    {
      'config': {
        # Decides initial parameters, latents and the order of the data.
        'random_seed': 0,
        # fashion_mnist_10k (embedded), mixture_of_gaussians or gaussian_75
        # (made), mnist, cifar10 or another name of tensorflow_datasets, or the
        # path of an .npz or a folder of images.
        'dataset': 'fashion_mnist_10k',
        # Where data sets lie; empty: where tensorflow_datasets keeps them.
        'data_dir': '',
        # ImageProcessor, or PointProcessor for points. See data_utils.py.
        'data_processor': 'ImageProcessor',
        'optimizers': {
          'discriminator': _optimizer(),
          'generator': _optimizer(),
        },
        'nets': {  # See nets.py.
          'discriminator': 'DCGANDiscriminator',
          'disc_kwargs': {},
          'generator': 'DCGANGenerator',
          'gen_kwargs': {},
        },
        'losses': {  # See losses.py.
          'discriminator': 'discriminator_goodfellow_loss',
          'generator': 'generator_saturating_loss',
        },
        # None, or [name in losses.py, coefficient].
        'penalties': {'discriminator': None, 'generator': None},
        # None, spectral_norm or no_op (tracks singular values only).
        'param_transformers': {'discriminator': 'no_op', 'generator': None},
        'training': {
          # At most one of the next two; neither: the players take turns.
          'simultaneous_updates': False,
          'runge_kutta_updates': False,
          # In place of the two: simultaneous, alternating, runge_kutta,
          # extragradient or extrapolation_from_the_past; None: by the two.
          'update_rule': None,
          'runge_kutta_order': 4,  # 1, 2 or 4.
          # In place of the order any explicit rule, [weights, rows]: a weight a
          # stage, and for each stage but the first the coefficients of those
          # before it. Ralston's: [[1/4, 3/4], [[2/3]]].
          'runge_kutta_tableau': None,
          # Lookahead-minmax around any rule: after so many steps, and nested
          # after multiples of them; empty: none.
          'lookahead_periods': [],
          'lookahead_step_size': 0.5,
          'alternating_player_order': 'disc_first',  # Or gen_first.
          # How regularisers are estimated; see regularizer_estimates.py.
          'estimator_fn': 'unbiased_estimate_fn_lowest_variance',
          # Of all devices together.
          'batch_size': 128,
          # Of each player in its turn.
          'num_gen_updates': 1,
          'num_disc_updates': 1,
          'num_latents': 128,
          # Of the networks' arithmetic: float32, or bfloat16 (faster on
          # accelerators). Parameters and losses are float32 with either.
          'compute_dtype': 'float32',
          # After a step with a NaN or an infinity: stop; or back_off, go back
          # to the last checkpoint, all learning rates times the factor, at
          # most so many times in a run.
          'on_nonfinite': 'stop',
          'back_off_factor': 0.5,
          'back_off_times': 3,
          # Of both players' gradients together, on one draw: none, sga,
          # consensus, lola, competitive or follow_the_ridge, and the keyword
          # arguments of that function of differentiable_games.
          'adjustment': 'none',
          'adjustment_kwargs': {},
          # Steps of the discriminator that the generator looks ahead.
          'unrolled_steps': 0,
          # LOGAN's step of the latents: alpha * g, with beta alpha * g /
          # (beta + |g|^2). No step with alpha 0; else latents are uniform.
          'latent_optimisation': {'alpha': 0.0, 'beta': None},
          # Which flow drift is measured against: 'published' (each player in
          # its own time) or 'joint_flow' (both in common time, also right for
          # several updates a turn). See drift_utils.py.
          'drift_convention': 'published',
          'grad_regularizes': no_regularizers(),
          # Had no effect in the published code and has none here.
          'rk_disc_regularizer_weight_coeff': 0.0,
        },
        'eval': {
          # IS and FID of images; modes and quality of the mixture; how far
          # the Gaussian's covariance is off.
          'run_image_metrics': True,
          # What IS and FID are measured with: inception, fashion_mnist (the
          # embedded network), or auto: the latter for Fashion-MNIST.
          'classifier': 'auto',
          # A local folder of the Inception SavedModel; empty: TF-Hub.
          'inception_path': '',
          # Samples made at once on each device.
          'batch_size': 16,
          'num_eval_splits': 5,
          # Samples, and real images, in each split.
          'num_inception_images': 10_000,
        },
      }
    }
  )
  return config


def _optimizer() -> dict[str, Any]:
  return {
    # `momentum`, or any optax alias. See jaxline_harness/optimizers.py.
    'name': 'sgd',
    'lr': 1e-2,
    # Bound on the size of each element of an update, or None.
    'clip': None,
    'kwargs': {},
    # Name of an optax schedule that starts from `lr`, or None.
    'scheduler': None,
    'scheduler_kwargs': {},
  }


# Regularisers by name, for `training.grad_regularizes`.


def no_regularizers() -> dict[str, Any]:
  """Plain gradients: every coefficient zero."""
  return _grad_regularizes('dd_coeffs_multiplier', {})


def cancel_interaction_terms() -> dict[str, Any]:
  """Cancels the drift that comes from the other player, for both players."""
  return _grad_regularizes('dd_coeffs_multiplier', {'other_dot_prod': -1.0})


def strengthen_self_terms() -> dict[str, Any]:
  """Doubles the drift of each player's own gradient norm."""
  return _grad_regularizes('dd_coeffs_multiplier', {'self_norm': 1.0})


def consensus(lam: float) -> dict[str, Any]:
  """Consensus optimisation: both players also descend λ(‖ξ_d‖² + ‖ξ_g‖²)/2."""
  return _grad_regularizes(
    'explicit_non_dd_coeffs', {'self_norm': lam, 'other_norm': lam}
  )


def sga(lam: float) -> dict[str, Any]:
  """Symplectic gradient adjustment: both players add λ(Jᵀξ - Jξ)/2.

  The players' own Hessians are symmetric, so that only the mixed terms are
  left. In a zero-sum game the two are equal, and this is `other_norm` = λ.
  """
  return _grad_regularizes(
    'explicit_non_dd_coeffs',
    {'other_norm': lam / 2, 'other_dot_prod': -lam / 2},
  )


def combine(*regularizers: Mapping[str, Any]) -> dict[str, Any]:
  """The sum of several `grad_regularizes`, coefficient by coefficient."""
  return {
    kind: {
      player: {
        term: sum(r[kind][player][term] for r in regularizers) for term in TERMS
      }
      for player in ('disc', 'gen')
    }
    for kind in COEFFICIENTS
  }


def _grad_regularizes(kind: str, terms: Mapping[str, float]) -> dict[str, Any]:
  def coefficients(of_kind):
    chosen = terms if of_kind == kind else {}
    return {term: float(chosen.get(term, 0.0)) for term in TERMS}

  return {
    of_kind: {player: coefficients(of_kind) for player in ('disc', 'gen')}
    for of_kind in COEFFICIENTS
  }


def update_rule(training: config_dict.ConfigDict) -> str:
  """The update rule's name, by its field or by the published booleans."""
  if training.update_rule:
    return training.update_rule
  if training.simultaneous_updates:
    return 'simultaneous'
  return 'runge_kutta' if training.runge_kutta_updates else 'alternating'


# From a config file to a full config.


def resolve(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  """Fills in defaults, translates published names and checks every field.

  Args:
    config: what a config file made, overrides applied; it is changed.

  Returns:
    The same config, full.

  Raises:
    UserError: for an unknown field, or a value that cannot be right.
  """
  from dd_two_player_games import config_checks

  configs.fill_in(
    config,
    get_base_config(),
    lambda given: _translate_published(_fields(given, 'config')),
  )
  config_checks.check(config)
  return config


def _translate_published(given: dict[str, Any]) -> None:
  """Renames, in place, what published configs call otherwise."""
  if 'num_eval_samples' in given:
    del given['num_eval_samples']
    logging.warning(
      'num_eval_samples has no effect, as in the published code: see '
      'eval.num_inception_images'
    )
  training = _fields(given, 'training')
  if training.get('rk_disc_regularizer_weight_coeff'):
    logging.warning(
      'training.rk_disc_regularizer_weight_coeff has no effect, as in the '
      'published code: see training.grad_regularizes.rk_after_explicit_coeffs'
    )
  grad_regularizes = _fields(training, 'grad_regularizes')
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
