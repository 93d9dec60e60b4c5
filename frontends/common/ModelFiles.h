// The files of a model as the source of its parameters.
#pragma once
#include "frontends/common/InputFile.h"
#include "ir/ParameterSource.h"

namespace heddle {

class ModelFiles : public ParameterSource {
public:
  explicit ModelFiles(std::vector<std::shared_ptr<InputFile>> files) : files(std::move(files)) {}

  llvm::Expected<llvm::ArrayRef<uint8_t>> bytes(int64_t file, uint64_t offset, uint64_t size) const override;
  void release(int64_t file, uint64_t offset, uint64_t size) const override;

  size_t count() const { return files.size(); }
  /// Adds a file beside those of the model; returns its number.
  size_t add(std::shared_ptr<InputFile> file) {
    files.push_back(std::move(file));
    return files.size() - 1;
  }
  const InputFile &file(size_t index) const { return *files[index]; }
  /// SHA-256 of a file in lower-case hexadecimal. Reads all of it, a piece at a time.
  std::string sha256(size_t index) const;

private:
  std::vector<std::shared_ptr<InputFile>> files;
};

} // namespace heddle
