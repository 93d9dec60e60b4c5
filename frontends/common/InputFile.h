// Files that a model consists of: mapped read-only, and opened without leaving the model's folder.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace heddle {

/// A regular file, mapped for reading. Its descriptor stays open, so that renaming or deleting the file
/// changes nothing.
class InputFile {
public:
  /// Opens the file that the user named on the command line. `name` is for messages; empty: the path's last
  /// part.
  static llvm::Expected<std::shared_ptr<InputFile>> open(llvm::StringRef path, llvm::StringRef name = "");

  /// A copy of `bytes` in memory of exactly that size, for readers of embedded data, tests and fuzzing.
  static std::shared_ptr<InputFile> copyOf(llvm::ArrayRef<uint8_t> bytes, llvm::StringRef name);

  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;

  llvm::ArrayRef<uint8_t> bytes() const { return {data, size}; }
  /// The name for messages and the manifest: without folders, escaped.
  llvm::StringRef name() const { return fileName; }
  /// -1 for a copy in memory.
  int descriptor() const { return fd; }

private:
  friend class ModelFolder;
  InputFile(int fd, std::string name) : fd(fd), fileName(std::move(name)) {}
  /// Takes ownership of `fd`, also on failure.
  static llvm::Expected<std::shared_ptr<InputFile>> map(int fd, llvm::StringRef name);

  int fd;
  std::string fileName;
  const uint8_t *data = nullptr;
  size_t size = 0;
};

/// The folder of a model, through which alone the files are opened that the model names itself: split parts,
/// shards, external data. A name that leads elsewhere is refused, except into the `blobs` folder of the same
/// Hugging Face repository and into folders that the user allowed.
class ModelFolder {
public:
  /// The folder of the file at `modelPath`.
  static llvm::Expected<ModelFolder> of(llvm::StringRef modelPath,
                                        llvm::ArrayRef<std::string> allowedFolders = {});

  ModelFolder(ModelFolder &&other) : fd(other.fd), allowed(std::move(other.allowed)) { other.fd = -1; }
  ~ModelFolder();

  /// Opens `name`, relative to the folder, for whole-file reading.
  llvm::Expected<std::shared_ptr<InputFile>> open(llvm::StringRef name) const;

private:
  explicit ModelFolder(int fd) : fd(fd) {}
  llvm::Expected<int> openBeneath(const std::string &name) const;

  int fd;
  std::vector<std::string> allowed; // real paths beneath which a link may end, the folder itself first
};

/// `bytes[offset, offset + length)` of `file`, refused by name when the range leaves the file.
llvm::Expected<llvm::ArrayRef<uint8_t>> fileRange(const InputFile &file, uint64_t offset, uint64_t length);

} // namespace heddle
