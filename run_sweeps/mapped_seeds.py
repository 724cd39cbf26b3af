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
"""Runs that differ in their seed, or in numbers, trained as one program.

The steps of all are one `jax.vmap`. It is an experiment as those that it
maps, so that checkpoints, restarts and signals are the harness's:

  python -P -m run_sweeps.mapped_seeds dd_two_player_games.experiment \
    --config=FILE --config.experiment_kwargs.config.mapped_seeds=[0,1,2]

A run that gives a NaN or an infinity stays at its last finite state, and the
others go on. Evaluation leaves a run of its own beside this one for each,
`seed_<k>`, with a checkpoint, samples and figures.

With `mapped_draws`, as long as `mapped_seeds`, each has settings of its own,

  [{'number': 0, 'values': {'optimizers.generator.lr': 0.01}}, …],

numbers that reach the program as data, and leaves `draw_<number>/seed_<k>`.
"""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

from collections.abc import Mapping
import dataclasses
import functools
import importlib
import os
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np

from jaxline_harness import checkpointing
from jaxline_harness import configs
from jaxline_harness import device_mesh
from jaxline_harness import drawn_ahead
from jaxline_harness import errors
from jaxline_harness import launch
from jaxline_harness import run_directory
from jaxline_harness import settings
from jaxline_harness import train_loop
from run_sweeps import mapped_names

_NOT_DIVERGED = np.int32(-1)


class Member(NamedTuple):
  """A run of those that are mapped.

  Attributes:
    seed: of the run.
    number: of a search's draw, None without.
    values: of the settings that are drawn, by name.
  """

  seed: int
  number: int | None
  values: Mapping[str, Any]

  @property
  def suffix(self) -> str:
    """Of the names of its logs and figures, and of its folder."""
    return mapped_names.suffix(self.seed, self.number)


class MappedState(NamedTuple):
  """The training states of several runs.

  Attributes:
    states: the experiment's, stacked.
    global_step: number of steps done, an int32 scalar.
    diverged_at: of each run, the step that was not finite, or -1.
  """

  states: Any
  global_step: Any
  diverged_at: Any

  @property
  def params(self) -> Any:
    """The parameters of all runs, which are always finite."""
    return self.states.params


class MappedSeeds(train_loop.ChunkedExperiment):
  """An experiment's steps for several seeds or draws at once.

  Attributes:
    experiment_class: a `train_loop.ChunkedExperiment` whose keys all come from
      its setting `random_seed`, as data. For draws it has `with_numbers`.
    schema: of its configs.
  """

  experiment_class: Any
  schema: configs.Schema

  def __init__(
    self, mode: str, init_rng: jax.Array, config: config_dict.ConfigDict
  ):
    """Makes an experiment a run.

    Args:
      mode: 'train' or 'eval'.
      init_rng: handed on.
      config: that of one run, `mapped_seeds`, and `mapped_draws` perhaps.

    Raises:
      UserError: if the config asks for what is not done for several runs.
    """
    super().__init__(mode, init_rng)
    self._members = _list_members(config)
    self._configs = [_config_of(config, member) for member in self._members]
    self._whole_config: Any = None
    self._data_tree: Any = None  # Of what one experiment gives its devices.
    # What is drawn: leaves of the first run, where some are replaced by data.
    self._values, self._values_tree = jax.tree.flatten(self._members[0].values)
    first_config, *configs = self._configs
    first = self.experiment_class(mode, init_rng=init_rng, config=first_config)
    if not self._values:
      others = [
        self.experiment_class(mode, init_rng=init_rng, config=own_config)
        for own_config in configs
      ]
    elif hasattr(first, 'with_numbers'):
      others = [first.with_numbers(own_config) for own_config in configs]
    else:
      raise errors.UserError(
        'this experiment takes no numbers as data: leave map_seeds out'
      )
    self._experiments = [first, *others]
    stops = config.get('training', {}).get('on_divergence') == 'stop'
    measures = any(o.every for o in first.observations())
    if stops or measures or first.max_back_offs:
      raise errors.UserError(
        'seeds mapped in one program are not measured while they train, nor do '
        'they back off: set eval.every, training.dynamics, on_nonfinite and '
        'on_divergence to their defaults, or leave map_seeds out'
      )

  def check_config(self, config: config_dict.ConfigDict) -> None:
    self._whole_config = config
    for experiment in self._experiments:
      experiment.check_config(config)

  def describe_data(self) -> Any:
    return self._experiments[0].describe_data()

  # Training.

  def initial_arguments(self) -> tuple[Any, ...]:
    return tuple(e.initial_arguments() for e in self._experiments)

  def initial_train_state(self, *arguments: Any) -> MappedState:
    states = [
      experiment.initial_train_state(*own)
      for experiment, own in zip(self._experiments, arguments, strict=True)
    ]
    return MappedState(
      states=jax.tree.map(lambda *leaves: jnp.stack(leaves), *states),
      global_step=jnp.zeros((), jnp.int32),
      diverged_at=jnp.full(len(states), _NOT_DIVERGED),
    )

  def device_data(self) -> dict[str, dict[str, np.ndarray]]:
    """What is the same for all runs once, and what is not, stacked."""
    leaves, trees = zip(
      *(jax.tree.flatten(e.device_data()) for e in self._experiments),
      strict=True,
    )
    if drawn_ahead.sources(leaves[0]):
      raise errors.UserError(
        'seeds cannot be mapped while each draws its own examples from the '
        'host: set data_on=device, or leave map_seeds out'
      )
    self._data_tree = trees[0]
    shared, own = {}, {}
    for k, (first, *others) in enumerate(zip(*leaves, strict=True)):
      if all(np.array_equal(first, other) for other in others):
        shared[str(k)] = first
      else:
        own[str(k)] = np.stack([first, *others])
    numbers = self._stack_numbers()
    if not own and not numbers:
      raise errors.UserError(
        'seeds cannot be mapped: of what this experiment gives its devices '
        'nothing depends on random_seed; leave map_seeds out'
      )
    return {'shared': shared, 'own': own, 'numbers': numbers}

  def _stack_numbers(self) -> dict[str, np.ndarray]:
    """Those of the drawn values that are not the same for all runs."""
    leaves = [jax.tree.leaves(member.values) for member in self._members]
    numbers = {}
    for k, values in enumerate(zip(*leaves, strict=True)):
      if all(isinstance(value, float) for value in values):
        numbers[str(k)] = np.array(values, np.float32)
      elif any(value != values[0] for value in values):
        raise errors.UserError(
          f'{settings.show(values[0])} and {settings.show(values[-1])} are '
          'drawn, and only numbers with a decimal point can differ within one '
          'program: leave map_seeds out'
        )
    return numbers

  def _with_numbers(self, numbers: Mapping[str, jax.Array]) -> Any:
    """The experiment of a run whose drawn values are these."""
    first = self._experiments[0]
    if not numbers:
      return first
    leaves = [numbers.get(str(k), v) for k, v in enumerate(self._values)]
    values = jax.tree.unflatten(self._values_tree, leaves)
    return first.with_numbers(_set_values(self._configs[0], values))

  def update(
    self, train_state: MappedState, data: dict[str, Any]
  ) -> tuple[MappedState, dict[str, jax.Array]]:
    def update_member(state, own, numbers):
      by_number = data['shared'] | own
      leaves = [by_number[str(k)] for k in range(len(by_number))]
      data_of_run = jax.tree.unflatten(self._data_tree, leaves)
      try:
        after, logs = self._with_numbers(numbers).update(state, data_of_run)
      except jax.errors.ConcretizationTypeError as error:
        if not numbers:
          raise
        raise errors.UserError(
          f'one of {", ".join(self._members[0].values)} decides what is '
          'computed, and cannot differ within one program: leave map_seeds out'
        ) from error
      return after, logs, _is_finite(after, logs)

    before = train_state.states
    after, logs, is_finite = jax.vmap(update_member)(
      before, data['own'], data['numbers']
    )
    step = train_state.global_step + 1
    goes_on = train_state.diverged_at == _NOT_DIVERGED
    diverged_at = jnp.where(goes_on & ~is_finite, step, train_state.diverged_at)
    states = jax.tree.map(
      lambda old, new: _choose(goes_on & is_finite, new, old), before, after
    )
    # No name may end in `loss`: the harness would want it to be finite.
    logs = {
      f'{name}{member.suffix}': values[k]
      for name, values in logs.items()
      for k, member in enumerate(self._members)
    }
    return MappedState(states, step, diverged_at), logs

  def should_run_step(
    self, global_step: int, config: config_dict.ConfigDict
  ) -> bool:
    """Whether there are steps left, and a run that has not diverged."""
    diverged_at = device_mesh.unreplicate(self.train_state.diverged_at)
    return global_step < config.training_steps and bool(
      (diverged_at == _NOT_DIVERGED).any()
    )

  # Evaluation.

  def evaluate(
    self, *, global_step: Any, rng: Any, writer: Any
  ) -> dict[str, float]:
    """Leaves each run; figures are named `<figure>/seed_<k>`, say."""
    del global_step
    state = device_mesh.unreplicate(self.train_state)
    scalars: dict[str, float] = {}
    for k, member in enumerate(self._members):
      of_run = jax.tree.map(lambda leaf, k=k: leaf[k], state.states)
      experiment = self._experiments[k]
      experiment.train_state = device_mesh.replicate(of_run)
      own_writer = None
      if writer is not None:
        own_writer = self._leave_run(k, of_run.global_step)
      if state.diverged_at[k] != _NOT_DIVERGED:
        metrics: Mapping[str, Any] = {
          mapped_names.DIVERGED_AT: state.diverged_at[k]
        }
      else:
        metrics = experiment.evaluate(
          global_step=np.asarray([of_run.global_step]),
          rng=rng,
          writer=own_writer,
        )
      if own_writer is not None:
        own_writer.write_scalars(of_run.global_step, metrics)
        own_writer.close()
      scalars |= {f'{name}{member.suffix}': v for name, v in metrics.items()}
    return scalars

  def _leave_run(self, k: int, step: Any) -> run_directory.Writer:
    """Saves a state as a run; returns the writer of its evaluation."""
    config = self._whole_config.copy_and_resolve_references()
    with config.unlocked():
      config.experiment_kwargs.config = self._configs[k]
      config.checkpoint_dir = (
        os.path.dirname(config.checkpoint_dir) + self._members[k].suffix
      )
    run_directory.prepare(config, False, self.schema)
    writer = run_directory.Writer(config.checkpoint_dir, 'train')
    checkpointer = checkpointing.Checkpointer(config, 'train', writer)
    state = checkpointer.get_experiment_state('latest')
    state.experiment_module = self._experiments[k]
    state.global_step = int(step)
    checkpointer.save('latest')
    return run_directory.Writer.of_config(config, 'eval')


def _list_members(config: config_dict.ConfigDict) -> list[Member]:
  seeds = list(config[mapped_names.NAME])
  draws = run_directory.to_plain(config.get(mapped_names.DRAWS_NAME)) or []
  if not draws:
    return [Member(seed, None, {}) for seed in seeds]
  return [Member(seed, **draw) for seed, draw in zip(seeds, draws, strict=True)]


def _config_of(
  config: config_dict.ConfigDict, member: Member
) -> config_dict.ConfigDict:
  """The experiment's config of one run."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for name in (mapped_names.NAME, mapped_names.DRAWS_NAME):
      if name in config:
        del config[name]
    config.random_seed = member.seed
  return _set_values(config, member.values)


def _set_values(
  config: config_dict.ConfigDict, values: Mapping[str, Any]
) -> config_dict.ConfigDict:
  """A copy with other values, of other types perhaps."""
  config = config.copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    for name, value in values.items():
      *parents, last = name.split('.')
      functools.reduce(lambda node, key: node[key], parents, config)[last] = (
        value
      )
  return config.lock()


def _is_finite(state: Any, logs: Mapping[str, jax.Array]) -> jax.Array:
  """Whether a step's losses and parameters are."""
  losses = [value for name, value in logs.items() if name.endswith('loss')]
  watched = [*jax.tree.leaves(state.params), *losses]
  return jnp.stack([jnp.isfinite(leaf).all() for leaf in watched]).all()


def _choose(is_new: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
  """The new values of some seeds, and the old ones of the others."""
  shape = is_new.shape + (1,) * (new.ndim - 1)
  return jnp.where(is_new.reshape(shape), new, old)


def make_schema(schema: configs.Schema) -> configs.Schema:
  """The settings of an experiment's configs, and those of what is mapped."""
  seeds = settings.Setting(
    [], 'The seeds to train.', settings.list_of(settings.SEED)
  )
  draws = settings.Setting(
    None, 'The draw of each.', settings.list_of(settings.mapping())
  )
  own = {mapped_names.NAME: seeds, mapped_names.DRAWS_NAME: draws}
  return dataclasses.replace(schema, experiment={**schema.experiment, **own})


def make_class(experiment_class: Any, schema: configs.Schema) -> Any:
  """The class of an experiment for several runs.

  Args:
    experiment_class: that of one run.
    schema: of its configs.
  """
  members = {'experiment_class': experiment_class, 'schema': schema}
  return type('MappedExperiment', (MappedSeeds,), members)


def main() -> None:
  """Runs the experiment that the first argument names; see `launch`."""
  program, name, *arguments = sys.argv
  package = name.rpartition('.')[0]
  schema = importlib.import_module(f'{package}.base_config').SCHEMA
  launch.main(
    lambda: make_class(importlib.import_module(name).Experiment, schema),
    make_schema(schema),
    [program, *arguments],
  )


if __name__ == '__main__':
  main()
