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
"""Whether a full config makes sense: types, ranges, names, contradictions."""

from ml_collections import config_dict

from eigengame_unloaded import base_config
from eigengame_unloaded import eigengame
from eigengame_unloaded import sources
from jaxline_harness import argument_checks
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import fields
from jaxline_harness import optimizers

_PREFIX = 'config.experiment_kwargs.config'
# Whether more is better, of each metric that `evaluate` gives.
METRICS = {
  'streak': True,
  'subspace_distance': False,
  'largest_angle': False,
  'rayleigh_error': False,
  'residual': False,
  'utility': True,
}
# What it gives above `eval.exact_up_to_dim` too.
WITHOUT_TRUTH = ('residual', 'utility')

_SIZE = fields.whole(1, fields.MAX_INT32)
_PROBABILITY = fields.real(0, 1)
_FIELDS = {
  'random_seed': fields.SEED,
  'dataset': fields.text(empty=False),
  'data_dir': fields.text(),
  'synthetic.dim': _SIZE,
  'synthetic.decay': fields.one_of(sources.DECAYS),
  'synthetic.smallest_eigenvalue': fields.real(above=0, most=1),
  'stochastic_block_model.num_blocks': _SIZE,
  'stochastic_block_model.block_size': _SIZE,
  'stochastic_block_model.within': _PROBABILITY,
  'stochastic_block_model.between': _PROBABILITY,
  'centring': fields.text(empty=False),
  'num_eigenvectors': _SIZE,
  'method': fields.one_of(eigengame.METHODS),
  'optimizer.name': fields.one_of(optimizers.OPTIMIZERS),
  'optimizer.lr': argument_checks.POSITIVE,
  'optimizer.kwargs': fields.mapping(),
  'optimizer.scheduler': fields.one_of(optimizers.SCHEDULES).or_none(),
  'optimizer.scheduler_kwargs': fields.mapping(),
  'training.batch_size': _SIZE,
  'training.average': fields.flag(),
  'training.player_groups': _SIZE,
  'eval.exact_up_to_dim': fields.whole(0, fields.MAX_INT32),
}


def check(config: config_dict.ConfigDict) -> None:
  """Raises UserError, with one line, for the first thing that is wrong."""
  experiment = config.experiment_kwargs.config
  fields.check_all(_FIELDS, experiment, _PREFIX)
  optimizers.check(f'{_PREFIX}.optimizer', experiment.optimizer)
  _check_centring(experiment)
  _check_effect(experiment)
  _check_best_metric(config)
  configs.refuse_seeds(config, f'{_PREFIX}.random_seed')


def _check_centring(experiment: config_dict.ConfigDict) -> None:
  centring = experiment.centring
  if centring not in sources.CENTRINGS and not centring.endswith('.npy'):
    hint = errors.did_you_mean(centring, sources.CENTRINGS)
    raise errors.UserError(
      f'{_PREFIX}.centring must be {", ".join(sources.CENTRINGS)} or an .npy '
      f'vector, not {fields.show(centring)}{hint}'
    )
  if centring != 'none' and sources.is_graph(experiment.dataset):
    raise errors.UserError(
      f'{_PREFIX}.centring={centring} does not suit {experiment.dataset}: of '
      'a centred edge list XᵀX is not the Laplacian; set none'
    )


def _check_effect(experiment: config_dict.ConfigDict) -> None:
  """Raises UserError for a field that was set and does nothing."""
  default = base_config.get_base_config().experiment_kwargs.config
  dataset = experiment.dataset
  for made in (sources.SYNTHETIC, sources.BLOCK_MODEL):
    if dataset == made and experiment.data_dir:
      raise errors.UserError(
        f'{_PREFIX}.data_dir={fields.show(experiment.data_dir)} has no effect: '
        f'{made} is made, not read'
      )
    for name, value in experiment[made].items():
      if dataset != made and value != default[made][name]:
        raise errors.UserError(
          f'{_PREFIX}.{made}.{name}={fields.show(value)} has no effect: '
          f'{_PREFIX}.dataset is {fields.show(dataset)}'
        )


def _check_best_metric(config: config_dict.ConfigDict) -> None:
  name = config.best_model_eval_metric
  if not name:
    return
  fields.one_of(METRICS).check('config.best_model_eval_metric', name)
  if config.best_model_eval_metric_higher_is_better != METRICS[name]:
    raise errors.UserError(
      f'config.best_model_eval_metric_higher_is_better must be {METRICS[name]} '
      f'with {name}: otherwise the worst checkpoint would be kept'
    )
