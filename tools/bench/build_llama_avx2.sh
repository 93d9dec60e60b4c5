#!/usr/bin/env bash
# Builds llama.cpp's CPU library for AVX2 alone, from the source of the pinned llama-cpp-python, and prints its path.
# Preloaded (LD_PRELOAD), it takes the place of the native one: what AVX2 code of Heddle is compared with.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${HEDDLE_CACHE:-$HOME/.cache/heddle}
library=$cache/llama.cpp-avx2/libggml-cpu.so.0
if [ ! -f "$library" ]; then
  version=$(awk '$3 == "llama-cpp-python" { print $4 }' tools/packages.txt)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  {
    "$cache/venv/bin/python" -m pip download -q --no-deps --no-binary :all: -d "$work" "llama-cpp-python==$version"
    tar -xzf "$work"/*.tar.gz -C "$work"
    cmake -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
      -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 -DBUILD_SHARED_LIBS=ON -DLLAMA_CURL=OFF \
      -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF \
      -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' \
      -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON
    cmake --build "$work/build" --target ggml-cpu
    mkdir -p "$cache/llama.cpp-avx2.new"
    cp -L "$work/build/bin/libggml-cpu.so.0" "$work/build/bin/libggml-base.so.0" "$cache/llama.cpp-avx2.new"
    mv "$cache/llama.cpp-avx2.new" "$cache/llama.cpp-avx2"
  } >&2
fi
echo "$library"
