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
"""Writes docs/claims.md from what is recorded."""

from collections.abc import Iterable, Iterator, Sequence
import math
import pathlib

from claims import catalogue
from claims import declaration
from claims import readings
from claims import verdicts
from jaxline_harness import files

PATH = declaration.ROOT / 'docs' / 'claims.md'
_TITLE = '# Claims of the papers, and what came out here'
_SCOPE = """
Networks are small, and so are the data: what holds here need not hold for large
networks, and what fails here need not fail there.
"""
_HOW = """## How a verdict is made

`./run.sh reproduce` makes this page from the tables in [`docs/claims`](claims),
and nothing else: no verdict is set by hand.

- Each claim has a rule, an effect that is wanted, in
  [`claims/papers`](../claims/papers). It was committed before the results that
  it judges.
- An effect has a 95 % bootstrap interval over at least five seeds. A claim
  **holds** if the whole interval of each of its readings lies where it is
  wanted, **fails** if one lies outside, and is **undecided** otherwise.
- Methods are compared over all settings of a sweep, twice: each at its best,
  and in the median over settings. A verdict needs both to agree.

```bash
./run.sh reproduce --dry-run         # what there is, and what it costs
./run.sh reproduce cancelling_helps  # runs what is missing of one claim
./run.sh reproduce --size=full       # the largest sizes, hours of a core
```

Minutes are those of one core. Of what is recorded, the sweep `mixture_rules`
ran on a machine with 14 cores, the other sweeps on the cores beside an H100.

In the pictures green is what is wanted, a bar the interval, and dots are seeds.
"""
_TOLD = {
  readings.HOLDS: 'hold',
  readings.FAILS: 'fail',
  readings.UNDECIDED: 'are undecided',
  readings.NOT_RUN: 'have not been run',
}


def write(path: pathlib.Path = PATH) -> None:
  """Writes the page.

  Args:
    path: where to.
  """
  files.write_atomically(str(path), make_page())


def make_page(folder: pathlib.Path = declaration.RESULTS) -> str:
  """The page's text: what came out, how, and then claim by claim.

  Args:
    folder: of recorded results.
  """
  outcomes = {
    claim.name: verdicts.find_outcome(claim, folder)
    for claim in catalogue.CLAIMS
  }
  counted = [outcome.verdict for outcome in outcomes.values()]
  told = ', '.join(
    f'{counted.count(verdict)} {verb}'
    for verdict, verb in _TOLD.items()
    if verdict in counted
  )
  lines = [_TITLE, '', f'**Of {len(counted)} claims: {told}.**', _SCOPE]
  lines += [*_make_table(outcomes), '', _HOW]
  for paper, claims in _group_by_paper():
    lines += [f'## {paper}', '']
    for claim in claims:
      lines += _make_section(claim, outcomes[claim.name])
  return '\n'.join(lines).rstrip() + '\n'


def _group_by_paper() -> Iterator[tuple[str, list[declaration.Claim]]]:
  for paper in dict.fromkeys(claim.paper for claim in catalogue.CLAIMS):
    yield paper, [claim for claim in catalogue.CLAIMS if claim.paper == paper]


def _make_table(outcomes: dict[str, verdicts.Outcome]) -> Iterator[str]:
  """Of all claims, the papers' names between."""
  yield _make_row(['claim', 'verdict', 'seeds', 'minutes'])
  yield _make_row(['---'] * 4)
  for paper, claims in _group_by_paper():
    yield _make_row([f'*{paper}*', '', '', ''])
    for claim in claims:
      table = outcomes[claim.name].table
      yield _make_row(
        [
          f'[{claim.statement}](#{claim.name})',
          f'**{outcomes[claim.name].verdict}**',
          '' if table is None else str(table.num_seeds),
          '' if table is None else _write_minutes(table.minutes),
        ]
      )


def _make_row(cells: Iterable[str]) -> str:
  return f'| {" | ".join(cells)} |'


def _write_minutes(minutes: float) -> str:
  return f'{minutes:,.0f}' if minutes >= 1 else 'below 1'


def _make_section(
  claim: declaration.Claim, outcome: verdicts.Outcome
) -> list[str]:
  """Of a claim: the verdict, what was wanted and measured, and the picture."""
  lines = [f'### {claim.name}', '', f'{claim.statement} {_tell(outcome)}', '']
  if outcome.found:
    lines += [*_compare(outcome.all_readings), '']
  if claim.note:
    lines += [claim.note, '']
  command = f'`./run.sh reproduce {claim.name}`'
  costs = ', '.join(
    f'{size} takes about {_write_minutes(minutes)} minutes of a core'
    for size in declaration.SIZES[1:]
    if (minutes := claim.source.minutes(size)) is not None
  )
  if not outcome.found:
    return [*lines, f'{command}: {costs}.', '']
  picture = f'../figures/{declaration.PICTURES.name}/{claim.name}.png'
  return [*lines, f'![{claim.name}]({picture})', '', command, '']


def _tell(outcome: verdicts.Outcome) -> str:
  reason = f': {outcome.reason}' if outcome.reason else ''
  return f'**{outcome.verdict.capitalize()}**{reason}.'


def _compare(found: Sequence[readings.Reading]) -> Iterator[str]:
  """A table of what is wanted, and what was measured."""
  yield _make_row(['', 'wanted', 'measured', ''])
  yield _make_row(['---'] * 4)
  for reading in found:
    effect = reading.effect
    measured = f'{effect.value:.3g} [{effect.low:.3g}, {effect.high:.3g}]'
    if math.isnan(effect.value):
      measured = 'not a number'
    row = [reading.name, reading.describe_wanted(), measured, reading.verdict]
    yield _make_row(row)
