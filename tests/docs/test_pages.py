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
"""Tests of the pages: what they say that code prints, it prints."""

import contextlib
import io
import pathlib
import re

from matplotlib import pyplot
import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / 'docs'
README = ROOT / 'README.md'
PAGES = [
  *(README, ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md'),
  *sorted(DOCS.glob('*.md')),
]
_CODE = re.compile(r'```.*?```|`[^`\n]*`', re.DOTALL)
_LINK = re.compile(r'\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)')
# A block of Python, and what it prints.
_EXAMPLE = re.compile(
  r'```python\n(.*?)```\n(?:\n```text\n(.*?)```)?', re.DOTALL
)


@pytest.mark.slow
def test_the_tour_prints_what_it_says(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pyplot.switch_backend('agg')
  examples = _EXAMPLE.findall((DOCS / 'tour.md').read_text())
  assert len(examples) == 8
  names = {}
  for code, wanted in examples:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      exec(code, names)
    assert printed.getvalue() == wanted
  assert (tmp_path / 'tour.png').stat().st_size > 10_000
  pyplot.close('all')


def test_the_front_page_is_short():
  assert len(README.read_text().split()) <= 800


def test_the_front_page_names_all_configs():
  configs = {
    path.stem.removesuffix('_config')
    for path in (ROOT / 'configs').glob('*_config.py')
  }
  rows = re.findall(r'(?m)^\| (`.*?) \|', README.read_text())
  assert set(re.findall(r'`(\w+)`', ' '.join(rows))) == configs


def test_the_front_page_shows_a_shipped_config():
  ((code, _),) = _EXAMPLE.findall(README.read_text())
  shipped = (ROOT / 'configs' / 'sgd_fashion_mnist_config.py').read_text()
  assert shipped.endswith(code)


def anchors(page: pathlib.Path) -> set[str]:
  """The anchors that GitHub gives a page's headings."""
  headings = re.findall(r'(?m)^#+ (.*)$', page.read_text())
  kept = [re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings]
  return {heading.replace(' ', '-') for heading in kept}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
  for path, anchor in _LINK.findall(_CODE.sub('', page.read_text())):
    target = page.parent / path if path else page
    assert target.exists(), path
    assert not anchor or anchor in anchors(target), f'{path}#{anchor}'
