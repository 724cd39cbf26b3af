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
"""The figure of penalties on the Dirac GAN: which methods converge.

The data lie at 0, the samples at θ, and the discriminator is D(x) = φ x. The
losses and penalties are those that a config names; steps are simultaneous or
alternating. Near the equilibrium (0, 0) a step is a linear map, whose largest
eigenvalue theory gives in closed form: it is drawn beside the factor by which
steps really shrink the distance. Where there is no such map, as the penalty has
a kink there, only the steps are drawn.

Writes `figures/dirac_gan_penalties.png` and `docs/dirac_gan_penalties.json`,
and prints the factors. The methods are those of Mescheder et al., "Which
Training Methods for GANs do actually Converge?", 2018, Figure 3, and more.
"""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from dd_two_player_games import losses as gan_losses
from dd_two_player_games import penalties
from differentiable_games import adjustments
from differentiable_games import fields
from differentiable_games import game
from differentiable_games import rules
from figures import _output
from figures import _style
from jaxline_harness import optimizers

COSTS = {'small': 'a minute', 'quick': ''}

LEARNING_RATE = 0.2
ORDERS = ('simultaneous', 'alternating')
_START = (1.0, 1.0)
_NUM_DRAWN = 500
# From so near, even the fastest divergence stays near for so many steps; nearer
# than the least, instance noise meets the rounding of float64.
_NEAR, _LEAST, _NUM_MEASURED = 1e-6, 1e-12, 400
_NUM_LONG = 10_000
_SETTLED = 0.02  # The distance after them where a method converges.
_TURN = 200  # Steps of a turn about the equilibrium, or more.

_GOODFELLOW = 'discriminator_goodfellow_loss'
_SATURATING = 'generator_saturating_loss'
_NON_SATURATING = 'generator_goodfellow_loss'
_WASSERSTEIN = ('wasserstein_discriminator_loss', 'wasserstein_generator_loss')


class Method(NamedTuple):
  """A way to train the Dirac GAN.

  Attributes:
    coupling: c of the gradient's Jacobian [[a, c], [-c, b]] at (0, 0).
    curvatures: a and b there; None where there is no Jacobian.
    losses: both players' losses, by name.
    penalty: the discriminator's, with its coefficient.
    noise: σ of instance noise, which adds ±σ to data and samples.
    weight_clip: bound on |φ|.
    num_disc_updates: of the discriminator in its turn.
    consensus: γ of the adjustment of both gradients.
  """

  coupling: float
  curvatures: tuple[float, float] | None
  losses: tuple[str, str] = (_GOODFELLOW, _SATURATING)
  penalty: tuple[str, float] | None = None
  noise: float = 0.0
  weight_clip: float | None = None
  num_disc_updates: int = 1
  consensus: float = 0.0


# The second derivative of softplus at 0 is 1/4: noise gives a = σ² / 2.
METHODS = {
  'GAN': Method(1 / 2, (0.0, 0.0)),
  'non-saturating GAN': Method(
    1 / 2, (0.0, 0.0), (_GOODFELLOW, _NON_SATURATING)
  ),
  'WGAN': Method(1.0, (0.0, 0.0), _WASSERSTEIN),
  'WGAN, clipped, $n_d$ = 5': Method(
    1.0, (0.0, 0.0), _WASSERSTEIN, weight_clip=1.0, num_disc_updates=5
  ),
  'WGAN-GP': Method(
    1.0, None, _WASSERSTEIN, ('wgan_gradient_penalty_loss', 0.25)
  ),
  'GAN, DRAGAN': Method(1 / 2, None, penalty=('dragan_penalty', 0.25)),
  'GAN, instance noise': Method(1 / 2, (0.5, 0.0), noise=1.0),
  'GAN, $R_1$': Method(1 / 2, (0.5, 0.0), penalty=('r1_penalty', 0.5)),
  'GAN, $R_2$': Method(1 / 2, (0.5, 0.0), penalty=('r2_penalty', 0.5)),
  'GAN, zero-centred': Method(
    1 / 2, (0.5, 0.0), penalty=('zero_centred_gradient_penalty', 0.25)
  ),
  'WGAN, $R_1$': Method(1.0, (0.5, 0.0), _WASSERSTEIN, ('r1_penalty', 0.5)),
  'GAN, consensus': Method(1 / 2, (0.25, 0.25), consensus=1.0),
}


def losses_of(method: Method) -> tuple[game.Loss, game.Loss]:
  """Both players' losses of (φ, θ)."""
  disc_loss, gen_loss = (getattr(gan_losses, name) for name in method.losses)
  data = method.noise * jnp.array([[-1.0], [1.0]])

  def outputs(params):
    disc, gen = params
    return disc * data, disc * (data + gen)

  def with_penalty(params):
    disc, gen = params
    loss = disc_loss(*outputs(params)).total
    if not method.penalty:
      return loss
    name, coefficient = method.penalty
    return loss + coefficient * getattr(penalties, name)(
      lambda x: disc * x, jax.random.key(0), data, data + gen
    )

  return with_penalty, lambda params: gen_loss(*outputs(params)).total


def rule_and_field(
  method: Method, order: str
) -> tuple[rules.UpdateRule, fields.VectorField]:
  """How a method's players step, and along what."""
  losses = losses_of(method)

  def field(params):
    if method.consensus:
      return adjustments.consensus(losses, params, method.consensus)
    return game.simultaneous_gradient(losses, params)

  descent, _ = optimizers.make_optimizer(
    'sgd', LEARNING_RATE, weight_clip=method.weight_clip
  )
  players = (descent, optax.sgd(LEARNING_RATE))
  if order == 'simultaneous':
    return rules.simultaneous(players), field
  num_updates = (method.num_disc_updates, 1)
  return rules.alternating(players, (0, 1), num_updates), field


def trajectory(
  method: Method, order: str, start: tuple[float, float], num_steps: int
) -> np.ndarray:
  """The points of a method's steps, of shape (2, num_steps + 1)."""
  points = rules.trajectory(*rule_and_field(method, order), start, num_steps)
  return np.array(points)


def continuous_eigenvalues(method: Method) -> np.ndarray | None:
  """Of the flow at the equilibrium, θ' = -ξ."""
  if method.curvatures is None:
    return None
  (a, b), c = method.curvatures, method.coupling
  return np.roots([1.0, a + b, a * b + c**2])


def predict(method: Method, order: str) -> float | None:
  """The spectral radius of a step's linear map at the equilibrium."""
  if method.curvatures is None:
    return None
  (a, b), (h, c) = method.curvatures, (LEARNING_RATE, method.coupling)
  keeps = 1 - h * a
  if order == 'simultaneous':
    matrix = np.array([[keeps, -h * c], [h * c, 1 - h * b]])
  else:
    # The discriminator's own updates, then the generator sees their end.
    n = method.num_disc_updates
    own, others = keeps**n, -h * c * sum(keeps**k for k in range(n))
    matrix = np.array(
      [[own, others], [h * c * own, 1 - h * b + h * c * others]]
    )
  return float(np.abs(np.linalg.eigvals(matrix)).max())


def measure(method: Method, order: str) -> dict[str, Any]:
  """What steps do near the equilibrium, and in the long run.

  Args:
    method: the method.
    order: one of ORDERS.

  Returns:
    `predicted` and `measured`, the factor of a step near the equilibrium, None
    where it is no linear map; `last_distances`, the least and the largest of
    the last steps of a long run; `verdict` on that.
  """
  predicted, measured = predict(method, order), None
  if predicted is not None:
    points = trajectory(method, order, (_NEAR, _NEAR), _NUM_MEASURED)
    distances = np.hypot(*points)
    distances = np.log(distances[distances > _LEAST])
    slope = np.polyfit(np.arange(distances.size), distances, 1)[0]
    measured = float(np.exp(slope))
  distances = np.hypot(*trajectory(method, order, _START, _NUM_LONG))
  halfway = distances[_NUM_LONG // 2 :][:_TURN].max()
  last = distances[-_TURN:]
  verdict = 'converges' if last.max() < _SETTLED else 'does not converge'
  if _SETTLED <= last.max() < 0.9 * halfway:
    verdict = 'ever more slowly'
  return {
    'predicted': predicted,
    'measured': measured,
    'last_distances': [float(last.min()), float(last.max())],
    'verdict': verdict,
  }


def draw_portrait(axes, name: str, results: dict[str, Any]) -> None:
  """Draws a method's steps in both orders, and how they end."""
  method = METHODS[name]
  limit = 2.4
  for order in ORDERS:
    points = trajectory(method, order, _START, _NUM_DRAWN)
    axes.plot(*points, color=_style.METHODS[order], lw=0.9, alpha=0.85)
  axes.plot(*_START, 'k*', ms=8)
  axes.plot(0, 0, 'k+', ms=9)
  axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect='equal')
  axes.set(xticks=[], yticks=[])
  verdicts = [results[order]['verdict'] for order in ORDERS]
  converges = [verdict == 'converges' for verdict in verdicts]
  text = verdicts[0]
  if verdicts[0] != verdicts[1]:
    text = f'simultaneous {verdicts[0]},\nalternating {verdicts[1]}'
  colour = '#2e7d32' if all(converges) else '#b3261e'
  axes.set_title(name)
  axes.set_xlabel(text, color=colour)
  for spine in axes.spines.values():
    spine.set(color=colour, visible=True)


def draw_rates(axes, results: dict[str, dict[str, Any]]) -> None:
  """Draws theory's factor of a step beside the measured one."""
  names = list(results)
  axes.axvspan(0.85, 1.0, color='#e8f3e9')
  axes.axvline(1.0, color='#5f6368', lw=1)
  for k, name in enumerate(names):
    for order, shift in zip(ORDERS, (-0.16, 0.16), strict=True):
      found = results[name][order]
      colour, y = _style.METHODS[order], k + shift
      if found['predicted'] is None:
        continue
      axes.plot(found['predicted'], y, 'o', ms=10, mfc='none', color=colour)
      axes.plot(found['measured'], y, '.', ms=7, color=colour)
    axes.annotate(
      _eigenvalue_text(METHODS[name]),
      (1.002, k),
      xycoords=('axes fraction', 'data'),
      va='center',
    )
  axes.annotate(
    'eigenvalues of the flow',
    (1.002, -0.75),
    xycoords=('axes fraction', 'data'),
    va='center',
    annotation_clip=False,
  )
  axes.set_yticks(range(len(names)), names)
  axes.set(xlim=(0.94, 1.03), ylim=(len(names) - 0.4, -0.6))
  axes.set_xlabel(
    'a step multiplies the distance by (circle: theory, dot: measured; shaded: '
    'converges)'
  )


def _eigenvalue_text(method: Method) -> str:
  eigenvalues = continuous_eigenvalues(method)
  if eigenvalues is None:
    return 'no linear map: a kink at φ = 0'
  real, imaginary = eigenvalues[0].real, abs(eigenvalues[0].imag)
  return f'λ = {f"{real:.2f} " if abs(real) > 1e-9 else ""}± {imaginary:.2f}i'


def draw(results: dict[str, dict[str, Any]]) -> Figure:
  """Draws a portrait a method, and all factors of a step."""
  figure = _style.new_figure(11.4)
  above, below = figure.subfigures(2, 1, height_ratios=(5, 3))
  rows = min(3, len(results))
  panels = above.subplots(rows, -(-len(results) // rows), squeeze=False).flat
  for axes, (name, found) in zip(panels, results.items(), strict=False):
    draw_portrait(axes, name, found)
  above.suptitle(
    "What does not punish the discriminator's slope does not converge\n"
    'Dirac GAN: φ across, θ up, both from -2.4 to 2.4; learning rate '
    f'{LEARNING_RATE}; start ★, equilibrium +'
  )
  axes = below.subplots()
  draw_rates(axes, results)
  for order in ORDERS:
    axes.plot([], [], 'o', color=_style.METHODS[order], label=order)
  axes.legend(loc='lower right')
  return figure


def main() -> None:
  """Measures all, writes the picture and the figures, and prints them."""
  size = _output.choose_size(COSTS, __doc__)
  names = ['GAN', 'GAN, $R_1$'] if size == 'quick' else list(METHODS)
  with jax.enable_x64(True):
    results = {
      name: {order: measure(METHODS[name], order) for order in ORDERS}
      for name in names
    }
    figure = draw(results)
  for name, found in results.items():
    print(name, json.dumps(found))
  content = {
    'command': './run.sh figures dirac_gan_penalties',
    'learning_rate': LEARNING_RATE,
    'results': results,
  }
  _output.write_record('dirac_gan_penalties', size, content)
  _output.write_picture('dirac_gan_penalties', size, figure)


if __name__ == '__main__':
  main()
