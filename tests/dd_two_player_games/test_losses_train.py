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
"""Every loss trains the mixture of Gaussians through the experiment."""

import jax
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import losses
from jaxline_harness import device_mesh
from tests.dd_two_player_games import small_experiments

# Of each kind one: divergences and kernels differ in functions that
# test_divergence_losses.py tests, at large outputs, too.
PAIRS = {
  **{
    name: (f'{name}_discriminator_loss', f'{name}_generator_loss')
    for name in (
      *('f_gan_kl', 'wasserstein', 'mmd_rational_quadratic'),
      *('sliced_wasserstein', 'hinge', 'mmd_linear'),
    )
  },
  'f_gan_pearson_non_saturating': (
    'f_gan_pearson_discriminator_loss',
    'f_gan_pearson_non_saturating_generator_loss',
  ),
  'least_squares': (
    'discriminator_square_loss',
    'generator_non_saturating_square_loss',
  ),
}
BOUND = 0.05


def config_of(pair, **training_settings):
  config = small_experiments.points_config(
    small_experiments.SIMULTANEOUS | training_settings,
    optimizer={'lr': 0.01},
    losses=dict(zip(('discriminator', 'generator'), pair, strict=True)),
    param_transformers={'discriminator': None, 'generator': None},
  )
  if losses.traits_of(getattr(losses, pair[0])).several_outputs:
    config.nets.disc_kwargs.out_dim = 3
  if pair[0].startswith('wasserstein'):
    config.optimizers.discriminator.weight_clip = BOUND
  if pair[0].startswith('mmd_linear'):
    # Drift is estimated on halves of a device's four examples.
    config.training.grad_regularizes = base_config.cancel_interaction_terms()
  return config


@pytest.mark.quick_cases(1)  # Each is a program of its own.
@pytest.mark.parametrize('name', PAIRS)
def test_loss_trains(name):
  made = small_experiments.make(config_of(PAIRS[name]))
  made.ensure_train_state()
  before = device_mesh.unreplicate(made.train_state).params
  logs = small_experiments.train(made, 20)
  after = device_mesh.unreplicate(made.train_state).params
  assert np.isfinite([logs['disc_loss'], logs['gen_loss']]).all()
  for player in ('disc', 'gen'):
    leaves = zip(
      *(jax.tree.leaves(getattr(params, player)) for params in (before, after)),
      strict=True,
    )
    # Not all: distances do not depend on the last layer's offset.
    assert any(not np.array_equal(*pair) for pair in leaves), player
  if name == 'wasserstein':
    for params in (before, after):
      largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(params.disc))
      np.testing.assert_allclose(largest, BOUND, rtol=1e-6)
