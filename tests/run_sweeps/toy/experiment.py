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
"""An experiment with the command line of the real ones, and their manners.

Training counts to `training_steps` and keeps the count in `checkpoint` and all
counts ever made in `steps`. A rate above 1 diverges at step 3, one of 0
crashes, and one of 0.5 is killed at step 2, once.
"""

import os
import signal
import sys
import time

from jaxline_harness import flags
from jaxline_harness import run_directory
from jaxline_harness import run_lock
from tests.run_sweeps.toy import base_config


def train(config) -> int:
  """Trains; returns the exit status."""
  path = os.path.join(config.checkpoint_dir, 'checkpoint')
  step = int(open(path).read()) if os.path.exists(path) else 0
  told: list[int] = []
  for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, lambda number, _: told.append(number))
  settings = config.experiment_kwargs.config
  while step < config.training_steps and not told:
    time.sleep(settings.seconds_a_step)
    step += 1
    if settings.rates.one.lr > 1 and step == 3:
      print('error: step 3: not finite: loss; see there', file=sys.stderr)
      return 1
    if settings.rates.one.lr == 0:
      raise ZeroDivisionError('the rate is 0')
    with open(os.path.join(config.checkpoint_dir, 'steps'), 'a') as file:
      file.write(f'{step} ')
    with open(path, 'w') as file:
      file.write(str(step))
    if settings.rates.one.lr == 0.5 and step == 2:
      os.kill(os.getpid(), signal.SIGKILL)
  return 128 + told[0] if told else 0


def evaluate(config) -> int:
  """Measures what training has left."""
  settings = config.experiment_kwargs.config
  score = settings.rates.one.lr + settings.random_seed
  writer = run_directory.Writer(config.checkpoint_dir, 'eval')
  writer._table.write(  # Events take seconds to import.
    config.training_steps,
    {'score': str(score), 'distance': str(-score), 'third': '1.0'},
  )
  return 0


def main() -> None:
  config, mode, *_ = flags.parse(sys.argv, base_config.SCHEMA)
  if mode == 'eval':
    sys.exit(evaluate(config))
  with run_lock.locked(config.checkpoint_dir):
    status = train(config)
  sys.exit(status)


if __name__ == '__main__':
  main()
