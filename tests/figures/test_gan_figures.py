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
"""The figures of GANs at their quick size, and what they make of runs."""

import json

from matplotlib.backends import backend_agg
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import training
from figures import _gan_runs
from figures import gaussian
from figures import learning_rates
from figures import logan
from figures import mixture
from jaxline_harness import errors


def _run(samples, **more):
  """A run that was looked at once for each of these samples."""
  number = len(samples)
  return _gan_runs.Run(
    **{
      'steps': [10 * k for k in range(number)],
      'losses': [[1.3, 0.7]] * number,
      'seconds': [2.0 * k for k in range(number)],
      'metrics': [{}] * number,
      'failure': '',
      'samples': np.stack(samples),
    }
    | more
  )


def _draws(figure):
  canvas = backend_agg.FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].std() > 0


# Overrides are those of the command line.


def test_methods_are_what_they_say():
  """Each is another config, which base_config takes."""
  configs = {
    name: _gan_runs.load_config(mixture.CONFIG, overrides)
    for name, overrides in mixture.METHODS.items()
  }
  experiments = {n: c.experiment_kwargs.config for n, c in configs.items()}
  texts = {config.to_json(sort_keys=True) for config in experiments.values()}
  assert len(texts) == len(mixture.METHODS) == 12
  for name, config in experiments.items():
    optimizer = name.split(',')[0].lower()
    for player in ('discriminator', 'generator'):
      assert optimizer in config.optimizers[player].name
    rule = training.update_rule(config.training)
    assert rule == ('extragradient' if 'extra' in name else 'simultaneous')
    adjustment = name.rpartition(', ')[-1].lower()
    is_adjusted = adjustment in ('sga', 'consensus', 'competitive')
    assert config.training.adjustment == (adjustment if is_adjusted else 'none')
  by_name = {n: c.training for n, c in experiments.items()}
  assert list(by_name['RMSProp, lookahead'].lookahead_periods) == [5]
  assert by_name['RMSProp, LOGAN'].latent_optimisation.to_dict() == {
    'alpha': 0.9,
    'beta': 0.1,
  }
  terms = by_name['SGD, drift cancelled'].grad_regularizes
  assert terms.to_dict() == base_config.cancel_interaction_terms()
  assert by_name['RMSProp, SGA'].adjustment_kwargs.align is True


def test_full_size_is_the_config_itself():
  """Also the issue's: depth 6, width 384, batch 256, 10,000 steps at 1e-4."""
  plain = _gan_runs.load_config(mixture.CONFIG, [])
  size = mixture.SIZES['full']
  sized = _gan_runs.load_config(mixture.CONFIG, mixture.overrides_of(size))
  assert plain.to_json() == sized.to_json()
  assert plain.training_steps == size.num_steps
  assert size == mixture.Size(6, 384, 256, 1e-4, 10_000)
  plain = _gan_runs.load_config(gaussian.CONFIG, [])
  sized = _gan_runs.load_config(
    gaussian.CONFIG, gaussian.overrides_of(gaussian.SIZES['full'])
  )
  assert plain.to_json() == sized.to_json()
  assert plain.training_steps == gaussian.SIZES['full'].num_steps


@pytest.mark.parametrize('name', [logan.SGA, logan.LOGAN])
def test_fashion_of_logan(name):
  size = logan.FASHION_SIZES['small']
  overrides = [*logan.fashion_overrides(size), *mixture.METHODS[name]]
  config = _gan_runs.load_config('sgd_fashion_mnist', overrides)
  experiment = config.experiment_kwargs.config
  coefficients = experiment.training.grad_regularizes.to_dict()
  assert coefficients == base_config.no_regularizers()
  assert tuple(experiment.nets.gen_kwargs.channels) == (16, 8)
  assert tuple(experiment.nets.disc_kwargs.channels) == (8, 16)
  assert experiment.optimizers.generator.name == 'rmsprop'
  assert (experiment.training.adjustment == 'sga') == (name == logan.SGA)


# What is measured of samples.


def test_quality_of_a_mixture():
  everything = data_utils.mixture_of_gaussians(5000, seed=0)
  share, reached, covered = mixture.quality(everything.examples)
  assert (round(share, 2), reached, covered) == (0.99, 16, 16)
  # Five modes, one of them with too few samples, and blurred.
  chosen = everything.examples[everything.labels < 4]
  some = np.concatenate(
    [chosen, everything.examples[everything.labels == 4][:10]]
  )
  some += np.float32(0.1) * np.sign(some)
  assert mixture.quality(some) == (0, 0, 4)
  even = np.random.default_rng(0).uniform(-1.7, 1.7, (10_000, 2))
  assert mixture.quality(even)[1:] == (16, 0)


def test_density():
  """All samples within the grid count, also where they all are one point."""
  point = np.full((1000, 2), [0.5, -1.5])
  density = mixture.density(point)
  assert density.sum() == pytest.approx(1)
  peak = np.unravel_index(density.argmax(), density.shape)
  edges = np.linspace(-2, 2, density.shape[0] + 1)
  for index, coordinate in zip(peak, point[0], strict=True):
    assert abs(edges[index] - coordinate) <= edges[1] - edges[0]
  far = np.concatenate([point, point + 100])
  np.testing.assert_allclose(mixture.density(far), density / 2)


def test_what_diverged_is_said_where_it_is_drawn():
  samples = data_utils.mixture_of_gaussians(500, seed=0).examples
  runs = {
    'whole': _run([samples] * 3),
    'stopped': _run([samples] * 2, failure='step 12: not finite'),
    'far away': _run(
      [samples] * 3, losses=[[1.0, 1.0], [1.0, -2e6], [float('nan'), 1.0]]
    ),
  }
  figure = mixture.draw(runs, 'A title')
  panels = np.reshape(figure.axes, (3, 4))
  assert [axes.get_title() for axes in panels[:, -1]] == 3 * ['data']
  told = [
    [[t.get_text() for t in axes.texts] for axes in row[:-1]] for row in panels
  ]
  lost = ['diverged']
  assert told == [[[], [], []], [[], [], lost], [[], lost, lost]]
  labels = [row[0].get_ylabel().splitlines()[-1] for row in panels]
  assert labels == ['reached 16, covered 16', 'diverged', 'diverged']

  rates = {
    10.0**-k: mixture.measure(run) for k, run in enumerate(runs.values())
  }
  for axes in learning_rates.draw({'SGD': rates}).axes:
    shown = np.isfinite(axes.lines[0].get_ydata())
    assert shown.tolist() == [True, False, False]
    marks = [(text.get_position()[0], text.get_text()) for text in axes.texts]
    assert marks == [(rate, '×\ndiverged') for rate in (0.1, 0.01)]


def test_logan_at_equal_time():
  results = {
    'SGA': {
      'steps': [0, 10, 20],
      'seconds': [0.0, 3.0, 6.0],
      'FID': [9.0, 4.0, 2.0],
    },
    'LOGAN': {
      'steps': [0, 10, 20],
      'seconds': [0.0, 2.0, 4.0],
      'FID': [9.0, 8.0, 7.0],
    },
  }
  lines = logan.table({'images': results}).splitlines()
  assert lines[2:6] == [
    '| SGA, equal steps | 20 | 6 | 2 |',
    '| LOGAN, equal steps | 20 | 4 | 7 |',
    '| SGA, equal time | 10 | 3 | 4 |',
    '| LOGAN, equal time | 20 | 4 | 7 |',
  ]
  assert _draws(logan.draw({'images': results}))


def test_singular_values_of_a_run():
  samples = data_utils.standard_gaussian(2000, seed=0).examples
  run = _run([samples, samples * ([1] * 74 + [0])])
  result = gaussian.measure(run)
  smallest = [values[-1] for values in result['singular_values']]
  assert smallest[0] > 0.6
  assert smallest[1] == 0
  assert _draws(gaussian.draw({'RMSProp': result}))
  assert '| RMSProp | 0.000 |' in gaussian.table({'RMSProp': result})


# Runs.


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs')
  methods = {name: mixture.METHODS[name] for name in ('RMSProp', logan.LOGAN)}
  return folder, methods, mixture.make_runs('quick', folder, methods)


@pytest.mark.slow
def test_a_run_is_kept(quick, monkeypatch):
  folder, methods, made = quick
  with monkeypatch.context() as patch:
    patch.setattr(_gan_runs, 'train', None)  # Nothing is trained again.
    again = mixture.make_runs('quick', folder, methods)
  for name, run in made.items():
    assert run.steps == [0, 2, 4, 6, 8, 10]
    assert run.samples.shape == (6, 10_000, 2)
    assert run.seconds == sorted(run.seconds)
    assert not np.array_equal(run.samples[0], run.samples[-1])
    np.testing.assert_array_equal(run.samples, again[name].samples)
    assert json.dumps(run._replace(samples=None)) == json.dumps(
      again[name]._replace(samples=None)
    )
  with pytest.raises(errors.UserError, match='of other settings: remove it'):
    mixture.make_runs('quick', folder, {'RMSProp': methods[logan.LOGAN]})


@pytest.mark.slow
def test_the_mixture_is_drawn(quick):
  _, _, runs = quick
  results = {name: mixture.measure(run) for name, run in runs.items()}
  # At the start nothing is known: the losses are those of chance.
  for result in results.values():
    assert result['disc_loss'][0] == pytest.approx(2 * np.log(2), abs=0.5)
    assert result['gen_loss'][0] == pytest.approx(np.log(2), abs=0.5)
  assert mixture.table(results).count('\n') == 1 + len(runs)
  assert _draws(mixture.draw(runs, 'quick'))


@pytest.mark.slow
def test_lookahead_is_looked_at_slowly(tmp_path):
  """Before its first synchronisation the slow players have not moved."""
  methods = {'lookahead': mixture.METHODS['RMSProp, lookahead']}
  run = mixture.make_runs('quick', tmp_path, methods)['lookahead']
  np.testing.assert_array_equal(run.samples[0], run.samples[2])  # Step 4.
  assert not np.array_equal(run.samples[0], run.samples[3])  # Step 6.


@pytest.mark.slow
def test_a_run_that_fails_keeps_what_it_had(tmp_path):
  runs = learning_rates.make_runs('quick', tmp_path, ['SGD'], [1e6])
  run = runs['SGD'][1e6]
  assert run.steps == [0]
  assert 'not finite' in run.failure
  measured = {'SGD': {1e6: mixture.measure(run)}}
  assert '(diverged)' in mixture.table(measured['SGD'])
  assert _draws(learning_rates.draw(measured))


@pytest.mark.slow
def test_gaussian_quickly(tmp_path):
  runs = gaussian.make_runs('quick', tmp_path, ['RMSProp'])
  assert runs['RMSProp'].samples.shape == (5, 10_000, 75)
  errors_of_ones = [m['covariance_error'] for m in runs['RMSProp'].metrics]
  values = gaussian.measure(runs['RMSProp'])['singular_values'][-1]
  # Evaluation has samples of its own.
  expected = max(abs(value - 1) for value in values)
  assert errors_of_ones[-1] == pytest.approx(expected, abs=0.1)
