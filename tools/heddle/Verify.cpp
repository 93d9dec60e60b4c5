// Proves a compiled model: hashes of its members, and its code on sample inputs against what the reference
// interpreter computed from the source weights when it was compiled.
#include "codegen/cpu/Level.h"
#include "codegen/package/Samples.h"
#include "tools/HostFeatures.h"
#include "tools/heddle/ProgramTables.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <sys/wait.h>
#include <unistd.h>

namespace heddle::cli {

namespace {
struct VerifyVerb {
  RunOptions run;
  Format format = Format::Text;
  bool integrity = false, oneDevice = false;
  std::string from;
};

// One thing that was looked at, and how it stands.
struct Finding {
  enum Outcome { Proven, Failed, NotProven } outcome;
  std::string subject, detail;
};

const char *word(Finding::Outcome outcome) {
  return outcome == Finding::Proven ? "proven" : outcome == Finding::Failed ? "FAILED" : "not proven";
}

// ---------------------------------------------------------------------------------------------------------------
// Integrity

// CRC-32 that the container has for its last member, the manifest. Nothing inside the file has the manifest's
// SHA-256 (it is the artifact's digest), so this is what shows a flipped bit of it. The runtime has compared
// the container with its canonical form; offsets are checked all the same.
std::optional<uint32_t> manifestCrc(const std::string &file) {
  std::FILE *stream = std::fopen(file.c_str(), "rb");
  if (!stream)
    return std::nullopt;
  std::string tail(1 << 16, '\0');
  std::fseek(stream, 0, SEEK_END);
  long size = std::ftell(stream), from = std::max(0l, size - long(tail.size()));
  std::fseek(stream, from, SEEK_SET);
  tail.resize(std::fread(tail.data(), 1, tail.size(), stream));
  std::fclose(stream);
  size_t name = tail.rfind("manifest.json"); // in the last record of the directory, after its 46 fixed bytes
  uint32_t crc = 0;
  if (name == tail.npos || name < 46 || tail.compare(name - 46, 4, "PK\1\2") != 0)
    return std::nullopt;
  std::memcpy(&crc, tail.data() + name - 46 + 16, sizeof crc);
  return crc;
}

// Reads every member and compares it with its SHA-256. Maps nothing executable.
void checkMembers(const heddle_model *model, const std::string &file, std::vector<Finding> &findings) {
  heddle_model_info info = modelInfo(model);
  std::vector<char> content;
  for (uint32_t index = 0; index < info.member_count; ++index) {
    auto member = sized<heddle_member_info>();
    call(file, heddle_model_member, model, index, &member);
    content.resize(member.size);
    auto error = sized<heddle_error>();
    heddle_status status = heddle_model_read_member(model, member.name, content.data(), member.size, &error);
    if (status != HEDDLE_OK && status != HEDDLE_INVALID_FILE)
      check(status, error, file);
    bool isManifest = std::string_view(member.name) == "manifest.json";
    if (isManifest && status == HEDDLE_OK) {
      uint32_t crc = llvm::crc32({reinterpret_cast<const uint8_t *>(content.data()), content.size()});
      if (manifestCrc(file) != crc) {
        findings.push_back({Finding::Failed, member.name, "its bytes do not have the container's CRC-32"});
        continue;
      }
    }
    findings.push_back({status == HEDDLE_OK ? Finding::Proven : Finding::Failed, member.name,
                        status == HEDDLE_OK
                            ? formatBytes(member.size) + (isManifest ? ", CRC-32" : ", SHA-256")
                            : std::string(error.message)});
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Samples

// One call of an entry with what is expected of it, from the manifest. All of it is a stranger's.
struct Sample {
  struct Expected {
    std::string of;
    uint64_t offset, rows, columns;
    double bound;
  };
  std::string target, entry, variant;
  std::vector<int32_t> tokens, slots, positions, wanted;
  std::vector<Expected> expected;
};

std::vector<Sample> readSamples(const heddle_model *model, const std::string &file,
                                std::vector<std::string> &uncovered) {
  auto bad = [&]() { fail(ExitInvalidFile, printable(file) + ": the manifest's samples are damaged"); };
  llvm::json::Object manifest = readManifest(model, file);
  std::vector<Sample> samples;
  const llvm::json::Object *all = manifest.getObject("samples");
  if (!all)
    return samples;
  if (const llvm::json::Array *names = all->getArray("variants_without_samples"))
    for (const llvm::json::Value &name : *names)
      uncovered.push_back(name.getAsString().value_or("").str());
  const llvm::json::Array *calls = all->getArray("calls");
  if (!calls)
    bad();
  for (const llvm::json::Value &value : *calls) {
    const llvm::json::Object *object = value.getAsObject();
    const llvm::json::Object *inputs = object ? object->getObject("inputs") : nullptr;
    const llvm::json::Array *expected = object ? object->getArray("expected") : nullptr;
    if (!inputs || !expected || !object->getString("target") || !object->getString("entry") ||
        !object->getString("variant"))
      bad();
    Sample sample;
    sample.target = object->getString("target")->str();
    sample.entry = object->getString("entry")->str();
    sample.variant = object->getString("variant")->str();
    auto integers = [&](const char *key) {
      std::vector<int32_t> numbers;
      if (const llvm::json::Array *array = inputs->getArray(key))
        for (const llvm::json::Value &number : *array)
          numbers.push_back(static_cast<int32_t>(number.getAsInteger().value_or(-1)));
      return numbers;
    };
    sample.tokens = integers("tokens");
    sample.slots = integers(inputs->get("slots") ? "slots" : "sequences");
    sample.positions = integers("positions");
    sample.wanted = integers("wanted");
    if (sample.tokens.empty() || sample.slots.size() != sample.tokens.size() ||
        sample.positions.size() != sample.tokens.size() || sample.wanted.size() > sample.tokens.size())
      bad();
    for (const llvm::json::Value &item : *expected) {
      const llvm::json::Object *facts = item.getAsObject();
      auto number = [&](const char *key) {
        auto found = facts ? facts->getInteger(key) : std::nullopt;
        if (!found || *found < 0 || *found > int64_t(1) << 40)
          bad();
        return static_cast<uint64_t>(*found);
      };
      auto bound = facts ? facts->getNumber("relative_l2_bound") : std::nullopt;
      if (!bound || !facts->getString("of"))
        bad();
      sample.expected.push_back(
          {facts->getString("of")->str(), number("offset_bytes"), number("rows"), number("columns"), *bound});
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

// Runs the samples with the code that `request` asks for and compares; findings of `subject`, which has one
// of `members`.
std::vector<Finding> runSamples(RunOptions request, uint32_t features,
                                const std::vector<std::string> &members, const std::string &subject,
                                const std::string &target, const std::vector<Sample> &samples) {
  request.features = features;
  ModelPtr model = openToRun(request);
  heddle_model_info info = modelInfo(model.get());
  if (std::find(members.begin(), members.end(), info.code_member) == members.end())
    return {{Finding::NotProven, subject, "the device runs " + std::string(info.code_member)}};
  std::string data = readMember(model.get(), "samples.bin").value_or("");
  TeamPtr team = makeTeam(request.threads);
  auto options = sized<heddle_session_options>();
  options.team = team.get();
  options.rows = options.wanted = 1;
  int32_t most = 0, slots = 0;
  for (const Sample &sample : samples) {
    options.rows = std::max<uint32_t>(options.rows, sample.tokens.size());
    most = std::max(most, *std::max_element(sample.positions.begin(), sample.positions.end()));
    slots = std::max(slots, *std::max_element(sample.slots.begin(), sample.slots.end()));
  }
  options.wanted = std::min(options.rows, info.max_wanted);
  options.sequences = std::min<uint32_t>(static_cast<uint32_t>(slots) + 1, info.max_sequences);
  if (info.max_context)
    options.context = std::min<uint32_t>(static_cast<uint32_t>(most) + 1, info.max_context);
  SessionPtr session = makeSession(model.get(), options);
  std::vector<Finding> findings;
  for (const Sample &sample : samples) {
    auto step = sized<heddle_step>();
    step.tokens = sample.tokens.data();
    step.slots = sample.slots.data();
    step.positions = sample.positions.data();
    step.count = static_cast<uint32_t>(sample.tokens.size());
    step.wanted = sample.wanted.empty() ? nullptr : sample.wanted.data();
    step.wanted_count = static_cast<uint32_t>(sample.wanted.size());
    call(request.file, heddle_session_step, session.get(), sample.entry.c_str(), &step);
    auto view = sized<heddle_view>();
    call(request.file, heddle_session_output, session.get(), sample.entry.c_str(), 0u, &view);
    bool compared = false;
    bool hasOwn = std::any_of(sample.expected.begin(), sample.expected.end(),
                              [&](const Sample::Expected &expected) { return expected.of == target; });
    for (const Sample::Expected &expected : sample.expected) {
      if (expected.of != "source" && expected.of != target && !(expected.of + "-tiles" == target && !hasOwn))
        continue;
      uint64_t size = expected.rows * expected.columns * sizeof(float);
      if (expected.offset % sizeof(float) || expected.offset > data.size() ||
          size > data.size() - expected.offset)
        fail(ExitInvalidFile, printable(request.file) + ": samples.bin is smaller than the manifest says");
      if (view.rank != 2 || view.dimension[0] != static_cast<int64_t>(expected.rows) ||
          view.dimension[1] != static_cast<int64_t>(expected.columns))
        fail(ExitInvalidFile,
             printable(request.file) + ": a sample's output has another shape than expected");
      auto *reference = reinterpret_cast<const float *>(data.data() + expected.offset);
      auto *found = static_cast<const float *>(view.data);
      double distance = 0;
      for (uint64_t row = 0; row < expected.rows; ++row)
        distance = std::max(distance, relativeL2(found + row * expected.columns,
                                                 reference + row * expected.columns, expected.columns));
      const char *what = expected.of == "source" ? "source weights in f64" : "program in f64";
      findings.push_back({distance <= expected.bound ? Finding::Proven : Finding::Failed,
                          subject + " " + sample.variant,
                          llvm::formatv("{0} rows: relative L2 {1:e1} from the {2}, bound {3:e1}",
                                        sample.tokens.size(), distance, what, expected.bound)
                              .str()});
      compared = true;
    }
    if (!compared)
      findings.push_back(
          {Finding::NotProven, subject + " " + sample.variant, "no expected output for this target"});
  }
  return findings;
}

llvm::json::Value toJson(const std::vector<Finding> &findings) {
  llvm::json::Array array;
  for (const Finding &finding : findings)
    array.push_back(llvm::json::Object{{"outcome", word(finding.outcome)},
                                       {"subject", llvm::json::fixUTF8(finding.subject)},
                                       {"detail", llvm::json::fixUTF8(finding.detail)}});
  return array;
}

// Runs `work` in a process of its own, since code under suspicion may do anything: crash, hang. What it finds
// comes back as JSON. `seconds` is all the time that it has.
std::vector<Finding> inChild(const std::string &subject, unsigned seconds,
                             const std::function<std::vector<Finding>()> &work) {
  int channel[2];
  if (pipe(channel) != 0)
    fail(ExitInputOutput, "no pipe can be made");
  std::fflush(nullptr);
  pid_t child = fork();
  if (child < 0)
    fail(ExitResourceLimit, "no process can be made");
  if (child == 0) {
    close(channel[0]);
    std::signal(SIGALRM, SIG_DFL);
    alarm(seconds);
    llvm::json::Object report;
    try {
      report["findings"] = toJson(work());
    } catch (const Failure &failure) {
      report["code"] = static_cast<int64_t>(failure.code);
      report["message"] = llvm::json::fixUTF8(failure.message);
    }
    llvm::raw_fd_ostream out(channel[1], /*shouldClose=*/true);
    out << llvm::json::Value(std::move(report));
    out.close();
    _exit(0);
  }
  close(channel[1]);
  std::string text;
  char buffer[1 << 12];
  for (ssize_t count; (count = read(channel[0], buffer, sizeof buffer)) != 0;) {
    if (count < 0 && errno != EINTR)
      break;
    text.append(buffer, count > 0 ? static_cast<size_t>(count) : 0);
  }
  close(channel[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  auto json = llvm::json::parse(text);
  const llvm::json::Object *report = json ? json->getAsObject() : nullptr;
  if (!report) {
    llvm::consumeError(json.takeError());
    std::string why = !WIFSIGNALED(status) ? "it ended without a result"
                      : WTERMSIG(status) == SIGALRM
                          ? "it did not end in " + std::to_string(seconds) + " s"
                          : std::string("it crashed: ") + strsignal(WTERMSIG(status));
    return {{Finding::Failed, subject, why}};
  }
  if (auto code = report->getInteger("code"))
    fail(static_cast<Exit>(*code), report->getString("message").value_or("").str());
  std::vector<Finding> findings;
  for (const llvm::json::Value &value : *report->getArray("findings")) {
    const llvm::json::Object &object = *value.getAsObject();
    std::string outcome = object.getString("outcome")->str();
    findings.push_back({outcome == word(Finding::Proven)   ? Finding::Proven
                        : outcome == word(Finding::Failed) ? Finding::Failed
                                                           : Finding::NotProven,
                        object.getString("subject")->str(), object.getString("detail")->str()});
  }
  return findings;
}

// The CPU's code, level by level.
void checkLevels(const ArtifactTarget &target, const ProgramTables &program, const RunOptions &request,
                 unsigned seconds, const std::vector<Sample> &samples, std::vector<Finding> &findings) {
  uint32_t host = hostCpuFeatures(),
           allowed = request.cpu.empty() ? ~0u : cpu::cpuLevelByName(request.cpu)->features;
  for (const heddle_code &code : program.codes()) {
    bool tiles = code.features & HEDDLE_CPU_AMX_BF16; // runs the variants for tiles
    std::string member = program.string(code.member);
    if (code.features & ~allowed)
      continue; // --cpu asks for less
    if (code.features & ~host) {
      findings.push_back(
          {Finding::NotProven, member, "this processor lacks " + cpuFeatureNames(code.features & ~host)});
      continue;
    }
    for (Finding &finding : inChild(member, seconds, [&] {
           return runSamples(request, code.features, {member}, member, target.name + (tiles ? "-tiles" : ""),
                             samples);
         }))
      findings.push_back(std::move(finding));
  }
}

void checkOutputs(const heddle_model *model, const VerifyVerb &verb, std::vector<Finding> &findings) {
  std::vector<std::string> uncovered;
  std::vector<Sample> all = readSamples(model, verb.run.file, uncovered);
  for (const std::string &variant : uncovered)
    findings.push_back({Finding::NotProven, variant, "the artifact has no sample inputs for it"});
  if (all.empty()) {
    if (uncovered.empty())
      findings.push_back({Finding::NotProven, "outputs", "the artifact has no sample inputs"});
    return;
  }
  for (const ArtifactTarget &target : artifactTargets(model, verb.run.file)) {
    std::vector<Sample> samples;
    std::copy_if(all.begin(), all.end(), std::back_inserter(samples),
                 [&](const Sample &sample) { return sample.target == target.name; });
    if (samples.empty())
      continue;
    ProgramTables program(model, verb.run.file, target.program);
    // About a minute beyond reading weights from a slow disk; only code that hangs needs more.
    unsigned seconds = 60 + static_cast<unsigned>(target.weightBytes >> 24);
    RunOptions request = verb.run;
    bool isCpu = target.device == "cpu";
    // Without --device, everything that this machine runs: simulators run it anywhere.
    if (!verb.oneDevice)
      request.device = isCpu                     ? "cpu"
                       : target.device == "npu"  ? "npu-sim"
                       : target.device == "cuda" ? "cuda-sim"
                                                 : "";
    bool isFor = llvm::StringRef(request.device).split(':').first.split('-').first == target.device ||
                 (!isCpu && llvm::StringRef(request.device).contains('/')); // a vendor's may be of any target
    if (!isFor) {
      findings.push_back({Finding::NotProven, target.name, "code for another device; see --device"});
    } else if (isCpu) {
      checkLevels(target, program, request, seconds, samples, findings);
    } else {
      std::string subject = target.name + " on " + request.device;
      for (Finding &finding : inChild(subject, 10 * seconds, [&] {
             return runSamples(request, 0, target.codes, subject, target.name, samples);
           }))
        findings.push_back(std::move(finding));
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Compiling again

// Options of `heddle compile` that make this artifact, as its manifest tells them.
std::vector<std::string> compileOptions(const heddle_model *model, const std::string &file) {
  llvm::json::Object manifest = readManifest(model, file);
  std::vector<std::string> options;
  auto add = [&](const char *name, llvm::StringRef value) {
    options.push_back(name);
    options.push_back(value.str());
  };
  std::string targets;
  for (const ArtifactTarget &target : artifactTargets(model, file)) {
    if (target.levels.empty())
      targets += (targets.empty() ? "" : ",") + target.name;
    for (const std::string &level : target.levels)
      targets += (targets.empty() ? "" : ",") + target.name + ":" + level;
  }
  add("--target", targets);
  const llvm::json::Object *facts = manifest.getObject("model");
  for (auto [key, option] : {std::pair("max_context", "--max-context"),
                             {"max_sequences", "--max-sequences"},
                             {"max_chunk", "--max-chunk"}})
    if (auto value = facts ? facts->getInteger(key) : std::nullopt)
      add(option, std::to_string(*value));
  if (auto chat = facts ? facts->getString("chat_template") : std::nullopt; chat && *chat != "none")
    add("--chat-template", *chat);
  const llvm::json::Object *precision = manifest.getObject("precision");
  for (auto [key, option] : {std::pair("activations", "--activations"), {"kv_cache", "--kv-type"}})
    if (auto value = precision ? precision->getString(key) : std::nullopt)
      add(option, *value);
  return options;
}

// Compiles `source` as the artifact says it was and compares all bytes.
Finding compileAgain(const heddle_model *model, const VerifyVerb &verb) {
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder && folder[0] == '/' ? folder : "/tmp") + "/heddle-verify-XXXXXX";
  if (!mkdtemp(path.data()))
    fail(ExitInputOutput, path + ": cannot be created: " + std::strerror(errno));
  std::string output = path + "/again.heddle";
  std::vector<std::string> words = {"heddle", "compile", verb.from, "-o", output};
  for (std::string &option : compileOptions(model, verb.run.file))
    words.push_back(std::move(option));
  std::vector<char *> arguments;
  for (std::string &item : words)
    arguments.push_back(item.data());
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  pid_t child = fork();
  if (child < 0)
    fail(ExitResourceLimit, "no process can be made");
  if (child == 0) {
    dup2(STDERR_FILENO, STDOUT_FILENO); // its result is no result of this verb
    execv("/proc/self/exe", arguments.data());
    _exit(ExitInternal);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  auto remove = [&] {
    unlink(output.c_str());
    rmdir(path.c_str());
  };
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    remove();
    fail(WIFEXITED(status) ? static_cast<Exit>(WEXITSTATUS(status)) : ExitInternal,
         printable(verb.from) + ": could not be compiled again; its error is above");
  }
  // Equal manifests have equal hashes of all members, and one list of members has one container.
  heddle_model_info here = modelInfo(model), again = modelInfo(openForInspection(output).get());
  remove();
  bool same = std::memcmp(here.digest, again.digest, sizeof here.digest) == 0;
  return {same ? Finding::Proven : Finding::Failed, "compiled again",
          same ? "the same bytes from " + printable(verb.from)
               : "other bytes from " + printable(verb.from) + ": digest sha256:" + hex(again.digest, 32) +
                     "; compile it to a file and compare them with heddle inspect --diff"};
}

int verify(const VerifyVerb &verb) {
  ModelPtr model = openForInspection(verb.run.file);
  std::vector<Finding> findings;
  checkMembers(model.get(), verb.run.file, findings);
  auto failed = [&] {
    return std::any_of(findings.begin(), findings.end(),
                       [](const Finding &finding) { return finding.outcome == Finding::Failed; });
  };
  // Damaged files are not run.
  if (!verb.integrity && !failed())
    checkOutputs(model.get(), verb, findings);
  if (!verb.from.empty())
    findings.push_back(compileAgain(model.get(), verb));
  heddle_model_info info = modelInfo(model.get());
  bool bad = failed();
  const char *limits = verb.integrity
                           ? "Hashes prove that the file is whole, not where it comes from."
                           : "This proves numbers on sample inputs, not where the file comes from.";
  if (verb.format == Format::Json) {
    llvm::outs() << llvm::formatv(
        "{0:2}\n", llvm::json::Value(llvm::json::Object{{"digest", "sha256:" + hex(info.digest, 32)},
                                                        {"outcome", bad ? "FAILED" : "proven"},
                                                        {"findings", toJson(findings)},
                                                        {"limits", limits}}));
  } else {
    for (const Finding &finding : findings)
      std::printf("%-10s  %s: %s\n", word(finding.outcome), printable(finding.subject).c_str(),
                  printable(finding.detail).c_str());
    std::printf("%s: %s. %s\n", printable(verb.run.file).c_str(), bad ? "FAILED" : "nothing failed", limits);
  }
  return bad ? ExitMismatch : ExitOk;
}
} // namespace

void addVerify(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand(
      "verify", "Prove a compiled model: its hashes, and its code on stored samples; exit 1 on a miss");
  auto options = std::make_shared<VerifyVerb>();
  addRunOptions(*verb, options->run);
  for (const char *unused : {"--map", "--perf-map", "--gdb"})
    verb->remove_option(verb->get_option(unused));
  addFormatOption(*verb, options->format);
  verb->add_flag("--integrity", options->integrity, "Hashes only; runs nothing and makes nothing executable");
  verb->add_option("--from", options->from, "Also compile MODEL as this file was and compare all bytes")
      ->option_text("MODEL");
  verb->callback([&action, options, verb] {
    options->oneDevice = verb->get_option("--device")->count() > 0;
    action = [options] { return verify(*options); };
  });
}

} // namespace heddle::cli
