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
"""Formulas: Sphinx's roles of docstrings to $...$, and those to MathML."""

import html as entities
import re

from latex2mathml import converter
import markdown
from markdown import preprocessors

_ROLE = re.compile(r':math:`([^`]+)`', re.DOTALL)
# The lines after it that are indented further, or blank.
_DIRECTIVE = re.compile(
  r'^(?P<indent> *)\.\. math::(?P<first>[^\n]*)\n'
  r'(?P<rest>(?:(?P=indent) +[^\n]*(?:\n|\Z)|[ ]*\n(?=(?P=indent) +\S))*)',
  re.MULTILINE,
)
_FORMULA = re.compile(
  r'<(?P<tag>span|div) class="arithmatex">(?P<formula>.*?)</(?P=tag)>',
  re.DOTALL,
)


class _Roles(preprocessors.Preprocessor):
  """Turns :math: and .. math:: into dollars."""

  def run(self, lines: list[str]) -> list[str]:
    text = '\n'.join(lines)
    text = _DIRECTIVE.sub(_block, text)
    return _ROLE.sub(_inline, text).split('\n')


def _inline(match: re.Match[str]) -> str:
  return f'${" ".join(match[1].split())}$'


def _block(match: re.Match[str]) -> str:
  indent = match['indent']
  formula = ' '.join((match['first'] + ' ' + match['rest']).split())
  return f'\n{indent}$$\n{indent}{formula}\n{indent}$$\n\n'


class RolesExtension(markdown.Extension):
  """Takes formulas as Sphinx writes them."""

  def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802
    # After line ends are normalised, before blocks of code are set aside.
    md.preprocessors.register(_Roles(md), 'math_roles', 28)


def convert_to_mathml(html: str) -> str:
  """Replaces the formulas of a page.

  Args:
    html: the page, its formulas as pymdownx.arithmatex leaves them.

  Returns:
    The page with MathML, which browsers show without a script.
  """

  def convert(match: re.Match[str]) -> str:
    formula = entities.unescape(match['formula']).strip()
    display = 'block' if match['tag'] == 'div' else 'inline'
    return converter.convert(formula[2:-2].strip(), display=display)

  return _FORMULA.sub(convert, html)
