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
"""TensorBoard's event files, written at once and by the caller's thread.

tensorboardX's own writer hands events to a thread. That thread ends at the
first error, say a full disk, and the program then waits for it for ever.
"""

from collections.abc import Mapping
import json
import os
import socket
import struct
import time
from typing import Any

import numpy as np

from jaxline_harness import files


class EventFile:
  """One new event file of a folder, whose files TensorBoard reads together."""

  def __init__(self, folder: str, purge_step: int | None = None):
    """Opens the file.

    Args:
      folder: where; it must exist.
      purge_step: TensorBoard is to hide what older files have of this step and
        later ones. None hides nothing.
    """
    from tensorboardX.proto import event_pb2  # pylint: disable=g-import-not-at-top

    # TensorBoard reads the files in the order of their names.
    name = f'{time.time():.6f}.{socket.gethostname()}.{os.getpid()}'
    self.path = os.path.join(folder, f'events.out.tfevents.{name}')
    self._make_event = event_pb2.Event
    self._write(file_version='brain.Event:2')
    if purge_step is not None:
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._write(step=purge_step, session_log=start)

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes scalars; raises OSError if that fails, then none is written."""
    from tensorboardX import summary  # pylint: disable=g-import-not-at-top

    self._write_summaries(
      step, [summary.scalar(name, value) for name, value in scalars.items()]
    )

  def write_text(self, step: int, name: str, text: str) -> None:
    """Writes a text, which TensorBoard reads as Markdown."""
    from tensorboardX import summary  # pylint: disable=g-import-not-at-top

    self._write_summaries(step, [summary.text(name, text)])

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes uint8 images `[height, width, channels]`, or batches of them."""
    from tensorboardX import summary  # pylint: disable=g-import-not-at-top

    self._write_summaries(
      step,
      [
        summary.image(name, image, dataformats='NHWC'[-image.ndim :])
        for name, image in images.items()
      ],
    )

  def _write_summaries(self, step: int, summaries: list[Any]) -> None:
    if not summaries:
      return
    merged = summaries[0]
    for summary in summaries[1:]:
      merged.MergeFrom(summary)
    self._write(step=step, summary=merged)

  def _write(self, **fields: Any) -> None:
    """Appends an event in TensorFlow's framing of records."""
    from tensorboardX.record_writer import masked_crc32c  # pylint: disable=g-import-not-at-top

    event = self._make_event(wall_time=time.time(), **fields)
    data = event.SerializeToString()
    length = struct.pack('<Q', len(data))
    checksums = (struct.pack('<I', masked_crc32c(x)) for x in (length, data))
    files.append(self.path, length + next(checksums) + data + next(checksums))


class TensorBoard:
  """A `loggers.Logger`: each series of a run has a folder of its own."""

  def __init__(
    self,
    run_dir: str,
    config: Mapping[str, Any] | None,
    restored_step: int | None,
  ):
    """Hides what was written beyond `restored_step`; see `loggers.Logger`."""
    self._run_dir = run_dir
    self._config = config
    self._step = restored_step
    self._files: dict[str, EventFile] = {}

  def write_scalars(
    self, series: str, step: int, scalars: Mapping[str, float]
  ) -> None:
    """See `loggers.Logger`."""
    self._open(series).write_scalars(step, scalars)

  def write_images(
    self, series: str, step: int, images: Mapping[str, np.ndarray]
  ) -> None:
    """See `loggers.Logger`."""
    self._open(series).write_images(step, images)

  def close(self) -> None:
    """See `loggers.Logger`; each event is written at once."""

  def _open(self, series: str) -> EventFile:
    if series not in self._files:
      purge_step = None if self._step is None else self._step + 1
      file = EventFile(os.path.join(self._run_dir, series), purge_step)
      self._files[series] = file
      if self._config is not None:
        text = json.dumps(self._config, indent=2).replace('\n', '\n    ')
        file.write_text(self._step or 0, 'config', f'    {text}')
    return self._files[series]
