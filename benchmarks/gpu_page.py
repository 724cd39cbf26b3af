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
"""The figures of half an hour on a GPU, as lines and as one page.

`gpu_session.py` measures them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

REHEARSAL = 'none, a rehearsal on the CPU'

Result = Mapping[str, Any]

# Milliseconds that no step can beat on the one card they were computed for, by
# docs/machines.md: of the compiled programs' memory traffic.
_FLOOR_CARD = 'NVIDIA H100 80GB HBM3'
_FLOORS = {
  'cifar plain': 1.2,
  'cifar cancelled': 2.7,
  'train_default': 0.046,
  'train_mnist': 0.052,
}
_DEFAULT = 'default'
_ARITHMETIC = {
  'steps_float32': 'float32',
  'steps_deterministic': f'{_DEFAULT}, deterministic',
}
_TRAININGS = {
  'train_default': '`sgd_fashion_mnist`',
  'train_mnist': '`sgd_mnist` on Fashion-MNIST',
  'seeds_1': '`mixture_of_gaussians`, one seed',
  'seeds_8': '`mixture_of_gaussians`, eight seeds in one program',
  'train_float32': '`sgd_fashion_mnist`, float32',
  'train_deterministic': '`sgd_fashion_mnist`, deterministic',
}
_ABOUT_STEPS = """
- *step*, *textbook*: medians of turns that last a second. The textbook is the
  same step written the usual way (docs/performance.md).
- *default* arithmetic: TF32 in products and convolutions.
- Batches: CIFAR 128, MNIST 64, `mlp` 128. Compiled without a cache.
""".strip()
_ABOUT_FLOORS = """
- *floor*: what the step's memory traffic takes at the card's stated bandwidth
  (docs/machines.md).
""".strip()
_ABOUT_TRAININGS = """
- *steps a second*: the median from one row of metrics to the next. *all*: the
  whole command, with start and compiling.
- *FID*: of 2,000 images, by the project's own Fashion-MNIST network, not
  Inception; in brackets that of real images, the least there is.
- Of eight seeds, a step is one of each.
""".strip()


def describe_outcome(result: Result) -> str:
  """Says in one line how a part ended, and its main figures.

  Args:
    result: of the part.
  """
  told = f'{result["end"]}, {result["seconds"]:.0f} s'
  if result['part'].startswith('eval') and 'metrics' in result:
    figures = [f'{k} {v}' for k, v in _quality(result).items()]
  elif 'steps_per_second' in result:
    figures = [f'{result["steps_per_second"]:.3g} steps a second']
  else:
    figures = [
      f'{step["case"]} {step["variant"]} {_milliseconds(step["project"])} ms'
      for step in result.get('steps', [])
    ]
  if said := result.get('said'):
    figures.append(said)
  return f'{told}: {"; ".join(figures)}' if figures else told


def make_page(session: Mapping[str, Any]) -> str:
  """The page of a session's figures, in Markdown.

  Args:
    session: what `session.json` has.
  """
  results = {result['part']: result for result in session['results']}
  code, card = session['code'], session['card']
  warning = ['**A rehearsal: these speeds say nothing.**', '']
  lines = [
    '# Training on one GPU',
    '',
    *(warning if card == REHEARSAL else []),
    f'- Card: {card}',
    f'- Date: {session["date"]}',
    f'- JAX {code["versions"]["jax"]}, commit {code["git_commit"]}',
    f'- Host: {session["machine"]}',
    '',
    '## Steps',
    '',
    *_make_table(list(_list_steps(results, card))),
    _ABOUT_STEPS,
    *([_ABOUT_FLOORS] if card == _FLOOR_CARD else []),
    '',
    '## Trainings',
    '',
    *_make_table(list(_list_trainings(results, card))),
    _ABOUT_TRAININGS,
    '',
    '## Parts',
    '',
    *_make_table(list(_list_parts(session['results']))),
  ]
  return '\n'.join(lines)


def _list_steps(
  results: Mapping[str, Result], card: str
) -> Iterator[dict[str, str]]:
  for part, result in results.items():
    for step in result.get('steps', []):
      project, textbook = step['project'], step.get('textbook')
      variant, _, option = step['variant'].partition('-')
      arithmetic = _ARITHMETIC.get(part, _DEFAULT)
      if option == 'bfloat16':
        arithmetic = option
      elif option:
        variant = step['variant']
      row = {
        'network, terms': f'{step["case"]}, {variant}',
        'arithmetic': arithmetic,
        'step (ms)': _milliseconds(project),
        'textbook (ms)': _milliseconds(textbook) if textbook else '–',
        'times as fast': _ratio(textbook, project),
      }
      name = f'{step["case"]} {variant}'
      if card == _FLOOR_CARD:
        floor = _FLOORS.get(name) if _DEFAULT in arithmetic else None
        row['floor (ms)'] = f'{floor:.3g}' if floor else '–'
      yield row | {
        'compiling (s)': f'{project["compile_seconds"]:.1f}',
        'memory (MB)': f'{project["peak_megabytes"]:,.0f}',
      }


def _list_trainings(
  results: Mapping[str, Result], card: str
) -> Iterator[dict[str, str]]:
  for part, name in _TRAININGS.items():
    if part not in results:
      continue
    result = results[part]
    speed = result.get('steps_per_second')
    row = {
      'config': name,
      'steps a second': f'{speed:,.3g}' if speed else '–',
      'ms a step': f'{1e3 / speed:.3g}' if speed else '–',
    }
    if card == _FLOOR_CARD:
      row['floor (ms)'] = f'{_FLOORS[part]:.3g}' if part in _FLOORS else '–'
    evaluated = results.get(part.replace('train', 'eval'), {})
    quality = _quality(evaluated) if evaluated is not result else {}
    yield row | {
      'all (s)': f'{result["seconds"]:.0f}',
      'after step': quality.get('after step', '–'),
      'FID': quality.get('FID', '–'),
    }


def _list_parts(results: Sequence[Result]) -> Iterator[dict[str, str]]:
  has_failures = any('said' in result for result in results)
  for result in results:
    row = {
      'part': result['part'],
      'end': result['end'],
      'seconds': f'{result["seconds"]:.0f}',
      'ended': result['date'],
    }
    if has_failures:
      row['what it said last'] = result.get('said', '')
    yield row


def _quality(result: Result) -> dict[str, str]:
  """What an evaluation found, as far as there is one."""
  metrics = result.get('metrics')
  if not metrics:
    return {}
  fid, floor = float(metrics['FID']), float(metrics['FID_floor'])
  return {'FID': f'{fid:.1f} ({floor:.1f})', 'after step': metrics['step']}


def _milliseconds(of: Result) -> str:
  return f'{1e3 * of["step_seconds"]:.3g}'


def _ratio(textbook: Result | None, project: Result) -> str:
  if not textbook:
    return '–'
  return f'{textbook["step_seconds"] / project["step_seconds"]:.1f}'


def _make_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
  if not rows:
    return ['None yet.', '']
  cells = [list(rows[0]), ['---'] * len(rows[0])]
  cells += [[x.replace('|', r'\|') for x in row.values()] for row in rows]
  return [*(f'| {" | ".join(row)} |' for row in cells), '']
