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
"""The program that training runs: a loop of steps on each device."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import sharding
import jax.numpy as jnp
import numpy as np

from jaxline_harness import device_mesh
from jaxline_harness import drawn_ahead

PyTree = Any
# Maps a state and the data to the next state and its logs.
Update = Callable[[Any, PyTree], tuple[Any, dict[str, jax.Array]]]

NEVER = np.int32(-1)


def trace(
  update: Update, mesh: sharding.Mesh, train_state: PyTree, data: PyTree
) -> jax.stages.Traced:
  """Traces a training program, and a step within it once.

  Args:
    update: see `train_loop.ChunkedExperiment.update`.
    mesh: as `device_mesh.make_mesh` makes it; its devices need not be here.
    train_state: shapes and types of one replica of the state.
    data: see `train_loop.ChunkedExperiment.device_data`.

  Returns:
    A function of (state, device data, last step) that trains from the state's
    `global_step` to the last one. It gives the state, the last step's logs, and
    the first step with a loss or a parameter that is not finite, `NEVER` if
    there is none.

  Raises:
    TypeError: if a step gives a state of other shapes or types.
  """

  def run_steps(train_state, data, last_step):
    # Under jit its shapes and the loop's body are of one trace.
    step = jax.jit(_checked(update), inline=True)
    after, log_shapes, _ = jax.eval_shape(step, train_state, data, NEVER)
    _check_types(train_state, after)
    no_logs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log_shapes)

    def body(_, carry):
      train_state, _, bad_step = carry
      return step(train_state, data, bad_step)

    carry = (train_state, no_logs, jnp.asarray(NEVER))
    return jax.lax.fori_loop(train_state.global_step, last_step, body, carry)

  arguments = train_state, data, np.int32(0)
  specs = drawn_ahead.specs_of(arguments)
  run = device_mesh.run_everywhere(run_steps, mesh, specs, donate_argnums=0)
  return run.trace(*drawn_ahead.shapes_of(arguments))


def _checked(update: Update) -> Callable[..., Any]:
  """An update with logs of the one type that a loop can carry, and a check."""

  def update_and_check(train_state, data, bad_step):
    train_state, logs = update(train_state, data)
    logs = {k: jnp.asarray(v, jnp.float32) for k, v in logs.items()}
    watched = jax.tree.leaves((train_state.params, select_losses(logs)))
    is_finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in watched]).all()
    bad_step = jnp.where(
      is_finite | (bad_step != NEVER), bad_step, train_state.global_step
    )
    return train_state, logs, bad_step

  return update_and_check


def select_losses(logs: Mapping[str, Any]) -> dict[str, Any]:
  """The logs that must be finite."""
  return {k: v for k, v in logs.items() if k.endswith('loss')}


def _check_types(before: PyTree, after: PyTree) -> None:
  """Raises TypeError if a loop cannot carry a state."""
  before, after = (
    jax.tree.map(lambda x: f'{x.dtype}{list(x.shape)}', state)
    for state in (before, after)
  )
  if before != after:
    raise TypeError(f'the state is {before} before, and {after} after it')
