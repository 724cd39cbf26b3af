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
"""What scripts that draw have in common: their sizes, and where pictures go.

Each has a constant COSTS, which `./run.sh figures` shows: by size, how long it
takes on a core. `small` is the default, `quick` shows that all is in place.
"""

import argparse
from collections.abc import Iterable
import json
import pathlib
from typing import Any

from matplotlib.backends import backend_agg
from matplotlib.figure import Figure

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Runs, and what is drawn of quick ones.
FOLDER = ROOT / 'runs' / 'figures'


def size_parser(
  sizes: Iterable[str], doc: str | None
) -> argparse.ArgumentParser:
  """A parser of a script's command line that knows `--size`."""
  parser = argparse.ArgumentParser(description=(doc or '').splitlines()[0])
  parser.add_argument('--size', choices=list(sizes), default='small')
  return parser


def choose_size(sizes: Iterable[str], doc: str | None) -> str:
  """The size that this process's command line asks for."""
  return size_parser(sizes, doc).parse_args().size


def write_picture(name: str, size: str, figure: Figure) -> pathlib.Path:
  """Writes a picture under `figures/`, that of `quick` under `runs/figures/`.

  Args:
    name: of the picture.
    size: that was asked for.
    figure: what is drawn.

  Returns:
    Its path.
  """
  folder = FOLDER if size == 'quick' else ROOT / 'figures'
  folder.mkdir(parents=True, exist_ok=True)
  picture = folder / f'{name}.png'
  backend_agg.FigureCanvasAgg(figure).print_png(picture)
  print(picture)
  return picture


def write_record(name: str, size: str, content: Any) -> None:
  """Writes what a picture shows under `docs/`, of `quick` under `runs/`."""
  folder = FOLDER if size == 'quick' else ROOT / 'docs'
  folder.mkdir(parents=True, exist_ok=True)
  record = folder / f'{name}.json'
  record.write_text(json.dumps(content, indent=2) + '\n')
  print(record)
