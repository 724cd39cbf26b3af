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

from typing import Any

import optax

from jaxline_harness import optimizers


def make_optimizer(**settings: Any) -> optax.GradientTransformation:
  """An optimiser by name, for ascent along a direction that it is given.

  Args:
    **settings: arguments of `optimizers.make_optimizer`.

  Returns:
    An optax optimiser.
  """
  optimizer, _ = optimizers.make_optimizer(**settings)
  return optax.chain(optax.scale(-1), optimizer)
