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
"""Convergence of EigenGame and its relatives at three minibatch sizes.

  ./run.sh figures eigengame [--size=small|quick]

The first 16 eigenvectors of Fashion-MNIST's embedded 10,000 images, the same
initial eigenvectors, minibatches and learning rates for all methods. Writes
`figures/eigengame.png`, and prints where each method ends. The rate decays to
0, and with it the minibatches' noise: what error then stays is a bias.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from eigengame_unloaded import eigengame
from eigengame_unloaded import metrics
from eigengame_unloaded import optim
from figures import _output
from figures import _style
from jaxline_harness import datasets
from jaxline_harness import draws

COSTS = {'small': '2 minutes', 'quick': ''}

LEARNING_RATE = 1e-2
MOMENTUM = 0.9
NUM_POINTS = 50
# No method of other pictures has these colours. Oja's and Sanger's lines are
# broken, since others lie under them.
METHODS = {
  'mu_eigengame': ('μ-EigenGame', '#1b4f72', '-'),
  'alpha_eigengame': ('α-EigenGame', '#b03a8c', '-'),
  'krasulina': ('matrix Krasulina', '#b5b8bd', '-'),
  'oja': ('Oja with QR', '#e59866', (0, (4, 4))),
  'sanger': ('Sanger', '#4b5320', (0, (1, 1.5))),
}
FLOOR = 1e-8  # What is nearer to the subspace is drawn here.


class Size(NamedTuple):
  """How much is run.

  Attributes:
    num_eigenvectors: k.
    num_steps: of each method, a multiple of `NUM_POINTS`.
    batch_sizes: a column of panels each; None is the full batch.
  """

  num_eigenvectors: int
  num_steps: int
  batch_sizes: Sequence[int | None]


SIZES = {
  'small': Size(16, 20_000, (32, 256, None)),
  'quick': Size(8, 5000, (8, None)),
}


class Curve(NamedTuple):
  """Errors of one method at one minibatch size, (`NUM_POINTS` + 1,) each.

  Attributes:
    steps: after how many steps they are measured.
    streaks: longest streaks of right eigenvectors.
    angles: largest angles to the truth, in degrees.
    distances: subspace distances.
  """

  steps: np.ndarray
  streaks: np.ndarray
  angles: np.ndarray
  distances: np.ndarray


def centred_images() -> np.ndarray:
  """Fashion-MNIST's pixels in [0, 1] minus their mean, float32 (N, d)."""
  images = datasets.load('fashion_mnist_10k').examples
  examples = images.reshape(len(images), -1) / 255
  return (examples - examples.mean(axis=0)).astype(np.float32)


def trajectory(
  name: str,
  examples: np.ndarray,
  num_eigenvectors: int,
  batch_size: int | None,
  num_steps: int,
) -> np.ndarray:
  """V at `NUM_POINTS` + 1 evenly spaced steps: (points, k, d)."""
  method = eigengame.METHODS[name]
  weights = eigengame.player_weights(num_eigenvectors)
  optimizer = optim.make_optimizer(
    name='sgd',
    lr=LEARNING_RATE,
    kwargs={'momentum': MOMENTUM, 'nesterov': True},
    scheduler='cosine_decay_schedule',
    scheduler_kwargs={'decay_steps': num_steps},
  )
  initial = eigengame.orthonormalize(
    jax.random.normal(jax.random.key(0), (num_eigenvectors, examples.shape[1]))
  )

  def images_of(eigenvectors, step, arrays):
    if batch_size is None:
      return eigenvectors @ arrays
    batch = draws.draw_batch(arrays, 0, step, batch_size)
    return eigenvectors @ batch.T @ batch / batch_size

  @jax.jit
  def train(arrays):
    def make_step(carry, step):
      eigenvectors, opt_state = carry
      images = images_of(eigenvectors, step, arrays)
      direction = method.direction(eigenvectors, images, weights)
      update, opt_state = optimizer.update(direction, opt_state)
      return (method.retract(eigenvectors + update), opt_state), None

    def make_steps(carry, steps):
      carry, _ = lax.scan(make_step, carry, steps)
      return carry, carry[0]

    return lax.scan(
      make_steps,
      (initial, optimizer.init(initial)),
      jnp.arange(num_steps).reshape(NUM_POINTS, -1),
    )[1]

  arrays = examples
  if batch_size is None:  # The full batch's images need the covariance only.
    arrays = examples.T @ examples / len(examples)
  return np.concatenate([initial[None], train(jnp.asarray(arrays))])


def measure(size: Size) -> dict[int | None, dict[str, Curve]]:
  """Curves by minibatch size and method."""
  examples = centred_images()
  covariance = examples.T.astype(np.float64) @ examples / len(examples)
  truth = metrics.exact(covariance, size.num_eigenvectors)

  def curve(name, batch_size):
    points = trajectory(
      name, examples, size.num_eigenvectors, batch_size, size.num_steps
    )
    angles = [metrics.angles(v, truth) for v in points]
    return Curve(
      steps=np.linspace(0, size.num_steps, len(points)),
      streaks=np.array([metrics.longest_streak(a) for a in angles]),
      angles=np.degrees(np.max(angles, axis=1)),
      distances=np.array([metrics.subspace_distance(v, truth) for v in points]),
    )

  return {
    batch_size: {name: curve(name, batch_size) for name in METHODS}
    for batch_size in size.batch_sizes
  }


def draw(
  curves: dict[int | None, dict[str, Curve]], num_eigenvectors: int
) -> Figure:
  """Draws a column of panels a minibatch size: streaks over distances."""
  figure = _style.new_figure(
    6.4,
    f'The first {num_eigenvectors} eigenvectors of Fashion-MNIST: minibatches '
    'keep α-EigenGame away from them\n'
    f'Learning rate {LEARNING_RATE} (cosine decay), momentum {MOMENTUM}',
  )
  panels = figure.subplots(
    2, len(curves), sharex='col', sharey='row', squeeze=False
  )
  for (upper, lower), (batch_size, methods) in zip(
    panels.T, curves.items(), strict=True
  ):
    for name, curve in methods.items():
      label, colour, style = METHODS[name]
      lines = {'color': colour, 'ls': style, 'lw': 2.0, 'label': label}
      upper.plot(curve.steps, curve.streaks, **lines)
      lower.semilogy(curve.steps, np.maximum(curve.distances, FLOOR), **lines)
    upper.set_title(f'minibatch {batch_size}' if batch_size else 'full batch')
    lower.set_xlabel('step')
  panels[0, 0].set_ylabel('longest streak of right eigenvectors')
  panels[0, 0].set_yticks(range(0, num_eigenvectors + 1, 4))
  panels[1, 0].set_ylabel(
    f'subspace distance\n(below {FLOOR:g} drawn at {FLOOR:g})'
  )
  _style.place_legend(figure, panels[0, 0])
  return figure


def main() -> None:
  """Draws and writes the picture, and prints where methods end."""
  size_name = _output.choose_size(COSTS, __doc__)
  size = SIZES[size_name]
  curves = measure(size)
  for batch_size, methods in curves.items():
    for name, curve in methods.items():
      print(
        f'{batch_size or "full":>4}  {METHODS[name][0]:<17} '
        f'streak {curve.streaks[-1]:2}  '
        f'largest angle {curve.angles[-1]:5.2f}°  '
        f'subspace distance {curve.distances[-1]:.1e}'
      )
  figure = draw(curves, size.num_eigenvectors)
  _output.write_picture('eigengame', size_name, figure)


if __name__ == '__main__':
  main()
