#!/usr/bin/env bash
# Sets up what is missing, builds, and runs every test. The last line is `N passed, N failed, N skipped`.
# Arguments go to tools/run_tests.py, for example: tools/test.sh --only passes
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh test
tools/build.sh
exec "${HEDDLE_CACHE:-$HOME/.cache/heddle}/venv/bin/python" tools/run_tests.py --build build "$@"
