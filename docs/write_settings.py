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
"""Writes settings.md, the page of all settings of all experiments.

Run `python docs/write_settings.py` where the packages can be imported.
"""

from collections.abc import Iterator
import itertools
import pathlib
import re
import textwrap

from dd_two_player_games import base_config as of_gans
from eigengame_unloaded import base_config as of_eigengame
from jaxline_harness import configs
from jaxline_harness import settings
from principal_flow_instability_single_objective import base_config as of_flow

PATH = pathlib.Path(__file__).parent / 'settings.md'
_EXPERIMENTS = {
  'dd_two_player_games': of_gans.SCHEMA,
  'principal_flow_instability_single_objective': of_flow.SCHEMA,
  'eigengame_unloaded': of_eigengame.SCHEMA,
}
_INTRODUCTION = f"""\
# Settings

All settings of a config with their defaults, which `--config.NAME=VALUE` or a
config file changes. `./run.sh train CONFIG --help` shows them as CONFIG has
them. *Free* ones change no step: they may differ when a run goes on. Those of
an experiment lie in `{configs.PREFIX}`.

This page is written by `docs/write_settings.py`.
"""


def _entries(tree: settings.Tree) -> Iterator[str]:
  """Yields an item of a list for each setting; like ones share theirs."""

  def description(item):
    _, setting = item
    free = ' *Free.*' if setting.changes_no_step else ''
    return f'{setting.doc} May be {setting.field.wanted}.{free}'

  for text, items in itertools.groupby(settings.leaves(tree), description):
    names = [f'`{name}={settings.show(s.default)}`' for name, s in items]
    item = textwrap.fill(
      f'- {", ".join(names)}: {text}',
      80,
      subsequent_indent='  ',
      break_long_words=False,
      break_on_hyphens=False,
    )
    # A line that begins with a number and a point would be a list's.
    yield re.sub(r'(?m)^( *\d+)\.', r'\1\\.', item)


def page() -> str:
  """The whole page."""
  lines = [_INTRODUCTION, '## Of every experiment', '']
  lines += _entries(configs.TOP_LEVEL)
  for name, schema in _EXPERIMENTS.items():
    lines += ['', f'## {name}', '']
    if schema.defaults:
      changed = ', '.join(f'`{k}={v!r}`' for k, v in schema.defaults.items())
      lines += [textwrap.fill(f'Other defaults here: {changed}.', 80), '']
    lines += _entries(schema.experiment)
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  PATH.write_text(page())
