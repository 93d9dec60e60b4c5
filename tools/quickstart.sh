#!/usr/bin/env bash
# From a fresh Debian 12 machine to generated text: installs packages, builds, obtains SmolLM2-135M-Instruct, compiles
# it and runs it. An argument replaces the prompt. Run again, it starts in seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-"Explain in two sentences what a loom does."}
tools/setup.sh run
tools/build.sh heddle_tool
model=${HEDDLE_CACHE:-$HOME/.cache/heddle}/models/SmolLM2-135M-Instruct.Q4_1.gguf
artifact=build/SmolLM2-135M-Instruct.Q4_1.heddle
# A new compiler makes a new artifact.
if [ ! -f "$artifact" ] || [ build/lib/libHeddleCompiler.so -nt "$artifact" ] || [ "$model" -nt "$artifact" ]; then
  (set -x; build/bin/heddle compile "$model" -o "$artifact")
fi
(set -x; build/bin/heddle run "$artifact" --chat --prompt "$prompt" --max-tokens 80)
