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
"""Random search: settings that are drawn, as often for each level of a sweep.

In a sweep's file any value may be something to draw from:

```
SWEEP = declaration.Sweep(
  axes={
    'method': {
      'SGD': {'optimizers.*.lr': random_search.log_uniform(1e-3, 0.1)},
      'Adam': {
        'optimizers.*.name': 'adam',
        'optimizers.*.lr': random_search.log_uniform(1e-5, 1e-2),
        'optimizers.*.kwargs.b1': random_search.choice(0.0, 0.5, 0.9),
      },
    },
  },
  search=random_search.Search(runs=20),
  …
)
```
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import math
from typing import Any
import zlib

from ml_collections import config_dict
import numpy as np

from jaxline_harness import errors
from jaxline_harness import run_directory
from jaxline_harness import settings

AXIS = 'draw'  # Of a sweep, whose levels are the numbers of the draws.
_DIGITS = 4  # Of numbers that are drawn: what is printed is what ran.


@dataclasses.dataclass(frozen=True)
class Search:
  """How often settings are drawn.

  Attributes:
    runs: draws of each combination of levels.
    seed: of the draws. The same draw of the same setting comes out alike in all
      levels, or as far along where they have other ranges, and neither more
      runs nor other settings change it.
    final_seeds: with which each level of the only axis is run at its best draw.
      They are to be others than the search's own, which the best one was
      chosen by.
    best_by: maps the means of all metrics to a figure of which the best draw
      has most; None compares them by the first metric, then by the next.
  """

  runs: int
  seed: int = 0
  final_seeds: Iterable[int] = ()
  best_by: Callable[[Mapping[str, float]], float] | None = None

  def __post_init__(self):
    object.__setattr__(self, 'final_seeds', tuple(self.final_seeds))


@dataclasses.dataclass(frozen=True)
class Range:
  """Numbers between two bounds, or if `is_log` their logarithms, uniformly."""

  low: float
  high: float
  is_log: bool = False
  name: str = ''  # Of the setting.

  def at(self, share: float) -> float:
    """The number that lies so far along the range, from 0 up to 1."""
    low, high = self.low, self.high
    if self.is_log:
      found = low * math.exp(share * math.log(high / low))
    else:
      found = low + share * (high - low)
    return float(f'{found:.{_DIGITS}g}')


@dataclasses.dataclass(frozen=True)
class Choice:
  """One of some values, each as likely."""

  values: tuple[Any, ...]
  name: str = ''

  def at(self, share: float) -> Any:
    """The value that lies so far along."""
    return self.values[int(share * len(self.values))]


def uniform(low: float, high: float) -> Range:
  """Draws from a range."""
  if not -math.inf < low < high < math.inf:
    raise ValueError(f'uniform({low}, {high}): the first must be the smaller')
  return Range(low, high)


def log_uniform(low: float, high: float) -> Range:
  """Draws from a range, all orders of magnitude alike."""
  if not 0 < low < high < math.inf:
    raise ValueError(
      f'log_uniform({low}, {high}): the first must be above 0 and the smaller'
    )
  return Range(low, high, is_log=True)


def choice(*values: Any) -> Choice:
  """Draws one of these values."""
  if len(values) < 2:
    raise ValueError('choice() needs two values or more')
  return Choice(values)


def is_drawn(value: Any) -> bool:
  """Whether a value is something to draw from, or a list that holds such."""
  if isinstance(value, list | tuple):
    return any(map(is_drawn, value))
  return isinstance(value, Range | Choice)


def flatten(
  overrides: Mapping[str, Any], prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  """Yields settings by their dotted names, an empty dict as it is.

  What is drawn takes the name with it: of `*` all are drawn as one.
  """
  for key in sorted(overrides, key=str):
    name, value = f'{prefix}{key}', overrides[key]
    if is_drawn(value):
      yield name, _name_draws(value, name)
    elif isinstance(value, Mapping | config_dict.ConfigDict) and value:
      yield from flatten(value, f'{name}.')
    else:
      yield name, run_directory.to_plain(value)


def _name_draws(value: Any, name: str) -> Any:
  if isinstance(value, list | tuple):
    return [_name_draws(v, f'{name}[{k}]') for k, v in enumerate(value)]
  return dataclasses.replace(value, name=name) if is_drawn(value) else value


def draw_all(
  overrides: Mapping[str, Any],
  search: Search | None,
  levels: Mapping[str, Any],
) -> dict[str, Any]:
  """Draws the settings of a combination of levels.

  Args:
    overrides: values by names.
    search: the sweep's.
    levels: by axis, that of `AXIS` the number of the draw.

  Returns:
    Those that are drawn, by their names.

  Raises:
    errors.UserError: if something is to be drawn and there is no search, or the
      other way round.
  """
  names = [name for name, value in overrides.items() if is_drawn(value)]
  if search is None:
    if names:
      raise errors.UserError(
        f'{names[0]} is to be drawn, and SWEEP.search does not say how often'
      )
    return {}
  if not names:
    told = ', '.join(f'{k} {v}' for k, v in levels.items() if k != AXIS)
    raise errors.UserError(
      f'SWEEP.search: nothing is drawn for {told or "its runs"}; give a '
      'setting as log_uniform, uniform or choice'
    )
  return {name: _draw(overrides[name], search, levels[AXIS]) for name in names}


def _draw(value: Any, search: Search, number: int) -> Any:
  if isinstance(value, list):
    return [_draw(item, search, number) for item in value]
  if not is_drawn(value):
    return value
  source = [search.seed, number, zlib.crc32(value.name.encode())]
  return value.at(np.random.default_rng(source).random())


def check(
  search: Search, axes: Mapping[str, Any], seeds: Iterable[int]
) -> None:
  """Raises UserError unless a search suits its sweep."""
  settings.whole(1, 10_000).check('SWEEP.search.runs', search.runs)
  settings.SEED.check('SWEEP.search.seed', search.seed)
  final = search.final_seeds
  if final:
    settings.list_of(settings.SEED).check('SWEEP.search.final_seeds', final)
  if AXIS in axes:
    raise errors.UserError(f"SWEEP.axes: {AXIS} is the name of a search's own")
  if final and len(axes) != 1:
    raise errors.UserError(
      f'SWEEP.search.final_seeds needs one axis, not {len(axes)}'
    )
  shared = sorted({*final} & {*seeds})
  if shared:
    raise errors.UserError(
      f'SWEEP.search.final_seeds: {shared[0]} is one of SWEEP.seeds, by which '
      'the best draw is chosen'
    )
