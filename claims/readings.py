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
"""Readings: an effect with its interval, against what is wanted of it."""

from collections.abc import Iterable, Sequence
import dataclasses

import numpy as np

from run_sweeps import summary

HOLDS, FAILS, UNDECIDED, NOT_RUN = 'holds', 'fails', 'undecided', 'not run'


@dataclasses.dataclass(frozen=True)
class Reading:
  """One way to look at results.

  Attributes:
    name: what is read.
    effect: with its bootstrap interval over seeds.
    low: the least effect that is wanted.
    high: the largest.
    samples: of the effect, one a seed, where there are such.
  """

  name: str
  effect: summary.Estimate
  low: float = -np.inf
  high: float = np.inf
  samples: Sequence[float] = ()

  @property
  def verdict(self) -> str:
    """By where the whole interval lies: within, outside, or neither."""
    if not np.isfinite([self.effect.low, self.effect.high]).all():
      return UNDECIDED
    if self.low <= self.effect.low and self.effect.high <= self.high:
      return HOLDS
    if self.effect.high < self.low or self.effect.low > self.high:
      return FAILS
    return UNDECIDED

  def describe_wanted(self) -> str:
    """The range that is wanted."""
    if not np.isfinite(self.high):
      return f'at least {self.low:g}'
    if not np.isfinite(self.low):
      return f'at most {self.high:g}'
    return f'{self.low:g} to {self.high:g}'


def require_all(verdicts: Iterable[str]) -> str:
  """The verdict on several statements that are all made."""
  found = set(verdicts)
  if found == {HOLDS}:
    return HOLDS
  return FAILS if FAILS in found else UNDECIDED


def require_agreement(verdicts: Iterable[str]) -> str:
  """The verdict of several readings of one statement."""
  found = set(verdicts)
  return found.pop() if len(found) == 1 else UNDECIDED
