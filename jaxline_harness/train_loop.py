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
comes out of a chunk. Chunks end where a periodic action is due and after about
two seconds at the latest; how long they are changes no result.
"""

import abc
import collections
from collections.abc import Callable, Mapping, Sequence
import time
from typing import Any

import jax
from jax import sharding
import jax.numpy as jnp
from jaxline import experiment as jaxline_experiment
from ml_collections import config_dict
import numpy as np

from jaxline_harness import chunk_program
from jaxline_harness import device_mesh
from jaxline_harness import distributed
from jaxline_harness import drawn_ahead
from jaxline_harness import errors
from jaxline_harness import memory
from jaxline_harness import periodic
from jaxline_harness import progress
from jaxline_harness import signals

PyTree = Any
# A NamedTuple with fields `params`, `global_step` and, if the experiment can go
# back and try a smaller learning rate, `back_offs`; the last two int32 scalars.
TrainState = Any

_MAX_NAMES = 5


class ChunkedExperiment(jaxline_experiment.AbstractExperiment):
  """A jaxline experiment whose step is a pure function of one `TrainState`.

  Nothing but `train_state` and `device_data()` influences a step, so restarts
  and the lengths of chunks change nothing, to the last bit.

  Attributes:
    train_state: the state as global arrays, replicated over the devices of all
      processes, or None until it is made or restored.
    max_back_offs: how often in a run a NaN or an infinity may be answered by
      going back to the last checkpoint with `back_offs` one higher.
    report_command: tells of a run, given its folder; named as training ends.
  """

  CHECKPOINT_ATTRS = {'train_state': 'train_state'}
  max_back_offs = 0
  report_command = ''

  def __init__(self, mode: str, init_rng: jax.Array | None = None):
    super().__init__(mode=mode, init_rng=init_rng)
    self.train_state: TrainState = None
    self._device_data: Any = None
    self._back_offs = 0
    self._forget_programs()

  def _forget_programs(self) -> None:
    self._traced_initial_state: jax.stages.Traced | None = None
    self._traced_chunk: jax.stages.Traced | None = None
    self._compiled_chunk: Any = None
    self._programs: dict[str, jax.stages.Compiled] = {}

  # What a subclass provides.

  @abc.abstractmethod
  def initial_train_state(self) -> TrainState:
    """Returns one replica of the state at step 0; pure."""

  def initial_arguments(self) -> tuple[Any, ...]:
    """Returns what `initial_train_state` is given: arrays, by default none.

    Keys, say, which as constants of it would give each seed its own program.
    """
    return ()

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
    """Returns the numpy arrays that each device gets a copy of, once.

    In place of an array may be a `drawn_ahead.Source` of batches: a step is
    given a `drawn_ahead.Window` there.
    """

  def describe_data(self) -> Mapping[str, Any]:
    """Returns what to use a model without its data; checkpoints keep it."""
    return {}

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

  def measure(self, logs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
    """Measures the state on the host at the end of a chunk; by default nothing.

    Every process calls it.

    Args:
      logs: of the chunk's last step, to warn of what they show.

    Returns:
      Scalars to be logged, too.
    """
    del logs
    return {}

  def observations(self) -> Sequence[periodic.Observation]:
    """Returns what is measured beside training; it changes no step."""
    return ()

  # What the harness makes of it.

  def abstract_train_state(self) -> TrainState:
    """Returns shapes and types of one replica of the state."""
    return self._trace_initial_state().out_info

  def make_initial_state(self) -> TrainState:
    """Returns one replica of the state at step 0 as numpy arrays."""
    program = self._trace_initial_state().lower().compile()
    shapes = self.abstract_train_state()
    memory.check_program('the initial state', program, beside=shapes)
    return jax.device_get(program(*self.initial_arguments()))

  def _trace_initial_state(self) -> jax.stages.Traced:
    if self._traced_initial_state is None:
      run = jax.jit(self.initial_train_state)
      self._traced_initial_state = run.trace(*self.initial_arguments())
    return self._traced_initial_state

  def ensure_train_state(self) -> None:
    """Makes the initial state unless there is a state already."""
    if self.train_state is None:
      self._take_over(self.make_initial_state())

  def snapshot_state(self) -> Mapping[str, PyTree]:
    """Returns one replica of the state as numpy arrays, for a checkpoint.

    Raises:
      errors.TrainingError: if the state holds a NaN. (Infinity is allowed: some
        optimisers start from it.)
    """
    self.ensure_train_state()
    state = device_mesh.unreplicate(self.train_state)
    for name in _name_leaves(np.isnan, state):
      raise errors.TrainingError(
        f'step {state.global_step}: {name} holds NaN; this state is not saved'
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
    before = device_mesh.unreplicate(self.train_state.back_offs)
    self._back_offs = int(before) + 1
    self.train_state = None
    return self._back_offs <= self.max_back_offs

  def _take_over(self, state: TrainState) -> None:
    # A checkpoint knows of those before it only.
    if self._back_offs:
      state = state._replace(back_offs=np.int32(self._back_offs))
    self.train_state = device_mesh.replicate(state)

  def step(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, np.ndarray]:
    """Makes one step; jaxline's interface, which `train_loop` does not use."""
    del global_step, rng, writer
    self.ensure_train_state()
    step = device_mesh.unreplicate(self.train_state.global_step)
    return self.run_chunk(int(step) + 1)

  def run_chunk(self, last_step: int) -> dict[str, np.ndarray]:
    """Trains to `last_step` and returns that step's logs, and `measure`'s.

    Raises:
      errors.NonFiniteError: if a step gives a loss or a parameter that is not
        finite.
    """
    if self._compiled_chunk is None:
      data = self.device_data()
      chunk = _compile_together(self.trace_chunk().lower())
      held = drawn_ahead.shapes_held(data, jax.device_count())
      memory.check_program('a step on so large a batch', chunk, beside=held)
      self._compiled_chunk = chunk
      self._traced_chunk = None  # Of no more use, and large.
      self._device_data = drawn_ahead.DeviceData(data)
    start = _copy_state(self.train_state)
    logs, bad_step = self._advance(last_step)
    if bad_step != chunk_program.NEVER:
      raise self._explain_nonfinite(start, bad_step)
    return logs | {k: np.asarray(v) for k, v in self.measure(logs).items()}

  def _advance(self, last_step: int) -> tuple[dict[str, np.ndarray], int]:
    """Trains to `last_step`: its logs, and the first step that went wrong."""
    end = int(device_mesh.unreplicate(self.train_state.global_step))
    while True:
      data, end = self._device_data.at(end, last_step)
      self.train_state, logs, bad_step = self._compiled_chunk(
        self.train_state, data, np.int32(end)
      )
      logs, bad_step = device_mesh.unreplicate((logs, bad_step))
      if end == last_step or bad_step != chunk_program.NEVER:
        return logs, int(bad_step)

  def _explain_nonfinite(
    self, start: TrainState, step: int
  ) -> errors.NonFiniteError:
    """Makes the chunk from `start` again, to say what went wrong at a step."""
    self.train_state = device_mesh.replicate(start)
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
        for name, value in chunk_program.select_losses(logs).items()
        if name not in terms and not np.isfinite(value)
      ),
      *_name_leaves(lambda x: ~np.isfinite(x), {'params': after.params}),
    ]
    if not names:
      names = ['something that was finite when the step was made again']
    rest = len(names) - _MAX_NAMES
    more = f' and {rest} more' if rest > 0 else ''
    return errors.NonFiniteError(
      f'step {step}: not finite: {", ".join(names[:_MAX_NAMES])}{more}',
      {step - 1: before, step: after},
    )

  def look_ahead(self) -> tuple[TrainState, TrainState]:
    """Makes the next step and takes it back: replicas of before and after."""
    before = _copy_state(self.train_state)
    self._advance(int(before.global_step) + 1)
    after = _copy_state(self.train_state)
    self.train_state = device_mesh.replicate(before)
    return before, after

  def run_on_devices(
    self,
    what: str,
    function: Callable[[TrainState, PyTree], PyTree],
    train_state: TrainState = None,
  ) -> PyTree:
    """Runs a function of the state and the data on every device, in training.

    Args:
      what: names what is done, for which the function is compiled once.
      function: pure. What it returns is the same on all devices.
      train_state: global arrays, replicated; None: the present state.

    Returns:
      What it returns, as numpy arrays.

    Raises:
      errors.UserError: if there is too little memory.
    """
    if train_state is None:
      train_state = self.train_state
    step = int(device_mesh.unreplicate(train_state.global_step))
    arguments = train_state, self._device_data.at(step, step)[0]
    if what not in self._programs:
      mesh = device_mesh.make_mesh()
      specs = drawn_ahead.specs_of((train_state, self.device_data()))
      mapped = device_mesh.run_everywhere(function, mesh, specs)
      program = _compile_together(mapped.lower(*arguments))
      memory.check_program(what, program)
      self._programs[what] = program
    return device_mesh.unreplicate(self._programs[what](*arguments))

  def _examine_on_devices(self) -> Mapping[str, np.ndarray]:
    """What `examine` says of the present state, for all devices together."""

    def examine(train_state, data):
      # JAX sorts a dict, but not this.
      terms = collections.OrderedDict(self.examine(train_state, data))
      terms = jax.tree.map(lambda x: jnp.asarray(x, jnp.int32), terms)
      return jax.lax.pmin(terms, device_mesh.AXIS)

    return self.run_on_devices('looking for what is not finite', examine)

  def lower_chunk(
    self, mesh: sharding.Mesh, platform: str | None = None
  ) -> jax.stages.Lowered:
    """Lowers the training program, `chunk_program.trace`, from shapes alone.

    Args:
      mesh: as `device_mesh.make_mesh` makes it. To compile, its devices need
        not be here: see `machines`.
      platform: to lower for; by default that of the devices.
    """
    platforms = (platform,) if platform else None
    return self._trace_for(mesh).lower(lowering_platforms=platforms)

  def trace_chunk(self) -> jax.stages.Traced:
    """Traces what `run_chunk` will compile: once, for a check of a step too."""
    if self._traced_chunk is None:
      self._traced_chunk = self._trace_for(device_mesh.make_mesh())
    return self._traced_chunk

  def _trace_for(self, mesh: sharding.Mesh) -> jax.stages.Traced:
    shapes = self.abstract_train_state()
    return chunk_program.trace(self.update, mesh, shapes, self.device_data())


def _compile_together(program: jax.stages.Lowered) -> jax.stages.Compiled:
  """Compiles a program on all processes before one of them runs it.

  How long that takes differs, and collectives do not wait for ever.
  """
  compiled = program.compile()
  distributed.exchange(None)
  return compiled


def _copy_state(train_state: TrainState) -> TrainState:
  """One replica as arrays that no later step writes over."""
  return jax.tree.map(np.array, device_mesh.unreplicate(train_state))


def _name_leaves(has: Callable[[Any], Any], tree: PyTree) -> list[str]:
  """Names the leaves that have an entry of some kind."""
  return [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    if has(leaf).any()
  ]


# The host's part.


def run_loop(
  experiment: ChunkedExperiment,
  config: config_dict.ConfigDict,
  state: Any,
  actions: Sequence[periodic.PeriodicAction] = (),
) -> None:
  """Trains to `config.training_steps`, or until a signal asks to stop.

  Args:
    experiment: what to train.
    config: has `training_steps` and `max_chunk_steps`.
    state: its `global_step` is kept up to date. Where it has a
      `save_checkpoint` (`checkpointing.ExperimentState`), SIGQUIT calls it.
    actions: called after each chunk; chunks end where they are due.

  Raises:
    errors.NonFiniteError: if a step gives a loss or a parameter that is not
      finite.
  """
  planner = periodic.ChunkPlanner(
    actions, config.training_steps, config.max_chunk_steps
  )
  for action in actions:
    action.start(state.global_step)
  experiment.ensure_train_state()
  display = progress.Progress(
    state.global_step, config.training_steps, jax.process_index() == 0
  )
  with signals.watch() as watcher, display:
    watcher.can_save = True
    while experiment.should_run_step(state.global_step, config):
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
      logs = experiment.run_chunk(end)
      seconds = time.monotonic() - start_time
      planner.record(end - state.global_step, seconds)
      state.global_step = end
      display.update(end, seconds, logs)
      for action in actions:
        action(end, logs)


def _agree(
  end: int, stop_signal: int | None, save: bool
) -> tuple[int, int | None, bool]:
  """Makes all processes run the same chunk and heed anyone's signal.

  Each chunk holds collectives, so processes that measured different speeds must
  not end it at different steps.
  """
  ends, stop_signals, saves = zip(
    *distributed.exchange([end, stop_signal, save]), strict=True
  )
  return ends[0], next(filter(None, stop_signals), None), any(saves)


def _save_on_request(state: Any, display: progress.Progress) -> None:
  if not hasattr(state, 'save_checkpoint'):
    display.say('nothing here can be saved')
  elif jax.process_index() == 0:
    state.save_checkpoint()
    display.say(f'saved step {state.global_step}')
