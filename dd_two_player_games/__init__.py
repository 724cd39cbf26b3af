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
"""GAN training whose discretisation drift is understood and controlled."""

from typing import Any


def load(run: str, step: int | str = 'latest', trust_code: bool = False) -> Any:
  """Loads a trained GAN; its data set is not needed.

  Args:
    run: the run's folder.
    step: 'latest', 'best', or the number of a step that is kept.
    trust_code: whether to run what the run names outside this project even if
      none of the user's runs has trained with it: see docs/extending.md.

  Returns:
    A `trained_run.TrainedRun`, with `sample`, `interpolate`, `discriminate`.

  Raises:
    jaxline_harness.errors.UserError: if there is no such checkpoint, or it is
      damaged.
  """
  # Here, so that a module of the package does not wait for all of them.
  from dd_two_player_games import trained_run  # pylint: disable=g-import-not-at-top

  return trained_run.load(run, step, trust_code)
