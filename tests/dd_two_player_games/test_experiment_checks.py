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
"""What data and devices do not allow; see also test_experiment.py."""

import jax
import numpy as np
import pytest

from dd_two_player_games import base_config
from dd_two_player_games import config_checks
from jaxline_harness import datasets
from jaxline_harness import errors


def make_config(**evaluation):
  config = base_config.get_base_config().experiment_kwargs.config
  config.eval.update(evaluation)
  config.training.batch_size = jax.device_count()
  return config


def images(*shape):
  return datasets.Dataset(
    np.zeros((16, *shape), np.uint8), None, 'some', 'made'
  )


def test_classifier_of_other_images():
  config = make_config(classifier='fashion_mnist')
  config_checks.check_data(config, images(28, 28, 1))
  with pytest.raises(errors.UserError) as caught:
    config_checks.check_data(config, images(32, 32, 3))
  assert str(caught.value) == (
    'config.experiment_kwargs.config.eval.classifier=fashion_mnist takes '
    'images of shape (28, 28, 1), but those of some have (32, 32, 3)'
  )
  settings = {'classifier': 'inception', 'inception_path': '/no/weights.npz'}
  with pytest.raises(errors.UserError, match='inception_path: /no/weights.npz'):
    config_checks.check_data(make_config(**settings), images(32, 32, 3))
  # Where nothing is measured, or by Inception, any will do.
  for settings in ({'run_image_metrics': False}, {'classifier': 'inception'}):
    config = make_config(**{'classifier': 'fashion_mnist'} | settings)
    config_checks.check_data(config, images(32, 32, 3))
