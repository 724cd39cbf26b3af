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
"""The optimiser that players climb with."""

from collections.abc import Mapping
from typing import Any

import optax


def make_optimizer(
  name: str,
  lr: float,
  kwargs: Mapping[str, Any],
  scheduler: str | None,
  scheduler_kwargs: Mapping[str, Any],
) -> optax.GradientTransformation:
  """An optimiser by name, for ascent along a direction that it is given.

  Args:
    name: any optax alias.
    lr: learning rate, or the schedule's first value.
    kwargs: further arguments of the optimiser.
    scheduler: name of an optax schedule that takes `init_value`, None for a
      constant rate.
    scheduler_kwargs: its further arguments.

  Returns:
    An optax optimiser.
  """
  rate = lr
  if scheduler:
    rate = getattr(optax, scheduler)(init_value=lr, **scheduler_kwargs)
  return optax.chain(optax.scale(-1), getattr(optax, name)(rate, **kwargs))
