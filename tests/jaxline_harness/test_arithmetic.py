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
"""What is chosen of XLA and JAX before they begin."""

import os

import jax
import jax.numpy as jnp
import pytest

from jaxline_harness import arithmetic
from jaxline_harness import configs

FLAG = '--xla_gpu_deterministic_ops=true'


@pytest.fixture
def choose(monkeypatch):
  """Chooses for a config that differs from the default in a setting."""
  monkeypatch.setenv('XLA_FLAGS', '--xla_of_the_user=1')
  before = jax.config.values['jax_default_matmul_precision']
  schema = configs.Schema(experiment={})

  def choose(**changed):
    config = schema.get_base_config()
    config.update(changed)
    arithmetic.choose(schema.resolve(config))

  yield choose
  jax.config.update('jax_default_matmul_precision', before)


def lowered():
  return jax.jit(jnp.matmul).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()


def test_what_is_left_open_stays(choose):
  text = lowered()
  choose()
  assert os.environ['XLA_FLAGS'] == '--xla_of_the_user=1'
  assert lowered() == text
  assert 'HIGHEST' not in text


def test_deterministic_operations(choose):
  choose(deterministic=True)
  assert os.environ['XLA_FLAGS'].split() == ['--xla_of_the_user=1', FLAG]


def test_precision_of_products(choose):
  choose(matmul_precision='highest')
  assert 'HIGHEST' in lowered()
