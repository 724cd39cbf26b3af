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
"""Weights & Biases, which its own environment variables set up."""

from collections.abc import Mapping
import os
from typing import Any

import numpy as np

from jaxline_harness import loggers


class WandB:
  """A `loggers.Logger`: all series of a run are one run there."""

  def __init__(
    self,
    run_dir: str,
    config: Mapping[str, Any] | None,
    restored_step: int | None,
  ):
    """Starts a run there, or goes on with it; see `loggers.Logger`."""
    import wandb  # pylint: disable=g-import-not-at-top

    del restored_step  # Both are kept of what is written again.
    self._make_image = wandb.Image
    own = loggers.kept_id(run_dir, 'wandb') or os.urandom(6).hex()
    loggers.keep_id(run_dir, 'wandb', own)
    self._run = wandb.init(
      dir=run_dir,
      name=os.path.basename(run_dir),
      id=own,
      resume='allow',
      config=config,
      reinit='create_new',
      settings=wandb.Settings(console='off'),  # Of a progress bar, by default.
    )
    # Its own steps only grow, and training may go back to a checkpoint.
    self._run.define_metric('*', step_metric='step')

  def write_scalars(
    self, series: str, step: int, scalars: Mapping[str, float]
  ) -> None:
    """See `loggers.Logger`."""
    self._log(series, step, scalars)

  def write_images(
    self, series: str, step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """See `loggers.Logger`."""
    made = {
      name: list(map(self._make_image, image if image.ndim == 4 else [image]))
      for name, image in images.items()
    }
    self._log(series, step, made)

  def close(self) -> None:
    """See `loggers.Logger`."""
    self._run.finish()

  def _log(self, series: str, step: int, values: Mapping[str, Any]) -> None:
    named = {f'{series}/{name}': value for name, value in values.items()}
    self._run.log({'step': step, **named})
