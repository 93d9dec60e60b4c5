// npu-sim under the runtime: a text model whose only kernel is written by hand. The logits of a row are the
// sum of the sequence's tokens so far, kept in its cache.
#include "../runtime/Fixture.h"
#include "drivers/npu_sim/Simulator.h"
#include <heddle/npu_sim.h>

using namespace heddle::test;
using Catch::Matchers::Contains;

namespace {

constexpr uint32_t vocabulary = 8, maxContext = 512, maxSlots = 3,
                   pages = maxSlots * maxContext / HEDDLE_PAGE_TOKENS;
constexpr uint64_t pageBytes = HEDDLE_PAGE_TOKENS * 2 * 8 * 2;

// r8 tokens, r9 logits, r10 cache, r11 page table, r12 work
const char *const sumKernel =
    "load rd=20 address=r12+8             # slot\n"
    "load rd=21 address=r12+12            # position\n"
    "set mul rd=22 a=r20 b=16             # its pages: 4 of 4 bytes each\n"
    "set add rd=22 a=r22 b=r11\n"
    "load rd=23 address=r22\n"
    "set mul rd=23 a=r23 b=4096\n"
    "set add rd=23 a=r23 b=r10            # page 0 of the slot\n"
    "set mul rd=24 a=r21 b=4\n"
    "set add rd=25 a=r23 b=r24\n"
    "dma_load chip=0 dram=r8 n0=4 n1=1 n2=1\n"
    "dma_store chip=0 dram=r25 n0=4 n1=1 n2=1\n"
    "dma_load chip=4096 dram=r23 n0=r24+4 n1=1 n2=1\n"
    "signal dma semaphore=0 units=1\n"
    "wait vector semaphore=0 units=1\n"
    "vec_reduce sum dst:s32 a:s32 dst=8192 a=4096 rows=1 cols=r21+1\n"
    "vec_fill dst:s32 dst=12288 rows=1 cols=8\n"
    "vec_binary add dst:s32 a:s32 b:s32 b_per_row dst=12288 a=12288 b=8192 rows=1 cols=8\n"
    "vec_to_f32 a:s32 dst=12288 a=12288 rows=1 cols=8\n"
    "signal vector semaphore=1 units=1\n"
    "wait dma semaphore=1 units=1\n"
    "loop count=r3                        # wanted rows\n"
    "dma_store chip=12288 dram=r9 n0=32 n1=1 n2=1\n"
    "end_loop\n";

Bytes memberOf(const char *text, const char *name = "sum") {
  heddle::npu_sim::Program program;
  program.machine = heddle::npu_sim::findMachine("edge");
  heddle::npu_sim::Function function;
  std::string error;
  REQUIRE(heddle::npu_sim::parse(text, function.commands, error));
  function.name = name;
  function.operandCount = 5;
  function.sources = {{0, "blk.0.sum"}};
  program.functions.push_back(function);
  std::vector<std::byte> file = program.write();
  auto *bytes = reinterpret_cast<const uint8_t *>(file.data());
  return Bytes(bytes, bytes + file.size());
}

Bytes artifactOf(Bytes member) {
  ProgramBuilder p;
  p.header.max_rows = p.header.max_wanted = 1;
  p.header.max_context = maxContext;
  p.header.max_slots = maxSlots;
  p.header.vocabulary = vocabulary;
  p.codes.push_back({p.string("code/npu-edge.bin"), HEDDLE_CODE_NPU | 1 << 16});
  p.caches.push_back({1, 8, 8, HEDDLE_DTYPE_F16, pageBytes, 0, 0});
  p.functions.push_back({p.string("sum"), 0, 0});
  p.offsets.push_back(0);
  p.entries.push_back({p.string("step"), HEDDLE_ENTRY_STEP, 0, 0, 0, 1});
  constexpr int64_t rows = -1 - HEDDLE_DIM_ROWS, wanted = -1 - HEDDLE_DIM_WANTED;
  for (const char *name : {"tokens", "slots", "positions"})
    p.io(name, HEDDLE_DTYPE_I32, false, {rows});
  p.io("wanted", HEDDLE_DTYPE_I32, false, {wanted});
  p.io("logits", HEDDLE_DTYPE_F32, true, {wanted, vocabulary});
  p.variants.push_back({p.string("rows"), 1, 1, 0, 0, 1, 64, 0, 0});
  p.launch(0,
           {{HEDDLE_OPERAND_IO, 0, 0, 4},
            {HEDDLE_OPERAND_IO, 4, 0, 4 * vocabulary},
            {HEDDLE_OPERAND_CACHE, 0, 0, pages * pageBytes},
            {HEDDLE_OPERAND_PAGE_TABLE, 0, 0, pages * 4},
            {HEDDLE_OPERAND_WORK, 0, 0, sizeof(heddle_work)}},
           HEDDLE_DIM_ROWS);
  ArtifactBuilder artifact;
  artifact.add("program.bin", p.build());
  artifact.add("code/npu-edge.bin", std::move(member));
  return artifact.build();
}

heddle_model_options onSimulator() {
  heddle_model_options options = vouched();
  options.driver = heddle_driver_npu_sim();
  return options;
}

/// What opening the artifact says.
std::string openError(const Bytes &bytes) {
  heddle_source source = memorySource(bytes);
  heddle_model_options options = onSimulator();
  heddle_model *model = nullptr;
  Error error;
  CHECK(heddle_model_open(&source, &options, &model, &error) != HEDDLE_OK);
  return error.message;
}

} // namespace

TEST_CASE("a text model runs on npu-sim: caches, page tables, work records, forks") {
  OpenModel open(artifactOf(memberOf(sumKernel)), onSimulator());
  Session session(open.model, 3);
  float sums[2] = {};
  for (int i = 0; i < 20; ++i)
    for (int slot = 0; slot < 2; ++slot) {
      int32_t token = (i * 3 + slot) % vocabulary;
      REQUIRE(session.append(slot, {token}) == HEDDLE_OK);
      sums[slot] += token;
      CHECK(session.output() == std::vector<float>(vocabulary, sums[slot]));
    }
  REQUIRE(heddle_sequence_fork(session.session, 0, 2, nullptr) == HEDDLE_OK);
  REQUIRE(session.append(2, {5}) == HEDDLE_OK);
  CHECK(session.output()[0] == sums[0] + 5);

  heddle_npu_sim_counts counts = {};
  heddle_npu_sim_visit_counts(
      [](void *context, const heddle_npu_sim_counts *one) {
        *static_cast<heddle_npu_sim_counts *>(context) = *one;
      },
      &counts);
  CHECK(std::string(counts.kernel) == "sum");
  CHECK(counts.launches == 41);
  CHECK(counts.bytes_stored == 41 * (4 + 32));
  CHECK(counts.cycles > 41 * 2 * 100); // what is loaded is waited for, and so is what is stored
}

TEST_CASE("a trace holds the launches one after another") {
  OpenModel open(artifactOf(memberOf(sumKernel)), onSimulator());
  Session session(open.model, 3);
  heddle_npu_sim_trace_begin();
  REQUIRE(session.append(0, {1}) == HEDDLE_OK);
  REQUIRE(session.append(0, {2}) == HEDDLE_OK);
  std::string text;
  heddle_npu_sim_trace_end([](void *context, const char *part,
                              size_t size) { static_cast<std::string *>(context)->assign(part, size); },
                           &text);
  CHECK_THAT(text, Contains("\"name\":\"vec_reduce\"") && Contains("\"source\":\"blk.0.sum\""));
  CHECK(std::count(text.begin(), text.end(), '\n') == 2 + 2 * 12 + 3);
}

TEST_CASE("what the simulator finds wrong is an error of the run, by kernel, node and command") {
  std::string racing = sumKernel;
  racing.replace(racing.find("wait vector semaphore=0 units=1\n"), 32, "");
  OpenModel open(artifactOf(memberOf(racing.c_str())), onSimulator());
  Session session(open.model, 3);
  CHECK(session.append(0, {1}) == HEDDLE_INTERNAL_ERROR);
  CHECK_THAT(
      session.error.message,
      Contains("device 'npu-sim': kernel 'sum', for 'sum': command 13 (vec_reduce sum") &&
          Contains("for 'blk.0.sum': unwritten read: the byte at on-chip address 0x1000 is not written"));
  CHECK(heddle_sequence_length(session.session, 0) == 0);
}

TEST_CASE("code that is not there, or wrong, is refused when the model is opened") {
  CHECK_THAT(openError(artifactOf(memberOf(sumKernel, "product"))), Contains("its code has no kernel 'sum'"));
  Bytes wrong = memberOf(sumKernel);
  wrong[sizeof(heddle_npu_header) + sizeof(heddle_npu_function)] = 200; // the first opcode
  CHECK_THAT(openError(artifactOf(wrong)), Contains("function 'sum', command 0: unknown opcode 200"));
  wrong = memberOf(sumKernel);
  wrong[0] = 'X';
  CHECK_THAT(openError(artifactOf(wrong)), Contains("no NPU code"));
  CHECK_THAT(openError(ToyModel().artifact().build()), Contains("compile with --target npu"));
}
