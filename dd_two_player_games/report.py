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
"""One page about a run, or comparing several: `./run.sh report RUN ...`.

The page is one file, opens without a network, and runs no script but its own,
whatever the runs' files hold.
"""

if __name__ == '__main__':  # As other programs begin.
  from jaxline_harness import startup

  startup.begin()

import base64
from collections.abc import Sequence
import hashlib
import html
import json
import os
import pathlib
import string
from xml.etree import ElementTree

from dd_two_player_games import report_comparison
from dd_two_player_games import report_figures
from dd_two_player_games import report_sections
from dd_two_player_games import run_record
from jaxline_harness import errors
from jaxline_harness import files
from jaxline_harness import programs
from jaxline_harness import shipped

MAX_BYTES = 8_000_000
_CURVE_BYTES = 1_500_000
# Of a point of a curve in the page, in each of x and y.
_POINT_BYTES = 4 * 4 / 3
_MAX_POINTS = 1000
_FOLDER = pathlib.Path(__file__).parent


def make_report(paths: Sequence[str]) -> str:
  """Makes the page about runs.

  Args:
    paths: their folders.

  Returns:
    The page, HTML.

  Raises:
    errors.UserError: if one is no folder of a run, they are too many for a
      page, or Plotly is not installed.
  """
  runs = [run_record.read_run(path) for path in paths]
  if len(runs) == 1:
    page = report_sections.describe_run(runs[0])
  else:
    page = report_comparison.compare_runs(runs)
  script = (_FOLDER / 'report_page.js').read_text(encoding='utf-8')
  plotly = _read_plotly()
  parts = {
    'title': html.escape(page.title),
    'figures': _encode_figures(page.plots),
    'plotly': plotly,
    'script': script,
    'policy': _make_policy([plotly, script]),
  }
  template = (_FOLDER / 'report_page.html').read_text(encoding='utf-8')

  def fill_in():
    body = ElementTree.tostring(page.body, 'unicode', method='html')
    return string.Template(template).substitute(parts, body=body)

  room = MAX_BYTES - _count_bytes(fill_in())
  if room < 0:
    raise errors.UserError(
      f'the page about {len(runs)} runs would be larger than '
      f'{MAX_BYTES // 10**6} MB: name fewer'
    )
  page.add_pictures(room)
  return fill_in()


def _count_bytes(text: str) -> int:
  return len(text.encode('utf-8', 'replace'))


def _encode_figures(plots: Sequence[report_figures.Plot]) -> str:
  """Returns the plots as JSON that can stand in a script of a page."""
  from plotly import graph_objects  # pylint: disable=g-import-not-at-top

  num_curves = sum(
    (1 + (c.low is not None) * 2) * (1 + len(plot.axes))
    for plot in plots
    for c in plot.curves
  )
  most = int(_CURVE_BYTES / _POINT_BYTES / max(1, num_curves))
  figures = []
  for plot in plots:
    figure = report_figures.make_figure(plot, min(max(most, 4), _MAX_POINTS))
    # Raises ValueError for what Plotly does not know.
    graph_objects.Figure(data=figure['data'], layout=figure['layout'])
    figures.append(figure)
  return json.dumps(figures, allow_nan=False).replace('<', '\\u003c')


def _read_plotly() -> str:
  with errors.require_extra('plots', 'a report'):
    from plotly import offline  # pylint: disable=g-import-not-at-top

    return offline.get_plotlyjs()


def _make_policy(scripts: Sequence[str]) -> str:
  """Lets a browser run these scripts and no other, and load nothing."""
  digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
  allowed = (f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
  return (
    f"default-src 'none'; script-src {' '.join(allowed)}; "
    "style-src 'unsafe-inline'; img-src data: blob:"
  )


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes the page that a command asks for, by default the program's own."""
  parser = programs.Parser(
    shipped.name_verb('report'), description='Makes one page about runs.'
  )
  parser.add_argument(
    'runs', nargs='+', metavar='RUN', help="a run's folder; several: compared"
  )
  parser.add_argument(
    '--out',
    metavar='FILE',
    help="the page; by default report.html, in the run's folder if it is one "
    'run, in the current one if they are several',
  )
  given = parser.parse_args(arguments)
  folder = given.runs[0] if len(given.runs) == 1 else '.'
  out = given.out or os.path.join(folder, 'report.html')
  out = os.path.abspath(os.path.expanduser(out))
  page = make_report(given.runs).encode('utf-8', 'replace')
  files.make_folder(os.path.dirname(out), '--out')
  try:
    files.write_atomically(out, page)
  except OSError as error:
    raise errors.UserError(
      f'--out: cannot write {out} ({error.strerror})'
    ) from error
  print(f'{out} ({len(page) / 1e6:.1f} MB)')


if __name__ == '__main__':
  programs.run(main)
