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
"""How precise the CPU's convolutions are, and what digits cost.

  python benchmarks/convolution_precision.py

Gradients of both players of the CIFAR networks at initialisation, with spectral
norm, against float64: the norm of the difference over the norm. Three times:
as they are; with each unit on the side of its kink where it is in float64; and
with softplus in place of ReLUs, which has no kink. Then single layers. Each by
Winograd's minimal filtering with tiles of four outputs along a dimension, as
`convolutions_as_products` has it, with smaller tiles, by products without
minimal filtering, and by XLA.
"""

import argparse
from collections.abc import Iterator
import contextlib
import functools
import json
import pathlib
import sys
import time
from typing import Any
from unittest import mock

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(ROOT))

from convolutions_as_products import convolution  # noqa: E402
from convolutions_as_products import products  # noqa: E402
from dd_two_player_games import nets  # noqa: E402

NUM_LATENTS = 128
# Implementations, and outputs of a Winograd tile by the kernel's taps.
VARIANTS: dict[str, tuple[str, dict[int, int] | None]] = {
  'fast': ('fast', None),
  'tiles of 3': ('fast', {2: 3, 3: 3}),
  'tiles of 2': ('fast', {2: 2, 3: 2}),
  'no Winograd': ('fast', {}),
  'xla': ('xla', None),
}
# Of the networks: kernel, stride, channels in and out, size of the images.
LAYERS = (
  (3, 1, 64, 128, 16),
  (3, 1, 256, 512, 4),
  (4, 2, 64, 64, 32),
  (4, 2, 256, 256, 8),
)

Arrays = Any  # A tree of arrays.


@contextlib.contextmanager
def use_variant(name: str) -> Iterator[None]:
  """Traces and compiles anew, with convolutions of this kind."""
  implementation, tiles = VARIANTS[name]
  if tiles is None:
    tiles = products.WINOGRAD_OUTPUTS
  jax.clear_caches()
  with (
    convolution.use_implementation(implementation),
    mock.patch.object(products, 'WINOGRAD_OUTPUTS', tiles),
  ):
    yield


class Activations:
  """Stands in for ReLUs, and tells or is told which units are positive."""

  def __init__(self, given: list[jax.Array] | None, smooth: bool):
    self._given = given
    self._smooth = smooth
    self.positive: list[jax.Array] = []

  def __call__(self, x: jax.Array, negative_slope: float = 0.0) -> jax.Array:
    if self._smooth:
      return negative_slope * x + (1 - negative_slope) * jax.nn.softplus(x)
    positive = x > 0
    if self._given is not None:
      positive = self._given[len(self.positive)]
    self.positive.append(positive)
    return jnp.where(positive, x, negative_slope * x)


def make_networks() -> tuple[hk.TransformedWithState, ...]:
  """The generator, the discriminator and its spectral norm."""
  return tuple(
    hk.without_apply_rng(hk.transform_with_state(lambda x, m=make: m()(x)))
    for make in (
      nets.CifarGenerator,
      nets.CifarDiscriminator,
      nets.spectral_norm,
    )
  )


def draw_inputs(seed: int, num_images: int) -> Arrays:
  """Parameters, states, latents and random images."""
  gen, disc, norm = make_networks()
  keys = jax.random.split(jax.random.PRNGKey(seed), 5)
  latents = jax.random.normal(keys[0], (num_images, NUM_LATENTS))
  images = jax.random.uniform(keys[1], (num_images, 32, 32, 3), minval=-1.0)
  gen_params, gen_state = gen.init(keys[2], latents)
  disc_params, _ = disc.init(keys[3], images)
  _, norm_state = norm.init(keys[4], disc_params)
  return (disc_params, gen_params), (norm_state, gen_state), latents, images


def losses(
  inputs: Arrays, given: list[jax.Array] | None, smooth: bool
) -> tuple[tuple[jax.Array, jax.Array], list[jax.Array]]:
  """Both players' losses, and which units are positive."""
  (disc_params, gen_params), (norm_state, gen_state), latents, images = inputs
  gen, disc, norm = make_networks()
  activations = Activations(given, smooth)
  with (
    mock.patch.object(jax.nn, 'relu', activations),
    mock.patch.object(jax.nn, 'leaky_relu', activations),
  ):
    normed, _ = norm.apply({}, norm_state, disc_params)
    samples, _ = gen.apply(gen_params, gen_state, latents)
    on_data, on_samples = (
      disc.apply(normed, {}, x)[0] for x in (images, samples)
    )
  gen_loss = -jnp.mean(jax.nn.softplus(on_samples))
  disc_loss = jnp.mean(jax.nn.softplus(-on_data)) - gen_loss
  return (disc_loss, gen_loss), activations.positive


def gradients(
  inputs: Arrays, given: list[jax.Array] | None = None, smooth: bool = False
) -> tuple[tuple[Arrays, Arrays], list[jax.Array]]:
  """Each player's gradient of its loss, and which units are positive."""
  players, *others = inputs

  def loss(own, player):
    both = tuple(own if i == player else players[i] for i in (0, 1))
    values, positive = losses((both, *others), given, smooth)
    return values[player], positive

  (disc, positive), (gen, _) = (
    jax.grad(loss, has_aux=True)(players[i], i) for i in (0, 1)
  )
  return (disc, gen), positive


def to_float64(tree: Arrays) -> Arrays:
  """The same numbers."""
  return jax.tree.map(
    lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x, tree
  )


def relative_error(actual: Arrays, expected: Arrays) -> float:
  """The norm of the difference over the norm."""
  difference = jax.tree.map(
    lambda a, b: np.asarray(a, np.float64) - b, actual, expected
  )
  norm = lambda tree: np.sqrt(
    sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree))
  )
  return float(norm(difference) / norm(expected))


def reference_gradients(seeds: int, num_images: int) -> list[dict[str, Any]]:
  """Inputs of each seed, and what float64 makes of them."""
  references = []
  with mock.patch.dict(nets.BATCH_NORM, cross_replica_axis=None):
    inputs = [draw_inputs(seed, num_images) for seed in range(seeds)]
    with jax.enable_x64(True), use_variant('xla'):
      plain = jax.jit(gradients)
      smooth = jax.jit(functools.partial(gradients, smooth=True))
      for arrays in inputs:
        exact = to_float64(arrays)
        grads, positive = plain(exact)
        references.append(
          jax.device_get(
            {
              'inputs': arrays,
              'gradients': grads,
              'positive': positive,
              'smooth': smooth(exact)[0],
            }
          )
        )
  return references


def measure_networks(
  name: str, references: list[dict[str, Any]]
) -> dict[str, Any]:
  """Errors of a variant's gradients, medians over seeds."""
  errors: dict[str, list[float]] = {}
  turned, seconds = [], []
  with (
    mock.patch.dict(nets.BATCH_NORM, cross_replica_axis=None),
    use_variant(name),
  ):
    compute = jax.jit(gradients)
    smooth = jax.jit(functools.partial(gradients, smooth=True))
    for reference in references:
      inputs, expected = reference['inputs'], reference['gradients']
      actual, positive = compute(inputs)
      frozen, _ = compute(inputs, reference['positive'])
      start = time.perf_counter()
      jax.block_until_ready(compute(inputs))
      seconds.append(time.perf_counter() - start)
      turned.append(
        sum(
          int(np.sum(np.asarray(a) != b))
          for a, b in zip(positive, reference['positive'], strict=True)
        )
      )
      for kind, ours, theirs in (
        ('relu', actual, expected),
        ('frozen', frozen, expected),
        ('smooth', smooth(inputs)[0], reference['smooth']),
      ):
        for player, a, b in zip(('disc', 'gen'), ours, theirs, strict=True):
          errors.setdefault(f'{kind}, {player}', []).append(
            relative_error(a, b)
          )
  return {
    'errors': {
      key: {'median': float(np.median(v)), 'range': [min(v), max(v)]}
      for key, v in errors.items()
    },
    'turned_units': {'median': float(np.median(turned)), 'all': turned},
    'seconds': float(np.median(seconds)),
  }


def measure_layers(name: str, num_images: int) -> list[dict[str, Any]]:
  """Errors of single convolutions, and of their two transposes."""
  rng = np.random.default_rng(0)
  results = []
  for size, stride, channels, out_channels, extent in LAYERS:
    # What comes out of a ReLU, and a kernel that keeps its size.
    x = np.maximum(rng.normal(size=(num_images, extent, extent, channels)), 0)
    w = rng.normal(size=(size, size, channels, out_channels))
    w *= np.sqrt(2 / (size * size * channels))
    extent_out = extent // stride
    y = rng.normal(size=(num_images, extent_out, extent_out, out_channels))

    def compute(x, w, y, stride=stride):
      conv = functools.partial(convolution.conv, stride=stride)
      out, transpose = jax.vjp(conv, x, w)
      return out, *transpose(y)

    arrays = [a.astype(np.float32) for a in (x, w, y)]
    with jax.enable_x64(True), use_variant('xla'):
      expected = jax.device_get(jax.jit(compute)(*to_float64(arrays)))
    with use_variant(name):
      actual = jax.device_get(jax.jit(compute)(*arrays))
    results.append(
      {
        'layer': f'{size} × {size}, stride {stride}, '
        f'{channels} to {out_channels} channels',
        'errors': {
          key: relative_error(a, b)
          for key, a, b in zip(
            ('forward', 'images', 'kernel'), actual, expected, strict=True
          )
        },
      }
    )
  return results


def table(results: dict[str, Any]) -> str:
  """The figures of the networks as a Markdown table."""
  kinds = [
    f'{k}, {p}' for k in ('relu', 'frozen', 'smooth') for p in ('disc', 'gen')
  ]
  lines = [
    '| convolutions | ' + ' | '.join(kinds) + ' | units turned | seconds |',
    '|---' * (len(kinds) + 3) + '|',
  ]
  for name, of in results.items():
    cells = [f'{of["errors"][kind]["median"]:.1e}' for kind in kinds]
    turned, seconds = of['turned_units']['median'], of['seconds']
    lines.append(
      f'| {name} | {" | ".join(cells)} | {turned:g} | {seconds:.2f} |'
    )
  return '\n'.join(lines)


def main() -> None:
  """Measures, prints the table and writes the figures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
  parser.add_argument('--seeds', type=int, default=10)
  parser.add_argument('--num_images', type=int, default=16)
  parser.add_argument(
    '--variants', nargs='+', choices=list(VARIANTS), default=list(VARIANTS)
  )
  parser.add_argument(
    '--output',
    type=pathlib.Path,
    default=ROOT / 'docs' / 'convolution_precision.json',
  )
  args = parser.parse_args()
  figures: dict[str, Any] = {
    'jax': jax.__version__,
    'seeds': args.seeds,
    'num_images': args.num_images,
    'networks': {},
    'layers': {},
  }
  references = reference_gradients(args.seeds, args.num_images)
  for name in args.variants:
    print(f'{name} …', file=sys.stderr, flush=True)
    figures['networks'][name] = measure_networks(name, references)
    figures['layers'][name] = measure_layers(name, args.num_images)
    args.output.write_text(json.dumps(figures, indent=1) + '\n')
  print(table(figures['networks']))


if __name__ == '__main__':
  main()
