#!/usr/bin/env bash
# Names system programs that a command needs and does not find, with the package that holds them: require.sh COMMAND
# As root on Debian it installs them instead of only naming them.
set -euo pipefail
# The environment brings some of them as Python packages.
PATH="$(dirname "$0")/../.venv/bin:$PATH"

# program, Debian package, commands that need it
needs=(
  "git git test"
  "node nodejs test"
  "npm npm test"
  "chromium chromium test"
)

missing=()
for need in "${needs[@]}"; do
  read -r program package commands <<<"$need"
  [[ " $commands " == *" ${1:?demo, up or test} "* ]] || continue
  command -v "$program" >/dev/null || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "make $1: installing ${missing[*]}"
  if apt-get update -qq >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null 2>&1; then
    exit 0
  fi
fi
echo "make $1: missing ${missing[*]}: install with 'apt-get install ${missing[*]}'. What needs it is skipped." >&2
