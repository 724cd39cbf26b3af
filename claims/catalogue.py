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
"""All claims, in the order of the page."""

from collections.abc import Sequence

from claims import declaration
from claims.papers import discretization_drift
from claims.papers import eigengame
from claims.papers import latent_optimisation
from claims.papers import ode_gan
from claims.papers import principal_flow
from claims.papers import symplectic_adjustment
from jaxline_harness import errors
from jaxline_harness import settings

CLAIMS: tuple[declaration.Claim, ...] = (
  *discretization_drift.CLAIMS,
  *symplectic_adjustment.CLAIMS,
  *latent_optimisation.CLAIMS,
  *ode_gan.CLAIMS,
  *eigengame.CLAIMS,
  *principal_flow.CLAIMS,
)


def find_claims(names: Sequence[str]) -> list[declaration.Claim]:
  """The claims of these names; all where there are none.

  Args:
    names: of claims.

  Returns:
    The claims, in the order of the page.

  Raises:
    errors.UserError: for a name that is none.
  """
  known = [claim.name for claim in CLAIMS]
  for name in names:
    if name not in known:
      raise errors.UserError(
        f'there is no claim {settings.show(name)}'
        f'{errors.did_you_mean(name, known) or "; --dry-run lists all"}'
      )
  return [claim for claim in CLAIMS if not names or claim.name in names]
