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
"""The page that compares several runs."""

from collections.abc import Callable, Mapping, Sequence
import json
import os
from typing import Any
from xml.etree import ElementTree

from dd_two_player_games import metric_names
from dd_two_player_games import report_figures
from dd_two_player_games import report_sections
from dd_two_player_games import run_record

_SEED = f'{run_record.EXPERIMENT}random_seed'
_AXES = ('steps', 'gradients', 'seconds')


def compare_runs(runs: Sequence[run_record.Run]) -> report_sections.Page:
  """Makes the page that compares runs."""
  page = report_sections.Page(f'{len(runs)} runs compared')
  labels = name_runs([run.folder for run in runs])
  groups = group_runs(runs, labels)
  axes = [axis for axis in _AXES if all(map(_CAN_DRAW[axis], runs))]
  page.add_section('Runs', _make_sortable_table(runs, labels, groups))
  page.add_section('Configs', *_compare_configs(runs, labels))
  _add_curves(page, groups, axes)
  page.add_section('Last samples', _show_last_samples(page, runs, labels))
  report_sections.introduce_notes(
    page,
    [
      f'{label}: {note}'
      for label, run in zip(labels, runs, strict=True)
      for note in run.notes
    ],
  )
  return page


_CAN_DRAW: Mapping[str, Callable[[run_record.Run], bool]] = {
  'steps': lambda run: True,
  'gradients': lambda run: run.gradients_per_step() is not None,
  'seconds': lambda run: run.seconds_at(0) is not None,
}


def name_runs(folders: Sequence[str]) -> list[str]:
  """Names each run by as many last parts of its path as tell all apart."""
  parts = [folder.strip(os.sep).split(os.sep) for folder in folders]
  for num in range(1, max(map(len, parts)) + 1):
    names = [os.sep.join(path[-num:]) for path in parts]
    if len(set(names)) == len(names):
      return names
  return list(folders)


def group_runs(
  runs: Sequence[run_record.Run], labels: Sequence[str]
) -> list[report_figures.Group]:
  """Groups the runs that differ in nothing but `random_seed` and folder."""
  by_config: dict[str, list[int]] = {}
  for k, run in enumerate(runs):
    config = {
      name: value
      for name, value in run.settings.items()
      if name not in (_SEED, 'random_seed', 'checkpoint_dir')
    }
    # Runs without a config are like no other.
    key = json.dumps(config, sort_keys=True) if config else str(k)
    by_config.setdefault(key, []).append(k)
  return [
    report_figures.Group(
      labels[members[0]]
      if len(members) == 1
      else f'{labels[members[0]]} ({len(members)} runs)',
      [runs[k] for k in members],
    )
    for members in by_config.values()
  ]


def _make_sortable_table(
  runs: Sequence[run_record.Run],
  labels: Sequence[str],
  groups: Sequence[report_figures.Group],
) -> ElementTree.Element:
  """Best and final metrics, and final losses, of each run."""
  label_of = {id(run): group.label for group in groups for run in group.runs}
  titles, rows = ['run', 'group', 'steps', 'seconds'], []
  figures = [_summarise_metrics(run) for run in runs]
  columns = list(dict.fromkeys(name for f in figures for name in f))
  for run, label, figure in zip(runs, labels, figures, strict=True):
    last = run.last_step()
    seconds = run.seconds_at(last)
    values = [last, seconds, *(figure.get(name) for name in columns)]
    cells = [_make_cell(label), _make_cell(label_of[id(run)])]
    rows.append(report_sections.element('tr', *cells, *map(_make_cell, values)))
  head = (
    report_sections.element(
      'th', report_sections.element('button', title, type='button')
    )
    for title in [*titles, *columns]
  )
  table = report_sections.element(
    'table',
    report_sections.element('thead', report_sections.element('tr', *head)),
    report_sections.element('tbody', *rows),
    class_='sortable',
  )
  return report_sections.element('div', table, class_='wide')


def _make_cell(value: Any) -> ElementTree.Element:
  if value is None:
    return report_sections.element('td', '–', data_value='')
  if isinstance(value, str):
    words = report_sections.allow_breaks(value)
    return report_sections.element('td', *words, data_value=value)
  shown = f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
  return report_sections.element('td', shown, data_value=repr(float(value)))


def _summarise_metrics(run: run_record.Run) -> dict[str, float]:
  """The best and the final value of each metric; of losses the final one."""
  summary = {}
  names = report_figures.list_columns(run, 'eval')
  for name in names:
    if report_figures.is_beside(name, names):
      continue
    higher = _more_is_better(run, name)
    table = run.tables['eval']
    best = None if higher is None else table.best(name, higher)
    last = table.last(name)
    if best is not None:
      summary[f'{name}, best'] = best[1]
    if last is not None:
      summary[f'{name}, final'] = last[1]
  for name in report_figures.list_columns(run, 'train'):
    last = run.tables['train'].last(name)
    if name.endswith('loss') and last is not None:
      summary[f'{name}, final'] = last[1]
  return summary


def _more_is_better(run: run_record.Run, name: str) -> bool | None:
  if run.settings.get('best_model_eval_metric') == name:
    return bool(run.settings.get('best_model_eval_metric_higher_is_better'))
  return metric_names.MORE_IS_BETTER.get(name.removeprefix('last/'))


def _compare_configs(
  runs: Sequence[run_record.Run], labels: Sequence[str]
) -> list[ElementTree.Element]:
  """A table of the settings that are not the same in all runs."""
  absent = object()
  names = dict.fromkeys(name for run in runs for name in run.settings)
  rows = []
  for name in names:
    values = [run.settings.get(name, absent) for run in runs]
    shown = [
      '(absent)' if value is absent else run_record.show(value)
      for value in values
    ]
    if name != 'checkpoint_dir' and any(v != values[0] for v in values):
      rows.append((report_sections.shorten(name), *shown))
  if not rows:
    return [report_sections.element('p', 'All settings are the same.')]
  told = 'What differs; all other settings are the same.'
  return [
    report_sections.element('p', told, class_='quiet'),
    report_sections.make_table(['setting', *labels], rows),
  ]


def _add_curves(
  page: report_sections.Page,
  groups: Sequence[report_figures.Group],
  axes: Sequence[str],
) -> None:
  def plot(series, is_wanted):
    names = dict.fromkeys(
      name
      for group in groups
      for run in group.runs
      for name in report_figures.list_columns(run, series)
    )
    return page.show_plots(
      [
        plot
        for name in names
        if is_wanted(name, names)
        for plot in report_figures.plot_groups(groups, series, name, axes)
      ]
    )

  losses = plot('train', lambda name, _: name.endswith('loss'))
  metrics = plot(
    'eval', lambda name, names: not report_figures.is_beside(name, names)
  )
  dynamics = plot('dynamics', lambda *_: True)
  content = [grid for grid in (losses, metrics) if grid is not None]
  folded = report_sections.fold('Dynamics', dynamics)
  if content or folded is not None:
    page.add_section('Curves', *_explain_curves(groups, axes), *content, folded)


def _explain_curves(
  groups: Sequence[report_figures.Group], axes: Sequence[str]
) -> list[ElementTree.Element]:
  told = []
  if any(len(group.runs) > 1 for group in groups):
    told.append(
      'Of runs that differ in their seed alone lines are medians, and bands '
      'reach from the least to the most.'
    )
  if 'gradients' in axes:
    told.append(
      'Gradients are those of both players together; products of the Jacobian, '
      'which terms of drift take, do not count.'
    )
  choices = report_sections.element(
    'fieldset', report_sections.element('span', 'Against')
  )
  for axis in axes:
    checked = {'checked': ''} if axis == 'steps' else {}
    choices.append(
      report_sections.element(
        'label',
        report_sections.element(
          'input', type='radio', name='against', value=axis, **checked
        ),
        f' {axis}',
      )
    )
  explanation = (
    [report_sections.element('p', ' '.join(told), class_='quiet')]
    if told
    else []
  )
  return [*explanation, choices] if len(axes) > 1 else explanation


def _show_last_samples(
  page: report_sections.Page,
  runs: Sequence[run_record.Run],
  labels: Sequence[str],
) -> ElementTree.Element | None:
  last, label_of = [], {}
  for run, label in zip(runs, labels, strict=True):
    pictures = run_record.find_pictures(run, r'samples/step_(\d{1,12})\.png')
    if pictures:
      last.append(pictures[-1])
      label_of[pictures[-1].path] = label

  def show(pictures):
    return report_sections.element(
      'div',
      *(
        report_sections.element(
          'figure',
          report_sections.embed(picture),
          report_sections.element(
            'figcaption', f'{label_of[picture.path]}, step {picture.step:,}'
          ),
        )
        for picture in pictures
      ),
      class_='grids',
    )

  return page.reserve_pictures(last, show)
