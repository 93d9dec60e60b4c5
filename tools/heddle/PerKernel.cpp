#include "tools/heddle/PerKernel.h"
#include "tools/heddle/LaunchTimer.h"
#include "tools/heddle/MachineLimits.h"
#include "tools/heddle/ProgramTables.h"
#include "tools/heddle/ReadBound.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace heddle::cli {

namespace {
// What kernels.json says of a kernel (codegen/package/KernelTable.h).
struct Cost {
  std::string rows;
  double weightBytes = 0, bytesPerRow = 0, cacheBytesPerToken = 0, multiplyAdds = 0, multiplyAddsPerToken = 0,
         elementOps = 0;
  std::string arithmetic;
};

std::map<std::string, Cost> readCosts(const heddle_model *model, const std::string &file) {
  auto text = readMember(model, "kernels.json");
  if (!text)
    fail(ExitUnsupported, printable(file) + ": has no member 'kernels.json'; compile the model again");
  auto json = llvm::json::parse(llvm::StringRef(*text).rtrim('\0'));
  const llvm::json::Array *array = json ? json->getAsArray() : nullptr;
  if (!array) {
    llvm::consumeError(json.takeError());
    fail(ExitInvalidFile, printable(file) + ": expected kernels.json to hold an array");
  }
  std::map<std::string, Cost> costs;
  for (const llvm::json::Value &value : *array) {
    const llvm::json::Object *object = value.getAsObject();
    if (!object || !object->getString("name"))
      fail(ExitInvalidFile, printable(file) + ": expected kernels.json to hold kernels with names");
    auto number = [&](const char *key) { return object->getNumber(key).value_or(0); };
    costs[object->getString("name")->str()] = {object->getString("rows").value_or("").str(),
                                               number("weight_bytes"),
                                               number("bytes_per_row"),
                                               number("cache_bytes_per_token"),
                                               number("multiply_adds_per_row"),
                                               number("multiply_adds_per_row_and_token"),
                                               number("element_ops_per_row"),
                                               object->getString("arithmetic").value_or("").str()};
  }
  return costs;
}

// One kind of run: rows of one sequence from a position on, logits of the last one.
struct Workload {
  std::string name; // "decode", "prefill", "encode"
  uint32_t rows, position, wanted;
  bool causal;
};

// All launches of one kernel together.
struct Row {
  std::string kernel, source; // one source node, and how many more there are
  uint32_t launches = 0;
  double seconds = 0, bytes = 0, operations = 0, limitSeconds = 0;
};

struct Table {
  Workload workload;
  std::vector<Row> rows; // the longest first
  double sumSeconds = 0, wholeSeconds = 0;
};

struct Limits {
  MachineLimits machine;
  double weightBytes; // a second, of the weights of a decode step
};

class Profiler {
public:
  explicit Profiler(const PerKernelOptions &options)
      : options(options), model(openTimed(options, timer, allocator)), info(modelInfo(model.get())),
        program(model.get(), options.run.file), costs(readCosts(model.get(), options.run.file)),
        team(makeTeam(options.threads)) {
    for (const heddle_entry &entry : program.entries())
      if (entry.kind == HEDDLE_ENTRY_STEP || entry.kind == HEDDLE_ENTRY_ENCODE) {
        kind = static_cast<heddle_entry_kind>(entry.kind);
        entryName = program.string(entry.name);
        break;
      }
    if (entryName.empty())
      fail(ExitUnsupported, printable(options.run.file) + ": bench knows text and embedding models");
    limits.machine = measureLimits(info.code_features, options.threads);
    std::vector<ByteRange> ranges = decodeWeightRanges(model.get(), options.run.file, entryName.c_str());
    uint64_t weights = program.header().weights_size;
    const std::byte *base = allocator.largest(weights);
    if (!base || options.run.map)
      fail(ExitUnsupported, "bench measures the read bound over weights in memory; run it without --map");
    limits.weightBytes =
        static_cast<double>(totalBytes(ranges)) / readSeconds(base, ranges, options.threads, 20);
    // After the weights were found: a session's cache may be the larger block.
    auto session = sized<heddle_session_options>();
    session.team = team.get();
    session.wanted = 1;
    this->session = makeSession(model.get(), session);
  }

  std::vector<Workload> workloads() const {
    uint32_t most = std::min(options.prefillTokens, info.max_rows);
    if (kind == HEDDLE_ENTRY_ENCODE)
      return {{"encode", most, 0, 0, false}};
    if (options.depth >= info.max_context)
      fail(ExitResourceLimit, "--depth " + std::to_string(options.depth) +
                                  " leaves no room in the context of " + std::to_string(info.max_context) +
                                  " tokens");
    return {{"decode", 1, options.depth, 1, true}, {"prefill", std::min(most, info.max_context), 0, 1, true}};
  }

  Table measure(const Workload &workload);
  const Limits &machine() const { return limits; }
  const char *code() const { return info.code_member; }
  // The launches of the last timed run, as events of Chrome's trace format.
  void appendTrace(const Workload &workload, double &start, llvm::json::Array &events) const;

private:
  static ModelPtr openTimed(const PerKernelOptions &options, LaunchTimer &timer,
                            RecordingAllocator &allocator) {
    RunOptions run = options.run;
    run.driver = timer.driver();
    return openToRun(run, allocator.get());
  }
  double runOnce(const Workload &workload);
  void append(uint32_t rows, uint32_t position, uint32_t wanted);
  double tokensSeen(const Workload &workload, const heddle_launch &launch) const;
  double rowsOf(const Workload &workload, const Cost &cost) const {
    return cost.rows == "m" ? workload.wanted : cost.rows == "s" ? 1 : workload.rows;
  }
  void addCost(const Workload &workload, const heddle_launch &launch, Row &row) const;

  const PerKernelOptions &options;
  LaunchTimer timer;
  RecordingAllocator allocator;
  ModelPtr model;
  heddle_model_info info;
  ProgramTables program;
  std::map<std::string, Cost> costs;
  TeamPtr team;
  SessionPtr session;
  heddle_entry_kind kind = HEDDLE_ENTRY_STEP;
  std::string entryName;
  Limits limits;
};

// Appends `rows` different tokens to sequence 0, which ends at `position`.
void Profiler::append(uint32_t rows, uint32_t position, uint32_t wanted) {
  std::vector<int32_t> tokens(rows), slots(rows, 0), positions(rows);
  for (uint32_t row = 0; row < rows; ++row) {
    positions[row] = static_cast<int32_t>(position + row);
    tokens[row] = static_cast<int32_t>((uint64_t(position + row) * 7919 + 17) % info.vocabulary);
  }
  int32_t last = static_cast<int32_t>(rows - 1);
  auto step = sized<heddle_step>();
  step.tokens = tokens.data();
  step.slots = slots.data();
  step.positions = positions.data();
  step.count = rows;
  step.wanted = wanted ? &last : nullptr;
  step.wanted_count = wanted;
  call(options.run.file, heddle_session_step, session.get(), entryName.c_str(), &step);
}

// Seconds that the driver took.
double Profiler::runOnce(const Workload &workload) {
  if (kind == HEDDLE_ENTRY_STEP)
    call(options.run.file, heddle_sequence_trim, session.get(), 0u, workload.position);
  append(workload.rows, workload.position, workload.wanted);
  return timer.runSeconds();
}

// Tokens that all rows of the workload see together in attention of this launch: its cache's window counts.
double Profiler::tokensSeen(const Workload &workload, const heddle_launch &launch) const {
  double window = HUGE_VAL;
  for (const heddle_operand &operand : program.operands().subspan(launch.first_operand, launch.operand_count))
    if (operand.kind == HEDDLE_OPERAND_CACHE && program.caches()[operand.index].window)
      window = program.caches()[operand.index].window;
  double seen = 0;
  for (uint32_t row = 0; row < workload.rows; ++row)
    seen += std::min<double>(window, workload.causal ? workload.position + row + 1 : workload.rows);
  return seen;
}

void Profiler::addCost(const Workload &workload, const heddle_launch &launch, Row &row) const {
  auto found = costs.find(row.kernel);
  if (found == costs.end())
    return;
  const Cost &cost = found->second;
  double rows = rowsOf(workload, cost), seen = cost.multiplyAddsPerToken ? tokensSeen(workload, launch) : 0;
  // Keys and values of the sequence are read once, as far as its rows see back together.
  double cached = std::min<double>(workload.position + workload.rows, seen) * cost.cacheBytesPerToken;
  double near = rows * cost.bytesPerRow + cached;
  double products = rows * cost.multiplyAdds + seen * cost.multiplyAddsPerToken;
  row.bytes += cost.weightBytes + near;
  row.operations += 2 * products + rows * cost.elementOps;
  const MachineLimits &machine = limits.machine;
  double reading = cost.weightBytes / limits.weightBytes + near / machine.cacheBytes;
  double computing = cost.arithmetic == "i8"     ? products / machine.integerMultiplyAdds
                     : cost.arithmetic == "i16"  ? 2 * products / machine.integerMultiplyAdds
                     : cost.arithmetic == "bf16" ? products / machine.tileMultiplyAdds
                                                 : products / machine.floatMultiplyAdds;
  computing += rows * cost.elementOps / (2 * machine.floatMultiplyAdds);
  row.limitSeconds += std::max(reading, computing);
}

Table Profiler::measure(const Workload &workload) {
  if (kind == HEDDLE_ENTRY_STEP) { // what was there before, then the context that the workload starts from
    call(options.run.file, heddle_sequence_clear, session.get(), 0u);
    for (uint32_t at = 0; at < workload.position; at += info.max_rows)
      append(std::min(info.max_rows, workload.position - at), at, 0);
  }
  runOnce(workload); // warms caches and page tables
  // The fastest run of each kind: what others do on the machine only makes runs slower. Interleaved, so that
  // a slow minute meets both.
  Table table{workload, {}, 0, HUGE_VAL};
  std::vector<LaunchTimer::Launch> fastest;
  double fastestSeconds = HUGE_VAL;
  for (uint32_t repetition = 0; repetition < options.repeat; ++repetition) {
    timer.setTiming(false);
    table.wholeSeconds = std::min(table.wholeSeconds, runOnce(workload));
    timer.setTiming(true);
    if (double seconds = runOnce(workload); seconds < fastestSeconds) {
      fastestSeconds = seconds;
      fastest = timer.launches();
    }
  }
  timer.setTiming(false);
  std::map<uint32_t, Row> byFunction;
  for (const LaunchTimer::Launch &timed : fastest) {
    const heddle_launch &launch = program.launches()[timed.number];
    Row &row = byFunction[launch.function];
    if (row.launches++ == 0) {
      row.kernel = program.string(program.functions()[launch.function].name);
      row.source = program.string(launch.source);
    }
    row.seconds += timed.end - timed.begin;
    table.sumSeconds += timed.end - timed.begin;
    addCost(workload, launch, row);
  }
  for (auto &[function, row] : byFunction)
    table.rows.push_back(std::move(row));
  std::sort(table.rows.begin(), table.rows.end(),
            [](const Row &a, const Row &b) { return a.seconds > b.seconds; });
  return table;
}

void Profiler::appendTrace(const Workload &workload, double &start, llvm::json::Array &events) const {
  for (const LaunchTimer::Launch &launch : timer.launches()) {
    const heddle_launch &record = program.launches()[launch.number];
    events.push_back(llvm::json::Object{
        {"name", llvm::json::fixUTF8(program.string(program.functions()[record.function].name))},
        {"cat", workload.name},
        {"ph", "X"},
        {"pid", 1},
        {"tid", 1},
        {"ts", 1e6 * (start + launch.begin)},
        {"dur", 1e6 * (launch.end - launch.begin)},
        {"args", llvm::json::Object{{"source", llvm::json::fixUTF8(program.string(record.source))},
                                    {"launch", static_cast<int64_t>(launch.number)}}}});
  }
  start += timer.runSeconds() + 1e-3;
}

void print(const Table &table) {
  std::printf("%s: %u row%s from position %u\n", table.workload.name.c_str(), table.workload.rows,
              table.workload.rows == 1 ? "" : "s", table.workload.position);
  std::printf("  %-44s %5s %9s %6s %10s %8s %9s %9s %6s  %s\n", "kernel", "calls", "us", "time", "MB", "GB/s",
              "GFLOP", "GFLOP/s", "limit", "first source node");
  for (const Row &row : table.rows)
    std::printf("  %-44s %5u %9.1f %5.1f%% %10.3f %8.2f %9.4f %9.2f %5.0f%%  %s\n",
                printable(row.kernel).c_str(), row.launches, 1e6 * row.seconds,
                100 * row.seconds / table.sumSeconds, row.bytes / 1e6, row.bytes / row.seconds / 1e9,
                row.operations / 1e9, row.operations / row.seconds / 1e9,
                100 * row.limitSeconds / row.seconds, printable(row.source).c_str());
  std::printf("  %-44s %5s %9.1f\n  %-44s %5s %9.1f  the kernels are %.1f %% of it\n", "all kernels", "",
              1e6 * table.sumSeconds, "a whole run", "", 1e6 * table.wholeSeconds,
              100 * table.sumSeconds / table.wholeSeconds);
}

void writeJson(llvm::json::OStream &json, const Table &table) {
  json.object([&] {
    json.attribute("run", table.workload.name);
    json.attribute("rows", table.workload.rows);
    json.attribute("position", table.workload.position);
    json.attribute("whole_seconds", table.wholeSeconds);
    json.attribute("kernels_seconds", table.sumSeconds);
    json.attributeArray("kernels", [&] {
      for (const Row &row : table.rows)
        json.object([&] {
          json.attribute("kernel", llvm::json::fixUTF8(row.kernel));
          json.attribute("source", llvm::json::fixUTF8(row.source));
          json.attribute("launches", row.launches);
          json.attribute("seconds", row.seconds);
          json.attribute("bytes", row.bytes);
          json.attribute("operations", row.operations);
          json.attribute("limit_seconds", row.limitSeconds);
          json.attribute("share_of_limit", row.limitSeconds / row.seconds);
        });
    });
  });
}
} // namespace

int benchPerKernel(const PerKernelOptions &options) {
  Profiler profiler(options);
  std::vector<Table> tables;
  llvm::json::Array events;
  double start = 0;
  for (const Workload &workload : profiler.workloads()) {
    tables.push_back(profiler.measure(workload));
    profiler.appendTrace(workload, start, events);
  }
  if (!options.trace.empty())
    writeFileAtomically(
        options.trace,
        llvm::formatv("{0}\n", llvm::json::Value(llvm::json::Object{{"traceEvents", std::move(events)},
                                                                    {"displayTimeUnit", "ms"}}))
            .str());
  const Limits &limits = profiler.machine();
  if (options.format == Format::Text) {
    std::printf(
        "%s\ncode %s, %u thread%s; limits: %.1f GB/s of weights, %.1f GB/s in caches, %.1f Gop/s in i8, "
        "%.1f GFLOP/s in f32\n",
        printable(options.run.file).c_str(), profiler.code(), options.threads,
        options.threads == 1 ? "" : "s", limits.weightBytes / 1e9, limits.machine.cacheBytes / 1e9,
        2 * limits.machine.integerMultiplyAdds / 1e9, 2 * limits.machine.floatMultiplyAdds / 1e9);
    for (const Table &table : tables)
      print(table);
    return ExitOk;
  }
  llvm::json::OStream json(llvm::outs(), 2);
  json.object([&] {
    json.attribute("code", profiler.code());
    json.attribute("threads", options.threads);
    json.attribute("weights_bytes_per_second", limits.weightBytes);
    json.attribute("cache_bytes_per_second", limits.machine.cacheBytes);
    json.attribute("integer_multiply_adds_per_second", limits.machine.integerMultiplyAdds);
    json.attribute("float_multiply_adds_per_second", limits.machine.floatMultiplyAdds);
    json.attribute("tile_multiply_adds_per_second", limits.machine.tileMultiplyAdds);
    json.attributeArray("runs", [&] {
      for (const Table &table : tables)
        writeJson(json, table);
    });
  });
  llvm::outs() << "\n";
  return ExitOk;
}

} // namespace heddle::cli
