// Tells perf and gdb the kernels' names, when the embedder asks for it.
#pragma once
#include "drivers/cpu/Image.h"

namespace heddle::runtime {

/// What gdb knows of an image; zero: nothing.
struct DebugSymbols {
  void *entry = nullptr;
  void *copy = nullptr;
  uint64_t size = 0;
};

/// Appends the functions' names and addresses to /tmp/perf-PID.map.
void writePerfMap(const heddle_program &program, uint32_t code, const Image &image);
/// Registers a copy of the image, moved to its address, with gdb's JIT interface.
void registerWithGdb(const heddle_host &host, const Image &image, DebugSymbols &out);
void unregisterWithGdb(const heddle_host &host, DebugSymbols &symbols);

} // namespace heddle::runtime
