#!/usr/bin/env bash
# Measures everything that docs/performance.md states: accuracy, speed of text models, embeddings, busy neighbours,
# compile time.
# Figures go to build/bench/*.json and into that page, tables to stdout. Run it on a machine that does nothing else.
#
#   tools/bench/run.sh [--quick]      --quick: fewer rounds
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=9
[ "${1:-}" = --quick ] && rounds=3
tools/setup.sh bench
tools/build.sh
export HEDDLE_BUILD=$PWD/build
python=${HEDDLE_CACHE:-$HOME/.cache/heddle}/venv/bin/python
measure() { # NAME SCRIPT ARGUMENTS...
  printf '\n== %s\n' "$1"
  "$python" "tools/bench/$2" --json "build/bench/$1.json" "${@:3}"
}
measure accuracy accuracy_kl.py
measure accuracy-precise accuracy_kl.py --flags=--precise
measure speed compare_llama.py --rounds "$rounds"
avx2=$(tools/bench/build_llama_avx2.sh)
LD_PRELOAD=$avx2 measure speed-avx2 compare_llama.py --rounds "$rounds" --cpu x86-64-v3
measure embeddings minilm.py --rounds "$rounds"
measure neighbours neighbours.py
measure compile compile_time.py
tools/bench/report.py
