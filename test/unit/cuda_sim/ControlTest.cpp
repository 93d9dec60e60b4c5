#include "test/unit/cuda_sim/Harness.h"

using namespace cuda_sim_test;
using enum heddle::cuda_sim::ProblemKind;

namespace {
Values ramp(size_t count) {
  Values out;
  for (size_t i = 0; i < count; ++i)
    out.push_back(i);
  return out;
}
} // namespace

TEST_CASE("lanes diverge and meet again") {
  // Collatz: every lane leaves the loop at its own time; all of them meet for the shuffle.
  Values got =
      evaluate("add.u32 %i3, %ra, 1; mov.u32 %rd, 0;\n"
               "L: setp.eq.u32 %p, %i3, 1; @%p bra DONE; and.b32 %i4, %i3, 1; setp.eq.u32 %q, %i4, 0;\n"
               "@%q bra EVEN; mad.lo.u32 %i3, %i3, 3, 1; bra NEXT;\n"
               "EVEN: shr.u32 %i3, %i3, 1;\nNEXT: add.u32 %rd, %rd, 1; bra L;\n"
               "DONE: activemask.b32 %i5; setp.ne.u32 %p, %i5, 0xffffffff; @%p trap;",
               32, ramp(64));
  for (uint64_t i = 0; i < 64; ++i) {
    uint64_t x = i + 1, steps = 0;
    for (; x != 1; ++steps)
      x = x % 2 ? 3 * x + 1 : x / 2;
    REQUIRE(got[i] == steps);
  }
}

TEST_CASE("blocks at the end of the text do not keep lanes apart") {
  CHECK(evaluate("setp.lt.u32 %p, %ra, 7; @%p bra FAR;\nJOIN: activemask.b32 %rd; bra END;\nFAR: mov.u32 "
                 "%i3, 1; bra JOIN;\nEND:",
                 32, ramp(32)) == Values(32, 0xffffffff));
}

TEST_CASE("branches by a table") {
  Values got = evaluate("and.b32 %i3, %ra, 3; T: .branchtargets A, B, C, B;\n brx.idx %i3, T;\n"
                        "A: mov.u32 %rd, 10; bra E;\nB: mov.u32 %rd, 20; bra E;\nC: mov.u32 %rd, 30;\nE:",
                        32, ramp(32));
  for (size_t i = 0; i < 32; ++i)
    REQUIRE(got[i] == (i % 4 == 0 ? 10 : i % 4 == 2 ? 30 : 20));
  CHECK(problemsOf("T: .branchtargets A, A; brx.idx %ra, T;\nA:", ramp(32)) == Kinds{Trap});
}

TEST_CASE("functions are inlined") {
  std::string outside =
      ".func (.param .b32 r) twice(.param .b32 x)\n{ .reg .b32 %r<3>; .reg .pred %p; ld.param.u32 %r1, [x];\n"
      "setp.gt.u32 %p, %r1, 9; @%p ret; st.param.u32 [r], %r1; shl.b32 %r1, %r1, 1; st.param.u32 [r], %r1; "
      "ret; }\n";
  Values got = evaluate("{ .param .b32 p; .param .b32 q; st.param.u32 [p], %ra; st.param.u32 [q], 77; "
                        "call.uni (q), twice, (p);\n"
                        "ld.param.u32 %rd, [q]; }",
                        32, ramp(32), {}, {}, outside);
  for (size_t i = 0; i < 32; ++i)
    REQUIRE(got[i] == (i > 9 ? 77 : 2 * i));
  CHECK(problemsOf("{ .param .b32 p; st.param.b32 [p], 0; call.uni f, (p); }", Values(32), 32,
                   ".extern .func f(.param .b32 x);") == Kinds{Trap});
  CHECK(
      errorOf(".version 8.0\n.target sm_80\n.func f() { call f; ret; }\n.visible .entry k() { call f; ret; }")
          .find("calls itself") != std::string::npos);
}

TEST_CASE("lanes of a warp may fight for a lock") {
  Values got = evaluate(
      ".shared .b32 lock; .shared .b32 sum; st.shared.u32 [lock], 0; st.shared.u32 [sum], 0; bar.sync 0;\n"
      "SPIN: atom.shared.cas.b32 %i3, [lock], 0, 1; setp.ne.u32 %p, %i3, 0; @%p bra SPIN;\n"
      "membar.cta; ld.shared.u32 %i4, [sum]; add.u32 %i4, %i4, 1; st.shared.u32 [sum], %i4; membar.cta;\n"
      "atom.shared.exch.b32 %i3, [lock], 0; bar.sync 0; ld.shared.u32 %rd, [sum];",
      32, ramp(64), {}, {}, "", 64);
  CHECK(got == Values(64, 64));
}

TEST_CASE("barriers with counts, reductions, arrivals") {
  CHECK(evaluate("setp.lt.u32 %p, %ra, 10; bar.red.popc.u32 %rd, 0, %p;", 32, ramp(64), {}, {}, "", 64) ==
        Values(64, 10));
  CHECK(evaluate("setp.lt.u32 %q, %ra, 10; barrier.cta.red.or.aligned.pred %p, 1, 64, %q;", 1, ramp(64), {},
                 {}, "", 64) == Values(64, 1));
  CHECK(evaluate("setp.lt.u32 %q, %ra, 10; bar.red.and.pred %p, 0, !%q;", 1, ramp(64), {}, {}, "", 64) ==
        Values(64, 0));
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 32; @%p bra B;\nbar.arrive 3, 64; bra E;\nB: bar.sync 3, 64;\nE:",
                   ramp(64), 64) == Kinds{});
  // Lanes that have exited are not waited for.
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 40; @%p exit; bar.sync 0;", ramp(64), 64) == Kinds{});
}

TEST_CASE("barriers that cannot complete are reported") {
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 40; @%p bra B;\nbar.sync 0; bra E;\nB: bar.sync 0;\nE:", ramp(64),
                   64) == Kinds{DivergentBarrier});
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 32; @%p bra B;\nbar.sync 1; bra E;\nB: bar.sync 2;\nE:", ramp(64),
                   64) == Kinds{Deadlock});
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 5; @%p bra B;\nbar.sync 0; bra E;\nB: shfl.sync.idx.b32 %rd, %ra, "
                   "0, 31, -1;\nE:",
                   ramp(32)) == Kinds{DivergentBarrier});
  CHECK(problemsOf("bar.sync 16;") == Kinds{DivergentBarrier});
  CHECK(problemsOf("bar.sync 0, 33;") == Kinds{DivergentBarrier});
  CHECK(problemsOf("setp.eq.u32 %p, %ra, 0; @%p shfl.sync.idx.b32 %rd, %ra, 0, 31, -1;", ramp(32)) ==
        Kinds{DivergentBarrier});
  CHECK(problemsOf("mov.u32 %i3, %laneid; setp.eq.u32 %p, %i3, 3; @%p vote.sync.any.pred %q, %p, 1;",
                   ramp(32)) == Kinds{DivergentBarrier});
}

TEST_CASE("bar.warp.sync may be reached by different ways") {
  CHECK(problemsOf("setp.ge.u32 %p, %ra, 5; @%p bra B;\nbar.warp.sync -1; bra E;\nB: bar.warp.sync -1;\nE:",
                   ramp(32)) == Kinds{});
}

TEST_CASE("what never ends, ends at the step limit") {
  Options options;
  options.stepLimit = 100000;
  CHECK(problemsOf("L: bra L;", Values(32), 32, "", options) == Kinds{StepLimit});
  CHECK(problemsOf("trap;") == Kinds{Trap});
}

TEST_CASE("a launch can be cancelled") {
  Options options;
  uint32_t cancel = 1;
  options.cancel = &cancel;
  Outcome out = execute(kernelText("L: bra L;", 32), ramp(32), {}, {}, 32, options);
  CHECK(out.report.counters.total() < 100000);
}

TEST_CASE("lanes exchange values") {
  Values a = integers(32, 81);
  auto shuffled = [&](const std::string &mode, const std::string &b, const std::string &c) {
    return evaluate("shfl.sync." + mode + ".b32 %rd, %ra, " + b + ", " + c + ", -1;", 32, a);
  };
  Values up = shuffled("up", "3", "0"), down = shuffled("down", "2", "0x181f"),
         butterfly = shuffled("bfly", "5", "31"), index = shuffled("idx", "9", "0x181f");
  Values valid = evaluate("shfl.sync.down.b32 %rd|%p, %ra, 2, 0x181f, -1;", 1, a);
  for (size_t i = 0; i < 32; ++i) {
    REQUIRE(up[i] == uint32_t(a[i < 3 ? i : i - 3]));
    REQUIRE(down[i] == uint32_t(a[i % 8 >= 6 ? i : i + 2])); // segments of eight lanes
    REQUIRE(valid[i] == uint64_t(i % 8 < 6));
    REQUIRE(butterfly[i] == uint32_t(a[i ^ 5]));
    REQUIRE(index[i] == uint32_t(a[i / 8 * 8 + 1]));
  }
  Values small = ramp(32);
  CHECK(evaluate("setp.lt.u32 %p, %ra, 3; vote.sync.ballot.b32 %rd, %p, -1;", 32, small)[9] == 7);
  CHECK(evaluate("setp.lt.u32 %q, %ra, 3; vote.sync.all.pred %p, !%q, -1;", 1, small)[9] == 0);
  CHECK(evaluate("setp.lt.u32 %q, %ra, 99; vote.sync.uni.pred %p, %q, -1;", 1, small)[9] == 1);
  CHECK(evaluate("and.b32 %i3, %ra, 7; match.any.sync.b32 %rd, %i3, -1;", 32, small)[9] == 0x02020202);
  CHECK(evaluate("match.all.sync.b64 %rd|%p, %lb, -1;", 32, small)[9] == 0xffffffff);
  CHECK(evaluate("redux.sync.max.s32 %rd, %ra, -1;", 32, small)[9] == 31);
  CHECK(evaluate("redux.sync.xor.b32 %rd, %ra, -1;", 32, small)[9] == 0);
  // Each half of the warp with a mask of its own, by one instruction.
  CHECK(
      evaluate(
          "setp.lt.u32 %p, %ra, 16; selp.u32 %i3, 0xffff, 0xffff0000, %p; redux.sync.add.u32 %rd, %ra, %i3;",
          32, small)[20] == 16 * 23 + 8);
}

TEST_CASE("special registers") {
  std::string text = kernelText(
      "mov.u32 %i3, %ctaid.x; mov.u32 %i4, %nctaid.x; mov.u32 %i5, %warpid; mad.lo.u32 %rd, %i3, 100, %i4;"
      "mad.lo.u32 %rd, %rd, 10, %i5; mov.u32 %i6, %laneid; mad.lo.u32 %rd, %rd, 100, %i6;"
      "mov.u32 %i6, %lanemask_lt; popc.b32 %i6, %i6; add.u32 %rd, %rd, %i6;",
      32);
  Outcome out = execute(text, ramp(128), {}, {}, 64);
  REQUIRE(out.report.ok());
  CHECK(out.values[0] == 2000);
  CHECK(out.values[64 + 37] == (102 * 10 + 1) * 100 + 5 + 5);
  CHECK(out.report.counters.blocks == 2);
  CHECK(out.report.counters.warps == 4);
}

TEST_CASE("launches are checked") {
  std::unique_ptr<Module> module =
      parsed(".version 8.0\n.target sm_80\n.visible .entry k(.param .u32 n) .reqntid 64 { ret; }");
  Memory memory;
  auto problem = [&](const char *name, Dim3 grid, Dim3 block, uint32_t shared, const Arguments &arguments) {
    Report report = module->launch(name, grid, block, shared, arguments, memory);
    return report.ok() ? "" : report.problems[0].text();
  };
  Arguments one, wrong;
  one.add(uint32_t(1));
  wrong.add(uint64_t(1));
  CHECK(problem("k", {1}, {64}, 0, one) == "");
  CHECK(problem("l", {1}, {64}, 0, one) ==
        "kernel 'l': invalid launch: the module has no kernel of this name");
  CHECK(problem("k", {0}, {64}, 0, one).find("a grid of 0,1,1") != std::string::npos);
  CHECK(problem("k", {1}, {32}, 0, one).find("requires 64,1,1") != std::string::npos);
  CHECK(problem("k", {1}, {64}, 0, wrong).find("argument 1 has 8 bytes") != std::string::npos);
  CHECK(problem("k", {1}, {64}, 0, {}).find("0 arguments") != std::string::npos);
  CHECK(problem("k", {1}, {64}, 1 << 20, one).find("of shared memory") != std::string::npos);
}
