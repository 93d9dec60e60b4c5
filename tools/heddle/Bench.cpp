#include "tools/heddle/Devices.h"
#include "tools/heddle/Generation.h"
#include "tools/heddle/PerKernel.h"
#include "tools/heddle/ProgramTables.h"
#include "tools/heddle/ReadBound.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

namespace heddle::cli {

namespace {
struct BenchVerb {
  RunOptions run;
  Format format = Format::Text;
  std::vector<unsigned> threads;
  uint32_t prefillTokens = 512, decodeTokens = 64, depth = 0, repeat = 5;
  bool perKernel = false;
  std::string trace;
};

using Clock = std::chrono::steady_clock;

template <typename Work> double seconds(Work work) {
  auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Repetitions of one measurement, in units of speed.
struct Samples {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    size_t half = sorted.size() / 2;
    return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  double best() const { return *std::max_element(values.begin(), values.end()); }
  double spreadPercent() const {
    return 100 * (best() - *std::min_element(values.begin(), values.end())) / median();
  }
};

void writeSamples(llvm::json::OStream &json, const char *unit, const Samples &samples) {
  json.attribute(std::string("median_") + unit, samples.median());
  json.attribute(std::string("best_") + unit, samples.best());
  json.attribute("spread_percent", samples.spreadPercent());
}

// Token ids that are all different where the vocabulary allows it: an embedding table has no favourite row.
std::vector<int32_t> someTokens(uint32_t count, uint32_t vocabulary) {
  std::vector<int32_t> ids(count);
  for (uint32_t index = 0; index < count; ++index)
    ids[index] = static_cast<int32_t>((uint64_t(index) * 7919 + 17) % vocabulary);
  return ids;
}

std::vector<unsigned> threadCounts(const BenchVerb &verb) {
  if (!verb.threads.empty())
    return verb.threads;
  unsigned most = heddle_team_threads(makeTeam(0).get());
  return most > 1 ? std::vector<unsigned>{1, most} : std::vector<unsigned>{1};
}

// One thread count's session and what was measured with it.
struct Setup {
  unsigned threads;
  TeamPtr team;
  SessionPtr session;
  Samples prefill, decode, read; // tokens/s, tokens/s, GB/s
  std::vector<double> shares;    // of the read bound, each against the read measured right after it
};

std::vector<Setup> makeSetups(const BenchVerb &verb, heddle_model *model, uint32_t rows) {
  std::vector<Setup> setups;
  for (unsigned threads : threadCounts(verb)) {
    Setup setup{threads, makeTeam(threads), nullptr, {}, {}, {}, {}};
    auto options = sized<heddle_session_options>();
    options.team = setup.team.get();
    options.rows = rows;
    options.wanted = 1;
    setup.session = makeSession(model, options);
    setups.push_back(std::move(setup));
  }
  return setups;
}

int benchText(const BenchVerb &verb, heddle_model *model, const RecordingAllocator &allocator,
              const heddle_entry_info &entry) {
  heddle_model_info info = modelInfo(model);
  uint32_t prefillTokens = std::min(verb.prefillTokens, info.max_context),
           chunk = std::min(prefillTokens, info.max_rows);
  if (uint64_t(verb.depth) + verb.decodeTokens > info.max_context)
    fail(ExitResourceLimit, "--depth and --decode together need " +
                                std::to_string(uint64_t(verb.depth) + verb.decodeTokens) +
                                " tokens, but the context has room for " + std::to_string(info.max_context));
  std::vector<ByteRange> ranges = decodeWeightRanges(model, verb.run.file, entry.name);
  uint64_t weightBytes = totalBytes(ranges);
  uint64_t weights = ProgramTables(model, verb.run.file).header().weights_size;
  const std::byte *base = allocator.largest(weights);
  if (!base || verb.run.map)
    fail(ExitUnsupported, "bench measures the read bound over weights in memory; run it without --map");
  std::vector<int32_t> prompt = someTokens(prefillTokens, info.vocabulary);
  std::vector<int32_t> depth = someTokens(std::max(verb.depth, 1u), info.vocabulary);
  std::vector<Setup> setups = makeSetups(verb, model, info.max_rows);
  for (uint32_t repetition = 0; repetition <= verb.repeat; ++repetition) {
    for (Setup &setup : setups) { // interleaved, so that a slow minute meets all of them
      Sequence sequence(setup.session.get(), entry.name, info.vocabulary);
      sequence.clear();
      double prefill = seconds([&] { sequence.prefill(prompt, chunk); });
      sequence.clear();
      sequence.prefill(depth, info.max_rows);
      double decode = seconds([&] {
        for (uint32_t step = 0; step < verb.decodeTokens && sequence.length() < info.max_context; ++step) {
          int32_t token = prompt[step % prompt.size()];
          sequence.step({&token, 1}, 1);
        }
      });
      double steps = sequence.length() - static_cast<double>(depth.size());
      double read = readSeconds(base, ranges, setup.threads, 5);
      if (repetition == 0)
        continue; // warms caches and page tables
      setup.prefill.values.push_back(prefillTokens / prefill);
      setup.decode.values.push_back(steps / decode);
      setup.read.values.push_back(static_cast<double>(weightBytes) / read / 1e9);
      setup.shares.push_back(read * steps / decode);
    }
  }
  if (verb.format == Format::Text)
    std::printf("%s\ncode %s, %s of weights read per token, %u repetitions, median (best, spread)\n",
                printable(verb.run.file).c_str(), info.code_member, formatBytes(weightBytes).c_str(),
                verb.repeat);
  llvm::json::OStream json(llvm::outs(), 2);
  auto write = [&](const Setup &setup) {
    double share = Samples{setup.shares}.median(),
           speed = setup.decode.median() * static_cast<double>(weightBytes) / 1e9;
    if (verb.format == Format::Text) {
      std::printf("%u thread%s\n", setup.threads, setup.threads == 1 ? "" : "s");
      std::printf("  prefill of %u   %8.1f tokens/s (%.1f, %.0f %%)\n", prefillTokens, setup.prefill.median(),
                  setup.prefill.best(), setup.prefill.spreadPercent());
      std::printf("  decode of %u    %8.1f tokens/s (%.1f, %.0f %%)\n", verb.decodeTokens,
                  setup.decode.median(), setup.decode.best(), setup.decode.spreadPercent());
      std::printf("  weights read    %8.1f GB/s, %.0f %% of the read bound of %.1f GB/s\n", speed,
                  100 * share, setup.read.median());
      return;
    }
    json.object([&] {
      json.attribute("threads", setup.threads);
      json.attributeObject("prefill", [&] {
        json.attribute("tokens", prefillTokens);
        writeSamples(json, "tokens_per_second", setup.prefill);
      });
      json.attributeObject("decode", [&] {
        json.attribute("tokens", verb.decodeTokens);
        json.attribute("depth_tokens", verb.depth);
        writeSamples(json, "tokens_per_second", setup.decode);
        json.attribute("weights_gigabytes_per_second", speed);
        json.attribute("read_bound_gigabytes_per_second", setup.read.median());
        json.attribute("share_of_read_bound", share);
      });
    });
  };
  if (verb.format == Format::Text) {
    for (const Setup &setup : setups)
      write(setup);
    return ExitOk;
  }
  json.object([&] {
    json.attribute("code", info.code_member);
    json.attribute("weight_bytes_per_token", static_cast<int64_t>(weightBytes));
    json.attribute("repetitions", verb.repeat);
    json.attributeArray("results", [&] {
      for (const Setup &setup : setups)
        write(setup);
    });
  });
  llvm::outs() << "\n";
  return ExitOk;
}

int benchEncode(const BenchVerb &verb, heddle_model *model, const heddle_entry_info &entry) {
  heddle_model_info info = modelInfo(model);
  uint32_t count = std::min(verb.prefillTokens, info.max_rows);
  std::vector<int32_t> ids = someTokens(count, info.vocabulary), slots(count, 0), positions(count);
  for (uint32_t index = 0; index < count; ++index)
    positions[index] = static_cast<int32_t>(index);
  auto step = sized<heddle_step>();
  step.tokens = ids.data();
  step.slots = slots.data();
  step.positions = positions.data();
  step.count = count;
  std::vector<Setup> setups = makeSetups(verb, model, info.max_rows);
  for (uint32_t repetition = 0; repetition <= verb.repeat; ++repetition)
    for (Setup &setup : setups) {
      double time = seconds([&] { call("", heddle_session_step, setup.session.get(), entry.name, &step); });
      if (repetition)
        setup.prefill.values.push_back(count / time);
    }
  llvm::json::OStream json(llvm::outs(), 2);
  if (verb.format == Format::Json)
    json.object([&] {
      json.attribute("code", info.code_member);
      json.attribute("repetitions", verb.repeat);
      json.attributeArray("results", [&] {
        for (const Setup &setup : setups)
          json.object([&] {
            json.attribute("threads", setup.threads);
            json.attributeObject("encode", [&] {
              json.attribute("tokens", count);
              writeSamples(json, "tokens_per_second", setup.prefill);
              json.attribute("median_milliseconds", 1000 * count / setup.prefill.median());
            });
          });
      });
    });
  else
    for (const Setup &setup : setups)
      std::printf("%u thread%s: a text of %u tokens in %.2f ms, %.0f tokens/s (best %.0f, spread %.0f %%)\n",
                  setup.threads, setup.threads == 1 ? "" : "s", count, 1000 * count / setup.prefill.median(),
                  setup.prefill.median(), setup.prefill.best(), setup.prefill.spreadPercent());
  if (verb.format == Format::Json)
    llvm::outs() << "\n";
  return ExitOk;
}

int bench(const BenchVerb &verb) {
  if (verb.run.device == "cuda-sim")
    return benchCounts({verb.run, verb.format, verb.prefillTokens, verb.depth});
  if (verb.run.device == "npu-sim")
    return benchNpu({verb.run, verb.format, verb.prefillTokens, verb.depth}, verb.trace);
  if (verb.perKernel || !verb.trace.empty()) {
    if (verb.threads.size() > 1)
      fail(ExitUsage, "--per-kernel takes one number of --threads");
    return benchPerKernel({verb.run, verb.format, verb.threads.empty() ? 1 : verb.threads[0],
                           verb.prefillTokens, verb.depth, verb.repeat, verb.trace});
  }
  RecordingAllocator allocator; // outlives the model
  ModelPtr model = openToRun(verb.run, allocator.get());
  heddle_model_info info = modelInfo(model.get());
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(verb.run.file, heddle_model_entry_at, model.get(), index, &entry);
    if (entry.kind == HEDDLE_ENTRY_STEP)
      return benchText(verb, model.get(), allocator, entry);
    if (entry.kind == HEDDLE_ENTRY_ENCODE)
      return benchEncode(verb, model.get(), entry);
  }
  fail(ExitUnsupported, printable(verb.run.file) + ": bench knows text and embedding models");
}
} // namespace

void addBench(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand(
      "bench", "Measure prefill and decode speed, and how near decode comes to reading memory");
  auto options = std::make_shared<BenchVerb>();
  addRunOptions(*verb, options->run);
  verb->remove_option(verb->get_option("--threads"));
  verb->add_option("--threads", options->threads, "Thread counts to measure, as 1,2; default: 1 and all")
      ->delimiter(',')
      ->check(CLI::Range(1, 256))
      ->allow_extra_args(false)
      ->option_text("N,...");
  addFormatOption(*verb, options->format);
  verb->add_option("--prefill", options->prefillTokens, "Tokens of prefill, or of a text to embed (512)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  verb->add_option("--decode", options->decodeTokens, "Tokens to decode (64)")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N");
  verb->add_option("--depth", options->depth, "Tokens in the context before decoding (0)")->option_text("N");
  verb->add_option("--repeat", options->repeat, "Repetitions (5)")
      ->check(CLI::Range(1, 10000))
      ->option_text("N");
  verb->add_flag("--per-kernel", options->perKernel,
                 "Where the time goes: every kernel's time, bytes, arithmetic, share of the machine's limit");
  verb->add_option("--trace", options->trace, "The same, with each launch of a run as a Chrome trace in FILE")
      ->option_text("FILE");
  verb->callback([&action, options, verb] {
    bool isSimulated = options->run.device == "cuda-sim" || options->run.device == "npu-sim";
    if (isSimulated && verb->count("--prefill") == 0)
      options->prefillTokens = 32; // every token is simulated
    action = [options] { return bench(*options); };
  });
}

} // namespace heddle::cli
