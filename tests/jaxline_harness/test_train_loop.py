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
"""The training loop: same bits for all chunkings, actions met, signals."""

import os
import signal
import threading
import time
import types

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import memory
from jaxline_harness import periodic
from jaxline_harness import progress
from jaxline_harness import signals
from jaxline_harness import train_loop
from tests.jaxline_harness import toy_experiment


def make_experiment(**overrides):
  config = toy_experiment.get_config().experiment_kwargs.config
  config.update(overrides)
  return toy_experiment.Experiment('train', config=config)


def run(experiment, last_step, max_chunk_steps=1000, actions=(), state=None):
  state = state or types.SimpleNamespace(global_step=0)
  config = config_dict.ConfigDict(
    {'training_steps': last_step, 'max_chunk_steps': max_chunk_steps}
  )
  train_loop.run_loop(experiment, config, state, actions)
  return state


def bits(experiment):
  state = device_mesh.unreplicate(experiment.train_state)
  return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def recorder(calls, interval, **kwargs):
  def record(step, scalars):
    calls.append((step, scalars))

  return periodic.PeriodicAction(record, interval, **kwargs)


@pytest.mark.optimised
def test_chunk_length_changes_no_bit():
  reference = make_experiment()
  run(reference, 230, max_chunk_steps=1)
  for max_chunk_steps in (7, 100):
    other = make_experiment()
    run(other, 230, max_chunk_steps)
    assert bits(other) == bits(reference)


def test_all_is_traced_once():
  traced = []

  class Traced(toy_experiment.Experiment):
    def initial_train_state(self):
      traced.append('state')
      return super().initial_train_state()

    def update(self, train_state, data):
      traced.append('step')
      return super().update(train_state, data)

  experiment = Traced('train', config=make_experiment().config)
  experiment.abstract_train_state()
  experiment.trace_chunk()
  run(experiment, 3)
  assert traced == ['state', 'step']


def test_a_step_keeps_the_types_of_the_state():
  class Growing(toy_experiment.Experiment):
    def update(self, train_state, data):
      state, logs = super().update(train_state, data)
      return state._replace(params={'w': state.params['w'][None]}), logs

  experiment = Growing('train', config=make_experiment().config)
  with pytest.raises(TypeError, match=r'float32\[3\].* before, and .*\[1, 3\]'):
    experiment.trace_chunk()


def test_seed_changes_the_state():
  # Otherwise the test above would also pass for a step that does nothing.
  first, second = make_experiment(), make_experiment(seed=1)
  run(first, 5)
  run(second, 5)
  assert bits(first) != bits(second)


@pytest.mark.optimised
@pytest.mark.parametrize('stop_at', [1, 57, 229])
def test_stop_and_restart_changes_no_bit(stop_at):
  whole = make_experiment()
  run(whole, 230)
  first = make_experiment()
  run(first, stop_at, max_chunk_steps=13)
  second = make_experiment()
  second.restore_from_snapshot(first.snapshot_state())
  run(second, 230, state=types.SimpleNamespace(global_step=stop_at))
  assert bits(second) == bits(whole)


def test_one_program_for_all_chunks(monkeypatch):
  traces = []
  experiment = make_experiment()
  update = experiment.update

  def counted(*args):
    traces.append(1)
    return update(*args)

  monkeypatch.setattr(experiment, 'update', counted)
  run(experiment, 10, max_chunk_steps=3)
  after_first = len(traces)
  run(
    experiment,
    50,
    max_chunk_steps=9,
    state=types.SimpleNamespace(global_step=10),
  )
  assert len(traces) == after_first


def test_actions_are_called_when_due_with_that_steps_logs():
  calls, grown, at_end = [], [], []
  actions = [
    recorder(calls, 6),
    recorder(grown, 1000, growth_ratios=(1, 2, 5)),
    recorder(at_end, 1000, last_step=47),
  ]
  run(make_experiment(), 47, actions=actions)
  assert [step for step, _ in calls] == [6, 12, 18, 24, 30, 36, 42]
  assert [step for step, _ in grown] == [1, 2, 5, 10, 20]
  assert [step for step, _ in at_end] == [47]
  for step, scalars in calls + grown + at_end:
    assert scalars['drawn'] == step
  one_by_one = []
  run(make_experiment(), 47, 1, [recorder(one_by_one, 6)])
  losses = [scalars['toy_loss'] for _, scalars in calls]
  assert losses == [scalars['toy_loss'] for _, scalars in one_by_one]


def test_measurements_of_a_chunks_end_are_logged_too(monkeypatch):
  calls = []
  experiment = make_experiment()
  monkeypatch.setattr(
    experiment,
    'measure',
    lambda logs: {
      'measured': device_mesh.unreplicate(experiment.train_state.global_step)
    },
  )
  run(experiment, 6, actions=[recorder(calls, interval=3)])
  assert [(step, logs['measured']) for step, logs in calls] == [(3, 3), (6, 6)]
  assert len(calls[0][1]) > 1


def test_action_by_the_clock():
  calls = []
  action = recorder(calls, 0.01, unit='secs')
  run(make_experiment(), 4000, max_chunk_steps=20, actions=[action])
  assert len(calls) > 1
  steps = [step for step, _ in calls]
  assert steps == sorted(set(steps))


def test_action_switched_off():
  calls = []
  actions = [recorder(calls, interval, last_step=3) for interval in (None, 0)]
  run(make_experiment(), 3, actions=actions)
  assert not calls


@pytest.mark.parametrize(
  ('interval', 'ratios', 'step', 'expected'),
  [
    (5, None, 0, 5),
    (5, None, 4, 5),
    (5, None, 5, 10),
    (120.0, None, 7, 120),
    (100, (1, 2, 5), 0, 1),
    (100, (1, 2, 5), 9, 10),
    (100, (1, 2, 5), 99, 100),
    (1000, (1, 1.5), 100, 150),
    (1000, (1, 1.5), 1, 2),
  ],
)
def test_next_due_step(interval, ratios, step, expected):
  action = recorder([], interval, growth_ratios=ratios)
  assert action.next_due_step(step) == expected


def test_planner_keeps_chunks_short():
  planner = periodic.ChunkPlanner([], last_step=10_000, max_chunk_steps=500)
  assert planner.next_end(0) == 1
  planner.record(1, 60.0)  # Compiling says nothing.
  assert planner.next_end(1) == 2
  planner.record(1, 0.1)
  assert planner.next_end(2) == 22  # Two seconds at ten steps a second.
  planner.record(20, 0.002)
  assert planner.next_end(22) == 522
  assert planner.next_end(9_990) == 10_000


@pytest.mark.parametrize('max_chunk_steps', [1, 4, 1000])
@pytest.mark.parametrize(
  ('what', 'names'),
  [
    ('nan_loss_at', 'toy_loss (nan)'),
    ('nan_state_at', 'momentum, params/w'),
  ],
)
def test_stops_at_the_first_step_that_is_not_finite(
  what, names, max_chunk_steps
):
  experiment = make_experiment(**{what: 7})
  state = types.SimpleNamespace(global_step=0)
  with pytest.raises(errors.NonFiniteError) as error:
    run(experiment, 20, max_chunk_steps, state=state)
  assert str(error.value) == f'step 7: not finite: {names}'
  # No action has seen the step, and the state before it is that of any run.
  assert state.global_step < 7
  before, after = (error.value.states[step] for step in (6, 7))
  expected = make_experiment(**{what: 7})
  run(expected, 6)
  assert [leaf.tobytes() for leaf in jax.tree.leaves(before)] == bits(expected)
  assert np.isnan(after.params['w']).all() == (what == 'nan_state_at')
  assert after.global_step == 7


def test_back_offs_are_counted_in_the_state():
  experiment = make_experiment(nan_state_at=7, cured_by=2, max_back_offs=2)
  run(experiment, 5)
  checkpoint = experiment.snapshot_state()
  for _ in range(2):
    with pytest.raises(errors.NonFiniteError, match='step 7'):
      run(experiment, 20, state=types.SimpleNamespace(global_step=5))
    assert experiment.back_off()
    experiment.restore_from_snapshot(checkpoint)
  run(experiment, 20, state=types.SimpleNamespace(global_step=5))
  state = experiment.snapshot_state()['train_state']
  assert state.back_offs == 2
  assert state.global_step == 20
  assert not experiment.back_off()


def test_state_with_nan_is_not_saved():
  experiment = make_experiment()
  run(experiment, 6)
  state = experiment.snapshot_state()['train_state']
  momentum = {'w': np.full_like(state.momentum['w'], np.nan)}
  experiment.restore_from_snapshot(
    {'train_state': state._replace(momentum=momentum)}
  )
  with pytest.raises(
    errors.TrainingError, match='step 6: momentum/w holds NaN'
  ):
    experiment.snapshot_state()


def test_step_of_jaxlines_interface():
  experiment = make_experiment()
  logs = experiment.step(global_step=None, rng=None, writer=None)
  assert logs['drawn'] == 1
  other = make_experiment()
  run(other, 1)
  assert bits(experiment) == bits(other)


def test_sigquit_saves_and_goes_on_and_sigint_stops():
  experiment = make_experiment()
  state = types.SimpleNamespace(global_step=0)
  saved, seen = [], []

  def save():
    saved.append(state.global_step)

  def send(step, scalars):
    del scalars
    seen.append(step)
    number = {10: signal.SIGQUIT, 20: signal.SIGINT}.get(step)
    if number is not None:
      os.kill(os.getpid(), number)
      time.sleep(0.3)

  state.save_checkpoint = save
  action = periodic.PeriodicAction(send, 10)
  before = signal.getsignal(signal.SIGINT)
  with signals.watch() as watcher:
    run(experiment, 1000, actions=[action], state=state)
  assert saved == [10]
  assert seen == [10, 20]
  assert state.global_step == 20
  assert watcher.stop_signal == signal.SIGINT
  assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_after_another_process_s_is_the_first(monkeypatch):
  exits = []
  monkeypatch.setattr(os, '_exit', exits.append)
  watcher = signals.Watcher(can_save=True, stop_signal=signal.SIGTERM)
  watcher.receive(signal.SIGTERM)
  assert not exits  # The state is being saved.
  watcher.receive(signal.SIGTERM)
  assert exits == [143]


def test_no_handlers_outside_the_main_thread():
  before = signal.getsignal(signal.SIGINT)
  handlers = []

  def work():
    with signals.watch():
      handlers.append(signal.getsignal(signal.SIGINT))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert handlers == [before]


class Terminal:
  def __init__(self, isatty):
    self.text = ''
    self._isatty = isatty

  def isatty(self):
    return self._isatty

  def write(self, text):
    self.text += text

  def flush(self):
    pass

  def fileno(self):
    raise OSError


@pytest.mark.parametrize('isatty', [True, False])
def test_progress_shows_step_rate_losses_and_time_left(isatty):
  terminal = Terminal(isatty)
  with progress.Progress(0, 100, stream=terminal) as display:
    display.update(1, 30.0, {'disc_loss': 9.0, 'other': 3.0})
    display._next_line_time = 0.0
    display.update(21, 4.0, {'disc_loss': 1.25, 'other': 3.0})
  last = terminal.text.replace('\r', '\n').strip().splitlines()[-1]
  assert '21/100' in last
  assert '5 steps/s' in last
  assert 'disc_loss 1.25' in last
  assert 'left' in last
  assert 'other' not in last
  assert ('%|' in last) == isatty


def test_replicas_stay_equal_and_placed_alike():
  devices = jax.local_device_count()
  assert devices == 4  # Set in conftest.py.
  first = make_experiment()
  run(first, 31)
  w = first.train_state.params['w']
  assert w.shape == (3,)
  copies = [np.asarray(shard.data) for shard in w.addressable_shards]
  assert len(copies) == devices
  assert all((copy == copies[0]).all() for copy in copies)
  second = make_experiment()
  second.restore_from_snapshot(first.snapshot_state())
  for x, y in zip(
    jax.tree.leaves(first.train_state),
    jax.tree.leaves(second.train_state),
    strict=True,
  ):
    # Otherwise the restored run would compile a second program.
    assert x.sharding == y.sharding


def test_training_writes_over_no_array_of_the_host():
  """The state's arrays are given away to each chunk."""
  experiment = make_experiment()
  run(experiment, 3)
  snapshot = jax.tree.map(np.array, experiment.snapshot_state())
  before = jax.tree.map(np.array, snapshot)
  experiment.restore_from_snapshot(snapshot)
  run(experiment, 9, state=types.SimpleNamespace(global_step=3))
  jax.tree.map(np.testing.assert_array_equal, snapshot, before)


def test_code_for_pmap_runs_unchanged():
  """Sums, gradients through them, and the number of the device."""

  def step(x, noise):
    def loss(x):
      mine = jnp.sin(x * (jax.lax.axis_index('i') + 1.0))
      return jax.lax.pmean(mine, 'i').sum() * jax.lax.psum(mine, 'i')[0]

    value, grad = jax.value_and_grad(loss)(x)
    pairs = [[0, 1], [2, 3]]
    grad += jax.lax.pmean(grad * noise, 'i', axis_index_groups=pairs)
    columns = [[0, 2], [1, 3]]
    grad = jax.lax.all_gather(grad, 'i', axis_index_groups=columns, tiled=True)
    return value, jax.lax.pmean(grad, 'i'), jax.lax.axis_size('i')

  x, noise = np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)
  copies = np.stack([x] * jax.local_device_count())
  mapped = jax.pmap(step, axis_name='i', in_axes=(0, None))(copies, noise)
  compiled = device_mesh.run_everywhere(step, device_mesh.make_mesh())
  for wanted, found in zip(mapped, compiled(x, noise), strict=True):
    np.testing.assert_array_equal(found, wanted[0])


def test_replicate_and_back():
  tree = {'x': np.arange(3), 'y': np.float32(2)}
  back = device_mesh.unreplicate(device_mesh.replicate(tree))
  np.testing.assert_array_equal(back['x'], tree['x'])
  assert back['y'] == 2
  assert back['y'].shape == ()


def test_step_that_does_not_fit_into_memory(monkeypatch):
  made = make_experiment()
  made.ensure_train_state()
  monkeypatch.setattr(memory, 'of_device', lambda: 100)
  with pytest.raises(
    errors.UserError, match='a step on so large a batch would'
  ):
    made.run_chunk(1)
  monkeypatch.undo()
  made.run_chunk(1)
