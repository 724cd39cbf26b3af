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
"""The fixed inputs of the recorded figures, and how they are compared."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from dd_two_player_games import gan
from dd_two_player_games import losses
from dd_two_player_games import nets

DATA = pathlib.Path(__file__).parents[1] / 'data'
NUM_LATENTS = 16


def recorded(name: str) -> dict:
  """A file of recorded figures."""
  return json.loads((DATA / f'{name}.json').read_text())


def fill(shape, k: int) -> np.ndarray:
  """The fixed values of parameter number k."""
  scale = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[:-1]))
  i = np.arange(np.prod(shape), dtype=np.float64)
  values = scale * np.sin(0.37 * i**1.1 + 1.3 * k + 0.5)
  return values.reshape(shape).astype(np.float32)


def fill_tree(params, names):
  """Fills `params` in the order of `names`, pairs of module and name."""
  filled = {module: dict(entries) for module, entries in params.items()}
  for k, (module, name) in enumerate(names):
    filled[module][name] = jnp.asarray(fill(params[module][name].shape, k))
  return filled


def points(t: int) -> jnp.ndarray:
  values = 1.5 * np.sin(0.9 * np.arange(64) + 0.31 * t)
  return jnp.asarray(values.reshape(32, 2), jnp.float32)


def images(shape, t: int) -> jnp.ndarray:
  i = np.arange(np.prod(shape), dtype=np.float64)
  values = np.sin(0.61 * i**1.02 + 0.2 * t)
  return jnp.asarray(values.reshape(shape), jnp.float32)


def assert_matches(array, summary, rtol=1e-4, atol=1e-6) -> None:
  """Compares an array with its recorded summary."""
  array = np.asarray(array, np.float64)
  assert list(array.shape) == summary['shape']
  np.testing.assert_allclose(
    np.linalg.norm(array), summary['l2'], rtol=rtol, atol=atol
  )
  np.testing.assert_allclose(
    array.ravel()[:8], np.ravel(summary['head']), rtol=rtol, atol=atol
  )
  np.testing.assert_allclose(array.sum(), summary['sum'], rtol=rtol, atol=atol)


def assert_tree_matches(tree, summaries) -> None:
  """Compares a Haiku tree with summaries under 'module/name'."""
  flat = {
    f'{module}/{name}': value
    for module, entries in tree.items()
    for name, value in entries.items()
  }
  assert flat.keys() == summaries.keys()
  for key, value in flat.items():
    assert_matches(value, summaries[key])


def mlp_gan(gen_loss: str = 'generator_saturating_loss'):
  """The MLP players: the GAN, its filled parameters and its state."""
  model = gan.GAN(
    players_hk=gan.GANTuple(disc=nets.SimpleMLP, gen=nets.SimpleMLP),
    losses=gan.GANTuple(
      disc=losses.discriminator_goodfellow_loss, gen=getattr(losses, gen_loss)
    ),
    penalties=gan.GANTuple(disc=None, gen=None),
    player_param_transformers=gan.GANTuple(disc=None, gen=None),
    players_kwargs=gan.GANTuple(disc={'out_dim': 1}, gen={'out_dim': 2}),
    num_latents=NUM_LATENTS,
  )
  # Only the shapes: values are filled in, and such players have no state.
  params, state = jax.eval_shape(
    model.initial_params, jax.random.PRNGKey(0), points(0)
  )
  names = [
    (f'SimpleMLP/~/linear_{layer}', name)
    for layer in range(5)
    for name in ('w', 'b')
  ]
  return model, gan.GANTuple(*(fill_tree(own, names) for own in params)), state
