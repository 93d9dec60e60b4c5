// Writes a module's text: values, parameters with random contents, ops. What to write is the generator's
// choice.
#pragma once
#include "ir/StorageFormat.h"
#include "tools/heddle-random-modules/Random.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"
#include <string>
#include <vector>

namespace heddle::random_modules {

/// A tensor of f32 with `?` rows.
struct Value {
  std::string name;
  std::string rows; // "n", "m", "s"
  llvm::SmallVector<int64_t, 2> inner;
  double size;           // usual magnitude of an element
  bool positive = false; // elements are above 0, by a tenth of `size` at least

  int64_t columns() const { return inner.back(); }
  std::string type() const;
};

std::string tensorType(llvm::ArrayRef<int64_t> shape, llvm::StringRef element = "f32");
std::string storedType(llvm::ArrayRef<int64_t> shape, llvm::StringRef format); // -1: `?`
std::string floatText(double value);
std::string denseText(llvm::ArrayRef<float> values, llvm::ArrayRef<int64_t> shape);
std::string denseText(llvm::ArrayRef<int32_t> values);

class ModuleText {
public:
  explicit ModuleText(Random &random) : random(random) {}

  Random &random;
  std::string symbols, body;
  std::vector<uint8_t> file;

  /// `%v7 = <text>`; returns "v7".
  std::string op(const llvm::Twine &text);
  void line(const llvm::Twine &text) { body += ("    " + text + "\n").str(); }

  /// Numbers of magnitude about `size`: mostly a coarse grid, sometimes any f32, sometimes many zeros.
  std::vector<float> numbers(int64_t count, double size);

  /// Declares a parameter and reads it. Names of the values that hold them.
  std::string vector(int64_t count, double size);
  std::string weight(llvm::ArrayRef<int64_t> shape, StorageFormat format, double size);
  std::string table(llvm::ArrayRef<float> values, llvm::ArrayRef<int64_t> shape);

private:
  std::string getParam(const llvm::Twine &declaration, const std::string &type);
  unsigned values = 0, params = 0;
};

/// Formats whose blocks fit rows of `columns`.
std::vector<StorageFormat> formatsFor(int64_t columns);

} // namespace heddle::random_modules
