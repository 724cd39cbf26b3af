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
here need not fail there. Sweeps of what is recorded ran on another machine
than the rest: `mixture_rules` on 14 cores, the others on one H100, whose
minutes are those of the cores beside it.

In the pictures green is what is wanted, a bar the interval, and dots are seeds.
"""
_COLUMNS = ('claim', 'verdict', 'effect', 'seeds', 'minutes of a core')
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
    f'{counted.count(verdict)} {verb}' for verdict, verb in _TOLD.items()
  )
  lines = [_HEAD, f'Of {len(counted)} claims: {told}.', '']
  papers = dict.fromkeys(claim.paper for claim in catalogue.CLAIMS)
  for paper in papers:
    claims = [claim for claim in catalogue.CLAIMS if claim.paper == paper]
    run = [claim for claim in claims if outcomes[claim.name].found]
    lines += [f'## {paper}', '']
    if run:
      lines += [*_make_table(run, outcomes), '']
    lines += [
      _describe_missing(claim, outcomes[claim.name])
      for claim in claims
      if claim not in run
    ]
    lines += [''] if len(run) < len(claims) else []
    for claim in run:
      lines += _make_section(claim, outcomes[claim.name])
  return '\n'.join(lines).rstrip() + '\n'


def _make_table(
  claims: Iterable[declaration.Claim], outcomes: dict[str, verdicts.Outcome]
) -> list[str]:
  """Of claims that were run."""
  rows: list[Sequence[str]] = [_COLUMNS, ['---'] * len(_COLUMNS)]
  for claim in claims:
    outcome = outcomes[claim.name]
    assert outcome.table is not None
    rows.append(
      [
        f'[{claim.name}](#{claim.name}): {claim.statement}',
        f'**{outcome.verdict}**',
        '<br>'.join(map(_write_reading, outcome.all_readings)),
        str(outcome.table.num_seeds),
        _write_minutes(outcome.table.minutes),
      ]
    )
  return [f'| {" | ".join(row)} |' for row in rows]


def _write_reading(reading: readings.Reading) -> str:
  effect = reading.effect
  return (
    f'{reading.name}: {effect.value:.3g} [{effect.low:.3g}, {effect.high:.3g}]'
  )


def _write_minutes(minutes: float) -> str:
  return f'{minutes:,.0f}' if minutes >= 1 else 'below 1'


def _describe_missing(
  claim: declaration.Claim, outcome: verdicts.Outcome
) -> str:
  """A claim that was not run, in one item of a list."""
  costs = ', '.join(
    f'{_write_minutes(minutes)} ({size})'
    for size in declaration.SIZES[1:]
    if (minutes := claim.source.minutes(size)) is not None
  )
  reason = f' ({outcome.reason})' if outcome.reason else ''
  note = f' {claim.note}' if claim.note else ''
  return (
    f'- **Not run**{reason}: `{claim.name}`. {claim.statement} Minutes of a '
    f'core, estimated: {costs}.{note}'
  )


def _make_section(
  claim: declaration.Claim, outcome: verdicts.Outcome
) -> list[str]:
  """Of a claim that was run: what was wanted, and the picture."""
  reason = f' {outcome.reason[:1].upper()}{outcome.reason[1:]}.'
  wanted = ''.join(f'\n- {rule.describe()}' for rule in claim.rules)
  lines = [
    f'### {claim.name}',
    '',
    f'{claim.statement} ({claim.section[:1].upper()}{claim.section[1:]}.) '
    f'Wanted:\n{wanted}',
    '',
    f'It **{outcome.verdict}**.'
    if outcome.verdict != readings.UNDECIDED
    else f'**Undecided.**{reason}',
    '',
  ]
  if claim.note:
    lines += [claim.note, '']
  picture = f'../figures/{declaration.PICTURES.name}/{claim.name}.png'
  return [*lines, f'![{claim.name}]({picture})', '']
