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
"""IS and FID of each update rule on the embedded Fashion-MNIST, as a table.

Every run is the README's two commands, with the rule as an override:

  python benchmarks/compare_update_rules.py --steps=2000 --seeds=3

Runs go to `--runs`; those that are there already are not made again, so that
an interrupted comparison goes on. The figures are written to `--output`.
"""

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jaxline_harness import files  # noqa: E402

CONFIG = 'configs/sgd_fashion_mnist_config.py'
EXPERIMENT = '--config.experiment_kwargs.config'
_MULTIPLIERS = f'{EXPERIMENT}.training.grad_regularizes.dd_coeffs_multiplier'


def _interaction_terms(multiplier: float) -> list[str]:
  return [
    f'{_MULTIPLIERS}.{player}.other_dot_prod={multiplier}'
    for player in ('disc', 'gen')
  ]


def _rule(simultaneous: bool, runge_kutta: bool) -> list[str]:
  training = f'{EXPERIMENT}.training'
  return [
    f'{training}.simultaneous_updates={simultaneous}',
    f'{training}.runge_kutta_updates={runge_kutta}',
  ]


def _adam(learning_rate: float) -> list[str]:
  return [
    f'{EXPERIMENT}.optimizers.{player}.{setting}'
    for player in ('discriminator', 'generator')
    for setting in (
      'name=adam',
      f'lr={learning_rate}',
      'kwargs.b1=0.5',
      'kwargs.b2=0.999',
    )
  ]


# The config itself cancels the interaction terms of simultaneous descent.
RULES = {
  'SGD, simultaneous': _interaction_terms(0.0),
  'SGD, interaction terms cancelled': [],
  'SGD, cancelled, self terms strengthened': [
    f'{_MULTIPLIERS}.{player}.self_norm=1.0' for player in ('disc', 'gen')
  ],
  'SGD, alternating': [*_interaction_terms(0.0), *_rule(False, False)],
  'Runge-Kutta 4': [*_interaction_terms(0.0), *_rule(False, True)],
  'Adam, alternating': [
    *_interaction_terms(0.0),
    *_rule(False, False),
    *_adam(1e-3),
  ],
}


def run(
  name: str, overrides: list[str], steps: int, seed: int, runs: pathlib.Path
) -> dict:
  """Trains and evaluates one run, unless its figures are there already.

  Returns:
    The figures; without `FID` where training did not reach the last step.
  """
  slug = ''.join(c if c.isalnum() else '_' for c in name.lower())
  folder = runs / f'{slug}_{steps}_{seed}'
  result_file = folder / 'result.json'
  command = [
    sys.executable,
    '-m',
    'dd_two_player_games.experiment',
    f'--config={CONFIG}',
    f'--config.checkpoint_dir={folder}',
    f'--config.training_steps={steps}',
    f'--config.save_checkpoint_interval={steps}',
    f'{EXPERIMENT}.random_seed={seed}',
    *overrides,
  ]
  if result_file.exists():
    result = json.loads(result_file.read_text())
    if result['overrides'] == overrides:
      return result
    raise RuntimeError(f'{folder} is of other settings: remove it.')
  folder.mkdir(parents=True, exist_ok=True)
  result = {'rule': name, 'overrides': overrides, 'seed': seed, 'steps': steps}
  with open(folder / 'log.txt', 'w') as log:
    train = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log)
    if train.returncode == 0:
      evaluation = [*command, '--jaxline_mode=eval']
      subprocess.run(evaluation, cwd=ROOT, stdout=log, stderr=log, check=True)
      metrics = json.loads(
        (folder / 'eval' / f'metrics_{steps:08d}.json').read_text()
      )
      result.update(metrics)
  if train.returncode:
    last_line = (folder / 'log.txt').read_text().splitlines()[-1]
    if not last_line.startswith('error: step '):  # Else training diverged.
      raise RuntimeError(f'{name}, seed {seed}: see {folder / "log.txt"}')
    result['failure'] = last_line
  files.write_atomically(str(result_file), json.dumps(result, indent=2))
  print(f'{name}, seed {seed}: {_shown(result)}', flush=True)
  return result


def _shown(result: dict) -> str:
  if 'FID' not in result:
    return result['failure']
  return f'FID {result["FID"]:.2f}, IS {result["IS_mean"]:.2f}'


def table(results: list[dict]) -> str:
  """A markdown table: means and standard deviations over seeds."""
  lines = [
    '| update rule | FID (lower is better) | IS (higher is better) | runs |',
    '|---|---|---|---|',
  ]
  for name in RULES:
    of_rule = [r for r in results if r['rule'] == name]
    whole = [r for r in of_rule if np.isfinite(r.get('FID', np.nan))]
    fid, score = (
      _mean_and_spread([r[key] for r in whole]) for key in ('FID', 'IS_mean')
    )
    runs = f'{len(whole)} of {len(of_rule)}'
    lines.append(f'| {name} | {fid} | {score} | {runs} |')
  return '\n'.join(lines)


def _mean_and_spread(values: list[float]) -> str:
  if not values:
    return '–'
  return f'{np.mean(values):.2f} ± {np.std(values):.2f}'


def main() -> None:
  """Reads the command line, makes the runs that are missing, prints all."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--steps', type=int, default=2000)
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--jobs', type=int, default=2, help='runs at once')
  parser.add_argument('--runs', type=pathlib.Path, default='runs/compare')
  parser.add_argument(
    '--output', type=pathlib.Path, default='docs/update_rules.json'
  )
  args = parser.parse_args()
  # Seeds outermost: an interrupted comparison has whole seeds.
  jobs = [
    (name, overrides, args.steps, seed, args.runs.resolve())
    for seed in range(args.seeds)
    for name, overrides in RULES.items()
  ]
  start = time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
    results = list(pool.map(lambda job: run(*job), jobs))
  report.write(args.output, start, results)
  print(table(results))


if __name__ == '__main__':
  main()
