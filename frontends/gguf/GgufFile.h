// A GGUF model: its metadata, and where its tensors lie. Reads headers only; tensor data stays untouched in
// the map.
#pragma once
#include "frontends/common/InputFile.h"
#include "ir/StorageFormat.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>
#include <string>
#include <vector>

namespace heddle::gguf {

enum class ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

/// "u32", "string", ...
llvm::StringRef typeName(ValueType type);

/// A metadata value: a validated view of its bytes in the file.
struct Value {
  llvm::StringRef key;
  ValueType type = ValueType::U8; // of the elements, for arrays
  bool isArray = false;
  uint64_t count = 1;            // of the elements, for arrays
  llvm::ArrayRef<uint8_t> bytes; // strings of an array with their lengths between them

  /// Type in words for messages: "u32", "array of string".
  std::string describe() const;
};

/// The strings of an array value, in order; a walk over the file's bytes that copies nothing.
class StringWalk {
public:
  explicit StringWalk(const Value &value) : bytes(value.bytes), left(value.count) {}
  /// The next string; nothing at the end.
  std::optional<llvm::StringRef> next();

private:
  llvm::ArrayRef<uint8_t> bytes;
  uint64_t left;
};

struct Tensor {
  llvm::StringRef name;
  llvm::SmallVector<int64_t, 4> shape; // outermost first: a linear weight is [out, in]
  StorageFormat format;
  unsigned file;   // index into files()
  uint64_t offset; // in that file
  uint64_t bytes;
};

struct ReadOptions {
  /// Memory that the reader may take for its tables, beyond the map itself.
  uint64_t memoryLimit = uint64_t(1) << 30;
  /// Folders outside the model's own into which links of split parts may lead.
  std::vector<std::string> allowedFolders;
};

class File {
public:
  /// Reads the model at `path`, with all other parts when it is the first part of a split model.
  static llvm::Expected<File> open(llvm::StringRef path, const ReadOptions &options = {});

  /// The same for a first part that is open already; other parts are looked for beside `path`.
  static llvm::Expected<File> read(std::shared_ptr<InputFile> first, llvm::StringRef path,
                                   const ReadOptions &options = {});

  const std::vector<std::shared_ptr<InputFile>> &files() const { return parts; }
  llvm::StringRef name() const { return parts.front()->name(); }
  uint32_t version() const { return formatVersion; }

  llvm::ArrayRef<Value> metadata() const { return values; }      // in the order of keys
  llvm::ArrayRef<Tensor> tensors() const { return tensorTable; } // in the order of names
  const Value *find(llvm::StringRef key) const;
  const Tensor *findTensor(llvm::StringRef name) const;

  /// What Heddle cannot use in this file although it is well formed, one complete sentence each. A caller
  /// adds its own findings and refuses them all at once; tensors named here are not in tensors().
  llvm::ArrayRef<std::string> unsupported() const { return unsupportedThings; }

  // Typed access. Nothing when the key is absent; an error that names both types when the value has another
  // one. Integers of any width are accepted where they fit.
  llvm::Expected<std::optional<uint64_t>> unsignedValue(llvm::StringRef key) const;
  llvm::Expected<std::optional<double>> floatValue(llvm::StringRef key) const;
  llvm::Expected<std::optional<bool>> boolValue(llvm::StringRef key) const;
  llvm::Expected<std::optional<llvm::StringRef>> stringValue(llvm::StringRef key) const;
  /// An array of `type`; nothing when absent.
  llvm::Expected<const Value *> arrayValue(llvm::StringRef key, ValueType type) const;

private:
  friend class Reader;
  std::vector<std::shared_ptr<InputFile>> parts;
  uint32_t formatVersion = 0;
  std::vector<Value> values;
  std::vector<Tensor> tensorTable;
  std::vector<std::string> unsupportedThings;
};

/// Number `index` of an integer or float array.
double elementAsDouble(const Value &array, uint64_t index);
int64_t elementAsInteger(const Value &array, uint64_t index);

} // namespace heddle::gguf
