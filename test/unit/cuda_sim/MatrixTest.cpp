#include "test/unit/cuda_sim/Harness.h"

using namespace cuda_sim_test;

namespace {

/// One mma of random matrices against plain loops. Elements are placed in registers by the tables of the PTX
/// manual, one formula a shape and operand, as they stand there.
struct Matrix {
  unsigned m, k, bits;
  std::string type;
  bool isSigned;
};

unsigned rowOfA(const Matrix &s, unsigned lane, unsigned i) {
  unsigned group = lane >> 2;
  if (s.m == 8)
    return group;
  if (s.bits == 32)
    return i % 2 == 0 ? group : group + 8; // a0, a2 / a1, a3
  unsigned per = 32 / s.bits;
  return i / per % 2 == 0 ? group : group + 8;
}
unsigned columnOfA(const Matrix &s, unsigned lane, unsigned i) {
  unsigned thread = lane % 4, per = 32 / s.bits;
  if (s.bits == 32)
    return i < 2 ? thread : thread + 4;
  unsigned half = s.m == 8 ? 0 : i / (2 * per);
  return thread * per + i % per + half * per * 4;
}
unsigned rowOfB(const Matrix &s, unsigned lane, unsigned i) {
  unsigned thread = lane % 4, per = 32 / s.bits;
  return i < per ? thread * per + i % per : thread * per + i % per + per * 4;
}

std::string braces(const std::string &prefix, unsigned count) {
  std::string out = "{";
  for (unsigned i = 0; i < count; ++i)
    out += (i ? ", " : "") + prefix + std::to_string(i);
  return out + "}";
}

float valueOf(const Matrix &s, uint32_t bits) {
  if (s.type == "f16")
    return static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
  if (s.type == "bf16")
    return floatOf(uint64_t(bits) << 16);
  if (s.type == "tf32")
    return floatOf(bits & ~0x1fffu);
  int32_t value = static_cast<int32_t>(bits << (32 - s.bits)) >> (32 - s.bits);
  return static_cast<float>(s.isSigned ? value : value & ((1 << s.bits) - 1));
}

void checkShape(const Matrix &s, bool halfAccumulators = false) {
  std::mt19937 random(s.m * s.k + s.bits);
  bool isFloat = s.type.find('f') != std::string::npos;
  std::vector<std::vector<uint32_t>> a(s.m, std::vector<uint32_t>(s.k)), b(s.k, std::vector<uint32_t>(8));
  auto element = [&]() -> uint32_t {
    float value = static_cast<float>(static_cast<int>(random() % 65) - 32) / 16;
    if (s.type == "f16")
      return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
    if (s.type == "bf16")
      return bitsOf(value) >> 16;
    if (s.type == "tf32")
      return bitsOf(value) | (random() & 0x1fff); // what the hardware does not see
    return random() & ((1u << s.bits) - 1);
  };
  for (auto &row : a)
    for (uint32_t &v : row)
      v = element();
  for (auto &row : b)
    for (uint32_t &v : row)
      v = element();
  unsigned per = 32 / s.bits, registersA = s.m * s.k / per / 32, registersB = 8 * s.k / per / 32;
  unsigned results = s.m == 8 ? 2 : halfAccumulators ? 2 : 4;
  // The arrays of the kernel hold, for each lane, the registers of A and B in turn; C is 1, 2, ...
  Values packed(32 * 8);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned r = 0; r < registersA + registersB; ++r) {
      uint32_t word = 0;
      for (unsigned e = 0; e < per; ++e) {
        bool isA = r < registersA;
        unsigned i = (isA ? r : r - registersA) * per + e;
        uint32_t value =
            isA ? a[rowOfA(s, lane, i)][columnOfA(s, lane, i)] : b[rowOfB(s, lane, i)][lane >> 2];
        word |= value << (s.bits * e % 32);
      }
      packed[lane * 8 + r] = word;
    }
  std::string d = halfAccumulators ? "f16" : isFloat ? "f32" : "s32";
  std::string body = ".reg .b32 %A<4>, %B<2>, %C<4>, %D<4>; ld.param.u64 %x3, [a]; mov.u32 %i3, %laneid; "
                     "mul.wide.u32 %x4, %i3, 64;"
                     "add.s64 %x3, %x3, %x4;\n";
  for (unsigned r = 0; r < registersA + registersB; ++r)
    body += "ld.global.u32 " +
            (r < registersA ? "%A" + std::to_string(r) : "%B" + std::to_string(r - registersA)) + ", [%x3+" +
            std::to_string(8 * r) + "];\n";
  for (unsigned r = 0; r < results; ++r)
    body += "mov.b32 %C" + std::to_string(r) + ", " +
            (halfAccumulators ? "0x3c004000"
             : isFloat        ? "0f40000000"
                              : "2") +
            ";\n";
  body += "mma.sync.aligned.m" + std::to_string(s.m) + "n8k" + std::to_string(s.k) + ".row.col." + d + "." +
          s.type + "." + s.type + "." + d + " " + braces("%D", results) + ", " + braces("%A", registersA) +
          ", " + braces("%B", registersB) + ", " + braces("%C", results) + ";\n";
  for (unsigned r = 0; r < results; ++r) {
    Values got = evaluate(body + "mov.b32 %rd, %D" + std::to_string(r) + ";", 32, packed, {}, {}, "", 256);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned e = 0; e < (halfAccumulators ? 2u : 1u); ++e) {
        unsigned i = halfAccumulators ? r * 2 + e : r;
        unsigned row = (lane >> 2) + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
        float expected = halfAccumulators && e == 1 ? 1 : 2;
        for (unsigned k = 0; k < s.k; ++k)
          expected += valueOf(s, a[row][k]) * valueOf(s, b[k][column]);
        INFO(s.type << " m" << s.m << " k" << s.k << " row " << row << " column " << column);
        if (halfAccumulators)
          REQUIRE((got[lane] >> (16 * e) & 0xffff) ==
                  std::bit_cast<uint16_t>(static_cast<_Float16>(expected)));
        else if (isFloat)
          REQUIRE(floatOf(got[lane]) == expected);
        else
          REQUIRE(static_cast<int32_t>(got[lane]) == static_cast<int32_t>(expected));
      }
  }
}

} // namespace

TEST_CASE("mma of every shape agrees with plain loops") {
  // Eight warps run, on the same registers' layout; the first 32 lanes are looked at.
  for (unsigned k : {8u, 16u}) {
    checkShape({16, k, 16, "f16", true});
    checkShape({16, k, 16, "f16", true}, true);
    checkShape({16, k, 16, "bf16", true});
  }
  for (unsigned k : {4u, 8u})
    checkShape({16, k, 32, "tf32", true});
  for (bool isSigned : {true, false}) {
    std::string byte = isSigned ? "s8" : "u8", nibble = isSigned ? "s4" : "u4";
    checkShape({8, 16, 8, byte, isSigned});
    checkShape({16, 16, 8, byte, isSigned});
    checkShape({16, 32, 8, byte, isSigned});
    checkShape({16, 32, 4, nibble, isSigned});
    checkShape({16, 64, 4, nibble, isSigned});
  }
}

TEST_CASE("ldmatrix deals out rows, or columns") {
  // Four matrices of 8 x 8 u16 whose elements are their own numbers; rows are 16 bytes apart.
  std::string fill =
      ".shared .align 16 .b8 s[512]; mov.u32 %i3, s; mov.u32 %i4, %tid.x; mad.lo.u32 %i3, %i4, 16, %i3;\n"
      "mul.lo.u32 %i5, %i4, 8; .reg .b32 %w<4>;\n";
  for (int k = 0; k < 4; ++k)
    fill += "mad.lo.u32 %w" + std::to_string(k) + ", %i5, 0x10001, " +
            std::to_string(2 * k + (2 * k + 1) * 65536) + ";\n";
  fill += "st.shared.v4.u32 [%i3], {%w0, %w1, %w2, %w3}; bar.warp.sync -1;\n";
  for (bool isTransposed : {false, true})
    for (int matrix = 0; matrix < 4; ++matrix) {
      Values got = evaluate(fill + "ldmatrix.sync.aligned.m8n8.x4" + (isTransposed ? ".trans" : "") +
                                ".shared.b16 {%w0, %w1, %w2, %w3}, [%i3]; mov.u32 %rd, %w" +
                                std::to_string(matrix) + ";",
                            32, Values(32));
      for (uint64_t lane = 0; lane < 32; ++lane) {
        uint64_t major = lane / 4, minor = lane % 4 * 2;
        auto at = [&](uint64_t row, uint64_t column) { return matrix * 64 + row * 8 + column; };
        uint64_t low = isTransposed ? at(minor, major) : at(major, minor);
        uint64_t high = isTransposed ? at(minor + 1, major) : at(major, minor + 1);
        REQUIRE(got[lane] == (high << 16 | low));
      }
    }
  CHECK(
      problemsOf(fill + "add.u32 %i3, %i3, 8; ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%w0, %w1}, [%i3];") ==
      Kinds{ProblemKind::Misaligned});
}

TEST_CASE("a warp that is not whole cannot multiply") {
  std::string body = ".reg .b32 %A<4>, %B<2>, %C<4>; setp.lt.u32 %p, %ra, 8; @%p exit;\n"
                     "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%C0, %C1, %C2, %C3}, {%A0, %A1, "
                     "%A2, %A3}, {%B0, %B1}, "
                     "{%C0, %C1, %C2, %C3};";
  Values a;
  for (uint64_t i = 0; i < 32; ++i)
    a.push_back(i);
  CHECK(problemsOf(body, a) == Kinds{ProblemKind::DivergentBarrier});
}
