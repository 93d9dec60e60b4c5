#include "tools/heddle/Devices.h"
#include "tools/DriverLibrary.h"
#include "tools/heddle/Generation.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <heddle/cuda.h>
#include <heddle/cuda_sim.h>
#include <heddle/npu_sim.h>
#include <map>

namespace heddle::cli {

/// A vendor's driver, ./LIBRARY.so:FUNCTION.
static const heddle_driver *loadDriver(const std::string &device) {
  if (!namesDriverLibrary(device))
    fail(ExitUsage,
         "device '" + printable(device) +
             "': expected ./LIBRARY.so:FUNCTION, the function that returns the library's heddle_driver");
  std::string why;
  if (const heddle_driver *driver = loadDriverLibrary(device, why))
    return driver;
  fail(ExitUnsupported, "device '" + printable(device) + "' cannot be loaded: " + printable(why));
}

Gpus findGpus() {
  Gpus gpus;
  heddle_cuda_device_info info = {};
  info.struct_size = sizeof(info);
  heddle_error error = {};
  error.struct_size = sizeof(error);
  for (uint32_t number = 0; number == 0 || number < info.count; ++number) {
    if (heddle_cuda_device(number, &info, &error) != HEDDLE_OK) {
      gpus.reason = error.message;
      break;
    }
    if (number < info.count)
      gpus.found.push_back({info.name, info.architecture});
  }
  return gpus;
}

const heddle_driver *driverOfDevice(const std::string &device) {
  if (device.find('/') != std::string::npos)
    return loadDriver(device);
  if (device == "cpu")
    return nullptr;
  if (device == "cuda-sim")
    return heddle_driver_cuda_sim();
  if (device == "npu-sim")
    return heddle_driver_npu_sim();
  if (device == "cuda" || device == "cuda:0")
    return heddle_driver_cuda();
  if (device.substr(0, 5) == "cuda:")
    fail(ExitUnsupported,
         "device '" + printable(device) +
             "': expected cuda, the first GPU that CUDA_VISIBLE_DEVICES leaves; set it to choose one");
  fail(ExitUnsupported, "device '" + printable(device) +
                            "' is not available in this build; available devices: cpu, cuda, cuda-sim, "
                            "npu-sim, ./LIBRARY.so:FUNCTION");
}

namespace {

using Counts = std::map<std::string, heddle_cuda_sim_counts>; // by kernel

// The numbers of a kernel's counts, in the order in which they are shown.
struct Field {
  const char *name, *title;
  uint64_t heddle_cuda_sim_counts::*value;
};
constexpr Field kFields[] = {
    {"launches", "launches", &heddle_cuda_sim_counts::launches},
    {"blocks", "blocks", &heddle_cuda_sim_counts::blocks},
    {"warp_instructions", "instructions", &heddle_cuda_sim_counts::instructions},
    {"mma_instructions", "mma", &heddle_cuda_sim_counts::matrix_instructions},
    {"mma_multiply_adds", nullptr, &heddle_cuda_sim_counts::multiply_adds},
    {"global_load_requests", nullptr, &heddle_cuda_sim_counts::global_load_requests},
    {"global_load_sectors", nullptr, &heddle_cuda_sim_counts::global_load_sectors},
    {"global_load_bytes", "loaded", &heddle_cuda_sim_counts::global_load_bytes},
    {"global_store_requests", nullptr, &heddle_cuda_sim_counts::global_store_requests},
    {"global_store_sectors", nullptr, &heddle_cuda_sim_counts::global_store_sectors},
    {"global_store_bytes", "stored", &heddle_cuda_sim_counts::global_store_bytes},
    {"shared_requests", nullptr, &heddle_cuda_sim_counts::shared_requests},
    {"bank_conflicts", "conflicts", &heddle_cuda_sim_counts::bank_conflicts},
};

void record(void *context, const heddle_cuda_sim_counts *counts) {
  static_cast<Counts *>(context)->insert_or_assign(counts->kernel, *counts);
}

// What `work` makes the kernels do.
template <typename Work> Counts countsOf(Work work) {
  Counts before, after;
  heddle_cuda_sim_visit_counts(record, &before);
  work();
  heddle_cuda_sim_visit_counts(record, &after);
  for (auto &[kernel, counts] : after)
    if (auto earlier = before.find(kernel); earlier != before.end())
      for (const Field &field : kFields)
        counts.*field.value -= earlier->second.*field.value;
  std::erase_if(after, [](const auto &entry) { return entry.second.launches == 0; });
  return after;
}

struct Phase {
  const char *name;
  size_t tokens;
  Counts kernels;
};

// Loaded bytes of what the sectors hold: 100 % is perfectly coalesced; more, when lanes read the same bytes.
double sectorShare(const heddle_cuda_sim_counts &counts) {
  return counts.global_load_sectors ? 100.0 * static_cast<double>(counts.global_load_bytes) /
                                          (32.0 * static_cast<double>(counts.global_load_sectors))
                                    : 100.0;
}

void printText(const Phase &phase) {
  std::printf("%s of %zu token%s\n  ", phase.name, phase.tokens, phase.tokens == 1 ? "" : "s");
  for (const Field &field : kFields)
    if (field.title)
      std::printf("%12s ", field.title);
  std::printf("%8s  kernel\n", "sectors");
  for (const auto &[kernel, counts] : phase.kernels) {
    std::printf("  ");
    for (const Field &field : kFields)
      if (field.title)
        std::printf("%12llu ", static_cast<unsigned long long>(counts.*field.value));
    std::printf("%7.0f%%  %s\n", sectorShare(counts), printable(kernel).c_str());
  }
}

void printJson(const std::vector<Phase> &phases) {
  llvm::json::OStream json(llvm::outs(), 2);
  json.object([&] {
    json.attribute("device", "cuda-sim");
    json.attributeArray("phases", [&] {
      for (const Phase &phase : phases)
        json.object([&] {
          json.attribute("phase", phase.name);
          json.attribute("tokens", static_cast<int64_t>(phase.tokens));
          json.attributeArray("kernels", [&] {
            for (const auto &[kernel, counts] : phase.kernels)
              json.object([&, &kernel = kernel, &counts = counts] {
                json.attribute("kernel", kernel);
                for (const Field &field : kFields)
                  json.attribute(field.name, static_cast<int64_t>(counts.*field.value));
              });
          });
        });
    });
  });
  llvm::outs() << "\n";
}

} // namespace

int benchCounts(const CountedBenchOptions &options) {
  ModelPtr model = openToRun(options.run);
  heddle_entry_info entry = entryOfKind(model.get(), HEDDLE_ENTRY_STEP, options.run.file);
  heddle_model_info info = modelInfo(model.get());
  uint32_t count = std::min(options.prefillTokens, info.max_context - 1);
  if (options.depth >= info.max_context)
    fail(ExitResourceLimit, "--depth needs " + std::to_string(options.depth + 1) +
                                " tokens, but the context has room for " + std::to_string(info.max_context));
  std::vector<int32_t> tokens(std::max(count, options.depth));
  for (size_t index = 0; index < tokens.size(); ++index)
    tokens[index] = static_cast<int32_t>((index * 7919 + 17) % info.vocabulary);
  auto session = sized<heddle_session_options>();
  session.rows = info.max_rows;
  session.wanted = 1;
  SessionPtr holder = makeSession(model.get(), session);
  Sequence sequence(holder.get(), entry.name, info.vocabulary);
  sequence.clear();
  std::vector<Phase> phases;
  phases.push_back(
      {"prefill", count, countsOf([&] { sequence.prefill({tokens.data(), count}, info.max_rows); })});
  if (options.depth) {
    sequence.clear();
    sequence.prefill({tokens.data(), options.depth}, info.max_rows);
  }
  phases.push_back({"decode", 1, countsOf([&] { sequence.step({tokens.data(), 1}, 1); })});
  if (options.format == Format::Json) {
    printJson(phases);
    return ExitOk;
  }
  std::printf("%s on cuda-sim: counts, not times (docs/cuda-sim.md)\n", printable(options.run.file).c_str());
  for (const Phase &phase : phases)
    printText(phase);
  return ExitOk;
}

} // namespace heddle::cli
