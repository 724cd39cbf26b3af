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
"""What GPUs would take: steps of the CIFAR GAN on 8 to 256 of them, projected.

  ./run.sh figures scaling

Nothing of it is measured: benchmarks/scaling.py counts what a step that was
compiled for an H100 moves, starts and sends, and projects that by the rates in
`docs/scaling.json`, which this figure draws. Writes `figures/scaling.png`.
"""

from collections.abc import Sequence
import json
import pathlib
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from matplotlib.ticker import NullLocator
from matplotlib.ticker import StrMethodFormatter

from figures import _output
from figures import _style

COSTS = {'small': 'seconds', 'quick': 'seconds'}

FIGURES = _output.ROOT / 'docs' / 'scaling.json'
_COLOURS = {
  'plain': _style.METHODS['simultaneous'],
  'cancelled': _style.METHODS['drift cancelled'],
}
_STYLES = {'weak': '-', 'strong': '--'}
_BATCHES = {'weak': '128 examples a GPU', 'strong': '1,024 examples in all'}


def read_projection(path: pathlib.Path = FIGURES) -> list[dict[str, Any]]:
  """The rows that benchmarks/scaling.py projected."""
  results = json.loads(path.read_text())['results']
  (rows,) = (part['projection'] for part in results if 'projection' in part)
  return rows


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
  """Draws examples a second, and the share of a step that is sending.

  Args:
    rows: of `read_projection`.
  """
  figure = _style.new_figure(
    4.4, 'CIFAR GAN, eight H100s a node: projected, not measured'
  )
  left, right = figure.subplots(1, 2, sharex=True)
  for variant, colour in _COLOURS.items():
    for scaling, style in _STYLES.items():
      own = [
        row
        for row in rows
        if (row['variant'], row['scaling']) == (variant, scaling)
      ]
      gpus = [row['gpus'] for row in own]
      line = {'color': colour, 'linestyle': style, 'marker': 'o', 'ms': 4}
      left.plot(gpus, [row['examples_per_second'] for row in own], **line)
      right.plot(
        gpus,
        [share_of_sending(row) for row in own],
        label=f'{variant}, {_BATCHES[scaling]}',
        **line,
      )
  left.set(yscale='log', ylabel='examples a second', xlabel='GPUs')
  left.set_title('With a batch that grows, so does the rate')
  right.set(ylim=(0, 100), ylabel='of a step, sending (%)', xlabel='GPUs')
  right.set_title('Beyond one node, sending takes half')
  for axes in (left, right):
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_locator(FixedLocator([8, 16, 32, 64, 128, 256]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:.0f}'))
    axes.axvspan(7, 11.3, color='0.93', lw=0)
  left.set_xlim(7, 290)
  left.text(
    8.9, 0.86, 'one\nnode', ha='center', transform=left.get_xaxis_transform()
  )
  _style.place_legend(figure, right, ncols=2)
  return figure


def share_of_sending(row: dict[str, Any]) -> float:
  """How much of a step is sending, in per cent."""
  sending = row['sending_seconds']
  return 100 * sending / (sending + row['computing_seconds'])


def main() -> None:
  """Draws and writes the picture."""
  size = _output.choose_size(COSTS, __doc__)
  _output.write_picture('scaling', size, draw(read_projection()))


if __name__ == '__main__':
  main()
