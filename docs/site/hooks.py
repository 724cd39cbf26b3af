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
"""What mkdocs does besides for this site; mkdocs.yml names this file.

The Markdown files are those that GitHub shows. Here they become a site: links
to what lies outside of docs/ lead to pages that are made of those files, the
gallery and the reference are made of the source, and formulas become MathML.
"""

import os
import pathlib
import re

import formulas
import gallery
from mkdocs.structure import files as mkdocs_files
import reference

import notebooks

ROOT = pathlib.Path(__file__).parents[2]
# Pages that lie at the root of the repository; the first is the front page.
_HOME = {
  'README.md': 'index.md',
  'CONTRIBUTING.md': 'contributing.md',
  'CHANGELOG.md': 'changelog.md',
}
_LINK = re.compile(r'(?<=\]\()(?!\w+:)([^)\s#]+)((?:#[^)\s]*)?)(?=\))')
_LANGUAGES = {
  '.py': 'python',
  '.sh': 'bash',
  '.json': 'json',
  '.md': 'markdown',
}


def on_config(config):
  """Leaves out of the navigation what there is not; converts formulas."""
  config.markdown_extensions.append(formulas.RolesExtension())
  config.nav = list(_existing_entries(config.nav))
  if others := _pages_besides(config.nav):
    config.nav.append({'More': others})
  return config


def _pages_besides(nav) -> list[str]:
  """The pages that the navigation does not name."""
  text = str(nav)
  names = sorted(path.name for path in (ROOT / 'docs').glob('*.md'))
  return [name for name in names if f"'{name}'" not in text]


def _existing_entries(entries):
  """Yields the entries of the navigation, with the generated ones filled in."""
  generated = {
    'gallery/': gallery.navigation(),
    'notebooks/': notebooks.navigation(),
    'reference/': reference.navigation(),
  }
  for entry in entries:
    ((title, target),) = entry.items()
    if isinstance(target, list):
      target = list(_existing_entries(target))
    elif target in generated:
      target = generated[target]
    elif not _is_page(target):
      continue
    if target:
      yield {title: target}


def _is_page(target: str) -> bool:
  return target in _HOME.values() or (ROOT / 'docs' / target).is_file()


def on_files(files, config):
  """Adds the pages that are generated, and the files that pages show."""
  pages = gallery.pages() | reference.pages() | notebooks.pages()
  for source, target in _HOME.items():
    pages[target] = (ROOT / source).read_text()
  for target, content in pages.items():
    files.append(mkdocs_files.File.generated(config, target, content=content))
  for path in sorted((ROOT / 'figures').rglob('*')):
    if path.suffix in ('.png', '.json'):
      target = path.relative_to(ROOT).as_posix()
      files.append(
        mkdocs_files.File.generated(config, target, abs_src_path=str(path))
      )
  for path in sorted(_linked_files(files)):
    target = _target(path)
    if (
      target.startswith('source/') and files.get_file_from_path(target) is None
    ):
      content = _source_page(path)
      files.append(mkdocs_files.File.generated(config, target, content=content))
  return files


def _linked_files(files) -> set[pathlib.PurePosixPath]:
  """What pages link to, from the repository's root."""
  linked = set()
  for file in files.documentation_pages():
    origin = _origin(file.src_uri)
    for match in _LINK.finditer(file.content_string):
      path = _resolve(origin, match[1])
      if path is not None:
        linked.add(path)
  return linked


def _origin(page: str) -> pathlib.PurePosixPath:
  """Where a page's links count from, in the repository."""
  for source, target in _HOME.items():
    if page == target:
      return pathlib.PurePosixPath(source)
  if page.startswith('notebooks/'):
    return pathlib.PurePosixPath(page)
  return pathlib.PurePosixPath('docs') / page


def _resolve(origin, link: str) -> pathlib.PurePosixPath | None:
  """The file of the repository that a link means, if there is one."""
  path = pathlib.PurePosixPath(os.path.normpath(origin.parent / link))
  return path if (ROOT / path).exists() else None


def _target(path: pathlib.PurePosixPath) -> str:
  """The file of the site for a file of the repository."""
  text = str(path)
  if text in _HOME:
    return _HOME[text]
  if text.startswith('docs/') and (ROOT / path).is_file():
    return text.removeprefix('docs/')
  for part in (gallery, reference, notebooks):
    if (target := part.target(path)) is not None:
      return target
  return f'source/{text}.md'


def _source_page(path: pathlib.PurePosixPath) -> str:
  """A page that shows a file, or what a folder holds."""
  if (ROOT / path).is_file():
    return _show_file(path, f'# {path}')
  parts = [f'# {path}\n']
  for name in sorted(p.name for p in (ROOT / path).glob('*.*')):
    if name.endswith('.py'):
      parts.append(_show_file(path / name, f'## {name}'))
    elif not (target := _target(path / name)).startswith('source/'):
      link = os.path.relpath(
        target, pathlib.PurePosixPath('source', path).parent
      )
      parts.append(f'- [{name}]({link})')
  return '\n'.join(parts) + '\n'


def _show_file(path: pathlib.PurePosixPath, heading: str) -> str:
  content = (ROOT / path).read_text().rstrip()
  language = _LANGUAGES.get(path.suffix, 'text')
  return f'{heading}\n\n``````{language}\n{content}\n``````\n'


def on_page_markdown(markdown, page, config, files):
  """Leads links to files of the repository to their pages here."""
  del config, files
  uri = page.file.src_uri
  origin = _origin(uri)
  folder = pathlib.PurePosixPath(uri).parent

  def convert(match):
    path = _resolve(origin, match[1])
    if path is None:
      return match[0]
    return os.path.relpath(_target(path), folder) + match[2]

  return _LINK.sub(convert, markdown)


def on_page_content(html, page, config, files):
  """Makes formulas readable without a script."""
  del page, config, files
  return formulas.convert_to_mathml(html)
