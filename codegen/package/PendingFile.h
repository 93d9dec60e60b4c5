// A file that takes its name when it is complete.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace heddle {

/// Written beside `path` and renamed to it by keep(), which is atomic. Without keep() nothing is left of it;
/// neither after a signal that ends the process. Errors carry the system's code (std::errc) and name `path`.
class PendingFile {
public:
  static llvm::Expected<PendingFile> create(llvm::StringRef path);
  PendingFile(PendingFile &&other);
  ~PendingFile();

  llvm::Error writeAt(llvm::ArrayRef<uint8_t> bytes, uint64_t offset);
  /// `durable`: contents and name survive a loss of power. No call may follow.
  llvm::Error keep(bool durable);

private:
  PendingFile(std::string path, std::string temporary, int descriptor)
      : path(std::move(path)), temporary(std::move(temporary)), descriptor(descriptor) {}
  void close();

  std::string path, temporary; // temporary: empty when there is none to remove
  int descriptor;              // -1: closed
};

} // namespace heddle
