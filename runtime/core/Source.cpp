#include "core/Source.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace heddle::runtime {

heddle_status Source::open(const heddle_source &source, heddle_error *error) {
  const char *name = "artifact";
  switch (source.kind) {
  case HEDDLE_SOURCE_MEMORY:
    memory = static_cast<const uint8_t *>(source.memory);
    bytes = source.memory_size;
    return HEDDLE_OK;
  case HEDDLE_SOURCE_PATH:
    name = source.path ? source.path : "";
    // O_NONBLOCK: opening a FIFO must not hang; it has no effect on the regular files that are let through
    // below.
    descriptor = ::open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    break;
  case HEDDLE_SOURCE_DESCRIPTOR:
    descriptor = fcntl(source.descriptor, F_DUPFD_CLOEXEC, 0);
    break;
  default:
    return fail(error, HEDDLE_INVALID_ARGUMENT, "unknown source->kind %d", static_cast<int>(source.kind));
  }
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) != 0)
    return fail(error, HEDDLE_IO_ERROR, "cannot open '%s': %m", name);
  if (!S_ISREG(status.st_mode))
    return fail(error, HEDDLE_IO_ERROR, "expected '%s' to be a regular file", name);
  bytes = status.st_size;
  return HEDDLE_OK;
}

void Source::close() {
  if (descriptor >= 0)
    ::close(descriptor);
  descriptor = -1;
}

heddle_status Source::read(uint64_t offset, void *buffer, uint64_t size, heddle_error *error) const {
  if (!inRange(offset, size, bytes))
    return fail(error, HEDDLE_INVALID_FILE,
                "artifact: %" PRIu64 " bytes at byte %" PRIu64 " lie past its end (%" PRIu64 ")", size,
                offset, bytes);
  if (memory) {
    memcpy(buffer, memory + offset, size);
    return HEDDLE_OK;
  }
  char *at = static_cast<char *>(buffer);
  while (size) {
    ssize_t got = pread(descriptor, at, smaller<uint64_t>(size, 1u << 30), offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = ENODATA; // the file was cut while it was open
    if (got <= 0)
      return fail(error, HEDDLE_IO_ERROR, "cannot read the artifact at byte %" PRIu64 ": %m", offset);
    at += got;
    offset += got;
    size -= got;
  }
  return HEDDLE_OK;
}

heddle_status Source::map(uint64_t offset, uint64_t size, const void **out, heddle_error *error) const {
  if (memory) { // members lie in the file: the archive has been read
    if (reinterpret_cast<uintptr_t>(memory + offset) % 64)
      return fail(error, HEDDLE_INVALID_ARGUMENT,
                  "expected source->memory to be 64-byte aligned, to use its weights in place");
    *out = memory + offset;
    return HEDDLE_OK;
  }
  void *mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, offset);
  if (mapped == MAP_FAILED)
    return fail(error, HEDDLE_IO_ERROR, "cannot map the artifact's weights: %m");
  *out = mapped;
  return HEDDLE_OK;
}

void Source::unmap(const void *mapped, uint64_t size) const {
  if (!memory && mapped)
    munmap(const_cast<void *>(mapped), size);
}

} // namespace heddle::runtime
