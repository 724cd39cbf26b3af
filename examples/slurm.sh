#!/usr/bin/env bash
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
#
# One training on two hosts with eight GPUs each:
#
#   sbatch examples/slurm.sh sgd_cifar --config.checkpoint_dir=/shared/runs/cifar
#
# from the project's folder, which all hosts must see, as they must the run's.
# The arguments are those of `./run.sh train`. The same command goes on from
# the last checkpoint.

#SBATCH --job-name=diffgames
#SBATCH --nodes=2
# JAX gives each task one of its host's GPUs: as many tasks as GPUs, and no
# option that binds GPUs to tasks.
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
# Two minutes before the end all tasks finish a chunk of steps, save and end.
#SBATCH --signal=TERM@120

# The host that makes dd_venv may have no GPU.
export DD_JAX=cuda
srun ./run.sh train "$@" --coordinator=auto
