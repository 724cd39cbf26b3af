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
"""Trains GANs for a figure, each by a config and command-line overrides.

Runs go to `runs/figures`; one that is there is not made again, so that an
interrupted figure goes on.
"""

from collections.abc import Sequence
import functools
import json
import pathlib
import re
import shlex
import sys
import time
import types
from typing import Any, NamedTuple

import jax
from matplotlib.figure import Figure
from ml_collections import config_dict
import numpy as np

from benchmarks import report
from dd_two_player_games import base_config
from dd_two_player_games import experiment
from dd_two_player_games import model_utils
from dd_two_player_games import parts
from dd_two_player_games import training
from figures import _output
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import flags
from jaxline_harness import shipped
from jaxline_harness import train_loop

FOLDER = _output.FOLDER
# Losses of the discriminator and the generator, by the name of the pair.
LOSS_PAIRS = {
  'saturating': ('discriminator_goodfellow_loss', 'generator_saturating_loss'),
  'non-saturating': (
    'discriminator_goodfellow_loss',
    'generator_goodfellow_loss',
  ),
  'hinge': ('hinge_discriminator_loss', 'hinge_generator_loss'),
  'least squares': (
    'discriminator_square_loss',
    'generator_non_saturating_square_loss',
  ),
  'least squares, zero-sum': (
    'discriminator_square_loss',
    'generator_square_loss',
  ),
  'Wasserstein, penalty': (
    'wasserstein_discriminator_loss',
    'wasserstein_generator_loss',
  ),
}
# Losses are measured on so many examples and samples.
NUM_EXAMPLES = 8192


class Run(NamedTuple):
  """What is kept of a run, at each of the steps where it was looked at.

  Attributes:
    steps: the steps, fewer than asked for where training failed.
    losses: of discriminator and generator.
    seconds: of training up to each step, by `_clock`.
    metrics: what the experiment's evaluation gives.
    failure: what ended training before its last step, or ''.
    samples: of the generator, `(len(steps), N, …)`.
  """

  steps: list[int]
  losses: list[tuple[float, float]]
  seconds: list[float]
  metrics: list[dict[str, float]]
  failure: str
  samples: np.ndarray

  @property
  def milliseconds_a_step(self) -> float:
    """Of training, on the machine of the run."""
    return 1e3 * self.seconds[-1] / max(self.steps[-1], 1)


def setting(**values: Any) -> list[str]:
  """Overrides of the experiment's fields, `__` in names standing for a dot."""
  return [
    f'--config.experiment_kwargs.config.{name.replace("__", ".")}={value}'
    for name, value in values.items()
  ]


def both_optimizers(**values: Any) -> list[str]:
  """Overrides of both players' optimisers."""
  return [
    override
    for player in ('discriminator', 'generator')
    for override in setting(
      **{f'optimizers__{player}__{name}': v for name, v in values.items()}
    )
  ]


def load_config(name: str, overrides: Sequence[str]) -> config_dict.ConfigDict:
  """The full config of a file in `configs/` and command-line overrides."""
  config = flags.load_config(str(shipped.find_file('configs', name)))
  flags.override_fields(config, list(overrides), base_config.SCHEMA)
  return base_config.resolve(config)


def train(
  config: config_dict.ConfigDict, steps: Sequence[int], num_samples: int
) -> Run:
  """Trains, and looks at the generator at these steps, the first of them 0.

  With lookahead it is the slow parameters that are looked at.
  """
  settings = config.experiment_kwargs.config
  made = experiment.Experiment('train', None, settings)
  model = training.build_gan(settings)
  trainer = training.Trainer(settings, model)
  processor = parts.PROCESSORS.find(settings.data_processor)
  examples = processor.preprocess(made.device_data()['examples'][:NUM_EXAMPLES])
  key = jax.random.key(0)
  state = types.SimpleNamespace(global_step=0)

  @functools.partial(jax.vmap, axis_name='i', axis_size=1, in_axes=None)
  def losses_of(params, networks):
    losses, _ = model.both_losses(params, networks, examples, key, False)
    return losses

  def train_to(step):
    with config.unlocked():
      config.training_steps = step
    train_loop.run_loop(made, config, state)
    if state.global_step < step:  # A signal has asked it to stop.
      raise KeyboardInterrupt

  def look(step):
    train_state = made.snapshot_state()['train_state']
    params, networks = trainer.evaluated(train_state), train_state.state
    sampler = model_utils.Sampler(model, params, networks, pmap=False)
    losses = [float(loss[0]) for loss in losses_of(params, networks)]
    metrics = made.evaluate(global_step=step, rng=None, writer=None)
    return losses, metrics, np.asarray(sampler.sample_batch(num_samples, key))

  # The first step compiles: it is made twice, and counted once.
  start = made.snapshot_state()
  train_to(1)
  made.restore_from_snapshot(start)
  state.global_step, failure, seconds = 0, '', [0.0]
  looks = [look(0)]
  for step in steps[1:]:
    before = _clock()
    try:
      train_to(step)
      elapsed = _clock() - before
      looks.append(look(step))
    except errors.TrainingError as error:
      failure = str(error)
      break
    seconds.append(seconds[-1] + elapsed)
  losses, metrics, samples = zip(*looks, strict=True)
  return Run(
    steps=list(steps[: len(looks)]),
    losses=list(losses),
    seconds=seconds,
    metrics=list(metrics),
    failure=failure,
    samples=np.stack(samples),
  )


def _clock() -> float:
  """Seconds; on a CPU its own, so that other programs there do not count."""
  on_cpu = jax.default_backend() == 'cpu'
  return time.process_time() if on_cpu else time.monotonic()


def run(
  folder: pathlib.Path,
  name: str,
  config_name: str,
  overrides: Sequence[str],
  steps: Sequence[int],
  num_samples: int,
) -> Run:
  """The run of this name; made unless it is there.

  Args:
    folder: where runs lie.
    name: of the run; its file's is made of it.
    config_name: of a file in `configs/`.
    overrides: as on the command line.
    steps: when to look at the generator, the first step 0.
    num_samples: how many samples to keep, each time.

  Returns:
    The run.

  Raises:
    UserError: it is there, but of other settings.
  """
  path = folder / f'{re.sub("[^a-z0-9.]+", "_", name.lower())}.json'
  config = load_config(config_name, overrides)
  settings = config.experiment_kwargs.config.to_dict()
  made_of = [json.dumps(settings, sort_keys=True), *steps, num_samples]
  if path.exists():
    record = json.loads(path.read_text())
    if record.pop('made_of') != made_of:
      raise errors.UserError(f'{path} is of other settings: remove it.')
    return Run(**record, **files.read_npz(path.with_suffix('.npz')))
  print(f'{name}: training', file=sys.stderr, flush=True)
  result = train(config, steps, num_samples)
  folder.mkdir(parents=True, exist_ok=True)
  np.savez_compressed(path.with_suffix('.npz'), samples=result.samples)
  record = {'made_of': made_of, **result._asdict()}
  del record['samples']
  files.write_atomically(str(path), json.dumps(record))
  return result


def looks(num_steps: int, number: int) -> list[int]:
  """Steps to look at a run: the first, the last and evenly between."""
  return [num_steps * k // (number - 1) for k in range(number)]


# The scripts.


def write(
  name: str, size: str, figure: Figure, results: dict[str, dict[str, Any]]
) -> None:
  """Writes a picture and its figures, those of `quick` under `runs/`."""
  _output.write_picture(name, size, figure)
  content = {
    'command': shlex.join(['./run.sh', 'figures', name, *sys.argv[1:]]),
    'size': size,
    'date': time.strftime('%Y-%m-%d'),
    'machine': report.machine(),
    'results': results,
  }
  _output.write_record(name, size, content)
