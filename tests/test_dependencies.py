# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Tests of what setup.py and requirements.txt ask for."""

import ast
import functools
from importlib import metadata
import pathlib
import subprocess
import sys

from packaging import requirements
from packaging import utils
import pytest

from dd_two_player_games import data_utils
from dd_two_player_games import tfgan_inception_utils
from jaxline_harness import datasets
from jaxline_harness import errors
from tests import partial_installation

ROOT = pathlib.Path(__file__).resolve().parents[1]

# The extra that brings what a package imports.
EXTRAS = {
  'differentiable_games': (),
  'jaxline_harness': ('harness',),
  'convolutions_as_products': ('gan',),
  'dd_two_player_games': ('gan',),
  'eigengame_unloaded': ('eigengame',),
  'principal_flow_instability_single_objective': ('principal_flow',),
  'run_sweeps': ('harness', 'plots'),
  'diffgames': ('harness',),
}
# What functions may import that say so where it is missing.
OPTIONAL = ('plots', 'tfds', 'inception')
# Declared, but imported by none of our files.
IMPORTED_BY_OTHERS = {
  'importlib-resources',  # tensorflow_datasets
  'mypy',  # A program, as are the next three.
  'pytest-xdist',
  'ruff',
  'tensorboard',
  'tensorflow-gan',  # By name, past its parents' __init__.
  'setuptools',  # TF-Hub
  'tensorflow-probability',  # TF-GAN
  'tf-keras',  # TF-Hub
}


# Pins.


def pins(path: str = 'requirements.txt') -> list[requirements.Requirement]:
  lines = (ROOT / path).read_text().splitlines()
  lines = [line.split('#')[0].strip() for line in lines]
  return [requirements.Requirement(line) for line in lines if line]


@pytest.mark.parametrize(
  ('path', 'extra', 'left_out'),
  [
    ('requirements.txt', 'test', {}),
    # The site is made without importing what it describes.
    ('docs/requirements.txt', 'docs', partial_installation.declared()),
  ],
)
def test_requirements_are_pinned_within_the_ranges_of_setup(
  path, extra, left_out
):
  ranges = partial_installation.declared(extra)
  names = {utils.canonicalize_name(pin.name) for pin in pins(path)}
  assert names == set(ranges) - set(left_out)
  for pin in pins(path):
    (exactly,) = pin.specifier
    assert exactly.operator == '=='
    specifier = ranges[utils.canonicalize_name(pin.name)].specifier
    assert specifier.contains(exactly.version), str(pin)


@pytest.mark.parametrize('python', ['3.11', '3.12', '3.13'])
def test_every_python_has_one_pin_of_each_library(python):
  names = [
    pin.name
    for pin in pins()
    if pin.marker is None or pin.marker.evaluate({'python_version': python})
  ]
  assert sorted(names) == sorted({pin.name for pin in pins()})


# Imports and declarations.


@functools.cache
def imported_distributions(folder: str, anywhere: bool) -> set[str]:
  """The libraries that a folder's files import.

  Args:
    folder: beneath the root.
    anywhere: also those imported within functions.
  """
  known = metadata.packages_distributions()
  names = set()
  for path in (ROOT / folder).rglob('*.py'):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if anywhere else tree.body:
      if isinstance(node, ast.Import):
        names |= {alias.name.split('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        names.add(node.module.split('.')[0])
  return {
    utils.canonicalize_name(known[name][0]) for name in names if name in known
  }


def is_package(path: pathlib.Path) -> bool:
  return (path / '__init__.py').is_file() and path.name not in (
    *('configs', 'sweeps', 'benchmarks', 'figures', 'claims', 'tests'),
  )


def test_every_package_has_its_extra():
  assert {path.name for path in ROOT.iterdir() if is_package(path)} == set(
    EXTRAS
  )


@pytest.mark.parametrize('package', EXTRAS)
def test_packages_import_what_their_extra_declares(package):
  base = set(partial_installation.declared(*EXTRAS[package]))
  optional = set(partial_installation.declared(*OPTIONAL))
  assert imported_distributions(package, anywhere=False) <= base
  assert imported_distributions(package, anywhere=True) <= base | optional


@pytest.mark.slow
def test_tests_import_what_their_extra_declares():
  declared = set(partial_installation.declared('test'))
  for folder in (
    *('configs', 'sweeps', 'benchmarks', 'examples', 'figures', 'claims'),
    'tests',
  ):
    assert imported_distributions(folder, anywhere=True) <= declared


@pytest.mark.parametrize(
  ('extras', 'users'),
  [
    ((), ('differentiable_games',)),
    (('harness',), ('differentiable_games', 'jaxline_harness')),
    *(
      ((package,), ('differentiable_games', 'jaxline_harness', folder))
      for package, folder in (
        ('gan', 'dd_two_player_games'),
        ('eigengame', 'eigengame_unloaded'),
        ('principal_flow', 'principal_flow_instability_single_objective'),
      )
    ),
    (OPTIONAL, tuple(EXTRAS)),
    (('test',), (*EXTRAS, 'benchmarks', 'examples', 'figures', 'tests')),
  ],
)
def test_what_is_declared_is_imported(extras, users):
  imported = set().union(
    *(imported_distributions(folder, anywhere=True) for folder in users)
  )
  declared = set(partial_installation.declared(*extras))
  assert declared - imported - IMPORTED_BY_OTHERS == set()


# Installations without the rest.


def run_with(extras: tuple[str, ...], program: str):
  """Runs a program where only these extras are installed."""
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      'from tests import partial_installation\n'
      f'partial_installation.keep(*{extras})\n{program}',
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout
  return done.stdout


@pytest.mark.parametrize('package', EXTRAS)
def test_packages_can_be_imported_with_their_extra_alone(package):
  modules = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in sorted((ROOT / package).rglob('*.py'))
    if path.name != '__init__.py'
  ]
  assert modules
  run_with(EXTRAS[package], '\n'.join(f'import {name}' for name in modules))


def test_what_is_not_kept_is_not_there():
  run_with(
    (),
    'import importlib.util\n'
    "for name in ('jaxline', 'haiku', 'tensorflow', 'tqdm', 'matplotlib'):\n"
    '  assert importlib.util.find_spec(name) is None\n'
    "assert importlib.util.find_spec('diffrax') is not None\n",
  )


# One line where an extra is missing.


@pytest.mark.parametrize(
  ('module', 'dataset', 'parts'),
  [
    ('tensorflow', 'cifar10', ('cifar-10-binary', "'.[tfds]'")),
    pytest.param(
      'tensorflow_datasets',
      'svhn_cropped',
      ("'.[tfds]'",),
      marks=pytest.mark.slow,
    ),
    ('tensorflow', 'cifra10', ('did you mean cifar10', "'.[tfds]'")),
  ],
)
def test_data_sets_without_tfds(monkeypatch, module, dataset, parts):
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(errors.UserError) as caught:
    datasets.load(dataset)
  for part in (dataset, module, *parts):
    assert part in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'module',
  ['tensorflow', 'tensorflow_gan', 'tensorflow_hub', 'tensorflow_probability'],
)
def test_inception_without_its_extra(monkeypatch, module):
  tfgan_inception_utils.import_tfgan_eval.cache_clear()
  for name in list(sys.modules):
    if name.startswith(('tensorflow_gan', 'tensorflow_hub')):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, module, None)
  with pytest.raises(errors.UserError, match=r"'\.\[inception\]'") as caught:
    tfgan_inception_utils.InceptionClassifier()
  assert module in str(caught.value)
  assert '\n' not in str(caught.value)


def test_points_without_matplotlib(monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  monkeypatch.delitem(
    sys.modules, 'matplotlib.backends.backend_agg', raising=False
  )
  monkeypatch.delitem(sys.modules, 'matplotlib.figure', raising=False)
  points = data_utils.load_dataset('mixture_of_gaussians', 'train', None)
  with pytest.raises(errors.UserError, match=r"'\.\[plots\]'"):
    data_utils.points_figure(points.examples[:5], points.examples[:5])
