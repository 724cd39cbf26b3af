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
"""The second part of a search: each level at its best draw, with new seeds."""

from collections.abc import Iterable
import dataclasses
import os

import numpy as np

from run_sweeps import declaration
from run_sweeps import results as sweep_results
from run_sweeps import summary

FOLDER = 'final'
_ENDED = {sweep_results.DONE, sweep_results.DIVERGED, sweep_results.FAILED}


def make_final_plan(
  plan: declaration.Plan, results: sweep_results.Results
) -> declaration.Plan | None:
  """The sweep that runs each level at its best draw.

  The best is what `Search.best_by` says; one without figures (see
  `diverged_as`) is the worst.

  Args:
    plan: a search, of one axis if there are to be final seeds.
    results: of all its cells.

  Returns:
    The plan, in a folder within that of the search; None where none is declared
    or the search has not ended. A level of which all draws failed is left out.
  """
  search = plan.sweep.search
  if search is None or not search.final_seeds:
    return None
  if any(result.status not in _ENDED for result in results.values()):
    return None
  axis = next(iter(plan.sweep.axes))
  by_level: dict[declaration.Level, list[summary.Combination]] = {}
  for combination in summary.summarise(plan, results):
    if not combination.count(sweep_results.FAILED):
      by_level.setdefault(combination.levels[axis], []).append(combination)
  overrides = {str(cell.levels): cell.overrides for cell in plan.cells}
  levels = {
    level: overrides[str(_choose_best(plan, of_level).levels)]
    for level, of_level in by_level.items()
  }
  if not levels:
    return None
  sweep = dataclasses.replace(
    plan.sweep,
    overrides={},
    axes={axis: levels},
    seeds=search.final_seeds,
    search=None,
  )
  return declaration.make_plan(
    sweep, f'{plan.name}, at the best draws', os.path.join(plan.folder, FOLDER)
  )


def _choose_best(
  plan: declaration.Plan, combinations: Iterable[summary.Combination]
) -> summary.Combination:
  search = plan.sweep.search
  best_by = None if search is None else search.best_by

  def rank(combination):
    means = {name: mean.value for name, mean in combination.means.items()}
    if best_by is not None:
      values = [best_by(means)]
    else:
      values = [
        means[metric] * (1 if more else -1)
        for metric, more in plan.more_is_better.items()
      ]
    return [value if np.isfinite(value) else -np.inf for value in values]

  return max(combinations, key=rank)
