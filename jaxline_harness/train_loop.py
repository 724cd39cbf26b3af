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
"""Training in chunks of steps that run on the device.

A chunk is one compiled program: `lax.fori_loop` over `update` inside one
`pmap`, its last step a run-time argument. The host sees only what comes out of
a chunk. Chunks end where one of jaxline's periodic actions is due and after
about two seconds at the latest; how long they are changes no result.
"""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
import fractions
import math
import time
from typing import Any

import jax
from jax import sharding
import jax.numpy as jnp
from jaxline import experiment
from jaxline import utils
from ml_collections import config_dict
import numpy as np

from jaxline_harness import errors
from jaxline_harness import progress
from jaxline_harness import signals

PyTree = Any
TrainState = Any  # A NamedTuple with an int32 scalar field `global_step`.

DEFAULT_MAX_CHUNK_STEPS = 1000
_CHUNK_SECONDS = 2.0


def replicate(tree: PyTree) -> PyTree:
  """Puts one copy of each array on each local device.

  Args:
    tree: arrays of any shapes `[...]`.

  Returns:
    The same tree of arrays `[local_device_count, ...]`, as `pmap` takes them.
  """
  devices = np.array(jax.local_devices())
  mesh = sharding.Mesh(devices, ('i',))
  placement = sharding.NamedSharding(mesh, sharding.PartitionSpec('i'))

  def put(x):
    x = np.asarray(x)
    return jax.device_put(
      np.broadcast_to(x, (devices.size,) + x.shape), placement
    )

  return jax.tree.map(put, tree)


def unreplicate(tree: PyTree) -> PyTree:
  """Fetches the first local device's copy: the inverse of `replicate`.

  Args:
    tree: arrays `[local_device_count, ...]`.

  Returns:
    The same tree of numpy arrays `[...]`.
  """
  first = jax.tree.map(lambda x: x.addressable_data(0), tree)
  return jax.tree.map(lambda x: np.asarray(x)[0], jax.device_get(first))


class ChunkPlanner:
  """Chooses the step at which the next chunk ends."""

  def __init__(
    self,
    actions: Iterable[utils.PeriodicAction],
    last_step: int,
    max_chunk_steps: int,
  ):
    """Prepares to plan.

    Args:
      actions: the periodic actions that must meet their steps.
      last_step: the last step of training.
      max_chunk_steps: the longest chunk.
    """
    self._actions = tuple(actions)
    self._last_step = last_step
    self._max_chunk_steps = max_chunk_steps
    self._steps_in_time = 1
    self._chunks_timed = 0

  def next_end(self, step: int) -> int:
    """Returns the last step of the chunk that begins after `step`."""
    ends: list[float] = [step + min(self._max_chunk_steps, self._steps_in_time)]
    ends.append(self._last_step)
    ends.extend(next_due_step(action, step) for action in self._actions)
    return max(step + 1, int(min(ends)))

  def record(self, steps: int, seconds: float) -> None:
    """Learns from a chunk how many steps the next one may have."""
    self._chunks_timed += 1
    if self._chunks_timed > 1:  # The first one compiled the program.
      rate = steps / max(seconds, 1e-6)
      self._steps_in_time = max(1, int(rate * _CHUNK_SECONDS))


def next_due_step(action: utils.PeriodicAction, step: int) -> float:
  """Returns the first step after `step` at which an action may be due.

  Actions by the clock (`interval_type='secs'`) constrain no step. jaxline keeps
  an action's settings private and offers no other way to ask.

  Args:
    action: one of jaxline's periodic actions.
    step: the present step.

  Returns:
    A whole number, or infinity.
  """
  # pylint: disable=protected-access
  if action.log_all_data:
    return step + 1
  if action._interval_type != 'steps':
    return math.inf
  # `step % interval == 0` for whole steps: for 2.5 these are multiples of 5.
  period = fractions.Fraction(action._interval).numerator
  due = [(step // period + 1) * period]
  for ratio in action._logging_growth_ratios or ():
    exponents = range(len(str(step)) + 1)
    candidates = (round(ratio * 10**exponent) for exponent in exponents)
    due.extend(candidate for candidate in candidates if candidate > step)
  return min(due)


class ChunkedExperiment(experiment.AbstractExperiment):
  """A jaxline experiment whose step is a pure function of one `TrainState`.

  Nothing but `train_state` and `device_data()` influences a step, so restarts
  and the lengths of chunks change nothing, to the last bit.

  Attributes:
    train_state: the state, replicated over the local devices (a leading axis),
      or None until it is made or restored.
    device_loop: whether a chunk is one loop on the device. False dispatches one
      compiled step after another from the host, for models whose steps XLA
      compiles worse inside a loop. The two may differ in the last bits, so it
      must not change within a run.
  """

  CHECKPOINT_ATTRS = {'train_state': 'train_state'}
  device_loop = True

  def __init__(self, mode: str, init_rng: jax.Array | None = None):
    super().__init__(mode=mode, init_rng=init_rng)
    self.mode = mode
    self.init_rng = init_rng
    self.train_state: TrainState | None = None
    self._device_data: PyTree = None
    self._compiled_chunk: Callable[..., Any] | None = None

  # What a subclass provides.

  @abc.abstractmethod
  def initial_train_state(self) -> TrainState:
    """Returns one replica of the state at step 0; pure."""

  @abc.abstractmethod
  def update(
    self, train_state: TrainState, data: PyTree
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """Makes one step; pure, runs on each device inside `pmap` over axis `i`.

    Args:
      train_state: one replica of the state.
      data: what `device_data` returned.

    Returns:
      The state with `global_step` one higher, and a flat dict of scalars to log
      that are the same on all devices.
    """

  @abc.abstractmethod
  def device_data(self) -> PyTree:
    """Returns the numpy arrays that each device gets a copy of, once."""

  def write_samples(self, writer: Any, global_step: int) -> None:
    """Writes samples of the model; called after each 'latest' checkpoint.

    With several processes only the one that saves calls it, so it must not wait
    for other processes' devices.

    Args:
      writer: a `run_directory.Writer`.
      global_step: the step of the checkpoint.
    """

  def measure(self) -> Mapping[str, float]:
    """Measures the state on the host at the end of a chunk, to be logged too.

    By default nothing. Every process calls it.
    """
    return {}

  # What the harness makes of it.

  def abstract_train_state(self) -> TrainState:
    """Returns shapes and types of one replica of the state."""
    return jax.eval_shape(self.initial_train_state)

  def ensure_train_state(self) -> None:
    """Makes the initial state unless there is a state already."""
    if self.train_state is None:
      state = jax.jit(self.initial_train_state)()
      self.train_state = replicate(jax.device_get(state))

  def snapshot_state(self) -> Mapping[str, PyTree]:
    """Returns one replica of the state as numpy arrays, for a checkpoint.

    Raises:
      errors.TrainingError: if the state holds a NaN. (Infinity is allowed: some
        optimisers start from it.)
    """
    self.ensure_train_state()
    state = unreplicate(self.train_state)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
      if jnp.issubdtype(leaf.dtype, jnp.inexact) and np.isnan(leaf).any():
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        raise errors.TrainingError(
          f'step {int(state.global_step)}: {name} holds NaN; this state is not '
          'saved'
        )
    return {'train_state': state}

  def restore_from_snapshot(self, snapshot_state: Mapping[str, PyTree]) -> None:
    """Takes over a state that `snapshot_state` returned."""
    self.train_state = None  # Frees the memory before the new one is put.
    self.train_state = replicate(snapshot_state['train_state'])

  def step(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, np.ndarray]:
    """Makes one step; jaxline's interface, which `train_loop` does not use."""
    del global_step, rng, writer
    self.ensure_train_state()
    return self._run_chunk(int(unreplicate(self.train_state.global_step)) + 1)

  def train_loop(
    self,
    config: config_dict.ConfigDict,
    state: Any,
    periodic_actions: Sequence[utils.PeriodicAction],
    writer: Any = None,
  ) -> None:
    """Trains to `config.training_steps`, or until a signal asks to stop.

    Args:
      config: jaxline's config, with `max_chunk_steps` if there is such a limit.
      state: jaxline's state; its `global_step` is kept up to date. Where it has
        a `save_checkpoint` (`checkpointing.ExperimentState`), SIGQUIT calls it.
      periodic_actions: called after each chunk, when due exactly.
      writer: not used; the periodic actions hold it.

    Raises:
      errors.TrainingError: if a loss that was logged is not finite.
    """
    del writer
    # jaxline documents the interval None as "off" but does not handle it.
    actions = [a for a in periodic_actions if a._interval is not None]  # pylint: disable=protected-access
    planner = ChunkPlanner(
      actions,
      config.training_steps,
      config.get('max_chunk_steps', DEFAULT_MAX_CHUNK_STEPS),
    )
    display = progress.Progress(
      state.global_step, config.training_steps, jax.process_index() == 0
    )
    self.ensure_train_state()
    try:
      with signals.watch() as watcher, display:
        watcher.can_save = True
        self._run_chunks(config, state, actions, planner, watcher, display)
    finally:
      _finish(actions)

  def _run_chunks(
    self, config, state, actions, planner, watcher, display
  ) -> None:
    """The loop itself."""
    while self.should_run_step(state.global_step, config):
      end, stop, save = _agree(
        planner.next_end(state.global_step),
        watcher.stop_signal is not None,
        watcher.save_requested,
      )
      if save:
        watcher.save_requested = False
        _save_on_request(state, display)
      if stop:
        return
      start_time = time.monotonic()
      logs = self._run_chunk(end)
      seconds = time.monotonic() - start_time
      _check_losses(logs, end)
      planner.record(end - state.global_step, seconds)
      state.global_step = end
      display.update(end, seconds, logs)
      for action in actions:
        action(time.time(), end, logs)

  def _run_chunk(self, last_step: int) -> dict[str, np.ndarray]:
    """Trains to `last_step`; returns that step's logs, and `measure`'s."""
    if self._device_data is None:
      self._device_data = replicate(self.device_data())
    if self._compiled_chunk is None:
      self._compiled_chunk = self._compile_chunk()
    self.train_state, logs = self._compiled_chunk(
      self.train_state, self._device_data, last_step
    )
    measured = {k: np.float32(v) for k, v in self.measure().items()}
    return unreplicate(logs) | measured

  def _compile_chunk(self):
    """Returns (replicated state, data, last step) -> (state, logs)."""
    if self.device_loop:
      run = jax.pmap(
        self._chunk_on_device,
        axis_name='i',
        in_axes=(0, 0, None),
        donate_argnums=0,
      )
      return lambda state, data, last: run(state, data, np.int32(last))
    run_step = jax.pmap(
      self._update_with_arrays, axis_name='i', donate_argnums=0
    )
    # XLA's CPU devices share one pool of threads. With several steps under way
    # those of one step can wait for ever for a thread to meet the others in.
    one_at_a_time = jax.default_backend() == 'cpu'

    def run_steps(state, data, last):
      logs = None
      for _ in range(int(unreplicate(state.global_step)), last):
        state, logs = run_step(state, data)
        if one_at_a_time:
          jax.block_until_ready(state)
      return state, logs

    return run_steps

  def _update_with_arrays(self, train_state, data):
    """`update` with logs of the one type that a loop can carry."""
    train_state, logs = self.update(train_state, data)
    return train_state, {
      k: jnp.asarray(v, jnp.float32) for k, v in logs.items()
    }

  def _chunk_on_device(self, train_state, data, last_step):
    """Trains one replica to `last_step`; the logs are those of that step."""
    _, log_shapes = jax.eval_shape(self._update_with_arrays, train_state, data)
    no_logs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log_shapes)

    def body(_, carry):
      return self._update_with_arrays(carry[0], data)

    return jax.lax.fori_loop(
      train_state.global_step, last_step, body, (train_state, no_logs)
    )


def _agree(end: int, stop: bool, save: bool) -> tuple[int, bool, bool]:
  """Makes all processes run the same chunk and heed anyone's signal.

  Each chunk holds collectives, so processes that measured different speeds must
  not end it at different steps.
  """
  if jax.process_count() == 1:
    return end, stop, save
  from jax.experimental import multihost_utils  # pylint: disable=g-import-not-at-top

  votes = multihost_utils.process_allgather(np.array([end, stop, save]))
  return int(votes[0, 0]), bool(votes[:, 1].any()), bool(votes[:, 2].any())


def _save_on_request(state: Any, display: progress.Progress) -> None:
  save = getattr(state, 'save_checkpoint', None)
  if save is None:
    display.say('this checkpointer cannot save on request')
  elif jax.process_index() == 0:
    save()
    display.say(f'saved step {state.global_step}')


def _check_losses(logs: Mapping[str, np.ndarray], step: int) -> None:
  for name, value in logs.items():
    if name.endswith('loss') and not np.isfinite(value).all():
      raise errors.TrainingError(
        f'step {step}: {name} is {float(value)}; training stops and this state '
        'is not saved'
      )


def _finish(actions: Iterable[utils.PeriodicAction]) -> None:
  """Waits for actions in other threads and raises what they raised.

  (`PeriodicAction.wait_to_finish` drops the error of one that has ended.)
  """
  for action in actions:
    future = action._apply_fn_future  # pylint: disable=protected-access
    if future is not None and hasattr(future, 'result'):
      future.result()
