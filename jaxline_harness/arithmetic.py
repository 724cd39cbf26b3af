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
"""How GPUs and TPUs compute: by which digits, and whether twice the same."""

import os

from ml_collections import config_dict

# The fastest sum of a GPU adds in whatever order its threads arrive.
_DETERMINISTIC = '--xla_gpu_deterministic_ops=true'


def choose(config: config_dict.ConfigDict) -> None:
  """Sets JAX and XLA up as a config wants it.

  Args:
    config: a full config. What it leaves open stays as the environment has it.
  """
  if config.deterministic:  # XLA reads this once, when it first looks around.
    given = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'{given} {_DETERMINISTIC}'.strip()
  if config.matmul_precision is not None:
    import jax  # pylint: disable=g-import-not-at-top

    jax.config.update('jax_default_matmul_precision', config.matmul_precision)
