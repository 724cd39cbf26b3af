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
"""Every setting of a classification experiment, declared once.

A file in `configs/` starts from `get_base_config()` and changes what it needs.
`resolve` fills in the rest, or says in one line what is wrong.
"""

from ml_collections import config_dict

from convolutions_as_products import convolution
from jaxline_harness import configs
from jaxline_harness import errors
from jaxline_harness import optimizers
from jaxline_harness import settings
from jaxline_harness.settings import one_of
from jaxline_harness.settings import only_with
from jaxline_harness.settings import Setting
from principal_flow_instability_single_objective import nets

PREFIX = configs.PREFIX

_SIZE = settings.whole(1, settings.MAX_INT32)
_SIZE_OR_ZERO = settings.whole(0, settings.MAX_INT32)
_LAYER = settings.Field(
  f'{_SIZE.wanted}, or {nets.POOL!r}',
  lambda value: _SIZE.accepts(value) or value == nets.POOL,
)
_NET_ARGUMENTS = {
  'activation': one_of(nets.ACTIVATIONS),
  'hidden_sizes': settings.list_of(_SIZE),
  'layers': settings.list_of(_LAYER),
}
_WITH_POWER = only_with('dal.power')
_WITH_CURVATURE = only_with('eval.num_eigenvalues')


_MEASURED = (lambda c: c.dal.power is not None, 'dal.power is None')

_DAL: settings.Tree = {
  'power': Setting(
    None,
    'p of drift-adjusted learning rates, see dal.py; None: `optimizer.lr`, and '
    'nothing is measured; 0: it is.',
    settings.NOT_NEGATIVE,
  ),
  'max_learning_rate': Setting(
    5.0, 'No rate that is applied is larger.', settings.POSITIVE, _WITH_POWER
  ),
  'product': Setting(
    'exact',
    'Hessian products: exact, or differences of gradients.',
    one_of(('exact', 'finite_differences')),
    _MEASURED,
  ),
  'batch': Setting(
    'same',
    "The Hessian is that of the gradient's batch, or of all examples.",
    one_of(('same', 'full')),
    _MEASURED,
  ),
  'start': Setting(0, 'The first step with it.', _SIZE_OR_ZERO, _WITH_POWER),
  'stop': Setting(
    None, 'The first step after it without.', _SIZE_OR_ZERO, _WITH_POWER
  ),
}
_EVAL: settings.Tree = {
  'batch_size': Setting(500, 'Test examples taken at once.', _SIZE),
  'interval': Setting(
    20, 'Curvature is measured at logged steps that are multiples.', _SIZE
  ),
  'num_examples': Setting(
    1000,
    'On the first so many training examples; None: all.',
    _SIZE.or_none(),
    _WITH_CURVATURE,
  ),
  'num_eigenvalues': Setting(
    4, 'Of the Hessian; 0: only test accuracy is measured.', _SIZE_OR_ZERO
  ),
  'num_products': Setting(
    30, "Lanczos' Hessian products to find them.", _SIZE, _WITH_CURVATURE
  ),
  'drift': Setting(
    False,
    'Measures the distance of a step to the flows: as much work as hundreds '
    'of gradients; not with ReLU, nor momentum.',
  ),
}
_SETTINGS: settings.Tree = {
  'random_seed': Setting(
    0, 'Decides initial parameters and the order of the data.', settings.SEED
  ),
  'dataset': Setting(
    'fashion_mnist_10k',
    'fashion_mnist_10k (embedded), mnist, cifar10 or another name of '
    'tensorflow_datasets, or the path of an .npz with labels.',
  ),
  'data_dir': Setting(
    '', 'Where data sets lie; empty: as tensorflow_datasets.', settings.path()
  ),
  'num_test_examples': Setting(
    2000,
    'The last so many of the training split are for testing; None: the data '
    "set's own test split is.",
    _SIZE.or_none(),
  ),
  'num_train_examples': Setting(
    None, 'The first so many are for training; None: all others.', _SIZE
  ),
  'net': {
    'name': Setting('MLP', 'See nets.py.', one_of(('MLP', 'ConvNet'))),
    'kwargs': Setting({}, 'Its arguments.'),
    'convolutions': Setting(
      'fast',
      'Computed as the platform does it best, on CPUs as matrix products; or '
      'by XLA everywhere, for comparisons digit by digit.',
      one_of(convolution.IMPLEMENTATIONS),
      only_with('net.name', 'ConvNet'),
    ),
  },
  'optimizer': {
    **optimizers.declare_schedule(lr=0.05),
    'momentum': Setting(
      0.0, 'Of heavy-ball; 0: none.', settings.real(0, below=1)
    ),
  },
  'dal': _DAL,
  'training': {
    'batch_size': Setting(
      None, 'Of all devices; None: all training examples.', _SIZE
    ),
    'microbatch_size': Setting(
      None, 'What a device takes at once; None: all its share.', _SIZE
    ),
  },
  'eval': settings.change_no_step(_EVAL),
}


_CONTRADICTIONS = (
  (
    lambda c: c.dal.power is not None and not c.optimizer.lr,
    'optimizer.lr=0 does not go with dal.power={dal.power}: rates of DAL are '
    'multiples of it',
  ),
  (
    lambda c: c.dal.stop is not None and c.dal.stop <= c.dal.start,
    'dal.stop={dal.stop} is not after dal.start={dal.start}',
  ),
  (
    lambda c: c.eval.num_products < c.eval.num_eigenvalues,
    'eval.num_products={eval.num_products} cannot find {eval.num_eigenvalues} '
    'eigenvalues; it takes two or three times as many, and at least 20',
  ),
  (
    lambda c: c.eval.drift and c.net.kwargs.get('activation') == 'relu',
    "net.kwargs.activation='relu' has kinks, through which no flow can be "
    'followed; set eval.drift=False',
  ),
  (
    lambda c: c.eval.drift and c.optimizer.momentum,
    'eval.drift is of gradient descent without optimizer.momentum, to which '
    'the flows belong; set eval.drift=False',
  ),
  (
    lambda c: c.eval.drift and not c.eval.num_eigenvalues,
    'eval.drift needs eval.num_eigenvalues above 0, for the principal flow',
  ),
)


def _check(config: config_dict.ConfigDict) -> None:
  experiment = config.experiment_kwargs.config
  optimizers.check_schedule(f'{PREFIX}.optimizer', experiment.optimizer)
  settings.check_arguments(
    f'{PREFIX}.net.kwargs',
    getattr(nets, experiment.net.name),
    experiment.net.kwargs.to_dict(),
    given=['num_classes'],
    by_name=_NET_ARGUMENTS,
  )
  start = experiment.dal.start
  if start and start >= config.training_steps:
    raise errors.UserError(
      f'{PREFIX}.dal.start={start} has no effect: training ends after '
      f'config.training_steps={config.training_steps}'
    )


SCHEMA = configs.Schema(
  experiment=_SETTINGS,
  defaults={
    'training_steps': 1000,
    'log_tensors_interval': 20.0,
    'log_train_data_interval': 20.0,
    'save_checkpoint_interval': 500.0,
    'best_model_eval_metric': 'test_accuracy',
  },
  metrics={'test_accuracy': True, 'test_loss': False},
  contradictions=_CONTRADICTIONS,
  check=_check,
)
get_base_config = SCHEMA.get_base_config
resolve = SCHEMA.resolve
