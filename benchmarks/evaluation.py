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
"""Evaluation as one writes it first, and the project's: time and memory.

  python benchmarks/evaluation.py

The textbook keeps the activations of all images, takes `np.cov` of them and
`scipy.linalg.sqrtm` of the product of two covariances. Both sides run in turns
in one process. Of the Frechet distance's accuracy the table says how far each
side is from the distance computed from the centred activations themselves,
float64 and without a covariance.

The figures are written to `--output`.
"""

import argparse
from collections.abc import Callable
import pathlib
import platform
import sys
import time
import tracemalloc

# Run as a file, Python looks for modules in benchmarks/ alone.
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402
import report  # noqa: E402
import scipy  # noqa: E402
from scipy import linalg  # noqa: E402
from scipy import special  # noqa: E402

from dd_two_player_games import evaluation_network  # noqa: E402
from dd_two_player_games import image_metrics  # noqa: E402
from dd_two_player_games import metric_utils  # noqa: E402

# Images a sampler gives at once.
_BATCH_SIZE = 100


# The textbook.


def textbook_frechet_distance(mu1, sigma1, mu2, sigma2) -> float:
  """The formula as it stands."""
  root = linalg.sqrtm(sigma1 @ sigma2).real
  return np.sum((mu1 - mu2) ** 2) + np.trace(sigma1 + sigma2 - 2 * root)


def textbook_statistics(
  classifier: image_metrics.Classifier, batches
) -> tuple[np.ndarray, np.ndarray, float]:
  """Mean, covariance and Inception score of images, kept until the last."""
  logits, activations = zip(*map(classifier, batches), strict=True)
  activations = np.concatenate(activations)
  probs = special.softmax(np.concatenate(logits).astype(np.float64), axis=-1)
  divergences = special.rel_entr(probs, probs.mean(axis=0)).sum(axis=-1)
  return (
    activations.mean(axis=0),
    np.cov(activations, rowvar=False),
    np.exp(divergences.mean()),
  )


# What both are measured on.


class RandomFeatures:
  """Stands for Inception: many activations of images, at little cost."""

  name = 'random features'

  def __init__(self, num_pixels: int, num_features: int):
    weights = np.random.default_rng(0).normal(size=(num_pixels, num_features))
    self._weights = weights.astype(np.float32)

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    activations = np.maximum(pixels @ self._weights, 0)
    return activations[:, :10], activations


def _activations(num_rows: int, num_features: int, seed: int) -> np.ndarray:
  """Rectified and correlated, of spreads that decay by 1e3."""
  weights = np.random.default_rng(0).normal(size=(num_features, num_features))
  weights *= np.geomspace(1, 1e-3, num_features)[:, np.newaxis]
  rng = np.random.default_rng(seed)
  return np.maximum(rng.normal(size=(num_rows, num_features)) @ weights, 0)


def _distance_of_rows(rows1: np.ndarray, rows2: np.ndarray) -> float:
  """The Frechet distance, exact to rounding, without a covariance."""
  mu1, mu2 = rows1.mean(axis=0), rows2.mean(axis=0)
  factor1 = (rows1 - mu1) / np.sqrt(len(rows1) - 1)
  factor2 = (rows2 - mu2) / np.sqrt(len(rows2) - 1)
  squares = np.sum((mu1 - mu2) ** 2) + np.sum(factor1**2) + np.sum(factor2**2)
  # Of many rows the triangular factor has the same singular values.
  factor1, factor2 = (
    np.linalg.qr(factor, mode='r') if len(factor) > factor.shape[1] else factor
    for factor in (factor1, factor2)
  )
  product = factor1 @ factor2.T
  return squares - 2 * np.linalg.svd(product, compute_uv=False).sum()


def _batches(images: np.ndarray) -> Callable[[int], np.ndarray]:
  return lambda i: images[i * _BATCH_SIZE : (i + 1) * _BATCH_SIZE]


# The cases.


def frechet(num_rows: int, num_features: int, repeats: int) -> dict:
  """Times the distance of two sets of `num_rows` activations."""
  rows = [_activations(num_rows, num_features, seed) for seed in (1, 2)]
  expected = _distance_of_rows(*rows)
  moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in rows]
  arguments = (*moments[0], *moments[1])
  sides = {
    'project': lambda: metric_utils.calculate_frechet_distance(*arguments),
    'textbook': lambda: textbook_frechet_distance(*arguments),
  }
  seconds, values = _in_turns(sides, repeats)
  rank = 'full rank' if num_rows > num_features else 'rank-deficient'
  return {
    'case': f'Frechet distance, {num_features} features, {rank} '
    f'({num_rows:,} samples)',
    'unit': 's',
    **{side: _summary(seconds[side]) for side in sides},
    'factor': _ratio(seconds['textbook'], seconds['project']),
    'relative_error': {
      side: abs(values[side] - expected) / expected for side in sides
    },
  }


def streamed(num_images: int, repeats: int) -> dict:
  """Times IS and FID of `num_images` with the embedded network."""
  classifier = evaluation_network.EvaluationNetwork()
  rng = np.random.default_rng(3)
  shape = (num_images, *evaluation_network.IMAGE_SHAPE)
  real, samples = (
    rng.integers(0, high, shape, dtype=np.uint8) for high in (256, 200)
  )
  measured = image_metrics.ImageMetrics(
    classifier, real, num_splits=1, images_per_split=num_images
  )
  statistics = measured.data_statistics()

  def project():
    metrics = measured.metrics(_batches(samples))
    return metrics['IS_mean'], metrics['FID']

  def textbook():
    # The network computes 500 images at once, whatever it is given.
    chunks = np.split(samples, range(500, num_images, 500))
    mu, sigma, score = textbook_statistics(classifier, chunks)
    return score, textbook_frechet_distance(
      mu, sigma, statistics.mus[0], statistics.sigmas[0]
    )

  sides = {'project': project, 'textbook': textbook}
  seconds, values = _in_turns(sides, repeats)
  rates = {side: [num_images / s for s in seconds[side]] for side in sides}
  return {
    'case': f'IS and FID of {num_images:,} images, evaluation network',
    'unit': 'images/s',
    **{side: _summary(rates[side]) for side in sides},
    'factor': _ratio(rates['project'], rates['textbook']),
    'relative_difference': {
      name: abs(of_project - of_textbook) / of_textbook
      for name, of_project, of_textbook in zip(
        ('IS', 'FID'), values['project'], values['textbook'], strict=True
      )
    },
  }


def peak_memory(num_images: int, num_features: int) -> dict:
  """Peak memory of mean, covariance and score beyond the images themselves.

  Python's and NumPy's allocations, of which two runs have the same. Without the
  Frechet distance, whose memory is of the features alone.
  """
  images = np.random.default_rng(4).integers(
    0, 256, (num_images, 8, 8, 1), dtype=np.uint8
  )
  classifier = RandomFeatures(64, num_features)
  sides = {
    'project': lambda: image_metrics.ImageMetrics(
      classifier, images, num_splits=1, images_per_split=num_images
    ).data_statistics(),
    'textbook': lambda: textbook_statistics(
      classifier, map(_batches(images), range(num_images // _BATCH_SIZE))
    ),
  }
  peaks = {}
  for side, function in sides.items():
    tracemalloc.start()
    function()
    peaks[side] = [tracemalloc.get_traced_memory()[1] / 2**20]
    tracemalloc.stop()
  return {
    'case': f'peak memory, {num_images:,} x {num_features} activations',
    'unit': 'MiB',
    **{side: _summary(peaks[side]) for side in sides},
    'factor': _ratio(peaks['textbook'], peaks['project']),
  }


def _in_turns(
  sides: dict[str, Callable], repeats: int
) -> tuple[dict[str, list[float]], dict]:
  """Seconds of each repeat of each side, and its value."""
  seconds: dict[str, list[float]] = {side: [] for side in sides}
  values = {}
  for _ in range(repeats):
    for side, function in sides.items():
      start = time.perf_counter()
      values[side] = function()
      seconds[side].append(time.perf_counter() - start)
  return seconds, values


def _summary(values: list[float]) -> dict:
  return {
    'median': float(np.median(values)),
    'min': min(values),
    'max': max(values),
    'repeats': len(values),
  }


def _ratio(numerators: list[float], denominators: list[float]) -> float:
  return float(np.median(numerators) / np.median(denominators))


def table(results: list[dict]) -> str:
  """A markdown table: medians, and the range over the repeats."""
  lines = [
    '| case | project | textbook | factor | agreement |',
    '|---|---|---|---|---|',
  ]
  for result in results:
    project, textbook = (
      _shown(result[side], result['unit']) for side in ('project', 'textbook')
    )
    agreement = '–'
    if 'relative_error' in result:
      off = result['relative_error']
      agreement = f'error {off["project"]:.0e}, textbook {off["textbook"]:.0e}'
    if 'relative_difference' in result:
      off = result['relative_difference']
      agreement = f'IS differs by {off["IS"]:.0e}, FID by {off["FID"]:.0e}'
    lines.append(
      f'| {result["case"]} | {project} | {textbook} | '
      f'{result["factor"]:.1f} | {agreement} |'
    )
  return '\n'.join(lines)


def _shown(summary: dict, unit: str) -> str:
  shown = f'{summary["median"]:,.4g} {unit}'
  if summary['repeats'] > 1:
    shown += f' ({summary["min"]:,.4g}–{summary["max"]:,.4g})'
  return shown


def main() -> None:
  """Reads the command line, measures each case, prints and writes all."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--features', type=int, default=2048)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument(
    '--output',
    type=pathlib.Path,
    default=ROOT / 'docs' / 'evaluation_benchmark.json',
  )
  args = parser.parse_args()
  start = time.monotonic()
  # Compiles, and starts BLAS's threads.
  frechet(200, 64, 1)
  streamed(1000, 1)
  results = [
    frechet(5 * args.features, args.features, args.repeats),
    frechet(args.features * 1000 // 2048, args.features, args.repeats),
    streamed(10_000, args.repeats),
    peak_memory(10_000, args.features),
    peak_memory(40_000, args.features),
  ]
  versions = {
    'python': platform.python_version(),
    'numpy': np.__version__,
    'scipy': scipy.__version__,
    'jax': jax.__version__,
  }
  report.write(args.output, start, results, versions=versions)
  print(table(results))


if __name__ == '__main__':
  main()
