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
"""The two players of a GAN, their losses, and who may change which state."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dd_two_player_games import labelled
from dd_two_player_games import losses as gan_losses
from dd_two_player_games import nets
from dd_two_player_games import rematerialisation
from differentiable_games import game
from differentiable_games import latent_optimisation as latent_steps

# A minibatch is an array, or this where examples, and samples too, have labels.
Labelled = labelled.Labelled
examples_of = labelled.examples_of


class GANTuple(NamedTuple):
  """One value for each player."""

  disc: Any
  gen: Any


class GANPenalty(NamedTuple):
  """A penalty `fn(disc_apply, rng, real, samples)` and its coefficient."""

  fn: Callable[..., jax.Array]
  coeff: float


class LatentOptimisation(NamedTuple):
  """The step of `differentiable_games.latent_optimisation`."""

  alpha: float
  beta: float | None = None


class GANState(NamedTuple):
  """All that is neither parameter nor optimiser state.

  Attributes:
    players: a GANTuple of Haiku states, such as batch-norm statistics.
    param_transforms: a GANTuple of the states of the parameter transforms,
      such as the power iteration of spectral norm.
  """

  players: GANTuple
  param_transforms: GANTuple


class GANLossAux(NamedTuple):
  """What a loss gives beside its value."""

  state: GANState
  log_dict: Mapping[str, jax.Array]
  loss_components: Mapping[str, jax.Array]


class _Forward(NamedTuple):
  """What a pass through both networks gives."""

  samples: jax.Array
  gen_state: Any
  real_outputs: jax.Array
  sample_outputs: jax.Array
  disc_state: Any
  disc_params: Any  # Transformed.
  transform_state: Any


@dataclasses.dataclass(frozen=True)
class LossGradient:
  """The gradient of a loss in one player's parameters, as a function.

  That the loss is at hand, and not only its gradient, is what lets
  `regularizer_estimates` differentiate it in a single forward-over-reverse
  pass.

  Attributes:
    loss: `loss(params, state, data_batch, rng, is_training) -> (loss, aux)`.
    player: index in GANTuple of the player whose parameters are varied.
  """

  loss: Callable[..., tuple[jax.Array, GANLossAux]]
  player: int

  def scalar_loss(self, *args) -> Callable[[GANTuple], jax.Array]:
    """The loss as a function of params, `args` being what follows them."""
    return lambda params: self.loss(params, *args)[0]

  def __call__(self, params, *args) -> Any:
    return game.player_gradient(self.scalar_loss(*args), params, self.player)


def memory_of(state: GANState) -> GANTuple:
  """A state as the players' memory: of each its network's and transform's."""
  return GANTuple(*zip(*state, strict=True))


def state_of(memory: GANTuple) -> GANState:
  """The inverse of `memory_of`."""
  return GANState(*map(GANTuple._make, zip(*memory, strict=True)))


def keep_batch_norm(new_state: Any, old_state: Any) -> Any:
  """The old state of a player, but with its new batch-norm statistics.

  These serve evaluation only, so that a pass made for the other player's loss
  may refresh them; what training itself uses stays with its owner.
  """
  return {
    module: (new_state if 'batch_norm' in module else old_state)[module]
    for module in old_state
  }


class GAN:
  """Two networks and their losses, as pure functions of params and state."""

  def __init__(
    self,
    players_hk: GANTuple,
    losses: GANTuple,
    penalties: GANTuple,
    player_param_transformers: GANTuple,
    players_kwargs: GANTuple,
    num_latents: int,
    compute_dtype: str = 'float32',
    latent_optimisation: LatentOptimisation | None = None,
    convolutions: str = 'fast',
    anew: str = rematerialisation.NOTHING,
  ):
    """Initialises the GAN.

    Args:
      players_hk: Haiku module classes. The discriminator is called as
        `(inputs, is_training)`, the generator as `(latents, is_training=…)`,
        both with `labels=…` where the data have them.
      losses: functions of `losses.py`.
      penalties: a GANPenalty for the discriminator, or None.
      player_param_transformers: for the discriminator a function that makes a
        Haiku module from parameters to parameters, or None.
      players_kwargs: keyword arguments of the module classes.
      num_latents: dimension of the generator's input.
      compute_dtype: of the networks' arithmetic, 'float32' or 'bfloat16'.
        Parameters, losses, batch statistics and parameter transforms are
        float32 with either.
      latent_optimisation: how latents move in training, None for not at all.
        With it they are uniform on [-1, 1].
      convolutions: how the layers of `convolutions_as_products` compute, one
        of its IMPLEMENTATIONS.
      anew: what derivatives compute anew, see `rematerialisation`.

    Raises:
      ValueError: for a penalty or transform of the generator: no loss would
        use it.
    """
    for name, value in (
      ('penalty', penalties.gen),
      ('parameter transform', player_param_transformers.gen),
    ):
      if value:
        raise ValueError(f'A {name} of the generator has no effect: remove it.')

    def make_network(make_module, kwargs):
      net = nets.transform(make_module, kwargs, compute_dtype, convolutions)
      return rematerialisation.apply_to(labelled.take_batches(net), anew)

    self._disc, self._gen = map(make_network, players_hk, players_kwargs)
    transformer = player_param_transformers.disc
    self._disc_param_transform = transformer and nets.transform(transformer, {})
    self._losses = losses
    self._disc_penalty = penalties.disc
    self._num_latents = num_latents
    self._latent_optimisation = latent_optimisation
    self.disc_loss_fn_disc_grads = LossGradient(self.disc_loss, 0)
    self.disc_loss_fn_gen_grads = LossGradient(self.disc_loss, 1)
    self.gen_loss_fn_disc_grads = LossGradient(self.gen_loss, 0)
    self.gen_loss_fn_gen_grads = LossGradient(self.gen_loss, 1)

  def initial_params(
    self, rng: jax.Array, batch: labelled.Batch
  ) -> tuple[GANTuple, GANState]:
    """Draws initial parameters.

    Args:
      rng: a key.
      batch: data of the right shape, (batch, …); their values do not matter.

    Returns:
      A GANTuple of parameters, and the initial GANState.
    """
    rng_gen, rng_disc, rng_transform = jax.random.split(rng, 3)
    latents = labelled.map_examples(
      lambda examples: jnp.zeros((examples.shape[0], self._num_latents)), batch
    )
    gen_params, gen_state = self._gen.init(rng_gen, latents)
    disc_params, disc_state = self._disc.init(rng_disc, batch)
    transform_state = None
    if self._disc_param_transform:
      _, transform_state = self._disc_param_transform.init(
        rng_transform, disc_params
      )
    state = GANState(
      players=GANTuple(disc=disc_state, gen=gen_state),
      param_transforms=GANTuple(disc=transform_state, gen=None),
    )
    return GANTuple(disc=disc_params, gen=gen_params), state

  def sample(
    self,
    gen_params: Any,
    gen_state: Any,
    rng: jax.Array,
    num_samples: int,
    gen_kwargs: Mapping[str, Any],
  ) -> tuple[jax.Array, Any]:
    """Samples from the generator, latents from their distribution.

    It is a standard normal, with latent optimisation uniform on [-1, 1].
    Labels, where it takes any, are among `gen_kwargs`.

    Returns:
      Samples of shape (num_samples, …), and the generator's new state.
    """
    latents = self.draw_latents(rng, num_samples)
    return self._gen.apply(gen_params, gen_state, latents, **gen_kwargs)

  def generate(
    self, gen_params: Any, gen_state: Any, latents: labelled.Batch
  ) -> jax.Array:
    """The samples of latents (num, num_latents), as they are evaluated."""
    return self._gen.apply(gen_params, gen_state, latents, is_training=False)[0]

  def draw_latents(self, rng: jax.Array, num_samples: int) -> jax.Array:
    """Draws latents, (num_samples, num_latents), from their distribution."""
    shape = (num_samples, self._num_latents)
    if self._latent_optimisation:
      return jax.random.uniform(rng, shape, minval=-1.0)
    return jax.random.normal(rng, shape)

  def shape_of_samples(self) -> jax.ShapeDtypeStruct:
    """Two samples' shape, by the generator alone."""

    def sample():
      latents = jnp.zeros((2, self._num_latents))
      params, state = self._gen.init(jax.random.PRNGKey(0), latents)
      return self.generate(params, state, latents)

    # Batch norm averages over the axis 'i', which must exist.
    mapped = jax.vmap(sample, axis_name='i', axis_size=1)
    (shape,) = jax.tree.leaves(jax.eval_shape(mapped))
    return jax.ShapeDtypeStruct(shape.shape[1:], shape.dtype)

  def disc_forward(
    self,
    disc_params: Any,
    state: GANState,
    inputs: labelled.Batch,
    is_training: bool,
    update_stats: bool,
  ) -> tuple[jax.Array, Any, Any, Any]:
    """A pass of the discriminator with transformed parameters.

    Args:
      disc_params: its parameters, before the transform.
      state: the GAN's state.
      inputs: shape (batch, …).
      is_training: passed to the network.
      update_stats: whether the transform's state is to be renewed.

    Returns:
      The outputs, the discriminator's new state, its transformed parameters,
      and the transform's new state (None without a transform).
    """
    disc_params, transform_state = self._transformed(
      disc_params, state, update_stats
    )
    outputs, disc_state = self._disc.apply(
      disc_params, state.players.disc, inputs, is_training
    )
    return outputs, disc_state, disc_params, transform_state

  @functools.partial(jax.jit, static_argnums=(0, 5))
  def disc_loss(
    self,
    params: GANTuple,
    state: GANState,
    data_batch: labelled.Batch,
    rng: jax.Array,
    is_training: bool,
  ) -> tuple[jax.Array, GANLossAux]:
    """The discriminator's loss, with its penalty.

    Of the state it changes the discriminator's, the transform's (when
    training), and the generator's batch-norm statistics.

    Args:
      params: both players' parameters.
      state: the GAN's state.
      data_batch: real examples, of shape (batch, …), or Labelled ones.
      rng: a key; as many samples are drawn as there are real examples.
      is_training: passed to the networks.

    Returns:
      The loss and a GANLossAux.
    """
    forward = self._forward(params, state, data_batch, rng, is_training)
    return self._disc_loss(forward, state, data_batch, rng, is_training)

  @functools.partial(jax.jit, static_argnums=(0, 5))
  def gen_loss(
    self,
    params: GANTuple,
    state: GANState,
    data_batch: labelled.Batch,
    rng: jax.Array,
    is_training: bool,
  ) -> tuple[jax.Array, GANLossAux]:
    """The generator's loss.

    Of the state it changes the generator's, and the discriminator's
    batch-norm statistics. The power iteration of a transform is run, as in
    every pass, but its new vectors are not kept.

    Arguments and result are those of `disc_loss`.
    """
    forward = self._forward(params, state, data_batch, rng, is_training)
    return self._gen_loss(forward, state, rng)

  @functools.partial(jax.jit, static_argnums=(0, 5))
  def both_losses(
    self,
    params: GANTuple,
    state: GANState,
    data_batch: labelled.Batch,
    rng: jax.Array,
    is_training: bool,
  ) -> tuple[GANTuple, GANTuple]:
    """Both losses from one pass: GANTuples of losses and of GANLossAux.

    Arguments and values are those of `disc_loss` and `gen_loss`.
    """
    forward = self._forward(params, state, data_batch, rng, is_training)
    disc = self._disc_loss(forward, state, data_batch, rng, is_training)
    gen = self._gen_loss(forward, state, rng)
    return GANTuple(disc[0], gen[0]), GANTuple(disc[1], gen[1])

  def as_game(
    self,
    is_training: bool = True,
    logged: Callable[[GANLossAux], Any] = lambda aux: aux.log_dict,
  ) -> game.Game:
    """The two players' game, whose draws are a minibatch and a key.

    Args:
      is_training: passed to the networks.
      logged: what of a loss's GANLossAux is its logs.

    Returns:
      The game. Its memory is `memory_of` a GANState.
    """

    def make_pass(aux):
      return game.Pass(memory_of(aux.state), logged(aux))

    def game_loss(loss_fn):
      def loss(params, memory, draw):
        params, state = GANTuple(*params), state_of(memory)
        value, aux = loss_fn(params, state, *draw, is_training)
        return value, make_pass(aux)

      return loss

    def joint_losses(params, memory, draw):
      params, state = GANTuple(*params), state_of(memory)
      values, auxes = self.both_losses(params, state, *draw, is_training)
      return tuple(values), tuple(map(make_pass, auxes))

    return game.Game(
      (game_loss(self.disc_loss), game_loss(self.gen_loss)),
      joint_losses,
      GANTuple._fields,
    )

  def disc_loss_components(self, *args) -> Mapping[str, jax.Array]:
    """The named parts of `disc_loss(*args)`."""
    return self.disc_loss(*args)[1].loss_components

  def gen_loss_components(self, *args) -> Mapping[str, jax.Array]:
    """The named parts of `gen_loss(*args)`."""
    return self.gen_loss(*args)[1].loss_components

  def _disc_loss(self, forward, state, data_batch, rng, is_training):
    loss, components = gan_losses.evaluate(
      self._losses.disc, forward.real_outputs, forward.sample_outputs, rng
    )
    if self._disc_penalty:

      def disc_apply(x):
        batch = labelled.map_examples(lambda _: x, data_batch)
        return self._disc.apply(
          forward.disc_params, forward.disc_state, batch, is_training
        )[0]

      loss += self._disc_penalty.coeff * self._disc_penalty.fn(
        disc_apply, rng, examples_of(data_batch), forward.samples
      )
    new_state = GANState(
      players=GANTuple(
        disc=forward.disc_state,
        gen=keep_batch_norm(forward.gen_state, state.players.gen),
      ),
      param_transforms=state.param_transforms._replace(
        disc=forward.transform_state
      ),
    )
    return loss, GANLossAux(new_state, {'disc_loss': loss}, components)

  def _gen_loss(self, forward, state, rng):
    loss, components = gan_losses.evaluate(
      self._losses.gen, forward.real_outputs, forward.sample_outputs, rng
    )
    new_state = state._replace(
      players=GANTuple(
        disc=keep_batch_norm(forward.disc_state, state.players.disc),
        gen=forward.gen_state,
      )
    )
    return loss, GANLossAux(new_state, {'gen_loss': loss}, components)

  def _forward(self, params, state, data_batch, rng, is_training) -> _Forward:
    disc_params, transform_state = self._transformed(
      params.disc, state, update_stats=is_training
    )
    disc_state = state.players.disc
    labels = labelled.labels_of(data_batch)
    num_data = len(examples_of(data_batch))

    def disc(batch):
      return self._disc.apply(disc_params, disc_state, batch, is_training)

    def gen(latents):
      batch = labelled.label(latents, labels)
      samples, gen_state = self._gen.apply(
        params.gen, state.players.gen, batch, is_training=is_training
      )
      return labelled.label(samples, labels), gen_state

    latents = self.draw_latents(rng, num_data)
    if self._latent_optimisation:
      latents = latent_steps.optimised_latents(
        lambda z: disc(gen(z)[0])[0], latents, *self._latent_optimisation
      )
    samples, gen_state = gen(latents)
    # A discriminator with state meets both at once, to renew it once. Without,
    # nothing ties the examples together: what a loss or a regulariser takes
    # from the samples alone then leaves out the data.
    if disc_state:
      outputs, disc_state = disc(labelled.concatenate(data_batch, samples))
      real_outputs, sample_outputs = outputs[:num_data], outputs[num_data:]
    else:
      real_outputs, _ = disc(data_batch)
      sample_outputs, _ = disc(samples)
    return _Forward(
      examples_of(samples),
      gen_state,
      real_outputs,
      sample_outputs,
      disc_state,
      disc_params,
      transform_state,
    )

  def _transformed(self, disc_params, state, update_stats):
    """The discriminator's transformed parameters, the transform's new state."""
    if not self._disc_param_transform:
      return disc_params, None
    return self._disc_param_transform.apply(
      {}, state.param_transforms.disc, disc_params, update_stats=update_stats
    )
