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
"""Whether networks suit the data and the devices, from shapes alone."""

from collections.abc import Callable
from typing import Any

from absl import logging
import jax
from ml_collections import config_dict

from dd_two_player_games import config_checks
from dd_two_player_games import data_facts
from dd_two_player_games import gan
from dd_two_player_games import labelled
from jaxline_harness import errors
from jaxline_harness import memory
from jaxline_harness import outside

_PATH = 'config.experiment_kwargs.config'


def check_shapes(
  config: config_dict.ConfigDict,
  model: gan.GAN,
  data_name: str,
  batch: labelled.Batch,
  trace_state: Callable[[], Any],
) -> None:
  """Checks that networks suit the data, and each other.

  Args:
    config: the experiment's config.
    model: of the networks.
    data_name: what the data are called.
    batch: two examples, as networks see them.
    trace_state: gives shapes and types of the initial TrainState.

  Raises:
    errors.UserError: if they do not.
  """
  wanted = gan.examples_of(batch).shape[1:]

  def check(train_state):
    params, state = train_state.params, train_state.state
    kwargs = {'is_training': True, **labelled.arguments_of(batch)}
    samples, _ = model.sample(
      params.gen, state.players.gen, jax.random.PRNGKey(0), 2, kwargs
    )
    if samples.shape[1:] != wanted:
      raise ValueError(f'samples have shape {samples.shape[1:]}')
    sample_batch = labelled.map_examples(lambda _: samples, batch)
    outputs, *_ = model.disc_forward(
      params.disc, state, sample_batch, True, False
    )
    config_checks.check_outputs(config, outputs.shape, samples.shape[0])

  try:
    mapped = jax.vmap(check, axis_name='i', axis_size=1, in_axes=None)
    jax.eval_shape(mapped, trace_state())
  except Exception as error:  # Whatever a network makes of its arguments.
    logging.info('The networks do not work:', exc_info=True)
    raise errors.UserError(
      f'{_PATH}.nets do not suit {data_name}, of shape {wanted}: '
      f'{outside.describe(error)}'
    ) from error


def check_step(
  config: config_dict.ConfigDict, trace_step: Callable[[], Any]
) -> None:
  """Checks a step, if the config names what lies outside.

  Args:
    config: the experiment's config.
    trace_step: traces it.

  Raises:
    errors.UserError: if the step fails, with the user's file and line.
  """
  names = sorted(set(outside.names_in(config.to_dict())))
  if not names:
    return
  try:
    trace_step()
  except Exception as error:  # Whatever other people's code does.
    logging.info('A step fails:', exc_info=True)
    raise errors.UserError(
      f'a step with {", ".join(names)} fails: {outside.describe(error)}'
    ) from error


def check_memory(
  config: config_dict.ConfigDict,
  model: gan.GAN,
  data: Any,
  facts: data_facts.DataFacts,
  train_state: Any,
) -> None:
  """Checks that the state and samples fit into a device.

  Args:
    config: the experiment's config.
    model: of the networks.
    data: what a step is given, or its shapes.
    facts: of the data.
    train_state: shapes and types of the TrainState.

  Raises:
    errors.UserError: if they do not.
  """
  memory.check_devices(
    f'{_PATH}.nets, training.num_latents, data_on={config.data_on}: '
    'parameters, optimisers and data',
    memory.size_of((train_state, data)),
  )
  num_samples = config.eval.batch_size

  def sample(train_state):
    params, state = train_state.params.gen, train_state.state.players.gen
    key = jax.random.PRNGKey(0)
    latents = model.draw_latents(key, num_samples)
    labels = facts.draw_labels(key, num_samples)
    return model.generate(params, state, labelled.label(latents, labels))

  memory.check_devices(
    f'{_PATH}.eval.batch_size={num_samples}: making samples',
    2 * memory.largest_array(sample, train_state),  # A layer's two ends.
  )
