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
`shard_map`, its first and last step run-time arguments. The host sees only what
comes out of a chunk. Chunks end where one of jaxline's periodic actions is due
and after about two seconds at the latest; how long they are changes no result.
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

from jaxline_harness import distributed
from jaxline_harness import errors
from jaxline_harness import progress
from jaxline_harness import signals

PyTree = Any
# A NamedTuple with fields `params`, `global_step` and, if the experiment can go
# back and try a smaller learning rate, `back_offs`; the last two int32 scalars.
TrainState = Any

AXIS = 'i'  # Of the devices.
DEFAULT_MAX_CHUNK_STEPS = 1000
_CHUNK_SECONDS = 2.0
_EVERYWHERE = sharding.PartitionSpec()
_NEVER = np.int32(-1)
_MAX_NAMES = 5


def make_mesh(devices: Sequence[Any] | None = None) -> sharding.Mesh:
  """Returns the one-axis mesh `i`, by default of all processes' devices."""
  devices = jax.devices() if devices is None else devices
  return sharding.Mesh(np.array(devices), (AXIS,))


def replicate(tree: PyTree) -> PyTree:
  """Puts one copy of each array on each device of all processes.

  Args:
    tree: arrays of any shapes, the same in all processes.

  Returns:
    The same tree of global arrays of the same shapes.
  """
  placement = sharding.NamedSharding(make_mesh(), _EVERYWHERE)

  def put(x):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, placement, lambda _: x)

  return jax.tree.map(put, tree)


def unreplicate(tree: PyTree) -> PyTree:
  """Fetches this process's copy as numpy arrays: the inverse of `replicate`.

  Args:
    tree: arrays that are the same on all devices.

  Returns:
    The same tree of numpy arrays, which share memory with the device's where
    that is possible: the next step may write over them.
  """
  return jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), tree))


def run_on_devices(
  function: Callable[..., Any], mesh: sharding.Mesh, **options: Any
) -> Any:
  """Compiles a function that each device of a mesh runs on replicated arrays.

  Inside, `lax.pmean(x, 'i')`, `lax.axis_index('i')` and the like are what they
  are inside `pmap`, gradients through them too.

  Args:
    function: of pytrees of arrays, to arrays that are the same on all devices.
    mesh: its devices need not be here for `lower` and `compile`.
    **options: of `jax.jit`.

  Returns:
    A function under `jax.jit`.
  """
  # Where JAX checks what varies over devices it sums some gradients by itself.
  mapped = jax.shard_map(
    function,
    mesh=mesh,
    in_specs=_EVERYWHERE,
    out_specs=_EVERYWHERE,
    check_vma=False,
  )
  placement = sharding.NamedSharding(mesh, _EVERYWHERE)
  return jax.jit(
    mapped, in_shardings=placement, out_shardings=placement, **options
  )


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
    train_state: the state as global arrays, replicated over the devices of all
      processes, or None until it is made or restored.
    max_back_offs: how often in a run a NaN or an infinity may be answered by
      going back to the last checkpoint with `back_offs` one higher.
  """

  CHECKPOINT_ATTRS = {'train_state': 'train_state'}
  max_back_offs = 0

  def __init__(self, mode: str, init_rng: jax.Array | None = None):
    super().__init__(mode=mode, init_rng=init_rng)
    self.mode = mode
    self.init_rng = init_rng
    self.train_state: TrainState | None = None
    self._device_data: PyTree = None
    self._compiled_chunk: jax.stages.Compiled | None = None
    self._back_offs = 0

  # What a subclass provides.

  @abc.abstractmethod
  def initial_train_state(self) -> TrainState:
    """Returns one replica of the state at step 0; pure."""

  @abc.abstractmethod
  def update(
    self, train_state: TrainState, data: PyTree
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """Makes one step; pure, runs on each device, which form the axis `i`.

    Args:
      train_state: one replica of the state.
      data: what `device_data` returned.

    Returns:
      The state with `global_step` one higher, and a flat dict of scalars to log
      that are the same on all devices. Those whose names end in `loss`, and the
      parameters, must be finite.
    """

  @abc.abstractmethod
  def device_data(self) -> PyTree:
    """Returns the numpy arrays that each device gets a copy of, once."""

  def examine(
    self, train_state: TrainState, data: PyTree
  ) -> dict[str, jax.Array]:
    """Says which of a step's terms are finite; called where one was not.

    Args:
      train_state: one replica of the state before the step.
      data: what `device_data` returned.

    Returns:
      Booleans by the terms' names, in the order in which they are computed.
    """
    del train_state, data
    return {}

  def check_config(self, config: config_dict.ConfigDict) -> None:
    """Raises UserError where the data do not suit a field of the whole config.

    Called in both modes once the experiment is made, before it computes
    anything. By default all suits.

    Args:
      config: with the top-level fields, which the constructor is not given.
    """

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
      self._take_over(jax.device_get(state))

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
    self._take_over(snapshot_state['train_state'])

  def back_off(self) -> bool:
    """Prepares for going back, if that is still allowed.

    Returns:
      Whether it is. Then the state is gone, and whatever state comes next has
      one more back-off.
    """
    if self.max_back_offs == 0:
      return False
    self._back_offs = int(unreplicate(self.train_state.back_offs)) + 1
    self.train_state = None
    return self._back_offs <= self.max_back_offs

  def _take_over(self, state: TrainState) -> None:
    # A checkpoint knows of those before it only.
    if self._back_offs:
      state = state._replace(back_offs=np.int32(self._back_offs))
    self.train_state = replicate(state)

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
      errors.NonFiniteError: if a step gives a loss or a parameter that is not
        finite.
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
      end, stop_signal, save = _agree(
        planner.next_end(state.global_step),
        watcher.stop_signal,
        watcher.save_requested,
      )
      if save:
        watcher.save_requested = False
        _save_on_request(state, display)
      if stop_signal is not None:
        watcher.stop_signal = stop_signal  # It may be another process's.
        return
      start_time = time.monotonic()
      logs = self._run_chunk(end)
      seconds = time.monotonic() - start_time
      planner.record(end - state.global_step, seconds)
      state.global_step = end
      display.update(end, seconds, logs)
      for action in actions:
        action(time.time(), end, logs)

  def _run_chunk(self, last_step: int) -> dict[str, np.ndarray]:
    """Trains to `last_step` and returns that step's logs, and `measure`'s.

    Raises:
      errors.NonFiniteError: if a step gives a loss or a parameter that is not
        finite.
    """
    if self._compiled_chunk is None:
      self._compiled_chunk = _compile_together(self.lower_chunk(make_mesh()))
      self._device_data = replicate(self.device_data())
    start = _copy_state(self.train_state)
    logs, bad_step = self._advance(last_step)
    if bad_step != _NEVER:
      raise self._explain_nonfinite(start, bad_step)
    measured = {k: np.asarray(v) for k, v in self.measure().items()}
    return logs | measured

  def _advance(self, last_step: int) -> tuple[dict[str, np.ndarray], int]:
    """Trains to `last_step`: its logs, and the first step that went wrong."""
    self.train_state, logs, bad_step = self._compiled_chunk(
      self.train_state, self._device_data, np.int32(last_step)
    )
    logs, bad_step = unreplicate((logs, bad_step))
    return logs, int(bad_step)

  def _explain_nonfinite(
    self, start: TrainState, step: int
  ) -> errors.NonFiniteError:
    """Makes the chunk again up to a step that went wrong, to look at it.

    Args:
      start: one replica of the state before the chunk.
      step: the step.

    Returns:
      The error to raise. The state is then that after the step.
    """
    self.train_state = replicate(start)
    if int(start.global_step) < step - 1:
      self._advance(step - 1)
    before = _copy_state(self.train_state)
    terms = self._examine_on_devices()
    logs, _ = self._advance(step)
    after = _copy_state(self.train_state)
    names = [
      *(name for name, is_finite in terms.items() if not is_finite),
      *(
        f'{name} ({value})'
        for name, value in _select_losses(logs).items()
        if name not in terms and not np.isfinite(value)
      ),
      *_list_nonfinite(after.params),
    ]
    if not names:
      names = ['something that was finite when the step was made again']
    rest = len(names) - _MAX_NAMES
    more = f' and {rest} more' if rest > 0 else ''
    return errors.NonFiniteError(
      f'step {step}: not finite: {", ".join(names[:_MAX_NAMES])}{more}',
      {step - 1: before, step: after},
    )

  def _examine_on_devices(self) -> dict[str, bool]:
    """What `examine` says of the present state, for all devices together."""
    names: list[str] = []

    def examine(train_state, data):
      terms = self.examine(train_state, data)
      names.extend(terms)
      # In order, which JAX does not keep in dicts.
      return [
        jax.lax.pmin(jnp.asarray(is_finite, jnp.int32), AXIS)
        for is_finite in terms.values()
      ]

    arguments = self.train_state, self._device_data
    program = run_on_devices(examine, make_mesh()).lower(*arguments)
    values = unreplicate(_compile_together(program)(*arguments))
    return dict(zip(names, map(bool, values), strict=True))

  def lower_chunk(self, mesh: sharding.Mesh) -> jax.stages.Lowered:
    """Lowers the training program, from shapes alone.

    Args:
      mesh: as `make_mesh` makes it. Its devices need not be here: those that
        `jax.experimental.topologies` describes can be compiled for.

    Returns:
      A function of (state, device data, last step) that trains from the state's
      `global_step` to the last one. It gives the state, the last step's logs,
      and the first step with a loss or a parameter that is not finite, `_NEVER`
      if there is none.
    """
    arguments = self.abstract_train_state(), self.device_data(), np.int32(0)
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), arguments
    )
    program = run_on_devices(self._run_steps, mesh, donate_argnums=0)
    return program.lower(*shapes)

  def _run_steps(self, train_state, data, last_step):
    """Trains one replica to `last_step`; see `lower_chunk`."""
    _, log_shapes, _ = jax.eval_shape(
      self._update_and_check, train_state, data, _NEVER
    )
    no_logs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), log_shapes)

    def body(_, carry):
      train_state, _, bad_step = carry
      return self._update_and_check(train_state, data, bad_step)

    carry = (train_state, no_logs, jnp.asarray(_NEVER))
    return jax.lax.fori_loop(train_state.global_step, last_step, body, carry)

  def _update_and_check(self, train_state, data, bad_step):
    """`update` with logs of the one type that a loop can carry, and a check."""
    train_state, logs = self.update(train_state, data)
    logs = {k: jnp.asarray(v, jnp.float32) for k, v in logs.items()}
    watched = jax.tree.leaves((train_state.params, _select_losses(logs)))
    is_finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in watched]).all()
    bad_step = jnp.where(
      is_finite | (bad_step != _NEVER), bad_step, train_state.global_step
    )
    return train_state, logs, bad_step


def _agree(
  end: int, stop_signal: int | None, save: bool
) -> tuple[int, int | None, bool]:
  """Makes all processes run the same chunk and heed anyone's signal.

  Each chunk holds collectives, so processes that measured different speeds must
  not end it at different steps.

  Args:
    end: the last step of the chunk that this process would run.
    stop_signal: the signal that asked this process to stop, or None.
    save: whether this process was asked to save.

  Returns:
    The same for all processes.
  """
  ends, signals_received, saves = zip(
    *distributed.exchange([end, stop_signal, save]), strict=True
  )
  return ends[0], next(filter(None, signals_received), None), any(saves)


def _compile_together(program: jax.stages.Lowered) -> jax.stages.Compiled:
  """Compiles a program on all processes before one of them runs it.

  How long that takes differs, and collectives do not wait for ever.
  """
  compiled = program.compile()
  distributed.exchange(None)
  return compiled


def _save_on_request(state: Any, display: progress.Progress) -> None:
  save = getattr(state, 'save_checkpoint', None)
  if save is None:
    display.say('this checkpointer cannot save on request')
  elif jax.process_index() == 0:
    save()
    display.say(f'saved step {state.global_step}')


def _copy_state(train_state: TrainState) -> TrainState:
  """One replica as arrays that no later step writes over."""
  return jax.tree.map(np.array, unreplicate(train_state))


def _select_losses(logs: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in logs.items() if k.endswith('loss')}


def _list_nonfinite(params: PyTree) -> list[str]:
  return [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, leaf in jax.tree_util.tree_leaves_with_path({'params': params})
    if not np.isfinite(leaf).all()
  ]


def _finish(actions: Iterable[utils.PeriodicAction]) -> None:
  """Waits for actions in other threads and raises what they raised.

  (`PeriodicAction.wait_to_finish` drops the error of one that has ended.)
  """
  for action in actions:
    future = action._apply_fn_future  # pylint: disable=protected-access
    if future is not None and hasattr(future, 'result'):
      future.result()
