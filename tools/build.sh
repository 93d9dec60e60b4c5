#!/usr/bin/env bash
# Builds into build/ with the default CMake preset: everything, or with targets named only those, and then without the
# tests and what they need. Quiet unless something fails.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }
if [ $# -gt 0 ]; then
  [ -f build/build.ninja ] || quietly cmake --preset default -DHEDDLE_BUILD_TESTS=OFF
elif [ ! -f build/build.ninja ] || grep -q '^HEDDLE_BUILD_TESTS:BOOL=OFF' build/CMakeCache.txt; then
  quietly cmake --preset default -DHEDDLE_BUILD_TESTS=ON
fi
if [ -t 2 ]; then cmake --build --preset default ${1:+--target "$@"} >&2; else
  quietly cmake --build --preset default ${1:+--target "$@"}
fi
