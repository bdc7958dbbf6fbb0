#!/usr/bin/env bash
# Everything about the code that can be judged without running the product: check.sh BIN-FOLDER
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/${1:?the bin folder of the environment}:$PATH"
failed=()

step() {
  local name=$1 start=$SECONDS
  shift
  if output=$("$@" 2>&1); then
    printf '  ok    %-22s %3d s\n' "$name" $((SECONDS - start))
  else
    printf '  FAIL  %-22s %3d s\n%s\n' "$name" $((SECONDS - start)) "$output"
    failed+=("$name")
  fi
}

step "format" ruff format --check --quiet .
step "lint" ruff check --quiet .
step "contract lint" buf lint
step "contract format" buf format --diff --exit-code
step "stub drift" infra/generate_stubs.sh --check
step "types" mypy
step "import direction" lint-imports --no-cache
step "policies" python -m pytest -q -x tests/policy

if [ ${#failed[@]} -gt 0 ]; then
  echo "make check: failed: ${failed[*]}"
  exit 1
fi
echo "make check: all is well"
