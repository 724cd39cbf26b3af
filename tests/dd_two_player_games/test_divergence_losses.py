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
"""Losses that are divergences or distances, against what they estimate."""

import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from dd_two_player_games import distances
from dd_two_player_games import gan
from dd_two_player_games import losses
from dd_two_player_games import settings
from differentiable_games import divergences

F_GANS = list(divergences.DIVERGENCES)
ZERO_SUM = [
  names
  for names in itertools.product(
    *([n for n in dir(losses) if player in n] for player in settings.PLAYERS)
  )
  if losses.are_zero_sum(*(getattr(losses, name) for name in names))
]


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


# f-GANs of two Gaussians, p = N(m, s²) the data and q = N(n, t²) the samples.

M, S, N, T = 0.3, 0.8, -0.4, 0.9
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def log_ratio(x, m=M, s=S, n=N, t=T):
  return (x - n) ** 2 / (2 * t**2) - (x - m) ** 2 / (2 * s**2) + np.log(t / s)


def kl(m=M, s=S, n=N, t=T):
  return np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5


def pearson(m=M, s=S, n=N, t=T):
  """The integral of p²/q, a Gaussian of precision 2/s² - 1/t², minus 1."""
  width = 2 * t**2 - s**2
  return t**2 / (s * np.sqrt(width)) * np.exp((m - n) ** 2 / width) - 1


def squared_hellinger(m=M, s=S, n=N, t=T):
  both = s**2 + t**2
  return 2 - 2 * np.sqrt(2 * s * t / both) * np.exp(-((m - n) ** 2) / both / 4)


def jensen_shannon(m=M, s=S, n=N, t=T):
  x = np.linspace(-12, 12, 20001)
  p, q = (scipy.stats.norm.pdf(x, *each) for each in ((m, s), (n, t)))
  middle = (p + q) / 2
  integrand = scipy.special.rel_entr(p, middle)
  integrand = integrand + scipy.special.rel_entr(q, middle)
  return np.sum(integrand) * (x[1] - x[0])


CLOSED_FORMS = {
  'kl': kl,
  'reverse_kl': lambda n=N: kl(n, T, M, S),
  'pearson': pearson,
  'squared_hellinger': squared_hellinger,
  'jensen_shannon': jensen_shannon,
}


def expected_loss(name, output, shift=0.0):
  """A loss in expectation, of samples shifted by so much."""

  # Losses are means over examples: those of each node alone are weighted.
  def of_node(node):
    real, samples = output(M + S * node), output(N + T * node + shift)
    return getattr(losses, name)(real[None], samples[None]).total

  return jnp.sum(WEIGHTS * jax.vmap(of_node)(jnp.asarray(NODES)))


def best_output(name):
  return lambda x: divergences.DIVERGENCES[name].best_output(log_ratio(x))


@pytest.mark.parametrize('name', F_GANS)
def test_value_of_the_best_discriminator_is_the_divergence(name):
  best, expected = best_output(name), CLOSED_FORMS[name]()
  disc_loss = f'f_gan_{name}_discriminator_loss'
  # Of a smooth integrand by 80 nodes.
  np.testing.assert_allclose(-expected_loss(disc_loss, best), expected, 1e-9)
  np.testing.assert_allclose(
    expected_loss(f'f_gan_{name}_generator_loss', best), expected, 1e-9
  )
  for change in (0.01, lambda x: 0.01 * jnp.sin(x)):
    offset = change if callable(change) else lambda x, c=change: c
    worse = expected_loss(disc_loss, lambda x, c=offset: best(x) + c(x))
    assert 0 < worse + expected < 1e-3


@pytest.mark.parametrize('name', F_GANS)
def test_the_generator_descends_the_divergence(name):
  """By the envelope theorem, with a discriminator that stands still."""
  gradient = jax.grad(
    lambda shift: expected_loss(
      f'f_gan_{name}_generator_loss', best_output(name), shift
    )
  )(0.0)
  h = 1e-5
  above, below = (CLOSED_FORMS[name](n=N + sign * h) for sign in (1, -1))
  np.testing.assert_allclose(gradient, (above - below) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize('name', F_GANS)
def test_the_non_saturating_generator_ascends_t(name):
  samples = np.array([[-1.5], [0.2], [2.0]])
  name, activation = (
    f'f_gan_{name}_non_saturating_generator_loss',
    divergences.DIVERGENCES[name].activation,
  )
  output = getattr(losses, name)(np.zeros((3, 1)), samples)
  np.testing.assert_allclose(output.total, -np.mean(activation(samples)))
  assert list(output.components) == ['gen_samples_loss']


@pytest.mark.parametrize(
  'kind', ['discriminator', 'generator', 'non_saturating_generator']
)
@pytest.mark.parametrize('name', F_GANS)
def test_large_outputs_give_finite_losses_and_gradients(name, kind):
  large = jnp.array([80.0, -80.0], jnp.float32)
  loss = getattr(losses, f'f_gan_{name}_{kind}_loss')
  total = lambda real, samples: loss(real, samples).total
  value, gradients = jax.value_and_grad(total, (0, 1))(large, large)
  assert value.dtype == jnp.float32
  assert np.isfinite(value)
  assert np.isfinite(gradients).all()


# Plain losses.


def test_hinge_and_least_squares():
  real, samples = np.array([[-2.0], [0.3], [1.5]]), np.array([[0.7], [-1.2]])
  disc = losses.hinge_discriminator_loss(real, samples)
  np.testing.assert_allclose(disc.components['disc_data_loss'], 3.7 / 3)
  np.testing.assert_allclose(disc.components['disc_samples_loss'], 1.7 / 2)
  np.testing.assert_allclose(disc.total, 3.7 / 3 + 1.7 / 2)
  gen = losses.hinge_generator_loss(real, samples)
  np.testing.assert_allclose(gen.total, 0.25)
  square = losses.generator_non_saturating_square_loss(real, samples)
  np.testing.assert_allclose(square.total, (0.3**2 + 2.2**2) / 2)


# Distances.

KERNELS = ['rbf', 'rational_quadratic', 'linear']
POINTS = np.array([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.5], [3.0, 3.0]])


def kernel_value(name, x, y):
  squares = np.sum((x - y) ** 2)
  if name == 'rbf':
    return sum(np.exp(-squares / (2 * s * s)) for s in (2, 5, 10, 20, 40, 80))
  if name == 'rational_quadratic':
    return sum((1 + squares / 2 / a) ** -a for a in (0.2, 0.5, 1, 2, 5))
  return x @ y


@pytest.mark.parametrize('name', KERNELS)
def test_kernels(name):
  x, y = POINTS, POINTS[:3] + 0.7
  expected = [[kernel_value(name, a, b) for b in y] for a in x]
  np.testing.assert_allclose(getattr(distances, name)(x, y), expected)


@pytest.mark.parametrize('name', KERNELS)
def test_mmd_is_unbiased(name):
  """Its exact expectation: over all minibatches of distributions on points."""
  p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.2, 0.2, 0.1])
  kernel = getattr(distances, name)
  matrix = np.asarray(kernel(POINTS, POINTS))
  exact = p @ matrix @ p + q @ matrix @ q - 2 * p @ matrix @ q
  batches = np.array(list(itertools.product(range(4), repeat=2)))
  of_batches = jax.vmap(distances.squared_mmd, (None, 0, None))
  of_batches = jax.vmap(of_batches, (0, None, None))
  found = jax.jit(of_batches, static_argnums=2)(
    POINTS[batches], POINTS[batches], kernel
  )
  chances = [np.prod(weights[batches], axis=1) for weights in (p, q)]
  np.testing.assert_allclose(chances[0] @ found @ chances[1], exact)
  # The estimate with the diagonal is not.
  biased = np.mean(matrix[batches[:, :, None], batches[:, None]], axis=(1, 2))
  assert abs(chances[0] @ biased - p @ matrix @ p) > 0.01


def gaussian_mmd(name, gap, s, t, dim):
  """Of N(0, s² I) and N(gap · 1, t² I)."""
  if name == 'linear':
    return dim * gap**2

  def mean_kernel(width, square):
    """Over the normal difference, of this variance and this squared mean."""

    def rbf(precision):
      factor = 1 + precision * width
      return factor ** (-dim / 2) * np.exp(-precision * square / 2 / factor)

    if name == 'rbf':
      return sum(rbf(sigma**-2.0) for sigma in (2, 5, 10, 20, 40, 80))
    # (1 + r²/2α)^-α is a mean of rbf kernels over Gamma(α, 1/α) precisions.
    return sum(
      scipy.stats.gamma(a, scale=1 / a).expect(rbf, epsabs=1e-12)
      for a in (0.2, 0.5, 1, 2, 5)
    )

  within = mean_kernel(2 * s**2, 0.0) + mean_kernel(2 * t**2, 0.0)
  return within - 2 * mean_kernel(s**2 + t**2, dim * gap**2)


@pytest.mark.parametrize('name', KERNELS)
def test_mmd_of_gaussians(name):
  """The mean over minibatches, within four of its standard errors."""
  gap, s, t, dim, num, size = 0.8, 1.0, 1.5, 3, 2000, 8
  rng = np.random.default_rng(0)
  x = s * rng.normal(size=(num, size, dim))
  y = gap + t * rng.normal(size=(num, size, dim))
  gen_loss = getattr(losses, f'mmd_{name}_generator_loss')
  found = jax.jit(jax.vmap(lambda x, y: gen_loss(x, y).total))(x, y)
  error = np.std(found) / np.sqrt(num)
  exact = gaussian_mmd(name, gap, s, t, dim)
  assert abs(np.mean(found) - exact) < 4 * error
  assert error < exact / 10  # It tells the distance from none.


def test_sliced_wasserstein_pairs_the_sets_as_is_best():
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(2, 7, 3))
  key = jax.random.PRNGKey(2)
  ways = np.array(jax.random.normal(key, (3, 5)))
  ways /= np.linalg.norm(ways, axis=0)
  costs = []
  for way in ways.T:
    cost = ((x @ way)[:, None] - y @ way) ** 2
    costs.append(cost[scipy.optimize.linear_sum_assignment(cost)].mean())
  found = distances.sliced_wasserstein(x, y, key, num_directions=5)
  np.testing.assert_allclose(found, np.mean(costs))


def test_sliced_wasserstein_of_translated_and_stretched_sets():
  """In direction w by a: (a·w)², on average |a|²/k. By a factor c: (c - 1)²."""
  rng = np.random.default_rng(3)
  x, shift = rng.normal(size=(50, 4)), np.array([1.0, -2.0, 0.5, 0.0])
  many = {'rng': jax.random.PRNGKey(0), 'num_directions': 20_000}
  found = distances.sliced_wasserstein(x, x + shift, **many)
  np.testing.assert_allclose(found, np.sum(shift**2) / 4, rtol=0.02)
  whitened = np.sqrt(50) * np.linalg.qr(x - x.mean(axis=0))[0]
  found = distances.sliced_wasserstein(
    whitened, 1.5 * whitened, jax.random.PRNGKey(0), num_directions=3
  )
  np.testing.assert_allclose(found, 0.25)


def test_a_set_has_no_distance_from_itself_in_another_order():
  x = np.random.default_rng(4).normal(size=(6, 3))
  key = jax.random.PRNGKey(0)
  assert distances.sliced_wasserstein(x, x[::-1], key) < 1e-30


# Games.


@pytest.mark.parametrize('names', ZERO_SUM)
def test_zero_sum_losses_cancel_in_the_samples(names):
  several = losses.traits_of(getattr(losses, names[0])).several_outputs
  key, shape = jax.random.PRNGKey(5), (6, 3 if several else 1)
  real, samples = jax.random.normal(key, (2, *shape))

  def total(real, samples):
    return sum(
      losses.evaluate(getattr(losses, name), real, samples, key).total
      for name in names
    )

  # What is left is the discriminator's own: its outputs on the data.
  gradient = jax.grad(total, argnums=1)(real, samples)
  np.testing.assert_allclose(gradient, 0, atol=1e-15)
  if names[0].startswith(('f_gan', 'wasserstein', 'mmd', 'sliced')):
    np.testing.assert_allclose(total(real, samples), 0, atol=1e-15)


class Features(hk.Module):
  def __call__(self, x, is_training=True):
    return hk.Linear(3)(x)


def test_both_players_of_a_gan_see_the_same_directions():
  """Sliced Wasserstein of one draw cancels; with other keys it would not."""
  model = gan.GAN(
    players_hk=gan.GANTuple(Features, Features),
    losses=gan.GANTuple(
      losses.sliced_wasserstein_discriminator_loss,
      losses.sliced_wasserstein_generator_loss,
    ),
    penalties=gan.GANTuple(None, None),
    player_param_transformers=gan.GANTuple(None, None),
    players_kwargs=gan.GANTuple({}, {}),
    num_latents=2,
  )
  batch = jnp.linspace(-1, 1, 24, dtype=jnp.float32).reshape(8, 3)
  params, state = model.initial_params(jax.random.PRNGKey(0), batch)

  def both(seed):
    args = params, state, batch, jax.random.PRNGKey(seed), True
    return model.both_losses(*args)[0]

  assert both(1).disc == -both(1).gen
  assert both(1).gen > 0
  assert both(2).gen != both(1).gen


def test_which_losses_are_zero_sum():
  pairs = {names[1] for names in ZERO_SUM}
  assert pairs == {
    'generator_saturating_loss',
    'generator_square_loss',
    'generator_square_loss_with_sigmoid',
    'wasserstein_generator_loss',
    *(f'f_gan_{name}_generator_loss' for name in F_GANS),
    *(f'mmd_{name}_generator_loss' for name in KERNELS),
    'sliced_wasserstein_generator_loss',
  }
