#include "Cases.h"
#include <cstring>
#include <fstream>
#include <iterator>

namespace heddle::npu_conformance {

namespace {

/// Little-endian fields one after another; `good` turns false where the file ends too early.
class Reader {
public:
  explicit Reader(Bytes file) : file(std::move(file)) {}
  template <typename T> T number() {
    T value = {};
    if (take(sizeof(T)))
      std::memcpy(&value, file.data() + position - sizeof(T), sizeof(T));
    return value;
  }
  Bytes bytes() {
    uint32_t size = number<uint32_t>();
    if (!take(size))
      return {};
    return {file.begin() + (position - size), file.begin() + position};
  }
  bool good = true;

private:
  bool take(size_t size) {
    good = good && size <= file.size() - position;
    position += good ? size : 0;
    return good;
  }
  Bytes file;
  size_t position = 0;
};

Case readCase(Reader &file) {
  Case out;
  Bytes name = file.bytes();
  out.name.assign(name.begin(), name.end());
  uint32_t ends = file.number<uint32_t>();
  file.good = file.good && ends <= 2;
  out.ends = static_cast<Case::Ends>(ends);
  for (int64_t &dim : out.dims)
    dim = file.number<int64_t>();
  out.code = file.bytes();
  uint32_t buffers = file.number<uint32_t>();
  for (uint32_t i = 0; i < buffers && file.good; ++i) {
    Buffer buffer;
    buffer.writable = file.number<uint32_t>() != 0;
    buffer.input = file.bytes();
    buffer.expected = file.bytes();
    out.buffers.push_back(std::move(buffer));
  }
  return out;
}

} // namespace

bool readCases(const std::string &path, std::vector<Case> &out, std::string &error) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    error = path + ": cannot be opened";
    return false;
  }
  Reader file(Bytes(std::istreambuf_iterator<char>(stream), {}));
  uint64_t magic = file.number<uint64_t>();
  if (std::memcmp(&magic, "NPUCASE1", 8) != 0) {
    error = path + ": no file of cases";
    return false;
  }
  uint32_t count = file.number<uint32_t>();
  for (uint32_t i = 0; i < count && file.good; ++i)
    out.push_back(readCase(file));
  if (!file.good)
    error = path + ": ends too early";
  return file.good;
}

} // namespace heddle::npu_conformance
