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
"""What a benchmark leaves: its figures, and what they were made with."""

import json
import os
import pathlib
import platform
import sys
import time
from typing import Any

# Run as a file, Python looks for modules in benchmarks/ alone.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from jaxline_harness import files  # noqa: E402


def machine() -> str:
  """Cores and architecture, with the processor's model where known."""
  cores = f'{os.cpu_count()} CPU cores, {platform.machine()}'
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  if cpuinfo.exists():
    for line in cpuinfo.read_text().splitlines():
      if line.startswith('model name'):
        return f'{cores}, {line.partition(":")[2].strip()}'
  return cores


def write(
  path: pathlib.Path, start: float, results: list[dict[str, Any]], **more: Any
) -> None:
  """Writes a benchmark's figures.

  Args:
    path: of the JSON file.
    start: `time.monotonic()` at the benchmark's start.
    results: the figures.
    **more: what else is to be known of them.
  """
  script = pathlib.Path(sys.argv[0]).name
  figures = {
    'command': ' '.join([f'python benchmarks/{script}', *sys.argv[1:]]),
    'date': time.strftime('%Y-%m-%d'),
    'machine': machine(),
    **more,
    'seconds': round(time.monotonic() - start),
    'results': results,
  }
  path.parent.mkdir(exist_ok=True)
  files.write_atomically(str(path), json.dumps(figures, indent=2) + '\n')
