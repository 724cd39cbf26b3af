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
"""A trained GAN without its data set: samples, interpolations, outputs.

import dd_two_player_games

run = dd_two_player_games.load('runs/sgd_fashion_mnist')
images = run.sample(64, seed=1)
"""

import json
import os
from typing import Any

import jax
from ml_collections import config_dict
import numpy as np
import numpy.typing as npt

from dd_two_player_games import base_config
from dd_two_player_games import data_utils
from dd_two_player_games import gan
from dd_two_player_games import image_metrics
from dd_two_player_games import training
from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import errors
from jaxline_harness import run_directory

_BATCH_SIZE = 250
_SERIES = ('best', 'latest')


class TrainedRun:
  """A checkpoint of a run, for use.

  Attributes:
    config: the run's full config, `experiment_kwargs.config`.
    path: the checkpoint's folder.
    step: steps trained.
    params: a GANTuple of the parameters that are evaluated.
    state: the networks' states.
  """

  def __init__(self, config: config_dict.ConfigDict, path: str):
    """Reads a checkpoint.

    Args:
      config: the run's, resolved.
      path: the folder of a step.

    Raises:
      errors.UserError: if the two do not belong together.
    """
    self.config, self.path = config, path
    self._model = training.build_gan(config)
    trainer = training.Trainer(config, self._model)
    samples = self._model.shape_of_samples()
    abstract_state = jax.eval_shape(
      trainer.initial_state, jax.random.PRNGKey(0), samples
    )
    train_state = checkpoint_files.read(path, abstract_state)
    self.step = int(train_state.global_step)
    self.params: gan.GANTuple = trainer.evaluated(train_state)
    self.state: gan.GANState = train_state.state
    self._is_image = len(samples.shape) == 4
    self._generate = jax.jit(self._model.generate)
    self._discriminate = jax.jit(self._score)

  def draw_latents(self, num: int, seed: int = 0) -> np.ndarray:
    """Draws latents from their distribution.

    Args:
      num: how many.
      seed: from which they follow.

    Returns:
      Shape (num, num_latents).
    """
    key = jax.random.PRNGKey(seed)
    return np.asarray(self._model.draw_latents(key, num))

  def sample(
    self, num: int = 64, seed: int = 0, latents: npt.ArrayLike | None = None
  ) -> np.ndarray:
    """Makes samples.

    Args:
      num: how many, if latents are not given.
      seed: of their latents.
      latents: in place of both, of shape (num, num_latents).

    Returns:
      uint8 images (num, height, width, channels), or float32 points.

    Raises:
      ValueError: for latents of another shape.
    """
    if latents is None:
      latents = self.draw_latents(num, seed)
    latents = np.asarray(latents, np.float32)
    if (
      latents.ndim != 2 or latents.shape[1] != self.config.training.num_latents
    ):
      raise ValueError(
        f'latents have shape {latents.shape}, not (number, '
        f'{self.config.training.num_latents})'
      )
    batches = [
      np.asarray(
        self._generate(
          self.params.gen, self.state.players.gen, latents[k : k + _BATCH_SIZE]
        )
      )
      for k in range(0, len(latents), _BATCH_SIZE)
    ]
    samples = np.concatenate(batches)
    return image_metrics.as_uint8(samples) if self._is_image else samples

  def interpolate(
    self, num_pairs: int = 8, num_between: int = 8, seed: int = 0
  ) -> np.ndarray:
    """Makes samples on ways between latents.

    A way is an arc, on which latents keep a length that is likely.

    Args:
      num_pairs: how many ways.
      num_between: samples on each, both ends among them.
      seed: of the ends.

    Returns:
      As `sample`, one way after the other.
    """
    ends = self.draw_latents(2 * num_pairs, seed)
    starts, stops = ends[:num_pairs], ends[num_pairs:]
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (starts, stops)]
    cosines = np.sum(starts / norms[0] * stops / norms[1], axis=1)
    angles = np.arccos(np.clip(cosines, -1, 1))[:, None, None]
    shares = np.linspace(0, 1, num_between)[None, :, None]
    ways = (
      np.sin((1 - shares) * angles) * starts[:, None]
      + np.sin(shares * angles) * stops[:, None]
    ) / np.sin(angles)
    return self.sample(latents=ways.reshape(-1, ends.shape[1]))

  def discriminate(self, examples: npt.ArrayLike) -> np.ndarray:
    """The discriminator's outputs.

    Args:
      examples: as `sample` gives them.

    Returns:
      One number an example: above zero for data, as most losses have it.
    """
    preprocess = getattr(data_utils, self.config.data_processor).preprocess
    outputs = self._discriminate(preprocess(np.asarray(examples)))
    return np.asarray(outputs).reshape(len(outputs))

  def _score(self, examples):
    outputs, *_ = self._model.disc_forward(
      self.params.disc, self.state, examples, False, False
    )
    return outputs


def load(run: str, step: int | str = 'latest') -> TrainedRun:
  """Loads a trained GAN; its data set is not needed.

  Args:
    run: the run's folder.
    step: 'latest', 'best', or the number of a step that is kept.

  Returns:
    The run.

  Raises:
    errors.UserError: if there is no such checkpoint, or it is damaged.
  """
  folder = os.path.abspath(os.path.expanduser(run))
  if not os.path.isdir(folder):
    raise errors.UserError(
      f'there is no folder {folder}: name the one of a run'
    )
  path = _find_checkpoint(folder, step)
  try:
    checkpoint_files.check(path)
  except checkpoint_files.DamagedError as error:
    raise errors.UserError(
      f'the checkpoint {path} is damaged: {error}'
    ) from error
  return TrainedRun(_read_config(folder), path)


def _find_checkpoint(folder: str, step: int | str) -> str:
  root = os.path.join(folder, 'checkpoints')
  if step in _SERIES:
    return checkpointing.find_checkpoint(os.path.join(root, str(step)))
  kept = {
    str(number): os.path.join(root, series, str(number))
    for series in _SERIES
    for number in checkpointing.steps_in(os.path.join(root, series))
  }
  if str(step) in kept:
    return kept[str(step)]
  raise errors.UserError(
    f'{folder} keeps no checkpoint of step {step}; there is '
    f'{", ".join(sorted(kept, key=int)) or "none"}'
  )


def _read_config(folder: str) -> config_dict.ConfigDict:
  path = os.path.join(folder, run_directory.CONFIG_FILE)
  try:
    with open(path, encoding='utf-8') as f:
      given: dict[str, Any] = json.load(f)['config']
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise errors.UserError(
      f'{path} cannot be read ({errors.one_line(error)}): it says what the '
      'run trained'
    ) from error
  config = config_dict.ConfigDict(given)
  return base_config.resolve(config).experiment_kwargs.config
