#!/usr/bin/env bash
# Checks the layout of all C and C++ files.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v clang-format-19 >/dev/null || { echo "clang-format-19 is not installed"; exit 77; }
git -c safe.directory="$PWD" ls-files -z '*.c' '*.cpp' '*.h' | xargs -0 -P "$(nproc)" -n 40 sh -c '
  for file; do
    [ ! -f "$file" ] || clang-format-19 --dry-run -Werror "$file" 2>/dev/null ||
      { echo "$file: differs from .clang-format; run clang-format-19 -i $file"; problems=1; }
  done
  exit ${problems:-0}' sh
