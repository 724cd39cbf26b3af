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
"""The declarations of all settings, and the page that is made of them."""

import pathlib
import runpy

import pytest

from dd_two_player_games import base_config as of_gans
from eigengame_unloaded import base_config as of_eigengame
from jaxline_harness import settings
from principal_flow_instability_single_objective import base_config as of_flow

DOCS = pathlib.Path(__file__).parents[1] / 'docs'
SCHEMAS = [of_gans.SCHEMA, of_eigengame.SCHEMA, of_flow.SCHEMA]


def test_the_page_is_up_to_date():
  page = runpy.run_path(str(DOCS / 'write_settings.py'))['page']()
  assert (DOCS / 'settings.md').read_text() == page
  for schema in SCHEMAS:
    for name, _ in settings.leaves(schema.experiment):
      assert f'`{name}=' in page


@pytest.mark.parametrize('schema', SCHEMAS)
def test_every_setting_is_declared_in_full(schema):
  for name, setting in settings.leaves(schema.tree):
    setting.field.check(name, setting.default)
    assert setting.doc.endswith('.'), name
    assert setting.doc.isprintable(), name


@pytest.mark.parametrize('schema', SCHEMAS)
def test_every_setting_is_explained_with_its_value(schema):
  config = schema.get_base_config()
  config.training_steps = 7
  lines = list(schema.explain(schema.resolve(config)))
  assert any(
    line.startswith('--config.training_steps=7 (def') for line in lines
  )
  for name, _ in settings.leaves(schema.tree):
    assert any(line.startswith(f'--config.{name}=') for line in lines)
