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
"""Documents constants by the comments above them, and fields once."""

import griffe


class CommentsExtension(griffe.Extension):
  """Takes the comment above a constant as its docstring.

  Fields that the section Attributes of their class tells of are not shown
  again. Those of a dataclass are, for its signature is made of them.
  """

  def on_class_members(self, *, cls: griffe.Class, **_) -> None:
    """Called when all of a class has been found.

    Args:
      cls: the class.
    """
    told = cls.docstring and '\nAttributes:\n' in cls.docstring.value
    if not told or any('dataclass' in str(d.value) for d in cls.decorators):
      return
    for name, member in list(cls.members.items()):
      if member.is_attribute and not member.docstring:
        cls.del_member(name)

  def on_attribute_instance(self, *, attr: griffe.Attribute, **_) -> None:
    """Called for each attribute that is found.

    Args:
      attr: the attribute.
    """
    is_constant = isinstance(attr.parent, griffe.Module)
    if not is_constant or attr.docstring or attr.lineno is None:
      return
    comment = []
    for line in reversed(
      attr.parent.lines_collection[attr.parent.filepath][: attr.lineno - 1]
    ):
      if not line.startswith('# '):
        break
      comment.insert(0, line.removeprefix('# '))
    if comment:
      attr.docstring = griffe.Docstring('\n'.join(comment), parent=attr)
