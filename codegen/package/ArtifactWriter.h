// Writes an artifact: a zip in canonical form (docs/artifact.md), streaming, atomic, the same bytes for the
// same input.
#pragma once
#include "codegen/package/PendingFile.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace heddle {

/// Takes the next bytes of a stream; an error ends it.
using ByteSink = llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)>;

/// Errors that the system reported carry its code (std::errc); others are mistakes of the caller.
class ArtifactWriter {
public:
  using Digest = std::array<uint8_t, 32>;

  /// Starts an artifact that will be `path`, in a temporary file beside it, of which nothing is left
  /// without finish(). Refuses to replace one of `inputs`, or anything that is not a regular file.
  static llvm::Expected<std::unique_ptr<ArtifactWriter>> create(llvm::StringRef path,
                                                                llvm::ArrayRef<std::string> inputs);
  /// Adds a member of `size` bytes that `produce` writes piece by piece. Memory does not grow with its size.
  /// Its hash is made on the way; the size is rounded up with zeros to a multiple of
  /// HEDDLE_ZIP_SIZE_MULTIPLE.
  llvm::Error addMember(llvm::StringRef name, uint64_t size,
                        llvm::function_ref<llvm::Error(ByteSink)> produce);
  llvm::Error addMember(llvm::StringRef name, llvm::ArrayRef<char> bytes);

  /// Adds "format" and "members" to `manifest`, writes it as the last member, makes the file durable (if
  /// wanted) and gives it its name. Returns the SHA-256 of the manifest, on which trust decides. No call may
  /// follow.
  llvm::Expected<Digest> finish(llvm::json::Object manifest, bool durable = true);

  /// Bytes of the file so far.
  uint64_t size() const { return position; }

private:
  struct Member {
    std::string name;
    uint64_t size, start;
    uint32_t crc;
    Digest digest;
  };

  explicit ArtifactWriter(PendingFile file) : file(std::move(file)) {}
  llvm::Error write(llvm::ArrayRef<uint8_t> bytes);
  llvm::Error writeZeros(uint64_t count);
  llvm::Error writeDirectory();

  PendingFile file;
  std::vector<Member> members;
  uint64_t position = 0;
};

} // namespace heddle
