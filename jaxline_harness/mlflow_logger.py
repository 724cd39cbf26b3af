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
"""MLflow, which its own environment variables set up."""

from collections.abc import Mapping
import os
import re
from typing import Any

import numpy as np

from jaxline_harness import loggers

_NOT_IN_NAMES = re.compile(r'[^\w\-./]', re.ASCII)


class MLflow:
  """A `loggers.Logger`: all series of a run are one run there."""

  def __init__(
    self,
    run_dir: str,
    config: Mapping[str, Any] | None,
    restored_step: int | None,
  ):
    """Starts a run there, or goes on with it; see `loggers.Logger`."""
    import mlflow  # pylint: disable=g-import-not-at-top

    del restored_step  # A step's metrics are shown as they were written last.
    self._mlflow = mlflow
    own = loggers.kept_id(run_dir, 'mlflow')
    run = mlflow.start_run(run_id=own, run_name=os.path.basename(run_dir))
    if own is None:
      loggers.keep_id(run_dir, 'mlflow', run.info.run_id)
    mlflow.log_dict(dict(config or {}), 'config.json')

  def write_scalars(
    self, series: str, step: int, scalars: Mapping[str, float]
  ) -> None:
    """See `loggers.Logger`."""
    named = {_name(series, name): value for name, value in scalars.items()}
    self._mlflow.log_metrics(named, step=step)

  def write_images(
    self, series: str, step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """See `loggers.Logger`."""
    for name, image in images.items():
      batch = image if image.ndim == 4 else image[None]
      for k, one in enumerate(batch):
        key = _name(series, name if len(batch) == 1 else f'{name}/{k}')
        self._mlflow.log_image(one, key=key, step=step)

  def close(self) -> None:
    """See `loggers.Logger`."""
    self._mlflow.end_run()


def _name(series: str, name: str) -> str:
  return _NOT_IN_NAMES.sub('_', f'{series}/{name}')
