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

from collections.abc import Callable

from ml_collections import config_dict

from eigengame_unloaded import eigengame
from eigengame_unloaded import sources
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import optimizers
from jaxline_harness import settings
from jaxline_harness.settings import one_of
from jaxline_harness.settings import Setting

WITHOUT_TRUTH = ('residual', 'utility')

_SIZE = settings.whole(1, settings.MAX_INT32)
_PROBABILITY = settings.real(0, 1)


def _only_of(made: str) -> Callable[[config_dict.ConfigDict], str]:
  """What has no effect with other data than these."""

  def why(config):
    is_other = config.dataset != made
    shown = settings.show(config.dataset)
    return f'{configs.PREFIX}.dataset is {shown}' if is_other else ''

  return why


def _not_read(config: config_dict.ConfigDict) -> str:
  is_made = config.dataset in (sources.SYNTHETIC, sources.BLOCK_MODEL)
  return f'{config.dataset} is made, not read' if is_made else ''


_SYNTHETIC = _only_of(sources.SYNTHETIC)
_BLOCKS = _only_of(sources.BLOCK_MODEL)

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
    'list (.edges, .edgelist or .txt), for its Laplacian; or images: '
    'fashion_mnist_10k (embedded), another name, an .npz or a folder.',
  ),
  'data_dir': Setting(
    '',
    'Where data sets lie; empty: as tensorflow_datasets.',
    no_effect=_not_read,
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
  """Raises UserError, with one line, for the first contradiction."""
  experiment = config.experiment_kwargs.config
  arguments = experiment.optimizer.scheduler_kwargs
  if arguments and arguments.get('decay_steps', 1) is None:
    with config.unlocked():
      arguments.decay_steps = max(1, config.training_steps)
  optimizers.check(f'{configs.PREFIX}.optimizer', experiment.optimizer)
  centring, path = experiment.centring, f'{configs.PREFIX}.centring'
  if centring not in sources.CENTRINGS and not centring.endswith('.npy'):
    hint = errors.did_you_mean(centring, sources.CENTRINGS)
    raise errors.UserError(
      f'{path} must be {", ".join(sources.CENTRINGS)} or an .npy vector, not '
      f'{settings.show(centring)}{hint}'
    )
  if centring != 'none' and sources.is_graph(experiment.dataset):
    raise errors.UserError(
      f'{path}={centring} does not suit {experiment.dataset}: of a centred '
      'edge list XᵀX is not the Laplacian; set none'
    )


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
  check=_check,
)
get_base_config = SCHEMA.get_base_config
resolve = SCHEMA.resolve
