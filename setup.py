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
"""Installs the packages; `run.sh` runs them from the source tree instead."""

import pathlib

import setuptools

# Each line a range; requirements.txt has the versions that were tested.

# What differentiable_games imports.
INSTALL_REQUIRES = [
  'diffrax>=0.7',
  'jax>=0.9,<0.13',
  'numpy>=2.0',
  'optax>=0.2.5,<0.3',
  'scipy>=1.14',
]

EXTRAS_REQUIRE = {
  # jaxline_harness, and with it each experiment.
  'harness': [
    'absl-py>=2.1',
    'etils[epath]>=1.9',
    'jaxline==0.0.8',
    'ml_collections>=1.0',
    'orbax-checkpoint>=0.11.30,<0.13',
    'pillow>=11',
    'tensorboardX>=2.6',
    'tensorstore>=0.1.74,<0.2',
    'tqdm>=4.66',
  ],
  # The experiments: dd_two_player_games, eigengame_unloaded and
  # principal_flow_instability_single_objective.
  'gan': [
    'differentiable_games[harness]',
    'dm-haiku>=0.0.16,<0.1',
    'jmp>=0.0.4',
  ],
  'eigengame': ['differentiable_games[harness]'],
  'principal_flow': [
    'differentiable_games[harness]',
    'dm-haiku>=0.0.16,<0.1',
  ],
  # Pictures of points, figures/, reports, and the program that shows curves.
  'plots': [
    'matplotlib>=3.8',
    'plotly>=7',
    'tensorboard>=2.18',
  ],
  # Loggers that config.loggers may name.
  'wandb': ['wandb>=0.20'],
  'mlflow': ['mlflow>=3'],
  # Data sets that tensorflow_datasets reads.
  'tfds': [
    'importlib_resources>=6',  # tensorflow_datasets uses it undeclared.
    'tensorflow>=2.20,<2.22',
    'tensorflow-datasets>=4.9.8',
  ],
  # TF-GAN's Inception, for IS and FID.
  'inception': [
    'setuptools>=70,<81',  # TF-Hub imports pkg_resources.
    'tensorflow>=2.20,<2.22',
    'tensorflow-gan==2.1.0',
    'tensorflow-hub>=0.16.1',
    'tensorflow-probability>=0.24',
    'tf_keras>=2.20,<2.22',
  ],
  # The documentation site, in an environment of its own (docs/build.py).
  'docs': [
    'griffelib>=2.4',
    'latex2mathml>=3.80',
    'markdown>=3.10',
    'mkdocs>=1.6,<2',
    'mkdocs-autorefs>=1.4',
    'mkdocs-material>=9.7,<10',
    'mkdocstrings>=1.0',
    'mkdocstrings-python>=2.0',
    'pygments>=2.20',
    'pymdown-extensions>=11',
    'ruff>=0.14',  # Lays out the signatures.
  ],
  'cuda12': ['jax[cuda12]'],
  'cuda13': ['jax[cuda13]'],
  'tpu': ['jax[tpu]'],
  # Tests, checks, benchmarks and examples, which need everything but
  # accelerators.
  'test': [
    'differentiable_games[gan,eigengame,principal_flow,plots,tfds,inception]',
    'equinox>=0.11.10',
    'flax>=0.10.4',
    'mypy>=2',
    'packaging>=24',
    'pytest>=8',
    'pytest-xdist>=3.6',
    'ruff>=0.14',
    'scikit-learn>=1.6,<2',
  ],
}

PACKAGES = [
  'convolutions_as_products*',
  'dd_two_player_games*',
  'differentiable_games*',
  'diffgames*',
  'eigengame_unloaded*',
  'jaxline_harness*',
  'principal_flow_instability_single_objective*',
  'run_sweeps*',
]
# Their names would clash in site-packages.
SHIPPED = {'diffgames.configs': 'configs', 'diffgames.sweeps': 'sweeps'}


if __name__ == '__main__':
  setuptools.setup(
    name='differentiable_games',
    version='0.1.0',
    description=(
      'Differentiable games in JAX: discretisation drift, two-player '
      'training rules and the experiments that measure them.'
    ),
    long_description=pathlib.Path('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The differentiable_games Authors',
    license='Apache-2.0',
    license_files=['LICENSE', 'THIRD_PARTY*'],
    python_requires='>=3.11,<3.14',
    packages=[
      *setuptools.find_namespace_packages(
        include=PACKAGES, exclude=['*.__pycache__*']
      ),
      *SHIPPED,
    ],
    package_dir=SHIPPED,
    package_data={
      '': [
        '*.npz',
        '*.gz',
        '*.html',
        '*.js',
        '*.toml',
        'LICENSE*',
        'NOTICE*',
        'py.typed',
      ]
    },
    entry_points={'console_scripts': ['diffgames=diffgames.command:main']},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
  )
