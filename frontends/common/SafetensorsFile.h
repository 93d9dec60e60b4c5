// Reader of safetensors files: a table of named tensors, then their bytes.
#pragma once
#include "frontends/common/InputFile.h"
#include "llvm/ADT/SmallVector.h"

namespace heddle {

struct SafetensorsEntry {
  std::string name;
  std::string type; // "F32", "BOOL", ... as the file says
  llvm::SmallVector<int64_t> shape;
  uint64_t offset = 0, size = 0; // bytes in the file; size fits type and shape
};

class SafetensorsFile {
public:
  /// Reads the table; every entry's bytes lie in the file, and no two entries overlap.
  static llvm::Expected<SafetensorsFile> read(std::shared_ptr<InputFile> file);

  const std::vector<SafetensorsEntry> &entries() const { return table; } // in order of their bytes
  /// Of the file's `__metadata__`; empty where the key is absent.
  llvm::StringRef metadata(llvm::StringRef key) const;
  const std::shared_ptr<InputFile> &file() const { return source; }

private:
  std::shared_ptr<InputFile> source;
  std::vector<SafetensorsEntry> table;
  std::vector<std::pair<std::string, std::string>> texts;
};

} // namespace heddle
