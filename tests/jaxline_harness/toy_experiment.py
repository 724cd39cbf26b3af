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
"""A tiny experiment: noisy gradient descent on a quadratic, a few floats."""

if __name__ == '__main__':  # Before the imports, which take seconds.
  from jaxline_harness import startup

  startup.begin()

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxline_harness import configs
from jaxline_harness import device_mesh
from jaxline_harness import launch
from jaxline_harness import settings
from jaxline_harness import train_loop
from jaxline_harness.settings import REAL
from jaxline_harness.settings import Setting


class TrainState(NamedTuple):
  params: dict[str, Any]
  momentum: dict[str, Any]
  global_step: Any
  back_offs: Any


class Experiment(train_loop.ChunkedExperiment):
  """Every step draws noise from its number, so no two steps are alike."""

  def __init__(self, mode, init_rng=None, config=None):
    super().__init__(mode=mode, init_rng=init_rng)
    self.config = config
    self.max_back_offs = config.max_back_offs

  def initial_train_state(self):
    params = {'w': jnp.arange(self.config.size, dtype=jnp.float32)}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(params, jax.tree.map(jnp.zeros_like, params), zero, zero)

  def device_data(self):
    return np.linspace(-1.0, 1.0, 64, dtype=np.float32)

  def update(self, train_state, data):
    key = jax.random.fold_in(
      jax.random.PRNGKey(self.config.seed), train_state.global_step
    )
    key = jax.random.fold_in(key, jax.lax.axis_index('i'))
    w = train_state.params['w']
    targets = data[jax.random.randint(key, w.shape, 0, data.size)]
    loss, grad = jax.value_and_grad(lambda w: jnp.mean((w - targets) ** 2))(w)
    loss, grad = jax.lax.pmean((loss, grad), 'i')
    momentum = 0.9 * train_state.momentum['w'] + grad
    step = train_state.global_step + 1
    # Cured by so many back-offs.
    tempted = train_state.back_offs < self.config.cured_by
    logs = {
      'toy_loss': jnp.where(
        tempted & (step == self.config.nan_loss_at), jnp.nan, loss
      ),
      'drawn': jnp.asarray(step, jnp.float32),
    }
    w = w - self.config.lr * 0.5**train_state.back_offs * momentum
    w = jnp.where(tempted & (step == self.config.nan_state_at), jnp.nan, w)
    return TrainState(
      {'w': w}, {'w': momentum}, step, train_state.back_offs
    ), logs

  def examine(self, train_state, data):
    del data
    step = train_state.global_step + 1
    return {
      'noise': jnp.bool_(True),
      'momentum': step != self.config.nan_state_at,
    }

  def write_samples(self, writer, global_step):
    w = device_mesh.unreplicate(self.train_state.params['w'])
    image = np.clip(w * 64 + 128, 0, 255).astype(np.uint8)[None]
    writer.write_samples(global_step, image)

  def evaluate(self, *, global_step, rng, writer):
    del rng
    w = device_mesh.unreplicate(self.train_state.params['w'])
    score = {'score': float(np.sum(w)), 'spread': float(np.std(w))}
    step = int(np.ravel(global_step)[0])
    writer.write_json(f'eval/metrics_{step}.json', score)
    writer.write_images(step, {'w': np.zeros((2, 4, 4, 1), np.uint8)})
    return score


SCHEMA = configs.Schema(
  experiment={
    'seed': Setting(0, 'Of the targets.', settings.SEED),
    'lr': Setting(0.01, 'Learning rate.'),
    'size': Setting(3, 'Number of parameters.'),
    'nan_loss_at': Setting(-1, 'Step at which the loss is NaN.', REAL),
    'nan_state_at': Setting(-1, 'Step at which a parameter is NaN.', REAL),
    'cured_by': Setting(1000, 'Back-offs after which neither is.'),
    'max_back_offs': Setting(0, 'At most so many.', REAL),
    'extra': Setting(None, 'Anything.'),
    'sizes': Setting([1, 2], 'A list.', settings.list_of(settings.SIZE)),
    'net_kwargs': Setting({}, 'Arguments.', settings.mapping().or_none()),
    'training': {
      'on_nonfinite': Setting('stop', 'May change.', changes_no_step=True)
    },
    'eval': {'samples': Setting(7, 'Had no use.', changes_no_step=True)},
  },
  defaults={
    'training_steps': 20,
    'log_tensors_interval': 5,
    'log_train_data_interval': 5,
    'save_checkpoint_interval': 10,
    'best_model_eval_metric': 'score',
  },
)


def get_config():
  return SCHEMA.get_base_config()


if __name__ == '__main__':
  launch.main(lambda: Experiment, SCHEMA)
