// Tensors given on the command line: literals, .npy files, random data.
#ifndef HEDDLE_TOOLS_TENSOR_H
#define HEDDLE_TOOLS_TENSOR_H

#include "tools/heddle/Common.h"

namespace heddle::cli {

struct Tensor {
  heddle_dtype type = HEDDLE_DTYPE_F32;
  std::vector<int64_t> shape;
  std::vector<uint64_t> storage; // 64-byte aligned from data()

  void allocate();
  void *data();
  const void *data() const { return const_cast<Tensor *>(this)->data(); }
  int64_t count() const;
  size_t bytes() const;
  double at(int64_t index) const;
  void set(int64_t index, double value);
  heddle_view view();
};

const char *dtypeName(heddle_dtype type);
size_t dtypeBytes(heddle_dtype type);
std::string shapeText(const std::vector<int64_t> &shape);

// "2x3xf32=1 2 3 4 5 6"
Tensor parseLiteral(const std::string &text, const std::string &name);
Tensor readNpy(const std::string &path);
void writeNpy(const std::string &path, const Tensor &tensor);

// NAME=VALUE of --input, --output, --expected.
std::pair<std::string, std::string> splitBinding(const std::string &text, const std::string &option);
// "@file", "random:SEED" (takes shape and type from `like`) or a literal.
Tensor parseTensor(const std::string &value, const std::string &name, const Tensor *like);

} // namespace heddle::cli

#endif
