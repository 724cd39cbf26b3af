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
"""What `mapped_seeds` is called by; needs no JAX."""

MODULE = 'run_sweeps.mapped_seeds'
# Among an experiment's settings: the seeds, and with a search the draw of each.
NAME = 'mapped_seeds'
DRAWS_NAME = 'mapped_draws'
SETTING = f'experiment_kwargs.config.{NAME}'
DRAWS_SETTING = f'experiment_kwargs.config.{DRAWS_NAME}'
# A figure of the evaluation of a seed that has diverged: the step.
DIVERGED_AT = 'diverged_at'


def name_draw(number: object) -> str:
  """The folder of a draw of a search."""
  return f'draw_{number}'


def suffix(seed: int, draw: object = None) -> str:
  """Of the names of a run's logs and figures, and of its folder."""
  parts = [] if draw is None else [name_draw(draw)]
  return ''.join(f'/{part}' for part in (*parts, f'seed_{seed}'))
