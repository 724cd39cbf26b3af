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

from collections.abc import Iterable, Sequence
import pathlib

from claims import catalogue
from claims import declaration
from claims import pictures
from claims import readings
from claims import verdicts
from jaxline_harness import files

PATH = declaration.ROOT / 'docs' / 'claims.md'
_HEAD = """# Claims of the papers, and what came out here

`./run.sh reproduce` writes this page from the tables in
[`docs/claims`](claims). No verdict is set by hand.

```bash
./run.sh reproduce --dry-run         # what there is, and what it costs
./run.sh reproduce cancelling_helps  # runs what is missing of one claim
./run.sh reproduce --size=full       # the papers' sizes, where there are such
```

An effect has a 95 % bootstrap interval over at least five seeds. A claim
**holds** if the whole interval of each of its readings lies where the claim
says, and **fails** if one lies outside; all else is **undecided**. Methods are
compared over all settings of a sweep, twice: each at its best, and in the
median over settings. The two readings must agree. The rules stand in
[`claims/papers`](../claims/papers); they were committed before the results
that they judge.

Networks are small. What holds here need not hold for large ones, and what fails
here need not fail there.
"""
_COLUMNS = ('claim', 'verdict', 'effect', 'seeds', 'minutes of a core')


def write(path: pathlib.Path = PATH) -> None:
  """Writes the page.

  Args:
    path: where to.
  """
  files.write_atomically(str(path), make_page())


def make_page(folder: pathlib.Path = declaration.RESULTS) -> str:
  """The page's text.

  Args:
    folder: of recorded results.
  """
  outcomes = {
    claim.name: verdicts.find_outcome(claim, folder)
    for claim in catalogue.CLAIMS
  }
  counted = [outcome.verdict for outcome in outcomes.values()]
  told = ', '.join(
    f'{counted.count(verdict)} {verdict}'
    for verdict in (
      *(readings.HOLDS, readings.FAILS),
      *(readings.UNDECIDED, readings.NOT_RUN),
    )
  )
  lines = [_HEAD, f'Of {len(counted)} claims: {told}.', '']
  papers = dict.fromkeys(claim.paper for claim in catalogue.CLAIMS)
  for paper in papers:
    claims = [claim for claim in catalogue.CLAIMS if claim.paper == paper]
    lines += [f'## {paper}', '', *_make_table(claims, outcomes), '']
    for claim in claims:
      lines += _make_section(claim, outcomes[claim.name])
  return '\n'.join(lines).rstrip() + '\n'


def _make_table(
  claims: Iterable[declaration.Claim], outcomes: dict[str, verdicts.Outcome]
) -> list[str]:
  rows: list[Sequence[str]] = [_COLUMNS, ['---'] * len(_COLUMNS)]
  for claim in claims:
    outcome = outcomes[claim.name]
    is_run = bool(outcome.found)
    seeds, minutes = '–', f'about {_estimate_minutes(claim)}'
    if is_run and outcome.table is not None:
      seeds = str(outcome.table.num_seeds)
      minutes = _write_minutes(outcome.table.minutes)
    link = f'[`{claim.name}`](#{claim.name})'
    rows.append(
      [
        f'{link} {claim.statement}',
        f'**{outcome.verdict}**' if is_run else outcome.verdict,
        '<br>'.join(map(_write_reading, outcome.all_readings)) or '–',
        seeds,
        minutes,
      ]
    )
  return [f'| {" | ".join(row)} |' for row in rows]


def _write_minutes(minutes: float) -> str:
  return f'{minutes:.0f}' if minutes >= 1 else 'below 1'


def _estimate_minutes(claim: declaration.Claim) -> str:
  """By the claim's entry, for each size."""
  told = [
    f'{_write_minutes(minutes)} ({size})'
    for size in declaration.SIZES[1:]
    if (minutes := claim.source.minutes(size)) is not None
  ]
  return ', '.join(told)


def _write_reading(reading: readings.Reading) -> str:
  return f'{reading.name}: {reading.effect}'


def _make_section(
  claim: declaration.Claim, outcome: verdicts.Outcome
) -> list[str]:
  lines = [
    f'### {claim.name}',
    '',
    f'{claim.statement} ({claim.section}.) **{outcome.verdict.capitalize()}**'
    f'{f": {outcome.reason}" if outcome.reason else ""}. '
    f'Wanted: {verdicts.describe_rules(claim)}. `{claim.command}`',
    '',
  ]
  if claim.note:
    lines += [claim.note, '']
  if outcome.found:
    picture = f'../figures/{pictures.FOLDER.name}/{claim.name}.png'
    lines += [f'![{claim.statement}]({picture})', '']
  return lines
