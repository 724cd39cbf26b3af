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
"""GANs of a user's own parts: what they do, and what is said of wrong ones."""

import pathlib
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dd_two_player_games
from dd_two_player_games import base_config
from dd_two_player_games import experiment
from dd_two_player_games import foreign_networks
from dd_two_player_games import gan
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import parts as parts_of_gans
from dd_two_player_games import training
from jaxline_harness import checkpoint_files
from jaxline_harness import errors
from tests import command_lines
from tests.dd_two_player_games import small_experiments
from tests.dd_two_player_games import test_config_checks

EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
PREFIX = '--config.experiment_kwargs.config.'

# What users may write: some of it as it should be, some not.
PARTS = """
import haiku as hk
import jax
import jax.numpy as jnp
import optax

from dd_two_player_games import data_utils
from dd_two_player_games import losses
from dd_two_player_games import nets
from differentiable_games import game
from differentiable_games import rules

Mlp = nets.SimpleMLP


class Linear:

  def __init__(self, out_size=1, scale=1.0):
    self._out_size, self._scale = out_size, scale

  def init(self, rng, x):
    w = self._scale * jax.random.normal(rng, (x.shape[1], self._out_size))
    return {'w': w, 'offset': jnp.zeros(self._out_size)}, {}

  def apply(self, params, state, x, is_training):
    return x @ params['w'] + params['offset'], state


linear = Linear()


class Plain(Linear):

  def init(self, rng, x):
    return super().init(rng, x)[0]


class Odd(Linear):

  def apply(self, params, state, x, is_training):
    return super().apply(params, state, x, is_training)[0]


class Counting(Linear):

  def apply(self, params, state, x, is_training):
    return x @ params['w'], {'n': 1.0}


class Text(Linear):

  def init(self, rng, x):
    return super().init(rng, x)[0] | {'activation': 'relu'}, {}


class Failing(Linear):

  def apply(self, params, state, x, is_training):
    return x @ params['weights'], state


def make_failing(out_size=1):
  raise ValueError('cannot be made')


def make_number():
  return 3


def disc_loss(real, samples):
  return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(samples))


def full_disc_loss(real, samples):
  return losses.discriminator_goodfellow_loss(real, samples)


def gen_loss(real, samples):
  return -jnp.mean(jax.nn.softplus(samples))


def vector_loss(real, samples):
  return real - samples


def failing_loss(real, samples):
  return real @ samples.not_there


def one_argument(real):
  return jnp.mean(real)


def penalty(disc_apply, rng, real, samples):
  return losses.wgan_gradient_penalty_loss(disc_apply, rng, real, samples)


def vector_penalty(disc_apply, rng, real, samples):
  return disc_apply(real)


def half_sgd(learning_rate, factor=0.5):
  return optax.sgd(lambda count: learning_rate * factor)


def no_rate(factor):
  return optax.sgd(factor)


def no_optimizer(learning_rate):
  return learning_rate


def rule(optimizers, share_draws=False):
  return rules.simultaneous(optimizers, share_draws)


def no_rule(optimizers, share_draws=False):
  return optimizers


def failing_rule(optimizers, share_draws=False):
  raise RuntimeError('no such rule')


def adjustment(losses, params, scale=1.0):
  return [
    jax.tree.map(lambda leaf: scale * leaf, own)
    for own in game.simultaneous_gradient(losses, params)
  ]


def adjustment_by_rates(losses, params, learning_rates):
  directions = game.simultaneous_gradient(losses, params)
  return [
    jax.tree.map(lambda leaf: rate / 0.05 * leaf, own)
    for own, rate in zip(directions, learning_rates, strict=True)
  ]


def adjustment_of_one(losses, params):
  return game.simultaneous_gradient(losses, params)[:1]


processor = data_utils.PointProcessor
halves = data_utils.DataProcessor(lambda x: 0.5 * x, lambda x: x)
flat = data_utils.DataProcessor(lambda x: x.ravel(), lambda x: x)
number = 3
"""


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
  path = tmp_path_factory.mktemp('mine') / 'parts.py'
  path.write_text(PARTS)
  return path


def train(config, num_steps=2):
  made = small_experiments.make(config)
  small_experiments.train(made, num_steps)
  return made


def leaves_of(made):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(made.train_state.params)]


def points_config(training=None, optimizer=None, **settings):
  training = {'simultaneous_updates': True} | (training or {})
  return small_experiments.points_config(training, optimizer, **settings)


# What does the same as one of ours trains the same.


def ours():
  penalties = {'discriminator': ['wgan_gradient_penalty_loss', 0.1]}
  return train(points_config(optimizer={'lr': 0.02}, penalties=penalties))


@pytest.mark.slow
def test_own_parts_train_as_ours_do(parts):
  networks = {
    'discriminator': f'{parts}:Mlp',
    'disc_kwargs': small_experiments.MLP,
    'generator': f'{parts}:Mlp',
    'gen_kwargs': small_experiments.MLP | {'out_dim': 2},
  }
  theirs = points_config(
    {'simultaneous_updates': False, 'update_rule': f'{parts}:rule'},
    {'lr': 0.04, 'name': f'{parts}:half_sgd', 'kwargs': {'factor': 0.5}},
    nets=networks,
    losses={
      'discriminator': f'{parts}:disc_loss',
      'generator': f'{parts}:gen_loss',
    },
    penalties={'discriminator': [f'{parts}:penalty', 0.1]},
    data_processor=f'{parts}:processor',
  )
  for mine, other in zip(
    leaves_of(ours()), leaves_of(train(theirs)), strict=True
  ):
    np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_own_adjustments_act_on_one_draw(parts):
  def begin_and_train(name, lr=0.05, **kwargs):
    adjustment = {'adjustment': f'{parts}:{name}', 'adjustment_kwargs': kwargs}
    made = small_experiments.make(points_config(adjustment, {'lr': lr}))
    made.ensure_train_state()
    begun = leaves_of(made)
    small_experiments.train(made, 1)
    return begun, leaves_of(made)

  begun, scaled = begin_and_train('adjustment', lr=0.1, scale=0.5)
  _, plain = begin_and_train('adjustment_by_rates')
  for start, one, other in zip(begun, scaled, plain, strict=True):
    np.testing.assert_allclose(one - start, other - start, rtol=1e-4, atol=1e-7)
  assert any(np.any(a != b) for a, b in zip(begun, plain, strict=True))


def test_losses_may_give_their_components(parts):
  real, samples = jnp.asarray([[1.0], [2.0]]), jnp.asarray([[-1.0], [0.5]])
  outputs = [
    parts_of_gans.DISC_LOSSES.find(name)(real, samples)
    for name in (
      'discriminator_goodfellow_loss',
      f'{parts}:full_disc_loss',
      f'{parts}:disc_loss',
    )
  ]
  assert outputs[0] == outputs[1]
  np.testing.assert_allclose(outputs[2].total, outputs[0].total, rtol=1e-6)
  assert outputs[2].components == {}


# Networks of other libraries.


class Averaging:
  """A linear layer whose state is a mean of its inputs."""

  def init(self, rng, x):
    kernel = jax.random.normal(rng, (x.shape[1], 1))
    mean = jnp.zeros(x.shape[1])
    state = {'batch_stats': {'mean': mean}, 'n': jnp.zeros(())}
    return ({'kernel': kernel}, [jnp.ones(1)]), state

  def apply(self, params, state, x, is_training):
    weights, [offset] = params
    new = {
      'batch_stats': {'mean': jnp.mean(x, axis=0)},
      'n': state['n'] + is_training,
    }
    return x @ weights['kernel'] + offset, new


def make_gan(transformer=None):
  return gan.GAN(
    gan.GANTuple(
      foreign_networks.ForeignNetwork(Averaging()),
      foreign_networks.ForeignNetwork(Averaging),
    ),
    gan.GANTuple(
      losses.discriminator_goodfellow_loss, losses.generator_saturating_loss
    ),
    gan.GANTuple(None, None),
    gan.GANTuple(transformer, None),
    gan.GANTuple({}, {}),
    num_latents=3,
  )


def test_params_and_state_are_as_haiku_has_them():
  params, state = make_gan().initial_params(jax.random.key(0), jnp.ones((4, 1)))
  assert jax.tree.map(jnp.shape, params.gen) == {
    'params/0/kernel': {'w': (3, 1)},
    'params/1/0': {'b': (1,)},
  }
  assert jax.tree.map(jnp.shape, state.players.gen) == {
    'batch_norm/state/batch_stats/mean': {'value': (3,)},
    'state/n': {'value': ()},
  }


def test_batch_statistics_follow_each_pass_and_other_state_its_owner():
  model = make_gan()
  batch = jnp.ones((4, 1))
  params, state = model.initial_params(jax.random.key(0), batch)
  args = (params, state, batch, jax.random.key(1), True)
  for loss, own, other in (
    (model.disc_loss, 'disc', 'gen'),
    (model.gen_loss, 'gen', 'disc'),
  ):
    after = loss(*args)[1].state.players
    mine, theirs = getattr(after, own), getattr(after, other)
    assert mine['state/n']['value'] == 1
    assert theirs['state/n']['value'] == 0
    for renewed in (mine, theirs):
      assert np.any(renewed['batch_norm/state/batch_stats/mean']['value'] != 0)


def test_spectral_norm_divides_weights_and_leaves_vectors():
  model = make_gan(nets.spectral_norm)
  params, state = model.initial_params(jax.random.key(0), jnp.ones((4, 1)))
  kernel = params.disc['params/0/kernel']['w']
  params = params._replace(
    disc=params.disc | {'params/1/0': {'b': jnp.full(1, 5.0)}}
  )
  _, _, transformed, _ = model.disc_forward(
    params.disc, state, jnp.ones((4, 1)), True, True
  )
  np.testing.assert_allclose(
    transformed['params/0/kernel']['w'], jnp.sign(kernel), rtol=1e-5
  )
  np.testing.assert_array_equal(transformed['params/1/0']['b'], [5.0])


# Wrong input.


@pytest.mark.parametrize(
  ('field', 'name', 'expected'),
  [
    ('nets.generator', 'number', 'a network is a Haiku module class, an obj'),
    ('nets.generator', 'Liner', 'has no Liner; did you mean Linear?'),
    ('losses.generator', 'number', 'a loss is a function of (real_outputs, '),
    (
      'losses.discriminator',
      'one_argument',
      'a loss is a function of (real_outputs, sample_outputs), and this one of '
      '(real)',
    ),
    (
      'penalties.discriminator',
      'gen_loss',
      'a penalty is a function of (disc_apply, rng, real, samples), and this',
    ),
    (
      'optimizers.generator.name',
      'no_rate',
      'an optimiser is made by a function with an argument learning_rate',
    ),
    (
      'optimizers.generator.name',
      'no_optimizer',
      'makes no optax.GradientTransformation, but',
    ),
    ('training.adjustment', 'one_argument', 'function of (losses, params)'),
    ('training.update_rule', 'no_rule', 'is made as a rules.UpdateRule, and'),
    (
      'training.update_rule',
      'failing_rule',
      'parts.py:{line}: RuntimeError: no such rule',
    ),
    ('data_processor', 'gen_loss', 'a data processor has functions preprocess'),
  ],
)
def test_wrong_kinds(parts, field, name, expected):
  value = f'{parts}:{name}'
  if field.startswith('penalties'):
    value = [value, 1.0]
  message = test_config_checks.error_of({field: value})
  field = f'{field}[0]' if field.startswith('penalties') else field
  field = field.removesuffix('.name')
  assert message.startswith(f'{test_config_checks.PREFIX}{field}')
  line = 1 + PARTS[: PARTS.find('no such rule')].count('\n')
  assert expected.format(line=line) in message


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    (
      {'nets.gen_kwargs': {'out_siz': 2}},
      'nets.gen_kwargs.out_siz does not exist; did you mean out_size?',
    ),
    (
      {'nets.gen_kwargs': {'scale': 'x'}},
      'nets.gen_kwargs.scale must be a finite number',
    ),
    (
      {'nets.generator': 'linear', 'nets.gen_kwargs': {'out_size': 2}},
      'nets.gen_kwargs.out_size does not exist; ',
    ),
    (
      {'training.adjustment': 'adjustment', 'training.adjustment_kwargs.x': 1},
      'training.adjustment_kwargs.x does not exist; there is scale',
    ),
    (
      {
        'training.update_rule': 'rule',
        'training.grad_regularizes': base_config.cancel_interaction_terms(),
      },
      'parts.py:rule has no drift that is known here',
    ),
    (
      {
        'optimizers.generator.name': 'half_sgd',
        'optimizers.generator.kwargs.f': 1,
      },
      'optimizers.generator.kwargs.f does not exist; ',
    ),
  ],
)
def test_wrong_arguments(parts, settings, expected):
  given = {'nets.generator': 'Linear'} | settings
  named = {
    name: f'{parts}:{value}' if isinstance(value, str) else value
    for name, value in given.items()
  }
  assert expected in test_config_checks.error_of(named)


NETWORK = {'disc_kwargs': {}, 'gen_kwargs': {'out_size': 2}}


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    ({'discriminator': 'Plain'}, 'init must give (params, state), not {'),
    ({'discriminator': 'Odd'}, 'apply must give (outputs, state), not '),
    ({'discriminator': 'Counting'}, 'the state has been '),
    (
      {'discriminator': 'Text'},
      "params: activation is 'relu', not an array of numbers",
    ),
    ({'discriminator': 'Failing'}, "parts.py:{line}: KeyError: 'weights'"),
    (
      {'discriminator': 'make_failing'},
      'make_failing fails: {file}:{made}: ValueError: cannot be made',
    ),
    (
      {'discriminator': 'make_number'},
      'make_number makes 3, which has no init and apply',
    ),
    ({'gen_kwargs': {'out_size': 3}}, 'samples have shape (3,)'),
  ],
)
def test_networks_that_do_not_work(parts, settings, expected):
  names = {'discriminator': 'Linear', 'generator': 'Linear'} | settings
  named = {
    name: f'{parts}:{value}' if isinstance(value, str) else value
    for name, value in (NETWORK | names).items()
  }
  config = points_config(nets=named)
  with pytest.raises(errors.UserError) as caught:
    small_experiments.make(config)
  line = 1 + PARTS[: PARTS.find("params['weights']")].count('\n')
  made = 1 + PARTS[: PARTS.find('cannot be made')].count('\n')
  for key, value in (('line', line), ('made', made), ('file', parts)):
    expected = expected.replace(f'{{{key}}}', str(value))
  assert expected in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    (  # A batch of 16 on four devices.
      {'losses': {'generator': 'vector_loss'}},
      'vector_loss gives shape (4, 1), not one number',
    ),
    (
      {'losses': {'generator': 'failing_loss'}},
      'AttributeError: ',
    ),
    (
      {'penalties': {'discriminator': 'vector_penalty'}},
      'vector_penalty gives shape (4, 1), not one number',
    ),
    ({'training': {'adjustment': 'adjustment_of_one'}}, 'zip() '),
    ({'data_processor': 'flat'}, 'it must make floating-point numbers of that'),
  ],
)
def test_parts_that_do_not_work(parts, settings, expected):
  def name(value, field=''):
    if isinstance(value, dict):
      return {key: name(v, f'{field}.{key}') for key, v in value.items()}
    named = f'{parts}:{value}'
    return [named, 1.0] if field.startswith('.penalties') else named

  config = points_config(**name(settings))
  with pytest.raises(errors.UserError) as caught:
    small_experiments.make(config)
  line = str(caught.value)
  assert expected in line
  assert str(parts) in line
  assert '\n' not in line


def test_training_takes_the_trace_of_the_check(parts, monkeypatch):
  traced = []
  step = training.Trainer.step
  monkeypatch.setattr(
    training.Trainer, 'step', lambda *args: traced.append(1) or step(*args)
  )
  nets = {'discriminator': f'{parts}:Linear', 'generator': f'{parts}:Linear'}
  made = small_experiments.make(points_config(nets=NETWORK | nets))
  assert len(traced) == 1
  made.trace_chunk()
  assert len(traced) == 1


# As a user meets them.


SMALL = f'{PREFIX}nets.gen_kwargs.width=8'
BATCH = f'{PREFIX}training.batch_size=16'


@pytest.fixture(scope='module')
def own_run(tmp_path_factory):
  """A run of the shipped file, named by a path that is not absolute."""
  folder = tmp_path_factory.mktemp('own')
  shutil.copy(EXAMPLES / 'own_gan.py', folder / 'own_gan.py')
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    arguments = (SMALL, '--config.training_steps=2')
    assert (
      small_experiments.launch_mode(
        'train', 'own_gan.py', 'run', BATCH, *arguments
      )
      == 0
    )
  return folder / 'run'


def test_a_run_of_ones_own_is_found_from_anywhere(own_run):
  file = own_run.parent / 'own_gan.py'
  assert f'{file}:Generator' in (own_run / 'config.json').read_text()
  assert dd_two_player_games.load(own_run).sample(5).shape == (5, 2)


def test_what_another_users_run_names_is_not_run(
  own_run, tmp_path, monkeypatch
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  with pytest.raises(errors.UserError, match='would run code, .*own_gan.py:'):
    dd_two_player_games.load(own_run)
  run = dd_two_player_games.load(own_run, trust_code=True)
  assert run.sample(5).shape == (5, 2)
  # To have looked once is not to trust what comes after.
  with pytest.raises(errors.UserError, match='would run code'):
    dd_two_player_games.load(own_run)


def test_a_run_whose_file_is_gone(own_run):
  file = own_run.parent / 'own_gan.py'
  file.rename(own_run.parent / 'renamed.py')
  try:
    with pytest.raises(errors.UserError) as gone:
      dd_two_player_games.load(own_run)
  finally:
    (own_run.parent / 'renamed.py').rename(file)
  assert f'there is no file {file}' in str(gone.value)
  assert '\n' not in str(gone.value)


@pytest.mark.slow
def test_a_run_of_ones_own_goes_on(own_run, capsys, caplog):
  file = own_run.parent / 'own_gan.py'
  assert small_experiments.launch_mode('eval', file, own_run, BATCH, SMALL) == 0
  assert 'modes_covered' in capsys.readouterr().out
  file.write_text(file.read_text() + '\n# Changed.\n')
  arguments = (SMALL, '--config.training_steps=3')
  assert (
    small_experiments.launch_mode('train', file, own_run, BATCH, *arguments)
    == 0
  )
  assert f'{file} is not as it was when this run began' in caplog.text
  assert checkpoint_files.read_config(str(own_run / 'checkpoints/latest/3'))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['flax_gan', 'equinox_gan'])
def test_networks_of_other_libraries_train(tmp_path, name):
  folder = tmp_path / 'run'
  config = EXAMPLES / f'{name}.py'
  assert (
    small_experiments.launch_mode(
      'train', config, folder, BATCH, '--config.training_steps=2'
    )
    == 0
  )
  run = dd_two_player_games.load(folder)
  samples = run.sample(3)
  assert samples.shape[0] == 3
  assert np.ptp(samples) > 0
  assert run.discriminate(samples).shape == (3,)
  if name == 'flax_gan':
    statistics = [n for n in run.state.players.gen if 'batch_norm' in n]
    assert len(statistics) == 4  # Means and variances of two layers.


def test_the_page_shows_the_shipped_file():
  page = (EXAMPLES.parent / 'docs' / 'extending.md').read_text()
  for path in re.findall(r'examples/\w+\.py', page):
    assert (EXAMPLES.parent / path).exists()
  for name in ('own_gan', 'flax_gan', 'equinox_gan'):
    assert f'./run.sh train examples/{name}.py' in page
  shown = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  assert len(shown) == 2
  own_gan = (EXAMPLES / 'own_gan.py').read_text()
  assert all(code in own_gan for code in shown)


def test_the_command_line_names_them_too(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.py').write_text('Generater = 3')
  line = command_lines.error_line(
    capsys,
    experiment.Experiment,
    base_config.SCHEMA,
    f'--config={EXAMPLES / "own_gan.py"}',
    f'{PREFIX}nets.generator=mine.py:Generator',
  )
  assert line.endswith(
    'nets.generator=mine.py:Generator: mine.py has no Generator; did you mean '
    'Generater?'
  )
