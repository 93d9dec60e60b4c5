#include "test/unit/cuda_sim/Harness.h"

using namespace cuda_sim_test;

namespace {

Values ramp(size_t count) {
  Values out;
  for (size_t i = 0; i < count; ++i)
    out.push_back(i);
  return out;
}

/// Address of this thread's element of `a` in %x3.
const std::string addressOfA = "ld.param.u64 %x3, [a]; add.s64 %x3, %x3, %x1;\n";

/// A body with a shared array of u32 and this thread's element at [%i3].
std::string shared(const std::string &body, const char *size = "128") {
  return std::string(".shared .align 16 .b8 s[") + size +
         "]; mov.u32 %i3, s; mov.u32 %i4, %tid.x; shl.b32 %i4, %i4, 2; add.s32 %i3, %i3, %i4;\n" + body;
}

} // namespace

TEST_CASE("loads extend, vectors are in order") {
  Values a = integers(64, 61);
  Values got = evaluate(addressOfA + "ld.global.s8 %rd, [%x3+3];", 32, a);
  Values high = evaluate(addressOfA + "ld.global.nc.v2.u32 {%i3, %rd}, [%x3];", 32, a);
  Values halves =
      evaluate(addressOfA + "ld.global.v4.u16 {%hc, %hd, _, %ha}, [%x3]; cvt.u32.u16 %rd, %ha;", 32, a);
  Values wide = evaluate(addressOfA + "ld.global.s16 %ld, [%x3+2];", 64, a);
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(got[i] == uint32_t(int8_t(a[i] >> 24)));
    REQUIRE(high[i] == a[i] >> 32);
    REQUIRE(halves[i] == a[i] >> 48);
    REQUIRE(wide[i] == uint64_t(int16_t(a[i] >> 16)));
  }
}

TEST_CASE("generic addresses reach every space") {
  Values a = integers(64, 62);
  CHECK(evaluate(addressOfA + "ld.u64 %ld, [%x3];", 64, a) == a);
  CHECK(evaluate(".shared .align 8 .b8 s[256]; mov.u64 %x4, s; cvta.shared.u64 %x4, %x4; mov.u32 %i3, %tid.x;"
                 "mul.wide.u32 %x5, %i3, 8; add.s64 %x4, %x4, %x5; st.u64 [%x4], %la; ld.u64 %ld, [%x4];"
                 "isspacep.shared %p, %x4; @!%p trap;",
                 64, a) == a);
  CHECK(evaluate(".local .align 8 .b8 l[16]; mov.u64 %x4, l; cvta.local.u64 %x4, %x4; st.u64 [%x4+8], %la;"
                 "ld.local.u64 %ld, [l+8];",
                 64, a) == a);
  // Some lanes mean shared memory, some global.
  CHECK(evaluate(
            addressOfA +
                ".shared .align 8 .b8 s[256]; mov.u64 %x4, s; cvta.shared.u64 %x4, %x4; mov.u32 %i3, %tid.x;"
                "mul.wide.u32 %x5, %i3, 8; add.s64 %x4, %x4, %x5; st.u64 [%x4], %la; and.b32 %i5, %i3, 1;"
                "setp.eq.u32 %p, %i5, 1; selp.u64 %x6, %x4, %x3, %p; ld.u64 %ld, [%x6];",
            64, a) == a);
  CHECK(evaluate("mov.u64 %x4, a; cvta.param.u64 %x4, %x4; ld.u64 %x5, [%x4]; add.s64 %x5, %x5, %x1; "
                 "ld.global.u64 %ld, [%x5];",
                 64, a) == a);
}

TEST_CASE("variables of the module are initialized") {
  std::string outside =
      ".const .align 4 .u32 table[4] = {5, 6, 0x7, 8};\n.global .align 8 .f32 g[2] = {0f3f800000, 2.0};\n"
      ".global .align 8 .u64 where[1] = {generic(g)+4};\n";
  Values got =
      evaluate("and.b32 %i3, %ra, 3; mul.wide.u32 %x4, %i3, 4; mov.u64 %x5, table; add.s64 %x5, %x5, %x4;"
               "ld.const.u32 %rd, [%x5];",
               32, ramp(32), {}, {}, outside);
  for (size_t i = 0; i < 32; ++i)
    REQUIRE(got[i] == 5 + i % 4);
  CHECK(evaluate("ld.global.u64 %x4, [where]; ld.f32 %rd, [%x4];", 32, ramp(1), {}, {}, outside)[0] ==
        bitsOf(2));
}

TEST_CASE("bounds and alignment of every space") {
  using enum ProblemKind;
  CHECK(problemsOf(addressOfA + "ld.global.u64 %x4, [%x3+8];") == Kinds{OutOfBounds});
  CHECK(problemsOf("ld.global.u32 %rd, [0];") == Kinds{OutOfBounds});
  CHECK(problemsOf(addressOfA + "st.global.u32 [%x3+-8], %rd;") == Kinds{OutOfBounds});
  CHECK(problemsOf(addressOfA + "ld.global.v2.u32 {%rd, %i3}, [%x3+4];") == Kinds{Misaligned});
  CHECK(problemsOf(shared("st.shared.u32 [%i3+4], %ra;")) == Kinds{OutOfBounds});
  CHECK(problemsOf(shared("st.shared.u32 [%i3+2], %ra;")) == Kinds{Misaligned});
  CHECK(problemsOf(".shared .b32 t; .shared .b32 u; st.shared.u32 [t], 0; mov.u32 %i3, t; ld.shared.u32 %rd, "
                   "[%i3+4];") == Kinds{OutOfBounds}); // neighbours are kept apart
  CHECK(problemsOf(".local .b32 l; mov.u32 %i3, l; ld.local.u32 %rd, [%i3+64];") == Kinds{OutOfBounds});
  CHECK(problemsOf("mov.u32 %i3, 40; ld.param.u32 %rd, [%i3];") == Kinds{OutOfBounds});
  CHECK(problemsOf(addressOfA + "cvta.to.shared.u64 %x3, %x3; ld.shared.u32 %rd, [%x3];") ==
        Kinds{OutOfBounds});
}

TEST_CASE("reads of what nobody wrote") {
  using enum ProblemKind;
  CHECK(problemsOf(shared("ld.shared.u32 %rd, [%i3];")) == Kinds{UnwrittenRead});
  CHECK(problemsOf(shared("st.shared.u8 [%i3], %ra; ld.shared.u8 %rd, [%i3];")) == Kinds{});
  CHECK(problemsOf(shared("st.shared.u8 [%i3], %ra; ld.shared.u16 %rd, [%i3];")) == Kinds{UnwrittenRead});
  CHECK(problemsOf("ld.param.u64 %x3, [d]; add.s64 %x3, %x3, %x1; ld.global.u32 %rd, [%x3];") ==
        Kinds{UnwrittenRead});
  CHECK(problemsOf("ld.param.u64 %x3, [d]; add.s64 %x3, %x3, %x1; st.global.u16 [%x3], 1; ld.global.u16 %rd, "
                   "[%x3];") == Kinds{});
  Options off;
  off.unwritten = false;
  CHECK(problemsOf(shared("ld.shared.u32 %rd, [%i3];"), Values(32), 32, "", off) == Kinds{});
}

TEST_CASE("races in shared memory") {
  using enum ProblemKind;
  const std::string other =
      "xor.b32 %i5, %i4, 128; mov.u32 %i6, s; add.s32 %i5, %i6, %i5;\n"; // of the other warp
  const std::string near =
      "xor.b32 %i5, %i4, 4; mov.u32 %i6, s; add.s32 %i5, %i6, %i5;\n"; // of the neighbour
  Values a = ramp(64);
  auto kinds = [&](const std::string &body) { return problemsOf(shared(body, "256"), a, 64); };
  std::string write = "st.shared.u32 [%i3], %ra;", read = "ld.shared.u32 %rd, [%i5];";
  CHECK(kinds(other + write + read) == Kinds{Race, UnwrittenRead});
  CHECK(kinds(other + write + "bar.sync 0;" + read) == Kinds{});
  CHECK(kinds(other + write + "bar.sync 0;" + read + "st.shared.u32 [%i3], %i5;") == Kinds{Race});
  CHECK(kinds(other + write + "bar.sync 0;" + read + "bar.sync 0; st.shared.u32 [%i3], %i5;") == Kinds{});
  CHECK(kinds(near + write + read) == Kinds{Race});
  CHECK(kinds(near + write + "bar.warp.sync -1;" + read) == Kinds{});
  CHECK(kinds(other + write + "bar.warp.sync -1;" + read) == Kinds{Race, UnwrittenRead});
  CHECK(kinds("st.shared.u32 [s], %ra;") == Kinds{Race});
  CHECK(kinds("st.shared.u32 [s], 7;") == Kinds{}); // the same value
  CHECK(kinds("cvt.u16.u32 %hc, %ra; mov.u32 %i5, %tid.x; mov.u32 %i6, s; add.s32 %i5, %i5, %i6; "
              "st.shared.u8 [%i5], %hc;") == Kinds{}); // neighbours in one word
  CHECK(
      kinds(
          "st.shared.u32 [s], 0; bar.sync 0; atom.shared.add.u32 %i5, [s], 1; red.shared.add.u32 [s], 1;") ==
      Kinds{});
  CHECK(kinds("st.shared.u32 [s], 0; bar.sync 0; atom.shared.add.u32 %i5, [s], 1; ld.shared.u32 %rd, [s];") ==
        Kinds{Race});
  CHECK(kinds("st.shared.u32 [s], 0; bar.sync 0; atom.shared.add.u32 %i5, [s], 1; ld.volatile.shared.u32 "
              "%rd, [s];") == Kinds{});
}

TEST_CASE("a race names both places") {
  std::string code =
      kernelText(shared("st.shared.u32 [%i3], %ra;\nmov.u32 %i5, s;\nld.shared.u32 %rd, [%i5];"), 32);
  Outcome out = execute(code, ramp(32));
  REQUIRE(out.report.problems.size() == 1);
  std::string text = out.report.problems[0].text();
  INFO(text);
  CHECK(text.find("kernel 'k', line " + lineOf(code, "ld.shared") +
                  ", block 0,0,0, thread 1,0,0: race: 'ld.shared.u32'") == 0);
  CHECK(text.find("(thread 0,0,0, line " + lineOf(code, "st.shared") + ")") != std::string::npos);
}

TEST_CASE("asynchronous copies land at the wait") {
  using enum ProblemKind;
  std::string copy = addressOfA +
                     ".shared .align 16 .b8 s[256]; mov.u32 %i4, %tid.x; shl.b32 %i3, %i4, 3; mov.u32 %i5, s;"
                     "add.s32 %i3, %i3, %i5; cp.async.ca.shared.global [%i3], [%x3], 8;\n";
  Values a = integers(32, 71);
  CHECK(evaluate(copy + "cp.async.wait_all; ld.shared.u64 %ld, [%i3];", 64, a) == a);
  CHECK(evaluate(copy + "cp.async.commit_group; cp.async.wait_group 0; ld.shared.u64 %ld, [%i3];", 64, a) ==
        a);
  CHECK(problemsOf(copy + "cp.async.commit_group; ld.shared.u32 %rd, [%i3]; cp.async.wait_group 0;") ==
        Kinds{PendingCopy});
  CHECK(problemsOf(copy + "cp.async.wait_group 0; ld.shared.u32 %rd, [%i3]; cp.async.wait_all;") ==
        Kinds{PendingCopy});
  CHECK(problemsOf(
            copy +
            "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %rd, [%i3]; cp.async.wait_all;") ==
        Kinds{PendingCopy});
  CHECK(problemsOf(copy + "cp.async.commit_group;") == Kinds{UnwaitedCopy});
  CHECK(problemsOf(copy + "st.shared.u32 [%i3], 0; cp.async.wait_all;") == Kinds{PendingCopy});
  // The rest of a short source is zeros; without a source, all of it.
  Values part = evaluate(copy + "cp.async.wait_all; cp.async.ca.shared.global [%i3], [%x3], 8, 3; "
                                "cp.async.wait_all; ld.shared.u64 %ld, [%i3];",
                         64, a);
  Values none = evaluate(copy + "cp.async.wait_all; mov.u32 %i6, 0; cp.async.ca.shared.global [%i3], [0], 8, "
                                "%i6; cp.async.wait_all;"
                                "ld.shared.u64 %ld, [%i3];",
                         64, a);
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(part[i] == (a[i] & 0xffffff));
    REQUIRE(none[i] == 0);
  }
}

TEST_CASE("atomics of every type") {
  auto one = [](const std::string &operation, const std::string &type, const std::string &value,
                uint64_t start, uint32_t block = 64) {
    std::string text = kernelText("atom.global." + operation + "." + type + " %l" + "d, [g], " + value + ";",
                                  64, ".global .align 8 .b64 g[1] = {" + std::to_string(start) + "};");
    std::unique_ptr<Module> module = parsed(text);
    Memory memory;
    Arguments arguments;
    uint64_t array = memory.allocate(block * 8, "array");
    memory.fill(array, 0, block * 8);
    for (int i = 0; i < 4; ++i)
      arguments.add(array);
    Report report = module->launch("k", {1}, {block}, 0, arguments, memory);
    REQUIRE(report.ok());
    uint64_t out = 0;
    memory.read(module->variable("g", memory), &out, 8);
    return out;
  };
  CHECK(one("add", "u64", "3", 5) == 5 + 64 * 3);
  CHECK(one("max", "s64", "-3", ~uint64_t(8)) == uint64_t(-3));
  CHECK(one("min", "u64", "9", 100) == 9);
  CHECK(one("and", "b64", "0xf0", 0xff) == 0xf0);
  CHECK(one("exch", "b64", "77", 1) == 77);
  CHECK(std::bit_cast<double>(one("add", "f64", "0d3fe0000000000000", 0)) == 32.0);
  CHECK(evaluate(".shared .b32 s; st.shared.u32 [s], 0; bar.warp.sync -1; atom.shared.inc.u32 %rd, [s], 4;",
                 32, ramp(32))[31] == 31 % 5);
  CHECK(evaluate(".shared .b32 s; st.shared.u32 [s], 3; bar.warp.sync -1; atom.shared.dec.u32 %rd, [s], 3;",
                 32, ramp(32))[5] == 2);
  CHECK(
      evaluate(".shared .b32 s; st.shared.u32 [s], 0; bar.warp.sync -1; atom.shared.cas.b32 %rd, [s], 0, 9;",
               32, ramp(32))[1] == 9);
  CHECK(evaluate(".shared .b32 s; st.shared.u32 [s], 0; bar.warp.sync -1; mov.u32 %i3, 0x3c003800; "
                 "atom.shared.add.noftz.f16x2 "
                 "%rd, [s], %i3;",
                 32, ramp(32))[2] == 0x40003c00);
}

TEST_CASE("sectors, bytes and bank conflicts are counted") {
  auto counts = [](const std::string &body) {
    return execute(kernelText(body, 32), ramp(32)).report.counters;
  };
  Counters none = counts("");
  auto sectors = [&](const std::string &address) {
    return counts("ld.param.u64 %x3, [a]; mov.u32 %i3, %tid.x; " + address +
                  " add.s64 %x3, %x3, %x4; ld.global.u8 %rd, [%x3];")
               .globalLoadSectors -
           none.globalLoadSectors;
  };
  CHECK(sectors("mul.wide.u32 %x4, %i3, 1;") == 1);
  CHECK(sectors("mul.wide.u32 %x4, %i3, 4;") == 4);
  CHECK(sectors("mul.wide.u32 %x4, %i3, 8;") == 8);
  CHECK(sectors("mov.u64 %x4, 0;") == 1);
  CHECK(none.globalLoadBytes == 3 * 32 * 8);
  CHECK(none.globalStoreSectors == 8);
  auto conflicts = [&](const std::string &stride, const std::string &load) {
    Counters c =
        counts(".shared .align 16 .b8 s[8192]; mov.u32 %i3, s; mov.u32 %i4, %tid.x; mad.lo.u32 %i3, %i4, " +
               stride + ", %i3; " + load);
    return c.bankConflicts();
  };
  CHECK(conflicts("4", "st.shared.u32 [%i3], %ra;") == 0);
  CHECK(conflicts("8", "st.shared.u32 [%i3], %ra;") == 1);
  CHECK(conflicts("128", "st.shared.u32 [%i3], %ra;") == 31);
  CHECK(conflicts("132", "st.shared.u32 [%i3], %ra;") == 0);
  CHECK(conflicts("16", "st.shared.v4.u32 [%i3], {%ra, %ra, %ra, %ra};") == 0);
  CHECK(conflicts("128", "st.shared.v4.u32 [%i3], {%ra, %ra, %ra, %ra};") == 4 * 7);
}
