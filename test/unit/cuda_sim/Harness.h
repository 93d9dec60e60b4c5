// Runs a few PTX instructions on arrays: what every test of the simulator needs.
#pragma once
#include "drivers/cuda_sim/Simulator.h"
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <random>
#include <set>

namespace cuda_sim_test {

using namespace heddle::cuda_sim;
using Values = std::vector<uint64_t>;

inline std::unique_ptr<Module> parsed(const std::string &text) {
  std::string error;
  std::unique_ptr<Module> module = Module::parse(text, error);
  INFO(error << "\n" << text);
  REQUIRE(module);
  return module;
}

/// The error of a text that is none.
inline std::string errorOf(const std::string &text) {
  std::string error;
  CHECK(Module::parse(text, error) == nullptr);
  return error;
}

/// A kernel k(d, a, b, c) of u64 arrays around `body`. Thread i has a[i], b[i], c[i] in %la %lb %lc (64
/// bits), %ra %rb %rc (32) and %ha %hb %hc (16), and leaves its result in %ld, %rd or %hd, or in %p. `bits`:
/// 64, 32, 16 or 1.
inline std::string kernelText(const std::string &body, unsigned bits, const std::string &outside = "") {
  std::string text =
      ".version 8.0\n.target sm_80\n.address_size 64\n" + outside +
      "\n.visible .entry k(.param .u64 d, .param .u64 a, .param .u64 b, .param .u64 c)\n{\n"
      ".reg .b64 %x<8>; .reg .b32 %i<8>;\n.reg .pred %p, %q;\n"
      ".reg .b64 %la, %lb, %lc, %ld; .reg .b32 %ra, %rb, %rc, %rd; .reg .b16 %ha, %hb, %hc, %hd;\n"
      "mov.u32 %i0, %tid.x; mov.u32 %i1, %ctaid.x; mov.u32 %i2, %ntid.x;\n"
      "mad.lo.s32 %i0, %i1, %i2, %i0; mul.wide.u32 %x1, %i0, 8;\n";
  for (const char *name : {"a", "b", "c"})
    text += std::string("ld.param.u64 %x2, [") + name + "]; add.s64 %x2, %x2, %x1; ld.global.u64 %l" + name +
            ", [%x2]; cvt.u32.u64 %r" + name + ", %l" + name + "; cvt.u16.u64 %h" + name + ", %l" + name +
            ";\n";
  text += "mov.u64 %ld, 0; mov.u32 %rd, 0; mov.u16 %hd, 0; setp.ne.u32 %p, 0, 0;\n" + body + "\n";
  if (bits == 1)
    text += "selp.u32 %rd, 1, 0, %p;\n";
  if (bits <= 32)
    text += bits == 16 ? "cvt.u64.u16 %ld, %hd;\n" : "cvt.u64.u32 %ld, %rd;\n";
  return text + "ld.param.u64 %x2, [d]; add.s64 %x2, %x2, %x1; st.global.u64 [%x2], %ld;\nret;\n}\n";
}

struct Outcome {
  Values values;
  Report report;
};

inline Outcome execute(const std::string &text, Values a, Values b = {}, Values c = {}, uint32_t block = 32,
                       const Options &options = {}) {
  size_t count = (a.size() + block - 1) / block * block;
  for (Values *values : {&a, &b, &c})
    values->resize(count);
  std::unique_ptr<Module> module = parsed(text);
  Memory memory;
  Arguments arguments;
  uint64_t d = memory.allocate(count * 8, "d");
  arguments.add(d);
  for (const Values *values : {&a, &b, &c}) {
    uint64_t address = memory.allocate(count * 8, "abc");
    memory.write(address, values->data(), count * 8);
    arguments.add(address);
  }
  Outcome out;
  out.report =
      module->launch("k", {static_cast<uint32_t>(count / block)}, {block}, 0, arguments, memory, options);
  out.values.resize(count);
  memory.read(d, out.values.data(), count * 8);
  return out;
}

/// Results of a body that has no problem.
inline Values evaluate(const std::string &body, unsigned bits, const Values &a, const Values &b = {},
                       const Values &c = {}, const std::string &outside = "", uint32_t block = 32) {
  Outcome out = execute(kernelText(body, bits, outside), a, b, c, block);
  INFO(body << (out.report.ok() ? "" : "\n" + out.report.problems[0].text()));
  CHECK(out.report.ok());
  out.values.resize(a.size());
  return out.values;
}

/// Numbers of every size, and those where things go wrong.
inline Values integers(size_t count, uint32_t seed) {
  std::mt19937_64 random(seed);
  Values out{0,  1,  2,  ~uint64_t(0), 0x7fffffff, 0x80000000, 0xffffffff, uint64_t(1) << 63,
             31, 32, 33, 63,           64,         255};
  while (out.size() < count)
    out.push_back(random() >> (random() % 64));
  std::shuffle(out.begin(), out.end(), random);
  return out;
}

inline uint32_t bitsOf(float value) { return std::bit_cast<uint32_t>(value); }
inline float floatOf(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }

/// f32 of every size, with infinities, NaN, zeros and denormal numbers.
inline Values floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Values out{0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,   1,        0x80000001, 0x007fffff,
             0x00800000, 0x7f7fffff, bitsOf(1),  bitsOf(-1), bitsOf(0.5f), bitsOf(2)};
  while (out.size() < count) {
    uint32_t kind = random() % 4;
    out.push_back(kind == 0 ? random()
                            : bitsOf(std::ldexp(static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f,
                                                static_cast<int>(random() % (kind == 1 ? 40 : 6)) - 3)));
  }
  std::shuffle(out.begin(), out.end(), random);
  return out;
}

inline bool isNan(float value) { return value != value; }

/// Which line of a text a part of it stands on.
inline std::string lineOf(const std::string &text, const std::string &part) {
  size_t at = text.find(part);
  REQUIRE(at != std::string::npos);
  return std::to_string(1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

/// Kinds of the problems of a body.
using Kinds = std::set<ProblemKind>;
inline Kinds problemsOf(const std::string &body, const Values &a = Values(32), uint32_t block = 32,
                        const std::string &outside = "", const Options &options = {}) {
  Outcome out = execute(kernelText(body, 32, outside), a, {}, {}, block, options);
  Kinds kinds;
  for (const Problem &problem : out.report.problems)
    kinds.insert(problem.kind);
  return kinds;
}

} // namespace cuda_sim_test
