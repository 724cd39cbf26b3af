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
"""The shipped files that start a training on a cluster."""

import pathlib
import re
import subprocess

from jaxline_harness import clusters

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLURM = ROOT / 'examples' / 'slurm.sh'
KUBERNETES = ROOT / 'examples' / 'kubernetes.yaml'


def find_cluster(command: str) -> clusters.Cluster | None:
  """What the flags of a command mean."""
  flags = dict(
    re.findall(r'--(coordinator|num_processes|process_id)=(\S+)', command)
  )
  coordinator = flags.pop('coordinator')
  numbers = {name: int(value) for name, value in flags.items()}
  return clusters.find_cluster(
    coordinator, numbers.get('num_processes'), numbers.get('process_id')
  )


def test_slurm_starts_a_task_for_each_gpu():
  subprocess.run(['bash', '-n', SLURM], check=True)
  head, commands = SLURM.read_text().split('\nexport ')
  options = dict(re.findall(r'^#SBATCH --([\w-]+)=(\S+)$', head, re.MULTILINE))
  # SLURM reads no options after the first command.
  assert '#SBATCH' not in commands
  assert all(line[:1] in ('#', '') for line in head.splitlines())
  assert options['nodes'] == '2'
  assert options['ntasks-per-node'] == options['gpus-per-node']
  # Each task would see one GPU alone, where JAX wants to choose it.
  assert not {'gpus-per-task', 'gpu-bind'} & set(options)
  (command,) = re.findall(r'^srun \./run\.sh (train .*)$', commands, re.M)
  assert '"$@"' in command
  assert find_cluster(command) == clusters.Cluster(None, None, None)


def test_kubernetes_numbers_its_pods():
  text = KUBERNETES.read_text()
  assert '\t' not in text

  def values(name):
    return re.findall(rf'^ *(?:- )?{name}: (.*)$', text, re.MULTILINE)

  service, job, container, *_ = values('name')
  assert container == 'train'
  assert values('kind') == ['Service', 'Job']
  assert values('clusterIP') == ['None']
  assert values('publishNotReadyAddresses') == ['true']
  assert values('job-name') == [job]
  assert values('subdomain') == [service]
  assert values('completionMode') == ['Indexed']
  (number,) = values('completions')
  assert values('parallelism') == [number]
  (command,) = re.findall(r'exec diffgames ((?:\S+\s+)+?)resources:', text)
  for i in range(int(number)):
    found = find_cluster(command.replace('$JOB_COMPLETION_INDEX', str(i)))
    address = f'{job}-0.{service}:12345'
    assert found == clusters.Cluster(address, int(number), i)


def test_the_page_shows_them():
  page = (ROOT / 'docs' / 'scaling.md').read_text()
  assert '\nsbatch examples/slurm.sh ' in page
  assert '\nkubectl apply -f examples/kubernetes.yaml\n' in page
