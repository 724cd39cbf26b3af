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
"""The sections of a report, as trees of elements.

ElementTree escapes what it writes: nothing that a run's files hold can become
an element of the page.
"""

import base64
import collections
from collections.abc import Callable, Sequence
import os
import re
from typing import Any
from xml.etree import ElementTree

from dd_two_player_games import dynamics_figures
from dd_two_player_games import report_figures
from dd_two_player_games import run_record

# A picture as a data URI, and its element.
_PICTURE_BYTES = 4 / 3
_ELEMENT_BYTES = 150
# Of what stands around the pictures.
_OTHER_BYTES = 10_000
# Pictures less wide show their pixels.
_FINE_WIDTH = 400
_VERDICTS = {
  (True, True): 'stable and locally Nash',
  (True, False): 'stable, but not locally Nash',
  (False, True): 'locally Nash, but not stable',
  (False, False): 'neither stable nor locally Nash',
}


def element(tag: str, *children: Any, **attributes: str) -> ElementTree.Element:
  """Makes an element; `class_` and names with `_` stand for those of HTML."""
  made = ElementTree.Element(
    tag, {k.rstrip('_').replace('_', '-'): v for k, v in attributes.items()}
  )
  for child in children:
    if isinstance(child, ElementTree.Element):
      made.append(child)
    elif len(made):
      made[-1].tail = (made[-1].tail or '') + str(child)
    else:
      made.text = (made.text or '') + str(child)
  return made


class Page:
  """A page in the making.

  Attributes:
    title: its title.
    body: its content.
    plots: those that it shows, by number.
  """

  def __init__(self, title: str):
    self.title = title
    self.body = element('main')
    self.plots: list[report_figures.Plot] = []
    self._head = element('header', element('h1', title))
    self._navigation = element('nav')
    self._fillers: list[Callable[[float], float]] = []
    self.body.extend([self._head, self._navigation])

  def introduce(self, *children: ElementTree.Element) -> None:
    """Adds to what stands above all sections."""
    self._head.extend(children)

  def add_section(self, title: str, *children: Any) -> None:
    """Adds a section, if it has any content."""
    content = [child for child in children if child is not None]
    if not content:
      return
    name = f'section-{len(self._navigation)}'
    self.body.append(
      element('section', element('h2', title, id=name), *content)
    )
    self._navigation.append(element('a', title, href=f'#{name}'))

  def show_plots(
    self, plots: Sequence[report_figures.Plot]
  ) -> ElementTree.Element | None:
    """Returns a grid of plots, or None without any."""
    if not plots:
      return None
    grid = element('div', class_='plots')
    for plot in plots:
      grid.append(
        element(
          'figure',
          element('h3', plot.title),
          element('div', class_='plot', data_figure=str(len(self.plots))),
          element('figcaption', plot.caption),
        )
      )
      self.plots.append(plot)
    return grid

  def reserve_pictures(
    self,
    pictures: Sequence[run_record.Picture],
    show: Callable[[Sequence[run_record.Picture]], ElementTree.Element],
  ) -> ElementTree.Element | None:
    """Returns where pictures are to be, or None without any.

    Args:
      pictures: by step.
      show: makes the element, of those for which there is room.
    """
    if not pictures:
      return None
    place = element('div')

    def fill(room):
      chosen = run_record.choose_evenly(pictures, room, _count_bytes)
      if chosen:
        place.append(show(chosen))
      if len(chosen) < len(pictures):
        place.append(
          element(
            'p',
            f'{len(pictures) - len(chosen)} of {len(pictures)} pictures are '
            'left out, so that the page stays small.',
            class_='quiet',
          )
        )
      return sum(map(_count_bytes, chosen))

    self._fillers.append(fill)
    return place

  def add_pictures(self, room: float) -> None:
    """Puts as many pictures as so many bytes hold where they are to be."""
    room -= _OTHER_BYTES
    for k, fill in enumerate(self._fillers):
      room -= fill(room / (len(self._fillers) - k))


def _count_bytes(picture: run_record.Picture) -> float:
  return picture.size * _PICTURE_BYTES + _ELEMENT_BYTES


# One run.


def describe_run(run: run_record.Run) -> Page:
  """Makes the page about one run."""
  page = Page(f'{os.path.basename(run.folder)}, step {run.last_step():,}')
  history = list(run_record.tell_history(run))
  pictures = run_record.find_pictures(run, r'samples/step_(\d{1,12})\.png')
  pairs = run_record.find_pictures(run, r'eval/samples_(\d{1,12})\.png')
  losses = report_figures.plot_losses(run)
  shown = [curve.label for plot in losses for curve in plot.curves]
  others = report_figures.plot_other_columns(run, 'train', shown)
  page.introduce(element('p', run.folder, class_='quiet'), _make_tiles(run))
  page.add_section('Config', *_show_config(run), *_show_environment(run))
  page.add_section(
    'Losses',
    page.show_plots(losses),
    fold('Other logged values', page.show_plots(others)),
  )
  page.add_section('Metrics', *_show_metrics(page, run))
  page.add_section(
    'Samples',
    page.reserve_pictures(pictures, _make_slider),
    fold(
      'At evaluations, beside the data',
      page.reserve_pictures(pairs, _make_slider_of_pairs),
    ),
  )
  page.add_section('Dynamics', *_show_dynamics(page, run))
  page.add_section('Spectrum', *_show_spectrum(page, run))
  page.add_section(
    'What happened', element('ul', *_list_items(history), class_='told')
  )
  introduce_notes(page, run.notes)
  return page


def introduce_notes(page: Page, notes: Sequence[str]) -> None:
  """Says above all sections what could not be read."""
  if notes:
    page.introduce(
      element('div', element('ul', *_list_items(notes)), class_='notes')
    )


def _list_items(texts: Sequence[str]) -> list[ElementTree.Element]:
  return [element('li', text) for text in texts]


def fold(
  title: str, content: ElementTree.Element | None
) -> ElementTree.Element | None:
  """Returns content that is shown when its title is clicked, if it is any."""
  if content is None:
    return None
  return element('details', element('summary', title), content)


def _make_tiles(run: run_record.Run) -> ElementTree.Element:
  """The last figures of the run."""
  tiles = element('dl', class_='tiles')
  for series in ('train', 'eval'):
    names = report_figures.list_columns(run, series)
    for name in names:
      last = run.tables[series].last(name)
      is_shown = series == 'eval' or name.endswith('loss')
      if is_shown and last and not report_figures.is_beside(name, names):
        tiles.append(
          element('div', element('dt', name), element('dd', f'{last[1]:.4g}'))
        )
  return tiles


def _show_config(run: run_record.Run) -> list[ElementTree.Element | None]:
  """A table of what differs from the defaults, and one of the rest."""
  if not run.settings:
    return []
  changed = run.changed or {}
  changed_rows = [
    (shorten(name), _find_value(run, name), run_record.show(default))
    for name, default in changed.items()
    if name != 'checkpoint_dir'
  ]
  rest = [
    (shorten(name), run_record.show(value))
    for name, value in run.settings.items()
    if not any(name == c or name.startswith(f'{c}.') for c in changed)
  ]
  if run.changed is None:
    told = 'This config.json does not say which settings are at their default.'
  elif not changed_rows:
    told = 'All settings are at their defaults.'
  else:
    told = (
      'What differs from the defaults. Names that begin with config. are '
      f'whole; all others stand in config.{run_record.EXPERIMENT[:-1]}.'
    )
  return [
    element('p', told, class_='quiet'),
    make_table(['setting', 'value', 'default'], changed_rows)
    if changed_rows
    else None,
    fold(
      'All other settings' if changed_rows else 'All settings',
      make_table(['setting', 'value'], rest),
    ),
  ]


def shorten(name: str) -> str:
  """A setting's name, without what those of experiments begin with."""
  short = name.removeprefix(run_record.EXPERIMENT)
  return short if short != name else f'config.{name}'


def _find_value(run: run_record.Run, name: str) -> str:
  """What a setting holds, which may be a mapping, for people."""
  if name in run.settings:
    return run_record.show(run.settings[name])
  parts = {
    key.removeprefix(f'{name}.'): value
    for key, value in run.settings.items()
    if key.startswith(f'{name}.')
  }
  return ', '.join(f'{k}={run_record.show(v)}' for k, v in parts.items())


def _show_environment(run: run_record.Run) -> list[ElementTree.Element | None]:
  about = dict(run.about)
  devices, versions = about.pop('devices', None), about.pop('versions', None)
  rows = [
    (name.replace('_', ' '), run_record.show(v)) for name, v in about.items()
  ]
  if isinstance(devices, list):
    counts = collections.Counter(map(run_record.show, devices))
    told = ', '.join(f'{n} × {device}' for device, n in counts.items())
    rows.append(('devices', told))
  if isinstance(versions, dict):
    rows += [(name, run_record.show(v)) for name, v in versions.items()]
  if not rows:
    return []
  return [fold('Environment', make_table(['', ''], rows))]


def allow_breaks(text: str) -> list[Any]:
  """A text whose lines may break within names."""
  first, *others = re.split(r'(?<=[._/=])(?=\w)', text)
  return [first, *(x for part in others for x in (element('wbr'), part))]


def make_table(
  titles: Sequence[str], rows: Sequence[Sequence[str]]
) -> ElementTree.Element:
  """Makes a table; without a head if the titles are empty."""
  head = element(
    'tr', *(element('th', *allow_breaks(title)) for title in titles)
  )
  body = (
    element('tr', *(element('td', *allow_breaks(cell)) for cell in row))
    for row in rows
  )
  parts = [element('thead', head)] if any(titles) else []
  table = element('table', *parts, element('tbody', *body))
  return element('div', table, class_='wide')


def _show_metrics(
  page: Page, run: run_record.Run
) -> list[ElementTree.Element | None]:
  grid = page.show_plots(report_figures.plot_metrics(run))
  told = run_record.measured_with(run)
  if grid is None or not told:
    return [grid]
  return [element('p', f'Measured with: {told}.', class_='quiet'), grid]


def _show_dynamics(
  page: Page, run: run_record.Run
) -> list[ElementTree.Element | None]:
  plots = dynamics_figures.plot_dynamics(run)
  shown = _columns_of(plots, run, 'dynamics')
  others = report_figures.plot_other_columns(run, 'dynamics', shown)
  return [
    page.show_plots(plots),
    fold('Other measurements', page.show_plots(others)),
  ]


def _columns_of(
  plots: Sequence[report_figures.Plot], run: run_record.Run, series: str
) -> list[str]:
  """The columns that plots show."""
  if series not in run.tables:
    return []
  values = [curve.y for plot in plots for curve in plot.curves]
  return [
    name
    for name, column in run.tables[series].columns.items()
    if any(column is value for value in values)
  ]


def _show_spectrum(
  page: Page, run: run_record.Run
) -> list[ElementTree.Element | None]:
  grid = page.show_plots(dynamics_figures.plot_spectrum(run))
  verdict = _tell_verdict(run)
  told = element('p', verdict) if verdict else None
  return [told, grid]


def _tell_verdict(run: run_record.Run) -> str:
  """The verdicts of a run in words; '' without any."""
  table = run.tables.get('spectrum')
  if table is None or not {'stable', 'locally_nash'} <= {*table.columns}:
    return ''
  stable, nash = (
    table.columns[name] == 1 for name in ('stable', 'locally_nash')
  )
  verdict = _VERDICTS[bool(stable[-1]), bool(nash[-1])]
  return (
    f'At step {table.steps[-1]:,.0f} the players are at a point that is '
    f'{verdict}. Of {len(stable)} points measured {stable.sum()} were stable '
    f'(no eigenvalue of J found with Re < 0) and {nash.sum()} locally Nash (no '
    "own Hessian's below 0), to within a thousandth of the largest."
  )


# Pictures.


def embed(
  picture: run_record.Picture, **attributes: str
) -> ElementTree.Element:
  """Makes the element of a picture that is part of the page."""
  try:
    with open(picture.path, 'rb') as f:
      data = f.read(picture.size)
  except OSError:
    data = b''
  width, height = (int.from_bytes(data[k : k + 4]) for k in (16, 20))
  if width < _FINE_WIDTH:
    attributes['class_'] = 'coarse'
  return element(
    'img',
    src=f'data:image/png;base64,{base64.b64encode(data).decode()}',
    alt=f'Step {picture.step:,}',
    width=str(width),
    height=str(height),
    **attributes,
  )


def _make_slider(
  pictures: Sequence[run_record.Picture], kind: str = ''
) -> ElementTree.Element:
  """A slider through pictures, which shows the last one at first."""
  last = len(pictures) - 1
  images = [
    embed(picture, **({} if k == last else {'hidden': ''}))
    for k, picture in enumerate(pictures)
  ]
  slider = element(
    'input',
    type='range',
    min='0',
    max=str(last),
    value=str(last),
    aria_label='Step',
  )
  return element(
    'figure',
    *images,
    *([slider] if last else []),
    element('figcaption', element('output', images[last].get('alt') or '')),
    class_=f'slider {kind}'.strip(),
  )


def _make_slider_of_pairs(
  pictures: Sequence[run_record.Picture],
) -> ElementTree.Element:
  return _make_slider(pictures, 'of-pairs')
