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
"""Every setting of an EigenGame experiment, declared once.

A file in `configs/` starts from `get_base_config()`, changes what it needs, and
says `EXPERIMENT = 'eigengame_unloaded.experiment'`, so that run.sh starts this
experiment. `resolve` fills in the rest, or says in one line what is wrong.
"""

from ml_collections import config_dict

from eigengame_unloaded import eigengame
from eigengame_unloaded import sources
from jaxline_harness import configs
from jaxline_harness import optimizers
from jaxline_harness import settings
from jaxline_harness.settings import one_of
from jaxline_harness.settings import Setting

WITHOUT_TRUTH = ('residual', 'utility')

_SIZE = settings.whole(1, settings.MAX_INT32)
_PROBABILITY = settings.real(0, 1)


_CENTRING = settings.Field(
  f'{", ".join(sources.CENTRINGS)} or an .npy vector',
  lambda value: (
    settings.text().accepts(value)
    and (value in sources.CENTRINGS or value.endswith('.npy'))
  ),
  (*sources.CENTRINGS, 'an .npy vector'),
)
_READ = (
  lambda c: c.dataset not in (sources.SYNTHETIC, sources.BLOCK_MODEL),
  '{dataset} is made, not read',
)
_OTHER_DATA = f'{configs.PREFIX}.dataset is {{dataset!r}}'
_SYNTHETIC = (lambda c: c.dataset == sources.SYNTHETIC, _OTHER_DATA)
_BLOCKS = (lambda c: c.dataset == sources.BLOCK_MODEL, _OTHER_DATA)

_SETTINGS: settings.Tree = {
  'random_seed': Setting(
    0,
    'Decides initial eigenvectors, draws and what data sets are made.',
    settings.SEED,
  ),
  'dataset': Setting(
    'fashion_mnist_10k',
    'synthetic (a Gaussian) or stochastic_block_model (a graph), which are '
    'made; an .npy matrix, which is read from disk as training goes; an edge '
    'list (.edges, .edgelist, .txt, .csv or .tsv), for its Laplacian; or '
    'images: fashion_mnist_10k (embedded), another name, an .npz or a folder.',
  ),
  'data_dir': Setting(
    '',
    'Where data sets lie; empty: as tensorflow_datasets.',
    settings.path(),
    _READ,
  ),
  'synthetic': {
    'dim': Setting(50, 'Dimension of the data.', _SIZE, _SYNTHETIC),
    'decay': Setting(
      'exponential',
      "Of the covariance's eigenvalues from 1 down.",
      one_of(sources.DECAYS),
      _SYNTHETIC,
    ),
    'smallest_eigenvalue': Setting(
      1e-3, 'The smallest of them.', settings.real(above=0, most=1), _SYNTHETIC
    ),
  },
  'stochastic_block_model': {
    'num_blocks': Setting(4, 'Clusters of the graph.', _SIZE, _BLOCKS),
    'block_size': Setting(100, 'Nodes of each.', _SIZE, _BLOCKS),
    'within': Setting(
      0.3, 'Probability of an edge in a cluster.', _PROBABILITY, _BLOCKS
    ),
    'between': Setting(
      0.02, 'Probability of an edge between two.', _PROBABILITY, _BLOCKS
    ),
  },
  'centring': Setting(
    'streaming',
    'What is subtracted from examples: their streaming mean, data (their mean, '
    'from one pass before training), none, or an .npy vector.',
    _CENTRING,
  ),
  'num_eigenvectors': Setting(16, 'How many to find.', _SIZE),
  'method': Setting(
    'mu_eigengame', 'See eigengame.py.', one_of(eigengame.METHODS)
  ),
  # A constant rate leaves noise of its own size. The decay_steps of a schedule
  # may be None: it ends with training.
  'optimizer': optimizers.declare(
    lr=1e-4, kwargs={'momentum': 0.9, 'nesterov': True}
  ),
  'training': {
    'batch_size': Setting(256, 'Of all devices together.', _SIZE),
    'average': Setting(
      True, 'Directions are means over a minibatch, not sums (as published).'
    ),
    'player_groups': Setting(
      1,
      'Groups of devices over which players are spread; those of one group '
      'share its players and split the minibatch.',
      _SIZE,
    ),
  },
  'eval': {
    'exact_up_to_dim': Setting(
      2048,
      'Exact eigenvectors, and errors against them, up to this dimension.',
      settings.whole(0, settings.MAX_INT32),
      changes_no_step=True,
    )
  },
}


def _check(config: config_dict.ConfigDict) -> None:
  """Completes the optimiser's settings, and checks them."""
  optimizer = config.experiment_kwargs.config.optimizer
  arguments = optimizer.scheduler_kwargs
  if arguments and arguments.get('decay_steps', 1) is None:
    with config.unlocked():
      arguments.decay_steps = max(1, config.training_steps)
  default = _SETTINGS['optimizer']['kwargs'].default
  accepted = optimizers.arguments_of(optimizer.name)
  is_default = optimizer.kwargs and optimizer.kwargs.to_dict() == default
  if is_default and not accepted >= default.keys():
    with config.unlocked():
      optimizer.kwargs = {}  # They are those of the default optimiser.
  optimizers.check(f'{configs.PREFIX}.optimizer', optimizer)


SCHEMA = configs.Schema(
  experiment=_SETTINGS,
  metrics={
    'streak': True,
    'subspace_distance': False,
    'largest_angle': False,
    'rayleigh_error': False,
    'residual': False,
    'utility': True,
  },
  contradictions=[
    (
      lambda c: c.centring != 'none' and sources.is_graph(c.dataset),
      'centring={centring} does not suit {dataset}: of a centred edge list XᵀX '
      'is not the Laplacian; set none',
    )
  ],
  check=_check,
)
get_base_config = SCHEMA.get_base_config
resolve = SCHEMA.resolve
