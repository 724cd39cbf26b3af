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
# Trains, evaluates and tests; `./run.sh --help` says how. Makes dd_venv, the
# Python environment beside this file, whenever it is missing or out of date.
# Runs with bash 3.2 (macOS) too.

set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
venv="$here/dd_venv"
# Names what dd_venv holds; written only after a complete set-up.
stamp="$venv/.set_up"
default_config="$here/configs/sgd_fashion_mnist_config.py"

usage() {
  cat << 'END'
Usage:
  ./run.sh train [CONFIG] [--config.a.b=value ...]  train, or go on training
  ./run.sh eval [CONFIG] [--all] [--config.a.b=...] evaluate a checkpoint, or all
  ./run.sh sample RUN [--num=N --out=FILE.npz ...]  samples of a trained run
  ./run.sh report RUN ... [--out=FILE.html]         a page about runs
  ./run.sh test [--all] [pytest arguments]          the quick tests, or all
  ./run.sh figures [NAME ... [--size=quick ...]]    pictures under figures/
  ./run.sh sweep FILE [--jobs=N --out=DIR ...]      runs over settings and seeds
  ./run.sh docs [--out=DIR]                         the documentation as a site

CONFIG is a path, or a name in configs/ with or without _config.py; by default
sgd_fashion_mnist. Paths, also that of runs/, count from the current directory.
First use sets up dd_venv. DD_JAX=cpu|cuda|tpu chooses the JAX build; by default
it is cuda where nvidia-smi answers, else cpu.
END
}

# fail STATUS MESSAGE: one line on standard error, then the end.
fail() {
  echo "run.sh: $2" >&2
  exit "$1"
}

# Prints a Python that the project runs on, or nothing.
find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.13; do
    if "$candidate" -c 'import ensurepip, sys, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' > /dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
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

# Makes dd_venv with the JAX build $1, or brings it up to date.
set_up() {
  local jax="$1" python extra=''
  python="$(find_python)"
  [ -n "$python" ] || fail 1 'no Python 3.11, 3.12 or 3.13 with its venv '\
'module on PATH; install one (Debian, Ubuntu: apt install python3-venv).'

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
    "$python" -m venv --clear "$venv" \
      || fail 1 "could not make $venv with $python."
  fi
  case "$jax" in
    cuda) extra='jax[cuda12]' ;;
    tpu) extra='jax[tpu]' ;;
  esac
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-input -r "$here/requirements.txt" ${extra:+"$extra"} >&2 \
    || fail 1 'setting up dd_venv failed (see above); run the command again.'
  stamp_of "$jax" > "$stamp"
  trap - INT
  exec 9>&-
}

# Makes sure of dd_venv and of what the programs that follow find around them.
prepare() {
  local jax
  jax="$(wanted_jax)"
  is_set_up "$jax" || set_up "$jax"
  if [ "${DD_JAX:-}" = cpu ]; then
    export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
  fi
  export DIFFGAMES_COMMAND=./run.sh
  export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
}

# names_in FOLDER SUFFIX: the names of a folder's Python files, on one line.
names_in() {
  local file names=''
  for file in "$here/$1"/*"$2"; do
    file="$(basename "$file" "$2")"
    case "$file" in
      '*' | _*) ;;
      *) names="$names $file" ;;
    esac
  done
  echo "${names# }"
}

# Prints the path of the config that $1 names.
find_config() {
  local candidate
  for candidate in "$1" "$here/$1" "$here/configs/$1" "$here/configs/$1.py" \
    "$here/configs/$1_config.py"; do
    if [ -f "$candidate" ]; then
      echo "$(cd "$(dirname "$candidate")" && pwd -P)/$(basename "$candidate")"
      return
    fi
  done
  fail 2 "no config \"$1\"; give a path or one of: \
$(names_in configs _config.py)"
}

# run_experiment MODE [CONFIG] [flags]
run_experiment() {
  local mode="$1" config="$default_config" experiment
  shift
  case "${1--}" in
    --config | --config=*)
      fail 2 "give the config without --config=: ./run.sh $mode CONFIG" ;;
    -*) ;;
    *)
      config="$1"
      shift
      ;;
  esac
  config="$(find_config "$config")"
  [ -r "$config" ] || fail 2 "the config $config cannot be read."
  # A config of another experiment than the GANs' names its module.
  experiment="$(sed -n "s/^EXPERIMENT *= *[\"']\([A-Za-z0-9_.]*\)[\"'].*/\1/p" "$config")"
  case "${experiment:=dd_two_player_games.experiment}" in
    *.experiment) ;;
    *)
      fail 2 "$config: EXPERIMENT is \"$experiment\"; it must be a module \
that is named experiment, such as dd_two_player_games.experiment." ;;
  esac
  prepare
  # -P: modules come from this project, never from the current directory.
  exec "$venv/bin/python" -P -m "$experiment" \
    --config="$config" --jaxline_mode="$mode" "$@"
}

# run_program MODULE [arguments]
run_program() {
  local module="$1"
  shift
  prepare
  exec "$venv/bin/python" -P -m "$module" "$@"
}

# run_tests [--all] [pytest arguments]
run_tests() {
  local argument chosen='not slow'
  for argument in "$@"; do
    shift
    if [ "$argument" = --all ]; then
      chosen=''
    else
      set -- "$@" "$argument"
    fi
  done
  prepare
  cd "$here"
  # A process a core: most of the time goes to compiling, which is serial.
  exec "$venv/bin/python" -m pytest -m "$chosen" --dist=worksteal \
    --numprocesses=logical --maxprocesses=4 "$@"
}

# run_figures [NAME ... [flags of these figures]]
run_figures() {
  local name names=''
  while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
    [ -f "$here/figures/$1.py" ] \
      || fail 2 "no figure \"$1\"; give one of: $(names_in figures .py)"
    names="$names $1"
    shift
  done
  [ -n "$names" ] || [ $# -eq 0 ] \
    || fail 2 'flags belong to figures: name those that take them.'
  [ -n "$names" ] || names="$(names_in figures .py)"
  [ -n "$names" ] || fail 1 'figures/ holds no scripts.'
  prepare
  # Names of Python modules hold no spaces.
  for name in $names; do
    echo "figures/$name.py" >&2
    "$venv/bin/python" -P -m "figures.$name" "$@"
  done
}

command="${1:-}"
[ $# -eq 0 ] || shift
case "$command" in
  train | eval) run_experiment "$command" "$@" ;;
  sample | report) run_program "dd_two_player_games.$command" "$@" ;;
  sweep) run_program run_sweeps.program "$@" ;;
  docs) run_program docs.build "$@" ;;
  test) run_tests "$@" ;;
  figures) run_figures "$@" ;;
  -h | --help) usage ;;
  '')
    usage >&2
    exit 2
    ;;
  *)
    fail 2 "no command \"$command\"; give train, eval, sample, report, test, \
figures, sweep or docs." ;;
esac
