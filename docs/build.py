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
"""Builds the documentation site: `./run.sh docs`.

  ./run.sh docs [--out=FOLDER]

The pages are docs/*.md; mkdocs.yml says how they become a site. What that needs
is installed once, in docs_venv beside dd_venv; from then on no network is asked
for. A link that leads nowhere, or anything else that mkdocs warns about, fails.
"""

import argparse
import hashlib
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
_REQUIREMENTS = ROOT / 'docs' / 'requirements.txt'
_ENVIRONMENT = ROOT / 'docs_venv'
# Names what the environment holds; written only after a complete set-up.
_STAMP = _ENVIRONMENT / '.set_up'


def main(arguments: list[str] | None = None) -> int:
  """Builds the site.

  Args:
    arguments: of the command line; None: those of this process.

  Returns:
    The exit status: 0, or 1 where something is missing or wrong.
  """
  parser = argparse.ArgumentParser(prog='./run.sh docs')
  parser.add_argument(
    '--out',
    type=pathlib.Path,
    default=ROOT / 'build' / 'site',
    help='where the site is put; what is there is replaced',
  )
  out = parser.parse_args(arguments).out.resolve()
  if not _set_up():
    print(
      'docs: could not install docs/requirements.txt (see above); that needs '
      'the package registry. Run the command again.',
      file=sys.stderr,
    )
    return 1
  command = ['mkdocs', 'build', '--strict', f'--site-dir={out}']
  built = subprocess.run(
    [_ENVIRONMENT / 'bin' / 'python', '-m', *command],
    cwd=ROOT,
    # mkdocs-material announces its successor at each build.
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},
    check=False,
  )
  if built.returncode:
    print('docs: the site was not built (see above).', file=sys.stderr)
    return 1
  print(
    f'Open {out / "index.html"}; its search works where it is served, as by'
  )
  print(f'{sys.executable} -m http.server --directory {out}')
  return 0


def _set_up() -> bool:
  """Makes the environment where it is missing or out of date."""
  wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
  if _STAMP.is_file() and _STAMP.read_text() == wanted:
    return True
  print('Setting up docs_venv (once; takes half a minute) ...', file=sys.stderr)
  venv.create(_ENVIRONMENT, clear=True, with_pip=True)
  pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
  installed = subprocess.run(
    [_ENVIRONMENT / 'bin' / 'python', *pip, '--no-input', '-r', _REQUIREMENTS],
    stdout=sys.stderr,
    check=False,
  )
  if installed.returncode:
    return False
  _STAMP.write_text(wanted)
  return True


if __name__ == '__main__':
  sys.exit(main())
