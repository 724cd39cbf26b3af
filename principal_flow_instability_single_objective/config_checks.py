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

import jax
from ml_collections import config_dict

from jaxline_harness import argument_checks
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import fields
from jaxline_harness import optimizers
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import nets

# Whether more is better, of the metrics to keep the best model by.
METRICS = {'test_accuracy': True, 'test_loss': False}

_SIZE = fields.whole(1, fields.MAX_INT32)
_SIZE_OR_ZERO = fields.whole(0, fields.MAX_INT32)
_FIELDS = {
  'random_seed': fields.SEED,
  'dataset': fields.text(empty=False),
  'data_dir': fields.text(),
  'num_test_examples': _SIZE.or_none(),
  'num_train_examples': _SIZE.or_none(),
  'net.name': fields.one_of(('MLP', 'ConvNet')),
  'net.kwargs': fields.mapping(),
  'optimizer.lr': argument_checks.POSITIVE,
  'optimizer.momentum': fields.real(0, below=1),
  'optimizer.scheduler': fields.one_of(optimizers.SCHEDULES).or_none(),
  'optimizer.scheduler_kwargs': fields.mapping(),
  'dal.power': argument_checks.NOT_NEGATIVE.or_none(),
  'dal.max_learning_rate': argument_checks.POSITIVE,
  'dal.product': fields.one_of(('exact', 'finite_differences')),
  'dal.batch': fields.one_of(('same', 'full')),
  'dal.start': _SIZE_OR_ZERO,
  'dal.stop': _SIZE_OR_ZERO.or_none(),
  'training.batch_size': _SIZE.or_none(),
  'training.microbatch_size': _SIZE.or_none(),
  'eval.batch_size': _SIZE,
  'eval.interval': _SIZE,
  'eval.num_examples': _SIZE.or_none(),
  'eval.num_eigenvalues': _SIZE_OR_ZERO,
  'eval.num_products': _SIZE,
  'eval.drift': fields.flag(),
}


def check(config: config_dict.ConfigDict) -> None:
  """Raises UserError, with one line, for the first thing that is wrong."""
  experiment = config.experiment_kwargs.config
  fields.check_all(_FIELDS, experiment, base_config.PREFIX)
  configs.check_best_metric(config, METRICS)
  configs.refuse_seeds(config, f'{base_config.PREFIX}.random_seed')
  _check_scheduler(experiment.optimizer)
  _check_dal(experiment.dal, config.training_steps)
  _check_net(experiment.net)
  _check_evaluation(experiment)


def _check_evaluation(experiment: config_dict.ConfigDict) -> None:
  evaluation = experiment.eval
  defaults = base_config.get_base_config().experiment_kwargs.config.eval
  if not evaluation.num_eigenvalues:
    for name in ('num_products', 'num_examples'):
      if evaluation[name] != defaults[name]:
        raise errors.UserError(
          f'{base_config.PREFIX}.eval.{name} has no effect with '
          'eval.num_eigenvalues=0'
        )
  if evaluation.drift and experiment.net.kwargs.get('activation') == 'relu':
    raise errors.UserError(
      f"{base_config.PREFIX}.net.kwargs.activation='relu' has kinks, through "
      'which no flow can be followed; set eval.drift=False'
    )
  if evaluation.drift and experiment.optimizer.momentum:
    raise errors.UserError(
      f'{base_config.PREFIX}.eval.drift is of gradient descent without '
      'optimizer.momentum, to which the flows belong; set eval.drift=False'
    )
  if evaluation.drift and not evaluation.num_eigenvalues:
    raise errors.UserError(
      f'{base_config.PREFIX}.eval.drift needs eval.num_eigenvalues above 0, '
      'for the principal flow'
    )
  if evaluation.num_products < evaluation.num_eigenvalues:
    raise errors.UserError(
      f'{base_config.PREFIX}.eval.num_products={evaluation.num_products} '
      f'cannot find {evaluation.num_eigenvalues} eigenvalues; it takes two or '
      'three times as many, and at least 20'
    )


def _check_scheduler(optimizer: config_dict.ConfigDict) -> None:
  path = f'{base_config.PREFIX}.optimizer'
  optimizers.check_schedule(path, optimizer)
  schedule = lambda step: optimizers.make_schedule(
    optimizer.lr, optimizer.scheduler, optimizer.scheduler_kwargs
  )(step)
  optimizers.try_out(path, schedule, jax.ShapeDtypeStruct((), 'int32'))


def _check_dal(dal: config_dict.ConfigDict, training_steps: int) -> None:
  if not dal.power:  # With 0 the norms are measured, and no more.
    defaults = base_config.get_base_config().experiment_kwargs.config.dal
    changed = [name for name in dal if dal[name] != defaults[name]]
    for name in changed:
      if dal.power is None or name in ('max_learning_rate', 'start', 'stop'):
        raise errors.UserError(
          f'{base_config.PREFIX}.dal.{name} has no effect with '
          f'dal.power={dal.power}'
        )
  if dal.stop is not None and dal.stop <= dal.start:
    raise errors.UserError(
      f'{base_config.PREFIX}.dal.stop={dal.stop} is not after '
      f'dal.start={dal.start}'
    )
  if dal.start and dal.start >= training_steps:
    raise errors.UserError(
      f'{base_config.PREFIX}.dal.start={dal.start} has no effect: training '
      f'ends after config.training_steps={training_steps}'
    )


def _check_net(net: config_dict.ConfigDict) -> None:
  item = fields.Field(
    f'{_SIZE.wanted}, or {nets.POOL!r}',
    lambda value: _SIZE.accepts(value) or value == nets.POOL,
  )
  argument_checks.check(
    f'{base_config.PREFIX}.net.kwargs',
    getattr(nets, net.name),
    net.kwargs.to_dict(),
    given=['num_classes'],
    by_name={
      'activation': fields.one_of(nets.ACTIVATIONS),
      'hidden_sizes': fields.list_of(_SIZE),
      'layers': fields.list_of(item),
    },
  )
