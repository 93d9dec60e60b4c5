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
problems=0
for file in $(list "$@" | sort -u); do
  case $file in *.c | *.cpp | *.h) ;; *) continue ;; esac
  [ -f "$file" ] || continue
  clang-format-19 --dry-run -Werror "$file" 2>/dev/null ||
    { echo "$file: differs from .clang-format; run clang-format-19 -i $file"; problems=1; }
done
exit $problems
