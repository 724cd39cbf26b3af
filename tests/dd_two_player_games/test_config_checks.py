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
"""What a config must not say, and what it is warned about."""

import logging

import jax.numpy as jnp
import optax
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import penalties
from jaxline_harness import errors

PREFIX = 'config.experiment_kwargs.config.'


def make_config(settings=None, **top_level):
  """A config file's config: dotted names of the experiment, and others."""
  config = base_config.get_base_config().unlock()
  for name, value in top_level.items():
    config[name] = value
  for name, value in (settings or {}).items():
    *parents, last = name.split('.')
    node = config.experiment_kwargs.config
    for parent in parents:
      node = node[parent]
    with node.ignore_type():
      node[last] = value
  return config


def error_of(settings=None, **top_level):
  with pytest.raises(errors.UserError) as caught:
    base_config.resolve(make_config(settings, **top_level))
  message = str(caught.value)
  assert '\n' not in message
  return message


# Names.


@pytest.mark.parametrize(
  ('field', 'value', 'ending'),
  [
    (
      'losses.discriminator',
      'discriminator_goodfelow_loss',
      'did you mean discriminator_goodfellow_loss?',
    ),
    (
      'losses.generator',
      'generator_saturated_loss',
      'did you mean generator_saturating_loss?',
    ),
    ('losses.generator', 'hinge', 'did you mean hinge_generator_loss?'),
    ('losses.generator', None, '_non_saturating_generator_loss, …'),
    ('optimizers.generator.name', None, 'amsgrad, fromage'),
    (
      'optimizers.discriminator.name',
      'adamm',
      'did you mean adam?',
    ),
    (
      'optimizers.generator.scheduler',
      'cosine_decay_schedul',
      'did you mean cosine_decay_schedule?',
    ),
    (
      'nets.discriminator',
      'CifarDiscriminater',
      'did you mean CifarDiscriminator?',
    ),
    (
      'nets.generator',
      'MNISTGenerator',
      'did you mean MnistGenerator?',
    ),
    (
      'training.estimator_fn',
      'unbiased_estimate_fn_low_variance',
      'did you mean unbiased_estimate_fn_lowest_variance?',
    ),
    (
      'training.alternating_player_order',
      'discfirst',
      'did you mean disc_first?',
    ),
    ('training.drift_convention', 'joint', 'did you mean joint_flow?'),
    ('data_processor', 'ImageProcesor', 'did you mean ImageProcessor?'),
    (
      'param_transformers.discriminator',
      'spectral_normalisation',
      'did you mean spectral_norm?',
    ),
    ('eval.classifier', 'inceptionv3', 'did you mean inception?'),
  ],
)
def test_wrong_name(field, value, ending):
  message = error_of({field: value})
  assert message.startswith(f'{PREFIX}{field}: there is no {value!r}; ')
  assert message.endswith(ending)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    # A loss, a module and an estimator that exist, in the wrong place.
    ('losses.discriminator', 'generator_goodfellow_loss'),
    ('losses.generator', 'wgan_gradient_penalty_loss'),
    ('nets.discriminator', 'NoOpTree'),
    ('nets.generator', 'spectral_norm'),
    ('training.compute_dtype', 'bfloat'),
    ('nets.convolutions', 'winograd'),
    ('training.estimator_fn', 'two_data_estimate_grad_fn'),
    ('training.estimator_fn', 'biased_estimate_general_grad_fn'),
    ('optimizers.generator.name', 'chain'),
    ('optimizers.generator.name', 'lbfgs'),
    ('optimizers.generator.scheduler', 'join_schedules'),
    ('data_processor', 'DataProcessor'),
  ],
)
def test_name_of_something_else(field, value):
  assert error_of({field: value}).startswith(
    f'{PREFIX}{field}: there is no {value!r}'
  )


@pytest.mark.parametrize(
  'name', ['sgd', 'momentum', 'adam', 'rmsprop', 'adagrad', 'lion', 'adamw']
)
def test_optax_aliases_are_optimisers(name):
  kwargs = {'momentum': 0.9} if name == 'momentum' else {}
  settings = {
    'optimizers.generator.name': name,
    'optimizers.generator.kwargs': kwargs,
  }
  resolved = base_config.resolve(make_config(settings))
  assert resolved.experiment_kwargs.config.optimizers.generator.name == name


def test_schedules_of_the_published_configs_are_known():
  for name, kwargs in (
    (
      'piecewise_constant_schedule',
      {'boundaries_and_scales': {'100': 0.1, '1000': 0.1}},
    ),
    ('exponential_decay', {'transition_steps': 10, 'decay_rate': 0.5}),
    ('cosine_decay_schedule', {'decay_steps': 100}),
    (
      'warmup_cosine_decay_schedule',
      {'peak_value': 0.1, 'warmup_steps': 5, 'decay_steps': 100},
    ),
  ):
    assert callable(getattr(optax, name))
    base_config.resolve(
      make_config(
        {
          'optimizers.generator.scheduler': name,
          'optimizers.generator.scheduler_kwargs': kwargs,
        }
      )
    )


# Types and ranges.


@pytest.mark.parametrize(
  ('field', 'value', 'expected'),
  [
    ('random_seed', 'x', 'a whole number from 0 to 4294967295'),
    ('random_seed', -1, 'a whole number from 0 to 4294967295'),
    # PRNGKey takes it for 0.
    ('random_seed', 2**32, 'a whole number from 0 to 4294967295'),
    ('dataset', 3, 'a string that is not empty'),
    ('data_dir', None, 'a path, or empty'),
    ('training.batch_size', 2.5, 'a whole number from 1 to 1048576'),
    ('training.batch_size', True, 'a whole number from 1 to 1048576'),
    ('training.batch_size', 0, 'a whole number from 1 to 1048576'),
    ('training.num_latents', 0, 'a whole number from 1 to 1048576'),
    ('training.num_disc_updates', 0, 'a whole number from 1 to 1000'),
    ('training.num_gen_updates', -1, 'a whole number from 1 to 1000'),
    ('training.simultaneous_updates', 'yes', 'True or False'),
    ('training.runge_kutta_updates', 1, 'True or False'),
    (
      'training.grad_regularizes.dd_coeffs_multiplier.disc.self_norm',
      '1',
      'a finite number from -1000000 up to 1000000',
    ),
    (
      'training.grad_regularizes.explicit_non_dd_coeffs.gen.other_norm',
      float('nan'),
      'a finite number from -1000000 up to 1000000',
    ),
    (
      'optimizers.discriminator.lr',
      -0.1,
      'a finite number above 0 up to 1000000',
    ),
    ('optimizers.generator.lr', 0.0, 'a finite number above 0 up to 1000000'),
    ('optimizers.generator.lr', None, 'a finite number above 0 up to 1000000'),
    (
      'optimizers.generator.lr',
      float('inf'),
      'a finite number above 0 up to 1000000',
    ),
    (
      'optimizers.generator.clip',
      0.0,
      'a finite number above 0 up to 1000000, or None',
    ),
    ('eval.run_image_metrics', 1, 'True or False'),
    ('eval.batch_size', 0, 'a whole number from 1 to 1048576'),
    ('eval.num_eval_splits', 0, 'a whole number from 1 to 1048576'),
    ('eval.num_inception_images', 1, 'a whole number from 2 to 1048576'),
    ('eval.inception_path', None, 'a path, or empty'),
  ],
)
def test_wrong_value(field, value, expected):
  message = error_of({field: value})
  assert message == f'{PREFIX}{field} must be {expected}, not {value!r}'


@pytest.mark.parametrize('order', [3, 5, 0, '4', 4.0, True, None, [4]])
def test_wrong_runge_kutta_order(order):
  message = error_of(
    {
      'training.runge_kutta_updates': True,
      'training.runge_kutta_order': order,
    }
  )
  assert 'training.runge_kutta_order' in message
  assert repr(order) in message
  assert '1, 2, 4' in message


@pytest.mark.parametrize(
  ('settings', 'problem'),
  [
    (
      {'name': 'adam', 'kwargs': {'bb1': 0.5}},
      'kwargs.bb1 does not exist; did you mean b1?',
    ),
    (
      {'name': 'sgd', 'kwargs': {'learning_rate': 0.5}},
      'kwargs.learning_rate does not exist; there is momentum, nesterov, '
      'accumulator_dtype',
    ),
    ({'name': 'momentum'}, 'kwargs.momentum is missing: momentum needs it'),
    (
      {'name': 'adam', 'kwargs': {'b2': 1.0}},
      'kwargs.b2 must be a finite number from 0 below 1, not 1.0',
    ),
    (
      {'name': 'adam', 'kwargs': {'b1': -1}},
      'kwargs.b1 must be a finite number above -1 below 1, not -1',
    ),
    (
      {'name': 'adam', 'kwargs': {'nesterov': 1}},
      'kwargs.nesterov must be True or False, not 1',
    ),
    (
      {'name': 'yogi', 'kwargs': {'eps': True}},
      'kwargs.eps must be a finite number from 0 up to 1000000, not True',
    ),
    (
      {'name': 'rprop', 'kwargs': {'eta_plus': [1.2]}},
      'kwargs.eta_plus must be a finite number from -1000000 up to 1000000, '
      'not [1.2]',
    ),
    (
      {'name': 'adam', 'kwargs': {'mu_dtype': float('nan')}},
      'kwargs.mu_dtype must be free of NaN and infinity, or None, not nan',
    ),
    (
      {'kwargs': {'nesterov': True}},
      'kwargs.nesterov has no effect without momentum',
    ),
    (
      {'scheduler': 'exponential_decay', 'scheduler_kwargs': {'decay_rat': 1}},
      'scheduler_kwargs.decay_rat does not exist; did you mean decay_rate?',
    ),
    (
      {'scheduler': 'cosine_decay_schedule', 'scheduler_kwargs': None},
      'scheduler_kwargs.decay_steps is missing: cosine_decay_schedule needs it',
    ),
    (
      {
        'scheduler': 'cosine_decay_schedule',
        'scheduler_kwargs': {'decay_steps': 0},
      },
      'scheduler_kwargs.decay_steps must be a whole number from 1 to '
      '2147483647, not 0',
    ),
    (
      {
        'scheduler': 'piecewise_constant_schedule',
        'scheduler_kwargs': {'boundaries_and_scales': {'many': 0.1}},
      },
      'scheduler_kwargs.boundaries_and_scales must be a mapping of steps to '
      "scales that are not negative, or None, not {'many': 0.1}",
    ),
  ],
)
def test_arguments_that_optax_does_not_take(settings, problem):
  message = error_of(
    {f'optimizers.generator.{k}': v for k, v in settings.items()}
  )
  assert message == f'{PREFIX}optimizers.generator.{problem}'


@pytest.mark.parametrize(
  'settings',
  [
    {'name': 'adam', 'kwargs': {'mu_dtype': 'float31'}},
    {
      'scheduler': 'warmup_cosine_decay_schedule',
      'scheduler_kwargs': {
        'peak_value': 1.0,
        'warmup_steps': 9,
        'decay_steps': 3,
      },
    },
  ],
)
def test_what_only_optax_knows(settings):
  message = error_of(
    {f'optimizers.generator.{k}': v for k, v in settings.items()}
  )
  assert message.startswith(
    f'{PREFIX}optimizers.generator: optax does not take these settings: '
  )


@pytest.mark.parametrize('momentum', [-0.5, 0, 0.9, None])
def test_momentum_may_be_negative(momentum):
  # Gidel et al., "Negative Momentum for Improved Game Dynamics", 2019.
  kwargs = {'momentum': momentum}
  base_config.resolve(make_config({'optimizers.generator.kwargs': kwargs}))


def test_arguments_of_a_schedule_without_one():
  message = error_of({'optimizers.generator.scheduler_kwargs': {'a': 1}})
  assert message == (
    f'{PREFIX}optimizers.generator.scheduler_kwargs has no effect without a '
    'scheduler'
  )


@pytest.mark.parametrize(
  ('field', 'kwargs', 'problem'),
  [
    ('disc_kwargs', {'chanels': [3]}, 'chanels does not exist; did you mean '),
    ('gen_kwargs', {'width': 3}, 'width does not exist; there is channels, '),
    ('disc_kwargs', {'channels': 3}, 'channels must be a list, each item a w'),
    ('gen_kwargs', {'channels': [8, 0]}, 'channels must be a list, each item'),
    ('gen_kwargs', {'output_size': 10**12}, 'output_size must be a whole num'),
    ('disc_kwargs', {'negative_slope': '0.1'}, 'negative_slope must be a fin'),
  ],
)
def test_arguments_that_a_network_does_not_take(field, kwargs, problem):
  message = error_of({f'nets.{field}': kwargs})
  assert message.startswith(f'{PREFIX}nets.{field}.{problem}')


def test_a_function_as_an_argument():
  settings = {'nets.generator': 'MnistGenerator'}
  field = 'nets.gen_kwargs'
  good = {field: {'last_layer_activation': jnp.sin}}
  base_config.resolve(make_config(settings | good))
  bad = {field: {'last_layer_activation': 'sin'}}
  assert error_of(settings | bad) == (
    f"{PREFIX}{field}.last_layer_activation must be a function, not 'sin'"
  )


# Contradictions.


def test_two_update_rules_at_once():
  message = error_of(
    {
      'training.simultaneous_updates': True,
      'training.runge_kutta_updates': True,
    }
  )
  assert 'training.simultaneous_updates' in message
  assert '.runge_kutta_updates' in message
  assert 'choose one' in message


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    (
      {'update_rule': 'extragradient', 'simultaneous_updates': True},
      'training.simultaneous_updates=True and .update_rule=extragradient: '
      'choose one update rule',
    ),
    (
      {'update_rule': 'extragradent'},
      "there is no 'extragradent'; did you mean extragradient?",
    ),
    (
      {
        'update_rule': 'extragradient',
        'grad_regularizes': base_config.cancel_interaction_terms(),
      },
      'extragradient has no drift of this form',
    ),
    (
      {'update_rule': 'extragradient', 'num_gen_updates': 2},
      'a step of extragradient makes one update a player',
    ),
    (
      {'adjustment': 'sga'},
      'adjustment_kwargs.lam is missing: symplectic_gradient needs it',
    ),
    (
      {'adjustment': 'sga', 'adjustment_kwargs': {'lamb': 1.0}},
      'adjustment_kwargs.lamb does not exist; did you mean lam?',
    ),
    (
      {'adjustment_kwargs': {'lam': 1.0}},
      'adjustment_kwargs.lam does not exist',
    ),
    (
      {'adjustment': 'lola', 'grad_regularizes': base_config.consensus(0.1)},
      'explicit_non_dd_coeffs.disc.other_norm is 0.1, but does not go with '
      'training.adjustment=lola',
    ),
    (
      {'unrolled_steps': 2, 'estimator_fn': 'biased_estimate_grad_fn'},
      "estimator_fn='biased_estimate_grad_fn' has no effect: ",
    ),
    (
      {
        'adjustment': 'competitive',
        'adjustment_kwargs': {'zero_sum': True},
        'unrolled_steps': 1,
      },
      "zero_sum=True, but the players' losses do not cancel",
    ),
    (
      {
        'adjustment': 'competitive',
        'adjustment_kwargs': {'max_iterations': 10**6},
      },
      'max_iterations must be a whole number from 1 to 1000, not 1000000',
    ),
    (
      {
        'adjustment': 'adaptive_competitive',
        'adjustment_kwargs': {'decay': 1.0},
      },
      'adjustment_kwargs.decay must be a finite number from 0 below 1, not 1.0',
    ),
    (
      {
        'adjustment': 'competitive',
        'adjustment_kwargs': {'memory': None},
      },
      'adjustment_kwargs.memory does not exist',
    ),
    (
      {'lookahead_periods': [5, 12]},
      'a list of whole numbers, each a multiple of the one before, not',
    ),
    (
      {'runge_kutta_tableau': [[0.5, 0.5], [[1.0]]]},
      'has no effect: the update rule is another one',
    ),
    (
      {'update_rule': 'runge_kutta', 'runge_kutta_tableau': [[0.5, 0.5], []]},
      'runge_kutta_tableau must be [weights, rows], weights that sum to 1',
    ),
    (
      {
        'update_rule': 'runge_kutta',
        'runge_kutta_tableau': [[0.5, 0.5], [[1.0]]],
        'runge_kutta_order': 2,
      },
      'has no effect: training.runge_kutta_tableau replaces it',
    ),
    (
      {'lookahead_step_size': 0.8},
      'has no effect: training.lookahead_periods is []',
    ),
    (
      {'latent_optimisation': {'beta': 5.0}},
      'has no effect: training.latent_optimisation.alpha is 0',
    ),
  ],
)
def test_dynamics_that_do_not_go_together(settings, expected):
  message = error_of(
    {f'training.{name}': value for name, value in settings.items()}
  )
  assert expected in message


def test_convolutions_of_networks_that_have_none():
  simple = {'nets.generator': 'SimpleMLP', 'nets.gen_kwargs.out_dim': 2}
  base_config.resolve(make_config({**simple, 'nets.convolutions': 'xla'}))
  message = error_of(
    {**simple, 'nets.discriminator': 'SimpleMLP', 'nets.convolutions': 'xla'}
  )
  assert message.endswith(
    "convolutions='xla' has no effect: SimpleMLP has none"
  )


def test_only_losses_that_cancel_are_zero_sum():
  settings = {
    'training.adjustment': 'competitive',
    'training.adjustment_kwargs': {'zero_sum': True},
  }
  base_config.resolve(make_config(settings))
  non_saturating = {'losses.generator': 'generator_goodfellow_loss'}
  assert 'do not cancel' in error_of(settings | non_saturating)


@pytest.mark.parametrize(
  'pair',
  [
    ('f_gan_kl_discriminator_loss', 'f_gan_kl_generator_loss'),
    ('mmd_linear_discriminator_loss', 'mmd_linear_generator_loss'),
    ('discriminator_square_loss', 'generator_square_loss'),
  ],
)
def test_other_losses_that_cancel(pair):
  settings = {
    'training.adjustment': 'competitive',
    'training.adjustment_kwargs': {'zero_sum': True},
    'losses.discriminator': pair[0],
  }
  base_config.resolve(make_config(settings | {'losses.generator': pair[1]}))
  other = {
    'f_gan_kl_generator_loss': 'f_gan_pearson_generator_loss',
    'mmd_linear_generator_loss': 'mmd_rbf_generator_loss',
    'generator_square_loss': 'generator_non_saturating_square_loss',
  }[pair[1]]
  assert 'do not cancel' in error_of(settings | {'losses.generator': other})


def test_losses_of_one_output_and_of_several():
  message = error_of({'losses.discriminator': 'mmd_rbf_discriminator_loss'})
  assert message == (
    f'{PREFIX}losses.discriminator=mmd_rbf_discriminator_loss takes several '
    'outputs an example, .generator=generator_saturating_loss one output: '
    'choose two that take the same'
  )


def test_latents_moved_by_several_outputs():
  message = error_of(
    {
      'losses.discriminator': 'sliced_wasserstein_discriminator_loss',
      'losses.generator': 'sliced_wasserstein_generator_loss',
      'training.latent_optimisation': {'alpha': 0.9},
    }
  )
  assert message.startswith(f'{PREFIX}training.latent_optimisation moves')


def test_losses_of_different_families_are_warned_about(caplog):
  settings = {'losses.discriminator': 'f_gan_kl_discriminator_loss'}
  own = {'losses.generator': 'f_gan_kl_non_saturating_generator_loss'}
  base_config.resolve(make_config(settings | own))
  assert not caplog.messages
  base_config.resolve(make_config(settings))
  (line,) = caplog.messages
  assert 'generator_saturating_loss are of different families' in line


def test_dynamics_that_go_together():
  settings = {
    'training.update_rule': 'extragradient',
    'training.adjustment': 'consensus',
    'training.adjustment_kwargs': {'gamma': 0.1, 'align': True},
    'training.unrolled_steps': 3,
    'training.lookahead_periods': (5, 10),
    'training.latent_optimisation': {'alpha': 0.9, 'beta': 0.1},
  }
  base_config.resolve(make_config(settings))


@pytest.mark.parametrize(
  'rule', ['simultaneous_updates', 'runge_kutta_updates']
)
@pytest.mark.parametrize('player', ['disc', 'gen'])
def test_several_updates_need_turns(rule, player):
  message = error_of(
    {f'training.{rule}': True, f'training.num_{player}_updates': 2}
  )
  assert f'training.num_{player}_updates is 2' in message
  assert 'one update a player' in message


def test_several_updates_in_turns_are_fine():
  base_config.resolve(
    make_config({'training.num_disc_updates': 5, 'training.num_gen_updates': 2})
  )


def test_runge_kutta_coefficients_without_runge_kutta():
  after = 'training.grad_regularizes.rk_after_explicit_coeffs.gen.self_norm'
  message = error_of({after: 0.5})
  assert f'{after}=0.5 has no effect' in message
  config = make_config({after: 0.5, 'training.runge_kutta_updates': True})
  base_config.resolve(config)


@pytest.mark.parametrize(
  ('settings', 'why'),
  [
    (
      {
        'training.alternating_player_order': 'gen_first',
        'training.simultaneous_updates': True,
      },
      'the players do not take turns',
    ),
    (
      {
        'training.alternating_player_order': 'gen_first',
        'training.runge_kutta_updates': True,
      },
      'the players do not take turns',
    ),
    (
      {'training.runge_kutta_order': 2},
      'the update rule is another one',
    ),
    (
      {
        'eval.inception_path': 'somewhere',
        'eval.classifier': 'fashion_mnist',
      },
      'Inception is not used',
    ),
    (
      {'eval.inception_path': 'somewhere', 'dataset': 'fashion_mnist_10k'},
      'Inception is not used',
    ),
    (
      {'data_dir': 'somewhere', 'dataset': 'mixture_of_gaussians'},
      'mixture_of_gaussians is made, not read',
    ),
    (
      {'eval.classifier': 'inception', 'dataset': 'mixture_of_gaussians'},
      'points are not classified',
    ),
    (
      {'eval.classifier': 'fashion_mnist', 'dataset': 'gaussian_75'},
      'points are not classified',
    ),
  ],
)
def test_setting_without_effect(settings, why):
  field, value = next(iter(settings.items()))
  assert error_of(settings) == (
    f'{PREFIX}{field}={value!r} has no effect: {why}'
  )


@pytest.mark.parametrize(
  'settings',
  [
    {'training.alternating_player_order': 'gen_first'},
    {'training.runge_kutta_order': 2, 'training.runge_kutta_updates': True},
    {'eval.inception_path': 'somewhere', 'dataset': 'cifar10'},
    {
      'eval.inception_path': 'somewhere',
      'eval.classifier': 'inception',
      'dataset': 'fashion_mnist_10k',
    },
    {'data_dir': 'somewhere', 'dataset': 'mnist'},
  ],
)
def test_the_same_settings_with_effect(settings):
  base_config.resolve(make_config(settings))


@pytest.mark.parametrize(
  ('settings', 'most'),
  [
    ({}, (2**31 - 1) // 2),
    ({'training.num_disc_updates': 5}, (2**31 - 1) // 6),
    ({'training.runge_kutta_updates': True}, (2**31 - 1) // 8),
  ],
)
def test_draws_that_cannot_be_numbered(settings, most):
  base_config.resolve(make_config(settings, training_steps=most))
  assert error_of(settings, training_steps=most + 1).startswith(
    f'config.training_steps={most + 1} of '
  )


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('penalties', ['wgan_gradient_penalty_loss', 1.0]),
    ('param_transformers', 'spectral_norm'),
  ],
)
def test_what_the_generator_cannot_have(field, value):
  message = error_of({f'{field}.generator': value})
  assert message == (
    f'{PREFIX}{field}.generator={value!r} has no effect: set it to None'
  )


@pytest.mark.parametrize(
  ('penalty', 'expected'),
  [
    (
      'wgan_gradient_penalty_loss',
      'must be [name, coefficient] or a list of such, or None',
    ),
    (
      ['wgan_gradient_penalty_loss'],
      'must be [name, coefficient] or a list of such, or None',
    ),
    ([], 'must be [name, coefficient] or a list of such, or None'),
    (
      ['wgan_gradient_penalty', 1.0],
      'did you mean wgan_gradient_penalty_loss?',
    ),
    (['wgan_gradient_penalty_loss', 'x'], '[1] must be a finite number'),
    (['r1_penalty', 0.0], '[1] must be a finite number above 0'),
    ([['r1_penalty', 1.0], ['r3_penalty', 1.0]], '[1][0]: there is no'),
    ([['r1_penalty', 1.0], ['r2_penalty', -1.0]], '[1][1] must be a finite'),
    ([['r1_penalty', 1.0], 'r2_penalty'], '[1] must be [name, coefficient], '),
    (
      [['r1_penalty', 1.0], ['r2_penalty']],
      '[1] must be [name, coefficient], not',
    ),
    (
      [['r1_penalty', 1.0], ['r1_penalty', 2.0]],
      'names r1_penalty twice: add the coefficients',
    ),
  ],
)
def test_wrong_penalty(penalty, expected):
  message = error_of({'penalties.discriminator': penalty})
  assert message.startswith(f'{PREFIX}penalties.discriminator')
  assert expected in message


def test_penalty_as_a_tuple_or_a_list():
  for kind in (tuple, list):
    penalty = kind(['wgan_gradient_penalty_loss', 10])
    config = make_config({'penalties.discriminator': penalty})
    resolved = base_config.resolve(config).experiment_kwargs.config
    assert list(resolved.penalties.discriminator) == list(penalty)


def test_several_penalties():
  chosen = [['r1_penalty', 10.0], ['dragan_penalty', 1]]
  config = make_config({'penalties.discriminator': chosen})
  resolved = base_config.resolve(config).experiment_kwargs.config
  pairs = penalties.as_pairs(resolved.penalties.discriminator)
  assert pairs == [('r1_penalty', 10.0), ('dragan_penalty', 1)]


def test_penalties_that_keep_a_game_zero_sum():
  settings = {
    'training.adjustment': 'competitive',
    'training.adjustment_kwargs': {'zero_sum': True},
  }
  own = [['r1_penalty', 1.0], ['dragan_penalty', 1.0]]
  base_config.resolve(make_config(settings | {'penalties.discriminator': own}))
  other = {'penalties.discriminator': [*own, ['r2_penalty', 1.0]]}
  assert 'do not cancel' in error_of(settings | other)


# The best checkpoint.


@pytest.mark.parametrize(
  ('metric', 'higher_is_better'),
  [
    ('IS_mean', True),
    ('FID', False),
    ('KID', False),
    ('precision', True),
    ('recall', True),
    ('density', True),
    ('coverage', True),
    ('modes_covered', True),
    ('high_quality_share', True),
  ],
)
def test_direction_of_the_best_metric(metric, higher_is_better):
  def settings(higher):
    return {
      'best_model_eval_metric': metric,
      'best_model_eval_metric_higher_is_better': higher,
    }

  points = {'dataset': 'mixture_of_gaussians'}
  is_of_points = metric in ('modes_covered', 'high_quality_share')
  experiment = points if is_of_points else {}
  base_config.resolve(make_config(experiment, **settings(higher_is_better)))
  message = error_of(experiment, **settings(not higher_is_better))
  assert f'is {not higher_is_better}, but of {metric} ' in message
  assert message.endswith('the worst checkpoint would be kept')


def test_best_metric_that_does_not_exist():
  message = error_of(best_model_eval_metric='IS')
  assert message.startswith("config.best_model_eval_metric: there is no 'IS'")


@pytest.mark.parametrize(
  ('dataset', 'metric', 'measured'),
  [
    (
      'cifar10',
      'modes_covered',
      'IS_mean, FID, KID, precision, recall, density and coverage',
    ),
    (
      'mixture_of_gaussians',
      'IS_mean',
      'modes_covered and high_quality_share',
    ),
    ('gaussian_75', 'modes_covered', 'covariance_error'),
    ('gaussian_75', 'recall', 'covariance_error'),
  ],
)
def test_best_metric_of_other_data(dataset, metric, measured):
  message = error_of({'dataset': dataset}, best_model_eval_metric=metric)
  assert message == (
    f'config.best_model_eval_metric={metric} is not measured on '
    f'{PREFIX}dataset={dataset}; there is {measured}'
  )


def test_best_metric_that_is_not_chosen():
  message = error_of(
    {'eval.other_metrics': ['KID', 'recall']}, best_model_eval_metric='coverage'
  )
  assert message == (
    'config.best_model_eval_metric=coverage is not measured on '
    f'{PREFIX}dataset=fashion_mnist_10k; add it to eval.other_metrics'
  )


def test_best_metric_that_is_not_measured():
  message = error_of(
    {'eval.run_image_metrics': False}, best_model_eval_metric='IS_mean'
  )
  assert message == (
    'config.best_model_eval_metric=IS_mean is not measured with '
    'eval.run_image_metrics=False'
  )


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('random_seed', 7),
    ('random_mode_train', 'same_host_same_device'),
    ('random_mode_eval', 'unique_host_unique_device'),
    ('legacy_random_seed_behavior', True),
  ],
)
def test_randomness_at_the_top_level(field, value):
  assert error_of(**{field: value}) == (
    f'config.{field}={value!r} has no effect: all keys come from '
    'config.experiment_kwargs.config.random_seed'
  )


# Warnings.

MULTIPLIER = {
  'training.grad_regularizes': base_config.cancel_interaction_terms()
}


def warnings_of(caplog, settings):
  with caplog.at_level(logging.WARNING):
    base_config.resolve(make_config(settings))
  return caplog.messages


@pytest.mark.parametrize(
  'settings',
  [
    {'name': 'adam'},
    {'name': 'momentum', 'kwargs': {'momentum': 0.9}},
    {'name': 'sgd', 'kwargs': {'momentum': 0.9}},
    {'name': 'sgd', 'kwargs': {'momentum': 0.9, 'nesterov': True}},
    {'clip': 0.1},
  ],
)
@pytest.mark.parametrize('player', ['discriminator', 'generator'])
def test_drift_of_other_optimisers_is_warned_about(caplog, player, settings):
  settings = {f'optimizers.{player}.{k}': v for k, v in settings.items()}
  assert warnings_of(caplog, settings) == []
  (message,) = warnings_of(caplog, settings | MULTIPLIER)
  assert message == (
    f'optimizers.{player} is not plain gradient descent: drift coefficients '
    'are not derived for it'
  )


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {'optimizers.generator.kwargs': {'momentum': 0.0}},
    {'optimizers.generator.kwargs': None},
    {
      'optimizers.generator.scheduler': 'exponential_decay',
      'optimizers.generator.scheduler_kwargs': {
        'transition_steps': 10,
        'decay_rate': 0.5,
      },
    },
    {'training.simultaneous_updates': True},
  ],
)
def test_drift_of_gradient_descent_is_not_warned_about(caplog, settings):
  assert warnings_of(caplog, settings | MULTIPLIER) == []


def test_drift_of_runge_kutta_is_warned_about(caplog):
  settings = {'training.runge_kutta_updates': True}
  assert warnings_of(caplog, settings) == []
  (message,) = warnings_of(caplog, settings | MULTIPLIER)
  assert 'Runge-Kutta has no drift of this form' in message


@pytest.mark.parametrize('player', ['disc', 'gen'])
def test_published_drift_of_several_updates_is_warned_about(caplog, player):
  settings = {f'training.num_{player}_updates': 2}
  assert warnings_of(caplog, settings) == []
  joint = settings | MULTIPLIER | {'training.drift_convention': 'joint_flow'}
  assert warnings_of(caplog, joint) == []
  (message,) = warnings_of(caplog, settings | MULTIPLIER)
  assert "training.drift_convention='joint_flow' does" in message


def test_explicit_coefficients_are_anyones_choice(caplog):
  settings = {
    'training.grad_regularizes': base_config.consensus(0.1),
    'optimizers.generator.name': 'adam',
    'training.num_disc_updates': 2,
  }
  assert warnings_of(caplog, settings) == []


def test_drift_that_no_rule_has_is_warned_about(caplog):
  terms = 'training.grad_regularizes.dd_coeffs_multiplier.disc.other_norm'
  (message,) = warnings_of(caplog, {terms: 1.0})
  assert 'other_norm has no effect' in message


def test_joint_flow_without_drift_is_warned_about(caplog):
  joint = {'training.drift_convention': 'joint_flow'}
  (message,) = warnings_of(caplog, joint)
  assert message.startswith('training.drift_convention has no effect')


def test_momentum_takes_its_own_arguments_only():
  settings = {'optimizers.generator.name': 'momentum'}
  assert 'momentum' in error_of(settings)
  assert 'foo' in error_of(
    settings | {'optimizers.generator.kwargs': {'momentum': 0.9, 'foo': 1}}
  )


def test_the_word_none_is_read_as_none():
  config = make_config({'param_transformers.discriminator': 'None'})
  base_config.resolve(config)
  resolved = config.experiment_kwargs.config
  assert resolved.param_transformers.discriminator is None
