// `heddle bench --device npu-sim`: cycles by the rules of docs/npu-isa.md, and where they go.
#include "tools/heddle/Devices.h"
#include "tools/heddle/Generation.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <heddle/npu_sim.h>
#include <map>
#include <span>

namespace heddle::cli {
namespace {

using Counts = std::map<std::string, heddle_npu_sim_counts>; // by kernel

constexpr uint64_t heddle_npu_sim_counts::*kSums[] = {
    &heddle_npu_sim_counts::launches,     &heddle_npu_sim_counts::cycles,
    &heddle_npu_sim_counts::commands,     &heddle_npu_sim_counts::multiply_adds,
    &heddle_npu_sim_counts::bytes_loaded, &heddle_npu_sim_counts::bytes_stored,
    &heddle_npu_sim_counts::peak_bytes,   &heddle_npu_sim_counts::peak_multiply_adds};
constexpr uint64_t (heddle_npu_sim_counts::*kQueueSums[])[3] = {
    &heddle_npu_sim_counts::busy, &heddle_npu_sim_counts::waiting, &heddle_npu_sim_counts::conflicts};

/// to += sign * more
void add(heddle_npu_sim_counts &to, const heddle_npu_sim_counts &more, uint64_t sign = 1) {
  for (auto sum : kSums)
    to.*sum += sign * more.*sum;
  for (auto sum : kQueueSums)
    for (int queue = 0; queue < 3; ++queue)
      (to.*sum)[queue] += sign * (more.*sum)[queue];
}

Counts countsNow() {
  Counts counts;
  heddle_npu_sim_visit_counts(
      [](void *context, const heddle_npu_sim_counts *one) {
        static_cast<Counts *>(context)->insert_or_assign(one->kernel, *one);
      },
      &counts);
  return counts;
}

/// What `work` makes the kernels do.
template <typename Work> Counts countsOf(Work work) {
  Counts before = countsNow();
  work();
  Counts after = countsNow();
  for (auto &[kernel, counts] : after)
    if (auto earlier = before.find(kernel); earlier != before.end())
      add(counts, earlier->second, ~uint64_t{0}); // times -1
  std::erase_if(after, [](const auto &entry) { return entry.second.launches == 0; });
  return after;
}

double percent(uint64_t part, uint64_t whole) {
  return whole ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

/// The fewest cycles that arithmetic and bytes allow, as a share of those taken.
double rooflineShare(const heddle_npu_sim_counts &counts) {
  return std::max(percent(counts.multiply_adds, counts.peak_multiply_adds),
                  percent(counts.bytes_loaded + counts.bytes_stored, counts.peak_bytes));
}

struct Phase {
  const char *name;
  size_t tokens;
  Counts kernels;
};

heddle_npu_sim_counts total(const Counts &kernels) {
  heddle_npu_sim_counts sum = {};
  for (const auto &[kernel, counts] : kernels)
    add(sum, counts);
  return sum;
}

void printRow(const heddle_npu_sim_counts &c, const std::string &name) {
  std::printf("  %8llu %12llu %6.1f%% %6.1f%% %6.1f%% %7.1f%% %12llu %10llu %8.1f%%  %s\n",
              static_cast<unsigned long long>(c.launches), static_cast<unsigned long long>(c.cycles),
              percent(c.busy[0], c.cycles), percent(c.busy[1], c.cycles), percent(c.busy[2], c.cycles),
              percent(c.multiply_adds, c.peak_multiply_adds),
              static_cast<unsigned long long>(c.bytes_loaded + c.bytes_stored),
              static_cast<unsigned long long>(c.conflicts[0] + c.conflicts[1] + c.conflicts[2]),
              rooflineShare(c), name.c_str());
}

void printText(const Phase &phase) {
  std::printf("%s of %zu token%s\n", phase.name, phase.tokens, phase.tokens == 1 ? "" : "s");
  std::printf("  launches       cycles     dma   array  vector  mac peak        bytes  conflicts  roofline  "
              "kernel\n");
  for (const auto &[kernel, counts] : phase.kernels)
    printRow(counts, printable(kernel));
  printRow(total(phase.kernels), "all");
}

void writeCounts(llvm::json::OStream &json, const heddle_npu_sim_counts &c) {
  auto number = [&](const char *name, uint64_t value) { json.attribute(name, static_cast<int64_t>(value)); };
  number("launches", c.launches);
  number("cycles", c.cycles);
  number("commands", c.commands);
  static constexpr const char *queues[] = {"dma", "array", "vector"};
  for (int queue = 0; queue < 3; ++queue) {
    std::string name = queues[queue];
    number((name + "_busy_cycles").c_str(), c.busy[queue]);
    number((name + "_waiting_cycles").c_str(), c.waiting[queue]);
    number((name + "_conflict_cycles").c_str(), c.conflicts[queue]);
  }
  number("multiply_adds", c.multiply_adds);
  number("loaded_bytes", c.bytes_loaded);
  number("stored_bytes", c.bytes_stored);
  json.attribute("multiply_adds_of_peak_percent", percent(c.multiply_adds, c.peak_multiply_adds));
  json.attribute("bandwidth_percent", percent(c.bytes_loaded + c.bytes_stored, c.peak_bytes));
  json.attribute("roofline_percent", rooflineShare(c));
}

void printJson(const std::vector<Phase> &phases) {
  llvm::json::OStream json(llvm::outs(), 2);
  json.object([&] {
    json.attribute("device", "npu-sim");
    json.attributeArray("phases", [&] {
      for (const Phase &phase : phases)
        json.object([&] {
          json.attribute("phase", phase.name);
          json.attribute("tokens", static_cast<int64_t>(phase.tokens));
          json.attributeObject("all", [&] { writeCounts(json, total(phase.kernels)); });
          json.attributeArray("kernels", [&] {
            for (const auto &[kernel, counts] : phase.kernels)
              json.object([&, &kernel = kernel, &counts = counts] {
                json.attribute("kernel", kernel);
                writeCounts(json, counts);
              });
          });
        });
    });
  });
  llvm::outs() << "\n";
}

/// The model's text or embedding entry.
heddle_entry_info measuredEntry(heddle_model *model, const heddle_model_info &info, const std::string &file) {
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(file, heddle_model_entry_at, model, index, &entry);
    if (entry.kind == HEDDLE_ENTRY_STEP || entry.kind == HEDDLE_ENTRY_ENCODE)
      return entry;
  }
  fail(ExitUnsupported, printable(file) + ": bench knows text and embedding models");
}

void writeTrace(const std::string &path) {
  heddle_npu_sim_trace_end(
      [](void *context, const char *text, size_t size) {
        std::ofstream(*static_cast<const std::string *>(context), std::ios::binary).write(text, size);
      },
      const_cast<std::string *>(&path));
}

} // namespace

int benchNpu(const CountedBenchOptions &options, const std::string &trace) {
  ModelPtr model = openToRun(options.run);
  heddle_model_info info = modelInfo(model.get());
  heddle_entry_info entry = measuredEntry(model.get(), info, options.run.file);
  bool isText = entry.kind == HEDDLE_ENTRY_STEP;
  uint32_t most = isText ? info.max_context - 1 : info.max_rows;
  if (options.depth > most)
    fail(ExitResourceLimit, "--depth needs " + std::to_string(options.depth + 1) +
                                " tokens, but the context has room for " + std::to_string(info.max_context));
  std::vector<int32_t> tokens(std::max(std::min(options.prefillTokens, most), options.depth));
  for (size_t index = 0; index < tokens.size(); ++index)
    tokens[index] = static_cast<int32_t>((index * 7919 + 17) % info.vocabulary);
  std::span<const int32_t> text = std::span(tokens).first(std::min(options.prefillTokens, most));
  auto session = sized<heddle_session_options>();
  session.rows = info.max_rows;
  session.wanted = 1;
  SessionPtr holder = makeSession(model.get(), session);
  std::vector<Phase> phases;
  if (!trace.empty())
    heddle_npu_sim_trace_begin();
  if (isText) {
    Sequence sequence(holder.get(), entry.name, info.vocabulary);
    sequence.clear();
    phases.push_back({"prefill", text.size(), countsOf([&] { sequence.prefill(text, info.max_rows); })});
    if (options.depth) {
      sequence.clear();
      sequence.prefill({tokens.data(), options.depth}, info.max_rows);
    }
    phases.push_back({"decode", 1, countsOf([&] { sequence.step({tokens.data(), 1}, 1); })});
  } else {
    phases.push_back({"text", text.size(), countsOf([&] { encodeText(holder.get(), entry, text); })});
  }
  if (!trace.empty())
    writeTrace(trace);
  if (options.format == Format::Json) {
    printJson(phases);
    return ExitOk;
  }
  std::printf("%s on npu-sim: cycles by the rules of docs/npu-isa.md\n", printable(options.run.file).c_str());
  for (const Phase &phase : phases)
    printText(phase);
  return ExitOk;
}

} // namespace heddle::cli
