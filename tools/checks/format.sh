#!/usr/bin/env bash
# Checks the layout of the C and C++ files that the working tree or the last commit changes; --all checks every file.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v clang-format-19 >/dev/null || { echo "clang-format-19 is not installed"; exit 77; }
git() { command git -c safe.directory="$PWD" "$@"; }
list() {
  if [ "${1:-}" = --all ]; then git ls-files; else
    git diff --name-only HEAD
    git diff --name-only HEAD~1 HEAD 2>/dev/null || git ls-files # a shallow clone has no parent
  fi
}
# No such file, or none that differs, is no failure: grep says so with 1.
list "$@" | sort -u | { grep -E '\.(c|cpp|h)$' || true; } | while read -r file; do
  [ -f "$file" ] && printf '%s\0' "$file"
done | xargs -0 -r clang-format-19 --dry-run -Werror 2>&1 | { grep -E 'error:' || true; } | cut -d: -f1 | sort | uniq -c |
  awk '{ print $2 ": " $1 " places differ from .clang-format; run clang-format-19 -i " $2; found = 1 } END { exit found }'
