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
"""What the figures of the principal flow show, at a small size."""

import json

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.sparse import linalg

from figures import _output
from figures import _principal_flow_training as training
from figures import principal_flow
from jaxline_harness import datasets
from principal_flow_instability_single_objective import base_config
from principal_flow_instability_single_objective import descent
from principal_flow_instability_single_objective import experiment


@pytest.mark.slow
def test_drift_of_a_network_shrinks_by_the_flow_s_order():
  """In lengths of a step: halved with h, and quartered."""
  with jax.enable_x64(True):
    loss, params = descent.make_small_network()
    for name, factor in {'gradient flow': 2, 'IGR flow': 4}.items():
      drifts = [
        descent.measure_drift(name, loss, params, h) for h in (0.1, 0.05)
      ]
      np.testing.assert_allclose(drifts[0] / drifts[1], factor, rtol=0.1)


def test_what_is_refused(capsys):
  with pytest.raises(SystemExit):
    principal_flow.main(['--only', 'quadratic'])
  message = "invalid choice: 'quadratic' (choose from "
  assert message in capsys.readouterr().err


def first_curvature_and_loss():
  """Of the figure's network: λ₀ by ARPACK from the loss written out anew."""
  config = base_config.get_base_config().unlock()
  config.experiment_kwargs.config = training.FULL_BATCH
  config = base_config.resolve(config).experiment_kwargs.config
  params = experiment.Experiment('train', None, config).initial_train_state()
  dataset = datasets.load('fashion_mnist_10k')
  images = dataset.examples[:1000].reshape(1000, -1) / np.float32(127.5) - 1
  labels = dataset.labels[:1000]
  flat, unravel = ravel_pytree(params.params)

  def loss(x):
    layers = sorted(unravel(x).items())
    hidden = images
    for _, layer in layers[:-1]:
      hidden = jnp.tanh(hidden @ layer['w'] + layer['b'])
    logits = hidden @ layers[-1][1]['w'] + layers[-1][1]['b']
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, labels
    ).mean()

  product = jax.jit(lambda v: jax.jvp(jax.grad(loss), (flat,), (v,))[1])
  hessian = linalg.LinearOperator(
    (flat.size, flat.size), lambda v: product(v.ravel()), dtype=np.float32
  )
  (largest,) = linalg.eigsh(
    hessian, 1, which='LA', v0=np.ones(flat.size), return_eigenvectors=False
  )
  return largest, loss(flat)


@pytest.mark.slow
def test_figures(tmp_path, monkeypatch):
  monkeypatch.setattr(_output, 'FOLDER', tmp_path)
  principal_flow.main(['--size=quick'])
  results = {}
  for name in principal_flow.DRAWINGS:
    picture = tmp_path / f'principal_flow_{name}.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    results[name] = json.loads(picture.with_suffix('.json').read_text())

  for case in results['quadratics']:
    apart = case['largest_distance_to_descent']
    assert apart['principal flow'] < 1e-8
    assert min(apart['gradient flow'], apart['IGR flow']) > 0.25
  for case in results['nonlinear']['banana']:
    apart = case['distance']
    assert apart['principal flow'][1] < 0.1 * apart['gradient flow'][1]
  (edge,) = results['edge_of_stability']
  assert edge['step'] == [0, 10, 20]
  largest, loss = first_curvature_and_loss()
  np.testing.assert_allclose(edge['lambda_0'][0], largest, rtol=1e-4)
  np.testing.assert_allclose(edge['train_loss'][0], loss, rtol=1e-5)
  for methods in results['dal'].values():
    for row in methods.values():
      assert np.isfinite(row['train_loss'] + row['lambda_0']).all()
