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
"""Networks of other libraries, through `init` and `apply`."""

from collections.abc import Mapping
import dataclasses
import inspect
import re
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from jaxline_harness import errors
from jaxline_harness import outside
from jaxline_harness import settings

# How libraries call the statistics of batches.
_BATCH_STATISTICS = re.compile('batch_?(norm|stats)', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class ForeignNetwork:
  """A network that is no Haiku module.

  Attributes:
    source: has `init(rng, x) -> (params, state)` and `apply(params, state, x,
      is_training) -> (outputs, state)`, or makes such an object from keyword
      arguments. Params and state are trees of arrays; where there is no state
      that is `{}`. What else a pass is given follows `is_training`.
  """

  source: Any

  def __post_init__(self):
    if not (_is_network(self.source) or callable(self.source)):
      raise TypeError(
        'a network is a Haiku module class, an object with init and apply, or '
        f'what makes one, and this is {settings.show(self.source)}'
      )

  @property
  def __name__(self) -> str:
    return getattr(self.source, '__name__', type(self.source).__name__)

  @property
  def __signature__(self) -> inspect.Signature:
    """What `inspect.signature` says: the arguments that make the network."""
    return inspect.signature(self.source if self._is_made else lambda: None)

  @property
  def _is_made(self) -> bool:
    return inspect.isclass(self.source) or not _is_network(self.source)

  def __call__(self, **kwargs) -> Any:
    """Makes the network."""
    return self.source(**kwargs) if self._is_made else self.source

  def transform(self, kwargs: Mapping[str, Any]) -> hk.TransformedWithState:
    """The network as Haiku has it: params and state by module and name.

    Thus spectral norm finds the weights, checkpoints hold nothing but arrays,
    and one player's pass knows the batch statistics of the other. The first
    call must be one of `init`, which tells the structure of both trees.

    Args:
      kwargs: arguments of what makes it; none without.

    Raises:
      errors.UserError: if it cannot be made of them.
    """
    try:
      network = self(**kwargs)
    except Exception as error:  # Whatever other people's code does.
      raise errors.UserError(
        f'{self.__name__} fails: {outside.describe(error)}'
      ) from error
    if not _is_network(network):
      raise errors.UserError(
        f'{self.__name__} makes {settings.show(network)}, which has no '
        'init and apply'
      )
    trees: list[_Tree] = []

    def init(rng, x, *args, **kwargs):
      params, state = _pair(network.init(rng, x, *args, **kwargs), 'init')
      trees[:] = _Tree('params', params), _Tree('state', state)
      return tuple(
        tree.to_modules(value)
        for tree, value in zip(trees, (params, state), strict=True)
      )

    def apply(params, state, x, is_training=True, **kwargs):
      own = [
        tree.from_modules(value)
        for tree, value in zip(trees, (params, state), strict=True)
      ]
      outputs, new_state = _pair(
        network.apply(*own, x, is_training, **kwargs), 'apply'
      )
      return outputs, trees[1].to_modules(new_state)

    return hk.TransformedWithState(init, apply)


class _Tree:
  """The structure of a tree, whose leaves have names as in Haiku."""

  def __init__(self, what: str, example: Any):
    self._what = what
    leaves, self._structure = jax.tree_util.tree_flatten_with_path(example)
    self._places = []
    for path, leaf in leaves:
      place = jax.tree_util.keystr(path, simple=True, separator='/')
      _check_array(leaf, f'{what}: {place}')
      # Modules of Haiku have the names of Python's variables.
      module = re.sub(r'[^\w/]', '_', f'{what}/{place}'.rstrip('/'))
      if what == 'params':  # Spectral norm leaves alone what is called b.
        name = 'w' if jnp.ndim(leaf) > 1 else 'b'
      else:
        name = 'value'
        if _BATCH_STATISTICS.search(module):
          module = f'batch_norm/{module}'  # See `gan.keep_batch_norm`.
      self._places.append((module, name))
    if len(dict(self._places)) < len(leaves):
      raise TypeError(f'two leaves of the {what} have the same path')

  def to_modules(self, tree: Any) -> dict[str, dict[str, Any]]:
    """The leaves by module and name."""
    structure: Any = jax.tree.structure(tree)
    if structure != self._structure:
      raise TypeError(
        f'the {self._what} has been {self._structure}, and is now {structure}'
      )
    return {
      module: {name: jnp.asarray(leaf)}
      for (module, name), leaf in zip(
        self._places, jax.tree.leaves(tree), strict=True
      )
    }

  def from_modules(self, modules: Mapping[str, Mapping[str, Any]]) -> Any:
    """The tree of such leaves."""
    leaves = [modules[module][name] for module, name in self._places]
    return jax.tree.unflatten(self._structure, leaves)


def _is_network(source: Any) -> bool:
  return all(
    callable(getattr(source, name, None)) for name in ('init', 'apply')
  )


def _pair(result: Any, method: str) -> tuple[Any, Any]:
  wanted = 'params' if method == 'init' else 'outputs'
  if not isinstance(result, tuple | list) or len(result) != 2:
    raise TypeError(
      f'{method} must give ({wanted}, state), not {settings.show(result)}'
    )
  return result[0], result[1]


def _check_array(leaf: Any, name: str) -> None:
  number = hasattr(leaf, 'dtype') and (
    jnp.issubdtype(leaf.dtype, jnp.number) or leaf.dtype == bool
  )
  if not number:
    raise TypeError(f'{name} is {settings.show(leaf)}, not an array of numbers')
