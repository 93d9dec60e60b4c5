// Decodes blocks of one storage format from standard input to f32 on standard output; for decode.test.
#include "ir/StorageFormat.h"
#include <cstdio>
#include <vector>

int main(int argc, char **argv) {
  std::optional<heddle::StorageFormat> format = heddle::formatByName(argc == 2 ? argv[1] : "");
  if (!format) {
    std::fprintf(stderr, "usage: gguf-decode-blocks FORMAT < blocks > floats\n");
    return 2;
  }
  std::vector<uint8_t> stored;
  uint8_t buffer[4096];
  while (size_t count = std::fread(buffer, 1, sizeof(buffer), stdin))
    stored.insert(stored.end(), buffer, buffer + count);
  const heddle::FormatInfo &info = heddle::formatInfo(*format);
  if (stored.size() % info.blockBytes != 0) {
    std::fprintf(stderr, "expected whole blocks of %d bytes, but found %zu bytes\n", info.blockBytes,
                 stored.size());
    return 2;
  }
  std::vector<float> values(stored.size() / info.blockBytes * info.blockElements);
  heddle::decode(*format, stored, values);
  return std::fwrite(values.data(), 4, values.size(), stdout) == values.size() ? 0 : 74;
}
