#!/usr/bin/env bash
# Writes libs/seodang/api from protos/: run it after each change of the contract, and commit what it writes.
# With --check it writes nothing, and fails if the committed stubs differ.
set -euo pipefail
cd "$(dirname "$0")/.."
out=libs
if [ "${1:-}" = "--check" ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out"
find "$out/seodang/api" -name '*_pb2*' -delete 2>/dev/null || true
python -m grpc_tools.protoc --proto_path=protos \
  --python_out="$out" --mypy_out="quiet:$out" --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" \
  $(find protos -name '*.proto' | LC_ALL=C sort)
# A file without a service has an empty service stub: it would only mislead.
find "$out/seodang/api" -name '*_pb2_grpc.py' -exec sh -c 'grep -q "class .*Stub" "$1" || rm -f "$1" "${1}i"' _ {} \;
if [ "$out" != libs ] && ! diff -r -q --exclude=__pycache__ "$out/seodang/api" libs/seodang/api; then
  echo "libs/seodang/api is not what protos/ generates: run 'make gen' and commit the result" >&2
  exit 1
fi
