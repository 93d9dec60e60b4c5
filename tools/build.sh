#!/usr/bin/env bash
# Builds everything (or the targets named) into build/ with the default CMake preset. Quiet unless something fails.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }
[ -f build/build.ninja ] || quietly cmake --preset default
if [ -t 2 ]; then cmake --build --preset default ${1:+--target "$@"} >&2; else
  quietly cmake --build --preset default ${1:+--target "$@"}
fi
