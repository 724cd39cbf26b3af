#!/usr/bin/env bash
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
#
# Runs the command of this project, diffgames; `./run.sh --help` says what it
# does. Makes dd_venv, the Python environment beside this file, whenever it is
# missing or out of date: by uv where there is one, else by venv and pip.
# Runs with bash 3.2 (macOS) too.

set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
venv="$here/dd_venv"
# Names what dd_venv holds; written only after a complete set-up.
stamp="$venv/.set_up"
# The status with which diffgames --check says that there is a program to run.
can_run=3

# fail STATUS MESSAGE: one line on standard error, then the end.
fail() {
  echo "run.sh: $2" >&2
  exit "$1"
}

has_uv() {
  uv --version > /dev/null 2>&1
}

# Prints a Python that the project runs on, or nothing.
find_python() {
  local candidate wanted='>=3.11,<3.14'
  for candidate in python3 python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' > /dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  # uv knows where others are, and where to get one.
  if has_uv; then
    uv python find "$wanted" 2> /dev/null \
      || { uv python install 3.13 >&2 && uv python find "$wanted"; } || true
  fi
}

# Prints the JAX build asked for. The CPU build is part of every other one.
wanted_jax() {
  case "${DD_JAX:-}" in
    cpu | cuda | tpu) echo "$DD_JAX" ;;
    '') if nvidia-smi > /dev/null 2>&1; then echo cuda; else echo cpu; fi ;;
    *) fail 2 "DD_JAX is \"$DD_JAX\"; it must be cpu, cuda or tpu." ;;
  esac
}

# The stamp that an up-to-date dd_venv with the JAX build $1 has.
stamp_of() {
  echo "jax[$1] $(cksum < "$here/requirements.txt")"
}

# Whether dd_venv is complete, up to date, and has the JAX build $1.
is_set_up() {
  [ -x "$venv/bin/python" ] && [ -f "$stamp" ] || return 1
  local found
  found="$(cat "$stamp")"
  case "$found" in
    "$(stamp_of cuda)" | "$(stamp_of tpu)")
      [ "$1" = cpu ] || [ "$found" = "$(stamp_of "$1")" ] ;;
    "$(stamp_of cpu)") [ "$1" = cpu ] ;;
    *) return 1 ;;
  esac
}

# Makes an empty dd_venv that has pip, with the Python $1.
make_venv() {
  if has_uv; then
    uv venv --quiet --no-project --clear --seed --python "$1" "$venv" \
      && return
    echo 'uv cannot; trying without ...' >&2
  fi
  "$1" -m venv --clear "$venv" || fail 1 "could not make $venv with $1."
}

# Installs into dd_venv: the arguments are pip's.
install() {
  if has_uv; then
    uv pip install --quiet --compile-bytecode --python "$venv/bin/python" "$@" \
      && return
    echo 'uv cannot; trying pip ...' >&2
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-input "$@" >&2 \
    || fail 1 'setting up dd_venv failed (see above); run the command again.'
}

# Makes dd_venv by the Python $1 with the JAX build $2, or brings it up to date.
set_up() {
  local python="$1" jax="$2" extra=''
  # The lock belongs to file descriptor 9, which this shell keeps open: the
  # system drops it when the set-up ends, however it ends.
  exec 9> "$here/.dd_venv.lock"
  "$python" -c 'import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
  fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
  print("Waiting for another set-up of dd_venv ...", file=sys.stderr)
  fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
  pass  # A file system without locks: go on without.'
  if is_set_up "$jax"; then
    exec 9>&-
    return
  fi

  trap 'exit 130' INT
  if [ -x "$venv/bin/python" ] && [ -f "$stamp" ]; then
    echo 'Bringing dd_venv up to date ...' >&2
    # Going from one accelerator to the CPU takes nothing away.
    if [ "$jax" = cpu ]; then
      jax="$(sed -n 's/^jax\[\(.*\)\].*/\1/p' "$stamp")"
    fi
    rm -f "$stamp"
  else
    echo 'Setting up dd_venv (once; takes a few minutes) ...' >&2
    make_venv "$python"
  fi
  case "$jax" in
    cuda) extra='jax[cuda12]' ;;
    tpu) extra='jax[tpu]' ;;
  esac
  install -r "$here/requirements.txt" ${extra:+"$extra"}
  stamp_of "$jax" > "$stamp"
  trap - INT
  exec 9>&-
}

jax="$(wanted_jax)"
export DIFFGAMES_COMMAND=./run.sh
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
if ! is_set_up "$jax"; then
  python="$(find_python)"
  [ -n "$python" ] || fail 1 'no Python 3.11, 3.12 or 3.13 with its venv '\
'module on PATH; install one (Debian, Ubuntu: apt install python3-venv).'
  # Help and mistakes need nothing installed.
  status=0
  "$python" -P -m diffgames --check "$@" || status=$?
  [ "$status" -eq "$can_run" ] || exit "$status"
  set_up "$python" "$jax"
fi
if [ "${DD_JAX:-}" = cpu ]; then
  export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
fi
# -P: modules come from this project, never from the current directory.
exec "$venv/bin/python" -P -m diffgames "$@"
