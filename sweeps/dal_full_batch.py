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
"""Drift-adjusted against fixed learning rates, full batch of 1,000 images."""

from run_sweeps import declaration

SWEEP = declaration.Sweep(
  config='dal_fashion_mnist',
  overrides={
    'training_steps': 500,
    'eval.drift': False,
    'eval.interval': 500,
    'eval.num_eigenvalues': 1,
    'eval.num_products': 15,
    'eval.num_examples': 250,
  },
  axes={
    'method': {
      **{
        f'DAL-{power:g}': {'dal.power': power}
        for power in (1.0, 0.75, 0.5, 0.25)
      },
      **{
        f'fixed rate, {rate:g}': {'optimizer.lr': rate}
        for rate in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
      },
    },
  },
  seeds=range(5),
  metrics={
    'train_loss': False,
    'test_loss': False,
    'test_accuracy': True,
    'lambda_0': False,
  },
)
