#!/bin/sh
# Fails when what an embedder's C program maps of Heddle, which is libheddle, has more than 45,000 bytes stripped.
# Builds the runtime alone, with the system's own compiler as an embedder would: tools/checks/runtime_size.sh [BUILD] uses BUILD/runtime-size.
set -eu
limit=45000
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:+$1/runtime-size}
build=${build:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$build"' EXIT
cmake -S "$root/runtime" -B "$build" -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ >/dev/null
cmake --build "$build" --target heddle >/dev/null
cc=gcc
$cc -std=c11 "$root/test/e2e/embedding/example.c" -I"$root/runtime/include" -L"$build" -lheddle -o "$build/example"
total=0
for library in $(LD_LIBRARY_PATH=$build ldd "$build/example" | awk '$2 == "=>" { print $3 }'); do
  case $library in
  */libc.so.*) continue ;;
  esac
  strip -o "$build/stripped" "$library"
  size=$(wc -c <"$build/stripped")
  echo "$size bytes  $(basename "$library")"
  total=$((total + size))
done
if [ "$total" -eq 0 ] || [ "$total" -gt "$limit" ]; then
  echo "expected the example to map 1 to $limit bytes of libraries besides libc, but found $total" >&2
  exit 1
fi
