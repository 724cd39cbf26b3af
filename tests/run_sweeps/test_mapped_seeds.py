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
"""Tests of several seeds trained as one program."""

import copy
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import experiment
from jaxline_harness import device_mesh
from jaxline_harness import errors
from jaxline_harness import train_loop
from run_sweeps import declaration
from run_sweeps import mapped_names
from run_sweeps import mapped_seeds
from run_sweeps import random_search
from run_sweeps import results
from sweeps import fair_mixture
from tests.dd_two_player_games import small_experiments

SEEDS = (3, 0)
TOLERANCE = {'rtol': 1e-4, 'atol': 1e-6}  # Rounding: sums in another order.


class ToyState(NamedTuple):
  params: Any
  global_step: Any


class ToyExperiment(train_loop.ChunkedExperiment):
  """Noisy descent; a parameter above 100 gives infinity."""

  def __init__(self, mode, init_rng=None, config=None):
    super().__init__(mode, init_rng)
    self.key = jax.random.PRNGKey(config.random_seed)

  def initial_train_state(self):
    return ToyState(jax.random.normal(self.key, (3,)), jnp.zeros((), jnp.int32))

  def device_data(self):
    return {
      'all': np.arange(8.0, dtype=np.float32),
      'key': [np.array(self.key)],
    }

  def update(self, train_state, data):
    w, step = train_state
    key = jax.random.fold_in(data['key'][0], step)
    target = jax.random.choice(key, data['all'])
    w = w - 0.1 * (w - target)
    w = jnp.where(w > 100, jnp.inf, w)
    return ToyState(w, step + 1), {'toy_loss': jnp.mean((w - target) ** 2)}

  def evaluate(self, *, global_step, rng, writer):
    return {}


class NumberedExperiment(ToyExperiment):
  """Descent whose rate, and whose pull towards a point, are settings."""

  def __init__(self, mode, init_rng=None, config=None):
    super().__init__(mode, init_rng, config)
    self.config = config

  def with_numbers(self, config):
    other = copy.copy(self)
    other.config = config
    return other

  def update(self, train_state, data):
    w, step = train_state
    name, pull = self.config.pull
    assert name == 'squares'
    w = w - self.config.player.lr * (w + pull * (w - data['all'][:3]))
    return ToyState(w, step + 1), {'toy_loss': jnp.mean(w**2)}


class SwitchedExperiment(NumberedExperiment):
  def update(self, train_state, data):
    return super().update(train_state, data) if self.config.pull[1] else None


class UnmappableExperiment(ToyExperiment):
  def device_data(self):
    return {'all': np.arange(8.0, dtype=np.float32)}


def toy_config():
  config = config_dict.ConfigDict()
  config.random_seed = 0
  return config.lock()


def gan_config():
  return small_experiments.points_config(
    small_experiments.SIMULTANEOUS | small_experiments.CANCEL
  )


def with_setting(config, name, value):
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config[name] = value
  return config.lock()


def make_mapped(experiment_class, config):
  config = with_setting(config, mapped_names.NAME, SEEDS)
  made = mapped_seeds.make_class(experiment_class, base_config.SCHEMA)
  return made('train', None, config)


def state_of(an_experiment):
  return device_mesh.unreplicate(an_experiment.train_state)


def assert_alike(mapped, k, alone):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[k], b, **TOLERANCE),
    state_of(mapped).states,
    state_of(alone),
  )


@pytest.mark.parametrize(
  ('experiment_class', 'config'),
  [
    (ToyExperiment, toy_config),
    pytest.param(experiment.Experiment, gan_config, marks=pytest.mark.slow),
  ],
)
def test_seeds_train_as_they_do_alone(experiment_class, config):
  mapped = make_mapped(experiment_class, config())
  logs = small_experiments.train(mapped, 3)
  found = []
  for k, seed in enumerate(SEEDS):
    own_config = with_setting(config(), 'random_seed', seed)
    alone = experiment_class('train', init_rng=None, config=own_config)
    own_logs = small_experiments.train(alone, 3)
    assert_alike(mapped, k, alone)
    for name, value in own_logs.items():
      of_seed = logs[f'{name}/seed_{seed}']
      np.testing.assert_allclose(of_seed, value, **TOLERANCE)
    found.append(jax.tree.leaves(state_of(alone).params)[0])
  assert np.abs(found[0] - found[1]).max() > 0.01


def test_a_seed_that_diverges_stays_and_the_others_go_on():
  mapped = make_mapped(ToyExperiment, toy_config())
  small_experiments.train(mapped, 3)
  before = state_of(mapped)
  params = np.array(before.states.params)
  params[0] = 120.0
  before = before._replace(states=before.states._replace(params=params))
  mapped.train_state = device_mesh.replicate(before)
  mapped.run_chunk(6)
  after = state_of(mapped)
  assert after.diverged_at.tolist() == [4, -1]
  assert after.states.global_step.tolist() == [3, 6]
  np.testing.assert_array_equal(after.params[0], params[0])
  config = with_setting(toy_config(), 'random_seed', SEEDS[1])
  alone = ToyExperiment('train', config=config)
  small_experiments.train(alone, 6)
  assert_alike(mapped, 1, alone)

  whole = config_dict.ConfigDict({'training_steps': 10})
  assert mapped.should_run_step(6, whole)
  assert not mapped.should_run_step(10, whole)
  lost = after._replace(diverged_at=np.array([4, 5], np.int32))
  mapped.train_state = device_mesh.replicate(lost)
  assert not mapped.should_run_step(6, whole)


def numbered_config(values):
  config = {'random_seed': 3, 'player': {'lr': 0.5}, 'pull': ['squares', 0.5]}
  config = config_dict.ConfigDict(config)
  config.update_from_flattened_dict(values)
  return config.lock()


def make_drawn(experiment_class, config, draws):
  """The experiment of some draws, all of the seed 3."""
  config = with_setting(config, mapped_names.NAME, [3] * len(draws))
  numbered = [{'number': 2 * k, 'values': v} for k, v in enumerate(draws)]
  config = with_setting(config, mapped_names.DRAWS_NAME, numbered)
  made = mapped_seeds.make_class(experiment_class, base_config.SCHEMA)
  return made('train', None, config)


DRAWS = (
  {'player.lr': 0.25, 'pull': ['squares', 1.0]},
  {'player.lr': 0.125, 'pull': ['squares', 0.5]},
)


def test_draws_train_as_they_do_alone():
  mapped = make_drawn(NumberedExperiment, numbered_config(DRAWS[0]), DRAWS)
  logs = small_experiments.train(mapped, 3)
  found = []
  for k, values in enumerate(DRAWS):
    alone = NumberedExperiment('train', config=numbered_config(values))
    own_logs = small_experiments.train(alone, 3)
    assert_alike(mapped, k, alone)
    np.testing.assert_allclose(
      logs[f'toy_loss/draw_{2 * k}/seed_3'], own_logs['toy_loss'], **TOLERANCE
    )
    found.append(np.array(state_of(alone).params))
  assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize(
  ('experiment_class', 'second', 'line'),
  [
    (ToyExperiment, DRAWS[1], 'takes no numbers as data: leave map_seeds out'),
    (
      NumberedExperiment,
      {'player.lr': 0.5, 'pull': ['cubes', 0.5]},
      "'squares' and 'cubes' are drawn, and only numbers with a decimal point",
    ),
    (
      SwitchedExperiment,
      DRAWS[1],
      'one of player.lr, pull decides what is computed, and cannot differ',
    ),
  ],
)
def test_draws_that_cannot_be_mapped(experiment_class, second, line):
  def train():
    draws = [DRAWS[0], second]
    mapped = make_drawn(experiment_class, numbered_config(DRAWS[0]), draws)
    small_experiments.train(mapped, 1)

  with pytest.raises(errors.UserError, match=line):
    train()


@pytest.mark.slow
def test_draws_of_a_gan_train_as_they_do_alone():
  """Rates, a momentum, a penalty's coefficient, LOGAN's step."""
  draws = [
    {
      'optimizers.discriminator.lr': rate,
      'optimizers.generator.kwargs.b1': b1,
      'penalties.discriminator': ['wgan_gradient_penalty_loss', penalty],
      'training.latent_optimisation.alpha': alpha,
    }
    for rate, b1, penalty, alpha in (
      (1e-3, 0.9, 1.0, 0.9),
      (1e-2, 0.1, 0.1, 0.5),
    )
  ]

  def config_of(values):
    config = small_experiments.points_config(small_experiments.SIMULTANEOUS)
    config = config.copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
      config.random_seed = 3
      for optimizer in config.optimizers.values():
        optimizer.name, optimizer.kwargs = 'adam', {'b1': 0.5}
      config.training.latent_optimisation.beta = 0.1
      config.penalties.discriminator = values['penalties.discriminator']
      for name in values.keys() - {'penalties.discriminator'}:
        config.update_from_flattened_dict({name: values[name]})
    return config.lock()

  mapped = make_drawn(experiment.Experiment, config_of(draws[0]), draws)
  small_experiments.train(mapped, 3)
  for k, values in enumerate(draws):
    alone = experiment.Experiment(
      'train', init_rng=None, config=config_of(values)
    )
    small_experiments.train(alone, 3)
    assert_alike(mapped, k, alone)


@pytest.mark.slow
def test_all_methods_of_the_fair_comparison_can_be_mapped(tmp_path):
  """What is drawn for them decides nothing that is computed."""
  search = random_search.Search(1)
  sweep = dataclasses.replace(fair_mixture.SWEEP, search=search)
  plan = declaration.make_plan(sweep, 'fair', str(tmp_path))
  first = plan.cells[0].config.experiment_kwargs.config
  made = experiment.Experiment('train', None, first)
  data = made.device_data()
  for cell in plan.cells:
    drawn = results.describe_drawn(cell)
    assert all(isinstance(value, float) for value in drawn.values())

    def make_step(numbers, config=cell.config.experiment_kwargs.config):
      config = mapped_seeds._set_values(config, numbers)
      one = made.with_numbers(config)
      return one.update(one.initial_train_state(), data)

    step = jax.vmap(make_step, axis_name='i', axis_size=1, in_axes=None)
    after, _ = jax.eval_shape(step, drawn)
    assert after.global_step.shape == (1,)


def test_examples_on_the_host_are_refused():
  config = small_experiments.points_config(data_on='host')
  mapped = make_mapped(experiment.Experiment, config)
  with pytest.raises(errors.UserError, match='set data_on=device'):
    mapped.device_data()


def test_an_experiment_whose_keys_are_no_data_is_refused():
  mapped = make_mapped(UnmappableExperiment, toy_config())
  with pytest.raises(errors.UserError, match='nothing depends on random_seed'):
    mapped.device_data()


@pytest.mark.parametrize(
  'changes',
  [
    {'dynamics': {'every': 3}},
    {'on_nonfinite': 'back_off'},
    {'on_divergence': 'stop'},
  ],
)
def test_what_is_not_done_for_several_seeds_is_refused(changes):
  config = small_experiments.points_config(changes)
  with pytest.raises(errors.UserError, match='seeds mapped in one program'):
    make_mapped(experiment.Experiment, config)


def test_seeds_need_no_draws():
  schema = mapped_seeds.make_schema(base_config.SCHEMA)
  config = schema.get_base_config()
  config.experiment_kwargs.config.mapped_seeds = [0, 1]
  resolved = schema.resolve(config)
  members = mapped_seeds._list_members(resolved.experiment_kwargs.config)
  assert [member.seed for member in members] == [0, 1]
