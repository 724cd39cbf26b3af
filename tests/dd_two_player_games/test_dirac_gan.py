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
"""The GAN classes on the Dirac GAN, whose every term has a closed form.

The data lie at 0, the samples at θ, and the discriminator is D(x) = φ x. With
s = σ(φθ), p = s (1 - s): L_d = log 2 + softplus(φθ).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import drift_utils
from dd_two_player_games import gan
from dd_two_player_games import gan_grads_calculator
from dd_two_player_games import losses
from dd_two_player_games import regularizer_estimates
from tests import marks
from tests.dd_two_player_games import small_experiments

# Both signs of both parameters; one row a case of (φ, θ).
CASES = np.array(
  [[0.8, 1.1], [-0.8, 1.1], [0.8, -1.1], [-0.8, -1.1], [1.7, 0.2], [-0.1, 2.0]],
  np.float32,
)
COEFFS = gan.GANTuple(
  disc=drift_utils.PlayerRegularizationTerms(0.3, -0.2, 0.1),
  gen=drift_utils.PlayerRegularizationTerms(-0.15, 0.25, 0.05),
)
ESTIMATORS = (
  'biased_estimate_grad_fn',
  'biased_estimate_multiple_devices_grad_fn',
  'unbiased_estimate_fn_different_device_results',
  'unbiased_estimate_fn_lowest_variance',
)


def _model(gen_loss):
  return gan.GAN(
    players_hk=gan.GANTuple(
      small_experiments.DiracDiscriminator, small_experiments.DiracGenerator
    ),
    losses=gan.GANTuple(
      losses.discriminator_goodfellow_loss, getattr(losses, gen_loss)
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {}),
    num_latents=1,
  )


def _closed_forms(phi, theta, gen_loss):
  """Losses, ξ, and the six terms, from first and second derivatives."""
  s = 1 / (1 + np.exp(-phi * theta))
  p = s * (1 - s)
  # Derivatives of L_d; that of φ and θ together is `d_dg`.
  d_d, d_g = s * theta, s * phi
  d_dd, d_dg = p * theta**2, s + p * phi * theta
  if gen_loss == 'generator_saturating_loss':
    g_d, g_g = -s * theta, -s * phi
    g_dg, g_gg = -(s + p * phi * theta), -p * phi**2
  else:
    g_d, g_g = -(1 - s) * theta, -(1 - s) * phi
    g_dg, g_gg = -(1 - s) + p * phi * theta, p * phi**2
  first = {
    'disc_loss_fn_disc_grads': d_d,
    'disc_loss_fn_gen_grads': d_g,
    'gen_loss_fn_disc_grads': g_d,
    'gen_loss_fn_gen_grads': g_g,
  }
  terms = {
    'disc_grads_disc_norm': d_dd * d_d,
    'disc_grads_gen_dot_prod': d_dg * g_g,
    'disc_grads_gen_norm': g_dg * g_g,
    'gen_grads_gen_norm': g_gg * g_g,
    'gen_grads_disc_dot_prod': g_dg * d_d,
    'gen_grads_disc_norm': d_dg * d_d,
  }
  return first, terms


def _only(tree):
  (leaf,) = jax.tree.leaves(tree)
  return leaf.reshape(())


@pytest.mark.parametrize(
  'estimator',
  marks.slow_but(['unbiased_estimate_fn_lowest_variance'], ESTIMATORS),
)
@pytest.mark.parametrize(
  'gen_loss', ['generator_saturating_loss', 'generator_goodfellow_loss']
)
def test_gradients_and_terms(gen_loss, estimator):
  model = _model(gen_loss)
  calculator = gan_grads_calculator.GANGradsCalculator(
    model, getattr(regularizer_estimates, estimator)
  )
  batch = jnp.zeros((4, 1))
  initial, state = model.initial_params(jax.random.PRNGKey(0), batch)
  first, terms = _closed_forms(CASES[0, 0], CASES[0, 1], gen_loss)

  def everything(case):
    params = gan.GANTuple(
      disc=jax.tree.map(lambda w: jnp.full(w.shape, case[0]), initial.disc),
      gen=jax.tree.map(lambda w: jnp.full(w.shape, case[1]), initial.gen),
    )
    args = params, state, batch, jax.random.PRNGKey(1), True
    out = {name: _only(getattr(model, name)(*args)) for name in first}
    out |= {name: _only(getattr(calculator, name)(*args)) for name in terms}
    out['disc_loss'] = model.disc_loss(*args)[0]
    out['gen_loss'] = model.gen_loss(*args)[0]
    out['disc'] = _only(calculator.disc_grads(*args, COEFFS)[0])
    out['gen'] = _only(calculator.gen_grads(*args, COEFFS)[0])
    data, key = args[2:4]
    both, aux = calculator.both_player_grads(
      params, state, data, data, key, key, True, COEFFS
    )
    out['both_disc'], out['both_gen'] = map(_only, both)
    out['logged'] = aux.disc.log_dict['disc_loss']
    out['logged'] += aux.gen.log_dict['gen_loss']
    return out

  # Two devices, as estimators and calculator average over the axis 'i'.
  on_devices = jax.vmap(lambda _, case: everything(case), (0, None), 0, 'i')
  computed = jax.jit(jax.vmap(on_devices, (None, 0)))(jnp.arange(2), CASES)

  phi, theta = CASES.T.astype(np.float64)
  first, terms = _closed_forms(phi, theta, gen_loss)
  softplus = np.log1p(np.exp(phi * theta))
  expected = {**first, **terms, 'disc_loss': np.log(2) + softplus}
  expected['gen_loss'] = -softplus
  if gen_loss == 'generator_goodfellow_loss':
    expected['gen_loss'] = softplus - phi * theta
  expected['logged'] = expected['disc_loss'] + expected['gen_loss']
  expected['disc'] = first['disc_loss_fn_disc_grads'] + (
    0.3 * terms['disc_grads_disc_norm']
    - 0.2 * terms['disc_grads_gen_dot_prod']
    + 0.1 * terms['disc_grads_gen_norm']
  )
  expected['gen'] = first['gen_loss_fn_gen_grads'] + (
    -0.15 * terms['gen_grads_gen_norm']
    + 0.25 * terms['gen_grads_disc_dot_prod']
    + 0.05 * terms['gen_grads_disc_norm']
  )
  expected['both_disc'], expected['both_gen'] = (
    expected['disc'],
    expected['gen'],
  )
  assert computed.keys() == expected.keys()
  for name, values in expected.items():
    for device in range(2):
      np.testing.assert_allclose(
        computed[name][:, device], values, atol=1e-5, err_msg=name
      )


def test_regularisation_grad_fns_are_the_named_terms():
  calculator = gan_grads_calculator.GANGradsCalculator(
    _model('generator_saturating_loss'),
    regularizer_estimates.biased_estimate_grad_fn,
  )
  fns = calculator.regularisation_grad_fns
  assert fns.disc == drift_utils.PlayerRegularizationTerms(
    self_norm=calculator.disc_grads_disc_norm,
    other_dot_prod=calculator.disc_grads_gen_dot_prod,
    other_norm=calculator.disc_grads_gen_norm,
  )
  assert fns.gen == drift_utils.PlayerRegularizationTerms(
    self_norm=calculator.gen_grads_gen_norm,
    other_dot_prod=calculator.gen_grads_disc_dot_prod,
    other_norm=calculator.gen_grads_disc_norm,
  )
