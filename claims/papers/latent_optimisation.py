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
"""Wu et al., "LOGAN: Latent Optimisation for Generative Adversarial Nets"."""

from claims import declaration
from claims import rules
from claims.measurements import latents

_PAPER = 'LOGAN (Wu et al., 2019)'
_ADDED = declaration.Measurement(
  'logan_and_sga', latents.measure_latent_optimisation, ['when'], 0.6
)
_MIXTURE = declaration.Sweeps({'small': declaration.File('logan_mixture', 25)})

CLAIMS = (
  declaration.Claim(
    name='logan_approximates_sga',
    paper=_PAPER,
    statement=(
      'What latent optimisation adds to the gradients points the way of what '
      'SGA adds.'
    ),
    source=_ADDED,
    rules=[
      rules.Within(
        f'{player}, {when}: cosine',
        *(f'{player}_cosine', 0.5, 1.0),
        where={'when': when},
      )
      for when in ('at the start', 'after 500 steps')
      for player in ('discriminator', 'generator')
    ],
  ),
  declaration.Claim(
    name='logan_helps',
    paper=_PAPER,
    statement=(
      'Latent optimisation improves a GAN, at equal steps and at equal time.'
    ),
    source=_MIXTURE,
    rules=[
      rules.Better('LOGAN', other, 'modes_covered', 1.0)
      for other in ('none', 'as long without')
    ],
    note=(
      '[`gan_games.md`](gan_games.md) has one seed, where both cover three '
      'modes: one seed is not a verdict.'
    ),
  ),
)
