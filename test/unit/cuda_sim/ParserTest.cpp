#include "test/unit/cuda_sim/Harness.h"

using namespace cuda_sim_test;

namespace {
const std::string head = ".version 8.0\n.target sm_80\n.address_size 64\n";
std::string entry(const std::string &body) {
  return head + ".visible .entry k(.param .u64 p)\n{\n" + body + "\nret;\n}\n";
}
} // namespace

TEST_CASE("unknown instructions name themselves, their line and their kernel") {
  CHECK(errorOf(entry("wgmma.fence.sync.aligned;")) ==
        "kernel 'k', line 6: 'wgmma.fence.sync.aligned': unknown instruction");
  CHECK(errorOf(entry(".reg .b32 %r<3>;\nadd.s32.what %r1, %r1, %r2;")) ==
        "kernel 'k', line 7: 'add.s32.what': modifier '.what' is not supported here");
  CHECK(errorOf(entry(".reg .b32 %r<3>; .reg .b64 %x;\nadd.s32 %r1, %x, %r2;"))
            .find("expected a register of 32 bits, found one of type '.b64'") != std::string::npos);
  CHECK(errorOf(entry("bra NOWHERE;")).find("unknown name 'NOWHERE'") != std::string::npos);
  CHECK(errorOf(entry(".reg .b32 %r<3>;\nadd.s32 %r1, %r3, %r2;")).find("unknown name '%r3'") !=
        std::string::npos);
}

TEST_CASE("scopes nest, names are found in the innermost") {
  CHECK(evaluate("{ .reg .b32 %t; mov.u32 %t, 5; { .reg .b32 %t; mov.u32 %t, 7; bra IN; IN: } bra OUT; "
                 "mov.u32 %t, 9; OUT: mov.u32 %rd, %t; }",
                 32, Values(1))[0] == 5);
}

TEST_CASE("source places come from .loc") {
  std::string text = kernelText(".loc 2 17 3\ntrap;", 32, ".file 1 \"a.mlir\"\n.file 2 \"model.mlir\"\n");
  Outcome out = execute(text, Values(1));
  REQUIRE(out.report.problems.size() == 1);
  CHECK(out.report.problems[0].source == "model.mlir:17:3");
  CHECK(out.report.problems[0].text().find("kernel 'k', line " + lineOf(text, "trap;") +
                                           " (model.mlir:17:3), block 0,0,0, thread 0,0,0: trap") == 0);
}

TEST_CASE("hostile text is refused") {
  std::string deep(100, '{');
  CHECK(errorOf(entry(deep)).find("nested too deeply") != std::string::npos);
  CHECK(errorOf(entry(".shared .b8 s[0xffffffffffffffff][16];")).find("larger than") != std::string::npos);
  CHECK(errorOf(entry(".local .b8 s[1000000];")).find("local memory") != std::string::npos);
  CHECK(errorOf(entry(".shared .b8 s[9000000]; st.shared.u8 [s], 0;")).find("shared variables take more") !=
        std::string::npos);
  CHECK(errorOf(head + ".visible .entry k(").find("end of the text") != std::string::npos);
  CHECK(errorOf(head + ".global .b32 g[4] = {1,2,3,4,5};").find("do not fit") != std::string::npos);
  CHECK(errorOf(head + ".visible .entry k() { ret; } .visible .entry k() { ret; }").find("defined twice") !=
        std::string::npos);
  CHECK(errorOf("/* no end").find("has no end") != std::string::npos);
  CHECK(errorOf(entry(".reg .b32 %r<2>; mov.u32 %r1, 99999999999999999999;")).find("does not fit 64 bits") !=
        std::string::npos);
  CHECK(errorOf(entry("A: A: ret;")).find("defined twice") != std::string::npos);
  // Registers are made when they are used: a large range costs nothing.
  parsed(entry(".reg .b32 %r<4000000000>; mov.u32 %r3999999999, 1;"));
  // Sixteen functions that each call the next one twice: 2^16 copies of the last.
  std::string chain = head + ".func f0() { membar.gl; membar.gl; membar.gl; membar.gl; membar.gl; membar.gl; "
                             "membar.gl; membar.gl; ret; }\n";
  for (int i = 1; i <= 20; ++i) {
    std::string inner = "f" + std::to_string(i - 1);
    chain += ".func f" + std::to_string(i) + "() { call " + inner + "; call " + inner + "; ret; }\n";
  }
  CHECK(errorOf(chain + ".visible .entry k() { call f20; ret; }")
            .find("instructions with its functions inlined") != std::string::npos);
}

TEST_CASE("registers that do not live at once share slots") {
  std::string body = ".reg .b32 %r<2000>; .reg .b64 %w<1000>; ld.param.u64 %w0, [p];\n";
  for (int i = 1; i < 900; ++i)
    body += "add.s64 %w" + std::to_string(i) + ", %w" + std::to_string(i - 1) + ", 1; cvt.u32.u64 %r" +
            std::to_string(i) + ", %w" + std::to_string(i) + "; add.s32 %r" + std::to_string(i) + ", %r" +
            std::to_string(i) + ", 1;\n";
  std::unique_ptr<Module> module = parsed(entry(body));
  CHECK(module->kernels()[0].registerCount < 12);
}
