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
"""Every setting of a GAN experiment, declared once: see `SETTINGS`."""

import itertools
import math
from typing import Any

from ml_collections import config_dict

from convolutions_as_products import convolution
from dd_two_player_games import activation_metrics
from dd_two_player_games import data_utils
from dd_two_player_games import drift_utils
from dd_two_player_games import parts
from dd_two_player_games import regularizer_estimates
from dd_two_player_games import rematerialisation
from dd_two_player_games import training as gan_training
from differentiable_games import fields
from differentiable_games import tableaus
from jaxline_harness import optimizers
from jaxline_harness import settings
from jaxline_harness.settings import one_of
from jaxline_harness.settings import only_with
from jaxline_harness.settings import Setting

PLAYERS = ('discriminator', 'generator')
TERMS = ('self_norm', 'other_norm', 'other_dot_prod')
NET_ARGUMENTS = {
  'attention_after': settings.whole(0, 100),
  'depth': settings.whole(0, 100),
  'num_halvings': settings.whole(0, 100),
  'output_shape': settings.list_with(
    '[height, width, channels]', *[settings.SIZE] * 3
  ),
}
ADJUSTMENT_ARGUMENTS = {
  'gamma': settings.REAL,
  'lam': settings.REAL,
  'leader': settings.whole(0, 1),
  'max_iterations': settings.whole(1, 1000),
  'decay': settings.real(0, below=1),
  'epsilon': settings.POSITIVE,
  'tolerance': settings.real(above=0, below=1),
}


# What a config says.


def any_drift(training: config_dict.ConfigDict) -> bool:
  """Whether some drift coefficient has a factor."""
  multipliers = training.grad_regularizes.dd_coeffs_multiplier
  return any(any(terms.values()) for terms in multipliers.values())


def classifier_name(config: config_dict.ConfigDict) -> str:
  """What `eval.classifier` means for these data."""
  if config.eval.classifier != 'auto':
    return config.eval.classifier
  is_fashion = config.dataset.startswith('fashion_mnist')
  return 'fashion_mnist' if is_fashion else 'inception'


def is_adjusted(training: config_dict.ConfigDict) -> bool:
  """Whether the players' gradients are adjusted together, or look ahead."""
  return training.adjustment != 'none' or training.unrolled_steps > 0


def _takes_turns(config: config_dict.ConfigDict) -> bool:
  rule = gan_training.update_rule(config.training)
  # The drift terms of Runge-Kutta are those of alternating updates.
  as_if = rule == 'runge_kutta' and any_drift(config.training)
  return rule == 'alternating' or as_if


# When settings do something, and why else not.

_MADE = data_utils.MADE
_READ = (lambda c: c.dataset not in _MADE, '{dataset} is made, not read')
_CLASSIFIED = (_READ[0], 'points are not classified')
_CONVOLVES = (
  lambda c: {c.nets.discriminator, c.nets.generator} != {'SimpleMLP'},
  'SimpleMLP has none',
)
_INCEPTION = (
  lambda c: _READ[0](c) and classifier_name(c) == 'inception',
  'Inception is not used',
)
_CONDITIONAL = (
  lambda c: _READ[0](c) and c.training.conditional,
  'only samples of a conditional GAN (training.conditional) have labels',
)
_TURNS = (_takes_turns, 'the players do not take turns')
_RUNGE_KUTTA = (
  lambda c: gan_training.update_rule(c.training) == 'runge_kutta',
  'the update rule is another one',
)
_ESTIMATED = (
  lambda c: (
    not (
      parts.ADJUSTMENTS.find(c.training.adjustment).on_one_draw
      or c.training.unrolled_steps
    )
  ),
  'solved and unrolled methods act on one draw',
)
_LOOKAHEAD = only_with('training.lookahead_periods')
_LATENTS_MOVE = only_with('training.latent_optimisation.alpha')
_BACK_OFF = only_with('training.on_nonfinite', 'back_off')
_DRIFTS = (
  lambda c: any_drift(c.training),
  'training.grad_regularizes.dd_coeffs_multiplier is zero',
)
_NONE = (lambda c: False, 'set it to None')
_NEVER = (lambda c: False, 'rk_after_explicit_coeffs are what has one')


# What settings may hold.


def _are_periods(value: Any) -> bool:
  number = settings.whole(1, settings.MAX_INT32)
  return (
    isinstance(value, list | tuple)
    and all(map(number.accepts, value))
    and all(b % a == 0 and b > a for a, b in itertools.pairwise(value))
  )


def _is_tableau(value: Any) -> bool:
  numbers = settings.list_of(settings.REAL)
  return (
    isinstance(value, list | tuple)
    and len(value) == 2
    and numbers.accepts(value[0])
    and settings.list_of(numbers).accepts(value[1])
    and math.isclose(sum(value[0]), 1, rel_tol=1e-6)
    and list(map(len, value[1])) == list(range(1, len(value[0])))
  )


_ESTIMATOR = one_of(
  name
  for name, value in vars(regularizer_estimates).items()
  if isinstance(value, fields.Estimator)
)
_PENALTY = settings.one_or_more(
  settings.list_with(
    '[name, coefficient]', parts.PENALTIES.field(), settings.POSITIVE
  )
)
_TRANSFORMER = one_of(('spectral_norm', 'no_op'))
# Updates of a turn are compiled one after the other.
_UPDATES = settings.whole(1, 1000)
_STEPS = settings.whole(0, 1000)
_INTERVAL = settings.whole(0, settings.MAX_INT32)
_TWO_OR_MORE = settings.whole(2, settings.MAX_SIZE)
_ORDER = settings.Field(
  f'one of {", ".join(map(str, tableaus.RUNGE_KUTTA))}',
  lambda order: settings.SIZE.accepts(order) and order in tableaus.RUNGE_KUTTA,
)
_SHARE = settings.real(above=0, most=1)
_TABLEAU = settings.Field(
  '[weights, rows], weights that sum to 1, and a row for each stage but the '
  'first with as many coefficients as there are stages before it',
  _is_tableau,
)
_ORDER_OF_TURNS = one_of(drift_utils.PlayerOrder.__members__)
_PERIODS = settings.Field(
  'a list of whole numbers, each a multiple of the one before', _are_periods
)


# The settings.


def _of_discriminator(
  default: Any, doc: str, field: settings.Field
) -> settings.Tree:
  return {
    'discriminator': Setting(default, doc, field.or_none()),
    'generator': Setting(None, 'Nothing but None has an effect.', field, _NONE),
  }


COEFFICIENTS = {
  'dd_coeffs_multiplier': Setting(
    0.0, 'Times the coefficient of drift; -1 cancels it.'
  ),
  'explicit_non_dd_coeffs': Setting(0.0, 'Added to that.'),
  'rk_after_explicit_coeffs': Setting(
    0.0, 'Of a term added after all Runge-Kutta stages.', only_if=_RUNGE_KUTTA
  ),
}
_CLIP = Setting(None, 'Bound on each element of an update.', settings.POSITIVE)
_WEIGHT_CLIP = Setting(
  None,
  'Bound on each of its parameters after each update, as a Wasserstein GAN has '
  'it; 0.01 there.',
  settings.POSITIVE,
)
_TRAINING: settings.Tree = {
  'simultaneous_updates': Setting(False, 'Both players move at once.'),
  'runge_kutta_updates': Setting(False, 'Both move by a Runge-Kutta step.'),
  'update_rule': Setting(
    None, 'In place of these two.', parts.UPDATE_RULES.field()
  ),
  'runge_kutta_order': Setting(
    4, 'Of the Runge-Kutta rule.', _ORDER, _RUNGE_KUTTA
  ),
  'runge_kutta_tableau': Setting(
    None, 'In place of runge_kutta_order.', _TABLEAU, _RUNGE_KUTTA
  ),
  'lookahead_periods': Setting(
    [], 'Steps between lookaheads, then between nested ones.', _PERIODS
  ),
  'lookahead_step_size': Setting(
    0.5, 'Share of the way that slow parameters go.', _SHARE, _LOOKAHEAD
  ),
  'generator_average': Setting(
    0.0,
    "β of the average of the generator's parameters, β average + (1 - β) "
    'parameters after each step, which is evaluated beside them; 0: none.',
    settings.real(0, below=1),
  ),
  'alternating_player_order': Setting(
    'disc_first', 'Who moves first in turns.', _ORDER_OF_TURNS, _TURNS
  ),
  'estimator_fn': Setting(
    'unbiased_estimate_fn_lowest_variance',
    'See regularizer_estimates.py.',
    _ESTIMATOR,
    _ESTIMATED,
  ),
  'batch_size': Setting(128, 'Of all devices together.'),
  'num_gen_updates': Setting(1, 'Of the generator in its turn.', _UPDATES),
  'num_disc_updates': Setting(1, 'Of the discriminator in its turn.', _UPDATES),
  'conditional': Setting(
    False,
    "Whether both players are given the data's labels; networks that take them "
    'declare num_classes.',
  ),
  'num_latents': Setting(128, "Dimension of the generator's input."),
  'compute_dtype': Setting(
    'float32', "Of the networks' arithmetic.", one_of(('float32', 'bfloat16'))
  ),
  'rematerialise': Setting(
    rematerialisation.NOTHING,
    'What derivatives compute anew rather than keep: activations, all but what '
    'convolutions and products give; networks, all between their ends. Takes '
    'less memory and more time.',
    one_of((rematerialisation.NOTHING, *rematerialisation.POLICIES)),
  ),
  'on_nonfinite': Setting(
    'stop',
    'After a step with a NaN or an infinity; back_off goes back to the last '
    'checkpoint and on with smaller learning rates.',
    one_of(('stop', 'back_off')),
    changes_no_step=True,
  ),
  'back_off_factor': Setting(
    0.5, 'Of learning rates then.', settings.real(above=0, below=1)
  ),
  'back_off_times': Setting(
    3, 'At most in a run.', _UPDATES, _BACK_OFF, changes_no_step=True
  ),
  'adjustment': Setting(
    'none',
    "Of both players' gradients together, on one draw.",
    parts.ADJUSTMENTS.field(),
  ),
  'adjustment_kwargs': Setting({}, 'Its arguments in differentiable_games.'),
  'unrolled_steps': Setting(
    0, "Of the discriminator, in the generator's gradient.", _STEPS
  ),
  'latent_optimisation': {
    'alpha': Setting(
      0.0,
      'LOGAN moves latents by alpha * g, or with beta by alpha * g / (beta + '
      '|g|^2), and they are uniform; 0: it does not.',
      settings.NOT_NEGATIVE,
    ),
    'beta': Setting(None, 'See alpha.', settings.POSITIVE, _LATENTS_MOVE),
  },
  'on_divergence': Setting(
    'warn',
    'After a loss beyond any sense, samples that are all the same, or lost '
    'modes: one warning, or the end of the run.',
    one_of(('warn', 'stop')),
    changes_no_step=True,
  ),
  'dynamics': settings.change_no_step(
    {
      'every': Setting(
        0,
        'Steps between measurements of norms, terms of drift and rotation; 0: '
        'never.',
        _INTERVAL,
      ),
      'drift_every': Setting(
        10,
        'Measurements from one with the distance between step and flow, which '
        'costs most, to the next; 0: none.',
        _INTERVAL,
        only_with('training.dynamics.every'),
      ),
      'spectrum_every': Setting(
        0, "Steps between those of the Jacobian's spectrum.", _INTERVAL
      ),
      'spectrum_products': Setting(
        30,
        'Products for the spectrum of the Jacobian, and for each own Hessian; '
        'so many copies of the parameters are kept.',
        settings.whole(2, 1000),
        only_with('training.dynamics.spectrum_every'),
      ),
    }
  ),
  'drift_convention': Setting(
    'published',
    'Flow that drift is measured against: each player in its own time, or both '
    'in common time (also right for several updates a turn).',
    one_of(('published', 'joint_flow')),
    _DRIFTS,
    only_warns=True,
  ),
  'grad_regularizes': {
    kind: {player: dict.fromkeys(TERMS, of_term) for player in ('disc', 'gen')}
    for kind, of_term in COEFFICIENTS.items()
  },
  'rk_disc_regularizer_weight_coeff': Setting(
    0.0,
    'In published configs; never had an effect.',
    only_if=_NEVER,
    only_warns=True,
  ),
}
_EVAL: settings.Tree = {
  'every': Setting(
    0, 'Steps between evaluations within training; 0: none.', _INTERVAL
  ),
  'run_image_metrics': Setting(True, 'Whether images or points are measured.'),
  'classifier': Setting(
    'auto',
    'Of IS and FID: Inception, the embedded network, or by the data.',
    one_of(('auto', 'inception', 'fashion_mnist')),
    _CLASSIFIED,
  ),
  'inception_path': Setting(
    '',
    "A folder with Inception's SavedModel, or an .npz or .safetensors of its "
    'weights, which needs no TensorFlow (see metrics.md); empty: TF-Hub.',
    settings.path(),
    _INCEPTION,
  ),
  'batch_size': Setting(16, 'Samples made at once on each device.'),
  'num_eval_splits': Setting(5, 'Splits that metrics are means over.'),
  'num_inception_images': Setting(
    10_000, 'Samples, and real images, of each split.', _TWO_OR_MORE
  ),
  'other_metrics': Setting(
    list(activation_metrics.METRICS),
    'Measured beside IS and FID, on activations of the same classifier.',
    settings.list_of(one_of(activation_metrics.METRICS)),
    _CLASSIFIED,
  ),
  'num_activations': Setting(
    1000,
    'Samples, and real images, at most, of each split that these compare.',
    _TWO_OR_MORE,
    only_with('eval.other_metrics'),
  ),
  'classification_accuracy': Setting(
    0,
    'Labelled samples, and as many real images, that a classifier is trained '
    "on, to be told by the test images' classes; 0: it is not measured.",
    settings.whole(0, settings.MAX_SIZE),
    _CONDITIONAL,
  ),
}
SETTINGS: settings.Tree = {
  'random_seed': Setting(
    0, 'Of parameters, latents and the order of the data.', settings.SEED
  ),
  'dataset': Setting(
    'fashion_mnist_10k',
    'fashion_mnist_10k (embedded), mixture_of_gaussians or gaussian_75 (made), '
    'mnist, cifar10 or another name of tensorflow_datasets, or the path of an '
    '.npz, an .npy or a folder of images.',
  ),
  'data_on': Setting(
    'device',
    'Where the examples are kept: all of them on each device, or on the host, '
    'a folder or an .npy on its disk, from where batches are drawn ahead.',
    one_of(('device', 'host')),
    changes_no_step=True,
  ),
  'data_dir': Setting(
    '',
    'Where data sets lie; empty: as tensorflow_datasets.',
    settings.path(),
    _READ,
  ),
  'data_processor': Setting(
    'ImageProcessor',
    'PointProcessor is for points.',
    parts.PROCESSORS.field(),
  ),
  'optimizers': {
    player: optimizers.declare(lr=1e-2)
    | {'clip': _CLIP}
    | ({'weight_clip': _WEIGHT_CLIP} if player == 'discriminator' else {})
    for player in PLAYERS
  },
  'nets': {
    'discriminator': Setting(
      'DCGANDiscriminator', 'See nets.py.', parts.NETWORKS.field()
    ),
    'disc_kwargs': Setting({}, 'Its arguments.'),
    'generator': Setting(
      'DCGANGenerator', 'See nets.py.', parts.NETWORKS.field()
    ),
    'gen_kwargs': Setting({}, 'Its arguments.'),
    'convolutions': Setting(
      'fast',
      'Computed as the platform does it best, on CPUs as matrix products; or '
      'by XLA everywhere, for comparisons digit by digit.',
      one_of(convolution.IMPLEMENTATIONS),
      _CONVOLVES,
    ),
  },
  'losses': {
    'discriminator': Setting(
      'discriminator_goodfellow_loss',
      'See losses.py.',
      parts.DISC_LOSSES.field(),
    ),
    'generator': Setting(
      'generator_saturating_loss', 'See losses.py.', parts.GEN_LOSSES.field()
    ),
  },
  'penalties': _of_discriminator(
    None, 'Penalties of penalties.py with their coefficients.', _PENALTY
  ),
  'param_transformers': _of_discriminator(
    'no_op', 'no_op tracks singular values only.', _TRANSFORMER
  ),
  'training': _TRAINING,
  'eval': settings.change_no_step(_EVAL),
}
