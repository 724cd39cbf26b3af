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
"""Whether a config suits the data and the devices that there are.

What a config alone can tell, `config_checks` looks at.
"""

import jax
from ml_collections import config_dict

from dd_two_player_games import evaluation_network
from dd_two_player_games import settings
from dd_two_player_games import utils
from jaxline_harness import datasets
from jaxline_harness import errors


def check_data(
  config: config_dict.ConfigDict, dataset: datasets.Dataset
) -> None:
  """Raises UserError where the config does not suit devices or data."""
  size, devices = config.training.batch_size, jax.device_count()
  field = f'config.experiment_kwargs.config.training.batch_size={size}'
  if size % devices:
    raise errors.UserError(
      f'{field} is not divisible by the number of devices, {devices}'
    )
  if size > len(dataset.examples):
    raise errors.UserError(
      f'{field} is more than the {len(dataset.examples)} examples of '
      f'{dataset.name}'
    )
  is_images = dataset.examples.ndim == 4
  processor = 'ImageProcessor' if is_images else 'PointProcessor'
  if config.data_processor != processor:
    raise errors.UserError(
      'config.experiment_kwargs.config.data_processor='
      f'{config.data_processor} does not suit {dataset.name}; set {processor}'
    )
  unbiased = config.training.estimator_fn.startswith('unbiased')
  coefficients = jax.tree.leaves(config.training.grad_regularizes.to_dict())
  if unbiased and utils.any_non_zero(coefficients) and size // devices < 2:
    raise errors.UserError(
      f'{field} leaves {size // devices} example a device, but the unbiased '
      'estimators split it in two'
    )
  if is_images and config.eval.run_image_metrics:
    _check_classifier(config, dataset)
  if not is_images:
    # Pictures at checkpoints need it; that would be late to find out.
    with errors.require_extra('plots', f'{dataset.name}: a picture of points'):
      import matplotlib  # noqa: F401, pylint: disable=g-import-not-at-top


def _check_classifier(
  config: config_dict.ConfigDict, dataset: datasets.Dataset
) -> None:
  shape = dataset.examples.shape[1:]
  wanted = evaluation_network.IMAGE_SHAPE
  is_fashion = settings.classifier_name(config) == 'fashion_mnist'
  if is_fashion and shape != wanted:
    raise errors.UserError(
      'config.experiment_kwargs.config.eval.classifier=fashion_mnist takes '
      f'images of shape {wanted}, but those of {dataset.name} have {shape}'
    )
