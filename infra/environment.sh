#!/usr/bin/env bash
# Makes the environment that every other command uses: environment.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:?the folder of the environment}
python=${PYTHON:-python3.11}

command -v "$python" >/dev/null || {
  echo "make env: no program '$python'. Install Python 3.11 (Debian: python3.11 and python3.11-venv), or name yours: make env PYTHON=/path/to/python" >&2
  exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "make env: '$python' is $("$python" --version): Seodang is built for Python 3.11" >&2
  exit 1
}
command -v cc >/dev/null || command -v gcc >/dev/null || {
  echo "make env: no C compiler 'cc'. Install one (Debian: build-essential)" >&2
  exit 1
}
"$python" -c 'import venv, ensurepip' 2>/dev/null || {
  echo "make env: '$python' has no venv module. Install it (Debian: python3.11-venv)" >&2
  exit 1
}

echo "make env: installing into $venv (about 2.5 GB; some minutes the first time)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade pip
# torch first and pinned: an unpinned one would pull gigabytes of CUDA.
"$venv/bin/python" -m pip install --quiet "torch==2.13.0"
"$venv/bin/python" -m pip install --quiet --editable ".[dev]"
# The Node example proves the contract from another language; Node itself came with the step before.
PATH="$PWD/$venv/bin:$PATH" npm ci --silent --no-audit --no-fund --prefix examples/node
echo "make env: done"
