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
# The command diffgames on NVIDIA GPUs, whose driver is the host's:
#
#   docker build --tag diffgames .
#   docker run --gpus all --volume "$PWD/runs:/home/user/games/runs" diffgames train cifar
#
# runs/ must be there, and belong to user 1000.

FROM python:3.12-slim-bookworm

# JAX's wheels bring CUDA itself.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY . /src
# In the versions that were tested.
RUN pip install --no-cache-dir --constraint /src/requirements.txt \
    '/src[gan,eigengame,principal_flow,plots,cuda12]' \
  && useradd --uid 1000 --create-home user \
  && install --directory --owner=user /home/user/games

USER 1000
WORKDIR /home/user/games
ENTRYPOINT ["diffgames"]
CMD ["--help"]
