// The simulator's interface: text of commands, what problems say, cycles. What commands compute is compared
// with numpy in test/e2e/npu.
#include "drivers/npu_sim/Simulator.h"
#include <catch2/catch.hpp>

using namespace heddle::npu_sim;
using Catch::Matchers::Contains;

namespace {

Function functionOf(const char *text) {
  Function out;
  std::string error;
  if (!parse(text, out.commands, error))
    FAIL(error);
  size_t bad = 0;
  std::string problem = validate(out.commands, *findMachine("mobile"), bad);
  INFO("command " << bad);
  REQUIRE(problem == "");
  return out;
}

struct Fixture {
  std::vector<std::byte> memory = std::vector<std::byte>(1 << 16, std::byte{1});
  Simulator simulator{*findMachine("mobile")};

  Report run(const Function &function, const Options &options = {}) {
    const Region region = {1 << 20, memory.data(), memory.size(), true};
    int64_t registers[8] = {};
    registers[7] = 1 << 20; // r8
    return simulator.run(function, registers, {&region, 1}, options);
  }
  Report run(const char *text) { return run(functionOf(text)); }
};

} // namespace

TEST_CASE("commands survive as text") {
  const char *lines[] = {
      "set mul rd=20 a=r8+4 b=-3",
      "signal vector semaphore=3 units=2",
      "dma_load chip=4096 chip_s1=64 dram=r8 dram_s1=384 n0=64 n1=r2 n2=1",
      "matmul accumulate transposed acc=-2147483648 acc_stride=128 w=r21-64 w_stride=32 m=r2 k=5 n=32",
      "vec_binary mul dst:s8 a:s32 b:s16 b_per_row dst=64 rows=1 cols=5 shift=3",
  };
  for (const char *line : lines) {
    std::vector<Command> commands;
    std::string error;
    REQUIRE(parse(line, commands, error));
    REQUIRE(commands.size() == 1);
    CHECK(print(commands[0]) == line);
  }
}

TEST_CASE("text that is no command is refused by line and word") {
  std::vector<Command> commands;
  std::string error;
  CHECK_FALSE(parse("barrier\n\nmatmull m=1", commands, error));
  CHECK(error == "line 3: unknown word 'matmull'");
  CHECK_FALSE(parse("matmul j=1", commands, error));
  CHECK_FALSE(parse("vec_fill dst:s64", commands, error));
  CHECK_FALSE(parse("set plus rd=1", commands, error));
  CHECK_FALSE(parse("loop count=r", commands, error));
}

TEST_CASE_METHOD(Fixture, "problems name command, source and values") {
  Function function = functionOf("dma_load chip=0 dram=r8 n0=64 n1=1 n2=1\n"
                                 "vec_binary add b_scalar dst:s32 a:s32 dst=64 a=0 rows=1 cols=4");
  function.sources = {{0, "weights"}, {1, "blk.0.ffn_up"}};
  Report report = run(function);
  REQUIRE(report.problem);
  CHECK(report.problem->kind == Problem::Kind::Race);
  CHECK(report.problem->command == 1);
  CHECK_THAT(report.problem->text(),
             Contains("command 1 (vec_binary add dst:s32 a:s32 b:s8 b_scalar dst=64 rows=1 cols=4), "
                      "for 'blk.0.ffn_up': race: a read of the byte at on-chip address 0x0"));

  report = run("vec_fill dst:s32 dst=393212 rows=1 cols=2");
  REQUIRE(report.problem);
  CHECK_THAT(report.problem->text(),
             Contains("out of bounds: 8 bytes at on-chip address 0x5fffc leave the scratchpad of 393216"));

  report = run("wait dma semaphore=1 units=1\nwait array semaphore=2 units=1");
  REQUIRE(report.problem);
  CHECK(report.problem->kind == Problem::Kind::Deadlock);
  CHECK_THAT(report.problem->text(), Contains("command 0 (wait dma semaphore=1 units=1)") &&
                                         Contains("command 1 (wait array semaphore=2 units=1)"));
}

TEST_CASE_METHOD(Fixture, "a run ends at its limits") {
  Options options;
  options.commandLimit = 1000;
  Report report = run(functionOf("loop count=1000000\nvec_fill dst:s8 rows=1 cols=1\nend_loop"), options);
  REQUIRE(report.problem);
  CHECK(report.problem->kind == Problem::Kind::Limit);
  options = {};
  options.workLimit = 1 << 20;
  report = run(functionOf("vec_fill dst:s8 rows=65535 cols=65535"), options);
  REQUIRE(report.problem);
  CHECK(report.problem->kind == Problem::Kind::Limit);
}

TEST_CASE_METHOD(Fixture, "cycles are those of the page") {
  SECTION("a load is 4 + bytes / 12 on the bus, then the latency") {
    Report report = run("dma_load chip=0 dram=r8 n0=1200 n1=1 n2=1");
    CHECK(report.counts.busy[HEDDLE_NPU_QUEUE_DMA] == 104);
    CHECK(report.counts.cycles == 1 + 104 + 200);
  }
  SECTION("short runs fill up to 16 bytes") {
    CHECK(run("dma_load chip=0 chip_s1=4 dram=r8 dram_s1=4 n0=4 n1=30 n2=1").counts.busy[0] == 4 + 40);
  }
  SECTION("vector: 8 + rows * columns / 64 * cost") {
    CHECK(run("vec_fill dst:s8 dst_stride=65 rows=10 cols=65").counts.busy[2] == 8 + 20);
  }
  SECTION("array: k / 32 * m, filled once") {
    Report report = run("vec_fill dst:s8 rows=1 cols=32768\nbarrier\n"
                        "loop count=3\nmatmul acc=0x80000000 acc_stride=128 a_stride=64 w_stride=32 m=100 "
                        "k=64 n=32\nend_loop");
    CHECK(report.counts.busy[1] == 3 * 200 + 64);
    CHECK(report.counts.multiplyAdds == 3 * 100 * 64 * 32);
  }
  SECTION("two queues on one bank: the later one gets every second cycle") {
    const char *apart =
        "dma_load chip=0 dram=r8 n0=12000 n1=1 n2=1\nvec_fill dst:s8 dst=32768 rows=1 cols=1000";
    const char *together =
        "dma_load chip=0 dram=r8 n0=12000 n1=1 n2=1\nvec_fill dst:s8 dst=16384 rows=1 cols=1000";
    CHECK(run(apart).counts.conflicts[2] == 0);
    CHECK(run(together).counts.conflicts[2] == 8 + 16);
  }
}

TEST_CASE_METHOD(Fixture, "a trace has an event for every command in a queue") {
  Options options;
  options.trace = true;
  Function function =
      functionOf("vec_fill dst:s8 rows=1 cols=64\nbarrier\ndma_store chip=0 dram=r8 n0=64 n1=1 n2=1");
  function.name = "a\"b\x1b";
  Report report = run(function, options);
  REQUIRE(report.events.size() == 2);
  CHECK(report.events[1].start >= report.events[0].end);
  std::string text = chromeTraceFile(chromeTraceEvents(function, report.events));
  CHECK_THAT(text, Contains("\"name\":\"dma_store\"") && Contains("a\\\"b?"));
}

TEST_CASE("a member is written and read back") {
  Program program;
  program.machine = findMachine("edge");
  Function function = functionOf("vec_fill dst:s8 rows=1 cols=16\nbarrier");
  function.name = "kernel";
  function.operandCount = 2;
  function.data.resize(5, std::byte{7});
  function.sources = {{1, "blk.0"}};
  program.functions = {function, function};
  program.functions[1].name = "other";
  std::string error;
  std::vector<std::byte> file = program.write();
  std::unique_ptr<Program> back = Program::read(file, error);
  INFO(error);
  REQUIRE(back);
  CHECK(back->machine == program.machine);
  REQUIRE(back->find("other"));
  CHECK(back->find("other")->data == function.data);
  CHECK(back->find("other")->sourceOf(1) == "blk.0");
  CHECK(back->find("other")->sourceOf(0) == "");
  CHECK(back->write() == file);
  file.resize(file.size() - 1);
  CHECK_FALSE(Program::read(file, error));
}
