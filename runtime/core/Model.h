// An open artifact: what all its sessions share.
#pragma once
#include "core/Archive.h"
#include "core/Program.h"

struct heddle_model {
  heddle::runtime::Memory memory;
  heddle::runtime::Source source;
  heddle::runtime::Archive archive;
  heddle_host host;
  heddle_log_fn log;
  void *logContext;

  void *programBytes;
  uint64_t programSize;
  heddle_program program;

  const heddle_driver *driver;
  heddle_device *device;
  heddle_module *module; // NULL when only inspected
  bool unified;
  heddle_buffer weights;
  const void *mappedWeights; // when they are used in place
  uint64_t openBytes;        // of memory, once open

  uint32_t sessions; // atomic: living ones

  const char *string(uint32_t offset) const { return program.strings + offset; }
};

namespace heddle::runtime {

/// The entry called `name`, or the first one for NULL.
heddle_status findEntry(const heddle_model &model, const char *name, uint32_t &out, heddle_error *error);

} // namespace heddle::runtime
