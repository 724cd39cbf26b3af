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
"""Class-conditional GANs: what their losses see, and how they are used."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import gan
from dd_two_player_games import losses
from dd_two_player_games import nets
from dd_two_player_games import sample
from dd_two_player_games import trained_run
from jaxline_harness import errors
from jaxline_harness import run_directory
from tests.dd_two_player_games import small_experiments
from tests.dd_two_player_games import test_data_facts

KEY = jax.random.PRNGKey(2)
CONDITIONAL = {'conditional': True}
# Of each way to take gradients on labelled draws one.
RULES = {
  'cancelled': small_experiments.SIMULTANEOUS | small_experiments.CANCEL,
  'alternating': {'num_disc_updates': 2, 'generator_average': 0.5},
  'sga': {
    'update_rule': 'simultaneous',
    'adjustment': 'sga',
    'adjustment_kwargs': {'lam': 0.5, 'align': True},
  },
  'lola_unrolled': {'adjustment': 'lola', 'unrolled_steps': 2},
  'logan': {'latent_optimisation': {'alpha': 0.5, 'beta': 1.0}},
}


def make_model(**kwargs):
  own = {
    'players_hk': gan.GANTuple(
      disc=nets.DCGANDiscriminator, gen=nets.DCGANGenerator
    ),
    'losses': gan.GANTuple(
      disc=losses.discriminator_goodfellow_loss,
      gen=losses.generator_saturating_loss,
    ),
    'penalties': gan.GANTuple(
      disc=gan.GANPenalty(losses.wgan_gradient_penalty_loss, 10.0), gen=None
    ),
    'player_param_transformers': gan.GANTuple(disc=None, gen=None),
    'players_kwargs': gan.GANTuple(
      disc={'channels': [2], 'num_classes': 3},
      gen={'channels': [2], 'output_size': 4, 'num_classes': 3},
    ),
    'num_latents': 3,
  }
  return gan.GAN(**own | kwargs)


def test_the_losses_are_those_of_labelled_examples_and_samples():
  """Penalty included; the samples have the labels of the examples."""
  random = np.random.default_rng(0)
  examples = random.normal(size=(4, 4, 4, 1)).astype(np.float32)
  batch = gan.Labelled(examples, jnp.array([2, 0, 1, 2]))
  model = make_model()
  disc = nets.transform(
    nets.DCGANDiscriminator, {'channels': [2], 'num_classes': 3}
  )
  gen = nets.transform(
    nets.DCGANGenerator,
    {'channels': [2], 'output_size': 4, 'num_classes': 3},
  )

  def both(_):
    params, state = model.initial_params(KEY, batch)
    # All tables begin equal: other classes must have others.
    params = jax.tree.map(
      lambda leaf: leaf + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape),
      params,
    )
    found, _ = model.both_losses(params, state, batch, KEY, True)
    samples, _ = gen.apply(
      params.gen,
      state.players.gen,
      jax.random.normal(KEY, (4, 3)),
      is_training=True,
      labels=batch.labels,
    )

    def score(x):
      return disc.apply(
        params.disc, state.players.disc, x, True, labels=batch.labels
      )[0]

    penalty = losses.wgan_gradient_penalty_loss(score, KEY, examples, samples)
    outputs = score(examples), score(samples)
    expected = (
      losses.discriminator_goodfellow_loss(*outputs)[0] + 10 * penalty,
      losses.generator_saturating_loss(*outputs)[0],
    )
    return found, expected

  found, expected = jax.jit(jax.vmap(both, axis_name='i'))(jnp.zeros(1))
  np.testing.assert_allclose(found.disc, expected[0], rtol=1e-5)
  np.testing.assert_allclose(found.gen, expected[1], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', RULES)
def test_every_rule_trains(name):
  made = small_experiments.make(
    small_experiments.points_config(CONDITIONAL | RULES[name])
  )
  logs = small_experiments.train(made, 2)
  assert np.isfinite(logs['disc_loss'])
  assert np.isfinite(logs['gen_loss'])
  small_experiments.assert_devices_agree(made.train_state)


@pytest.mark.slow
@pytest.mark.optimised  # For its steps take longer than to compile them.
def test_conditional_players_learn_which_mode_is_which():
  """Of the mixture's sixteen Gaussians, whose labels are their modes."""
  optimizer = {'name': 'adam', 'lr': 2e-3, 'kwargs': {'b1': 0.5, 'b2': 0.99}}
  network = {'depth': 2, 'hidden_size': 64}
  made = small_experiments.make(
    small_experiments.points_config(
      CONDITIONAL | {'batch_size': 256},
      optimizer,
      losses={'generator': 'generator_goodfellow_loss'},
      nets={
        'discriminator': 'SimpleMLP',
        'disc_kwargs': network,
        'generator': 'SimpleMLP',
        'gen_kwargs': network | {'out_dim': 2},
      },
    )
  )
  small_experiments.train(made, 2000)
  data = made._dataset
  labels = np.arange(16, dtype=np.int32).repeat(20)
  samples = made._samples(len(labels), KEY, labels=labels)
  means = np.stack([data.examples[data.labels == k].mean(0) for k in range(16)])
  nearest = np.linalg.norm(samples[:, None] - means, axis=-1).argmin(axis=1)
  assert (nearest == labels).mean() > 0.9


# A run of labelled images, from training to its samples.


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """An experiment after two steps, and its folder with a checkpoint of it."""
  folder = tmp_path_factory.mktemp('conditional')
  data = test_data_facts.write_images(
    folder / 'mine.npz', (6, 9, 1), labels=np.arange(24) % 3
  )
  config = small_experiments.images_config(
    dataset=data,
    training={'batch_size': 8, 'num_latents': 4, 'generator_average': 0.5}
    | (CONDITIONAL | small_experiments.SIMULTANEOUS),
    eval={'run_image_metrics': False},
  )
  made = small_experiments.make(config)
  logs = small_experiments.train(made, 2)
  assert np.isfinite(logs['disc_loss'])
  writer = run_directory.Writer(str(folder), 'eval')
  made.evaluate(global_step=2, rng=None, writer=writer)
  checkpoint = folder / 'checkpoints' / 'latest'
  checkpoint.mkdir(parents=True)
  full = base_config.get_base_config()
  with full.unlocked():
    full.experiment_kwargs.config = config
  test_data_facts.save(made, full, str(checkpoint / '2'))
  (folder / 'mine.npz').unlink()
  return made, folder


@pytest.fixture
def images(trained):
  return trained[1]


def test_the_average_is_loaded(trained):
  made, folder = trained
  state = made.snapshot_state()['train_state']
  loaded = trained_run.load(str(folder)).params
  jax.tree.map(
    np.testing.assert_array_equal, loaded, made._trainer.evaluated(state)
  )
  assert any(
    (a != b).any()
    for a, b in zip(
      *map(jax.tree.leaves, (loaded.gen, state.params.gen)), strict=True
    )
  )


@pytest.mark.quick_cases(1)
def test_samples_have_the_labels_that_are_asked_for(images):
  run = trained_run.load(str(images))
  assert run.num_classes == 3
  drawn = run.draw_labels(9, seed=4)
  samples = run.sample(9, seed=4)
  assert samples.shape == (9, 6, 9, 1)
  np.testing.assert_array_equal(samples, run.sample(9, seed=4, labels=drawn))
  np.testing.assert_array_equal(
    run.sample(2, labels=1), run.sample(labels=[1, 1])
  )
  latents = np.repeat(run.draw_latents(1), 3, axis=0)
  by_class = run.sample(latents=latents, labels=[0, 1, 2])
  assert (by_class[0] != by_class[1]).any()
  assert run.interpolate(2, 3, labels=[0, 2]).shape == (6, 6, 9, 1)
  scores = run.discriminate(by_class, labels=[0, 1, 2])
  assert (scores != run.discriminate(by_class, labels=0))[1:].all()
  for labels, message in (
    (3, '3 is none of the 3 classes'),
    ([0, 1], '2 labels for 5 samples'),
  ):
    with pytest.raises(errors.UserError, match=message):
      run.sample(5, labels=labels)
  with pytest.raises(errors.UserError, match='labels are missing'):
    run.discriminate(by_class)


def test_the_command_makes_samples_of_classes(images, tmp_path):
  out = tmp_path / 'x.npz'
  sample.main([str(images), f'--out={out}', '--labels=2,0', '--num=3'])
  with np.load(out) as archive:
    np.testing.assert_array_equal(archive['labels'], [2, 2, 2, 0, 0, 0])
    expected = trained_run.load(str(images)).sample(labels=archive['labels'])
    np.testing.assert_array_equal(archive['samples'], expected)
  sample.main([str(images), f'--out={out}', '--num=5'])
  with np.load(out) as archive:
    assert archive['labels'].shape == (5,)
  with pytest.raises(errors.UserError, match='3 is none of the 3 classes'):
    sample.main([str(images), f'--out={out}', '--labels=3'])


def test_pictures_have_a_row_for_each_class(images):
  from PIL import Image

  assert json.loads((images / 'eval/metrics_00000002.json').read_text())
  with Image.open(images / 'eval/samples_00000002.png') as picture:
    rows = (picture.height - 2) // (10 * 6 + 2)
  assert rows == 3


# What does not go together.


def error_of(config):
  with pytest.raises(errors.UserError) as error:
    small_experiments.make(config() if callable(config) else config)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_networks_that_take_no_labels():
  def config():
    return small_experiments.images_config(
      training=CONDITIONAL, nets={'generator': 'MnistGenerator'}
    )

  assert error_of(config).endswith(
    'training.conditional=True, but nets.generator=MnistGenerator takes no '
    'labels: it declares no argument num_classes'
  )


def test_data_without_labels(tmp_path):
  path = test_data_facts.write_images(tmp_path / 'mine.npz', (6, 9, 1))
  message = error_of(
    small_experiments.images_config(
      dataset=path, training=CONDITIONAL | {'batch_size': 8}
    )
  )
  assert 'training.conditional=True, but mine.npz has no labels' in message


def test_the_number_of_classes_is_the_data_s():
  def config():
    return small_experiments.images_config(
      nets={'gen_kwargs': {'num_classes': 3}}
    )

  assert 'gen_kwargs.num_classes does not exist' in error_of(config)
