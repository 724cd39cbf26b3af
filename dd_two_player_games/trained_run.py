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
import math
import os
from typing import Any

import jax
from ml_collections import config_dict
import numpy as np
import numpy.typing as npt

from dd_two_player_games import base_config
from dd_two_player_games import data_facts
from dd_two_player_games import gan
from dd_two_player_games import image_metrics
from dd_two_player_games import labelled
from dd_two_player_games import parts
from dd_two_player_games import training
from jaxline_harness import checkpoint_files
from jaxline_harness import checkpointing
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import memory
from jaxline_harness import outside
from jaxline_harness import run_directory
from jaxline_harness import settings

_BATCH_SIZE, _NUM_SAMPLES = 250, 64
_SERIES = ('best', 'latest')
# Of the angle of two latents; below it their arc is a line, or any.
_LEAST_SINE = 1e-3


class TrainedRun:
  """A checkpoint of a run, for use.

  Attributes:
    config: the run's full config, `experiment_kwargs.config`.
    path: the checkpoint's folder.
    step: steps trained.
    params: a GANTuple of the parameters that are evaluated.
    state: the networks' states.
    is_image: whether it makes images, not points.
    num_classes: of the labels that its samples have; 0 if they have none.
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
    facts = data_facts.read_record(path, checkpoint_files.read_data(path))
    self._model = training.build_gan(config, facts)
    trainer = training.Trainer(config, self._model)
    if facts is None:  # Checkpoints did not always say so.
      shape = self._model.shape_of_samples().shape[1:]
      facts = data_facts.DataFacts(shape)
    self._facts = facts
    abstract_state = jax.eval_shape(
      trainer.initial_state, jax.random.PRNGKey(0), facts.example_batch()
    )
    train_state = checkpoint_files.read(path, abstract_state)
    self.step = int(train_state.global_step)
    self.params: gan.GANTuple = trainer.evaluated(train_state)
    self.state: gan.GANState = train_state.state
    self._shape = facts.shape
    self.is_image = len(self._shape) == 3
    self.num_classes = len(facts.class_counts)
    self._generate = jax.jit(self._model.generate)
    self._discriminate = jax.jit(self._score)

  def draw_latents(self, num: int, seed: int = 0) -> np.ndarray:
    """Draws latents from their distribution.

    Args:
      num: how many.
      seed: from which they follow.

    Returns:
      Shape (num, num_latents).

    Raises:
      ValueError: for no latents, or a seed that is none; UserError, which is
        one, where they do not fit into memory.
    """
    if num < 1:
      raise ValueError(f'{num} samples: there must be one at least')
    if not settings.SEED.accepts(seed):
      raise ValueError(f'seed={seed} must be {settings.SEED.wanted}')
    _check_memory(num, self.config.training.num_latents)
    key = jax.random.PRNGKey(seed)
    return np.asarray(self._model.draw_latents(key, num))

  def draw_labels(self, num: int, seed: int = 0) -> np.ndarray | None:
    """Draws labels, as frequent as in the data.

    Args:
      num: how many.
      seed: from which they follow.

    Returns:
      int32 `(num,)`, None for a run without labels.
    """
    _check_memory(num)
    labels = self._facts.draw_labels(jax.random.PRNGKey(seed), num)
    return None if labels is None else np.asarray(labels)

  def sample(
    self,
    num: int | None = None,
    seed: int = 0,
    latents: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
  ) -> np.ndarray:
    """Makes samples.

    Args:
      num: how many; None for as many as there are latents or labels, else 64.
      seed: of their latents and labels.
      latents: given, of shape (num, num_latents).
      labels: given, one for all or one for each; None for those of
        `draw_labels`, if the run has any.

    Returns:
      uint8 images (num, height, width, channels), or float32 points.

    Raises:
      ValueError: for latents of another shape or none, or a seed that is none;
        UserError, which is one, for labels that are none, and where samples do
        not fit into memory.
    """
    if latents is None:
      if num is None and labels is not None and np.ndim(labels):
        num = len(np.asarray(labels))
      latents = self.draw_latents(_NUM_SAMPLES if num is None else num, seed)
    latents = np.asarray(latents, np.float32)
    wanted = self.config.training.num_latents
    if latents.ndim != 2 or latents.shape[1] != wanted or not len(latents):
      raise ValueError(
        f'latents have shape {latents.shape}, not (number, {wanted})'
      )
    _check_memory(len(latents), *self._shape)
    if labels is None:
      labels = self.draw_labels(len(latents), seed)
    batch = self._label(latents, labels)
    return np.concatenate(
      [
        self._sample_batch(
          jax.tree.map(lambda x, k=k: x[k : k + _BATCH_SIZE], batch)
        )
        for k in range(0, len(latents), _BATCH_SIZE)
      ]
    )

  def _label(self, inputs: np.ndarray, labels: Any) -> labelled.Batch:
    """A batch of inputs and, if there are any, their labels."""
    if labels is not None:
      labels = labelled.check_labels(labels, len(inputs), self.num_classes)
    return labelled.label(inputs, labels)

  def _sample_batch(self, latents: labelled.Batch) -> np.ndarray:
    samples = np.asarray(
      self._generate(self.params.gen, self.state.players.gen, latents)
    )
    return image_metrics.as_uint8(samples) if self.is_image else samples

  def interpolate(
    self,
    num_pairs: int = 8,
    num_between: int = 8,
    seed: int = 0,
    labels: npt.ArrayLike | None = None,
  ) -> np.ndarray:
    """Makes samples on ways between latents.

    A way is an arc, on which latents keep a length that is likely.

    Args:
      num_pairs: how many ways.
      num_between: samples on each, both ends among them.
      seed: of the ends, and of the ways' labels.
      labels: given, one for all ways or one for each; see `sample`.

    Returns:
      As `sample`, one way after the other.
    """
    if labels is None:
      labels = self.draw_labels(num_pairs, seed)
    if labels is not None:
      labels = np.repeat(
        labelled.check_labels(labels, num_pairs, self.num_classes), num_between
      )
    num_latents = self.config.training.num_latents
    _check_memory(num_pairs * num_between, 4 * num_latents)
    ends = self.draw_latents(2 * num_pairs, seed)
    ways = interpolate_latents(ends[:num_pairs], ends[num_pairs:], num_between)
    return self.sample(latents=ways.reshape(-1, num_latents), labels=labels)

  def discriminate(
    self, examples: npt.ArrayLike, labels: npt.ArrayLike | None = None
  ) -> np.ndarray:
    """The discriminator's outputs.

    Args:
      examples: as `sample` gives them.
      labels: one for all or one for each, of a run that has labels.

    Returns:
      One number an example, of shape (number,): above zero for data, as most
      losses have it. Where the run's losses take several outputs an example
      (MMD, sliced Wasserstein), these features, of shape (number, k): they
      score no example, but say how it differs from others.

    Raises:
      ValueError: for examples of another shape, or images that are not uint8;
        UserError, which is one, for labels that are none, or missing.
    """
    examples = np.asarray(examples)
    if examples.shape[1:] != self._shape or not len(examples):
      wanted = ', '.join(map(str, self._shape))
      raise ValueError(
        f'examples have shape {examples.shape}, not (number, {wanted})'
      )
    if self.is_image and examples.dtype != np.uint8:
      raise ValueError(f'images must be uint8, not {examples.dtype}')
    if labels is None and self.num_classes:
      raise errors.UserError(
        f'labels are missing: this run has {self.num_classes} classes'
      )
    processor = parts.PROCESSORS.find(self.config.data_processor)
    batch = self._label(processor.preprocess(examples), labels)
    outputs = self._discriminate(batch)
    outputs = np.asarray(outputs).reshape(len(outputs), -1)
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs

  def _score(self, examples):
    outputs, *_ = self._model.disc_forward(
      self.params.disc, self.state, examples, False, False
    )
    return outputs


def interpolate_latents(
  starts: np.ndarray, stops: np.ndarray, num_between: int
) -> np.ndarray:
  """Points on arcs; on lines between ends of one direction, or opposite ones.

  Args:
    starts: `(N, d)`.
    stops: the same.
    num_between: points on each way, both ends among them.

  Returns:
    `(N, num_between, d)`.
  """
  norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in (starts, stops)]
  cosines = np.sum(starts / norms[0] * stops / norms[1], axis=1)
  angles = np.arccos(np.clip(cosines, -1, 1))[:, None, None]
  shares = np.linspace(0, 1, num_between)[None, :, None]
  sines = np.sin(angles)
  is_arc = sines > _LEAST_SINE
  weights = [
    np.where(is_arc, np.sin(x * angles) / np.where(is_arc, sines, 1), x)
    for x in (1 - shares, shares)
  ]
  return weights[0] * starts[:, None] + weights[1] * stops[:, None]


def load(
  run: str, step: int | str = 'latest', trust_code: bool = False
) -> TrainedRun:
  """Loads a trained GAN; its data set is not needed.

  Args:
    run: the run's folder.
    step: 'latest', 'best', or the number of a step that is kept.
    trust_code: whether to run what the run names outside this project even if
      none of the user's runs has trained with it: it may do anything.

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
      f'the checkpoint {path} is damaged: {error}; kept are '
      f'{_name_steps(_kept_checkpoints(folder))}'
    ) from error
  config = _read_config(folder, path, trust_code)
  with outside.explain_errors(f'{path} cannot be used'):
    return TrainedRun(config, path)


def _kept_checkpoints(folder: str) -> dict[str, str]:
  """Maps steps, as text, to their checkpoints."""
  root = os.path.join(folder, 'checkpoints')
  return {
    str(number): os.path.join(root, series, str(number))
    for series in _SERIES
    for number in checkpointing.steps_in(os.path.join(root, series))
  }


def _name_steps(kept: dict[str, str]) -> str:
  return ', '.join(sorted(kept, key=int)) or 'none'


def _find_checkpoint(folder: str, step: int | str) -> str:
  kept = _kept_checkpoints(folder)
  if step in _SERIES:
    series = os.path.join(folder, 'checkpoints', str(step))
    if checkpointing.steps_in(series):
      return checkpointing.find_checkpoint(series)
  if str(step) in kept:
    return kept[str(step)]
  raise errors.UserError(
    f'{folder} keeps no checkpoint of step {step}; there is {_name_steps(kept)}'
  )


def _read_config(
  folder: str, path: str, trust_code: bool
) -> config_dict.ConfigDict:
  """Reads the config that a checkpoint was saved with, or its run's."""
  given: Any = checkpoint_files.read_config(path)
  if given is None:  # Checkpoints did not always say so.
    name = os.path.join(folder, run_directory.CONFIG_FILE)
    try:
      with files.open_regular(name) as f:
        given = json.load(f)['config']
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
      raise errors.UserError(
        f'{name} cannot be read ({errors.one_line(error)}): it says what the '
        'run trained'
      ) from error
  if not trust_code:
    outside.check_trust(given, folder)
  try:
    config = base_config.resolve(config_dict.ConfigDict(given))
  except (TypeError, ValueError, AttributeError) as error:
    raise errors.UserError(
      f'{folder} is no run of a GAN that can be loaded here: '
      f'{errors.one_line(error)}'
    ) from error
  return config.experiment_kwargs.config


def _check_memory(*shape: int) -> None:
  """Raises UserError unless there is memory for such an array, and copies."""
  memory.check_host(f'{shape[0]} samples', 3 * 4 * math.prod(shape))
