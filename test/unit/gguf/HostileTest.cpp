// Files that are wrong in one way each: the message says where, and nothing is read out of bounds.
#include "GgufBuilder.h"
#include <catch2/catch.hpp>

using namespace heddle;
using namespace heddle::gguf;
using namespace heddle::gguf::test;

namespace {

struct Hostile {
  const char *name;
  GgufBuilder bytes;
  int exitCode;
  std::string message; // after "model.gguf: "
};

GgufBuilder file(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  GgufBuilder b;
  b.header(tensors, pairs, version);
  return b;
}
GgufBuilder bytes(llvm::StringRef text) {
  GgufBuilder b;
  b.raw(text);
  return b;
}
/// A file whose only metadata entry has this key and type; the value follows.
GgufBuilder value(llvm::StringRef key, uint32_t type) {
  GgufBuilder b = file(0, 1);
  b.string(key).put(type);
  return b;
}
GgufBuilder array(uint32_t type, uint64_t count) { return value("k", kArray).put(type).put(count); }
/// A file whose only tensor is described like this, with `data` bytes of data.
GgufBuilder tensor(llvm::StringRef name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset,
                   size_t data) {
  GgufBuilder b = file(1, 0);
  b.tensor(name, std::move(dims), type, offset);
  return b.align().zeros(data);
}
GgufBuilder twoTensors(uint64_t firstOffset, uint64_t secondOffset, size_t data,
                       llvm::StringRef second = "b") {
  GgufBuilder b = file(2, 0);
  b.tensor("a", {16}, 0, firstOffset).tensor(second, {16}, 0, secondOffset);
  return b.align().zeros(data);
}

std::vector<Hostile> hostileFiles() {
  const uint64_t huge = uint64_t(1) << 62;
  const std::string longName(64, 'n'), endless(70000, 'k');
  const std::string nul("a\0b", 3);
  return {
      // Header
      {"empty", {}, 3, "is empty, expected a GGUF file"},
      {"three bytes", bytes("GGU"), 3, "has 3 bytes, too few for a GGUF file"},
      {"other magic", bytes("ggml\x01"), 3, "starts with 'ggml', expected 'GGUF'"},
      {"escape sequence as magic", bytes("\x1b[2J...."), 3, "starts with '\\x1b[2J', expected 'GGUF'"},
      {"no version", bytes("GGUF"), 3, "is cut off: byte 4 is the end of the file, in the header"},
      {"big-endian", file(0, 0, 0x03000000), 4,
       "is a big-endian GGUF file, expected little-endian; convert it with gguf_convert_endian.py of the "
       "gguf package"},
      {"version 0", file(0, 0, 0), 4, "has GGUF version 0, expected 2 or 3"},
      {"version 1", file(0, 0, 1), 4,
       "has GGUF version 1, expected 2 or 3; convert the model again from its source"},
      {"version 4", file(0, 0, 4), 4, "has GGUF version 4, expected 2 or 3"},
      {"negative tensor count", file(uint64_t(-1), 0), 3,
       "claims 18446744073709551615 tensors, expected at most 1048576"},
      {"huge metadata count", file(0, huge), 3,
       "claims 4611686018427387904 metadata entries, expected at most 65536"},
      {"more metadata than bytes", file(0, 5), 3,
       "is cut off: byte 24 is the end of the file, in metadata entry 0 of 5"},
      {"more tensors than bytes", file(5, 0), 3,
       "is cut off: byte 24 is the end of the file, in the description of tensor 0 of 5"},
      // Metadata
      {"huge key", file(0, 1).put(huge), 3,
       "the key of metadata entry 0 of 1 has 4611686018427387904 bytes, expected at most 65535"},
      {"long key", file(0, 1).string(endless), 3,
       "the key of metadata entry 0 of 1 has 70000 bytes, expected at most 65535"},
      {"key past the end", file(0, 1).put<uint64_t>(100).raw("k"), 3,
       "is cut off: byte 33 is the end of the file, in the key of metadata entry 0 of 1"},
      {"empty key", file(0, 1).number("", 1), 3, "the key of metadata entry 0 of 1 is empty"},
      {"key with NUL", file(0, 1).number(nul, 1), 3,
       "the key 'a\\x00b' of metadata entry 0 of 1 is not UTF-8 text"},
      {"key not UTF-8", file(0, 1).number("a\xff", 1), 3,
       "the key 'a\\xff' of metadata entry 0 of 1 is not UTF-8 text"},
      {"duplicate key", file(0, 2).number("same", 1).number("same", 2), 3, "metadata 'same' appears twice"},
      {"unknown value type", value("k", 13), 3,
       "metadata 'k' has the unknown value type 13, expected 0 to 12"},
      {"unknown element type", array(99, 1), 3,
       "metadata 'k' has the unknown value type 99, expected 0 to 12"},
      {"nested array", array(kArray, 1), 4,
       "metadata 'k' is an array of arrays, expected an array of numbers or strings"},
      {"huge array", array(kU32, huge).zeros(8), 3,
       "metadata 'k' claims 4611686018427387904 elements, but only 8 bytes are left in the file"},
      {"array whose size overflows", array(kU64, uint64_t(1) << 61).zeros(8), 3,
       "metadata 'k' claims 2305843009213693952 elements, but only 8 bytes are left in the file"},
      {"huge array of strings", array(kString, huge).zeros(8), 3,
       "metadata 'k' claims 4611686018427387904 elements, but only 8 bytes are left in the file"},
      {"array header cut off", value("k", kArray).put(kU32).put<uint32_t>(1), 3,
       "is cut off: byte 45 is the end of the file, in the array header of metadata 'k'"},
      {"string past the end", value("k", kString).put<uint64_t>(9).raw("abc"), 3,
       "metadata 'k' claims 9 bytes, but only 3 are left in the file"},
      {"huge string", value("k", kString).put(uint64_t(-1)), 3,
       "metadata 'k' claims 18446744073709551615 bytes, but only 0 are left in the file"},
      {"string in array past the end", array(kString, 2).string("ok").put<uint64_t>(50), 3,
       "string 1 of metadata 'k' claims 50 bytes, but only 0 are left in the file"},
      {"number cut off", value("k", kU64).put<uint32_t>(1), 3,
       "is cut off: byte 41 is the end of the file, in metadata 'k'"},
      {"boolean 2", value("k", kBool).put<uint8_t>(2), 3, "metadata 'k' has the boolean 2, expected 0 or 1"},
      {"boolean in array", array(kBool, 2).put<uint8_t>(1).put<uint8_t>(255), 3,
       "metadata 'k' has the boolean 255, expected 0 or 1"},
      {"alignment 0", file(0, 1).number("general.alignment", 0), 3,
       "metadata 'general.alignment' is 0, expected a power of two up to 1048576"},
      {"alignment 24", file(0, 1).number("general.alignment", 24), 3,
       "metadata 'general.alignment' is 24, expected a power of two up to 1048576"},
      {"huge alignment", file(0, 1).number("general.alignment", 1u << 31), 3,
       "metadata 'general.alignment' is 2147483648, expected a power of two up to 1048576"},
      {"alignment a string", file(0, 1).text("general.alignment", "32"), 3,
       "metadata 'general.alignment' is a string, expected a positive integer"},
      {"hostile key", file(0, 1).string("\x1b]0;x\x07\u202e").put<uint32_t>(13), 3,
       "metadata '\\x1b]0;x\\x07\\xe2\\x80\\xae' has the unknown value type 13, expected 0 to 12"},
      // Tensors
      {"tensor without name", tensor("", {4}, 0, 0, 16), 3,
       "the name in the description of tensor 0 of 1 has 0 bytes, expected 1 to 63"},
      {"tensor name of 64 bytes", tensor(longName, {4}, 0, 0, 16), 3,
       "the name in the description of tensor 0 of 1 has 64 bytes, expected 1 to 63"},
      {"tensor name not UTF-8", tensor("\xc3(", {4}, 0, 0, 16), 3,
       "the name of tensor '\\xc3(' is not UTF-8 text"},
      {"no dimensions", tensor("t", {}, 0, 0, 16), 3, "tensor 't' has 0 dimensions, expected 1 to 4"},
      {"five dimensions", tensor("t", {1, 1, 1, 1, 1}, 0, 0, 16), 3,
       "tensor 't' has 5 dimensions, expected 1 to 4"},
      {"billions of dimensions", file(1, 0).string("t").put<uint32_t>(-1), 3,
       "tensor 't' has 4294967295 dimensions, expected 1 to 4"},
      {"dimension 0", tensor("t", {4, 0}, 0, 0, 16), 3,
       "tensor 't' has dimension 1 of size 0, expected a positive size"},
      {"negative dimension", tensor("t", {uint64_t(-4)}, 0, 0, 16), 3,
       "tensor 't' has dimension 0 of size -4, expected a positive size"},
      {"product overflows to 0", tensor("t", {uint64_t(1) << 32, uint64_t(1) << 32}, 0, 0, 16), 3,
       "tensor 't' has dimensions whose product does not fit in 63 bits"},
      {"bytes overflow", tensor("t", {huge, 1}, 28, 0, 16), 3,
       "tensor 't' has a size in bytes that does not fit in 64 bits"},
      {"row is no whole block", tensor("t", {48, 2}, 8, 0, 256), 3,
       "tensor 't' has rows of 48 elements, expected a multiple of 32, the block size of q8_0"},
      {"row is no whole super-block", tensor("t", {288}, 12, 0, 256), 3,
       "tensor 't' has rows of 288 elements, expected a multiple of 256, the block size of q4_k"},
      {"data past the end", tensor("blk.0.attn_q", {1024}, 0, 0, 4000), 3,
       "tensor 'blk.0.attn_q' ends at byte 4192, past the end of the file (4096)"},
      {"offset past the end", tensor("t", {4}, 0, 1 << 20, 16), 3,
       "tensor 't' ends at byte 1048656, past the end of the file (80)"},
      {"offset overflows", tensor("t", {4}, 0, uint64_t(-32), 16), 3,
       "tensor 't' is at offset 18446744073709551584, which does not fit in 64 bits"},
      {"misaligned tensor", tensor("t", {4}, 0, 8, 64), 3,
       "tensor 't' is at offset 8, expected a multiple of 32, the alignment of the file"},
      {"overlapping tensors", twoTensors(0, 32, 128), 3,
       "tensor 'b' starts at byte 128, inside tensor 'a' (bytes 96 to 160)"},
      {"tensors at one place", twoTensors(0, 0, 128), 3,
       "tensor 'b' starts at byte 96, inside tensor 'a' (bytes 96 to 160)"},
      {"duplicate tensor", twoTensors(0, 64, 128, "a"), 3, "tensor 'a' appears twice"},
      {"no data at all", twoTensors(0, 64, 0), 3,
       "tensor 'a' ends at byte 160, past the end of the file (96)"},
      // Split models
      {"split without number", file(0, 1).number("split.count", 3), 3,
       "metadata 'split.no' is missing, expected a number below 'split.count' (3)"},
      {"split number too large", file(0, 2).number("split.count", 3).number("split.no", 3), 3,
       "metadata 'split.no' is 3, expected a number below 'split.count' (3)"},
      {"millions of parts", file(0, 2).number("split.count", 1 << 30).number("split.no", 0), 3,
       "metadata 'split.count' is 1073741824, expected at most 9999"},
      {"second part alone", file(0, 2).number("split.count", 3).number("split.no", 1), 3,
       "is part 2 of 3, expected part 1; give the first part of a split model"},
      {"split count a string", file(0, 1).text("split.count", "../../etc"), 3,
       "metadata 'split.count' is a string, expected an integer that is not negative"},
  };
}

Failure failureOf(const GgufBuilder &b, const ReadOptions &options = {}) {
  llvm::Expected<File> result = b.read(options);
  return result ? Failure{0, "no error"} : takeFailure(result.takeError());
}

} // namespace

TEST_CASE("hostile files are refused with the reason") {
  std::vector<Hostile> files = hostileFiles();
  CHECK(files.size() >= 40);
  for (const Hostile &hostile : files) {
    INFO(hostile.name);
    Failure failure = failureOf(hostile.bytes);
    CHECK(failure.message == "model.gguf: " + hostile.message);
    CHECK(failure.exitCode == hostile.exitCode);
  }
}

TEST_CASE("a file cut off at any byte is refused") {
  GgufBuilder whole = validFile();
  REQUIRE(failureOf(whole).exitCode == 0);
  for (size_t size = 0; size < whole.bytes.size(); ++size) {
    GgufBuilder cut;
    cut.bytes.assign(whole.bytes.begin(), whole.bytes.begin() + size);
    INFO(size);
    CHECK(failureOf(cut).exitCode == 3);
  }
}

TEST_CASE("a file with any one byte changed is read or refused, never misread out of bounds") {
  GgufBuilder whole = validFile();
  for (size_t at = 0; at < whole.bytes.size(); ++at)
    for (uint8_t change : {0x01, 0x80, 0xff}) {
      GgufBuilder changed = whole;
      changed.bytes[at] ^= change;
      Failure failure = failureOf(changed);
      INFO("byte " << at << ": " << failure.message);
      CHECK((failure.exitCode == 0 || failure.exitCode == 3 || failure.exitCode == 4));
    }
}

TEST_CASE("tables beyond the memory limit are refused") {
  GgufBuilder b = file(0, 1000);
  for (int i = 0; i < 1000; ++i)
    b.number("k" + std::to_string(i), i);
  ReadOptions options;
  options.memoryLimit = 10000;
  Failure failure = failureOf(b, options);
  CHECK(failure.exitCode == 5);
  CHECK(failure.message ==
        "model.gguf: the tables of this file need more memory than the limit; raise it with --max-memory");
  CHECK(failureOf(b).exitCode == 0);
}
