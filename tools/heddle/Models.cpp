// Opening compiled models, past the trust gate.
#include "codegen/cpu/Level.h"
#include "tools/heddle/Devices.h"
#include "tools/heddle/ProgramTables.h"
#include <cstdio>
#include <map>

namespace heddle::cli {

// The levels of `--cpu`, as in `heddle targets`: what code may use at most.
static const std::map<std::string, uint32_t> &cpuLevelMasks() {
  static const std::map<std::string, uint32_t> masks = [] {
    std::map<std::string, uint32_t> levels;
    for (const cpu::CpuLevel &level : cpu::cpuLevels())
      levels.emplace(level.name, level.features);
    return levels;
  }();
  return masks;
}

void addRunOptions(CLI::App &app, RunOptions &options) {
  app.add_option("file", options.file, "Compiled model (.heddle)")->required()->option_text("FILE");
  app.add_option("--device", options.device, "Where to run (cpu)")
      ->option_text("cpu|cuda|cuda-sim|npu-sim|./LIBRARY.so:FUNCTION");
  app.add_option("--cpu", options.cpu, "Use code of this level at most, for tests and comparisons")
      ->check(CLI::IsMember(cpuLevelMasks()))
      ->option_text("x86-64-v3|x86-64-v3-vnni|x86-64-v4-vnni|x86-64-v4-amx");
  app.add_option("--threads", options.threads, "Threads; 0: what affinity and quota allow")
      ->check(CLI::Range(0, 256))
      ->option_text("N");
  app.add_option("--trust", options.trust, "Run the artifact whose manifest has this digest")
      ->option_text("sha256:...");
  app.add_option("--max-memory", options.maxMemory, "Most memory for the model and its session")
      ->option_text("SIZE");
  app.add_flag("--map", options.map, "Map the weights instead of reading them: starts at once, runs slower");
  app.add_flag("--perf-map", options.perfMap, "Write /tmp/perf-PID.map, so that perf shows kernel names");
  app.add_flag("--gdb", options.gdb, "Register kernel names with gdb");
}

static heddle_source pathSource(const std::string &file) {
  auto source = sized<heddle_source>();
  source.kind = HEDDLE_SOURCE_PATH;
  source.path = file.c_str();
  return source;
}

// What people try to run by mistake, recognized by its first bytes or its name.
static bool looksUncompiled(const std::string &file) {
  char magic[4] = {};
  if (std::FILE *stream = std::fopen(file.c_str(), "rb")) {
    size_t count = std::fread(magic, 1, sizeof magic, stream);
    std::fclose(stream);
    if (count == sizeof magic && std::memcmp(magic, "GGUF", 4) == 0)
      return true;
  }
  auto endsWith = [&](std::string_view suffix) {
    return file.size() > suffix.size() &&
           file.compare(file.size() - suffix.size(), suffix.size(), suffix) == 0;
  };
  return endsWith(".safetensors") || endsWith(".onnx") || endsWith(".mlir");
}

static std::string shellQuoted(const std::string &text) {
  if (!text.empty() &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") ==
          text.npos)
    return text;
  std::string out = "'";
  for (char character : text)
    out += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return printable(out + "'");
}

static void refuseUncompiled(const std::string &file) {
  if (!looksUncompiled(file))
    return;
  size_t slash = file.rfind('/'), dot = file.rfind('.');
  bool hasSuffix = dot != file.npos && (slash == file.npos || dot > slash + 1);
  std::string compiled = (hasSuffix ? file.substr(0, dot) : file) + ".heddle";
  fail(ExitUsage, printable(file) + ": this model is not compiled yet; compile it first: heddle compile " +
                      shellQuoted(file) + " -o " + shellQuoted(compiled));
}

ModelPtr openForInspection(const std::string &file) {
  refuseUncompiled(file);
  auto source = pathSource(file);
  auto options = sized<heddle_model_options>();
  options.trust = HEDDLE_TRUST_INSPECT_ONLY;
  heddle_model *model = nullptr;
  call(file, heddle_model_open, &source, &options, &model);
  return ModelPtr(model);
}

static std::optional<std::array<uint8_t, 32>> parseDigest(std::string_view text) {
  if (text.substr(0, 7) != "sha256:" || text.size() != 7 + 64)
    return std::nullopt;
  std::array<uint8_t, 32> digest;
  for (size_t index = 0; index < 32; ++index) {
    auto nibble = [&](char character) {
      return character >= '0' && character <= '9'   ? character - '0'
             : character >= 'a' && character <= 'f' ? character - 'a' + 10
                                                    : -1;
    };
    int high = nibble(text[7 + 2 * index]), low = nibble(text[8 + 2 * index]);
    if (high < 0 || low < 0)
      return std::nullopt;
    digest[index] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

static int trustCallback(void *, const uint8_t *digest, const char *, size_t) {
  try {
    return isTrusted(digest);
  } catch (const Failure &) { // without a place for trust nothing is trusted
    return 0;
  }
}

static void logToStderr(void *, heddle_log_level level, const char *message) {
  if (level == HEDDLE_LOG_WARNING) // `inspect` and `doctor` tell the rest
    std::fprintf(stderr, "heddle: warning: %s\n", printable(message).c_str());
}

ModelPtr openToRun(const RunOptions &request, const heddle_allocator *allocator) {
  const heddle_driver *driver = driverOfDevice(request.device);
  refuseUncompiled(request.file);
  auto source = pathSource(request.file);
  auto options = sized<heddle_model_options>();
  options.trust = HEDDLE_TRUST_CALLBACK;
  options.trust_callback = trustCallback;
  options.log = logToStderr;
  options.allocator = allocator;
  options.weights = request.map ? HEDDLE_WEIGHTS_MAP : HEDDLE_WEIGHTS_COPY;
  options.flags = (request.perfMap ? HEDDLE_OPEN_PERF_MAP : 0u) | (request.gdb ? HEDDLE_OPEN_GDB : 0u);
  if (!request.cpu.empty())
    options.cpu_features = cpuLevelMasks().at(request.cpu);
  if (request.features)
    options.cpu_features = request.features;
  options.driver = request.driver ? request.driver : driver;
  if (!request.maxMemory.empty())
    options.max_memory = parseBytes(request.maxMemory, "--max-memory");
  std::optional<std::array<uint8_t, 32>> digest;
  if (!request.trust.empty()) {
    digest = parseDigest(request.trust);
    if (!digest)
      fail(ExitUsage, "--trust takes sha256: and 64 lower-case hexadecimal digits, but found '" +
                          printable(request.trust) + "'");
    options.trust = HEDDLE_TRUST_DIGEST;
    options.trust_digest = digest->data();
  }
  heddle_model *model = nullptr;
  auto error = sized<heddle_error>();
  heddle_status status = heddle_model_open(&source, &options, &model, &error);
  if (status == HEDDLE_NOT_TRUSTED) {
    heddle_model_info info = modelInfo(openForInspection(request.file).get());
    std::string found = "sha256:" + hex(info.digest, 32);
    if (digest)
      fail(ExitNotTrusted,
           printable(request.file) + ": not the artifact that --trust names: its digest is " + found);
    fail(ExitNotTrusted,
         printable(request.file) + ": not trusted: it was not compiled by this user (" + found +
             "); an artifact is a program: if you know where it comes from, type: heddle trust " +
             shellQuoted(request.file));
  }
  if (status == HEDDLE_UNSUPPORTED) {
    std::string has;
    for (const ArtifactTarget &target : artifactTargets(openForInspection(request.file).get(), request.file))
      has += (has.empty() ? "" : ", ") + target.name;
    fail(ExitUnsupported, printable(request.file) + ": " + printable(error.message) +
                              "; the artifact has code for " + printable(has));
  }
  check(status, error, request.file);
  return ModelPtr(model);
}

TeamPtr makeTeam(unsigned threads) {
  auto options = sized<heddle_team_options>();
  options.threads = threads;
  heddle_team *team = nullptr;
  call("", heddle_team_create, &options, &team);
  return TeamPtr(team);
}

heddle_model_info modelInfo(const heddle_model *model) {
  auto info = sized<heddle_model_info>();
  call("", heddle_model_get_info, model, &info);
  return info;
}

std::optional<std::string> readMember(const heddle_model *model, const char *name) {
  auto member = sized<heddle_member_info>();
  auto error = sized<heddle_error>();
  heddle_status status = heddle_model_find_member(model, name, &member, &error);
  if (status == HEDDLE_INVALID_ARGUMENT)
    return std::nullopt;
  check(status, error, name);
  std::string content(member.size, '\0');
  call(name, heddle_model_read_member, model, name, static_cast<void *>(content.data()), member.size);
  return content;
}

static const char *kindName(heddle_entry_kind kind) {
  return kind == HEDDLE_ENTRY_STEP ? "text" : kind == HEDDLE_ENTRY_ENCODE ? "embedding" : "tensor";
}

heddle_entry_info entryOfKind(const heddle_model *model, heddle_entry_kind kind, const std::string &file) {
  heddle_model_info info = modelInfo(model);
  std::string found;
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(file, heddle_model_entry_at, model, index, &entry);
    if (entry.kind == kind)
      return entry;
    found +=
        std::string(found.empty() ? "" : ", ") + printable(entry.name) + " (" + kindName(entry.kind) + ")";
  }
  fail(ExitUnsupported,
       printable(file) + ": expected a " + kindName(kind) + " model, but it has the entries " + found);
}

// ---------------------------------------------------------------------------------------------------------------
// The processor

std::string cpuFeatureNames(uint32_t features) {
  std::string out;
  const char *name = HEDDLE_CPU_NAMES;
  for (uint32_t bit = 1; *name; bit *= 2, name += std::strlen(name) + 1)
    if (features & bit)
      out += std::string(out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

} // namespace heddle::cli
